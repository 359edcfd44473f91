"""What every test gets: a cache of its own, so that no test writes to the user's; a browser."""

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chajong.files import locked

if TYPE_CHECKING:
    from playwright.sync_api import Browser


LONG = (  # files of a few tests that take ten seconds and more each, the longest first
    "tests/test_docs_commands.py",
    "tests/training/test_resume.py",
    "tests/training/test_world.py",
    "tests/training/test_train.py",
    "tests/serving/test_export.py",
    "tests/benchmarks/test_long.py",
    "tests/training/test_report.py",
    "tests/test_examples.py",
    "tests/training/test_watch.py",
)


@pytest.hookimpl(trylast=True)  # after the files were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first: a process that got one last would work while the other has nothing."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.location[0], len(LONG)))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("CHAJONG_CACHE", str(folder))


@dataclass(frozen=True)
class Shared:
    """What the processes of these tests make once, for all of them to read.

    Args:
        folder: Where it is.
    """

    folder: Path

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder of that name, made by the first who asks; the others wait for it."""
        folder, done = self.folder / name, self.folder / f"{name}.done"
        with locked(self.folder / f"{name}.lock", wait=True):
            if not done.exists():
                make(folder)
                done.touch()
        return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    base = tmp_path_factory.getbasetemp()
    return Shared(base if worker_id == "master" else base.parent)


@dataclass(frozen=True)
class SilentServer:
    """A server that takes every connection and never answers.

    Args:
        uri: Its address.
        taken: The connections.
    """

    uri: str
    taken: list[socket.socket] = field(default_factory=list)

    def wait(self) -> None:
        """Until somebody waits for an answer."""
        while not self.taken:
            time.sleep(0.01)


@pytest.fixture
def silent_server() -> Iterator[SilentServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SilentServer(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def take() -> None:
            with suppress(OSError):  # it is closed below
                while True:
                    server.taken.append(listener.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in server.taken:
            connection.close()


@pytest.fixture
def hanging_mlflow(silent_server: SilentServer, monkeypatch: pytest.MonkeyPatch) -> SilentServer:
    """Where MLflow is told to send to."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server.uri)
    return silent_server


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A real one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    quiet = ["quic", "background-networking", "component-update", "sync", "gpu"]
    flags = ["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)]
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=chromium, args=flags)
        yield made
        made.close()


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder with a folder `closed` in it that may not be entered, not by root either."""
    import chajong.training.train  # noqa: F401 Python may lie where nobody may not enter

    with tempfile.TemporaryDirectory() as made:
        folder, user = Path(made), os.geteuid()
        folder.chmod(0o755)
        (folder / "closed").mkdir(mode=0)
        if user == 0:
            os.seteuid(65534)  # nobody's
        try:
            yield folder
        finally:
            os.seteuid(user)
