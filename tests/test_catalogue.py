import csv
import sys
import unicodedata
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from chajong.catalogue import COLUMNS, Car, Catalogue, known_catalogue
from chajong.cli import main
from chajong.errors import DataError
from chajong.labels import Labels, known_equal, known_names
from chajong.taxonomy import BODIES, POWERTRAINS, makers, parse_name

HEADER = ",".join(COLUMNS)
OWN = f"""{HEADER}
쏘나타_1,현대,Hyundai,쏘나타,1세대,sedan,combustion,2010,2014,
쏘나타_2,현대,Hyundai,쏘나타,2세대,sedan,,2015,,
"쏘나타, 2",현대,Hyundai,쏘나타,2세대,sedan,hybrid,2015,2019,쏘나타_2
그랜저,현대,Hyundai,그랜저,,,,,,
모름,,,,,,,,,
"""


def own(tmp_path: Path, text: str = OWN) -> Catalogue:
    path = tmp_path / "own.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return Catalogue.read(path)


def test_the_known_catalogue_is_of_the_competitions_classes() -> None:
    cars = known_catalogue().cars
    assert tuple(car.name for car in cars) == known_names()
    assert [
        (car.maker_ko, car.maker_en) for car in cars if makers()[car.maker or ""] != car.maker_ko
    ] == []
    assert {car.body for car in cars} <= {None, *BODIES}
    assert {car.powertrain for car in cars} == {None, *POWERTRAINS} - {"plug-in hybrid"}


def test_the_known_catalogue_says_what_names_say() -> None:
    for car in known_catalogue().cars:
        said = parse_name(car.name)
        assert (car.year_from, car.year_to) == (said.year_from, said.year_to)
        assert said.generation in (None, car.generation)
        assert said.powertrain in (None, car.powertrain)


def test_what_is_not_known_is_counted() -> None:
    assert known_catalogue().missing() == {
        "maker_ko": 0,
        "maker_en": 0,
        "model": 0,
        "generation": 6,
        "body": 19,
        "powertrain": 135,
        "year_from": 0,
        "year_to": 0,
    }


@pytest.mark.parametrize(
    "names",
    [
        ("K5_3세대_2020_2023", "K5_3세대_하이브리드_2020_2022", "더_뉴_K5_3세대_2024_2025"),
        ("그랜저_GN7_2023_2025", "디_올뉴그랜저_2023_2025"),
        ("그랜저_IG_2017_2019", "더_뉴_그랜저_IG_2020_2023"),
        ("LF_쏘나타_2015_2017", "쏘나타_뉴_라이즈_2018_2019"),
        ("스포티지_4세대_2016_2018", "스포티지_더_볼드_2019_2022"),
        ("EQ900_2016_2018", "G90_2019_2022"),
        ("G4_렉스턴_2018_2020", "올_뉴_렉스턴_2021_2025"),
        ("투싼_NX4_2021_2023", "더_올뉴투싼_하이브리드_2021_2023"),
    ],
)
def test_a_facelift_and_a_hybrid_are_of_one_generation(names: tuple[str, ...]) -> None:
    cars = [known_catalogue().of(name) for name in names]
    assert len({(car.maker, car.model, car.generation) for car in cars}) == 1


def test_the_competitions_equal_classes_are_one_car() -> None:
    pairs = known_catalogue().equal(known_names())
    assert len(pairs) == 5
    assert pairs == known_equal(known_names())
    for one, other in pairs:
        first, second = known_catalogue().of(one), known_catalogue().of(other)
        for name in ("maker_ko", "maker_en", "model", "generation", "body", "powertrain"):
            assert getattr(first, name) == getattr(second, name)
    assert known_catalogue().equal([pairs[0][0], pairs[1][1]]) == ()


def test_a_users_catalogue_is_read(tmp_path: Path) -> None:
    found = own(tmp_path)
    assert found.cars[1] == Car(
        "쏘나타_2", "현대", "Hyundai", "쏘나타", "2세대", "sedan", None, 2015, None, None
    )
    assert found.cars[4] == Car("모름")
    assert [car.years for car in found.cars] == ["2010-2014", "2015-", "2015-2019", None, None]
    assert found.missing()["powertrain"] == 3
    assert found.equal(["쏘나타, 2", "쏘나타_2"]) == (("쏘나타, 2", "쏘나타_2"),)
    # As other programs may save it: decomposed, with a BOM, other columns and order.
    rows = list(csv.reader(OWN.splitlines()))
    turned = "\r\n".join(
        ",".join(f'"{cell}"' for cell in [*row[::-1], "x"]) for row in rows
    ).replace('"x"', '"note"', 1)
    assert own(tmp_path, "\ufeff" + unicodedata.normalize("NFD", turned)) == found


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    header = HEADER.replace("maker_ko", "maker")
    rows = [
        "a,,,,,sedan,,2020,2018,",
        "a,,,,,saloon,steam,,,",
        "b,,,,,,,20,,c",
        "d,,,,,,,,x2020,d",
        ",,,,,,,,,",
        "e,,,,,,,,,,too many",
        "f,",
    ]
    with pytest.raises(DataError) as caught:
        own(tmp_path, "\n".join([header, *rows]))
    told = str(caught.value).splitlines()
    assert told[0].endswith("own.csv cannot be used as a catalogue:")
    for problem in (
        "column 'maker_ko' is missing (did you mean 'maker'?)",
        "row 6 has more cells than the header",
        "row 7 has fewer cells than the header",
        "row 3: year_from '20' is no year",
        "row 4: year_to 'x2020' is no year",
        "a class has no name",
        "classes must be unique, but 'a' are repeated",
        "'a' is built from 2020 to 2018",
        "'b' is equal to 'c', which is no other class",
        "'d' is equal to 'd', which is no other class",
    ):
        assert f"  {problem}" in told
    assert any("'a': body 'saloon' is none of sedan, suv" in line for line in told)
    assert any("'a': powertrain 'steam' is none of combustion" in line for line in told)
    assert len(told) == 14


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 'class' is missing"),
        (HEADER, "there are no classes"),
        (f"{HEADER},class", "column 'class' is there twice"),
        (f'{HEADER}\n"a,b', "read as CSV"),
        ("\udcff", "UTF-8"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        own(tmp_path, text)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cars = Catalogue((Car("K5\n2020", model='K5, "new"'), Car("K5\u20282021", model="K5")))
    path = tmp_path / "cars.csv"
    path.write_text(cars.to_csv(), encoding="utf-8", newline="")
    assert Catalogue.read(path).cars == cars.cars


def test_cars_are_checked_without_a_file() -> None:
    with pytest.raises(DataError, match="'a' are repeated"):
        Catalogue((Car("a"), Car("a")))


def test_a_class_that_is_not_in_it_is_parsed() -> None:
    of = known_catalogue().of
    assert of("Aston_Martin_Virage_Coupe_2012") == Car(
        "Aston_Martin_Virage_Coupe_2012",
        "애스턴마틴",
        "Aston Martin",
        "Virage",
        body="coupe",
        year_from=2012,
        year_to=2012,
    )
    assert of("기아_K5_3세대_2020").maker == "Kia"
    # The catalogue knows who makes the model, and that 라브4 is its RAV4.
    assert (of("라브4_6세대_2026").maker, of("라브4_6세대_2026").model) == ("Toyota", "RAV4")
    assert of("가온_1세대_2014").maker is None
    decomposed = unicodedata.normalize("NFD", "그랜저_IG_2017_2019")
    assert of(decomposed).generation == "IG"


def test_levels_by_hand(tmp_path: Path) -> None:
    names = [
        "쏘나타_1",
        "쏘나타_2",
        "쏘나타, 2",
        "그랜저",
        "그랜저_2",
        "모름",
        "가온_2",
        "가온_1세대",
    ]
    labels = Labels(tuple(sorted(names)), (("쏘나타, 2", "쏘나타_2"),))
    assert labels.names == (
        "가온_1세대",
        "가온_2",
        "그랜저",
        "그랜저_2",
        "모름",
        "쏘나타, 2",
        "쏘나타_1",
        "쏘나타_2",
    )
    levels = own(tmp_path).levels(labels)
    assert [level.name for level in levels] == ["maker", "model", "generation", "exact"]
    # 가온_2 names no generation, so its model is `가온_2`; 모름 has neither maker nor model.
    assert levels.maker.groups.tolist() == [0, 1, 2, 3, 4, 2, 2, 2]
    assert levels.maker.names == ("가온", "가온_2", "Hyundai", "그랜저_2", "모름")
    assert levels.model.groups.tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    assert levels.model.names[2] == "Hyundai 그랜저"
    assert levels.generation.groups.tolist() == [0, 1, 2, 3, 4, 5, 6, 5]
    assert levels.generation.names[2] == "그랜저"  # its generation is not known
    assert levels.generation.names[5:] == ("Hyundai 쏘나타 2세대", "Hyundai 쏘나타 1세대")
    assert levels.exact.groups.tolist() == [0, 1, 2, 3, 4, 5, 6, 5]
    np.testing.assert_array_equal(levels.exact.canonical, labels.canonical)
    assert levels.maker.canonical.tolist() == [0, 1, 2, 3, 4, 2, 2, 2]


def test_classes_of_one_unknown_maker_are_still_of_one_model() -> None:
    labels = Labels.of(
        ["가온_1세대_2014_2017", "가온_2세대_2018_2021", "더_뉴_가온_2세대_2022_2023"]
    )
    levels = known_catalogue().levels(labels)
    assert levels.maker.groups.tolist() == levels.model.groups.tolist() == [0, 0, 0]
    assert levels.generation.groups.tolist() == [0, 1, 1]


def test_what_is_not_known_joins_nothing() -> None:
    labels = Labels(("기블리_2014_2017", "기블리_2018_2023"))
    levels = known_catalogue().levels(labels)
    assert levels.model.groups.tolist() == [0, 0]
    assert levels.generation.groups.tolist() == [0, 1]
    assert levels.generation.names == labels.names


def test_levels_of_the_competition_are_nested_and_keep_equal_classes_together() -> None:
    labels = Labels.of(known_names())
    levels = known_catalogue().levels(labels)
    assert [len(level.names) for level in levels] == [28, 204, 280, 391]
    for level in levels:
        np.testing.assert_array_equal(level.groups, level.groups[labels.canonical])
        assert len(set(level.names)) == len(level.names) == level.groups.max() + 1


def test_levels_that_users_call_equal_are_nested_too() -> None:
    generator = np.random.default_rng(0)
    names = known_names()
    for _ in range(20):
        pairs = generator.integers(len(names), size=(30, 2))
        labels = Labels(names, tuple((names[one], names[other]) for one, other in pairs))
        levels = known_catalogue().levels(labels)
        np.testing.assert_array_equal(levels.exact.canonical, labels.canonical)


def test_a_narrowed_catalogue_is_of_just_these_classes() -> None:
    known = known_catalogue()
    alone = known.narrowed(["RAV4_2016_2018", "가온_2014_2017"])
    assert [car.name for car in alone.cars] == ["RAV4_2016_2018", "가온_2014_2017"]
    assert alone.equal(["RAV4_2016_2018"]) == ()
    assert alone.missing()["maker_en"] == 1
    both = known.narrowed(["RAV4_2016_2018", "라브4_4세대_2013_2018"])
    assert both.cars[0].equal_to == "라브4_4세대_2013_2018"
    assert known.narrowed(known_names()) == known


def test_the_columns_are_those_of_a_car() -> None:
    assert ("class", *(field.name for field in fields(Car)[1:])) == COLUMNS


@pytest.mark.parametrize("kind", ["names", "photos", "run"])
def test_classes_are_shown(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["RAV4_2016_2018", "가온_2014_2017", "나온[bold]_2019", "라브4_4세대_2013_2018"]
    source = tmp_path / "names.txt"
    source.write_text("\n".join(names), encoding="utf-8")
    if kind != "names":
        source = tmp_path / kind
        for name in names:
            (source / name).mkdir(parents=True)
            (source / name / "1.jpg").write_bytes(b"a photo")
    if kind == "run":
        Labels.of(names[1:]).save(source / "labels.json")
    monkeypatch.setattr(sys, "argv", ["chajong", "classes", str(source)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    told = capsys.readouterr().out
    rows = [line.split() for line in told.splitlines()]
    if kind == "run":
        assert "3 classes" in told
        assert "RAV4_2016_2018" not in told
        return
    assert ["RAV4_2016_2018", "Toyota", "RAV4", "4세대", "2016-2018"] in rows
    assert ["가온_2014_2017", "가온", "2014-2017"] in rows
    assert "나온[bold]_2019" in [row[0] for row in rows if row]
    assert (
        "4 classes; not known: maker_ko 2, maker_en 2, generation 2, body 2, powertrain 4" in told
    )
    assert "alike (0.50): RAV4_2016_2018 and 라브4_4세대_2013_2018: sounds the same" in told


def test_a_row_without_a_maker_is_kept_beside_another_catalogue(tmp_path: Path) -> None:
    mine = own(tmp_path, f"{HEADER}\nA,,,M,G1,,,2018,,\n")
    assert mine.of("A", known_catalogue()) == mine.of("A")
    assert mine.of("A").generation == "G1"
