"""Submissions: the table that a competition takes, made, written, read back and checked.

Shapes: n photos, c columns of the sample, one for each class.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.choices import FillUnreadable
from chajong.errors import SubmissionError
from chajong.files import write_csv
from chajong.matching import Match, match_ids
from chajong.predictions import OK, TO_SCORE, Predictions
from chajong.tables import read_columns, read_header
from chajong.wording import did_you_mean, listed, nfc

FLOOR = 1e-20
"""The least probability that is written, unless another is asked for.

It is far below the 1e-15 to which the competition clips, even where equal classes are added up:
no zero is ever written, and still the file scores as the predictions do, whatever they are. A
higher floor is a bet that the model is wrong while sure: floor f adds at most log(1 + c f) to the
loss of every photo and bounds the loss of the worst at about -log f. Whether that pays is for
out-of-fold predictions to say.
"""

_MOST_FLOOR = 1e-3
_MOST_UNSEEN = 0.1
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Submission:
    """A table that is ready to be handed in.

    Attributes:
        table: The ids, then c probabilities, with the names and the order of the sample; rows sum
            to 1 and nothing is zero.
        notes: What was done to make predictions and sample fit.
    """

    table: pl.DataFrame
    notes: tuple[str, ...] = ()


def make_submission(
    predictions: Predictions,
    sample: Path,
    floor: float = FLOOR,
    floor_unseen: float | None = None,
    unreadable: FillUnreadable = "refuse",
) -> Submission:
    """Lay predictions out as the sample submission says.

    Probabilities below the floor are raised to it, then rows are normalised.

    Args:
        predictions: The predictions of exactly the photos of the sample.
        sample: The sample submission: a column of ids, then a column for each class.
        floor: The least probability before rows are normalised, 1e-20 to 1e-3.
        floor_unseen: The probability, before rows are normalised, of classes of the sample that
            the model never saw, 1e-20 to 0.1; None to refuse such a sample.
        unreadable: What photos without a prediction get: "uniform" for the same probability for
            every class; "refuse" to refuse them.

    Returns:
        The submission.

    Raises:
        SubmissionError: If a floor is out of range, ids are missing, extra or repeated, classes
            are unknown to either side, or photos have no prediction and
            `unreadable` is "refuse".
        DataError: If the sample cannot be read.
    """  # noqa: DOC502 DataError raised by `read_columns`
    _check_floor("floor", floor, _MOST_FLOOR)
    if floor_unseen is not None:
        _check_floor("floor_unseen", floor_unseen, _MOST_UNSEEN)
    header, ids = _read_sample(sample)
    match = _matched(predictions, ids, sample)
    columns, notes = _columns(predictions.classes, header[1:], floor_unseen)
    num_bad = _check_predicted(predictions, unreadable)
    probs = np.full((len(ids), len(columns)), floor if floor_unseen is None else floor_unseen)
    seen = columns >= 0
    probs[:, seen] = np.maximum(predictions.probabilities(), floor)[match.rows][:, columns[seen]]
    probs[~predictions.ok[match.rows]] = 1  # a uniform guess, once rows are normalised
    probs /= probs.sum(axis=1, keepdims=True)
    table = pl.from_numpy(probs, schema=list(header[1:]), orient="row")
    if match.note:
        notes.append(match.note)
    if num_bad:
        notes.append(f"{num_bad:,} photo(s) without a prediction got a uniform guess")
    return Submission(table.insert_column(0, pl.Series(header[0], ids)), tuple(notes))


def write_submission(submission: Submission, path: Path) -> None:
    """Write a submission: CSV, UTF-8 with BOM, every number exactly.

    Args:
        submission: The submission.
        path: The file to make or replace.
    """
    write_csv(path, submission.table)


def read_submission(path: Path) -> Predictions:
    """Read a submission back, as predictions that can be scored.

    Args:
        path: The file: a column of ids, then a column for each class.

    Returns:
        Predictions of one view, "submission", with the classes in code-point order.

    Raises:
        SubmissionError: If ids or classes repeat, or a number is not above 0 and at most 1, or a
            row does not sum to 1 within 1e-3, or it is no submission.
        DataError: If the file cannot be read or a cell is empty or not a number.
    """  # noqa: DOC503 DataError raised by `read_columns`
    header, ids = _read_sample(path)
    if header[1] == "status":
        raise SubmissionError(f"{path} is no submission. {TO_SCORE}")
    table = read_columns(path, dict.fromkeys(header[1:], pl.Float64))
    probs = table.to_numpy().astype(np.float64, copy=False)
    _check_numbers(path, ids, probs)
    names = [nfc(name) for name in header[1:]]
    order = sorted(range(len(names)), key=names.__getitem__)
    return Predictions(
        ids=tuple(ids),
        statuses=(OK,) * len(ids),
        classes=tuple(names[place] for place in order),
        views=("submission",),
        log_probs=np.log(probs[:, order])[:, None].astype(np.float32),
        kind="test",
        run="",
    )


def validate_submission(path: Path, sample: Path) -> None:
    """Check a file as the server of the competition would.

    Args:
        path: The submission.
        sample: The sample submission.

    Raises:
        SubmissionError: If columns or ids are not those of the sample in its order, or a number
            is not fit to be scored.
        DataError: If a file cannot be read.
    """  # noqa: DOC503 DataError raised by `read_columns`
    wanted, wanted_ids = _read_sample(sample)
    header, ids = _read_sample(path)
    for what, ours, theirs in (
        ("columns", list(header), list(wanted)),
        ("ids", ids, wanted_ids),
    ):
        if ours == theirs:
            continue
        if len(ours) != len(theirs):
            raise SubmissionError(
                f"{path} has {len(ours):,} {what}, but {sample} has {len(theirs):,}."
            )
        place = next(i for i, pair in enumerate(zip(ours, theirs, strict=True)) if len({*pair}) > 1)
        raise SubmissionError(
            f"The {what} of {path} must be those of {sample} in its order, but number "
            f"{place + 1:,} is {ours[place]!r} instead of {theirs[place]!r}."
        )
    read_submission(path)


def _check_floor(name: str, value: float, most: float) -> None:
    if not FLOOR <= value <= most:
        raise SubmissionError(f"{name} must be {FLOOR:g} to {most:g}; got {value!r}.")


def _read_sample(path: Path) -> tuple[tuple[str, ...], list[str]]:
    header = read_header(path)
    if len(header) < 2:
        raise SubmissionError(
            f"{path} has one column, {header[0]!r}: a submission has a column of ids and then a "
            "column for each class, separated by commas."
        )
    ids = read_columns(path, {header[0]: pl.String})[header[0]].to_list()
    if not ids:
        raise SubmissionError(f"{path} has a header but no rows.")
    for what, names in (("class", header[1:]), ("id", ids)):
        if blank := [place for place, name in enumerate(names, 1) if not name.strip()]:
            raise SubmissionError(f"{path}: {what} number {blank[0]:,} has no name. Name each.")
        counts = Counter(map(nfc, names))
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise SubmissionError(
                f"{path}: each {what} must be there once, but {len(repeated):,} are repeated: "
                f"{listed(repeated)}."
            )
    return header, ids


def _matched(predictions: Predictions, ids: list[str], sample: Path) -> Match:
    match = match_ids(predictions.ids, ids)
    if match.problem:
        raise SubmissionError(
            f"The predictions must be of the photos of {sample}, all {len(ids):,} and no others: "
            f"{match.problem}. Predict the folder of test photos that came with this sample."
        )
    return match


def _columns(
    classes: tuple[str, ...], names: tuple[str, ...], floor_unseen: float | None
) -> tuple[NDArray[np.intp], list[str]]:
    # The class of each column of the sample, -1 where the model never saw it; and what to note.
    place_of = {name: place for place, name in enumerate(classes)}
    columns = [place_of.get(nfc(name), -1) for name in names]
    unseen = [name for name, place in zip(names, columns, strict=True) if place < 0]
    if len(names) == 1 and unseen:
        raise SubmissionError(
            f"The sample asks for the class of each photo, in a column {names[0]!r}. A submission "
            "here holds a probability for each class. The likeliest classes are in the column "
            "'top' of a table: chajong predict RUN PHOTOS --out answers.csv"
        )
    if unknown := sorted(set(classes) - set(map(nfc, names))):
        raise SubmissionError(
            f"{len(unknown):,} of the {len(classes)} classes of the model are not in the sample: "
            f"{listed(unknown)}{did_you_mean(unknown[0], names)}. The model was trained on other "
            "data: use the sample that came with it."
        )
    if not unseen:
        return np.array(columns, dtype=np.intp), []
    if floor_unseen is None:
        raise SubmissionError(
            f"{len(unseen):,} of the {len(names)} classes of the sample were never seen by the "
            f"model: {listed(unseen)}. Train on photos of them, or agree to a probability for "
            f"each, at most {_MOST_UNSEEN} (--floor-unseen)."
        )
    note = f"{len(unseen):,} class(es) that the model never saw got {floor_unseen:g} each"
    return np.array(columns, dtype=np.intp), [f"{note}: {listed(unseen)}"]


def _check_predicted(predictions: Predictions, unreadable: str) -> int:
    if unreadable not in get_args(FillUnreadable):
        raise SubmissionError(
            "What to do about photos without a prediction (--unreadable) must be one of "
            f"{listed(get_args(FillUnreadable))}. Got {unreadable!r}."
        )
    bad = [
        f"{id_} ({status})"
        for id_, status in zip(predictions.ids, predictions.statuses, strict=True)
        if status != OK
    ]
    if bad and unreadable == "refuse":
        raise SubmissionError(
            f"{len(bad):,} of {len(predictions.ids):,} photos have no prediction: {listed(bad)}. "
            "A submission needs every row: mend the files, or agree to --unreadable uniform, the "
            "same probability for every class."
        )
    return len(bad)


def _check_numbers(path: Path, ids: list[str], probs: NDArray[np.float64]) -> None:
    sums = probs.sum(axis=1)
    for what, bad in (
        ("numbers that are not finite", ~np.isfinite(probs).all(axis=1)),
        ("numbers below 0 or above 1", ((probs < 0) | (probs > 1)).any(axis=1)),
        (
            "zeros, which cost 34.5 where they are wrong; write a small probability instead",
            (probs == 0).any(axis=1),
        ),
        ("probabilities that do not sum to 1", np.abs(sums - 1) > _SUM_TOLERANCE),
    ):
        if bad.any():
            rows = listed(ids[row] for row in np.flatnonzero(bad).tolist())
            raise SubmissionError(f"{path}: {bad.sum():,} row(s) have {what}: {rows}.")
