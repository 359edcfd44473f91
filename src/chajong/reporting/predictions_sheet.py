"""A picture of predicted photos: the surest mistakes first, then the sure and the unsure."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.labels import Labels, known_equal
from chajong.metrics import outcomes
from chajong.predictions import Predictions
from chajong.reporting.sheet import CALM, RED, Panel, Section, Tile, draw_sheet

_MOST = 12
_TITLE = "What the models say"


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
    if not len(rows):
        return draw_sheet(_TITLE, "no photos", [], out)
    true = labels.indices([truth[predictions.ids[row]] for row in rows])
    found = outcomes(predictions.probabilities()[rows], true, labels.canonical)
    names = [labels.names[place] for place in np.unique(labels.canonical)]
    top, sure, right = found.top, found.confidence, found.top == found.truth

    def panels(chosen: NDArray[np.intp]) -> Iterator[Panel]:
        for place in chosen[:_MOST]:
            id_ = predictions.ids[rows[place]]
            said = f"{sure[place]:.0%}  {names[top[place]]}"
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
    remark = f"{right.mean():.1%} of {len(rows):,} photos are right"
    return draw_sheet(_TITLE, remark, sections, out)
