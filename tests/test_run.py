import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chajong.errors import ChajongError, DataError, ResourceError, RunError
from chajong.experiments.listing import list_runs, row_of
from chajong.files import fingerprint, write_json
from chajong.recipe import fingerprint_of
from chajong.recipes import load_recipe
from chajong.record import now
from chajong.run import Run, finish_model
from chajong.split import split
from tests.runs import LATER, LOADING, RECIPE, SCORE, edit, files, finished, started, training


def test_a_run_is_read_back(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    again = Run.load(tmp_path / "run")
    assert again == run
    assert again.recipe == RECIPE
    assert again.labels.names == ("K5", "쏘나타")
    assert again.models == ("0", "1")
    assert again.manifest().fingerprint == run.record.data_fingerprint
    assert again.split().table.equals(split(run.manifest(), 2, 0).table)
    shown = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8"))
    assert shown == RECIPE.model_dump(mode="json")


def test_the_folder_one_is_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    run = Run.load(Path())
    assert run.folder == Path()
    assert run.name == row_of(run).run == "run"


def test_progress_of_a_run(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    assert (run.done, run.status(), run.seconds()) == ((), "0 of 2 models", 0)
    assert run.history("0") == []
    assert run.score() is None
    assert run.summary()[-1] == f"next       chajong predict {run.folder} PHOTOS"
    finish_model(run.model_folder("0"), {"seconds": 1.5, "epochs": 1}, [{"epoch": 1}])
    assert (run.done, run.status(), run.seconds()) == (("0",), "1 of 2 models", 1.5)
    assert run.history("0") == [{"epoch": 1}]
    finish_model(run.model_folder("1"), {"seconds": 2}, [])
    write_json(run.score_path, SCORE.as_dict())
    assert (run.done, run.status(), run.seconds()) == (("0", "1"), "done", 3.5)
    score = run.score()
    assert score is not None
    assert score.log_loss.value == 0.5
    summary = "\n".join(run.summary())
    assert "(done)" in summary
    assert "log loss              0.5000   0.4000 to 0.6000" in summary
    assert str(run.predictions_path) in summary


def test_runs_of_folds_and_of_all_photos_are_told_apart(tmp_path: Path) -> None:
    folds, whole = started(tmp_path / "folds"), started(tmp_path / "whole", models=("all",))
    other = started(tmp_path / "other", changed="x")
    assert folds.fingerprint == fingerprint(
        folds.record.recipe_fingerprint, folds.record.data_fingerprint
    )
    assert len({folds.fingerprint, whole.fingerprint, other.fingerprint}) == 3
    assert whole.model_folder("all") == tmp_path / "whole" / "all"
    assert folds.model_folder("1") == tmp_path / "folds" / "fold-1"
    assert not (tmp_path / "whole" / "split.parquet").exists()


def test_the_same_command_goes_on_with_a_run(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    before = files(run.folder)
    assert started(run.folder) == run
    renamed = RECIPE.model_copy(update={"name": "other", "about": "decides nothing"})
    assert started(run.folder, renamed) == run
    assert files(run.folder) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"recipe": load_recipe("demo", ["train.epochs=4", "folds.num_folds=2"])},
            "another recipe: train.epochs was 3 and is now 4.",
        ),
        ({"changed": "x"}, "other data: 8 photos of"),
        ({"models": ("all",)}, "A model of all photos and models of folds are different runs"),
    ],
)
def test_a_run_of_something_else_is_refused(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    run = finished(tmp_path / "run")
    before = files(run.folder)
    with pytest.raises(RunError) as caught:
        started(run.folder, **options)
    assert said in str(caught.value)
    assert "--out" in str(caught.value)
    assert files(run.folder) == before


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    # The recipe of `--recipe mine/recipe.yaml --out mine` most of all.
    (tmp_path / "recipe.yaml").write_text("extends: demo")
    (tmp_path / ".hidden").write_text("")
    with pytest.raises(RunError, match=r"is not empty and holds no run, but 'recipe.yaml'\. "):
        started(tmp_path)
    assert set(files(tmp_path)) == {"recipe.yaml", ".hidden"}
    assert (tmp_path / "recipe.yaml").read_text() == "extends: demo"
    for number in range(9):
        (tmp_path / f"{number}.jpg").write_text("")
    with pytest.raises(RunError, match=r"but '0\.jpg', '1\.jpg', '2\.jpg' and 7 more"):
        started(tmp_path)


def test_an_empty_folder_may_hold_hidden_files(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("")
    assert started(tmp_path).folder == tmp_path


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
        started(tmp_path / "run")


STARTING = """
import os, sys
from pathlib import Path
from tests.runs import started

count = 0
replace = Path.replace
def stop_before(path, target):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    return replace(path, target)

Path.replace = stop_before
started(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("step", [1, 4, 6])
def test_a_process_killed_while_it_made_the_folder(step: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    killed = subprocess.run([sys.executable, "-c", STARTING, str(folder), str(step)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "run.json").exists()
    assert list_runs(tmp_path) == []
    with pytest.raises(RunError, match="is no run"):
        Run.load(folder)
    # Even a run of something else may have the folder: nothing was trained in it.
    run = started(folder, load_recipe("demo"), ("all",), changed="x")
    assert Run.load(folder) == run
    assert set(files(folder)) - {".started"} == {
        *("run.json", "recipe.yaml", "labels.json", "issues.parquet", "manifest.parquet")
    }


@pytest.mark.parametrize("folder", ["missing", "empty", "file"])
def test_what_is_no_run(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"is no run: it has no run\.json"):
        Run.load(tmp_path / folder)


@pytest.mark.parametrize("damage", LOADING, ids=lambda damage: damage.__name__)
def test_a_damaged_run_is_refused(damage: Callable[[Path], None], tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    damage(run.folder)
    for again in (Run.load, started):
        with pytest.raises(ChajongError) as caught:
            again(run.folder)
        assert LOADING[damage] in str(caught.value)
        assert str(run.folder) in str(caught.value)


def test_comments_and_order_of_the_recipe_are_no_change(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    values = yaml.safe_load((run.folder / "recipe.yaml").read_text(encoding="utf-8"))
    text = "# a note\n" + yaml.safe_dump(dict(reversed(values.items())), allow_unicode=True)
    (run.folder / "recipe.yaml").write_text(text, encoding="utf-8")
    assert Run.load(run.folder).recipe == RECIPE


def test_a_run_of_an_older_version_is_read_after_recipes_have_grown(tmp_path: Path) -> None:
    # As if 'infer.weights' had not been there yet: a new setting with a default.
    run = started(tmp_path / "run")
    values = yaml.safe_load((run.folder / "recipe.yaml").read_text(encoding="utf-8"))
    del values["infer"]["weights"]
    (run.folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    old = fingerprint_of(values)
    assert old != RECIPE.fingerprint
    edit(run.folder / "run.json", lambda record: record.update(recipe_fingerprint=old))
    assert Run.load(run.folder).recipe == RECIPE
    assert started(run.folder).fingerprint != run.fingerprint


@pytest.mark.parametrize("damage", LATER, ids=lambda damage: damage.__name__)
def test_damage_of_what_was_measured(damage: Callable[[Path], None], tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    damage(run.folder)
    with pytest.raises(RunError) as caught:
        row_of(Run.load(run.folder))
    assert LATER[damage] in str(caught.value)


def test_damage_of_the_rest(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run.folder / "fold-0" / "history.json").write_text('{"epoch": 1}')
    with pytest.raises(RunError, match=r"history\.json is damaged"):
        run.history("0")
    for name, read in (("split.parquet", run.split), ("manifest.parquet", run.manifest)):
        (run.folder / name).write_text("PAR1 no more")
        with pytest.raises(DataError):
            read()


def test_only_one_process_trains_a_run(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    with training(run.folder) as other:
        with pytest.raises(RunError, match="Another process is training"), run.alone():
            pass
        assert started(run.folder) == run  # the question who trains comes later, at once
        other.send_signal(signal.SIGKILL)
        other.wait()
        with run.alone():
            pass


def test_two_processes_that_start_at_once_share_one_run(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.runs import started\n"
        "print(started(Path(sys.argv[1])).record.created)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert said == {f"{Run.load(tmp_path / 'run').record.created}\n"}


def test_times_sort_as_texts() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", now())
    assert now() <= now()


def test_the_split_belongs_to_the_manifest(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    assert run.split().manifest_fingerprint == run.manifest().fingerprint
