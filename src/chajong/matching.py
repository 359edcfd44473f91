"""Bringing ids that were predicted together with ids that are asked for.

Shapes: n wanted ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from chajong.photos.walk import is_photo
from chajong.wording import listed, nfc


@dataclass(frozen=True, eq=False)
class Match:
    """How the ids that were predicted and the ids that are wanted go together.

    Attributes:
        rows: (n,) for each wanted id the row of its prediction; -1 where it is missing.
        missing: Wanted ids without a prediction.
        extra: Predicted ids that are not wanted.
        note: What was done to make them match; None if they match as they are.
    """

    rows: NDArray[np.intp]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    note: str | None = None

    @property
    def problem(self) -> str | None:
        """Say what does not match.

        Returns:
            What is missing and what is extra, or None if all is well.
        """
        return differences(self.missing, self.extra) or None


def match_ids(predicted: Sequence[str], wanted: Sequence[str]) -> Match:
    """Find the prediction of each wanted id.

    Ids are compared in NFC. Photos predicted from a folder are named "test/TEST_0001.jpg" where a
    table says "TEST_0001": if that makes more of them match, and no two share one, they are
    compared by the stems of their file names, but never across folders that both sides name.

    Args:
        predicted: The ids of the predictions, unique.
        wanted: The ids that are asked for, unique.

    Returns:
        The match.
    """
    whole = _match([nfc(id_) for id_ in predicted], [nfc(id_) for id_ in wanted], wanted, predicted)
    if whole.problem is None:
        return whole
    ours, theirs = [_stem(id_) for id_ in predicted], [_stem(id_) for id_ in wanted]
    if len(set(ours)) < len(ours) or len(set(theirs)) < len(theirs):
        return whole
    homes = dict(zip(ours, map(_home, predicted), strict=True))
    # A wanted id that names another folder is another photo's.
    theirs = [
        stem if _goes_with(_home(id_), homes.get(stem, ())) else id_
        for stem, id_ in zip(theirs, wanted, strict=True)
    ]
    by_stem = _match(ours, theirs, wanted, predicted)
    if len(by_stem.missing) >= len(whole.missing):
        return whole
    note = f"ids were matched by file name without suffix, e.g. {predicted[0]!r} as {ours[0]!r}"
    return replace(by_stem, note=note)


def differences(missing: Sequence[str], extra: Sequence[str]) -> str:
    """Say how two sets of ids differ.

    Args:
        missing: Wanted ids without a prediction.
        extra: Predicted ids that are not wanted.

    Returns:
        How many there are of each and the first few; empty if there are none.
    """
    parts = [
        f"{len(ids):,} {what}: {listed(ids)}"
        for ids, what in ((missing, "id(s) without a prediction"), (extra, "id(s) not asked for"))
        if ids
    ]
    return "; ".join(parts)


def _match(
    ours: list[str], theirs: list[str], wanted: Sequence[str], predicted: Sequence[str]
) -> Match:
    row_of = {key: row for row, key in enumerate(ours)}
    rows = np.array([row_of.get(key, -1) for key in theirs], dtype=np.intp)
    asked = set(theirs)
    return Match(
        rows=rows,
        missing=tuple(id_ for id_, row in zip(wanted, rows, strict=True) if row < 0),
        extra=tuple(id_ for id_, key in zip(predicted, ours, strict=True) if key not in asked),
    )


def _home(id_: str) -> tuple[str, ...]:
    return PurePosixPath(nfc(id_)).parts[:-1]


def _goes_with(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    # One may say more of where it lies, above what both say.
    short, long = sorted((one, other), key=len)
    return long[len(long) - len(short) :] == short


def _stem(id_: str) -> str:
    # Of a photo's name alone: car.001 and car.002 are two.
    name = PurePosixPath(nfc(id_))
    return name.stem if is_photo(name.name) else name.name
