"""From photos and a finished run, or a blend of several, to predictions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from chajong.blending.blend import Blend
from chajong.blending.members import members_of
from chajong.errors import RunError
from chajong.experiments.again import go_on_command
from chajong.labels import Labels
from chajong.photos.layout import PhotoRef, find_unlabelled
from chajong.photos.stream import good_pixels, read_batches
from chajong.pooling import Pooling, mean_of_networks
from chajong.predictions import OK, Predictions
from chajong.progress import Progress
from chajong.run import Run
from chajong.training.allocator import keep_large_blocks
from chajong.training.failures import told_of_looking
from chajong.training.infer import Eye
from chajong.training.model import evaluation_preprocess
from chajong.training.precision import choose_precision
from chajong.training.weights import empty_network, load_weights
from chajong.training.world import pick_device

_BATCH = 64


def predict(run: Run, photos: Path, device: torch.device | None = None) -> Predictions:
    """Predict photos with all trained models of a run, and take their geometric mean.

    Args:
        run: The run.
        photos: A folder, a table of paths, a photo, or a DACON folder (its test photos).
        device: Where to compute; a GPU where there is one, if none.

    Returns:
        A row for every photo, in the order of the photos, with a truthful status.

    Raises:
        RunError: If no model of the run is trained yet.
        DataError: If there are no photos.
    """  # noqa: DOC502 raised by what it calls
    refs = find_unlabelled(photos)
    views = run.recipe.infer.views
    statuses, log_probs = look(run, run.done, refs, views, "log", device)
    return Predictions(
        ids=tuple(ref.id for ref in refs),
        statuses=statuses,
        classes=run.labels.names,
        views=views,
        log_probs=log_probs,
        kind="test",
        run=run.fingerprint,
    )


def predict_blend(blend: Blend, photos: Path, device: torch.device | None = None) -> Predictions:
    """Predict photos with a blend.

    Args:
        blend: The blend; the folders of its runs must be where they were.
        photos: A folder, a table of paths, a photo, or a DACON folder (its test photos).
        device: Where to compute; a GPU where there is one, if none.

    Returns:
        A row for every photo, in the order of the photos, with a truthful status; one view,
        `blend`.

    Raises:
        RunError: If a run is not the one that was blended.
        DataError: If there are no photos.
    """  # noqa: DOC502 raised by what it calls
    refs = find_unlabelled(photos)
    runs = members_of(blend)
    said = [
        look(run, run.done, refs, member.views, blend.pooling, device, blend.labels)
        for run, member in zip(runs, blend.members, strict=True)
    ]
    statuses = said[0][0]
    good = np.array([status == OK for status in statuses], dtype=np.bool_)
    log_probs = np.full((len(refs), 1, len(blend.names)), np.nan, np.float32)
    if good.any():
        log_probs[good, 0] = blend.answer([answers[good] for _, answers in said])
    return Predictions(
        ids=tuple(ref.id for ref in refs),
        statuses=statuses,
        classes=blend.names,
        views=("blend",),
        log_probs=log_probs,
        kind="test",
        run=blend.fingerprint,
    )


def look(
    run: Run,
    models: Sequence[str],
    refs: Sequence[PhotoRef],
    views: Sequence[str],
    pooling: Pooling,
    device: torch.device | None = None,
    labels: Labels | None = None,
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Look at photos with models of a run.

    Args:
        run: The run.
        models: Which of its models; they count alike.
        refs: n photos.
        views: v names of views.
        pooling: Which mean of the models.
        device: Where to compute; a GPU where there is one, if none.
        labels: Which classes count as one; those of the run if none.

    Returns:
        A status for each photo, and (n, v, c) log-probabilities, NaN where it is not "ok".

    Raises:
        RunError: If there are no models.
    """  # noqa: DOC502 raised by `_looks`
    log_probs = np.full((len(refs), len(views), len(run.labels.names)), np.nan, np.float32)
    statuses: list[str] = []
    canonical = (labels or run.labels).canonical
    for some, places, said in _looks(run, models, refs, views, device):
        if len(places):
            log_probs[len(statuses) + places] = mean_of_networks(said, pooling, canonical)
        statuses += some
    return tuple(statuses), log_probs


def look_apart(run: Run, refs: Sequence[PhotoRef], views: Sequence[str]) -> NDArray[np.float32]:
    """Look at photos with each model of a run, but prepare every view of a photo only once.

    Args:
        run: The run, of j trained models.
        refs: n photos.
        views: v names of views.

    Returns:
        (j, n, v, c) log-probabilities, NaN where a photo cannot be read.

    Raises:
        RunError: If there are no models.
    """  # noqa: DOC502 raised by `_looks`
    models = run.done
    shape = (len(models), len(refs), len(views), len(run.labels.names))
    log_probs, start = np.full(shape, np.nan, np.float32), 0
    for some, places, said in _looks(run, models, refs, views):
        if len(places):
            log_probs[:, start + places] = said.swapaxes(0, 1)
        start += len(some)
    return log_probs


def _looks(
    run: Run,
    models: Sequence[str],
    refs: Sequence[PhotoRef],
    views: Sequence[str],
    device: torch.device | None = None,
) -> Iterator[tuple[list[str], NDArray[np.intp], NDArray[np.float32]]]:
    # Batch by batch: statuses, the places of those that were read, and (n, k, v, c) of these.
    if not models:
        raise RunError(
            f"No model of {run.folder} is trained yet. Train one with: {go_on_command(run)}"
        )
    keep_large_blocks()
    eyes = [open_eye(run, name, device or pick_device()) for name in models]
    with Progress(f"predicting with {len(eyes)} model(s)", len(refs)) as progress:
        for batch in read_batches(refs, evaluation_preprocess(run.recipe), _BATCH):
            places, pixels = good_pixels(batch)
            nothing = np.zeros((0, len(eyes), len(views), 0), np.float32)
            said = _said(eyes, torch.from_numpy(pixels), views) if len(places) else nothing
            yield [read.status for read in batch], places, said
            progress.advance(len(batch))


@told_of_looking
def open_eye(run: Run, name: str, device: torch.device) -> Eye:
    """Open a trained model of a run.

    Args:
        run: The run.
        name: Number of a fold, or `all`.
        device: Where to compute.

    Returns:
        The model, ready to look.

    Raises:
        WeightsError: If its weights cannot be read or do not fit.
    """  # noqa: DOC502 raised by `load_weights`
    network = empty_network(run.recipe.model, len(run.labels.names))
    kind = run.recipe.answers_by
    # fp16 is for training on a GPU; the run may be asked on another machine.
    asked = run.recipe.train.precision
    precision = "auto" if asked == "fp16" else asked
    load_weights(network, run.weights_path(name, kind))
    return Eye(
        network.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        device,
        choose_precision(precision, device),
        run.record.mean,
        run.record.std,
        run.recipe.infer.temperature,
    )


def _said(eyes: Sequence[Eye], photos: torch.Tensor, views: Sequence[str]) -> NDArray[np.float32]:
    # (n, k, v, c); what is prepared is the same for all models of a run.
    looks = [[eye.answer(x) for eye in eyes] for x in (eyes[0].prepare(photos, v) for v in views)]
    return np.stack([np.stack(each, axis=1) for each in looks], axis=2)
