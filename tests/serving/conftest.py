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
from tests.conftest import Shared
from tests.training.tiny import make_recipe, write_photos

torch.set_num_threads(1)


def make_all(folder: Path) -> None:
    # As many photos as a proof needs.
    photos = write_photos(folder / "photos", per_class=170, side_px=40)
    recipe = make_recipe(train_epochs=1, train_batch_size=32, infer=Infer(views=("plain", "flip")))
    train(photos, recipe, Options(out=folder / "run", cache_folder=folder / "cache"))
    export(folder / "run", folder / "exported", int8=True)


@pytest.fixture(scope="session")
def made(shared: Shared) -> Path:
    return shared.made("served", make_all)


@pytest.fixture(scope="session")
def photos(made: Path) -> Path:
    return made / "photos"


@pytest.fixture(scope="session")
def run(made: Path) -> Run:
    return Run.load(made / "run")


@pytest.fixture(scope="session")
def exported(made: Path) -> Bundle:
    return Bundle.load(made / "exported")


@pytest.fixture
def bundle(exported: Bundle, tmp_path: Path) -> Bundle:
    """A copy that may be spoiled."""
    return Bundle.load(shutil.copytree(exported.folder, tmp_path / "bundle"))
