"""Photos with what speaks for one class in orange, and for another in blue.

Shapes: h w a picture.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chajong.photos.decode import Unreadable
from chajong.photos.reading import read_file
from chajong.predictions import Predictions
from chajong.reporting.page import as_uri
from chajong.run import Run

_FOR, _AGAINST = (214, 108, 12), (24, 92, 200)
_LONG_PX = 272


class Question(NamedTuple):
    """What in a photo speaks for one class rather than another?"""

    id: str
    toward: str
    against: str


def heat_pictures(
    run: Run, table: Predictions, questions: Sequence[Question]
) -> dict[Question, str]:
    """Draw the answers, each by the model that has not learned from the photo.

    Args:
        run: A run, all folds trained.
        table: Its out-of-fold table.
        questions: About photos of the table.

    Returns:
        A data URI for each that can be answered; none for networks whose features have
        no places.
    """
    # Pages without heat maps need no torch.
    from chajong.training.heat import heat
    from chajong.training.model import evaluation_preprocess
    from chajong.training.predict import open_eye
    from chajong.training.world import pick_device

    fold_of = dict(zip(table.ids, table.folds or (), strict=True))
    manifest, asked = run.manifest(), {question.id for question in questions}
    rows = manifest.table.filter(manifest.table["id"].is_in(asked)).iter_rows(named=True)
    photos = {row["id"]: row for row in rows}
    preprocess = evaluation_preprocess(run.recipe)
    found: dict[Question, str] = {}
    for name in run.done:
        eye = open_eye(run, name, pick_device())
        for question in (q for q in questions if str(fold_of[q.id]) == name):
            row = photos[question.id]
            try:
                pixels = preprocess(read_file(manifest.path_of(row["path"])))
            except Unreadable:
                continue
            places = [run.labels.indices([each]) for each in question[1:]]
            map_ = heat(eye, pixels[None], *places)
            if map_ is not None:
                size = (row["width_px"], row["height_px"])
                is_whole = run.recipe.data.aspect == "squash"
                found[question] = as_uri(_overlaid(pixels, map_[0], size if is_whole else (1, 1)))
    return found


def _overlaid(
    pixels: NDArray[np.uint8], heat: NDArray[np.float32], aspect: tuple[int, int]
) -> NDArray[np.uint8]:
    # The photo in its own shape, paler, under the colours.
    scale = _LONG_PX / max(aspect)
    size = (max(1, round(aspect[0] * scale)), max(1, round(aspect[1] * scale)))
    photo = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), np.float32)
    grey = photo.mean(axis=2, keepdims=True)
    strength = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC))[..., None]
    most = float(np.abs(heat).max()) or 1.0
    cover = 0.75 * np.clip(np.abs(strength) / most, 0, 1)
    colour = np.where(strength > 0, np.array(_FOR), np.array(_AGAINST))
    mixed = (1 - cover) * (0.5 * photo + 0.5 * grey) + cover * colour
    overlaid: NDArray[np.uint8] = np.clip(mixed, 0, 255).astype(np.uint8)
    return overlaid
