import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chajong.experiments.changes import changes_between
from chajong.experiments.diff import diff
from chajong.run import Run
from tests.experiments.made_up import NAMES, answers, labels_of, make_run, recipe
from tests.runs import edit, started

LABELS = labels_of(30)


def with_environment(run: Run, **values: Any) -> Run:
    edit(run.folder / "run.json", lambda record: record["environment"].update(values))
    return Run.load(run.folder)


def test_runs_that_are_the_same_have_no_changes(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path / name, LABELS, answers(LABELS, 1.0)) for name in ("a", "b"))
    found = changes_between(a, b)
    assert found.none
    assert found.lines() == [
        f"{part:<12} the same"
        for part in ("recipe", "data", "weights", "teacher", "models", "code", "environment")
    ]


def test_each_kind_of_change_is_said(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", LABELS, answers(LABELS, 1.0))
    labels = [NAMES[1], *LABELS[1:], NAMES[0]]
    groups = [0, 0, *range(2, 31)]
    how = recipe("optim.lr=0.5", "mix.mixup=0.2")
    b = make_run(tmp_path / "b", labels, answers(labels, 1.0), how, groups=groups, done=("1",))
    edit(b.folder / "run.json", lambda record: record.update(weights="other", corrected="1 label"))
    a = with_environment(a, packages={"chajong": "1", "torch": "1"}, code="x", commit="c")
    b = with_environment(
        b, packages={"chajong": "1", "torch": "2"}, code="y", commit="d", device="cuda", command=[]
    )
    found = changes_between(a, b)
    assert found.recipe == ("mix.mixup: 0.0 -> 0.2", "optim.lr: 0.004 -> 0.5")
    assert found.data == (
        "photos: 30 -> 31",
        "1 photo(s) only in the second",
        "1 photo(s) with another label",
        "1 photo(s) with other near-duplicates",
        "corrections: none -> 1 label",
    )
    assert found.weights == ("start: none -> other",)
    assert found.models == ("trained: 0, 1 -> 1",)
    assert found.code == ("commit: c -> d",)
    assert found.environment == ("device: cpu -> cuda", "torch: 1 -> 2")
    assert not found.none


def test_code_without_a_commit_is_told_by_its_files(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path / name, LABELS, answers(LABELS, 1.0)) for name in ("a", "b"))
    a, b = with_environment(a, code="x"), with_environment(b, code="y")
    assert changes_between(a, b).code == ("source files: x -> y",)
    # How precisely it computed, and on how many processes, is part of the environment.
    edit(b.folder / "fold-0" / "done.json", lambda facts: facts.update(precision="bf16"))
    assert changes_between(a, b).environment == ("precision: fp32 -> bf16",)


def test_what_changed_the_score(tmp_path: Path) -> None:
    said = answers(LABELS, 1.0)
    worse = said.copy()
    worse[:2] = answers([NAMES[2], NAMES[2]], 8.0)
    a = make_run(tmp_path / "a", LABELS, said)
    b = make_run(tmp_path / "b", LABELS, worse, recipe("optim.lr=0.5"))
    found = diff(a, b)
    assert found.score is not None
    assert [photo.id for photo in found.lost] in (
        ["p00000.jpg", "p00001.jpg"],
        ["p00001.jpg", "p00000.jpg"],
    )
    assert (found.gained, found.num_better, found.num_worse) == ((), 0, 2)
    assert found.num_half in (1, 2)
    changed = {each.name for each in found.score.classes if each.share > 0}
    assert changed == {NAMES[0], NAMES[1]}
    lines = found.lines()
    assert "recipe       optim.lr: 0.004 -> 0.5" in lines
    assert "data         the same" in lines
    assert f"each photo   0 better, 2 worse; {found.num_half} make up half of all change" in lines
    assert sum(line.startswith("most lost    +") for line in lines) == 4
    turned = diff(b, a)
    assert [photo.id for photo in turned.gained] == [photo.id for photo in found.lost]
    assert (turned.lost, turned.num_better) == ((), 2)
    json.dumps(found.as_dict())


def test_half_of_all_change(tmp_path: Path) -> None:
    said = answers(LABELS, 1.0)
    a = make_run(tmp_path / "a", LABELS, said)
    same = diff(a, make_run(tmp_path / "b", LABELS, said, recipe("optim.lr=0.5")))
    assert (same.num_half, same.num_better, same.num_worse) == (0, 0, 0)
    assert same.lines()[-1] == "each photo   0 better, 0 worse"
    other = make_run(tmp_path / "c", LABELS, answers(LABELS, 1.0, seed=4), recipe("optim.lr=1"))
    gaps = sorted(
        (abs(photo.log_loss_b - photo.log_loss_a) for photo in diff(a, other).gained), reverse=True
    )
    assert len(gaps) == 3
    assert 1 < diff(a, other).num_half < 15


@pytest.mark.parametrize("models", [("all",), ("0", "1")])
def test_runs_without_shared_photos_are_not_scored(models: tuple[str, ...], tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", LABELS, answers(LABELS, 1.0))
    b = started(tmp_path / "b", models=models)
    found = diff(a, b)
    assert found.score is None
    assert found.lines()[-1].startswith("score        not compared. ")
    assert "has held out no photos" in found.lines()[-1]
    assert "photos: 30 -> 8" in found.changes.data
    json.dumps(replace(found).as_dict())
