"""A training can be watched while it goes on: what it writes, the terminal, the page."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from chajong.errors import RunError
from chajong.live import FILE, Live, ModelState, model_states
from chajong.progress import Interrupted
from chajong.recipe_model import Data, Grow
from chajong.reporting.watch import _picture, sparkline, summary
from chajong.run import Run, finish_model
from chajong.training import infer
from chajong.training import telling as module
from tests.training.conftest import Job
from tests.training.processes import end, start_training
from tests.training.test_going_on import ringing
from tests.training.tiny import make_fit, make_recipe

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def all_that_is_told(monkeypatch: pytest.MonkeyPatch) -> list[Live]:
    seen: list[Live] = []
    monkeypatch.setattr(module, "_SHOWN_EVERY_S", 0.0)
    monkeypatch.setattr(Live, "save", lambda self, _: seen.append(self))
    return seen


def at_steps(seen: list[Live]) -> list[Live]:
    """Without those that follow a step only to tell that the validation goes on."""
    return [next(alike) for _, alike in groupby(seen, lambda live: live.done)]


def test_what_is_written_while_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = all_that_is_told(monkeypatch)
    history = make_fit(tmp_path, make_recipe(train_epochs=3)).run()
    seen = at_steps(seen)
    assert [round(live.done * 9, 6) for live in seen] == [*range(1, 10)]
    assert [len(live.history) for live in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert seen[-1].history[1] == history[1]
    assert seen[-1].seconds_left == 0
    assert all(live.photos_per_s > 0 for live in seen)
    left = [live.seconds_left for live in seen]
    assert left[1] > left[-2] > 0


def test_a_training_that_is_stopped_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = all_that_is_told(monkeypatch)
    with pytest.raises(Interrupted):
        ringing(make_fit(tmp_path, make_recipe(train_epochs=3)), step=5).run()
    assert [live.stopped for live in seen] == [*(False for _ in seen[1:]), True]
    seen.clear()
    make_fit(tmp_path, make_recipe(train_epochs=3)).run()
    assert not any(live.stopped for live in seen)


def test_a_long_validation_is_not_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer, "_BATCH", 4)
    seen = all_that_is_told(monkeypatch)
    fit = make_fit(tmp_path, make_recipe(train_epochs=1))
    fit.run()
    assert fit.fold.validation is not None
    seen.clear()
    begin = time.time()
    fit.look(fit.fold.validation, ("plain",), averaged=False)
    assert len(seen) == -(-len(fit.fold.validation) // 4) > 1
    assert {live.done for live in seen} == {1.0}
    assert begin < seen[0].time_s < seen[-1].time_s
    monkeypatch.setattr(module, "_SHOWN_EVERY_S", 3600.0)
    fit.look(fit.fold.validation, ("plain",), averaged=False)
    assert len(seen) == -(-len(fit.fold.validation) // 4)


def test_the_time_left_knows_that_photos_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = all_that_is_told(monkeypatch)
    data = Data(size_px=24, grow=(Grow(after=0.5, size_px=48),), eval_px=48)
    fit = make_fit(tmp_path, make_recipe(data=data, train_epochs=4))
    fit.run()
    seen = at_steps(seen)
    steps = len(seen) // 4
    # Pixels of the rest over those of what is done, an epoch of small photos being one.
    for place, rest in ((steps // 3, 10 - 1 / 3), (steps, 9.0), (2 * steps, 8.0), (3 * steps, 4.0)):
        live = seen[place - 1]
        took_s = place * fit.batches.rows / live.photos_per_s
        assert live.seconds_left == pytest.approx(took_s * rest / (10 - rest))


def test_states_of_models(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.load(shutil.copytree(finished.folder, tmp_path / "run"))
    assert [state.status for state in model_states(run)] == ["done", "done"]
    assert all(len(state.history) == 4 for state in model_states(run))
    (run.model_folder("1") / "done.json").unlink()
    assert model_states(run)[1].status == "waiting"
    live = Live(4, 0.3, 1.5, 100.0, 60.0, history=(run.history("1")[0],))
    live.save(run.model_folder("1"))
    state = model_states(run)[1]
    assert (state.status, state.live) == ("training", live)
    assert summary([state])[0][:4] == ("fold 1", "training", "1.2 of 4", "1.500")
    Live(4, 0.3, 1.5, 100.0, 60.0, time_s=time.time() - 300).save(run.model_folder("1"))
    assert model_states(run)[1].status == "silent"
    # What is stopped is never silent.
    Live(4, 0.3, 1.5, 100.0, 60.0, time_s=time.time() - 300, stopped=True).save(
        run.model_folder("1")
    )
    assert model_states(run)[1].status == "stopped"
    (run.model_folder("1") / FILE).write_text("{")
    with pytest.raises(RunError, match="damaged"):
        model_states(run)

    # A fold that ends while it is looked at.
    def end(*_: object) -> None:
        (run.model_folder("1") / FILE).unlink()
        finish_model(run.model_folder("1"), run.facts("0"), run.history("0"))
        raise RunError("is damaged: No such file")

    monkeypatch.setattr("chajong.live.read_json", end)
    assert model_states(run)[1].status == "done"


def test_a_sparkline_goes_from_low_to_high() -> None:
    assert sparkline([1, 2, 3]) == "▁▅█"
    assert sparkline([2, 2]) == "▁▁"
    assert sparkline([]) == ""
    assert len(sparkline(range(100))) == 24


@contextmanager
def training(job: Job) -> Iterator[None]:
    """A training of many epochs, from its first sign of life until it is killed."""
    recipe, said = job.out.with_name("long.yaml"), job.out.with_name("said.txt")
    text = job.recipe.read_text(encoding="utf-8").replace("epochs: 4", "epochs: 5000")
    recipe.write_text(text.replace("patience: 3", "patience: 5000"), encoding="utf-8")
    process = start_training(job.photos, recipe, job.out, job.cache, said)
    try:
        limit = time.monotonic() + 60
        while not list(job.out.glob(f"*/{FILE}")):
            assert process.is_alive(), said.read_text(encoding="utf-8")
            assert time.monotonic() < limit
            time.sleep(0.1)
        yield
    finally:
        end(process)


@contextmanager
def page_of(run: Path) -> Iterator[str]:
    """The address of `chajong watch --page`, by the real command."""
    command = [sys.executable, "-m", "chajong", "watch", str(run), "--page", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_training_is_watched(job: Job) -> None:
    with training(job):
        said = subprocess.run(
            [sys.executable, "-m", "chajong", "watch", str(job.out)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert re.search(r"fold 0\s+training\s+\d+\.\d of 5000", said)
        assert re.search(r"fold 1\s+waiting", said)
        with page_of(job.out) as url:
            asked = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            wait_until_up(url)
            assert "<main" in asked.open(url).read().decode()
            base = url.partition("/?")[0]
            first = asked.open(f"{base}/now").read().decode()
            assert "training" in first
            assert "</svg>" in first
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(f"{base}/now")
    # A stopped training keeps its last word; finished ones leave none behind.
    assert json.loads(next(job.out.glob(f"*/{FILE}")).read_text())["done"] < 1


def wait_until_up(url: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
        else:
            return


def test_a_finished_run_leaves_no_live_file(finished: Run) -> None:
    assert not list(finished.folder.glob(f"*/{FILE}"))


def test_the_page_shows_curves_by_itself(finished: Run, browser: "Browser") -> None:
    with page_of(finished.folder) as url:
        wait_until_up(url)
        shown = browser.new_page(viewport={"width": 390, "height": 800})
        wrong: list[str] = []
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("console", lambda message: wrong.append(message.text))
        shown.goto(url)
        shown.locator("svg").first.wait_for()
        assert shown.title() == finished.folder.name
        assert shown.evaluate("location.search") == ""
        assert shown.locator("svg").count() == 4
        assert shown.locator("tbody tr").count() == 2
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        line = shown.locator("path.line").first
        assert line.evaluate("each => getComputedStyle(each).fill") == "none"
        assert wrong == []
    # Nobody answers any more: what stands there is old, and says so.
    shown.get_by_role("alert").get_by_text("No answer since").wait_for()
    assert shown.locator("svg").count() == 4
    shown.close()


class Terminal:
    """A program on a terminal of its own, as a user has it."""

    def __init__(self, *words: str) -> None:
        self.screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        # The terminal is the one that Ctrl-C on it is heard by.
        # What runs in the background is deaf to it, and so were its children.
        code = """import os, runpy, signal
os.login_tty(0)
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("chajong", run_name="__main__")"""
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(theirs)
        self.said = ""

    def until(self, wanted: str, limit_s: float = 60) -> str:
        """What it writes until something is written."""
        start, end = len(self.said), time.monotonic() + limit_s
        while wanted not in self.said[start:]:
            assert time.monotonic() < end, self.said[start:]
            if select.select([self.screen], [], [], 0.2)[0]:
                self.said += os.read(self.screen, 65536).decode("utf-8", "replace")
        return self.said[start:]

    def end(self) -> int:
        end = time.monotonic() + 30
        with suppress(OSError):  # the other side is closed
            while time.monotonic() < end and select.select([self.screen], [], [], 10)[0]:
                if not os.read(self.screen, 65536):
                    break
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()  # does nothing to one that has ended
        code = self.process.wait()
        os.close(self.screen)
        return code


def test_a_terminal_shows_a_training_until_it_is_over(finished: Run, tmp_path: Path) -> None:
    run = Run.load(shutil.copytree(finished.folder, tmp_path / "run"))
    model = run.model_folder("1")
    done, entry = (model / "done.json").read_bytes(), run.history("1")[0]
    (model / "done.json").unlink()
    rising = tuple({**entry, "epoch": 1 + at, "log_loss": 1.0 + at} for at in range(3))
    Live(4, 0.3, 1.5, 100.0, 60.0, history=rising).save(model)
    terminal = Terminal("watch", str(run.folder))
    terminal.until("1.2 of 4")
    terminal.until("▁▅█")
    Live(4, 0.6, 1.25, 90.0, 30.0, history=rising).save(model)
    terminal.until("2.4 of 4")  # it looks again by itself
    (model / "done.json").write_bytes(done)
    assert terminal.end() == 0


def test_ctrl_c_ends_the_watching_and_not_the_training(finished: Run, tmp_path: Path) -> None:
    run = Run.load(shutil.copytree(finished.folder, tmp_path / "run"))
    (run.model_folder("1") / "done.json").unlink()
    Live(4, 0.3, 1.5, 100.0, 60.0).save(run.model_folder("1"))
    terminal = Terminal("watch", str(run.folder))
    terminal.until("1.2 of 4")
    os.write(terminal.screen, b"\x03")
    assert terminal.end() == 130
    assert (run.model_folder("1") / FILE).is_file()


def test_a_narrow_terminal_shows_the_newest_of_a_curve(finished: Run) -> None:
    history = tuple({"loss": 1.0, "log_loss": 1 - at / 25, "top1": at / 30} for at in range(20))
    state, curves = ModelState("0", "done", None, history), []
    for width in (120, 80, 70):
        with StringIO() as out:
            Console(file=out, width=width).print(_picture(finished, [state]))
            *figures, curve = out.getvalue().splitlines()[-1].split()
        assert figures == ["fold", "0", "done", "20", "0.2400", "0.6333"]
        curves.append(curve)
    assert 20 == len(curves[0]) > len(curves[1]) > len(curves[2]) > 4
    losses = [entry["log_loss"] for entry in history]
    assert curves == [sparkline(losses, len(curve)) for curve in curves]
