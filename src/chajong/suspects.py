"""Label suspects: photos whose label the models that did not learn them doubt.

Confident learning (Northcutt, Jiang & Chuang 2021, arXiv 1911.00068) on out-of-fold predictions,
and what near-duplicates say.

Shapes: n photos, c classes, g groups of equal classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.errors import PredictionsError
from chajong.files import write_csv
from chajong.labels import Labels
from chajong.manifest import Manifest
from chajong.metrics import merged_probs
from chajong.predictions import Predictions

COLUMNS = pl.Schema(
    {
        "id": pl.String(),
        "label": pl.String(),
        "suggested": pl.String(),
        "score": pl.Float64(),
        "p_given": pl.Float64(),
        "p_suggested": pl.Float64(),
        "duplicate_says": pl.String(),
    }
)


@dataclass(frozen=True)
class Suspects:
    """Photos in the order in which somebody should look at them.

    Attributes:
        table: A row for each photo that the models take for another class: `id`, `label`,
            `suggested` (the class it probably is), `score` (0 to 1, the worst first), `p_given`
            and `p_suggested` (out-of-fold probabilities), `duplicate_says` (the label of a
            near-duplicate that has another one, or null).
        num_expected: How many labels are wrong, as the confident joint counts them; where the
            models are weak it counts far too many.
    """

    table: pl.DataFrame
    num_expected: int

    def save(self, path: Path) -> None:
        """Write the table as CSV, with a BOM, so that spreadsheets read Korean.

        Args:
            path: The file to make or replace.
        """
        write_csv(path, self.table)


def find_suspects(
    predictions: Predictions, labels: Labels, manifest: Manifest | None = None
) -> Suspects:
    """Rank the photos whose label is in doubt.

    Args:
        predictions: Out-of-fold predictions with their labels.
        labels: The classes; taking a photo for an equal class is no doubt.
        manifest: Where near-duplicates are looked up, if given.

    Returns:
        The suspects.

    Raises:
        PredictionsError: If the predictions are not out of fold, so that they doubt nothing, or
            are of other classes.
    """
    if predictions.kind != "oof":
        raise PredictionsError(
            f"Label suspects need out-of-fold predictions, got {predictions.kind!r}: a model does "
            "not doubt a label that it has learnt."
        )
    predictions.check_classes(labels)
    ids = [id_ for id_, ok in zip(predictions.ids, predictions.ok, strict=True) if ok]
    truth = predictions.truth()
    given = labels.indices([truth[id_] for id_ in ids])
    kept = np.unique(labels.canonical)
    probs = merged_probs(predictions.probabilities()[predictions.ok], labels.canonical)
    own = labels.merged_places[given]
    other = _other(probs, own)
    rows = np.arange(len(own))
    p_given, p_other = probs[rows, own], probs[rows, other]
    says = _duplicates(ids, manifest, labels) if manifest is not None else {}
    suggested = [labels.names[kept[column]] for column in other]
    score = 1 - p_given
    for row, id_ in enumerate(ids):
        if (said := says.get(id_)) is not None:
            # Two labels for one picture: one of them is wrong, whatever the models think.
            score[row] = 0.5 + score[row] / 2
            suggested[row] = said
            p_other[row] = probs[row, labels.merged_places[labels.index(said)]]
    table = pl.DataFrame(
        {
            "id": ids,
            "label": [truth[id_] for id_ in ids],
            "suggested": suggested,
            "score": score,
            "p_given": p_given,
            "p_suggested": p_other,
            "duplicate_says": [says.get(id_) for id_ in ids],
        },
        schema=COLUMNS,
    )
    doubted = (pl.col("p_suggested") > pl.col("p_given")) | pl.col("duplicate_says").is_not_null()
    ranked = table.filter(doubted).sort(["score", "id"], descending=[True, False])
    return Suspects(ranked, _num_expected(probs, own))


def _other(probs: NDArray[np.float64], own: NDArray[np.intp]) -> NDArray[np.intp]:
    # The likeliest class that is not the given one.
    rest = probs.copy()
    rest[np.arange(len(own)), own] = -1
    return np.asarray(rest.argmax(axis=1), np.intp)


def _num_expected(probs: NDArray[np.float64], own: NDArray[np.intp]) -> int:
    # The off-diagonal of the confident joint: photos that reach the mean self-confidence of
    # another class, and the likeliest such class is not their own.
    num = probs.shape[1]
    counts = np.bincount(own, minlength=num)
    sure = np.bincount(own, probs[np.arange(len(own)), own], num) / np.maximum(counts, 1)
    sure[counts == 0] = np.inf
    above = np.where(probs >= sure, probs, -1.0)
    confident = above.max(axis=1) > 0
    return int((confident & (above.argmax(axis=1) != own)).sum())


def _duplicates(ids: Sequence[str], manifest: Manifest, labels: Labels) -> dict[str, str]:
    # For near-duplicates with different labels: the commonest label of the others, unless fewer
    # say it than the photo's own.
    canonical = dict(zip(labels.names, labels.canonical.tolist(), strict=True))
    rows = manifest.trainable().filter(pl.col("id").is_in(ids))
    says = {}
    for scene in rows.group_by("scene").agg("id", "label").iter_rows(named=True):
        counts = Counter(scene["label"])
        kinds = Counter(canonical[label] for label in scene["label"])
        ranked = sorted(counts, key=lambda one: (-kinds[canonical[one]], -counts[one], one))
        others = {
            label: next((one for one in ranked if canonical[one] != canonical[label]), None)
            for label in counts
        }
        for id_, label in zip(scene["id"], scene["label"], strict=True):
            other = others[label]
            if other is not None and kinds[canonical[other]] >= kinds[canonical[label]]:
                says[id_] = other
    return says
