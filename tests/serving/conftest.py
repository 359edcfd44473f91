"""A run of tiny networks and the bundle that is made of it, once for all tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from chajong.bundle import Bundle
from chajong.recipe import Infer
from chajong.run import Run
from chajong.serving.engine import Engine
from chajong.training.export import export
from chajong.training.train import Options, train
from tests.conftest import Shared
from tests.serving.browsing import one_of_each
from tests.serving.running import KEY, Running, running
from tests.training.tiny import make_recipe, write_photos

torch.set_num_threads(1)


def make_all(folder: Path) -> None:
    # As many photos as a proof needs.
    photos = write_photos(folder / "photos", per_class=170, side_px=40)
    recipe = make_recipe(train_epochs=1, train_batch_size=32, infer=Infer(views=("plain", "flip")))
    train(photos, recipe, Options(out=folder / "run", cache_folder=folder / "cache"))
    export(folder / "run", folder / "exported")


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


@pytest.fixture(scope="session")
def engine(exported: Bundle) -> Engine:
    """What answers photos, for two threads at once."""
    return Engine.open(exported, "onnxruntime", "fp32", num_callers=2)


@pytest.fixture
def few(photos: Path, tmp_path: Path) -> Path:
    """Good photos with files in between that are none."""
    folder = tmp_path / "few"
    for path in sorted(photos.rglob("*.jpg"))[:30]:
        (folder / "좋은").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "좋은" / path.name)
    first = next((folder / "좋은").iterdir()).read_bytes()
    (folder / "cut.jpg").write_bytes(first[:-200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no photo", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def service(exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that nobody stops or changes."""
    with running(exported.folder, tmp_path_factory.mktemp("log") / "log") as started:
        yield started


@pytest.fixture(scope="module")
def tight(exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Of little patience."""
    options = "--max-queue 2 --max-mb 0.5 --deadline 0.02 --slow 1 --cors https://example.com"
    log = tmp_path_factory.mktemp("log") / "log"
    with running(exported.folder, log, *options.split(), key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def patient(exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("log") / "log"
    with running(exported.folder, log, *["--deadline", "60", "--max-mb", "0.5"]) as made:
        yield made


@pytest.fixture(scope="session")
def some(photos: Path) -> list[bytes]:
    """Whole files of a few good photos."""
    return [path.read_bytes() for path in sorted(photos.glob("*/*.jpg"))[::40]]


@pytest.fixture(scope="session")
def good(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return one_of_each(photos, tmp_path_factory.mktemp("good"))
