"""A picture of predicted photos: the surest mistakes first, then the sure and the unsure."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.labels import Labels, known_equal
from chajong.photos.sheet import CALM, RED, Panel, Section, Tile, draw_sheet
from chajong.predictions import Predictions

_MOST = 12


def predictions_sheet(
    predictions: Predictions, paths: Mapping[str, Path], truth: Mapping[str, str], out: Path
) -> Path:
    """Draw predicted photos with what the model takes them for, and how sure it is.

    Args:
        predictions: The predictions.
        paths: The file of each photo by id.
        truth: The true class by id.
        out: The picture to make or replace.

    Returns:
        The same path.

    Raises:
        ResourceError: If it cannot be written.
    """  # noqa: DOC502 raised by draw_sheet
    labels = Labels(predictions.classes, known_equal(predictions.classes))
    rows = np.flatnonzero(predictions.ok)
    probs = predictions.probabilities()[rows]
    top, sure = probs.argmax(axis=1), probs.max(axis=1)
    true = labels.indices([truth[predictions.ids[row]] for row in rows])
    right = labels.canonical[top] == labels.canonical[true]

    def panels(chosen: NDArray[np.intp]) -> Iterator[Panel]:
        for place in chosen[:_MOST]:
            id_ = predictions.ids[rows[place]]
            said = f"{sure[place]:.0%}  {labels.names[top[place]]}"
            note = "right" if right[place] else f"is {labels.names[true[place]]}"
            frame = CALM if right[place] else RED
            yield Panel((Tile(paths[id_], said, note),), frame)

    order = np.argsort(-sure, kind="stable")
    parts = {
        "The surest mistakes": order[~right[order]],
        "Right and sure": order[right[order]],
        "Right, but unsure": order[right[order]][::-1],
    }
    sections = [
        Section(heading, f"{len(chosen):,} photos", tuple(panels(chosen)))
        for heading, chosen in parts.items()
        if len(chosen)
    ]
    remark = f"{right.mean():.1%} of {len(rows):,} photos are right" if len(rows) else "no photos"
    return draw_sheet("What the models say", remark, sections, out)
