"""What is held out by unfinished and by finished runs, and who says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

import chajong
from chajong.errors import RunError
from chajong.held_out import learned, out_of_fold, whole_table
from chajong.reporting.review import Review
from chajong.run import Run
from chajong.training.expect import expect
from chajong.training.look_again import look_again
from tests.experiments.made_up import answers, labels_of, make_run

LABELS = labels_of(40)


def test_a_finished_run_has_a_table(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LABELS, answers(LABELS, 1.0))
    assert whole_table(run).ids == out_of_fold(run).ids
    assert len(whole_table(run).ids) == 40
    run.predictions_path.unlink()  # the folds have their own
    assert len(whole_table(run).ids) == 40


def test_what_the_only_model_held_out_was_learned_by_none(tmp_path: Path) -> None:
    whole = make_run(tmp_path / "whole", LABELS, answers(LABELS, 1.0))
    photos = whole.manifest().trainable()
    assert learned(whole) == set(photos["sha256"])
    part = make_run(tmp_path / "part", LABELS, answers(LABELS, 1.0), done=("0",))
    left_out = photos.filter(photos["id"].is_in(list(out_of_fold(part).ids)))["sha256"]
    assert 0 < len(left_out) < 40
    assert learned(part) == set(photos["sha256"]) - set(left_out)


@pytest.mark.parametrize(
    "verb",
    [
        whole_table,
        chajong.find_suspects,
        lambda run: Review(run, run.folder / "corrections.csv", "me"),
        lambda run: expect([run], run.folder),
        lambda run: look_again(run, ("plain",)),
    ],
)
def test_an_unfinished_run_has_none(verb: Callable[[Run], object], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LABELS, answers(LABELS, 1.0), done=("0",))
    said = r"Only 1 of 2 folds .* the rest with: chajong train .* --out .*run$"
    with pytest.raises(RunError, match=said):
        verb(run)
    assert 0 < len(out_of_fold(run).ids) < 40
    begun = make_run(tmp_path / "begun", LABELS, answers(LABELS, 1.0), done=())
    with pytest.raises(RunError, match="no fold is trained yet"):
        out_of_fold(begun)
