"""Embeddings: the head's input, by content, remembered, and honest about what cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chajong.recipe_model import Model
from chajong.training.embed import Embedder, embed, open_embedder
from chajong.training.last_layer import head_module


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    return open_embedder(Model(backbone="test_resnet", weights="none"), 32)


def _photos(folder: Path, num: int) -> list[Path]:
    rng = np.random.default_rng(1)
    paths = [folder / f"{place}.png" for place in range(num)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("backbone", ["test_resnet", "torchvision/mobilenet_v3_small"])
def test_features_are_what_the_last_layer_gets(backbone: str) -> None:
    torch.manual_seed(0)
    embedder = open_embedder(Model(backbone=backbone, weights="none"), 64)
    photos = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    features = embedder.look(photos)
    with torch.inference_mode():
        network = embedder.eye.network.eval()
        from_features = head_module(network)(torch.from_numpy(features))
        whole = network(embedder.eye.prepare(photos))
    torch.testing.assert_close(from_features, whole, atol=1e-3, rtol=1e-3)


def test_a_photo_has_the_same_features_in_any_order_and_from_memory(
    embedder: Embedder, tmp_path: Path
) -> None:
    paths = _photos(tmp_path, 70)
    names = [str(place) for place in range(70)]
    first = embed(embedder, paths, names, tmp_path / "memory")
    assert np.ptp(first, axis=0).max() > 0
    again = embed(embedder, paths[::-1], names[::-1], tmp_path / "other")
    np.testing.assert_allclose(again[::-1], first, atol=2e-2, rtol=2e-2)
    for path in paths:
        path.unlink()
    np.testing.assert_array_equal(embed(embedder, paths, names, tmp_path / "memory"), first)


def test_what_cannot_be_read_has_no_features(embedder: Embedder, tmp_path: Path) -> None:
    paths = _photos(tmp_path, 3)
    paths[1].write_bytes(b"no photo")
    features = embed(embedder, paths, ["a", "b", None], tmp_path / "memory")
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1:]).all()


def test_a_damaged_memory_is_made_again(embedder: Embedder, tmp_path: Path) -> None:
    paths = _photos(tmp_path, 2)
    memory = tmp_path / "memory"
    first = embed(embedder, paths, ["a", "b"], memory)
    next(memory.glob("*.parquet")).write_bytes(b"damaged")
    np.testing.assert_array_equal(embed(embedder, paths, ["a", "b"], memory), first)
