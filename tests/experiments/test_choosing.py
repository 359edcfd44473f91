import unicodedata
from typing import Any

import pytest

from chajong.errors import RunError
from chajong.experiments.choosing import choose, in_order, table
from chajong.experiments.listing import Row


def row(name: str, **values: Any) -> Row:
    plain: dict[str, Any] = {
        "run": name,
        "recipe": "demo",
        "status": "done",
        "log_loss": 0.5,
        "top1": 0.9,
        "board": None,
        "board_private": None,
        "seconds": 60.0,
        "started": "2026-01-01T10:00:00+09:00",
        "base": "demo",
        "changes": {},
        "num_photos": 8,
        "data": "/photos",
        "data_fingerprint": "0",
        "commit": None,
        "note": "",
    }
    return Row(**{**plain, **values})


ROWS = [
    row(
        "a",
        log_loss=0.7,
        changes={
            "optim.lr": 0.1,
            "train.ema": None,
            "train.compile": True,
            "infer.views": ["plain"],
        },
    ),
    row("b-차종", log_loss=0.5, board=0.6, started="2026-02-01T10:00:00+09:00"),
    row("c", log_loss=None, top1=None, status="1 of 2 models", note="Night photos\nhelp"),
    row(
        "d", log_loss=0.6, changes={"optim.lr": 0.05}, board=0.55, board_private=0.65, note="쏘나타"
    ),
]


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("log_loss<0.7", "bd"),
        ("log_loss<=0.7", "abd"),
        ("log_loss>0.5", "ad"),
        ("log_loss >= 0.6", "ad"),
        ("log_loss=0.50", "b"),
        ("log_loss!=0.5", "acd"),
        ("status=done", "abd"),
        ("status~OF", "c"),
        ("run~차종", "b"),
        ("started>2026-01-15", "b"),
        ("started=2026-01-01", "acd"),
        ("started<=2026-01-01", "acd"),
        ("started>2026-01-01", "b"),
        ("gap<0", "d"),
        ("note~night", "c"),
        ("optim.lr=0.1", "a"),
        ("optim.lr<0.1", "bcd"),  # that of the recipe 'demo' where a run changes nothing
        ("optim.lr~0.", "abcd"),
        ("loss.kind=cross_entropy", "abcd"),
        ("train.epochs>3", "abcd"),
        ("train.ema=null", "abcd"),
        ("train.ema!=null", ""),
        ("infer.views=[plain]", "a"),
        ('infer.views=["plain", "flip"]', "bcd"),
        ("train.compile=True", "a"),
        ("train.compile=false", "bcd"),
        ("note~쏘나타", "d"),
        (unicodedata.normalize("NFD", "note~쏘나타"), "d"),
        ("started>2026-01-01T10:00:00+09:00", "b"),
        ("started<2026-01-01T02:00:00+00:00", "acd"),
    ],
)
def test_choosing(condition: str, left: str) -> None:
    assert "".join(each.run[0] for each in choose(ROWS, [condition])) == left


def test_every_condition_must_hold() -> None:
    assert [each.run for each in choose(ROWS, ["log_loss<0.7", "optim.lr=0.05"])] == ["d"]
    assert choose(ROWS, []) == ROWS
    assert choose([], ["log_loss<1"]) == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("log_loss", "must be a field, one of = != < <= > >= ~, and a value"),
        ("<0.5", "must be a field"),
        ("logloss<0.5", "There is no field 'logloss' (did you mean 'log_loss'?)"),
        ("optim.lrr=1", "(did you mean 'optim.lr'?)"),
        ("log_loss<low", "'log_loss<low': the value must be a number. Got 'low'."),
        ("started>yesterday", "the value must be a time such as 2026-01-31"),
    ],
)
def test_conditions_that_cannot_be(condition: str, said: str) -> None:
    with pytest.raises(RunError) as caught:
        choose(ROWS, [condition])
    assert said in str(caught.value)


def test_sorting_puts_what_is_missing_last() -> None:
    def names(*arguments: Any, **options: Any) -> str:
        return "".join(each.run[0] for each in in_order(*arguments, **options))

    assert names(ROWS, "log_loss") == "bdac"
    assert names(ROWS, "log_loss", reverse=True) == "adbc"
    assert names(ROWS, "board_private") == "dabc"
    assert names(ROWS, "run", reverse=True) == "dcba"
    assert names(ROWS, "optim.lr")[-2:] == "da"
    # By the moment: nine in Seoul is earlier than one in Greenwich and nine in New York.
    zones = ("2026-01-31T09:30+09:00", "2026-01-31T01:00+00:00", "2026-01-30T21:00-05:00")
    rows = [row(str(place), started=zone) for place, zone in enumerate(zones)]
    assert names(reversed(rows), "started") == "012"
    assert names([rows[0]], "train.ema.decay") == "0"  # of another recipe than its own
    with pytest.raises(RunError, match="There is no field 'lr'"):
        in_order(ROWS, "lr")


def test_columns_stand_below_each_other_in_korean_too() -> None:
    lines = list(table(ROWS))
    headings = ("run", "status", "log loss", "board", "private", "top-1", "time", "started")
    places = [lines[0].index(heading) for heading in (*headings, "differs in")]
    assert places == sorted(places)
    assert [lines[4][place - 1] for place in places[1:]] == [" "] * 8
    assert [lines[4][place] for place in places] == ["d", "d", "0", "0", "0", "0", "6", "2", "o"]
    said = 'optim.lr=0.1, train.ema=null, train.compile=true, infer.views=["plain"]'
    assert lines[1].endswith(f"2026-01-01 10:00  {said}")
    assert lines[3].endswith("2026-01-01 10:00  note: Night photos help")
    # '차종' takes four columns in two characters.
    assert lines[2].index("done") == lines[1].index("done") - 2
    assert "0.5500  0.6500" in lines[4]


def test_columns_of_scores_that_nobody_has_are_left_out() -> None:
    (heading, line) = table([row("a", recipe="mine", base="convnext")])
    assert "board" not in heading
    assert line.endswith("convnext:")


def test_a_long_note_is_shortened() -> None:
    assert list(table([row("a", note="x" * 100)]))[1].endswith("note: " + "x" * 59 + "…")
