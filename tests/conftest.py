"""What every test gets: a cache of its own, so that no test writes to the user's; a browser."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("CHAJONG_CACHE", str(folder))


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
