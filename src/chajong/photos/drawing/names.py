"""Names of the demo cars: made up in the competition's form, and who is kin to whom."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FIRST = "가하나다라마새여은해한도바벼사아미누온자"
_SECOND = "온람솔별래결샘빛찬늘뫼란"
_FILLERS = frozenset(("더", "뉴", "올", "디", "더뉴", "올뉴", "더뉴올"))
_YEARS = re.compile(r"_(\d{4})_(\d{4})$")


@dataclass(frozen=True)
class Kin:
    """Where a model stands among its kin."""

    family: int
    generation: int
    facelift: int


def default_names(num_models: int) -> tuple[str, ...]:
    """Make up names, such as `가온_1세대_2014_2017` and `더_뉴_하람_2019_2022`.

    Of every twelve, two are generations of one car and two a car and its facelift.

    Args:
        num_models: How many, 1 or more.

    Returns:
        Different names, code-point sorted.
    """
    names: list[str] = []
    family = 0
    while len(names) < num_models:
        word, year = _word(family), 2012 + family * 5 % 9
        match family % 10:
            case 0:
                names += [f"{word}_{g + 1}세대_{year + 4 * g}_{year + 4 * g + 3}" for g in (0, 1)]
            case 1:
                names += [f"{word}_{year}_{year + 2}", f"더_뉴_{word}_{year + 3}_{year + 5}"]
            case 4 | 7:
                code = f"{'ADGKNRTX'[family % 8]}{'JPQVXYZ'[family % 7]}{family % 5 + 1}"
                names.append(f"{word}_{code}_{year}_{year + 4}")
            case _:
                names.append(f"{word}_{year}_{year + 3}")
        family += 1
    return tuple(sorted(names[:num_models]))


def _word(family: int) -> str:
    round_, place = divmod(family, len(_FIRST) * len(_SECOND))
    first = _FIRST[place % len(_FIRST)]
    second = _SECOND[(place + place // len(_FIRST)) % len(_SECOND)]
    return f"{first}{second}{round_ + 1 if round_ else ''}"


def kinship(names: Sequence[str]) -> tuple[Kin, ...]:
    """Read from names which models are generations or facelifts of the same car.

    Args:
        names: Class names such as `더_뉴_하람_RK2_2020_2023`.

    Returns:
        The place of each among its kin, no two alike.
    """
    families: dict[str, dict[str, int]] = {}
    places: dict[str, Kin] = {}
    for name in sorted(names, key=lambda name: (_year(name), name)):
        words = [word for word in _YEARS.sub("", name).split("_") if word not in _FILLERS]
        head, rest = (words[0], "_".join(words[1:])) if words else (name, "")
        generations = families.setdefault(head, {})
        facelift = generations.get(rest, 0)
        generations[rest] = facelift + 1
        places[name] = Kin(list(families).index(head), list(generations).index(rest), facelift)
    return tuple(places[name] for name in names)


def _year(name: str) -> str:
    years = _YEARS.search(name)
    return years.group(1) if years else ""
