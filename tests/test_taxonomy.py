import csv
import random
import re
import string
import unicodedata
from pathlib import Path

import pytest

from chajong.labels import known_names
from chajong.taxonomy import (
    BODIES,
    POWERTRAINS,
    ParsedName,
    maker_names,
    makers,
    parse_name,
)

# Read from every name by a person, not by the parser.
TABLE = Path(__file__).parent / "data" / "hecto_parsed.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))


def test_the_table_is_of_the_competitions_names() -> None:
    assert tuple(row["class"] for row in ROWS) == known_names()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_every_name_of_the_competition_is_read_as_a_person_reads_it(form: str) -> None:
    wrong = []
    for row in ROWS:
        got = parse_name(unicodedata.normalize(form, row["class"]))  # type: ignore[arg-type]
        told = {
            "class": got.name,
            "model": got.model,
            "generation": got.generation or "",
            "powertrain": got.powertrain or "",
            "year_from": str(got.year_from),
            "year_to": str(got.year_to),
        }
        if told != row or got.body is not None:
            wrong.append((told, row))
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "edition"),
    [
        ("더_뉴_그랜드_스타렉스_2018_2021", "더_뉴"),
        ("더_올뉴G80_2021_2024", "더_올뉴"),
        ("디_올뉴니로EV_2023_2024", "디_올뉴"),
        ("뉴QM3_2018_2019", "뉴"),
        ("All_New_XJ_2016_2019", "All_New"),
        ("G4_렉스턴_2018_2020", "G4"),
        ("뉴_스타일_코란도_C_2017_2019", "뉴_스타일"),
        ("모하비_더_마스터_2020_2024", "더_마스터"),
        ("쏘나타_디_엣지_DN8_2024_2025", "디_엣지"),
        ("더_뉴스포티지R_2014_2016", "더_뉴_R"),
        ("뉴_SM5_임프레션_2008_2010", "뉴_임프레션"),
        ("그랜저_IG_2017_2019", None),
        ("Acura_TL_Type-S_2008", "Type-S"),
        ("Chevrolet_Corvette_Ron_Fellows_Edition_Z06_2007", "Ron_Fellows_Edition_Z06"),
        ("Chevrolet_Silverado_1500_Classic_Extended_Cab_2007", "Classic"),
    ],
)
def test_words_of_facelifts_and_trims_are_kept(name: str, edition: str | None) -> None:
    assert parse_name(name).edition == edition


@pytest.mark.parametrize(
    ("name", "maker", "model", "powertrain", "body", "year"),
    [
        ("AM_General_Hummer_SUV_2000", "AM General", "Hummer", None, "suv", 2000),
        ("Acura_TL_Type-S_2008", "Acura", "TL", None, None, 2008),
        ("Acura TL Sedan 2012", "Acura", "TL", None, "sedan", 2012),
        (
            "Aston_Martin_V8_Vantage_Coupe_2012",
            "Aston Martin",
            "V8_Vantage",
            None,
            "coupe",
            2012,
        ),
        ("Audi_100_Wagon_1994", "Audi", "100", None, "wagon", 1994),
        ("Audi_TT_RS_Coupe_2012", "Audi", "TT_RS", None, "coupe", 2012),
        ("BMW_1_Series_Coupe_2012", "BMW", "1_Series", None, "coupe", 2012),
        ("BMW_ActiveHybrid_5_Sedan_2012", "BMW", "ActiveHybrid_5", "hybrid", "sedan", 2012),
        (
            "Bentley_Continental_Supersports_Conv._Convertible_2012",
            "Bentley",
            "Continental_Supersports",
            None,
            "convertible",
            2012,
        ),
        ("Bugatti_Veyron_16.4_Coupe_2009", "Bugatti", "Veyron_16.4", None, "coupe", 2009),
        ("Cadillac_Escalade_EXT_Crew_Cab_2007", "Cadillac", "Escalade_EXT", None, "pickup", 2007),
        ("Chevrolet_Express_Cargo_Van_2007", "Chevrolet", "Express", None, "van", 2007),
        ("Chevrolet_Malibu_Hybrid_Sedan_2010", "Chevrolet", "Malibu", "hybrid", "sedan", 2010),
        (
            "Chevrolet_Silverado_1500_Hybrid_Crew_Cab_2012",
            "Chevrolet",
            "Silverado_1500",
            "hybrid",
            "pickup",
            2012,
        ),
        ("Chrysler_300_SRT-8_2010", "Chrysler", "300", None, None, 2010),
        ("Dodge_Charger_SRT-8_2009", "Dodge", "Charger", None, None, 2009),
        ("FIAT_500_Convertible_2012", "FIAT", "500", None, "convertible", 2012),
        ("Ford_E-Series_Wagon_Van_2012", "Ford", "E-Series", None, "van", 2012),
        ("Ford_GT_Coupe_2006", "Ford", "GT", None, "coupe", 2006),
        ("Ford_Ranger_SuperCab_2011", "Ford", "Ranger", None, "pickup", 2011),
        ("GMC_Yukon_Hybrid_SUV_2012", "GMC", "Yukon", "hybrid", "suv", 2012),
        ("Hyundai_Genesis_Sedan_2012", "Hyundai", "Genesis", None, "sedan", 2012),
        ("Infiniti_G_Coupe_IPL_2012", "Infiniti", "G", None, "coupe", 2012),
        ("Land_Rover_Range_Rover_SUV_2012", "Land Rover", "Range_Rover", None, "suv", 2012),
        ("Mercedes-Benz_C-Class_Sedan_2012", "Mercedes-Benz", "C-Class", None, "sedan", 2012),
        ("Ram_C-V_Cargo_Van_Minivan_2012", "Ram", "C-V", None, "minivan", 2012),
        (
            "Rolls-Royce_Phantom_Drophead_Coupe_Convertible_2012",
            "Rolls-Royce",
            "Phantom",
            None,
            "convertible",
            2012,
        ),
        ("Suzuki_SX4_Hatchback_2012", "Suzuki", "SX4", None, "hatchback", 2012),
        ("Volvo_C30_Hatchback_2012", "Volvo", "C30", None, "hatchback", 2012),
        ("smart_fortwo_Convertible_2012", "smart", "fortwo", None, "convertible", 2012),
    ],
)
def test_english_names_are_maker_model_body_and_year(
    name: str, maker: str, model: str, powertrain: str | None, body: str | None, year: int
) -> None:
    got = parse_name(name)
    assert (got.maker, got.model, got.powertrain, got.body) == (maker, model, powertrain, body)
    assert (got.year_from, got.year_to) == (year, year)
    # An English name never says a generation that could be told from a trim.
    assert got.generation is None


@pytest.mark.parametrize(
    ("name", "maker", "model", "generation"),
    [
        ("현대_더_뉴_그랜저_IG_2020_2023", "현대", "그랜저", "IG"),
        ("더_뉴_기아_레이_2022_2025", "기아", "레이", None),
        ("BMW_3시리즈_G20_2019_2022", "BMW", "3시리즈", "G20"),
        ("제네시스_G80_RG3_2021_2023", "제네시스", "G80", "RG3"),
        ("제네시스_DH_2014_2016", None, "제네시스", "DH"),
        ("르노_마스터_2019_2021", "르노", "마스터", None),
        ("르노코리아_QM6_2017_2019", "르노코리아", "QM6", None),
        ("Renault_Korea_QM6_2017_2019", "Renault Korea", "QM6", None),
        ("폴스타_2_2022_2024", "폴스타", "2", None),
    ],
)
def test_makers_before_korean_names(
    name: str, maker: str | None, model: str, generation: str | None
) -> None:
    got = parse_name(name)
    assert (got.maker, got.model, got.generation) == (maker, model, generation)


@pytest.mark.parametrize(
    ("name", "model", "years"),
    [
        ("2008_2015_2017", "2008", (2015, 2017)),
        ("2008_2015", "2008", (2015, 2015)),
        ("2008", "2008", (None, None)),
        ("Peugeot_2008_SUV_2015", "2008", (2015, 2015)),
        ("911_2003_2019", "911", (2003, 2019)),
        ("K5_2022_2020", "K5_2022", (2020, 2020)),  # years do not run backwards
        ("K5_3세대_1820", "K5_1820", (None, None)),
    ],
)
def test_years_are_at_the_end_and_leave_a_model(
    name: str, model: str, years: tuple[int | None, int | None]
) -> None:
    got = parse_name(name)
    assert (got.model, (got.year_from, got.year_to)) == (model, years)


@pytest.mark.parametrize(
    ("name", "powertrain"),
    [
        ("e_트론_2020_2023", None),  # on plug-in hybrids too
        ("EQ900_2016_2018", None),
        ("EV6_2022_2024", "electric"),
        ("레이_EV_2012", "electric"),
        ("코나_일렉트릭_2018_2020", "electric"),
        ("K5_플러그인_하이브리드_2016_2018", "plug-in hybrid"),
        ("UX250h_2019_2024", "hybrid"),
        ("프리우스_4세대_2016_2018", None),
    ],
)
def test_only_names_that_say_so_tell_a_powertrain(name: str, powertrain: str | None) -> None:
    assert parse_name(name).powertrain == powertrain


@pytest.mark.parametrize(
    "name",
    ["", "_", "더", "올뉴", "하이브리드", "EV", "R", "LF", "기아", "3세대", "x", "🚗", "세단"],
)
def test_a_name_of_no_form_is_its_own_model(name: str) -> None:
    got = parse_name(name)
    assert got == ParsedName(name, name)


def test_no_name_crashes_or_loses_its_model() -> None:
    words = ["더", "뉴", "올뉴", "R", "EV", "TG", "2020", "992", "3세대", "기아", "BMW", "Sedan"]
    words += [
        "SS",
        "하이브리드",
        "Hybrid",
        "쏘나타",
        "X5",
        "",
        " ",
        "디스커버리",
        "4",
        "G4",
        "렉스턴",
    ]
    draw = random.Random(0)
    for _ in range(3000):
        name = draw.choice("_ ").join(draw.choices(words, k=draw.randint(1, 6)))
        got = parse_name(name)
        assert got.name == name
        assert bool(got.model) == bool(name)
        assert got.body in (None, *BODIES)
        assert got.powertrain in (None, *POWERTRAINS)
        assert (got.year_from is None) == (got.year_to is None)
        assert (got.year_from or 0) <= (got.year_to or 0)


def test_a_turkish_i_is_an_i() -> None:
    for written in ("AUDİ_A3_2015", "audı_A3_2015", "AUDI_A3_2015"):
        parsed = parse_name(written)
        assert parsed.maker is not None
        assert maker_names(parsed.maker) == maker_names("Audi")
        assert (parsed.model, parsed.year_from) == ("A3", 2015)


def test_whatever_the_pattern_takes_for_a_maker_is_one() -> None:
    # What a pattern without case takes for one letter is not all that casefolding does.
    alike = {
        letter: [
            chr(code)
            for code in range(0x3000)
            if re.fullmatch(re.escape(letter), chr(code), re.IGNORECASE)
        ]
        for letter in string.ascii_letters
    }
    for maker in makers():
        for place, letter in enumerate(maker):
            for other in alike.get(letter, ()):
                parsed = parse_name(f"{maker[:place]}{other}{maker[place + 1 :]}_X_2015")
                if parsed.maker is not None:
                    assert maker_names(parsed.maker) == maker_names(maker)


def test_makers_are_named_once_in_each_language() -> None:
    assert len(set(makers().values())) == len(makers())
    assert makers()["Land Rover"] == "랜드로버"
    assert maker_names("land rover") == maker_names("랜드로버") == ("랜드로버", "Land Rover")
