"""A network that looks at the photos of a manifest, for the audit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.manifest import Manifest
from chajong.photos.cache import default_cache_folder
from chajong.recipe_model import Model
from chajong.training.embed import embed, open_embedder


def network_look(
    model: Model, cache_folder: Path | None = None, *, allow_noncommercial: bool = False
) -> Callable[[Manifest], NDArray[np.float32]]:
    """Open a network that gives the features of photos.

    Args:
        model: Backbone and weights.
        cache_folder: Where features are remembered by content; the user's cache if none.
        allow_noncommercial: Whether weights that may not be used commercially are fine.

    Returns:
        What `full_audit` takes.

    Raises:
        WeightsError: If the weights cannot be had, do not fit, or may not be used.
    """  # noqa: DOC502 raised by `open_embedder`
    embedder = open_embedder(model, allow_noncommercial=allow_noncommercial)
    folder = (cache_folder or default_cache_folder()) / "embeddings"

    def look(manifest: Manifest) -> NDArray[np.float32]:
        table = manifest.table
        paths = [manifest.path_of(path) for path in table["path"]]
        readable = table.select(pl.when("readable").then("sha256")).to_series()
        return embed(embedder, paths, readable.to_list(), folder)

    return look
