"""Embeddings: what a network sees in a photo before it decides on a class.

Shapes: n photos, d features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from chajong.files import fingerprint, read_memory, write_memory
from chajong.photos.layout import PhotoRef
from chajong.photos.preprocess import Preprocess
from chajong.photos.stream import good_pixels, read_batches
from chajong.progress import Progress
from chajong.recipe_model import Model
from chajong.training.allocator import keep_large_blocks
from chajong.training.infer import Eye
from chajong.training.last_layer import head_inputs
from chajong.training.precision import choose_precision
from chajong.training.weights import build_network
from chajong.training.world import pick_device

SIZE_PX = 160
"""Side of the photos. The nearest of 4,893 photos of 196 cars, by ImageNet weights of
`mobilenetv2_100`, shows the same car for 25 % of them; at 128 px, in half the time, for 19 %."""

_BATCH = 64
_COLUMNS = pl.Schema({"sha256": pl.String(), "features": pl.Binary()})


@dataclass(frozen=True)
class Embedder:
    """A network that is asked for the input of its last layer.

    Args:
        eye: The network, its head still on.
        preprocess: How photos become pixels.
        fingerprint: Names weights and preprocessing, for what is remembered.
    """

    eye: Eye
    preprocess: Preprocess
    fingerprint: str

    @torch.inference_mode()
    def look(self, photos: Tensor) -> NDArray[np.float32]:
        """Compute the features of a batch.

        Args:
            photos: uint8 `(n, s, s, 3)`.

        Returns:
            `(n, d)`.
        """
        network = self.eye.network.eval()
        with head_inputs(network) as seen, self.eye.autocast():
            network(self.eye.prepare(photos))
        features: NDArray[np.float32] = seen[0].cpu().numpy()
        return features


def open_embedder(
    model: Model, size_px: int = SIZE_PX, *, allow_noncommercial: bool = False
) -> Embedder:
    """Open a backbone with the weights it starts from, so that no photo is one it was trained on.

    Args:
        model: Backbone and weights, as in a recipe; random weights tell little.
        size_px: Side of the photos.
        allow_noncommercial: Whether weights that may not be used commercially are fine.

    Returns:
        The embedder.

    Raises:
        WeightsError: If the weights cannot be had, do not fit, or may not be used.
    """  # noqa: DOC502 raised by `build_network`
    keep_large_blocks()
    device = pick_device()
    network, source = build_network(model, 2, allow_noncommercial)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    eye = Eye(network, device, choose_precision("auto", device), source.mean, source.std)
    preprocess = Preprocess(size_px, "squash")
    # A hub's weights go by their name, which is the backbone's with its tag.
    weights = fingerprint("embedder", model.backbone, source.name, preprocess.fingerprint)
    return Embedder(eye, preprocess, weights)


def embed(
    embedder: Embedder, paths: Sequence[Path], sha256s: Sequence[str | None], folder: Path
) -> NDArray[np.float32]:
    """Compute the features of photos, those that are not remembered.

    Args:
        embedder: The network.
        paths: n files.
        sha256s: What each holds; null where that is not known, because it cannot be read.
        folder: Where features are remembered by content.

    Returns:
        `(n, d)`, NaN where a photo cannot be read.
    """
    memory = folder / f"{embedder.fingerprint}.parquet"
    known = _remembered(memory)
    missing = {
        sha256: path
        for sha256, path in zip(sha256s, paths, strict=True)
        if sha256 is not None and sha256 not in known
    }
    if missing:
        try:
            known.update(_computed(embedder, missing))
        finally:
            _remember(memory, known)
    features = [known.get(sha256 or "") for sha256 in sha256s]
    num_features = next((len(row) for row in features if row is not None), 0)
    nothing = np.full(num_features, np.nan, np.float32)
    return np.array([nothing if row is None else row for row in features], np.float32)


def _computed(
    embedder: Embedder, files: dict[str, Path]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    # Pairs of content and features; none for what cannot be read.
    refs = [PhotoRef(sha256, path, "test") for sha256, path in files.items()]
    with Progress("embedding photos", len(refs)) as progress:
        for batch in read_batches(refs, embedder.preprocess, _BATCH):
            places, pixels = good_pixels(batch)
            if len(places):
                names = [batch[place].ref.id for place in places]
                # As they are remembered, so that the same command says the same again.
                seen = embedder.look(torch.from_numpy(pixels)).astype(np.float16)
                yield from zip(names, seen.astype(np.float32), strict=True)
            progress.advance(len(batch))


def _remembered(memory: Path) -> dict[str, NDArray[np.float32]]:
    return {
        sha256: np.frombuffer(row, np.float16).astype(np.float32)
        for sha256, row in read_memory(memory, _COLUMNS).rows()
    }


def _remember(memory: Path, known: dict[str, NDArray[np.float32]]) -> None:
    rows = [(sha256, row.astype(np.float16).tobytes()) for sha256, row in known.items()]
    table = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
    write_memory(memory, table, "Photos have to be embedded again next time.")
