import unicodedata

import pytest

from chajong.labels import known_equal, known_names
from chajong.look_alikes import LookAlike, look_alike_names


def alike(*names: str) -> LookAlike | None:
    found = look_alike_names(names)
    assert len(found) <= 1
    return found[0] if found else None


def test_the_equal_pairs_of_the_competition_are_proposed_and_few_others() -> None:
    found = look_alike_names(reversed(known_names()))
    pairs = {frozenset(pair[:2]) for pair in found}
    assert {frozenset(pair) for pair in known_equal(known_names())} <= pairs
    assert len(found) == len(pairs) == 14
    assert [pair.score for pair in found] == sorted((pair.score for pair in found), reverse=True)
    assert all(pair.name < pair.other and 0 < pair.score <= 1 for pair in found)


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("디_올_뉴_니로_2022_2025", "디_올뉴니로_2022_2025", "spaces and capitals"),
        ("Kia Niro", "kia_niro", "spaces and capitals"),
        ("718_박스터_2017_2024", "박스터_718_2017_2024", "words in another order"),
        ("Sedan_Audi", "audi_sedan", "words in another order"),
        ("뉴_GV80_2024_2025", "GV80_2024_2025", "same model and years"),
        ("스포티지_5세대_2022_2024", "디_올_뉴_스포티지_2022_2024", "same model and years"),
        ("RAV4_2016_2018", "라브4_4세대_2013_2018", "sounds the same"),
        ("BMW_3_Series_Sedan_2012", "3시리즈_E90_2005_2012", "sounds the same"),
        ("Mercedes-Benz_C-Class_Sedan_2012", "C_클래스_W204_2008_2015", "sounds the same"),
        ("Toyota_Camry_Sedan_2020", "캠리_XV70_2018_2024", "sounds the same"),
        ("Ford_Mustang_Convertible_2017", "머스탱_2015_2023", "sounds the same"),
        ("Volkswagen_Golf_Hatchback_2014", "골프_7세대_2013_2016", "sounds the same"),
        ("Kia_K5_2020", "기아_K5_3세대_2020", "same model and years"),
        ("e-tron_2020_2023", "e_트론_2020_2023", "sounds the same"),
    ],
)
def test_names_that_may_mean_one_car(one: str, other: str, reason: str) -> None:
    found = alike(one, unicodedata.normalize("NFD", other))
    assert found is not None
    assert {found.name, found.other} == {one, other}
    assert reason in found.reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("라브4_4세대_2013_2018", "라브4_5세대_2019_2024"),  # other years
        ("티볼리_2015_2018", "티볼리_아머_2018_2019"),  # a facelift in the last year
        ("GLC_클래스_X253_2023", "GLC_클래스_X254_2023_2025"),  # another generation
        ("K5_3세대_2020_2023", "K5_3세대_하이브리드_2020_2023"),  # another powertrain
        ("K5_3세대", "K5_3세대_2020_2023"),  # years only of one
        ("Audi_S5_Coupe_2012", "Audi_S5_Convertible_2012"),  # another body
        ("FIAT_500_Abarth_2012", "FIAT_500_Convertible_2012"),  # a trim
        ("Mercedes-Benz_SL-Class_Coupe_2009", "S_클래스_W221_2006_2013"),  # a short word
        ("Volvo_XC90_SUV_2020", "엑스씨60_2020"),  # a number
        ("Tesla_Model_3_2020", "3시리즈_2020"),
        ("기아_레이_2020", "현대_더_뉴_레이_2020"),  # another maker
        ("Honda_Sonata_Sedan_2020", "현대_쏘나타_2020"),
        ("쏘나타_2020", "쏘렌토_2020"),
    ],
)
def test_names_that_do_not_mean_one_car(one: str, other: str) -> None:
    assert alike(one, other) is None


def test_the_score_is_the_share_of_years_and_letters() -> None:
    found = alike("RAV4_2016_2018", "라브4_4세대_2013_2018")
    assert found is not None
    assert found.score == 0.5  # 3 of 6 years
    found = alike("Sonata_2012", "쏘나타_2012_2013")
    assert found is not None
    assert found.score == 0.5
    found = alike("Mustang_2015", "머스탱_2015")
    assert found is not None
    assert found.score == round(6 / 7, 3)  # mostang


def test_there_may_be_nothing_to_compare() -> None:
    assert look_alike_names([]) == []
    assert look_alike_names(["K5", "K5"]) == []
