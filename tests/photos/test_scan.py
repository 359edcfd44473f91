import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chajong.photos.measuring import Helper, helpers, measure
from chajong.photos.scan import scan
from tests.photos.pictures import encoded, put, scene


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    whole = encoded(scene(0))
    made = [put(folder / f"{seed}.jpg", encoded(scene(seed))) for seed in range(70)]
    return [*made, put(folder / "cut.jpg", whole[: len(whole) // 2]), folder / "missing.jpg"]


@pytest.mark.parametrize("num_helpers", [1, 2])
def test_helpers_find_the_same(photos: list[Path], tmp_path: Path, num_helpers: int) -> None:
    alone = scan(photos, tmp_path / "alone.parquet", 0)
    together = scan(photos, tmp_path / "together.parquet", num_helpers)
    assert alone.table["reason"].null_count() == 70
    assert together.table.equals(alone.table)
    assert together.measures.equals(alone.measures)
    assert np.array_equal(together.thumbs, alone.thumbs)


def test_a_dead_helper_loses_nothing(photos: list[Path]) -> None:
    with helpers(1) as (helper,):
        helper.process.kill()
        helper.process.wait()
        assert helper.measure(photos) == measure(photos)


def test_a_helper_killed_at_work_loses_nothing(photos: list[Path]) -> None:
    with helpers(1) as (helper,), ThreadPoolExecutor(1) as thread:
        helper.measure(photos[:1])  # it is up
        asked = thread.submit(helper.measure, photos * 20)
        time.sleep(0.05)
        assert not asked.done()
        helper.process.kill()
        assert asked.result() == measure(photos * 20)


def test_ctrl_c_is_not_for_helpers(photos: list[Path]) -> None:
    with helpers(1) as (helper,):
        helper.measure(photos[:1])
        helper.process.send_signal(signal.SIGINT)
        assert helper.measure(photos) == measure(photos)
        assert helper.process.poll() is None


def test_helpers_are_gone_afterwards() -> None:
    with helpers(2) as started:
        pass
    assert [helper.process.poll() for helper in started] == [-signal.SIGKILL] * 2


def test_a_helper_does_not_outlive_who_asks() -> None:
    code = (
        "import sys, time; from chajong.photos.measuring import Helper;"
        "print(Helper().process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as asker:
        assert asker.stdout is not None
        helper = int(asker.stdout.readline())
        os.kill(helper, 0)
        asker.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(helper):
        time.sleep(0.02)
    assert not _runs(helper)


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_where_no_process_can_be_had_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with helpers(2) as started:
        assert started == []
    with pytest.raises(OSError):
        Helper()


def edit_quietly(photo: Path) -> None:
    """Change one byte of a file; its size and the time of its content stay."""
    before = photo.stat()
    time.sleep(0.02)  # the clock of files ticks every 10 ms at most
    data = bytearray(photo.read_bytes())
    data[-3] ^= 1
    photo.write_bytes(data)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_change_that_sets_the_time_back_is_seen(tmp_path: Path) -> None:
    photo = put(tmp_path / "1.jpg", encoded(scene(1)))
    first = scan([photo], tmp_path / "memory.parquet")
    edit_quietly(photo)
    second = scan([photo], tmp_path / "memory.parquet")
    assert second.table["sha256"][0] != first.table["sha256"][0]


def test_a_scan_that_is_killed_keeps_what_it_read(photos: list[Path], tmp_path: Path) -> None:
    memory = tmp_path / "memory.parquet"
    program = (
        "import os, sys, time, chajong.photos.scan as s\n"
        "from pathlib import Path\n"
        "s._CHUNK, s._WORTH_KEEPING, s.num_cores = 8, 16, lambda: 1\n"
        "measure = s.measure\n"
        "def killed(paths):\n"
        "    if any(path.stem == '60' for path in paths):\n"
        "        deadline = time.monotonic() + 3\n"
        "        while not Path(sys.argv[1]).exists() and time.monotonic() < deadline:\n"
        "            time.sleep(0.01)\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return measure(paths)\n"
        "s.measure = killed\n"
        "s.scan([Path(path) for path in sys.argv[2:]], Path(sys.argv[1]), 0)\n"
    )
    words = [sys.executable, "-c", program, str(memory), *map(str, photos[:70])]
    assert subprocess.run(words).returncode == -signal.SIGKILL
    # Of 64 at most: after 16 or more, and again after twice as many if it came so far.
    assert pl.read_parquet(memory).height in range(16, 60)
    assert scan(photos, memory, 0).table["sha256"].null_count() == 1
