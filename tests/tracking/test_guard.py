"""Trackers that fail, hang, die or are slow: training goes on, and the user is told once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chajong.choices import Service
from chajong.cli import main
from chajong.errors import TrackerError
from chajong.run import Run
from chajong.tracking.guard import tracked
from chajong.tracking.tracker import check_services
from tests.conftest import SilentServer
from tests.tracking.made import history, made, tensorboard_scalars

# Of a machine that is busy with other things.
LONG_S = 120.0
LINE = json.dumps({"series": "s/epoch", "at": 1, "values": {"loss": 1.0}, "time_s": 0}) + "\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return made(tmp_path / "run", num_done=0)


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "is not told any more" in line]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_hangs_holds_up_the_end_for_a_bounded_time(
    run: Run,
    hanging_mlflow: SilentServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tracked(("mlflow",), run, limit_s=0.5) as trackers:
        trackers.epochs("fold-0", history(0))
        hanging_mlflow.wait()
        begin = time.monotonic()
    assert 0.5 < time.monotonic() - begin < 20
    (said,) = warnings(capsys)
    assert said == (
        f"mlflow is not told any more: it was not done 0.5 s after training was (see "
        f"{run.folder}/mlflow.log). Training goes on. Send the run later: chajong runs push "
        f"{run.folder} --to mlflow"
    )
    assert not is_there(trackers.guards[0].process.pid)


def test_one_that_hangs_takes_no_time_from_the_others(
    run: Run,
    hanging_mlflow: SilentServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tracked(("mlflow", "tensorboard"), run, LONG_S) as trackers:
        slow, quick = (guard.process for guard in trackers.guards)
        trackers.epochs("fold-0", history(0))
        hanging_mlflow.wait()
        os.kill(slow.pid, signal.SIGSTOP)

        def kill_once_the_other_is_done() -> None:
            quick.wait(LONG_S)
            slow.kill()

        watching = threading.Thread(target=kill_once_the_other_is_done)
        watching.start()
    watching.join()
    assert quick.returncode == 0
    (said,) = warnings(capsys)
    assert "mlflow is not told any more: its process ended by signal 9" in said


def test_one_that_is_slow_never_makes_training_wait(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracked(("tensorboard",), run, limit_s=0.5) as trackers:
        (guard,) = trackers.guards
        os.kill(guard.process.pid, signal.SIGSTOP)
        begin = time.monotonic()
        for _ in range(40_000):
            guard.send(LINE.encode())
        assert time.monotonic() - begin < 20
    (said,) = warnings(capsys)
    assert "it does not keep up" in said


def test_one_that_dies_is_told_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with tracked(("tensorboard",), run, LONG_S) as trackers:
        (guard,) = trackers.guards
        guard.process.kill()
        guard.process.wait()
        for _ in range(3):
            trackers.epochs("fold-0", history(0))
    (said,) = warnings(capsys)
    assert "its process ended by signal 9" in said


def test_one_that_fails_says_why(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.folder / "tensorboard").write_text("a file stands where its folder should be")
    with tracked(("tensorboard",), run, LONG_S) as trackers:
        trackers.epochs("fold-0", history(0))
    (said,) = warnings(capsys)
    assert "File exists" in said
    assert said.endswith(f"chajong runs push {run.folder} --to tensorboard")


def test_a_process_that_waits_too_long_for_a_server_ends(silent_server: SilentServer) -> None:
    code = """
import sys, urllib.request
from chajong.tracking import relay
relay.PATIENCE_S = 1
with relay.patience():
    urllib.request.urlopen(sys.argv[1])
"""
    process = subprocess.run([sys.executable, "-c", code, silent_server.uri], check=False)
    assert silent_server.taken
    assert process.returncode == -signal.SIGALRM


def test_when_training_is_killed_what_was_told_is_kept(run: Run) -> None:
    training = """
import os, sys
from pathlib import Path
from chajong.run import Run
from chajong.tracking.guard import tracked
with tracked(("tensorboard",), Run.load(Path(sys.argv[1]))) as trackers:
    trackers.epochs("fold-0", [{"epoch": 1, "loss": 0.25}])
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", training, str(run.folder)], check=False)
    for _ in range(1200):
        if (run.folder / "tensorboard/fold-0").exists():
            break
        time.sleep(0.1)
    # The next one waits until that one is through.
    with tracked(("tensorboard",), run, LONG_S) as trackers:
        trackers.epochs("fold-0", [{"epoch": 1, "loss": 0.25}, {"epoch": 2, "loss": 0.125}])
    assert tensorboard_scalars(run.folder) == [
        ("fold-0/epoch/loss", 1, 0.25),
        ("fold-0/epoch/loss", 2, 0.125),
    ]


def test_services_are_known_and_installed() -> None:
    assert check_services(["tensorboard", "mlflow", "tensorboard"]) == ("mlflow", "tensorboard")
    assert check_services([]) == ()
    with pytest.raises(TrackerError, match=r"Got 'wandv' \(did you mean 'wandb'\?\)"):
        check_services(["wandv"])


@pytest.mark.parametrize("service", ["wandb", "mlflow", "tensorboard"])
def test_what_is_missing_is_told_before_anything_is_done(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, service, None)
    words = ["chajong", "train", "nowhere", "--recipe", "nothing", "--track", service]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == (
        f"chajong: Runs cannot be tracked by {service} yet: not installed. Run: pip install "
        f"--constraint constraints.txt --editable '.[{service}]' (in the project's folder)\n"
    )
