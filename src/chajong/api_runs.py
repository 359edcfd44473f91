"""The verbs about runs that are trained, as functions; part of `chajong.api`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chajong.api import StrPath, folder_of, open_run, path_of

if TYPE_CHECKING:
    import polars as pl

    from chajong.choices import Layout
    from chajong.comparison import Comparison
    from chajong.experiments.diff import RunDiff
    from chajong.experiments.notes import Note
    from chajong.experiments.sameness import Sameness
    from chajong.predictions import Predictions
    from chajong.run import Run
    from chajong.suspects import Suspects


def list_runs(
    folder: StrPath = "runs",
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    reverse: bool = False,
    top: int | None = None,
) -> pl.DataFrame:
    """List runs with score, leaderboard scores, time and what their recipes change.

    Args:
        folder: Where the runs lie.
        where: Conditions that all must hold, such as `log_loss<0.9` or `optim.lr=0.001`.
        sort: A field such as `log_loss` or `optim.lr`, the smallest first; if none, the newest
            run is the first.
        reverse: Whether the order is turned round.
        top: How many to list; all if none.

    Returns:
        A row a run: `run`, `recipe`, `status`, `log_loss`, `top1`, `board`, `board_private`,
        `seconds`, `started`, `base`, `changes` (JSON), `num_photos`, `data`, `data_fingerprint`,
        `commit`, `note`, `gap`.

    Raises:
        RunError: If a condition or a field cannot be.
    """  # noqa: DOC502 raised by what it calls
    from chajong.experiments.choosing import frame, select
    from chajong.experiments.listing import list_runs as found

    return frame(select(found(Path(folder)), where, sort, reverse=reverse, top=top))


def note(
    run: Run | StrPath,
    text: str = "",
    *,
    board: float | None = None,
    board_private: float | None = None,
) -> Note:
    """Put a note or leaderboard scores of a run or a blend on record.

    Args:
        run: A run, or the folder of a run or a blend.
        text: What there is to say; may be empty beside a score.
        board: The score on the leaderboard.
        board_private: The score on the leaderboard that is shown at the end.

    Returns:
        The note, as it is on record now.

    Raises:
        RunError: If it says nothing, or the folder is of neither.
    """  # noqa: DOC502 raised by what it calls
    from chajong.experiments.notes import Note, add_note
    from chajong.record import now

    made = Note(now(), text, board, board_private)
    add_note(folder_of(run), made)
    return made


def diff(a: Run | StrPath, b: Run | StrPath) -> RunDiff:
    """Say what was changed from one run to another, and what that did to the score.

    Args:
        a: A run.
        b: Another run.

    Returns:
        What is not the same on record, and the comparison where both held out photos.

    Raises:
        RunError: If either is no run.
    """  # noqa: DOC502 raised by what it calls
    from chajong.experiments.diff import diff as find

    return find(open_run(a), open_run(b))


def rerun(
    run: Run | StrPath,
    *,
    out: StrPath | None = None,
    data: StrPath | None = None,
    layout: Layout | None = None,
    cache: StrPath | None = None,
    corrections: StrPath | None = None,
) -> Sameness:
    """Train a run again in another folder: bit-equal, or what differs.

    Args:
        run: The run.
        out: The new folder; beside it, with `-again` behind its name, if none.
        data: The photos; where they lay then, if none.
        layout: How the photos lie; as they lay then, if none.
        cache: Folder for resized photos; the user's cache if none.
        corrections: Decisions about photos that the run was trained with.

    Returns:
        How alike both are.

    Raises:
        RunError: If nothing is trained yet, or data or first weights are not those of the run.
        SystemExit: On processes that only help the first (`torchrun`), when all is trained.
    """  # noqa: DOC503 raised by what it calls
    from chajong.training.rerun import rerun as train_again
    from chajong.training.train import Options

    options = Options(
        out=path_of(out),
        layout=layout,
        cache_folder=path_of(cache),
        corrections=path_of(corrections),
    )
    found = train_again(open_run(run), path_of(data), options)
    if found is None:
        raise SystemExit(0)
    return found


def out_of_fold(of: Run | StrPath) -> Predictions:
    """Read what models said of the photos that they held out.

    Args:
        of: A run, or the folder of a run or a blend.

    Returns:
        The predictions with their labels and folds; of a blend, its nested ones.

    Raises:
        RunError: If no photo was held out.
    """  # noqa: DOC502 raised by what it calls
    from chajong.blending.blend import Blend
    from chajong.file_names import OUT_OF_FOLD
    from chajong.held_out import out_of_fold as held_out
    from chajong.predictions import Predictions

    folder = folder_of(of)
    if Blend.is_in(folder):
        return Predictions.load(folder / OUT_OF_FOLD)
    return held_out(open_run(of))


def find_suspects(run: Run | StrPath) -> Suspects:
    """Rank the photos whose label is probably wrong, the worst first.

    Args:
        run: The run, all folds trained.

    Returns:
        A table, and how many labels the confident joint counts as wrong.

    Raises:
        ChajongError: If the run has no out-of-fold table.
    """  # noqa: DOC502 raised by what it calls
    from chajong.held_out import whole_table
    from chajong.suspects import find_suspects as rank

    opened = open_run(run)
    return rank(whole_table(opened), opened.labels, opened.manifest())


def compare(
    a: Run | StrPath | Sequence[Run | StrPath],
    b: Run | StrPath | Sequence[Run | StrPath],
    *,
    noise: float | None = None,
) -> Comparison:
    """Say whether B is better than A, worse, or whether the difference is noise.

    Args:
        a: A run, the folder of a run or a blend, or a Parquet file of out-of-fold predictions;
            several are trainings of one recipe with other seeds.
        b: The same for what may be better than A.
        noise: How much retraining moves a log loss, a standard deviation; if none, measured where
            there are several seeds, else 0.006.

    Returns:
        The comparison, with its verdict.

    Raises:
        ChajongError: If a side has no out-of-fold predictions, or they share no photos.
    """  # noqa: DOC502 raised by what it calls
    from chajong.comparison import compare as weigh
    from chajong.pairs import known_differences, open_side, pair

    sides = open_side(_folders(a)), open_side(_folders(b))
    names = sides[0].name, sides[1].name
    return weigh(pair(*sides), names, noise=noise, differs=known_differences(*sides))


def report(
    of: Run | Comparison | StrPath, out: StrPath | None = None, *, catalogue: StrPath | None = None
) -> Path:
    """Write a page: how good it is, where it is wrong, and how to make it again.

    Args:
        of: A run, a comparison, the folder of a run or a blend, or a comparison's JSON file.
        out: The HTML file; beside what it is about, if none, but for a comparison that has no file.
        catalogue: A CSV that says which car each class is; the known one if none.

    Returns:
        The file.

    Raises:
        ChajongError: If it is none of these, or a comparison without a file is given no `out`.
    """  # noqa: DOC503 raised by what it calls
    from chajong.blending.subject import Subject
    from chajong.comparison import Comparison
    from chajong.errors import RunError
    from chajong.reporting.report_page import PAGE, comparison_page, report_page

    if not isinstance(of, Comparison):
        where = folder_of(of)
        if not where.is_file():
            subject = Subject.open(where, path_of(catalogue))
            return report_page(subject, path_of(out) or where / PAGE)
    if catalogue is not None:
        raise RunError("The page of a comparison names no cars: leave the catalogue out.")
    if isinstance(of, Comparison):
        if out is None:
            raise RunError("A comparison lies nowhere: say where its page goes, out='page.html'.")
        return comparison_page(of, Path(out))
    page = path_of(out) or where.with_suffix(".html")
    if page.resolve() == where.resolve():
        raise RunError(f"The page would take the place of {where}. Choose another --out.")
    return comparison_page(Comparison.load(where), page)


def _folders(side: Run | StrPath | Sequence[Run | StrPath]) -> list[Path]:
    from chajong.blending.blend import Blend
    from chajong.run import Run

    several = [side] if isinstance(side, Run | Blend | str | os.PathLike) else side
    return [folder_of(each) for each in several]
