import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from chajong.errors import DataError
from chajong.labels import Labels, known_equal, known_names
from chajong.wording import nfc

NAMES = ("K5_2020", "그랜저_IG_2017_2019", "쏘나타_DN8_2019_2023")


def test_the_competitions_names_are_in_the_one_order() -> None:
    names = known_names()
    assert len(names) == 396
    labels = Labels.of(reversed(names))
    assert labels.names == names  # code-point order is the order of the submission's columns
    assert len(labels.equal) == 5


def test_of_takes_names_as_they_come() -> None:
    decomposed = [unicodedata.normalize("NFD", name) for name in NAMES]
    assert decomposed != list(NAMES)
    assert Labels.of([*decomposed, *NAMES[::-1]]) == Labels(NAMES)


def test_numbers_are_sorted_by_code_point_not_by_size() -> None:
    assert Labels.of(["2", "10", "1", "0"]).names == ("0", "1", "10", "2")


@pytest.mark.parametrize(
    ("names", "equal", "message"),
    [
        ((), (), "no classes"),
        (("a", "b", "b"), (), "unique, but 'b'"),
        (("a", "c", "b"), (), "'c before b'"),
        ((unicodedata.normalize("NFD", "가"),), (), "NFC"),
        (("", "a"), (), "blank"),
        (("a", "b"), (("a", "x"),), "'x' are not classes"),
    ],
)
def test_refuses_names_out_of_order(
    names: tuple[str, ...], equal: tuple[tuple[str, str], ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Labels(names, equal)


def test_index_compares_in_nfc() -> None:
    labels = Labels(NAMES)
    for place, name in enumerate(NAMES):
        assert labels.index(unicodedata.normalize("NFD", name)) == place
    np.testing.assert_array_equal(labels.indices([NAMES[2], NAMES[0], NAMES[2]]), [2, 0, 2])
    assert labels.indices([]).shape == (0,)


def test_unknown_names_are_listed_with_what_was_meant() -> None:
    with pytest.raises(DataError, match=r"'그랜저_IG_2017' \(did you mean '그랜저_IG_2017_2019'"):
        Labels(NAMES).index("그랜저_IG_2017")
    with pytest.raises(DataError, match=r"^8 label\(s\)(.|\n)*and 3 more"):
        Labels(NAMES).indices([str(i) for i in range(8)] * 2)


def test_canonical_joins_chains_of_pairs() -> None:
    labels = Labels(("a", "b", "c", "d", "e"), (("d", "e"), ("b", "d"), ("e", "b")))
    np.testing.assert_array_equal(labels.canonical, [0, 1, 2, 1, 1])
    np.testing.assert_array_equal(Labels(("a", "b")).canonical, [0, 1])


def test_canonical_of_random_pairs_matches_brute_force() -> None:
    generator = np.random.default_rng(3)
    names = tuple("abcdefghij")
    for _ in range(50):
        pairs = generator.integers(10, size=(generator.integers(8), 2))
        joined = np.eye(10, dtype=bool)
        for one, other in pairs:
            joined[one, other] = joined[other, one] = True
        for _ in range(4):
            joined = (joined.astype(int) @ joined.astype(int)) > 0
        labels = Labels(names, tuple((names[one], names[other]) for one, other in pairs))
        np.testing.assert_array_equal(labels.canonical, joined.argmax(axis=1))


def test_known_equal_needs_both_names_of_a_pair() -> None:
    pair = ("RAV4_2016_2018", "라브4_4세대_2013_2018")
    assert known_equal([unicodedata.normalize("NFD", name) for name in pair]) == (pair,)
    assert known_equal(pair[:1]) == ()


def test_saved_labels_come_back(tmp_path: Path) -> None:
    labels = Labels.of(known_names())
    labels.save(tmp_path / "labels.json")
    assert Labels.load(tmp_path / "labels.json") == labels
    assert "쏘나타" in (tmp_path / "labels.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"names": ["a"]}', '{"names": [1], "equal": []}', "\udcff"]
)
def test_damaged_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"labels\.json is damaged"):
        Labels.load(tmp_path / "labels.json")


def test_a_file_with_names_out_of_order_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps({"names": ["b", "a"], "equal": []}))
    with pytest.raises(DataError, match="sorted"):
        Labels.load(tmp_path / "labels.json")
    with pytest.raises(DataError, match="no such file"):
        Labels.load(tmp_path / "other.json")


def test_fingerprint_depends_on_names_and_pairs() -> None:
    different = [Labels(("a", "b")), Labels(("a", "c")), Labels(("a", "b"), (("a", "b"),))]
    assert len({labels.fingerprint for labels in different}) == 3
    assert Labels(("a", "b")).fingerprint == Labels.of("ba").fingerprint


def test_nfc_composes() -> None:
    assert nfc(unicodedata.normalize("NFD", "쏘나타")) == "쏘나타"
