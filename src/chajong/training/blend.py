"""Runs looked at through all views, and blended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chajong.blending.blend import Blend
from chajong.blending.make import alone, check_members, make_blend
from chajong.errors import RunError
from chajong.experiments.notes import read_notes
from chajong.held_out import whole_table
from chajong.progress import say
from chajong.run import Run, refuse_run
from chajong.score import Score
from chajong.training.look_again import asker, look_again
from chajong.training.sides import views_taken
from chajong.training.views import VIEWS
from chajong.training.weights import empty_network
from chajong.wording import listed


@dataclass(frozen=True)
class Blended:
    """A blend, and how good it and its parts are.

    Attributes:
        blend: The blend.
        nested: Its score out of fold; no photo was scored by a fit that knew its answer.
        alone: The folder of the run, the name and the log loss of each view by itself.
    """

    blend: Blend
    nested: Score
    alone: tuple[tuple[Path, str, float], ...]

    def lines(self) -> Iterator[str]:
        """Tell what was compared, and what came out.

        Yields:
            Each view alone, the blend, its nested score.
        """
        for folder, view, loss in self.alone:
            yield f"{folder}  {view:<12} alone {loss:.4f}"
        yield from self.blend.lines()
        yield "out of fold, nested: no photo was scored by a fit that knew its answer"
        yield from self.nested.lines()


def blend_runs(
    runs: Sequence[Run], out: Path, budget: int = 4, photos: Path | None = None
) -> Blended:
    """Learn which runs and views to believe, and write the blend.

    Args:
        runs: The members, all folds trained.
        out: The blend's folder.
        budget: Most views of a photo for each run, 1 or more.
        photos: Photos that no model learned from, to calibrate the mean of the folds; none to do
            without.

    Returns:
        The blend and its scores.

    Raises:
        RunError: If the runs are not of the same photos and classes, one is there twice, or a run
            or a blend with notes lies where the blend should.
        DataError: If there are too few photos that no model learned from.
    """  # noqa: DOC502 raised by what it calls
    refuse_run(out, "a blend")
    _refuse_noted(out)
    check_members(runs, [whole_table(run) for run in runs])
    ask = None if photos is None else asker(photos, runs)  # before what takes long
    tables = [look_again(run, _views(run)) for run in runs]
    made, nested = make_blend(runs, tables, budget, out, ask, photos)
    found = alone(tables, runs[0].labels)
    singly = tuple((runs[place].folder, view, loss) for place, view, loss in found)
    return Blended(made, nested, singly)


def _refuse_noted(out: Path) -> None:
    if Blend.is_in(out) and (num := len(read_notes(out))):
        raise RunError(
            f"{out} holds a blend with {num} note(s) on record, such as its leaderboard score, "
            "which would seem to be of the new one. Choose another with --out."
        )


def _views(run: Run) -> tuple[str, ...]:
    side_px = run.recipe.data.evaluation_px
    network = empty_network(run.recipe.model, len(run.labels.names))
    views = views_taken(network, tuple(VIEWS), side_px)
    if left_out := [view for view in VIEWS if view not in views]:
        say(
            f"{run.folder}: {run.recipe.model.backbone} does not take photos of every size, which "
            f"leaves out {listed(left_out)}"
        )
    return views
