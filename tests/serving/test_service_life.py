"""Stopping and taking a new bundle while many ask: nothing that was accepted is lost."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from chajong.bundle import Bundle
from chajong.bundle_place import put_in_place
from chajong.gallery import PICTURES
from chajong.serving.service import server
from chajong.serving.service.keeper import traces
from chajong.serving.service.settings import Settings
from tests.serving.running import Running, blas_threads, running, until


class Asker(threading.Thread):
    """Asks again and again over one connection, and notes what became of each request."""

    def __init__(self, service: Running, photo: bytes, ending: threading.Event) -> None:
        super().__init__()
        self.service, self.photo, self.ending = service, photo, ending
        self.statuses: list[int] = []
        self.bundles: list[str] = []
        self.lost: list[float] = []

    def run(self) -> None:
        while not self.ending.is_set():
            connection = HTTPConnection("127.0.0.1", self.service.port, timeout=60)
            try:
                while not self.ending.is_set():
                    begun = time.monotonic()
                    connection.request("POST", "/v1/predict", self.photo)
                    reply = connection.getresponse()
                    body = reply.read()
                    self.statuses.append(reply.status)
                    self.bundles.append(body.decode().split('"bundle":"')[-1][:16])
                    if reply.will_close:
                        break
            except OSError:
                self.lost.append(begun)
            finally:
                connection.close()


@contextmanager
def asking(service: Running, photo: bytes, num: int = 4) -> Iterator[list[Asker]]:
    ending = threading.Event()
    askers = [Asker(service, photo, ending) for _ in range(num)]
    for asker in askers:
        asker.start()
    try:
        until(lambda: all(len(asker.statuses) > 3 for asker in askers))
        yield askers
    finally:
        ending.set()
        for asker in askers:
            asker.join()


@pytest.fixture(scope="module")
def photo(photos: Path) -> bytes:
    return next(photos.glob("*/*.jpg")).read_bytes()


def changed(bundle: Path, to: Path) -> Path:
    """The same bundle under another name."""
    shutil.copytree(bundle, to, dirs_exist_ok=True)
    loaded = Bundle.load(to)
    (to / "SHA256SUMS").unlink()
    (to / "CARD.md").write_text("another")
    loaded.save(loaded.card(), "another\n")
    return to


def _copy(bundle: Path, to: Path) -> None:
    shutil.copytree(bundle, to, dirs_exist_ok=True)


def test_callers_of_a_service_do_not_share_out_their_products(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    during = []

    def noted(self: server._Server, sockets: list[socket.socket]) -> None:
        assert sockets
        during.append(blas_threads())
        self._keeper.close()

    monkeypatch.setattr(server._Server, "run", noted)
    with threadpool_limits(3, user_api="blas"):
        before = blas_threads()
        server.serve(Settings(bundle.folder, port=0))
        assert blas_threads() == before
    assert during == [{1}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_loses_nothing(
    bundle: Bundle, tmp_path: Path, photo: bytes, number: signal.Signals
) -> None:
    with running(bundle.folder, tmp_path / "log") as service, asking(service, photo) as askers:
        service.process.send_signal(number)
        stopped = time.monotonic()
        assert service.process.wait(60) == 0
        until(lambda: all(asker.lost for asker in askers))
        for asker in askers:
            asker.ending.set()
        assert {status for asker in askers for status in asker.statuses} == {200}
        # What is lost was asked when nobody was let in any more.
        assert min(asker.lost[0] for asker in askers) > stopped + 0.3
    assert "what was accepted is answered" in service.log.read_text()


def test_a_new_bundle_is_taken_while_many_ask(bundle: Bundle, tmp_path: Path, photo: bytes) -> None:
    other = changed(bundle.folder, tmp_path / "other")
    new = Bundle.load(other).fingerprint
    with running(bundle.folder, tmp_path / "log") as service, asking(service, photo) as askers:
        put_in_place(bundle.folder, partial(_copy, other))
        until(lambda: all(asker.bundles[-1] == new for asker in askers))
        assert not any(asker.lost for asker in askers)
        assert {status for asker in askers for status in asker.statuses} == {200}
        assert {name for asker in askers for name in asker.bundles} == {bundle.fingerprint, new}
        assert service.ask("/v1/model").json["bundle"] == new
        assert f'fingerprint="{new}"' in service.ask("/metrics").body.decode()
        assert bundle.fingerprint not in service.ask("/metrics").body.decode()


def test_what_tells_of_another_bundle(bundle: Bundle) -> None:
    photos = bundle.folder / "gallery" / PICTURES
    photos.mkdir()
    (photos / "0.jpg").write_bytes(b"small")
    before = traces(bundle.folder)
    names = {name for name, *_ in before}
    assert {"bundle.json", "gallery/embeddings.npy", "gallery/photos"} <= names
    assert "gallery/photos/0.jpg" not in names  # there may be ten thousand
    (photos / "1.jpg").write_bytes(b"small")
    assert traces(bundle.folder) != before  # its folder changed


def test_a_new_bundle_is_asked_for_before_the_first_is_open(bundle: Bundle) -> None:
    code = (
        "import os, signal, sys; from chajong.serving.service import server\n"
        "class Keeper(server.Keeper):\n"
        "    def __init__(self, *given):\n"
        "        os.kill(os.getpid(), signal.SIGHUP); super().__init__(*given)\n"
        "server.Keeper = Keeper\n"
        "from chajong.serving.service.settings import Settings; from pathlib import Path\n"
        "server.serve(Settings(Path(sys.argv[1]), port=0))"
    )
    command = [sys.executable, "-c", code, str(bundle.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "answers for" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_a_bad_bundle_is_refused_and_the_old_one_goes_on(
    bundle: Bundle, tmp_path: Path, photo: bytes
) -> None:
    with running(bundle.folder, tmp_path / "log") as service, asking(service, photo) as askers:
        graph = next((bundle.folder / "members").iterdir())
        whole = graph.read_bytes()
        graph.write_bytes(whole[:-100])
        until(lambda: service.ask("/v1/model").json["refused"])
        told = service.ask("/v1/model").json
        assert told["bundle"] == bundle.fingerprint
        assert "the checksum of" in told["refused"]["detail"]
        assert (
            'chajong_reloads_total{outcome="refused"} 1.0' in service.ask("/metrics").body.decode()
        )
        golden = bundle.folder / "golden"
        golden.rename(tmp_path / "golden")
        assert service.ask("/openapi.json").status == 200
        (tmp_path / "golden").rename(golden)
        # Put right, and a signal instead of waiting.
        graph.write_bytes(whole)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.ask("/v1/model").json["refused"] is None)
        assert {status for asker in askers for status in asker.statuses} == {200}
        assert not any(asker.lost for asker in askers)
    assert "a new bundle is refused" in service.log.read_text()
