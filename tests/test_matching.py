import unicodedata

import numpy as np
import pytest

from chajong.matching import match_ids


def test_finds_the_row_of_each_id() -> None:
    match = match_ids(["b", "c", "a"], ["a", "b", "c"])
    np.testing.assert_array_equal(match.rows, [2, 0, 1])
    assert match.problem is None
    assert match.note is None


def test_compares_in_nfc() -> None:
    match = match_ids([unicodedata.normalize("NFD", "사진")], ["사진"])
    assert (match.problem, match.note) == (None, None)


def test_says_what_is_missing_and_what_is_extra() -> None:
    match = match_ids(["a", "x"], ["a", "b"])
    assert (match.missing, match.extra) == (("b",), ("x",))
    assert match.problem == "1 id(s) without a prediction: 'b'; 1 id(s) not asked for: 'x'"
    assert match.note is None


def test_matches_by_stem_and_says_so() -> None:
    match = match_ids(["test/T_2.jpg", "test/T_1.JPG"], ["T_1", "T_2"])
    np.testing.assert_array_equal(match.rows, [1, 0])
    assert match.problem is None
    assert match.note is not None
    assert "'test/T_2.jpg' as 'T_2'" in match.note


def test_only_the_suffix_of_a_photo_is_no_part_of_its_id() -> None:
    match = match_ids(["test/car.002.jpg", "test/car.001.jpg"], ["car.001", "car.002"])
    np.testing.assert_array_equal(match.rows, [1, 0])
    assert match_ids(["a.jpg", "b.jpg"], ["a.1", "b.2"]).missing == ("a.1", "b.2")


def test_says_which_one_is_missing_when_stems_match() -> None:
    match = match_ids(["test/T_1.jpg", "test/T_3.jpg"], ["T_1", "T_2"])
    assert (match.missing, match.extra) == (("T_2",), ("test/T_3.jpg",))


@pytest.mark.parametrize(
    ("predicted", "wanted", "rows"),
    [
        (("train/1.jpg", "train/2.jpg"), ("test/1.jpg", "test/2.jpg"), [-1, -1]),
        (("a/1.jpg", "b/2.jpg", "b/3.jpg"), ("a/1", "b/2", "c/3"), [0, 1, -1]),
        (("test/1.jpg", "test/2.jpg"), ("open/test/1.png", "2"), [0, 1]),
        (("1.jpg",), ("test/1",), [0]),
    ],
)
def test_photos_of_folders_that_contradict_are_two(
    predicted: tuple[str, ...], wanted: tuple[str, ...], rows: list[int]
) -> None:
    found = match_ids(predicted, wanted)
    assert found.rows.tolist() == rows
    assert len(found.missing) == len(found.extra) == rows.count(-1)


def test_never_matches_stems_that_are_not_unique() -> None:
    match = match_ids(["a/1.jpg", "b/1.jpg"], ["1", "2"])
    assert match.missing == ("1", "2")
    assert match_ids(["1.jpg"], ["a/1", "b/1"]).missing == ("a/1", "b/1")
