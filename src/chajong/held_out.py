"""What the models of a run said of the photos that they held out."""

import polars as pl

from chajong.errors import RunError
from chajong.experiments.again import go_on_command
from chajong.predictions import Predictions
from chajong.run import Run


def out_of_fold(run: Run) -> Predictions:
    """Read what a run's models said of the photos that they held out.

    Args:
        run: The run; not all of its folds need to be trained.

    Returns:
        The table of all trained folds.

    Raises:
        RunError: If none is trained, or the run is one model of every photo.
    """
    if run.models == ("all",):
        raise RunError(
            f"{run.folder} has held out no photos to be judged by: it is one model that learned "
            "from every photo. Train it without --fold all."
        )
    if not run.done:
        raise RunError(
            f"{run.folder} has held out no photos: no fold is trained yet. Go on with: "
            f"{go_on_command(run)}"
        )
    if run.predictions_path.exists():
        return Predictions.load(run.predictions_path)
    parts = [Predictions.load(run.held_out_path(name)) for name in run.done]
    return Predictions.merge_folds(parts)


def whole_table(run: Run) -> Predictions:
    """Read what a finished run's models said of the photos that they held out.

    Args:
        run: The run, all folds trained.

    Returns:
        The out-of-fold table: every photo of its folds.

    Raises:
        RunError: If not all folds are trained, or the run is one model of every photo.
    """
    if run.models != ("all",) and len(run.done) < len(run.models):
        raise RunError(
            f"Only {len(run.done)} of {len(run.models)} folds of {run.folder} are trained, and the "
            f"photos of the others are held out by none. Train the rest with: {go_on_command(run)}"
        )
    return out_of_fold(run)


def learned(run: Run) -> set[str]:
    """Tell which photos a trained model of a run has learned from.

    Args:
        run: The run.

    Returns:
        The sha256 of their files: all, where more than one fold is trained.
    """
    photos = run.manifest().trainable()
    if len(run.done) == 1 and run.done != ("all",):
        folds = run.split().table.select("id", "fold")
        left_out = folds.filter(pl.col("fold") == int(run.done[0]))
        photos = photos.join(left_out, on="id", how="anti")
    return set(photos["sha256"])
