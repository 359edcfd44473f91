"""All runs of a folder in a list, quickly even where there are thousands.

What was read of a run is remembered in `.list.json` beside the runs, together with the inode, the
time of the last change and the size of each file that it was read from. Every listing looks at
these anew and reads what is not the same, so that the memory is never believed over the files.
Nothing here is imported at the top that takes long.
"""

import gc
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chajong.environment import code_fingerprint
from chajong.errors import ChajongError, ResourceError, RunError
from chajong.file_names import DONE, LABELS, RECIPE, RUN, SCORE
from chajong.photos.walk import check_utf8
from chajong.progress import Progress, say
from chajong.wording import command, moment

if TYPE_CHECKING:
    from chajong.run import Run

_MEMORY = ".list.json"
_READ = (RUN, RECIPE, LABELS, SCORE, "notes.jsonl")
# A file that is changed twice within the grain of the clock may look unchanged.
_SETTLED_S = 2.0
_MANY = 200


class _Seen(NamedTuple):
    # As texts, because a hundred thousand small objects take long to read.
    files: str  # names, with a bar between them
    stamps: str  # inode, time of change and size of each, or a dash where it is missing


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

    Raises:
        RunError: If there is no such folder, or it is a run.
    """
    if (folder / RUN).exists():
        beside = command("runs", folder.absolute().parent)
        raise RunError(f"{folder} is a run. List it with those beside it: {beside}")
    if not folder.is_dir():
        raise RunError(
            f"There is no folder {folder}, so no runs are in it. Name another, or train a run: "
            "chajong train DATA --recipe NAME"
        )
    known = _remembered(folder)
    rows: dict[str, Row] = {}
    seen: dict[str, _Seen] = {}
    stale = []
    for name in _names(folder):
        found = known.get(name)
        if found is not None and found[0] == _look(f"{folder}/{name}", found[0].files):
            seen[name], rows[name] = found
        elif _look(f"{folder}/{name}", RUN).stamps != "-":
            stale.append(name)
    try:
        for name, row, files in _read_anew(folder, stale):
            rows[name] = row
            if _settled(files):
                seen[name] = files
    finally:
        if seen.keys() != known.keys() or any(name in seen for name in stale):
            _remember(folder, {name: (files, rows[name]) for name, files in seen.items()})
    return sorted(rows.values(), key=lambda row: moment(row.started), reverse=True)


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
    score, notes, record = run.score(), read_notes(run.folder), run.record
    return Row(
        run=run.name,
        recipe=record.recipe,
        status=run.status(),
        log_loss=None if score is None else score.log_loss.value,
        top1=None if score is None else score.top1.value,
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


def _read_anew(folder: Path, names: list[str]) -> Iterator[tuple[str, Row, _Seen]]:
    if not names:
        return
    from chajong.run import Run

    with Progress("reading runs", len(names), "runs", quiet=len(names) < _MANY) as progress:
        for name in names:
            path = f"{folder}/{name}"
            # Before they are read: what changes meanwhile must look changed the next time.
            first = _look(path, "|".join(_READ))
            try:
                check_utf8(path)
                run = Run.load(folder / name)
                done = [f"{run.model_folder(model).name}/{DONE}" for model in run.models]
                then = _look(path, "|".join(done))
                yield name, row_of(run), _Seen(*map("|".join, zip(first, then, strict=True)))
            except ChajongError as error:
                say(f"left out: {error}")
            progress.advance()


def _look(run: str, files: str) -> _Seen:
    stamps = []
    for name in files.split("|"):
        try:
            found = os.stat(f"{run}/{name}")  # noqa: PTH116 pathlib takes twice as long
        except OSError:
            stamps.append("-")
        else:
            stamps.append(f"{found.st_ino}.{found.st_ctime_ns}.{found.st_size}")
    return _Seen(files, "|".join(stamps))


def _settled(seen: _Seen) -> bool:
    newest = max(int(stamp.split(".")[1]) for stamp in seen.stamps.split("|") if stamp != "-")
    return newest < time.time_ns() - _SETTLED_S * 1e9


def _remembered(folder: Path) -> dict[str, tuple[_Seen, Row]]:
    # Nothing where the memory is missing, damaged, or by another version of this program.
    with suppress(OSError, ValueError, TypeError), _without_collector():
        signature, text = (folder / _MEMORY).read_text(encoding="utf-8").split("\n", 1)
        if signature == _signature(text):
            known = json.loads(text)
            return {name: (_Seen(*seen), Row(*row)) for name, (seen, row) in known.items()}
    return {}


def _remember(folder: Path, known: Mapping[str, tuple[_Seen, Row]]) -> None:
    from chajong.files import write_text

    plain = {name: (seen, [*vars(row).values()]) for name, (seen, row) in known.items()}
    text = json.dumps(plain, separators=(",", ":"))
    try:
        write_text(folder / _MEMORY, f"{_signature(text)}\n{text}")
    except ResourceError as error:
        say(f"The list cannot be remembered, so that the next one takes as long. {error}")


def _signature(text: str) -> str:
    return f"{code_fingerprint()} {sha256(text.encode()).hexdigest()}"


@contextmanager
def _without_collector() -> Iterator[None]:
    # It would look through all objects again and again while they only become more.
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
