"""Commands to copy: they ask for what the run was asked, whatever its folders are called."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chajong.blending.blend import Blend, Making, Member
from chajong.experiments.again import (
    blend_command,
    rerun_command,
    review_command,
    train_command,
    train_commands,
)
from chajong.run import Run
from tests.runs import finished, started


def asked(line: str) -> tuple[list[str], dict[str, str | None]]:
    """Words without an option, and what each option is given."""
    words: list[str] = []
    options: dict[str, str | None] = {}
    parts = iter(shlex.split(line))
    for part in parts:
        if part == "--allow-noncommercial":
            options[part] = None
        elif part.startswith("--"):
            options[part] = next(parts)
        else:
            words.append(part)
    return words, options


def with_facts(run: Run, **facts: Any) -> Run:
    return replace(run, record=run.record.model_copy(update=facts))


def test_a_plain_run_needs_recipe_and_folder(tmp_path: Path) -> None:
    run = finished(tmp_path / "my 'first' run")
    (line,) = train_commands(run)
    assert asked(line) == (
        ["chajong", "train", run.record.data],
        {"--recipe": str(run.folder / "recipe.yaml"), "--out": f"{run.folder}-again"},
    )
    assert shlex.split(rerun_command(run)) == ["chajong", "runs", "rerun", str(run.folder)]
    assert shlex.split(review_command(run)) == ["chajong", "review", str(run.folder)]


def test_what_decided_the_run_is_asked_for_again(tmp_path: Path) -> None:
    run = with_facts(
        finished(tmp_path / "run"),
        layout="imagefolder",
        teacher="/a b/teacher",
        corrections="0123",
        corrections_file="/it's/corrections.csv",
        licence="CC-BY-NC-4.0",
    )
    (line,) = train_commands(run)
    given = {
        "--layout": "imagefolder",
        "--teacher": "/a b/teacher",
        "--corrections": "/it's/corrections.csv",
        "--allow-noncommercial": None,
    }
    assert given.items() <= asked(line)[1].items()
    assert asked(review_command(run))[1] == {"--corrections": "/it's/corrections.csv"}
    other = asked(train_command(run, corrections=Path("/new.csv")))[1]
    assert (other["--corrections"], "--out" in other) == ("/new.csv", False)
    older = with_facts(run, corrections_file=None)
    assert asked(train_command(older))[1]["--corrections"] == "FILE"


def test_a_run_of_some_folds_is_asked_for_fold_by_fold(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run.model_folder("0") / "done.json").unlink()
    assert [asked(line)[1]["--fold"] for line in train_commands(run)] == ["1"]
    young = started(tmp_path / "young")
    assert ["--fold" in asked(line)[1] for line in train_commands(young)] == [False]
    whole = started(tmp_path / "whole", models=("all",))
    assert [asked(line)[1]["--fold"] for line in train_commands(whole)] == ["all"]


@pytest.mark.parametrize("photos", [None, "/test photos"])
def test_a_blend_is_asked_of_all_runs_that_it_chose_from(
    tmp_path: Path, photos: str | None
) -> None:
    members = (Member("/runs/a b", "0", ("plain",), (1.0,)),)
    made = Making(("/runs/a b", "/runs/c"), 3, photos, "2026-01-31T09:00:00+09:00")
    blend = Blend(("K3", "K5"), (), members, "log", 1.0, None, (), made=made)
    again = {"--budget": "3", "--out": f"{tmp_path}/blend-again"}
    said = {} if photos is None else {"--photos": photos}
    wanted = ["chajong", "blend", "/runs/a b", "/runs/c"], {**again, **said}
    assert asked(blend_command(tmp_path / "blend", blend)) == wanted
    blend.save(tmp_path / "blend")
    assert Blend.load(tmp_path / "blend") == blend
    older = blend_command(tmp_path / "blend", replace(blend, made=None))
    assert asked(older) == (wanted[0][:3], {"--out": again["--out"]})
