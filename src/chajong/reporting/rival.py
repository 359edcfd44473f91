"""How a run or a blend compares with the best that was there before it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chajong.blending.blend import Blend
from chajong.comparison import Comparison, compare
from chajong.errors import ChajongError
from chajong.experiments.listing import list_runs
from chajong.file_names import SCORE
from chajong.pairs import known_differences, open_side, pair
from chajong.progress import say
from chajong.run import Run
from chajong.score import Score
from chajong.wording import moment


class Beside(NamedTuple):
    """A comparison with the best that was there before.

    Attributes:
        found: None where there was nothing, or nothing that can be compared.
        why: Why there is none.
    """

    found: Comparison | None = None
    why: str = ""


class _Scored(NamedTuple):
    # A run or a blend that may be compared.
    folder: Path
    log_loss: float
    started: str
    data: str


def beside_the_best(folder: Path, run: Run, started: str | None) -> Beside:
    """Compare with the least log loss of what was started earlier, on the same photos.

    Args:
        folder: Of the run or the blend, with its out-of-fold table.
        run: The run, or a member of the blend; others are looked for beside both.
        started: When, ISO 8601; none where that is not on record.

    Returns:
        The comparison, or why there is none: what is wrong with another run must not cost this
        one its report.
    """
    if started is None:
        return Beside(why="When it was made is not on record, nor what was there before.")
    own = folder.resolve()
    try:
        before = [
            each
            for place in dict.fromkeys([run.folder.resolve().parent, own.parent])
            for each in (*_runs(place), *_blends(place))
            if each.data == run.record.data_fingerprint
            and each.folder != own
            and moment(each.started) < moment(started)
        ]
        if not before:
            return Beside(why="It is the first with a score of these photos here.")
        best = min(before, key=lambda each: each.log_loss).folder
        sides = open_side([best]), open_side([folder])
        names = best.name, own.name
        return Beside(compare(pair(*sides), names, differs=known_differences(*sides)))
    except ChajongError as error:
        say(f"not compared with the best before it: {error}")
        return Beside(why=f"Not compared: {error}")


def _runs(place: Path) -> Iterator[_Scored]:
    for row in list_runs(place):
        if row.log_loss is not None:
            yield _Scored(place / row.run, row.log_loss, row.started, row.data_fingerprint)


def _blends(place: Path) -> Iterator[_Scored]:
    for path in sorted(place.iterdir()):
        if not Blend.is_in(path):
            continue
        try:
            blend = Blend.load(path)
            score = Score.load(path / SCORE)
            data = Run.load(Path(blend.members[0].run)).record.data_fingerprint
        except ChajongError as error:
            say(f"left out: {error}")
            continue
        if blend.made is not None:
            yield _Scored(path, score.log_loss.value, blend.made.created, data)
