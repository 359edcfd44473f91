"""Manifests for tests, made without photos."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from chajong.labels import Labels
from chajong.manifest import ISSUE_COLUMNS, PHOTO_COLUMNS, Manifest


def photo_rows(
    labels: Sequence[str | None],
    groups: Sequence[int] | None = None,
    folds: Sequence[int | None] | None = None,
) -> pl.DataFrame:
    """Readable photos, those without a label for testing, each its own group."""
    num = len(labels)
    table = pl.DataFrame(
        {
            "id": [f"p{number:05d}.jpg" for number in range(num)],
            "path": [f"p{number:05d}.jpg" for number in range(num)],
            "part": ["test" if label is None else "train" for label in labels],
            "label": labels,
            "fold": folds if folds is not None else [None] * num,
            "user_group": [None] * num,
            "size_bytes": [1000] * num,
            "sha256": [f"{number:064x}" for number in range(num)],
            "phash": range(num),
            "width_px": [200] * num,
            "height_px": [100] * num,
            "format": ["jpeg"] * num,
            "readable": [True] * num,
            "reason": [None] * num,
            "group": groups if groups is not None else range(num),
            "scene": groups if groups is not None else range(num),
        },
        schema_overrides=PHOTO_COLUMNS,
    )
    return table.cast(dict(PHOTO_COLUMNS.items()))


def manifest_of(table: pl.DataFrame, root: Path = Path("/photos")) -> Manifest:
    """A manifest without issues."""
    labels = Labels.of(label for label in table["label"].to_list() if label is not None)
    return Manifest(labels, root, table, pl.DataFrame(schema=ISSUE_COLUMNS))
