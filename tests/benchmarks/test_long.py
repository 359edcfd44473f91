"""The long measurements on photos as small as they get: what they train, tell, and leave alone."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu_speed, ladder, tricks, two_hours, view_cost
from benchmarks.trained import spread, trained
from chajong.errors import RunError
from chajong.predictions import Predictions
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.training.train import Options
from tests.training.tiny import make_recipe, write_photos

Call = Callable[..., str]
SMALL = (
    "model.backbone=test_resnet",
    "model.frozen_stages=0",
    "data.size_px=32",
    "data.grow=[]",
    "data.eval_px=32",
    "train.batch_size=8",
    "infer.views=[plain]",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in DACON layout, with the truth."""
    folder = tmp_path_factory.mktemp("data")
    write_photos(folder / "train", per_class=22)
    rows = []
    (folder / "test").mkdir()
    more = write_photos(folder / "more", per_class=7, side_px=40)  # nobody has learned from them
    for place, path in enumerate(sorted(more.rglob("*.jpg"))):
        path.rename(folder / "test" / f"T{place}.jpg")
        rows.append((f"T{place}", path.parent.name))
    for made in more.iterdir():
        made.rmdir()
    more.rmdir()
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("ID", "label"), *rows])
    asked = [f"{name},./test/{name}.jpg" for name, _ in rows]
    (folder / "test.csv").write_text("\n".join(["ID,img_path", *asked]), encoding="utf-8")
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a benchmark's main as its command line would."""

    def run(main: Callable[[], None], *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        capsys.readouterr()
        main()
        return capsys.readouterr().out

    return run


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_a_finished_run_is_only_opened(data: Path, tmp_path: Path) -> None:
    recipe = make_recipe(train_epochs=1)
    options = Options(out=tmp_path / "run", fold="0")
    first = trained(data, recipe, options)
    before = stamps(tmp_path)
    assert trained(data, recipe, options).fingerprint == first.fingerprint
    assert stamps(tmp_path) == before
    with pytest.raises(RunError, match="holds a run of another recipe"):
        trained(data, make_recipe(train_epochs=2), options)
    with pytest.raises(ValueError, match="needs a folder"):
        trained(data, recipe, Options())


def test_mean_and_spread() -> None:
    assert spread([0.5]) == "0.500"
    assert spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"


def test_the_ladder_trains_equal_rungs_once_and_says_so(
    data: Path, tmp_path: Path, call: Call
) -> None:
    arguments = (data, "--backbone", "test_resnet", "--epochs", 1, "--size-px", 32)
    rungs = ("resnet50-tv", "resnet50", "convnext", "convnext-focal-ema")
    asked = (*arguments, "--seeds", 2, "--out", tmp_path, "--truth", data / "labels.csv")
    said = call(ladder.main, *asked, "--rungs", *rungs)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        "resnet50-tv",
        "convnext-focal-ema",
        "convnext-focal-ema-seed1",
    }
    assert "| `resnet50-tv`, `resnet50`, `convnext` | 1 | 1 |" in said
    assert "| `convnext-focal-ema` | 2 | 1 |" in said
    assert said.count("±") == 9  # eight figures and the seconds of the rung with two seeds
    assert not (tmp_path / "resnet50-tv" / "test-raw.parquet").exists()
    assert "differ by their backbone alone: here they are the same and trained once." in said
    assert (tmp_path / "ladder.md").read_text(encoding="utf-8") in said
    seeds = [Run.load(tmp_path / f"convnext-focal-ema{end}").recipe.train for end in ("", "-seed1")]
    assert [train.seed for train in seeds] == [42, 43]
    before = stamps(tmp_path)
    again = call(ladder.main, *asked, "--rungs", *rungs)
    assert stamps(tmp_path) == before
    assert again.splitlines()[-5:] == said.splitlines()[-5:]
    # With the weights of another run in the place of its own.
    first, averaged = tmp_path / "resnet50-tv", tmp_path / "convnext-focal-ema"
    shutil.copy(first / "fold-0/weights.raw.safetensors", averaged / "fold-0")
    (averaged / "test-raw.parquet").unlink()
    raw = ladder.raw_answers(Run.load(averaged), data).log_probs
    assert np.array_equal(raw, Predictions.load(first / "test.parquet").log_probs)


def test_every_trick_changes_the_base_and_can_be_had() -> None:
    # With the sizes of the short trainings of docs/results.md.
    sizes = ["data.size_px=96", "data.grow=[{after: 0.65, size_px: 128}]"]
    base = load_recipe("cars-fast", sizes)
    prints = {base.fingerprint: "base"}
    for name, changes in tricks.TRICKS.items():
        recipe = load_recipe("cars-fast", [*sizes, *tricks.changes_of(base, changes)])
        assert recipe.fingerprint not in prints, f"{name} is {prints[recipe.fingerprint]}"
        prints[recipe.fingerprint] = name
    folders = {tricks.folder_name(name) for name in tricks.TRICKS}
    assert len(folders) == len(tricks.TRICKS)
    added = load_recipe("cars-fast", tricks.changes_of(base, tricks.TRICKS["erasing"]))
    assert added.augment[:-1] == base.augment
    assert added.augment[-1].kind == "erasing"


def test_the_tricks_that_results_name_can_be_asked_for() -> None:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    commands = re.findall(r"benchmarks\.tricks (?:\\\n|.)*", text)
    named = [name for line in commands for name in re.findall(r'"([^"]+)"', line)]
    assert len(named) >= 4
    assert set(named) <= set(tricks.TRICKS)


def test_tricks_are_compared_with_the_base_on_the_same_photos(
    data: Path, tmp_path: Path, call: Call
) -> None:
    only = ("no CutMix", "GeM, learned", "wider crops")
    arguments = (data, "--work", tmp_path, "--epochs", 1, "--seeds", 2, "--only", *only)
    said = call(tricks.main, *arguments, "--set", *SMALL)
    last = said.split("seed(s)")[-1]
    for name in ("base", *only):
        assert f"| {name} |" in last
    rows = [line for line in last.splitlines() if line.startswith(tuple(f"| {n}" for n in only))]
    assert all(any(word in row for word in ("helps", "hurts", "noise")) for row in rows)
    runs = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(runs) == 8
    assert all(Run.load(path).models == ("0",) for path in runs)
    before = stamps(tmp_path)
    call(tricks.main, *arguments, "--set", *SMALL)
    assert stamps(tmp_path) == before
    assert "`mix.cutmix=0`" in call(tricks.main, "--list")


def test_four_ways_get_the_same_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One epoch a model each, whatever the pace; and fewer models, as each script is a process.
    monkeypatch.setattr(two_hours, "MEMBERS", 2)
    common = ("--work", tmp_path, "--labels", data / "labels.csv", "--backbone", "test_resnet")
    ours = ("--recipe", "cars-fast", "--folds", 3, "--members", 2)
    small = ("--minutes", 1e-6, "--plain-px", 32, "--seed-set", "data.size_px=32", "--set", *SMALL)
    plan = {f"{way}, 1e-06 minutes": 1 for way in ("seed", "plain x 2")}
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    only = ("ours", "seed", "seed raw", "plain x 5")
    asked = two_hours.parse([*map(str, (data, *common, *ours, *small, "--only", *only))])
    said = two_hours.compared(asked)
    for way in only:
        assert f"| {way} |" in said
    assert "ours is" in said
    assert json.loads((tmp_path / "plan.json").read_text())["ours, 1e-06 minutes"] == 1
    assert Run.load(tmp_path / "seed").done == ("0", "1")
    run = Run.load(tmp_path / "ours")
    assert (run.done, run.recipe.folds.num_folds) == (("0", "1"), 3)
    assert len(list((tmp_path / "plain").glob("2-models-1-epochs-*.npz"))) == 2
    before = stamps(tmp_path)
    assert two_hours.compared(asked) == said
    assert stamps(tmp_path) == before


def test_the_pace_decides_the_epochs(tmp_path: Path) -> None:
    asked = two_hours.parse(["d", "--labels", "l", "--work", str(tmp_path), "--minutes", "10"])
    assert two_hours.planned(asked, "x", lambda: 12.9) == 12
    assert two_hours.planned(asked, "x", lambda: 99) == 12  # measured once
    assert two_hours.planned(asked, "y", lambda: 0.2) == 1


def test_folds_at_a_time_take_as_long_as_by_the_clock() -> None:
    assert two_hours.end([5, 3, 4], 1) == 12
    assert two_hours.end([5, 3, 4], 2) == 7
    assert two_hours.end([5, 3, 4], 3) == 5


def test_the_plain_script_is_short() -> None:
    script = Path(two_hours.__file__).with_name("plain_script.py")
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 60


def test_views_are_timed_in_one_run(call: Call) -> None:
    said = call(view_cost.main, "--photos", 2, "--rounds", 1)
    assert "one view" in said
    assert "2 views" in said
    assert "ratio" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_nothing_is_measured(data: Path, call: Call) -> None:
    with pytest.raises(SystemExit, match="There is no GPU here, so nothing was measured"):
        call(gpu_speed.main, data)


def test_the_loop_can_be_tried_on_any_device(data: Path, call: Call) -> None:
    small = ("--backbone", "test_resnet", "--batch", 8, "--rounds", 1, "--steps", 1)
    said = call(gpu_speed.main, data, "--any-device", *small, "--set", "data.size_px=32")
    assert "ratio" in said


def test_timms_pace_is_its_last_mean() -> None:
    log = (
        "Train: 0 [ 0/10 ]  Loss: 5.3  Time: 1.0s,   64.00/s  (1.0s,   64.00/s)  LR: 1e-3\n"
        "Train: 1 [ 9/10 ]  Loss: 4.9  Time: 0.1s,  640.00/s  (0.125s,  512.25/s)  LR: 1e-3\n"
    )
    assert gpu_speed.timms_rate(log) == 512.25
    with pytest.raises(SystemExit, match="told no pace"):
        gpu_speed.timms_rate("Traceback")
