"""Corrections: what people decided, kept whole and carried out on the list, never on the photos."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from chajong.corrections import Corrections, Decision
from chajong.errors import DataError
from chajong.labels import Labels
from chajong.manifest import ISSUE_COLUMNS, PHOTO_COLUMNS, Manifest
from chajong.photos.layout import PhotoRef

WHEN = "2026-11-24T10:00:00+00:00"


def decide(id_: str, action: str = "keep", label: str | None = None) -> Decision:
    return Decision(id_, action, label, "Kim", WHEN, "seen, twice")  # type: ignore[arg-type]


def manifest() -> Manifest:
    rows = [
        {
            "id": f"{number}.jpg",
            "path": f"{number}.jpg",
            "part": "train" if number < 6 else "test",
            "label": ("가", "나")[number % 2] if number < 6 else None,
            "sha256": f"{number:064d}",
            "readable": True,
            "group": number,
            "scene": number,
        }
        for number in range(7)
    ]
    table = pl.DataFrame(
        [{**dict.fromkeys(PHOTO_COLUMNS), **row} for row in rows], schema=PHOTO_COLUMNS
    )
    return Manifest(
        Labels(("가", "나", "다")), Path("/photos"), table, pl.DataFrame(schema=ISSUE_COLUMNS)
    )


ALL = Corrections((decide("0.jpg", "exclude"), decide("1.jpg", "relabel", "다"), decide("2.jpg")))


def test_they_come_back_from_their_file_and_spreadsheets_read_it(tmp_path: Path) -> None:
    ALL.save(tmp_path / "c.csv")
    assert Corrections.load(tmp_path / "c.csv") == ALL
    data = (tmp_path / "c.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfid,action,label,who,when,why\n")
    (tmp_path / "crlf.csv").write_bytes(data.replace(b"\n", b"\r\n"))
    assert Corrections.load(tmp_path / "crlf.csv") == ALL
    Corrections().save(tmp_path / "none.csv")
    assert Corrections.load(tmp_path / "none.csv") == Corrections()
    assert Corrections.load_or_empty(tmp_path / "not there.csv") == Corrections()


def test_the_last_decision_about_a_photo_counts() -> None:
    changed = ALL.with_decision(decide("0.jpg"))
    assert changed.of("0.jpg") == decide("0.jpg")
    assert len(changed.decisions) == 3
    assert changed.without("0.jpg").of("0.jpg") is None
    with pytest.raises(DataError, match="several"):
        Corrections((decide("0.jpg"), decide("0.jpg", "exclude")))


def test_a_fingerprint_names_what_is_done() -> None:
    other = Corrections(tuple(replace(d, who="Lee", why="") for d in reversed(ALL.decisions)))
    assert other.fingerprint == ALL.fingerprint
    assert ALL.with_decision(decide("2.jpg", "exclude")).fingerprint != ALL.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": ""}, "its id is empty"),
        ({"action": "exlude"}, "did you mean 'exclude'"),
        ({"action": "relabel"}, "needs a label"),
        ({"label": "가"}, "must have no label"),
        ({"when": "yesterday"}, "ISO 8601"),
        ({"when": "2026-11-24T10:00:00"}, "time zone"),
    ],
)
def test_decisions_that_cannot_be_carried_out(change: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        replace(decide("0.jpg"), **change)  # type: ignore[arg-type]


def test_all_bad_rows_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(
        f"id,action,label,who,when,why\na,keep,,K,{WHEN},\nb,burn,,K,{WHEN},\nc,relabel,,K,no,\n",
        "utf-8",
    )
    with pytest.raises(DataError) as refused:
        Corrections.load(path)
    for part in ("row 2", "burn", "row 3", "needs a label"):
        assert part in str(refused.value)
    path.write_text("id,label\na,b\n", "utf-8")
    with pytest.raises(DataError, match="no column 'action'"):
        Corrections.load(path)


def test_they_change_the_list_and_say_so() -> None:
    before = manifest()
    after = ALL.apply(before)
    assert after.trainable()["id"].to_list() == [f"{n}.jpg" for n in (1, 2, 3, 4, 5)]
    labels = dict(after.table.select("id", "label").iter_rows())
    assert (labels["0.jpg"], labels["1.jpg"], labels["2.jpg"]) == ("가", "다", "가")
    assert after.table.height == before.table.height
    assert after.issues.select("id", "issue").rows() == [
        ("0.jpg", "excluded"),
        ("1.jpg", "relabelled"),
    ]
    assert "was 나" in after.issues["detail"][1]
    assert "seen, twice" in after.issues["detail"][1]
    assert after.fingerprint != before.fingerprint
    assert Corrections((decide("2.jpg"),)).apply(before).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        ((decide("9.jpg"),), "1 photo.* not among the labelled ones: '9.jpg'"),
        ((decide("6.jpg", "exclude"),), "not among the labelled"),
        ((decide("0.jpg", "relabel", "라"),), "not among the [23] classes"),
        (tuple(decide(f"{n}.jpg", "exclude") for n in (0, 2, 4)), "no photo left.*'가'"),
    ],
)
def test_corrections_of_other_data_are_refused(decisions: tuple[Decision, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Corrections(decisions).apply(manifest())
    with pytest.raises(DataError, match=said):
        Corrections(decisions).carried_out(listing())


def listing() -> tuple[PhotoRef, ...]:
    """The photos of the manifest, before anything was read."""
    made = manifest()
    columns = made.table.select("id", "path", "part", "label").iter_rows()
    return tuple(
        PhotoRef(id_, made.path_of(path), part, label) for id_, path, part, label in columns
    )


def test_a_summary() -> None:
    assert ALL.summary() == "1 excluded, 1 relabelled, 1 kept"
