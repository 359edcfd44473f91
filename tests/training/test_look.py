"""A network's look at a manifest: a row of features for every photo, in its order."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from chajong.cli import app
from chajong.errors import WeightsError
from chajong.photos.audit import audit
from chajong.recipe_model import Model
from chajong.training.look import network_look
from chajong.training.weights import build_network
from tests.photos.pictures import put, scene


def weights(folder: Path) -> Path:
    torch.manual_seed(0)
    network, _ = build_network(Model(backbone="test_resnet", weights="none"), 2, False)
    path = folder / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return path


def photos(root: Path) -> Path:
    for number in range(4):
        put(root / f"{'ab'[number % 2]}/{number}.jpg", scene(number))
    put(root / "a/copy.jpg", scene(0))
    put(root / "b/broken.jpg", b"no photo")
    return root


def test_every_photo_has_its_row(tmp_path: Path) -> None:
    manifest = audit(photos(tmp_path / "data"), cache_folder=tmp_path / "cache")
    model = Model(backbone="test_resnet", weights=str(weights(tmp_path)))
    features = network_look(model, tmp_path / "cache")(manifest)
    rows = dict(zip(manifest.table["id"], features, strict=True))
    assert np.isnan(rows["b/broken.jpg"]).all()
    np.testing.assert_array_equal(rows["a/copy.jpg"], rows["a/0.jpg"])
    assert not np.array_equal(rows["a/0.jpg"], rows["b/1.jpg"])
    assert sum(np.isfinite(row).all() for row in features) == 5


def test_weights_that_are_not_there_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        network_look(Model(backbone="test_resnet", weights=str(tmp_path / "no.safetensors")))


def test_the_command_loads_torch_only_if_a_network_looks(tmp_path: Path) -> None:
    data, cache = str(photos(tmp_path / "data")), str(tmp_path / "cache")
    arguments = ["audit", data, "--cache", cache, "--out", str(tmp_path / "out")]
    code = f"""
import sys
from chajong.cli import app
app({arguments!r}, standalone_mode=False)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr
    assert "--weights pretrained" in done.stdout
    assert (tmp_path / "out/measures.parquet").is_file()
    look = ["--weights", str(weights(tmp_path)), "--backbone", "test_resnet"]
    looking = CliRunner().invoke(app, [*arguments, *look])
    assert looking.exit_code == 0, looking.output
    assert "--weights pretrained" not in looking.output
