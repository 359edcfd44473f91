import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from chajong.stop import asked_to_stop
from tests.test_cli import draw_photo


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks(number: signal.Signals) -> None:
    with asked_to_stop() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked


def test_a_second_ctrl_c_stops_at_once() -> None:
    with asked_to_stop():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_polite_kill_that_torchrun_sends_after_a_ctrl_c_stays_polite() -> None:
    with asked_to_stop() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked


def test_who_was_made_deaf_to_ctrl_c_stays_so() -> None:
    # As the processes of folds: their parent passes it on.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with asked_to_stop() as stop:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert not stop.asked
            signal.raise_signal(signal.SIGTERM)
            assert stop.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_heeds_a_polite_kill_dies_of_it_in_the_end() -> None:
    program = (
        "import signal\n"
        "from chajong.stop import asked_to_stop, killed_as_stopped\n"
        "with killed_as_stopped(), asked_to_stop() as stop:\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('asked', stop.asked)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "asked True\n")


def test_signals_are_handled_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with asked_to_stop():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_an_audit_that_is_stopped_keeps_what_it_read(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    for photo in range(40):
        draw_photo(tmp_path / f"photos/{photo % 2}/{photo}.jpg", photo)
    program = (
        "import sys, time, chajong.photos.scan as scan\n"
        "from chajong.cli import main\n"
        "measure, scan._CHUNK = scan.measure, 8\n"
        "def slow(paths):\n"
        "    if any('/33.' in str(path) for path in paths):\n"
        "        print('here', flush=True)\n"
        "        time.sleep(2)\n"
        "    return measure(paths)\n"
        "scan.measure = slow\n"
        "scan.num_cores = lambda: 1\n"
        f"sys.argv = ['chajong', 'audit', {str(tmp_path / 'photos')!r}, "
        f"'--cache', {str(tmp_path / 'cache')!r}]\n"
        "main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        assert asked.stdout.readline() == "here\n"
        asked.send_signal(number)
        said = asked.stderr.read()
    assert asked.returncode == code
    assert "chajong: stopped; the same command goes on" in said
    (memory,) = (tmp_path / "cache").rglob("*.parquet")
    assert 0 < pl.read_parquet(memory).height < 40
