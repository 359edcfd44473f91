"""Notes about a run: what people think of it, and what a leaderboard said."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from chajong.errors import RunError
from chajong.file_names import BLEND, RUN
from chajong.files import locked, write_text
from chajong.wording import in_a_line, moment

NOTES = "notes.jsonl"
"""The file in the folder of a run or a blend: a note a line, the oldest first."""


@dataclass(frozen=True)
class Note:
    """What somebody put on record about a run.

    Attributes:
        when: ISO 8601 with the offset.
        text: What there is to say; may be empty beside a score.
        board: The score on the leaderboard, 0 or more.
        board_private: The score on the leaderboard that is shown at the end, 0 or more.
    """

    when: str
    text: str
    board: float | None = None
    board_private: float | None = None

    def __post_init__(self) -> None:
        """Refuse a note that says nothing, or whose scores cannot be.

        Raises:
            RunError: If there is neither a text nor a score, the text cannot be written, the time
                is none, or a score is negative or not finite.
        """
        scores = {"--board": self.board, "--board-private": self.board_private}
        if not self.text.strip() and all(score is None for score in scores.values()):
            raise RunError("A note needs a text, or a score: --board 0.1245.")
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise RunError(f"A note must be text that UTF-8 can hold: {error}.") from error
        if moment(self.when) == -math.inf:
            raise RunError(f"A note must say when, in ISO 8601. Got {self.when!r}.")
        for name, score in scores.items():
            if score is not None and not 0 <= score < math.inf:
                raise RunError(f"{name} must be a number of 0 or more. Got {score}.")

    def line(self) -> str:
        """Give the note as a line for a terminal.

        Returns:
            When, the scores, the text.
        """
        scores = {"board": self.board, "private": self.board_private}
        said = [f"{name} {score:.4f}" for name, score in scores.items() if score is not None]
        when = self.when[:16].replace("T", " ")
        return "  ".join([when, *said, *([in_a_line(self.text)] if self.text else [])])


def read_notes(folder: Path) -> tuple[Note, ...]:
    """Read the notes of a run or a blend.

    Args:
        folder: Its folder.

    Returns:
        The notes, the oldest first.

    Raises:
        RunError: If the folder is of neither, or their file is damaged.
    """
    if not any((folder / name).is_file() for name in (RUN, BLEND)):
        raise RunError(f"{folder} is no run and no blend. List the runs with: chajong runs")
    path = folder / NOTES
    if not path.exists():
        return ()
    try:
        # Not `splitlines`: a text may hold characters at which that splits too.
        lines = path.read_text(encoding="utf-8").split("\n")
        return tuple(_NOTE.validate_python(json.loads(line)) for line in lines if line.strip())
    except (OSError, ValueError, RecursionError, RunError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise RunError(
            f"{path} is damaged: {said}. Each line must be a note in JSON; put right or take away "
            "the line that is not."
        ) from error


def add_note(folder: Path, note: Note) -> None:
    """Write a note behind the others, which stay as they are.

    Args:
        folder: The folder of a run or a blend.
        note: The note.

    Raises:
        RunError: If the folder is of neither, or its notes are damaged.
    """  # noqa: DOC502 raised by `read_notes`
    read_notes(folder)  # what is damaged, or no run, is not to be built upon
    with locked(folder / ".notes.lock", wait=True):
        path = folder / NOTES
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before and not before.endswith("\n"):
            before += "\n"
        write_text(path, f"{before}{json.dumps(asdict(note), ensure_ascii=False)}\n")


def latest(notes: tuple[Note, ...], score: Literal["board", "board_private"]) -> float | None:
    """Find the last score that is on record.

    Args:
        notes: The oldest first.
        score: Which of the two.

    Returns:
        The score; none where no note has one.
    """
    scores: list[float | None] = [getattr(note, score) for note in notes]
    return next((value for value in reversed(scores) if value is not None), None)


_NOTE = TypeAdapter(Note)
