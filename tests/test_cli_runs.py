"""The commands about finished runs as their users call them."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chajong.cli import main
from chajong.comparison import Comparison
from tests.experiments.made_up import answers, labels_of, make_run, recipe

Call = Callable[..., tuple[int, str, str]]
LABELS = labels_of(60)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "first", LABELS, answers(LABELS, 0.5))
    how = recipe("optim.lr=0.5")
    for seed in (0, 1):
        seeded = recipe("optim.lr=0.5", f"train.seed={seed}")
        make_run(tmp_path / "runs" / f"better{seed}", LABELS, answers(LABELS, 4.0, seed), seeded)
    make_run(tmp_path / "runs" / "begun", LABELS, answers(LABELS, 1.0), how, done=("1",))

    def called(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chajong", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return called


def names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines()[1:]]


def test_runs_are_listed_with_and_without_the_word(call: Call) -> None:
    code, out, _ = call("runs")
    assert code == 0
    assert set(names(out)) == {"first", "better0", "better1", "begun"}
    assert call("runs", "runs") == call("runs", "list") == call("runs", "list", "runs")
    best = call("runs", "--sort", "log_loss", "--where", "status=done", "--top", 2)[1]
    assert [name[:6] for name in names(best)] == ["better", "better"]
    worst = call("runs", "--sort", "log_loss", "--reverse")[1]
    assert (names(worst)[0], names(worst)[-1]) == ("first", "begun")


def test_runs_as_json(call: Call) -> None:
    call("runs", "note", "runs/first", "밤", "--board", 1.5, "--board-private", 1.6)
    code, out, _ = call("runs", "--json", "--where", "board>1")
    (row,) = json.loads(out)
    assert (code, row["run"], row["board"], row["board_private"]) == (0, "first", 1.5, 1.6)
    assert row["gap"] == pytest.approx(1.5 - row["log_loss"])
    assert call("runs", "--json", "--where", "board>2")[1] == "[]\n"
    Path("empty").mkdir()
    code, out, err = call("runs", "empty")
    assert (code, out) == (0, "")
    assert "There are no runs in empty. Train one with: chajong train" in err


def test_what_is_no_folder_of_runs(call: Call) -> None:
    for word, said in (
        ("elsewhere", "There is no folder elsewhere"),
        ("lsit", "No command and no folder 'lsit' (did you mean 'list'?)"),
        ("runs/first", "runs/first is a run. List it with those beside it"),
    ):
        code, out, err = call("runs", word)
        assert (code > 0, out) == (True, "")
        assert said in err
    assert call("runs", "compare", "runs/first", "runs/better0") == call(
        "compare", "runs/first", "runs/better0"
    )
    assert "compare" not in call("runs", "--help")[1].partition("Commands:")[2]


def test_notes_are_kept_and_shown(call: Call) -> None:
    assert call("runs", "note", "runs/first")[:2] == (0, "")
    call("runs", "note", "runs/first", "one")
    code, out, _ = call("runs", "note", "runs/first", "--board", 0.1245)
    assert code == 0
    assert [line[18:] for line in out.splitlines()] == ["one", "board 0.1245"]
    assert "0.1245" in call("runs")[1]
    code, out, _ = call("runs", "board", "--out", "board.svg")
    assert code == 0
    assert out.splitlines()[-1] == "board.svg"
    assert Path("board.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_better_worse_and_noise(call: Call) -> None:
    code, out, _ = call("compare", "runs/first", "runs/better0", "--out", "c.json")
    assert code == 0
    lines = out.splitlines()
    assert lines[-1] == "verdict      better: runs/better0 beats runs/first"
    assert lines[:2] == ["A            runs/first", "B            runs/better0"]
    assert lines.index("recipe       optim.lr: 0.004 -> 0.5") < len(lines) - 1
    assert Comparison.load(Path("c.json")).verdict == "better"
    assert "worse: " in call("compare", "runs/better0", "runs/first")[1]
    both = ("--also-b", "runs/better1")
    said = call("compare", "runs/better0", "runs/better0", "--noise", 0)[1]
    assert "noise: both say the same" in said
    assert "measured on 3 trainings" in call("compare", "runs/first", "runs/better0", *both)[1]
    assert "about 5.0000" in call("compare", "runs/first", "runs/better0", "--noise", 5)[1]
    assert "noise: " in call("compare", "runs/first", "runs/better0", "--noise", 5)[1]


def test_what_changed_from_one_to_another(call: Call) -> None:
    code, out, _ = call("runs", "diff", "runs/first", "runs/better0")
    assert code == 0
    assert "recipe       optim.lr: 0.004 -> 0.5" in out
    assert "verdict      better" in out
    assert "each photo   " in out


def test_runs_go_to_the_bin_and_come_back(call: Call) -> None:
    code, out, _ = call("runs", "rm", "runs/first", "runs/begun")
    assert code == 0
    back = out.splitlines()[0].partition("back with: chajong ")[2]
    assert shlex.split(back) == ["runs", "restore", str(Path("runs/first").resolve())]
    assert set(names(call("runs")[1])) == {"better0", "better1"}
    assert set(names(call("runs", "list", "runs/.bin")[1])) == {"first~1", "begun~1"}
    assert call("runs", "restore", "runs/first")[:2] == (0, "runs/first is back\n")
    assert "first" in names(call("runs")[1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs", "--where", "log_loss"), "--where 'log_loss' must be a field"),
        (("runs", "--sort", "loss"), "There is no field 'loss'"),
        (("runs", "note", "nowhere", "x"), "nowhere is no run and no blend"),
        (("runs", "note", "runs/first", "x", "--board", "nan"), "--board must be a number"),
        (("runs", "board"), "No run in runs has a leaderboard score"),
        (("runs", "rm", "nowhere"), "nowhere is no run"),
        (("runs", "restore", "runs/nowhere"), "There is no bin beside runs/nowhere"),
        (("runs", "diff", "runs/first", "nowhere"), "nowhere is no run"),
        (("runs", "rerun", "nowhere"), "nowhere is no run"),
        (("compare", "runs/first", "nowhere"), "nowhere is no run"),
        (("compare", "runs/first", "runs/better0", "--noise", "-1"), "The noise must be"),
        (("compare", "runs/first", "runs/better0", "--also-a", "runs/better1"), "one recipe"),
    ],
)
def test_mistakes_are_one_message(words: tuple[str, ...], said: str, call: Call) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("chajong: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "runs/first", "photos", "--runtime", "openvino"], "--runtime needs a bundle"),
        (["predict", "runs/first", "photos", "--precision", "int8"], "--precision needs a bundle"),
        (["predict", "runs/first", "photos", "--nearest", "3"], "--nearest needs a bundle"),
        (["audit", "photos", "--backbone", "resnet50"], "without --weights"),
        (["audit", "photos", "--allow-noncommercial"], "without --weights"),
        (["watch", "runs/first", "--once", "--page"], "Leave one out"),
        (["watch", "runs/first", "--port", "8080"], "are about the page. Add --page"),
        (["add-class", "b", "K5", "--undo", "--by", "kim"], "With --undo leave it out"),
        (["serve", "b", "--max-mb", "inf"], "--max-mb must be greater than 0, and finite"),
        (["export", "runs/first", "--labels", "l.csv"], "are of the photos that --photos gives"),
        (["compare", "runs/first", "runs/better0", "--out", "c.html"], "must end in .json"),
    ],
)
def test_what_would_do_nothing_is_refused(call: Call, words: list[str], said: str) -> None:
    code, _, err = call(*words)
    assert code == 2
    assert said in err


def test_a_page_does_not_take_the_place_of_what_it_is_about(call: Call) -> None:
    assert call("compare", "runs/first", "runs/better0", "--out", "c.json")[0] == 0
    before = Path("c.json").read_bytes()
    code, _, err = call("report", "c.json", "--out", "c.json")
    assert (code, Path("c.json").read_bytes()) == (2, before)
    assert "would take the place of" in err
