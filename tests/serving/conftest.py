"""A run of tiny networks and the bundle that is made of it, once for all tests."""

import shutil
from pathlib import Path

import pytest
import torch

from chajong.bundle import Bundle
from chajong.recipe import Infer
from chajong.run import Run
from chajong.training.export import export
from chajong.training.train import Options, train
from tests.training.tiny import make_recipe, write_photos

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many photos as a proof needs, and one whose class is hard to tell."""
    return write_photos(tmp_path_factory.mktemp("many") / "photos", per_class=170, side_px=40)


@pytest.fixture(scope="session")
def run(photos: Path) -> Run:
    recipe = make_recipe(train_epochs=1, train_batch_size=32, infer=Infer(views=("plain", "flip")))
    options = Options(out=photos.parent / "run", cache_folder=photos.parent / "cache")
    made = train(photos, recipe, options)
    assert made is not None
    return made


@pytest.fixture(scope="session")
def exported(run: Run) -> Bundle:
    return export(run.folder, run.folder.with_name("exported"), int8=True)


@pytest.fixture
def bundle(exported: Bundle, tmp_path: Path) -> Bundle:
    """A copy that may be spoiled."""
    return Bundle.load(shutil.copytree(exported.folder, tmp_path / "bundle"))
