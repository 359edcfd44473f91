"""From the photos of a run to the gallery of its bundle.

Shapes: n photos, d features, h held-out photos, c classes.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from chajong.files import make_folder, writing
from chajong.gallery import PICTURES, Gallery, public_id, unit
from chajong.photos.decode import decode
from chajong.photos.layout import PhotoRef
from chajong.photos.reading import read_file
from chajong.photos.stream import good_pixels, read_batches
from chajong.photos.walk import is_there
from chajong.pooling import Floats
from chajong.predictions import Predictions
from chajong.progress import Progress, say
from chajong.run import Run
from chajong.training.infer import Eye
from chajong.training.last_layer import head_inputs
from chajong.training.model import evaluation_preprocess
from chajong.training.samples import folds_of

MOST_PER_CLASS, _MOST = 50, 10_000
_THUMBNAIL_PX = 160
_BATCH = 64


def make_gallery(
    run: Run, eye: Eye, view: str, held_out: Predictions | None, draft: Path, *, thumbnails: bool
) -> Gallery | None:
    """Look at photos that a run was trained on.

    Args:
        run: The run.
        eye: Its first network.
        view: How it looks.
        held_out: What the bundle's networks that did not learn a photo say of it, if known.
        draft: The bundle's folder.
        thumbnails: Whether to put a small picture of each photo into the bundle.

    Returns:
        The gallery; none if the photos are no longer where they were.
    """
    refs, names, is_held_out = _chosen(run)
    if not any(is_there(ref.path) for ref in refs):
        say(f"no gallery: the photos of {run.folder} are not where they were")
        return None
    good, embeddings = _look(eye, view, refs, run)
    refs = [refs[place] for place in good]
    answers = _answers(held_out)
    places = [
        place
        for place, (ref, of) in enumerate(zip(refs, good.tolist(), strict=True))
        if is_held_out[of] and ref.id in answers
    ]
    held = np.array(places, np.intp)
    gallery = Gallery(
        tuple(public_id(ref.id) for ref in refs),
        tuple(names[place] for place in good),
        embeddings.astype(np.float16),
        held,
        np.array([answers[refs[place].id] for place in places], np.float32).reshape(
            len(places), len(run.labels.names)
        ),
        np.zeros(0),
    )
    gallery = gallery.calibrated(embeddings[held])
    gallery.save(draft)
    if thumbnails:
        _write_thumbnails(refs, draft)
    return gallery


def _chosen(run: Run) -> tuple[list[PhotoRef], list[str], NDArray[np.bool_]]:
    # By chance but always the same. Photos that the network did not learn tell what is usual, but
    # are no more than half of a class while there are others, which are what is compared with.
    manifest = run.manifest()
    rows = manifest.trainable()
    ids, paths, names = (rows[name].to_list() for name in ("id", "path", "label"))
    held_out = folds_of(run, ids) == 0
    num_classes = len(set(names))
    most = max(2, min(MOST_PER_CLASS, _MOST // num_classes))
    order = np.random.default_rng(0).permutation(len(ids))
    labels = np.array(names)
    kept: list[int] = []
    for name in sorted(set(names)):
        of_class = order[labels[order] == name]
        held, learned = of_class[held_out[of_class]], of_class[~held_out[of_class]]
        num_held = min(len(held), max(most // 2, most - len(learned)))
        kept += [*held[:num_held].tolist(), *learned[: most - num_held].tolist()]
    kept.sort()
    refs = [PhotoRef(ids[row], manifest.path_of(paths[row]), "train") for row in kept]
    return refs, [names[row] for row in kept], held_out[kept]


def _look(
    eye: Eye, view: str, refs: Sequence[PhotoRef], run: Run
) -> tuple[NDArray[np.intp], Floats]:
    # Which photos could be read, and their embeddings of length 1.
    good, embeddings = [], []
    network = eye.network.eval()
    with Progress("looking at the gallery", len(refs)) as progress, torch.inference_mode():
        start = 0
        for batch in read_batches(refs, evaluation_preprocess(run.recipe), _BATCH):
            places, pixels = good_pixels(batch)
            if len(places):
                with head_inputs(network) as seen:
                    network(eye.prepare(torch.from_numpy(pixels), view))
                good += (start + places).tolist()
                embeddings.append(unit(seen[0].numpy()))
            start += len(batch)
            progress.advance(len(batch))
    return np.array(good, np.intp), np.concatenate(embeddings)


def _answers(held_out: Predictions | None) -> dict[str, Floats]:
    if held_out is None:
        return {}
    with np.errstate(divide="ignore"):
        log_probs = np.log(held_out.probabilities()).clip(-60).astype(np.float32)
    good = held_out.ok
    return {id_: log_probs[row] for row, id_ in enumerate(held_out.ids) if good[row]}


def _write_thumbnails(refs: Sequence[PhotoRef], draft: Path) -> None:
    folder = make_folder(draft / "gallery" / PICTURES)
    for place, ref in enumerate(refs):
        photo = Image.fromarray(decode(read_file(ref.path), at_least_px=_THUMBNAIL_PX).pixels)
        photo.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
        file = BytesIO()
        photo.save(file, "JPEG", quality=80)
        with writing(folder):
            (folder / f"{place}.jpg").write_bytes(file.getvalue())
