"""What a class name says of a car: its model, generation, powertrain and years.

Two ways of naming are read. Korean used-car names such as `더_뉴_그랜드_스타렉스_2018_2021` put
words of a facelift before or behind the model, then a generation and the years of building;
English ones such as `Acura_TL_Sedan_2012` are maker, model, body and year. Only what the name
itself says is told.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from chajong.wording import nfc

BODIES = (
    "sedan",
    "suv",
    "hatchback",
    "liftback",
    "wagon",
    "coupe",
    "convertible",
    "minivan",
    "van",
    "pickup",
)
"""Kinds of bodies; a liftback looks like a sedan, but its rear window opens with the lid."""

POWERTRAINS = ("combustion", "hybrid", "plug-in hybrid", "electric", "hydrogen")
"""What drives a car; a mild hybrid counts as combustion."""

_HANGUL = "[가-힣]"

_FACELIFT_BEFORE = re.compile(
    rf"(?:더|디|올|올뉴|뉴|신형|넥스트|리얼|베리|뷰티풀|스타일|All|New|The|G4(?=_렉스턴))_"
    rf"|(?:올뉴|뉴)(?={_HANGUL}|[A-Z])",
    re.IGNORECASE,
)
_FACELIFT_AFTER = re.compile(
    r"_(?:더_마스터|더_볼드|더_프라임|디_엣지|뉴_라이즈|프리미어|네오|노바|뉴아트|임프레션|플래티넘"
    r"|아머|어반|마이스터|신형)(?=_|$)"
    # The engine after which Kia named two generations.
    r"|(?:(?<=쏘렌토)|(?<=스포티지))_?R(?=_|$)"
)
_TRIMS = re.compile(
    r"_(?:Type[-_][RS]|SRT-?8|SS|GS|IPL|XKR|ZR1|Z06|Ron_Fellows_Edition|Abarth|Classic"
    r"|LP_570-4|Superleggera)(?=_|$)"
)
_POWERTRAINS = {
    "plug-in hybrid": re.compile(
        r"_?플러그인_?하이브리드|_?Plug-in_Hybrid|_PHEV(?=_|$)", re.IGNORECASE
    ),
    "hybrid": re.compile(r"_?하이브리드|_Hybrid(?=_|$)|_HEV(?=_|$)", re.IGNORECASE),
    "electric": re.compile(
        rf"일렉트리파이드_|_?일렉트릭(?=_|$)|(?:_|(?<={_HANGUL}))EV(?=_|$)|_Electric(?=_|$)"
    ),
    "hydrogen": re.compile(r"_FCEV(?=_|$)"),
}
# These say how the car is driven, but are its model's name as well: Lexus writes 300h for a
# hybrid, Kia EV6 and BMW ActiveHybrid 5. Not so e-tron, which Audi also wrote on plug-in hybrids.
_POWERTRAIN_MODELS = {
    "hybrid": re.compile(r"(?:^|_)[A-Z]{2}\d{3}h(?=_|$)|ActiveHybrid"),
    "electric": re.compile(r"(?:^|_)EV\d(?=_|$)"),
}
_BODIES = {
    "sedan": "Sedan",
    "suv": "SUV",
    "hatchback": "Hatchback",
    "wagon": "Wagon",
    "coupe": "Coupe",
    "convertible": r"(?:Drophead_Coupe|Conv\.|Roadster)_Convertible|Convertible",
    "minivan": "(?:Cargo_Van_)?Minivan",
    "van": "(?:Cargo|Passenger|Wagon)_Van|Van",
    "pickup": "(?:Crew|Extended|Regular|Club|Quad)_Cab|SuperCab",
}
_GENERATIONS = re.compile(
    r"_(\d{1,2}세대)(?=_|$)"
    r"|(?<=디스커버리)_(\d)(?=_|$)"
    # A chassis code stands behind the model: F34, W463b, PO536; 4K; RG, but no GT; 992.
    r"|_([A-Z]{1,2}\d{1,3}[a-z]?|\d[A-Z]|9\d\d|(?!GT|EV|RS|SS|CC)[A-Z]{2})(?=_|$)"
    # Or sticks to it: 그랜저TG. Or stands before it: YF쏘나타, LF_쏘나타.
    rf"|(?<={_HANGUL})((?!GT|EV)[A-Z]{{2}})(?=_|$)"
    rf"|^((?!GT|EV|VW|GM|KG|CT)[A-Z]{{2}})_?(?={_HANGUL})"
)
# Hyundai's model of this name, not the maker; a body or chassis code follows.
_NO_MAKER = re.compile(r"제네시스_(?:BH|DH|쿠페|\d{4})(?=_|$)")


@dataclass(frozen=True)
class ParsedName:
    """What a class name says; None where it does not say.

    Attributes:
        name: The whole name, in NFC.
        maker: The maker as the name writes it, such as `Aston Martin`.
        model: The model line without maker, facelift words and trims, joined by underscores.
            Korean words for another body are part of it (`3시리즈_GT`, `티볼리_에어`), for these
            are lines of their own; English ones are not, for they are in every English name.
        edition: Words of a facelift or trim, as they stand: `더_뉴`, `프리미어`, `SRT-8`.
        generation: A chassis code or a number: `F34`, `7세대`.
        powertrain: One of `POWERTRAINS`.
        body: One of `BODIES`, of English names only.
        year_from: The first year of building.
        year_to: The last one; of a single year the same.
    """

    name: str
    model: str
    maker: str | None = None
    edition: str | None = None
    generation: str | None = None
    powertrain: str | None = None
    body: str | None = None
    year_from: int | None = None
    year_to: int | None = None


def parse_name(name: str) -> ParsedName:
    """Read a class name.

    Args:
        name: The name, in any Unicode form; its words joined by underscores or spaces.

    Returns:
        What it says; of a name of no known form the model is the whole name.
    """
    name = nfc(name)
    text = "_".join(re.split(r"[_\s]+", name)).strip("_")
    is_korean = re.search(_HANGUL, text) is not None
    maker, text = _take_maker(text)
    text, year_from, year_to = _take_years(text)
    powertrain, text = _take_powertrain(text)
    edition: str | None
    generation = body = None
    if maker and not is_korean:
        text, edition = _take(_TRIMS, text)
        body, text = _take_body(text)
    else:
        before, text = _take_before(text)
        if maker is None:  # 더_뉴_기아_레이
            maker, text = _take_maker(text)
        text, after = _take(_FACELIFT_AFTER, text)
        edition = "_".join(filter(None, (before, after))) or None
        text, generation = _take(_GENERATIONS, text)
    return ParsedName(
        name, text or name, maker, edition, generation, powertrain, body, year_from, year_to
    )


@cache
def makers() -> dict[str, str]:
    """Give the makers that are known at the start of names.

    Returns:
        The Korean name of each English one.
    """
    text = (files("chajong") / "data" / "makers.csv").read_text(encoding="utf-8")
    return {row["maker_en"]: row["maker_ko"] for row in csv.DictReader(text.splitlines())}


def maker_names(written: str) -> tuple[str, str]:
    """Give a maker's name in both languages.

    Args:
        written: The maker as a parsed name has it.

    Returns:
        Its Korean name and its English one.
    """
    return _by_any_name()[_plain(written)]


@cache
def _by_any_name() -> dict[str, tuple[str, str]]:
    return {_plain(name): (ko, en) for en, ko in makers().items() for name in (ko, en)}


def _plain(name: str) -> str:
    # A Turkish i with or without its dot is an i, as it is to a pattern that ignores case.
    return name.casefold().replace("\u0307", "").replace("\u0131", "i")


@cache
def _maker_pattern() -> re.Pattern[str]:
    # The longest first, so that `Renault Korea` is not a Renault named Korea.
    names = sorted({*makers(), *makers().values()}, key=len, reverse=True)
    written = "|".join(re.escape(name.replace(" ", "_")) for name in names)
    return re.compile(rf"({written})_(?=.)", re.IGNORECASE)


def _take_maker(text: str) -> tuple[str | None, str]:
    found = _maker_pattern().match(text)
    if found is None or _NO_MAKER.match(text):
        return None, text
    maker = found[1].replace("_", " ")
    return (maker, text[found.end() :]) if _plain(maker) in _by_any_name() else (None, text)


def _take_years(text: str) -> tuple[str, int | None, int | None]:
    # `2008_2015_2017` is the Peugeot 2008: at least one word is left for the model.
    found = re.fullmatch(r"(.+?)(?:_((?:19|20)\d\d))?_((?:19|20)\d\d)", text)
    if found is None:
        return text, None, None
    rest, first, last = found.groups()
    if first is not None and int(first) > int(last):
        rest, first = f"{rest}_{first}", None
    return rest, int(first or last), int(last)


def _take_powertrain(text: str) -> tuple[str | None, str]:
    for powertrain, pattern in _POWERTRAINS.items():
        rest, words = _take(pattern, text)
        if words:
            return powertrain, rest
    for powertrain, pattern in _POWERTRAIN_MODELS.items():
        if pattern.search(text):
            return powertrain, text
    return None, text


def _take_before(text: str) -> tuple[str, str]:
    start = 0
    while (found := _FACELIFT_BEFORE.match(text, start)) and found.end() < len(text):
        start = found.end()
    return text[:start].strip("_"), text[start:]


def _take_body(text: str) -> tuple[str | None, str]:
    # From the end, for `E-Series_Wagon_Van` is a van.
    for body, pattern in _BODIES.items():
        if found := re.search(rf"_(?:{pattern})$", text):
            return body, text[: found.start()]
    return None, text


def _take(pattern: re.Pattern[str], text: str) -> tuple[str, str | None]:
    # Unless nothing would be left.
    words = [found[0].strip("_") for found in pattern.finditer(text)]
    rest = re.sub("__+", "_", pattern.sub("", text)).strip("_")
    return (rest, "_".join(words)) if words and rest else (text, None)
