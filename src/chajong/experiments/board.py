"""What a leaderboard said of runs and blends, beside what they score at home."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chajong.errors import ChajongError, RunError
from chajong.experiments.notes import NOTES, read_notes
from chajong.photos.walk import check_utf8
from chajong.progress import say
from chajong.score import Score
from chajong.wording import moment


@dataclass(frozen=True)
class BoardScore:
    """Scores of one note, beside the local one.

    Attributes:
        run: The name of the folder of the run or the blend.
        when: When the note was written, ISO 8601.
        local: Its out-of-fold log loss; none where it has no out-of-fold table.
        board: The score on the leaderboard.
        board_private: The score that is shown at the end.
    """

    run: str
    when: str
    local: float | None
    board: float | None
    board_private: float | None

    @property
    def gaps(self) -> tuple[float | None, float | None]:
        """By how much both leaderboard scores are above the local one."""
        return _less(self.board, self.local), _less(self.board_private, self.local)


def read_board(folder: Path) -> tuple[BoardScore, ...]:
    """Gather the leaderboard scores of all runs and blends in a folder.

    Args:
        folder: Such as `runs`.

    Returns:
        A row for each note with a score, the oldest first; of what is damaged, standard error
        tells.

    Raises:
        RunError: If no note has a score that can be read.
    """
    found = []
    for path in sorted(folder.glob(f"*/{NOTES}")):
        try:
            found += _scores_of(path.parent)
        except ChajongError as error:
            say(f"left out: {error}")
    if not found:
        raise RunError(
            f"No run in {folder} has a leaderboard score on record. Put one there with: chajong "
            "runs note RUN --board 0.1245"
        )
    return tuple(sorted(found, key=lambda row: moment(row.when)))


def _scores_of(folder: Path) -> list[BoardScore]:
    check_utf8(str(folder))
    score = Score.of(folder)
    local = score.log_loss.value if score is not None else None
    return [
        BoardScore(folder.name, note.when, local, note.board, note.board_private)
        for note in read_notes(folder)
        if (note.board, note.board_private) != (None, None)
    ]


def board_lines(scores: Sequence[BoardScore]) -> Iterator[str]:
    """Lay leaderboard scores out in columns.

    Args:
        scores: The oldest first.

    Yields:
        A line a note, then how large the gaps are.
    """
    yield f"{'noted':<16}  {'local':>8} {'board':>8} {'gap':>8} {'private':>8} {'gap':>8}  run"
    for row in scores:
        gap, private_gap = row.gaps
        figures = (row.local, row.board, gap, row.board_private, private_gap)
        cells = [f"{'' if x is None else format(x, '.4f'):>8}" for x in figures]
        yield f"{row.when[:16].replace('T', ' ')}  {' '.join(cells)}  {row.run}"
    for place, what in enumerate(("board", "private")):
        gaps = [gap for row in scores if (gap := row.gaps[place]) is not None]
        if gaps:
            spread = f"{min(gaps):+.4f} to {max(gaps):+.4f}"
            yield f"{what} less local: {np.mean(gaps):+.4f} on average, {spread} ({len(gaps)})"


def _less(score: float | None, local: float | None) -> float | None:
    return None if score is None or local is None else score - local
