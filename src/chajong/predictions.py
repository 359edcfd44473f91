"""Predictions: a row and a truthful status for every photo that was asked about.

Shapes: n photos, v views, c classes.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.errors import DataError, PredictionsError
from chajong.file_names import OUT_OF_FOLD
from chajong.files import write_table
from chajong.labels import Labels
from chajong.matching import differences
from chajong.parquet import read_parquet, read_texts
from chajong.pooling import geometric_mean
from chajong.wording import first_line, listed, nfc

T = TypeVar("T")
Kind = Literal["oof", "holdout", "test"]

OK = "ok"
"""The status of a photo that has a prediction."""

_KEYS = ("classes", "views", "kind", "run")
_COLUMN = "log_prob_"
TO_SCORE = (
    "It holds the likeliest classes only, for people to read. Predict again to a table of all "
    "probabilities: chajong predict MODEL PHOTOS --out predictions.parquet"
)
"""What to do about answers in CSV or JSON lines, where predictions are asked for."""

_SUM_TOLERANCE = 0.05  # wide enough for half precision, narrow enough to catch logits


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of each photo.

    Attributes:
        ids: n photo ids, unique.
        statuses: n texts: "ok", or why there is no prediction, e.g. "unreadable: truncated JPEG".
        classes: c class names, as `Labels.names`.
        views: v names of the views of a photo that the model saw, e.g. ("plain", "flip").
        log_probs: (n, v, c) natural logarithms of probabilities that sum to 1 over the classes;
            all NaN in rows that are not "ok", all finite in the others.
        kind: What the photos are to the model: "oof" and "holdout" it did not learn from, though
            their answers are known; "test" has no answers.
        run: Fingerprint of the run that predicted; "" where it is not known.
        labels: The true class of each photo where it is known.
        folds: The fold of each photo, from 0.
    """

    ids: tuple[str, ...]
    statuses: tuple[str, ...]
    classes: tuple[str, ...]
    views: tuple[str, ...]
    log_probs: NDArray[np.float32]
    kind: Kind
    run: str
    labels: tuple[str | None, ...] | None = None
    folds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse predictions that are not whole.

        Raises:
            PredictionsError: If ids repeat, classes are out of order, sizes do not fit, a number
                is not finite where there is a prediction, or probabilities do not sum to 1.
        """
        for problem in chain(_size_problems(self), _content_problems(self)):
            raise PredictionsError(problem)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Say which photos have a prediction.

        Returns:
            (n,) whether the status is "ok".
        """
        return np.array([status == OK for status in self.statuses], dtype=np.bool_)

    def probabilities(self) -> NDArray[np.float64]:
        """Take the geometric mean of the views.

        Returns:
            (n, c); rows sum to 1, or are NaN where there is no prediction.
        """
        with np.errstate(under="ignore"):
            return np.exp(geometric_mean(self.log_probs, axis=1))

    def log_probs_of(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """Take the geometric mean of the views of some photos, in the order asked.

        Args:
            ids: n photos.

        Returns:
            (n, c) logarithms of what `probabilities` gives.

        Raises:
            PredictionsError: If a photo is not in the table.
        """
        places = {id_: place for place, id_ in enumerate(self.ids)}
        if unknown := [id_ for id_ in ids if id_ not in places]:
            raise PredictionsError(
                f"{len(unknown):,} of {len(ids):,} photos are not in the table of predictions: "
                f"{listed(unknown, 3)}. Ask for photos that it has."
            )
        return geometric_mean(self.log_probs[[places[id_] for id_ in ids]], axis=1)

    def truth(self) -> dict[str, str]:
        """Give the true classes that came with the predictions.

        Returns:
            The true class of each id.

        Raises:
            PredictionsError: If that of any photo is not known.
        """
        known = dict(zip(self.ids, self.labels or (), strict=False))
        truth = {id_: label for id_, label in known.items() if label is not None}
        if len(truth) < len(self.ids):
            raise PredictionsError(
                f"The true class of {len(self.ids) - len(truth):,} of {len(self.ids):,} photos is "
                "not in these predictions: give a table of labels (ID,label)."
            )
        return truth

    def check_classes(self, labels: Labels) -> None:
        """Refuse labels whose columns would be others.

        Args:
            labels: Those that the predictions are to be read with.

        Raises:
            PredictionsError: If their classes are not those of the predictions.
        """
        if self.classes != labels.names:
            raise PredictionsError("The predictions are of other classes than the labels.")

    def save(self, path: Path, beside: pl.DataFrame | None = None) -> None:
        """Write the predictions as Parquet.

        The columns are id, status, top and top_prob (the likeliest class and its probability),
        label and fold where there are any, and for each view "log_prob_<view>", an array of c.

        Args:
            path: The file to make or replace.
            beside: More columns of n rows, put behind `top_prob`; `load` passes them over.
        """
        probs, ok = self.probabilities(), self.ok
        best = [self.classes[place] for place in probs.argmax(axis=1)]
        columns: dict[str, pl.Series] = {
            "id": pl.Series(self.ids, dtype=pl.String),
            "status": pl.Series(self.statuses, dtype=pl.String),
            "top": pl.Series(
                [name if good else None for name, good in zip(best, ok, strict=True)],
                dtype=pl.String,
            ),
            "top_prob": pl.Series(probs.max(axis=1)).fill_nan(None),
        }
        if beside is not None:
            columns.update({name: beside[name] for name in beside.columns})
        if self.labels is not None:
            columns["label"] = pl.Series(self.labels, dtype=pl.String)
        if self.folds is not None:
            columns["fold"] = pl.Series(self.folds, dtype=pl.Int64)
        for place, view in enumerate(self.views):
            columns[_COLUMN + view] = pl.Series(
                np.ascontiguousarray(self.log_probs[:, place]), dtype=self._array_type
            )
        metadata = {
            "classes": json.dumps(self.classes, ensure_ascii=False),
            "views": json.dumps(self.views, ensure_ascii=False),
            "kind": self.kind,
            "run": self.run,
        }
        write_table(path, pl.DataFrame(columns), metadata)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read predictions that `save` wrote.

        Args:
            path: The file.

        Returns:
            The predictions.

        Raises:
            PredictionsError: If the file is missing, damaged or not of predictions, or if its
                predictions are refused.
        """
        if not path.is_file():
            what = "it is a folder" if path.is_dir() else "no such file"
            out_of_fold = path / OUT_OF_FOLD
            others = f"Out-of-fold ones are {out_of_fold}; others"
            held_out = others if out_of_fold.is_file() else "They"
            raise PredictionsError(
                f"There are no predictions at {path}: {what}. {held_out} are made with: chajong "
                "predict MODEL PHOTOS --out predictions.parquet"
            )
        try:
            metadata = read_texts(path)
            table = read_parquet(path)
            classes, views, kind, run = (metadata[key] for key in _KEYS)
            return _from_table(table, json.loads(classes), json.loads(views), cast(Kind, kind), run)
        except KeyError as error:
            raise PredictionsError(
                f"{path} is a Parquet file, but not of predictions: it says nothing of {error}. "
                "Predictions are written by chajong train and chajong predict."
            ) from error
        except (OSError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
            if path.suffix.lower() in (".csv", ".jsonl"):
                raise PredictionsError(f"{path} is no table of predictions. {TO_SCORE}") from error
            raise PredictionsError(
                f"{path} cannot be read as predictions: {first_line(error)}. Make it "
                "again by chajong predict."
            ) from error
        except PredictionsError as error:
            raise PredictionsError(f"{path} cannot be used: {error}") from error

    @classmethod
    def merge_folds(
        cls, parts: Sequence["Predictions"], expected: Collection[str] | None = None
    ) -> "Predictions":
        """Join the out-of-fold predictions of the folds of one run.

        Args:
            parts: The predictions of each fold, at least one; classes, views, kind and run agree.
            expected: The ids that must be there, each exactly once; None to take what comes.

        Returns:
            All rows, sorted by id.

        Raises:
            PredictionsError: If there are no parts, they disagree, or an id is there twice or is
                missing or was not expected.
        """
        _check_agreement(parts, ("classes", "views", "kind", "run"))
        ids = [id_ for part in parts for id_ in part.ids]
        if twice := [id_ for id_, count in Counter(ids).items() if count > 1]:
            raise PredictionsError(
                f"{len(twice):,} id(s) are predicted by more than one fold: {listed(twice)}. A "
                "photo belongs to one fold: the parts are not of one split."
            )
        if expected is not None and set(ids) != set(expected):
            raise PredictionsError(
                "The folds do not make up the whole: "
                + differences(sorted(set(expected) - set(ids)), sorted(set(ids) - set(expected)))
                + ". Train the folds that are missing; all must be of one split."
            )
        order = sorted(range(len(ids)), key=ids.__getitem__)
        labels = _joined([part.labels for part in parts], "labels")
        folds = _joined([part.folds for part in parts], "folds")
        statuses = [status for part in parts for status in part.statuses]
        return replace(
            parts[0],
            ids=tuple(ids[row] for row in order),
            statuses=tuple(statuses[row] for row in order),
            log_probs=np.concatenate([part.log_probs for part in parts])[order],
            labels=None if labels is None else tuple(labels[row] for row in order),
            folds=None if folds is None else tuple(folds[row] for row in order),
        )

    @property
    def _array_type(self) -> pl.Array:
        return pl.Array(pl.Float32, len(self.classes))


def _size_problems(made: Predictions) -> Iterator[str]:
    n, v, c = len(made.ids), len(made.views), len(made.classes)
    if made.kind not in get_args(Kind):
        yield f"The kind of predictions must be one of {listed(get_args(Kind))}, not {made.kind!r}."
    if not v or len(set(made.views)) < v:
        yield f"Predictions need at least one view, each once; got {listed(made.views)}."
    if made.log_probs.shape != (n, v, c) or made.log_probs.dtype != np.float32:
        yield (
            f"{n:,} ids, {v} view(s) and {c} classes need float32 of shape {(n, v, c)}; got "
            f"{made.log_probs.dtype} of shape {made.log_probs.shape}."
        )
    for name in ("statuses", "labels", "folds"):
        values = getattr(made, name)
        if values is not None and len(values) != n:
            yield f"Predictions need one of {name} for each of {n:,} ids; got {len(values):,}."


def _content_problems(made: Predictions) -> Iterator[str]:
    try:
        Labels(made.classes)
    except DataError as error:
        yield str(error)
    if repeated := [id_ for id_, count in Counter(map(nfc, made.ids)).items() if count > 1]:
        yield f"Ids must be unique, but {len(repeated):,} are repeated: {listed(repeated)}."
    if unknown := sorted(
        {name for name in made.labels or () if name is not None} - {*made.classes}
    ):
        yield f"True classes must be among the {len(made.classes)}; {listed(unknown)} are not."
    ok = made.ok
    if odd := _named(made.ids, ok & ~np.isfinite(made.log_probs).all(axis=(1, 2))):
        yield f"{len(odd):,} photo(s) with status 'ok' have numbers not finite: {listed(odd)}."
    if odd := _named(made.ids, ~ok & ~np.isnan(made.log_probs).all(axis=(1, 2))):
        yield f"{len(odd):,} photo(s) whose status is not 'ok' have numbers: {listed(odd)}."
    for place, view in enumerate(made.views):
        with np.errstate(over="ignore"):
            off = np.abs(np.exp(made.log_probs[:, place]).sum(axis=1) - 1) > _SUM_TOLERANCE
        if odd := _named(made.ids, off):
            yield (
                f"Probabilities must sum to 1, but in view {view!r} those of {len(odd):,} photo(s) "
                f"do not: {listed(odd)}. Logits must go through log-softmax first."
            )


def _named(ids: Sequence[str], chosen: NDArray[np.bool_]) -> list[str]:
    return [ids[row] for row in np.flatnonzero(chosen).tolist()]


def _from_table(
    table: pl.DataFrame, classes: list[str], views: list[str], kind: Kind, run: str
) -> Predictions:
    arrays = pl.Array(pl.Float32, len(classes))
    types: dict[str, Any] = {"id": pl.String, "status": pl.String}
    types |= {_COLUMN + view: arrays for view in views}
    if "fold" in table.columns:
        types["fold"] = pl.Int64
    for name, wanted in types.items():
        if name not in table.columns or table.schema[name] != wanted:
            got = table.schema.get(name, "no such column")
            raise PredictionsError(f"column {name!r} must be {wanted}; got {got}.")
        if table[name].null_count():
            raise PredictionsError(f"column {name!r} has {table[name].null_count():,} empty rows.")
    return Predictions(
        ids=tuple(table["id"]),
        statuses=tuple(table["status"]),
        classes=tuple(classes),
        views=tuple(views),
        log_probs=np.stack([table[_COLUMN + view].to_numpy() for view in views], axis=1),
        kind=kind,
        run=run,
        labels=tuple(table["label"]) if "label" in table.columns else None,
        folds=tuple(table["fold"]) if "fold" in table.columns else None,
    )


def _check_agreement(parts: Sequence[Predictions], names: Sequence[str]) -> None:
    if not parts:
        raise PredictionsError("There are no predictions to join: give at least one.")
    for name in names:
        for place, part in enumerate(parts):
            if getattr(part, name) != getattr(parts[0], name):
                raise PredictionsError(
                    f"The predictions must agree on their {name}, but number {place + 1} differs "
                    "from the first: they are not of one kind of model or of the same photos."
                )


def _joined(values: Sequence[tuple[T, ...] | None], name: str) -> tuple[T, ...] | None:
    there = [value for value in values if value is not None]
    if there and len(there) < len(values):
        raise PredictionsError(f"Some of the predictions have {name} and some have none.")
    return tuple(chain.from_iterable(there)) if there else None
