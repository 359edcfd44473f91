"""All runs of a folder in a list, quickly even where there are thousands.

What was read of a run is remembered in `.list.json` beside the runs, together with the inode, the
time of the last change and the size of each file that it was read from. Every listing looks at
these anew and reads what is not the same, so that the memory is never believed over the files.
Nothing here is imported at the top that takes long.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chajong.environment import code_fingerprint
from chajong.errors import ChajongError, ResourceError, RunError
from chajong.progress import Progress, say

if TYPE_CHECKING:
    from chajong.run import Run

Stamps = dict[str, list[int] | None]
"""The inode, time of change and size of each file of a run by its name; none where missing."""

_MEMORY = ".list.json"
_RECORD = "run.json"
_READ = (_RECORD, "recipe.yaml", "labels.json", "score.json", "notes.jsonl")
# A file that is changed twice within the grain of the clock may look unchanged.
_SETTLED_S = 2.0
_MANY = 200


@dataclass(frozen=True)
class Row:
    """A run in a list.

    Attributes:
        run: The name of its folder.
        recipe: The name of its recipe.
        status: `done`, or how many of its models are.
        log_loss: Of the out-of-fold table; none before all folds are trained.
        top1: The same for the share of photos whose true class is the likeliest.
        board: The latest score on the leaderboard that is on record.
        board_private: The same for the score that is shown at the end.
        seconds: Training time of the models that are trained.
        started: When, ISO 8601.
        base: The named recipe of that name, or the one that is nearest.
        changes: What its recipe has other than that one, by dotted path.
        num_photos: How many it learns from.
        data: Where they lay.
        data_fingerprint: Of the photos, labels and groups.
        commit: Of the code, where it is known.
        note: The latest note.
    """

    run: str
    recipe: str
    status: str
    log_loss: float | None
    top1: float | None
    board: float | None
    board_private: float | None
    seconds: float
    started: str
    base: str
    changes: Mapping[str, Any]
    num_photos: int
    data: str
    data_fingerprint: str
    commit: str | None
    note: str

    @property
    def gap(self) -> float | None:
        """By how much the leaderboard's log loss is above the local one."""
        if self.board is None or self.log_loss is None:
            return None
        return self.board - self.log_loss

    def as_dict(self) -> dict[str, Any]:
        """Give the row as JSON can hold it.

        Returns:
            Every attribute by its name, and the gap.
        """
        return {**asdict(self), "gap": self.gap}


def list_runs(folder: Path) -> list[Row]:
    """Find the runs in a folder, and say on standard error which of them are damaged.

    Args:
        folder: Such as `runs`.

    Returns:
        The runs that can be read, the newest first.
    """
    known = _remembered(folder)
    rows: dict[str, Row] = {}
    stamps: dict[str, Stamps] = {}
    stale = []
    for name in _names(folder):
        found = known.get(name)
        if found is not None and found[0] == _stamps(folder / name, found[0]):
            stamps[name], rows[name] = found
        elif (folder / name / _RECORD).exists():
            stale.append(name)
    try:
        for name, row, stamp in _read_anew(folder, stale):
            rows[name] = row
            if _settled(stamp):
                stamps[name] = stamp
    finally:
        if stamps.keys() != known.keys() or any(name in stamps for name in stale):
            _remember(folder, {name: (stamp, rows[name]) for name, stamp in stamps.items()})
    return sorted(rows.values(), key=lambda row: row.started, reverse=True)


def row_of(run: "Run") -> Row:
    """Read all that a list says of a run.

    Args:
        run: The run.

    Returns:
        Its row.

    Raises:
        RunError: If what was measured, or a note, is damaged.
    """  # noqa: DOC502 raised by what it calls
    from chajong.experiments.notes import latest, read_notes
    from chajong.recipe_file import differences
    from chajong.recipes import RECIPES

    named = RECIPES.values()
    base = RECIPES.get(run.recipe.name) or min(
        named, key=lambda recipe: len(differences(recipe, run.recipe))
    )
    score, notes, record = run.score() or {}, read_notes(run.folder), run.record
    return Row(
        run=run.folder.name,
        recipe=record.recipe,
        status=run.status(),
        log_loss=score["log_loss"]["value"] if score else None,
        top1=score["top1"]["value"] if score else None,
        board=latest(notes, "board"),
        board_private=latest(notes, "board_private"),
        seconds=run.seconds(),
        started=record.created,
        base=base.name,
        changes={path: value for path, (_, value) in differences(base, run.recipe).items()},
        num_photos=record.num_photos,
        data=record.data,
        data_fingerprint=record.data_fingerprint,
        commit=record.environment.get("commit"),
        note=next((note.text for note in reversed(notes) if note.text.strip()), ""),
    )


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RunError(f"{folder} cannot be listed: {error.strerror}.") from error


def _read_anew(folder: Path, names: list[str]) -> Iterator[tuple[str, Row, Stamps]]:
    if not names:
        return
    from chajong.run import Run

    with Progress("reading runs", len(names), "runs", quiet=len(names) < _MANY) as progress:
        for name in names:
            path = folder / name
            # Before they are read: what changes meanwhile must look changed the next time.
            stamps = _stamps(path, _READ)
            try:
                run = Run.load(path)
                done = [run.model_folder(model) / "done.json" for model in run.models]
                stamps |= _stamps(path, [each.relative_to(path).as_posix() for each in done])
                yield name, row_of(run), stamps
            except ChajongError as error:
                say(f"left out: {error}")
            progress.advance()


def _stamps(run: Path, files: Mapping[str, Any] | tuple[str, ...] | list[str]) -> Stamps:
    return {name: _stamp(f"{run}/{name}") for name in files}


def _stamp(path: str) -> list[int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 a hundred thousand times, and pathlib takes twice as long
    except OSError:
        return None
    return [found.st_ino, found.st_ctime_ns, found.st_size]


def _settled(stamps: Stamps) -> bool:
    newest = max(stamp[1] for stamp in stamps.values() if stamp is not None)
    return newest < time.time_ns() - _SETTLED_S * 1e9


def _remembered(folder: Path) -> dict[str, tuple[Stamps, Row]]:
    # Nothing where the memory is missing, damaged, or by another version of this program.
    with suppress(OSError, ValueError, TypeError):
        signature, text = (folder / _MEMORY).read_text(encoding="utf-8").split("\n", 1)
        if signature == _signature(text):
            return {name: (stamps, Row(**row)) for name, (stamps, row) in json.loads(text).items()}
    return {}


def _remember(folder: Path, known: Mapping[str, tuple[Stamps, Row]]) -> None:
    from chajong.files import write_text

    text = json.dumps({name: (stamps, vars(row)) for name, (stamps, row) in known.items()})
    try:
        write_text(folder / _MEMORY, f"{_signature(text)}\n{text}")
    except ResourceError as error:
        say(f"The list cannot be remembered, so that the next one takes as long. {error}")


def _signature(text: str) -> str:
    return f"{code_fingerprint()} {sha256(text.encode()).hexdigest()}"
