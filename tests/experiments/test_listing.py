import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chajong.blending.blend import Blend
from chajong.errors import RunError
from chajong.experiments import listing
from chajong.experiments.listing import Row, list_runs, row_of
from chajong.experiments.notes import Note, add_note
from chajong.files import write_json
from chajong.recipes import RECIPES, load_recipe
from chajong.run import finish_model
from tests.runs import LATER, LOADING, SCORE, finished, started


def settle(folder: Path) -> None:
    """List the runs once they are old enough to be remembered."""
    time.sleep(0.03)
    list_runs(folder)


@pytest.fixture(autouse=True)
def _quick_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_SETTLED_S", 0.02)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of runs that are read anew, and not remembered."""
    names: list[str] = []
    read_anew = listing._read_anew

    def noting(folder: Path, stale: list[str]) -> Any:
        names.extend(stale)
        return read_anew(folder, stale)

    monkeypatch.setattr(listing, "_read_anew", noting)
    return names


def test_a_row_tells_score_time_and_what_the_recipe_changes(tmp_path: Path) -> None:
    run = finished(tmp_path / "tries")
    row = row_of(run)
    assert (row.run, row.status, row.seconds) == ("tries", "done", 120)
    assert (row.log_loss, row.top1) == (0.5, 0.9)
    assert (row.recipe, row.base, row.num_photos) == ("demo", "demo", 8)
    assert row.started == run.record.created
    assert row.changes == {"train.epochs": 3, "folds.num_folds": 2}
    assert (row.board, row.board_private, row.gap, row.note) == (None, None, None, "")
    assert row_of(finished(tmp_path / "plain", recipe=RECIPES["demo"])).changes == {}
    fresh = row_of(started(tmp_path / "fresh"))
    assert (fresh.status, fresh.log_loss, fresh.top1) == ("0 of 2 models", None, None)


def test_a_row_compares_with_the_nearest_recipe_where_none_has_the_name(tmp_path: Path) -> None:
    mine = load_recipe("convnext-focal", ["name=mine", "optim.lr=0.001", "train.ema.decay=0.9"])
    row = row_of(started(tmp_path / "run", mine))
    assert (row.recipe, row.base) == ("mine", "convnext-focal-ema")
    assert row.changes == {"optim.lr": 0.001, "train.ema.decay": 0.9}


def test_a_row_has_the_latest_scores_of_the_leaderboard(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    add_note(run.folder, Note("2026-01-01T00:00:00+09:00", "first", 0.6))
    add_note(run.folder, Note("2026-01-02T00:00:00+09:00", "", 0.75))
    add_note(run.folder, Note("2026-01-03T00:00:00+09:00", "last", None, 0.8))
    row = row_of(run)
    assert (row.board, row.board_private, row.note) == (0.75, 0.8, "last")
    assert row.gap == 0.25
    assert row.as_dict()["gap"] == 0.25
    assert json.loads(json.dumps(row.as_dict()))["changes"]["train.epochs"] == 3


def test_runs_are_listed_newest_first_and_damaged_ones_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(["b", "c", "a"]):
        finished(tmp_path / name)
        path = tmp_path / name / "run.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {**record, "created": f"2026-01-0{number + 1}T00:00:00+09:00"})
    damages = [*LOADING, *LATER]
    for damage in damages:
        damage(finished(tmp_path / damage.__name__).folder)
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").write_text("")
    settle(tmp_path)
    capfd.readouterr()
    assert [row.run for row in list_runs(tmp_path)] == ["a", "c", "b"]
    said = capfd.readouterr().err
    for damage in damages:
        assert str(tmp_path / damage.__name__) in said
    assert said.count("left out: ") == len(damages)
    assert "no run" not in said


def test_a_folder_without_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert list_runs(tmp_path) == []
    for name in ("missing", "file"):
        with pytest.raises(RunError, match=f"There is no folder .*{name}"):
            list_runs(tmp_path / name)
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "missing").exists()


def test_what_is_remembered_is_what_was_read(tmp_path: Path, read: list[str]) -> None:
    mine = load_recipe("convnext-focal", ["name=mine", "augment=[]"])
    for number, name in enumerate(["a", "차종"]):
        add_note(finished(tmp_path / name).folder, Note("2026-01-01", "메모", 0.5 + number))
    started(tmp_path / "c", mine)
    first = list_runs(tmp_path)
    settle(tmp_path)
    read.clear()
    assert list_runs(tmp_path) == first
    assert read == []


def note_it(folder: Path) -> None:
    add_note(folder, Note("2026-01-01", "new", 0.7))


def train_on(folder: Path) -> None:
    finish_model(folder / "fold-1", {"seconds": 5.0}, [])


def score_again(folder: Path) -> None:
    write_json(folder / "score.json", {**SCORE.as_dict(), "num_photos": 9})


def write_over_the_score(folder: Path) -> None:
    # As an editor may, with as many bytes and at the time that it had.
    path = folder / "score.json"
    before = path.stat()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"value": 0.5', '"value": 0.4', 1), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def lose_the_score(folder: Path) -> None:
    (folder / "score.json").unlink()


def damage_the_recipe(folder: Path) -> None:
    (folder / "recipe.yaml").write_text("[")


def damage_the_labels(folder: Path) -> None:
    (folder / "labels.json").write_text("{}")


@pytest.mark.parametrize(
    "change",
    [
        *(note_it, train_on, score_again, write_over_the_score),
        *(lose_the_score, damage_the_recipe, damage_the_labels),
    ],
)
def test_a_run_that_was_changed_is_read_anew(
    change: Callable[[Path], None],
    tmp_path: Path,
    read: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("a", "b"):
        run = started(tmp_path / name)
        finish_model(run.model_folder("0"), {"seconds": 60.0}, [])
        write_json(run.score_path, SCORE.as_dict())
    settle(tmp_path)
    read.clear()
    change(tmp_path / "a")
    changed = {row.run: row for row in list_runs(tmp_path)}
    assert read == ["a"]
    (tmp_path / ".list.json").unlink()
    assert {row.run: row for row in list_runs(tmp_path)} == changed
    assert ("a" in changed) == (change.__name__[:6] != "damage")
    assert ("left out" in capfd.readouterr().err) == ("a" not in changed)


def test_what_was_changed_a_moment_ago_is_not_remembered_yet(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two changes within the grain of the file system's clock look like one.
    finished(tmp_path / "a")
    monkeypatch.setattr(listing, "_SETTLED_S", 60)
    for _ in range(2):
        list_runs(tmp_path)
    assert read == ["a", "a"]


def test_runs_that_are_gone_or_new(tmp_path: Path) -> None:
    for name in ("a", "b"):
        finished(tmp_path / name)
    settle(tmp_path)
    (tmp_path / "a").rename(tmp_path / "c")
    finished(tmp_path / "d")
    assert {row.run for row in list_runs(tmp_path)} == {"b", "c", "d"}
    settle(tmp_path)
    assert {row.run for row in list_runs(tmp_path)} == {"b", "c", "d"}


def by_hand(text: str) -> str:
    assert text.count(",0.5,0.9,") == 1
    return text.replace(",0.5,0.9,", ",0.1,0.9,")


def of_another_version(text: str) -> str:
    return "0" + text[1:] if text[0] != "0" else "1" + text[1:]


@pytest.mark.parametrize(
    "change", [by_hand, of_another_version, lambda _: "", lambda _: "\ud800", lambda t: t[:-20]]
)
def test_a_memory_that_is_not_ours_is_not_believed(
    change: Callable[[str], str], tmp_path: Path, read: list[str]
) -> None:
    finished(tmp_path / "a")
    settle(tmp_path)
    path = tmp_path / ".list.json"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", errors="replace")
    read.clear()
    assert [row.log_loss for row in list_runs(tmp_path)] == [0.5]
    assert read == ["a"]


def test_a_folder_that_may_not_be_written_is_listed_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "a")
    (tmp_path / ".list.json").mkdir()  # what even root cannot replace by a file
    time.sleep(0.03)
    assert [row.run for row in list_runs(tmp_path)] == ["a"]
    assert "The list cannot be remembered" in capfd.readouterr().err


def test_listing_what_is_remembered_imports_nothing_slow(tmp_path: Path) -> None:
    for name in ("a", "b"):
        finished(tmp_path / name)
    settle(tmp_path)
    code = (
        "import sys\nfrom chajong.cli import app\n"
        f"app(['runs', {str(tmp_path)!r}, '--sort', 'log_loss'], standalone_mode=False)\n"
        "print(sorted({'polars', 'numpy', 'yaml', 'torch', 'chajong.run'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "done" in done.stdout


def test_a_run_is_no_folder_of_runs(tmp_path: Path) -> None:
    finished(tmp_path / "runs" / "good")
    with pytest.raises(RunError, match=f"is a run. List .*: chajong runs {tmp_path}/runs$"):
        list_runs(tmp_path / "runs" / "good")


def test_a_linked_run_is_listed_by_the_name_of_the_link(tmp_path: Path) -> None:
    finished(tmp_path / "elsewhere" / "good")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "best").symlink_to("../elsewhere/good")
    assert [row.run for row in list_runs(tmp_path / "runs")] == ["best"]


def test_a_row_is_whole() -> None:
    assert {"run", "log_loss", "board", "board_private", "changes"} <= Row.__annotations__.keys()


def test_a_folder_that_may_not_be_entered_is_passed_over(nobody: Path) -> None:
    assert list_runs(nobody) == []
    assert not Blend.is_in(nobody / "closed")
