"""The verbs that make answers and judge them, as functions; part of `chajong.api`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chajong.api import StrPath, folder_of, path_of

if TYPE_CHECKING:
    import polars as pl

    from chajong.blending.blend import Blend
    from chajong.bundle import Bundle
    from chajong.choices import FillUnreadable, IfUnreadable, Precision, Runtime
    from chajong.labels import Labels
    from chajong.predictions import Kind, Predictions
    from chajong.run import Run
    from chajong.score import Score
    from chajong.submission import Submission


def predict(
    model: Run | Blend | Bundle | StrPath,
    photos: StrPath,
    *,
    runtime: Runtime | None = None,
    precision: Precision | None = None,
) -> Predictions:
    """Predict photos: a row and a truthful status for each.

    Args:
        model: A run, a blend or a bundle, or the folder of one. Bundles need no torch.
        photos: A folder, a table of paths, a photo or a DACON folder; for a bundle also a zip or
            a pattern.
        runtime: What computes a bundle.
        precision: In which numbers it computes a bundle.

    Returns:
        The predictions, all in memory. For very many photos and a bundle, `chajong predict` writes
        them part by part instead.

    Raises:
        ChajongError: If the model or the photos cannot be used.
    """  # noqa: DOC503 others raised by what it calls
    from chajong.blending.blend import Blend
    from chajong.bundle import Bundle
    from chajong.errors import DataError
    from chajong.predictions import Predictions
    from chajong.run import Run

    if not isinstance(model, Run | Blend | Bundle):
        model = _open(Path(model))
    if isinstance(model, Bundle):
        with _answered(model, os.fspath(photos), runtime, precision) as path:
            return Predictions.load(path)
    from chajong.training.predict import predict as look
    from chajong.training.predict import predict_blend

    if runtime is not None or precision is not None:
        raise DataError(
            "runtime and precision choose how a bundle computes; runs and blends are asked by "
            "torch. Export it, or leave them out."
        )
    if isinstance(model, Blend):
        return predict_blend(model, Path(photos))
    return look(model, Path(photos))


def verdicts(
    bundle: Bundle | StrPath,
    photos: StrPath,
    *,
    risk: float | None = None,
    runtime: Runtime | None = None,
    precision: Precision | None = None,
    nearest: int = 0,
) -> pl.DataFrame:
    """Say which car is on each photo, as exactly as a risk allows, and how strange the photo is.

    That is what `chajong predict BUNDLE` writes beside the probabilities.

    Args:
        bundle: A bundle, or its folder.
        photos: As in `predict`.
        risk: The share of answers that may be wrong, above 0 and below 1; 0.02 if none.
        runtime: What computes.
        precision: In which numbers.
        nearest: How many of the bundle's training photos to name, the most alike first.

    Returns:
        A row for each photo: `id`, `status`; `level` is how exact the answer is, `score` its
        probability; then the car, from `make` to `year_to`, and the probability of the likeliest
        at each level; `nearest` where it was asked for. Empty where a photo has no answer.

    Raises:
        ChajongError: If the bundle or the photos cannot be used, or no such risk can be kept.
    """  # noqa: DOC502 raised by what it calls
    from chajong.parquet import read_parquet
    from chajong.serving.answers import NEAREST, VERDICT_COLUMNS

    more = [NEAREST] if nearest else []
    with _answered(_bundle(bundle), os.fspath(photos), runtime, precision, risk, nearest) as path:
        return read_parquet(path, ["id", "status", *VERDICT_COLUMNS, *more])


def heat(
    bundle: Bundle | StrPath,
    photos: StrPath,
    out: StrPath,
    *,
    name: str | None = None,
    runtime: Runtime | None = None,
    precision: Precision | None = None,
) -> pl.DataFrame:
    """Draw where in photos a bundle sees a class: a PNG for each.

    Args:
        bundle: A bundle, or its folder.
        photos: As in `predict`.
        out: The folder of the maps; one that holds maps is replaced.
        name: The class; the likeliest of each photo if none.
        runtime: What computes.
        precision: In which numbers.

    Returns:
        A row for each photo: `id`, `status`, `class`, and `map`, the PNG's name; also in the
        folder, as `maps.csv`.

    Raises:
        ChajongError: If the bundle, the photos or the folder cannot be used, or it has no maps.
    """  # noqa: DOC502 raised by what it calls
    from chajong.photos.sources import open_source
    from chajong.serving.engine import Engine
    from chajong.serving.heat import draw_maps

    engine = Engine.open(_bundle(bundle), runtime, precision)
    return draw_maps(engine, open_source(os.fspath(photos)), Path(out), name)


def evaluate(
    predictions: Predictions | StrPath,
    labels: Mapping[str, str] | StrPath | None = None,
    *,
    equal: StrPath | None = None,
    unreadable: IfUnreadable = "refuse",
    catalogue: StrPath | None = None,
    reliability: StrPath | None = None,
) -> Score:
    """Score predictions as the competition does, with intervals, and by maker and model.

    In the intervals, near-duplicates count as one where a table lies in the folder of its run.

    Args:
        predictions: The predictions, their Parquet file, or a submission's CSV.
        labels: The true class of each id, or a CSV with the columns ID and label; if none, those
            that came with the predictions, as out of fold.
        equal: A CSV with the columns class and equal_to; the known pairs if none.
        unreadable: What to do about photos without a prediction.
        catalogue: A CSV that says which car each class is; the known one if none.
        reliability: A PNG to draw: how often answers are right against how sure they are, of the
            photos that have one.

    Returns:
        The score.

    Raises:
        ChajongError: If a file cannot be read or written, or predictions and labels do not fit.
    """  # noqa: DOC502 raised by what it calls
    from chajong.catalogue import Catalogue, known_catalogue
    from chajong.labels import Labels, read_equal
    from chajong.pairs import photos_of
    from chajong.predictions import Predictions
    from chajong.score import read_truth, score
    from chajong.submission import read_submission

    groups = None
    if not isinstance(predictions, Predictions):
        path = Path(predictions)
        # What is no Parquet among these is refused there.
        is_table = path.is_dir() or path.suffix.lower() in (".parquet", ".jsonl")
        predictions = Predictions.load(path) if is_table else read_submission(path)
        photos = photos_of(path)
        known = {} if photos is None else photos.groups()
        groups = known if known.keys() >= set(predictions.ids) else None
    pairs = read_equal(Path(equal)) if equal is not None else None
    cars = Catalogue.read(Path(catalogue)) if catalogue is not None else None
    if labels is None:
        truth: Mapping[str, str] = predictions.truth()
    else:
        truth = labels if isinstance(labels, Mapping) else read_truth(Path(labels))
    found = score(predictions, truth, pairs, groups, unreadable=unreadable, catalogue=cars)
    if reliability is not None:
        pairs = (cars or known_catalogue()).equal(predictions.classes) if pairs is None else pairs
        merged = Labels(predictions.classes, pairs)
        _draw_reliability(predictions, truth, merged, groups, Path(reliability))
    return found


def _draw_reliability(
    predictions: Predictions,
    truth: Mapping[str, str],
    labels: Labels,
    groups: Mapping[str, int] | None,
    path: Path,
) -> None:
    from chajong.files import write_bytes
    from chajong.matching import match_ids
    from chajong.reporting.figures import png, reliability

    known: list[str | None] = [None] * len(predictions.ids)
    for row, label in zip(
        match_ids(predictions.ids, list(truth)).rows, truth.values(), strict=True
    ):
        known[row] = label
    kind: Kind = "holdout" if predictions.kind == "test" else predictions.kind
    table = replace(predictions, labels=tuple(known), kind=kind)
    write_bytes(path, png(reliability(table, labels, groups)))


def submit(
    predictions: Predictions | StrPath,
    sample: StrPath,
    out: StrPath,
    *,
    floor_unseen: float | None = None,
    unreadable: FillUnreadable = "refuse",
) -> Submission:
    """Write a submission that the competition accepts, or say why it cannot be.

    Args:
        predictions: The predictions of the sample's photos, or their Parquet file.
        sample: The competition's `sample_submission.csv`.
        out: The CSV to write.
        floor_unseen: Probability for each class of the sample that the model never saw; none to
            refuse them.
        unreadable: What to do about photos without a prediction.

    Returns:
        What was written: the table, and notes of what was done to make both fit.

    Raises:
        SubmissionError: If the competition would refuse or punish it; nothing is written then.
        DataError: If the sample cannot be read.
    """  # noqa: DOC503 DataError raised by what it calls
    from chajong.errors import SubmissionError
    from chajong.predictions import Predictions
    from chajong.submission import make_submission, validate_submission, write_submission

    for given in (sample, predictions):
        if not isinstance(given, Predictions) and Path(given).resolve() == Path(out).resolve():
            raise SubmissionError(f"{out} is given to be read. Choose another file with --out.")
    if not isinstance(predictions, Predictions):
        predictions = Predictions.load(Path(predictions))
    made = make_submission(
        predictions, Path(sample), floor_unseen=floor_unseen, unreadable=unreadable
    )
    write_submission(made, Path(out))
    validate_submission(Path(out), Path(sample))
    return made


def export(
    source: Run | StrPath,
    out: StrPath,
    *,
    photos: StrPath | None = None,
    labels: StrPath | None = None,
    int8: bool = True,
    thumbnails: bool = False,
    catalogue: StrPath | None = None,
) -> Bundle:
    """Export to a folder that answers without torch, once it is proven to answer alike.

    Args:
        source: A run, or the folder of a run or a blend.
        out: The bundle's folder; one that is there is replaced.
        photos: Photos to prove it on, at least 500; those that it was trained on, if none.
        labels: A CSV with the columns ID and label of those photos.
        int8: Whether to try 8-bit graphs too: most often the fastest, left out where they lose
            too much.
        thumbnails: Whether to put small pictures of training photos in, to show the nearest.
        catalogue: A CSV that says which car each class is; the known one if none.

    Returns:
        The bundle; `facts.proofs` says what was proven.

    Raises:
        BundleError: If there are too few photos, or it does not answer as torch does; nothing is
            written then.
    """  # noqa: DOC502 raised by what it calls
    from chajong.training.export import export as make_bundle

    return make_bundle(
        folder_of(source),
        Path(out),
        path_of(photos),
        path_of(labels),
        int8=int8,
        thumbnails=thumbnails,
        catalogue=path_of(catalogue),
    )


def add_class(
    bundle: Bundle | StrPath, name: str, photos: StrPath, out: StrPath, *, by: str = ""
) -> Bundle:
    """Make a bundle that knows one more class from a few photos, without training.

    Args:
        bundle: The old bundle, or its folder; it is left as it is.
        name: The new class.
        photos: At least five photos of it, as in `predict`.
        out: The new bundle's folder.
        by: Who adds it, for the record.

    Returns:
        The new bundle; `facts.added` says what each added class costs the learned ones.

    Raises:
        ChajongError: If the bundle cannot take a class, or the name or the photos will not do.
    """  # noqa: DOC502 raised by what it calls
    from chajong.serving.add_class import add_class as make_bundle
    from chajong.serving.engine import Engine

    return make_bundle(Engine.open(_bundle(bundle)), name, os.fspath(photos), Path(out), by)


def remove_class(bundle: Bundle | StrPath, name: str, out: StrPath) -> Bundle:
    """Make a bundle without a class that was added: `chajong add-class --undo`.

    Args:
        bundle: The bundle, or its folder; it is left as it is.
        name: The added class.
        out: The new bundle's folder.

    Returns:
        The new bundle, which answers as if the class had never been added.

    Raises:
        ChajongError: If no such class was added.
    """  # noqa: DOC502 raised by what it calls
    from chajong.serving.add_class import remove_class as make_bundle

    return make_bundle(_bundle(bundle), name, Path(out))


def _bundle(bundle: Bundle | StrPath) -> Bundle:
    from chajong.bundle import Bundle

    return bundle if isinstance(bundle, Bundle) else Bundle.load(Path(bundle))


def _open(folder: Path) -> Run | Blend | Bundle:
    from chajong.blending.blend import Blend
    from chajong.bundle import Bundle
    from chajong.run import Run

    kinds: tuple[type[Blend | Bundle], ...] = (Bundle, Blend)
    kind = next((kind for kind in kinds if kind.is_in(folder)), Run)
    return kind.load(folder)


@contextmanager
def _answered(
    bundle: Bundle,
    photos: str,
    runtime: Runtime | None,
    precision: Precision | None,
    risk: float | None = None,
    num_nearest: int = 0,
) -> Iterator[Path]:
    # A Parquet file, as long as it is looked at.
    from tempfile import TemporaryDirectory

    from chajong.photos.sources import open_source
    from chajong.serving.engine import Engine
    from chajong.serving.predict import predict as answer

    engine = Engine.open(bundle, runtime, precision)
    with TemporaryDirectory(prefix="chajong-") as folder:
        path = Path(folder) / "predictions.parquet"
        answer(engine, open_source(photos), path, risk, num_nearest)
        yield path
