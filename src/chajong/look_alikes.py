"""Class names that may mean the same car, for people to look at."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

from chajong.photos.lettering import romanised
from chajong.taxonomy import ParsedName, maker_names, parse_name
from chajong.wording import nfc

_YEARS_SHARED_FROM = 0.51
"""Of the years of the shorter of two ranges; a car and its facelift share one of several."""

_SOUND_FROM = 0.75
"""Share of letters that two spellings of one word have in common, such as mustang and 머스탱."""

_WORDS = {"시리즈": "series", "클래스": "class", "모델": "model"}
"""Korean words in model names that do not sound as they are written in English."""

# How Korean writes foreign sounds: no f, v, z; one letter for l and r; eu between consonants.
_FOREIGN = str.maketrans({"f": "p", "v": "b", "z": "j", "l": "r", "c": "k", "q": "k", "y": "i"})
_KOREAN = (("eu", ""), ("eo", "o"), ("ae", "a"))


class LookAlike(NamedTuple):
    """Two names that may mean the same car.

    Attributes:
        name: One class name.
        other: Another one, behind it in code-point order.
        reason: How they are alike.
        score: How much, above 0 to 1: the share of years in common, times the share of letters.
    """

    name: str
    other: str
    reason: str
    score: float


def look_alike_names(names: Iterable[str]) -> list[LookAlike]:
    """Find class names that may mean the same car.

    Two names are alike if they differ only in spaces and capitals, or if their years are the same
    for the most part and they have the same words in another order, or the same model with or
    without words of a facelift, or a model that sounds the same in Korean and in English. Where
    both say a generation or a maker, they say the same; both or neither say a powertrain.

    Args:
        names: Class names, in any Unicode form.

    Returns:
        The pairs, the likeliest first.
    """
    said = [_Said(parse_name(name)) for name in sorted({nfc(name) for name in names})]
    found = [
        LookAlike(one.parsed.name, other.parsed.name, reason, round(score, 3))
        for one, other in combinations(said, 2)
        for reason, score in _compared(one, other)
    ]
    return sorted(found, key=lambda pair: (-pair.score, pair.name, pair.other))


class _Said:
    """A name, and forms of it that are compared.

    Args:
        parsed: What the name says.
    """

    def __init__(self, parsed: ParsedName) -> None:
        self.parsed = parsed
        self.squeezed = re.sub(r"[\s_-]+", "", parsed.name).casefold()
        words = re.sub(r"(?:[\s_]+(?:19|20)\d\d){1,2}$", "", parsed.name.casefold())
        self.words = sorted(re.split(r"[\s_]+", words))
        self.maker = parsed.maker and maker_names(parsed.maker)
        self.is_korean = re.search("[가-힣]", parsed.name) is not None
        self.is_korean_model = re.search("[가-힣]", parsed.model) is not None

    @cached_property
    def sound(self) -> str:
        # How the model sounds, in letters that Korean and English share.
        text = self.parsed.model
        for korean, english in _WORDS.items():
            text = text.replace(korean, english)
        text = "".join(_spelled(letter) for letter in text).casefold().translate(_FOREIGN)
        return re.sub(r"([a-z])\1+", r"\1", text)

    @cached_property
    def marks(self) -> list[str]:
        # Numbers and words of one or two letters in the model: the S class is no SL class.
        return sorted(re.findall(r"\d+|(?<![a-z])[a-z]{1,2}(?![a-z])", self.sound))


def _compared(one: _Said, other: _Said) -> Iterator[tuple[str, float]]:
    if one.squeezed == other.squeezed:
        yield "the same but for spaces and capitals", 1.0
        return
    years = _years_shared(one.parsed, other.parsed)
    if not years:
        return
    if one.words == other.words:
        yield "the same words in another order", years
    elif not _agree(one, other):
        return
    elif one.parsed.model == other.parsed.model and (one.is_korean or other.is_korean):
        yield "the same model and years", years
    elif one.is_korean_model != other.is_korean_model and one.marks == other.marks:
        alike = _alike(*(re.sub("[^0-9a-z]", "", said.sound) for said in (one, other)))
        if alike >= _SOUND_FROM:
            yield "sounds the same in Korean and English", years * alike


def _years_shared(one: ParsedName, other: ParsedName) -> float:
    # The share of years in common, or 0 where too few are.
    if one.year_from is None or one.year_to is None:
        return float(other.year_from is None)
    if other.year_from is None or other.year_to is None:
        return 0.0
    common = min(one.year_to, other.year_to) - max(one.year_from, other.year_from) + 1
    lengths = one.year_to - one.year_from + 1, other.year_to - other.year_from + 1
    return common / (sum(lengths) - common) if common / min(lengths) >= _YEARS_SHARED_FROM else 0.0


def _agree(one: _Said, other: _Said) -> bool:
    said = (
        (one.parsed.generation, other.parsed.generation),
        (one.maker, other.maker),
    )
    return one.parsed.powertrain == other.parsed.powertrain and all(
        a is None or b is None or a == b for a, b in said
    )


def _spelled(letter: str) -> str:
    if not "가" <= letter <= "힣":
        return letter
    spelled = romanised(letter)
    for korean, foreign in _KOREAN:
        spelled = spelled.replace(korean, foreign)
    return spelled


def _alike(one: str, other: str) -> float:
    # 1 less the edit distance (Levenshtein 1966) by the letters of the longer one.
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return 1 - row[-1] / max(len(one), len(other), 1)
