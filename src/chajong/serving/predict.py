"""Photos through an engine to a file of answers, in memory that does not grow with their number.

A thread for each core takes a handful of photos from files to answers, so that some read and decode
while others compute, and no core waits for another.

Shapes: n photos, c classes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from chajong.ahead import in_order
from chajong.errors import DataError
from chajong.photos.decode import Unreadable
from chajong.photos.sources import Asked, Source
from chajong.pooling import Floats
from chajong.predictions import OK, Predictions
from chajong.progress import Interrupted, Progress
from chajong.serving.answers import Parts
from chajong.serving.engine import Engine, Squares

T = TypeVar("T")

NUM_AT_ONCE = 8
"""Photos that a network sees at once: their numbers stay in a core's own cache."""

_NUM_IN_PART = 2048
_AHEAD = 4  # handfuls for each thread: bounds the memory


@dataclass(frozen=True, eq=False)
class Answered:
    """What became of some photos.

    Attributes:
        ids: n names.
        statuses: n texts: "ok", or why there is no answer.
        log_probs: (n, c), NaN where there is none.
    """

    ids: tuple[str, ...]
    statuses: tuple[str, ...]
    log_probs: Floats


@dataclass(frozen=True)
class Tally:
    """What was written.

    Attributes:
        out: The file.
        num_photos: Rows in it.
        num_bad: Rows without an answer.
    """

    out: Path
    num_photos: int
    num_bad: int


def predict(engine: Engine, source: Source, out: Path) -> Tally:
    """Answer photos and write a row and a truthful status for each.

    Args:
        engine: Who answers.
        source: The photos.
        out: The file, `.parquet`, `.csv` or `.jsonl`. Beside it lies, until it is whole, a folder
            of parts; the same call goes on with them.

    Returns:
        What was written.

    Raises:
        DataError: If there are no photos, or two have the same id.
        Interrupted: If the user stopped it.
    """
    proof, bundle = engine.proof, engine.bundle
    seen: set[int] = set()
    statuses: Counter[bool] = Counter()
    num_parts = 0
    title = f"predicting with {proof.runtime} {proof.precision}"
    with (
        Parts.open(out, bundle.fingerprint, proof.runtime, proof.precision) as parts,
        Progress(title, source.num_photos) as progress,
    ):
        try:
            for part in _taken(source.photos(), _NUM_IN_PART):
                _check_new([asked.id for asked in part], seen)
                said = _part(engine, parts, num_parts, part, progress)
                statuses.update(status == OK for status in said)
                num_parts += 1
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped after {statuses.total():,} photos; the same command goes on from there."
            ) from None
        if not num_parts:
            raise DataError("There are no photos: nothing was listed.")
        parts.finish(num_parts)
    return Tally(out, statuses.total(), statuses[False])


def answer_photos(engine: Engine, photos: Iterable[Asked]) -> Iterator[Answered]:
    """Answer photos, a handful at a time, on all cores.

    Args:
        engine: Who answers.
        photos: Which; they are taken as they are needed.

    Yields:
        The answers, in their order.
    """
    yield from in_order(
        lambda some: _answer(engine, some),
        _taken(photos, NUM_AT_ONCE),
        engine.num_callers,
        _AHEAD * engine.num_callers,
    )


def _part(
    engine: Engine, parts: Parts, place: int, photos: Sequence[Asked], progress: Progress
) -> Sequence[str]:
    # The statuses of a part's photos, answered now or by an earlier process.
    known = parts.statuses(place, [asked.id for asked in photos])
    if known is not None:
        progress.skip(progress.done + len(photos))
        return known
    answered = []
    for some in answer_photos(engine, photos):
        answered.append(some)
        progress.advance(len(some.ids))
    statuses = tuple(status for some in answered for status in some.statuses)
    Predictions(
        ids=tuple(id_ for some in answered for id_ in some.ids),
        statuses=statuses,
        classes=engine.bundle.labels.names,
        views=("bundle",),
        log_probs=np.concatenate([some.log_probs for some in answered])[:, None],
        kind="test",
        run=engine.bundle.fingerprint,
    ).save(parts.path(place))
    return statuses


def _answer(engine: Engine, photos: Sequence[Asked]) -> Answered:
    log_probs = np.full((len(photos), len(engine.bundle.labels.names)), np.nan, np.float32)
    statuses: list[str] = []
    squares: list[Squares] = []
    for asked in photos:
        try:
            squares.append(engine.prepare(asked.read()))
            statuses.append(OK)
        except Unreadable as error:
            statuses.append(f"unreadable: {error.reason}")
    if squares:
        log_probs[[status == OK for status in statuses]] = engine.answer(squares)
    return Answered(tuple(asked.id for asked in photos), tuple(statuses), log_probs)


def _taken(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _check_new(ids: Sequence[str], seen: set[int]) -> None:
    # Hashes stand for the names: a set of a million names would take hundreds of megabytes.
    for id_ in ids:
        if hash(id_) in seen:
            raise DataError(f"The photo {id_} is listed twice. List each photo once.")
        seen.add(hash(id_))
