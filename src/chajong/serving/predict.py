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
from numpy.typing import NDArray

from chajong.ahead import in_order
from chajong.bundle import Bundle
from chajong.choices import MAX_NEAREST
from chajong.depths import DEEPEST_FIRST
from chajong.environment import package_version
from chajong.errors import BundleError, DataError
from chajong.files import fingerprint
from chajong.gallery import Neighbour
from chajong.photos.decode import Unreadable
from chajong.photos.preprocess import Squares
from chajong.photos.sources import Asked, Source
from chajong.pooling import Floats
from chajong.predictions import OK, Predictions
from chajong.progress import Interrupted, Progress
from chajong.serving.answers import Parts, nearest_column, verdict_table
from chajong.serving.engine import Engine, products_alone
from chajong.serving.judge import Judge

T = TypeVar("T")

NUM_AT_ONCE = 8
"""Photos that a network sees at once: their numbers stay in a core's own cache."""

_NUM_IN_PART = 2048
_AHEAD = 4  # handfuls for each thread: bounds the memory


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of some photos.

    Attributes:
        ids: n names.
        statuses: n texts: "ok", or why there is no answer.
        log_probs: (n, c), NaN where there is none.
        strangeness: (n,) in [0, 1], NaN where there is none; none where the bundle cannot tell.
        nearest: For each photo the nearest training photos, none where it has no answer; empty if
            nobody asked for them.
    """

    ids: tuple[str, ...]
    statuses: tuple[str, ...]
    log_probs: Floats
    strangeness: NDArray[np.float64] | None
    nearest: tuple[tuple[Neighbour, ...] | None, ...] = ()


@dataclass(frozen=True)
class Tally:
    """What was written.

    Attributes:
        out: The file.
        num_photos: Rows in it.
        num_bad: Rows without an answer.
        risk: The share of wrong answers that was allowed; none where nothing is known of it, and
            every answer is an exact class.
        levels: How many photos are answered at each level, the deepest first, then `none`.
    """

    out: Path
    num_photos: int
    num_bad: int
    risk: float | None
    levels: dict[str, int]

    def lines(self) -> Iterator[str]:
        """Say it for a terminal.

        Yields:
            How many rows there are, and how deep the answers go.
        """
        yield f"{self.out}: {self.num_photos:,} rows, {self.num_bad:,} without a prediction"
        num = self.num_photos - self.num_bad
        if self.risk is None:
            yield (
                "nothing is known of the risk: every answer is an exact class. Export a run of "
                "folds or a blend to know."
            )
        elif num:
            shares = ", ".join(f"{name} {count / num:.1%}" for name, count in self.levels.items())
            yield f"answered at a risk of {self.risk:g}: {shares}"


def predict(
    engine: Engine, source: Source, out: Path, risk: float | None = None, num_nearest: int = 0
) -> Tally:
    """Answer photos and write a row and a truthful status for each.

    Args:
        engine: Who answers.
        source: The photos.
        out: The file, `.parquet`, `.csv` or `.jsonl`. Beside it lies, until it is whole, a folder
            of parts; the same call goes on with them.
        risk: As in `Judge.of`.
        num_nearest: How many of the nearest training photos to name for each photo, of those that
            the bundle keeps.

    Returns:
        What was written.

    Raises:
        BundleError: If a risk is stated and the bundle cannot keep it, or it keeps no training
            photos and they are asked for.
        DataError: If there are no photos, two have the same id, or there is no such risk, or so
            many nearest photos are not named.
        Interrupted: If the user stopped it.
    """  # noqa: DOC503 BundleError raised by what it calls
    proof, bundle = engine.proof, engine.bundle
    _check_nearest(bundle, num_nearest)
    judge = Judge.of(bundle, risk)
    allowed = None if judge.thresholds is None else judge.thresholds.risk
    seen: set[int] = set()
    levels: Counter[str | None] = Counter()
    num_parts = 0
    way, made_by = (proof.runtime, proof.precision), package_version("chajong")
    title = f"predicting with {proof.runtime} {proof.precision}"
    with (
        products_alone(),
        Parts.open(out, made_by, bundle.fingerprint, *way, allowed, num_nearest) as parts,
        Progress(title, source.num_photos) as progress,
    ):
        try:
            for part in _taken(source.photos(), _NUM_IN_PART):
                _check_new([asked.id for asked in part], seen)
                told = _part(engine, judge, parts, num_parts, part, progress, num_nearest)
                levels.update(told)
                num_parts += 1
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped after {levels.total():,} photos; the same command goes on from there."
            ) from None
        if not num_parts:
            raise DataError("There are no photos: nothing was listed.")
        parts.finish(num_parts)
    answered = {name: levels[name] for name in (*DEEPEST_FIRST, "none")}
    return Tally(out, levels.total(), levels[None], allowed, answered)


def _check_nearest(bundle: Bundle, num: int) -> None:
    if not 0 <= num <= MAX_NEAREST:
        raise DataError(f"0 to {MAX_NEAREST} of the nearest photos can be named, not {num}.")
    if num and bundle.gallery is None:
        raise BundleError(
            f"{bundle.folder} keeps no training photos, so none can be the nearest. Ask without "
            "--nearest, or export again."
        )


def answer_photos(
    engine: Engine, photos: Iterable[Asked], num_nearest: int = 0
) -> Iterator[Outcomes]:
    """Answer photos, a handful at a time, on all cores.

    Args:
        engine: Who answers.
        photos: Which; they are taken as they are needed.
        num_nearest: How many of the nearest training photos to find for each.

    Yields:
        The answers, in their order.
    """
    yield from in_order(
        lambda some: _answer(engine, some, num_nearest),
        _taken(photos, NUM_AT_ONCE),
        engine.num_callers,
        _AHEAD * engine.num_callers,
    )


def _part(
    engine: Engine,
    judge: Judge,
    parts: Parts,
    place: int,
    photos: Sequence[Asked],
    progress: Progress,
    num_nearest: int,
) -> Sequence[str | None]:
    # The levels of a part's photos, answered now or by an earlier process.
    mark = fingerprint([(asked.id, asked.stamp()) for asked in photos])
    known = parts.levels(place, mark)
    if known is not None:
        progress.skip(progress.done + len(photos))
        return known
    answered = []
    for some in answer_photos(engine, photos, num_nearest):
        answered.append(some)
        progress.advance(len(some.ids))
    statuses = tuple(status for some in answered for status in some.statuses)
    log_probs = np.concatenate([some.log_probs for some in answered])
    ok = np.array([status == OK for status in statuses], dtype=np.bool_)
    strangeness = None
    if all(some.strangeness is not None for some in answered):
        strangeness = np.concatenate([some.strangeness for some in answered])[ok]
    told = iter(judge.verdicts(log_probs[ok], strangeness))
    verdicts = verdict_table([next(told) if good else None for good in ok])
    predictions = Predictions(
        ids=tuple(id_ for some in answered for id_ in some.ids),
        statuses=statuses,
        classes=engine.bundle.labels.names,
        views=("bundle",),
        log_probs=log_probs[:, None],
        kind="test",
        run=engine.bundle.fingerprint,
    )
    if num_nearest:
        found = nearest_column([near for some in answered for near in some.nearest])
        verdicts = verdicts.with_columns(found)
    parts.keep(place, mark, predictions, verdicts)
    return verdicts["level"].to_list()


def _answer(engine: Engine, photos: Sequence[Asked], num_nearest: int) -> Outcomes:
    log_probs = np.full((len(photos), len(engine.bundle.labels.names)), np.nan, np.float32)
    statuses: list[str] = []
    squares: list[Squares] = []
    for asked in photos:
        try:
            squares.append(engine.prepare(asked.read()))
            statuses.append(OK)
        except Unreadable as error:
            statuses.append(f"unreadable: {error.reason}")
    strangeness = np.full(len(photos), np.nan) if engine.bundle.tells_strangeness else None
    nearest: list[tuple[Neighbour, ...] | None] = [None] * len(photos) if num_nearest else []
    if squares:
        ok = [status == OK for status in statuses]
        looked = engine.look(squares)
        log_probs[ok] = looked.log_probs
        if strangeness is not None:
            strangeness[ok] = looked.strangeness
        gallery = engine.bundle.gallery
        if num_nearest and gallery is not None and looked.embeddings is not None:
            for row, embedding in zip(np.flatnonzero(ok).tolist(), looked.embeddings, strict=True):
                nearest[row] = gallery.nearest(embedding, num_nearest)
    ids = tuple(asked.id for asked in photos)
    return Outcomes(ids, tuple(statuses), log_probs, strangeness, tuple(nearest))


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
