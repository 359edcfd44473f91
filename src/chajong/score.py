"""Scoring predictions against the truth, as the competition does and with intervals.

Shapes: n photos, c classes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.catalogue import Catalogue, known_catalogue
from chajong.choices import IfUnreadable
from chajong.errors import DataError, PredictionsError, RunError
from chajong.file_names import SCORE
from chajong.files import read_json, write_json
from chajong.labels import Labels
from chajong.levels import Level
from chajong.matching import Match, match_ids
from chajong.metrics import Estimate, Estimates, Outcomes, estimate, outcomes
from chajong.predictions import Predictions
from chajong.tables import read_columns, read_header
from chajong.wording import listed, nfc

FIGURES = ("log_loss", "top1", "top5", "macro_f1", "ece")
"""The estimates of a score."""


@dataclass(frozen=True)
class LevelScore:
    """How good predictions are when classes of one group count as one.

    Attributes:
        level: What makes a group: maker, model or generation.
        num_groups: How many groups there are.
        log_loss: Of the probabilities of the groups, each the sum of its classes', in nats.
        top1: Share of photos whose true group is the likeliest.
    """

    level: str
    num_groups: int
    log_loss: Estimate
    top1: Estimate

    def line(self) -> str:
        """Give the figures as a line for a terminal.

        Returns:
            The level, then each figure with its interval.
        """
        loss, top1 = self.log_loss, self.top1
        return (
            f"by {self.level:<11} log loss {loss.value:.4f} ({loss.low:.4f} to {loss.high:.4f})   "
            f"top-1 {top1.value:.4f} ({top1.low:.4f} to {top1.high:.4f})   "
            f"{self.num_groups:,} groups"
        )


@dataclass(frozen=True)
class Score:
    """How good predictions are; every figure has a bootstrap 95 % interval.

    Attributes:
        num_photos: How many photos were scored.
        num_unscored: How many were left out because they have no prediction.
        unpredicted: Why photos have no prediction, and how many each; they were scored as a
            uniform guess unless they were left out.
        log_loss: As the competition computes it, in nats.
        top1: Share of photos whose true class is the likeliest.
        top5: Share of photos whose true class is among the five likeliest.
        macro_f1: Mean F1 of the classes.
        ece: Expected calibration error.
        equal: The pairs of classes that were counted as one.
        notes: What was done to make predictions and truth fit.
        levels: The scores by maker, model and generation, but for those that group no more than
            the next finer one.
    """

    num_photos: int
    num_unscored: int
    unpredicted: tuple[tuple[str, int], ...]
    log_loss: Estimate
    top1: Estimate
    top5: Estimate
    macro_f1: Estimate
    ece: Estimate
    equal: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    levels: tuple[LevelScore, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the score as JSON can hold it.

        Returns:
            Every attribute by its name; an estimate has value, low and high.
        """
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write the score as JSON.

        Args:
            path: The file.
        """
        write_json(path, self.as_dict())

    @classmethod
    def of(cls, folder: Path) -> "Score | None":
        """Read the score of a run or a blend.

        Args:
            folder: Its folder.

        Returns:
            The score of its out-of-fold table; none before there is one.
        """
        path = folder / SCORE
        return cls.load(path) if path.is_file() else None

    @classmethod
    def load(cls, path: Path) -> "Score":
        """Read a score that `save` wrote, also by an older version.

        Args:
            path: The file.

        Returns:
            The score.

        Raises:
            RunError: If it is missing or damaged.
        """  # noqa: DOC502 raised by `read_json`
        return read_json(path, cls, RunError, "Restore it, or train or blend again.")

    def lines(self) -> list[str]:
        """Give the score as a table for a terminal.

        Returns:
            One line a figure, one a level, then one a remark.
        """
        named = {
            "log loss": self.log_loss,
            "top-1": self.top1,
            "top-5": self.top5,
            "macro-F1": self.macro_f1,
            "calibration error": self.ece,
        }
        lines = [f"{self.num_photos:,} photos{'':<10} value   95 % interval"]
        for name, figure in named.items():
            lines.append(f"{name:<18} {figure.value:>9.4f}   {figure.low:.4f} to {figure.high:.4f}")
        lines += [level.line() for level in self.levels]
        treated = "left out" if self.num_unscored else "scored as a uniform guess"
        lines += [f"{count:,} photo(s) {treated}: {why}" for why, count in self.unpredicted]
        if self.equal:
            lines.append(f"{len(self.equal)} pair(s) of equal classes counted as one")
        return lines + list(self.notes)


def score(
    predictions: Predictions,
    truth: Mapping[str, str],
    equal: tuple[tuple[str, str], ...] | None = None,
    groups: Mapping[str, int] | None = None,
    seed: int = 0,
    *,
    unreadable: IfUnreadable = "refuse",
    catalogue: Catalogue | None = None,
) -> Score:
    """Score predictions against the truth.

    Args:
        predictions: The predictions.
        truth: The true class of each photo by id: of exactly the photos that are predicted.
        equal: Pairs of classes that count as one; None for those of the catalogue.
        groups: A group for each id of the predictions, such as its near-duplicates; the intervals
            are then over groups instead of photos.
        seed: Seed of the intervals.
        unreadable: What to do about photos without a prediction: refuse to score, score them as a
            uniform guess (wrong in all but log loss), or leave them out.
        catalogue: Which car each class is; None for the competition's own.

    Returns:
        The score; it does not depend on the order of the photos.

    Raises:
        PredictionsError: If an id has no prediction or no truth, a photo has no prediction and
            `unreadable` is "refuse", or no photo is left.
        DataError: If a true class is not among the classes of the predictions.
    """  # noqa: DOC503 DataError raised by `Labels.indices`
    catalogue = catalogue or known_catalogue()
    pairs = catalogue.equal(predictions.classes) if equal is None else equal
    labels = Labels(predictions.classes, pairs)
    ids = sorted(truth)
    match = _matched(predictions, ids)
    true = labels.indices([truth[id_] for id_ in ids])
    _check_predicted(predictions, unreadable)
    probs, bad = predictions.probabilities()[match.rows], ~predictions.ok[match.rows]
    probs[bad] = 1  # a uniform guess, once rows are normalised
    kept = ~bad if unreadable == "skip" else np.ones_like(bad)
    if not kept.any():
        raise PredictionsError("There is no photo to score: none of them has a prediction.")
    drawn = _groups(predictions, match.rows[kept], groups)

    def by(level: Level) -> Estimates:
        return estimate(_outcomes(probs[kept], true[kept], bad[kept], level), drawn, seed)

    levels = catalogue.levels(labels)
    estimates = by(levels.exact)
    coarser = [level for level, fine in pairwise(levels) if len(level.names) < len(fine.names)]
    return Score(
        num_photos=int(kept.sum()),
        num_unscored=int((~kept).sum()),
        unpredicted=_unpredicted(predictions),
        equal=labels.equal,
        notes=(match.note,) if match.note else (),
        levels=tuple(_level_score(level, by(level)) for level in coarser),
        **{name: getattr(estimates, name) for name in FIGURES},
    )


def _outcomes(
    probs: NDArray[np.float64],
    true: NDArray[np.intp],
    guessed: NDArray[np.bool_],
    level: Level,
) -> Outcomes:
    found = outcomes(probs, true, level.canonical)
    # A guess names no class, or it would be right for all that sort first.
    return replace(found, top=np.where(guessed, -1, found.top), in_top5=found.in_top5 & ~guessed)


def read_truth(path: Path) -> dict[str, str]:
    """Read the true classes of photos from a CSV file.

    Args:
        path: The file: columns ID and label (those of just that name, or else in any case; others
            are passed over), UTF-8, with or without a BOM.

    Returns:
        The true class of each id, both in NFC.

    Raises:
        DataError: If the file cannot be read, a column is missing or there are several that it
            may be, a cell is empty, or there are no rows.
        PredictionsError: If an id is there twice.
    """  # noqa: DOC503 DataError raised by `read_columns`
    header = read_header(path)
    names = [_column(path, header, wanted) for wanted in ("ID", "label")]
    table = read_columns(path, dict.fromkeys(names, pl.String))
    ids = [nfc(id_) for id_ in table[names[0]]]
    if not ids:
        raise DataError(f"{path} has a header but no rows.")
    if repeated := [id_ for id_, count in Counter(ids).items() if count > 1]:
        raise PredictionsError(
            f"{path}: ids must be unique, but {len(repeated):,} are repeated: {listed(repeated)}."
        )
    return dict(zip(ids, map(nfc, table[names[1]]), strict=True))


def _column(path: Path, header: tuple[str, ...], wanted: str) -> str:
    alike = [name for name in header if nfc(name).casefold() == wanted.casefold()]
    if wanted in alike or not alike:
        return wanted
    if len(alike) > 1:
        raise DataError(
            f"{path} has several columns that may be {wanted!r}: {listed(alike)}. Call one of them "
            f"{wanted}."
        )
    return alike[0]


def _matched(predictions: Predictions, ids: list[str]) -> Match:
    if repeated := [id_ for id_, count in Counter(map(nfc, ids)).items() if count > 1]:
        raise PredictionsError(
            f"Ids of the truth must be unique, but {listed(repeated)} are there in two Unicode "
            "forms. Give each once."
        )
    match = match_ids(predictions.ids, ids)
    if match.problem:
        raise PredictionsError(
            f"Predictions and truth must be of the same photos: {match.problem}. Predict the "
            "photos that the truth is about, and all of them."
        )
    return match


def _level_score(level: Level, estimates: Estimates) -> LevelScore:
    return LevelScore(level.name, len(level.names), estimates.log_loss, estimates.top1)


def _unpredicted(predictions: Predictions) -> tuple[tuple[str, int], ...]:
    reasons = [
        status for status, ok in zip(predictions.statuses, predictions.ok, strict=True) if not ok
    ]
    return tuple(Counter(reasons).most_common())


def _check_predicted(predictions: Predictions, unreadable: str) -> None:
    if unreadable not in get_args(IfUnreadable):
        raise PredictionsError(
            f"What to do about photos without a prediction (--unreadable) must be one of "
            f"{listed(get_args(IfUnreadable))}. Got {unreadable!r}."
        )
    if unreadable != "refuse" or predictions.ok.all():
        return
    bad = [
        f"{id_} ({status})"
        for id_, status, ok in zip(
            predictions.ids, predictions.statuses, predictions.ok, strict=True
        )
        if not ok
    ]
    raise PredictionsError(
        f"{len(bad):,} of {len(predictions.ids):,} photos have no prediction: {listed(bad)}. Say "
        "how to score them: --unreadable uniform scores a uniform guess, as a submission with the "
        "same would get; --unreadable skip leaves them out, which flatters."
    )


def _groups(
    predictions: Predictions, rows: NDArray[np.intp], groups: Mapping[str, int] | None
) -> list[int] | None:
    if groups is None:
        return None
    ids = [predictions.ids[row] for row in rows.tolist()]
    if missing := [id_ for id_ in ids if id_ not in groups]:
        raise PredictionsError(f"{len(missing):,} photo(s) have no group: {listed(missing)}.")
    return [groups[id_] for id_ in ids]
