import os
import pty
import re
import subprocess
import sys

import pytest

from chajong.progress import Progress, duration, say, seconds_left

WORK = """
import time
from chajong import progress
progress._PLAIN_EVERY_S = 0.1
with progress.Progress("reading [photos]", 1040) as bar:
    bar.skip(1000)
    for number in range(40):
        time.sleep(0.02)
        bar.advance(facts=f"loss {number}")
        if number == 20:
            bar.note("halfway [bold] there")
"""


def plain(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr


def on_a_terminal(code: str) -> str:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "25"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(ours)
        assert process.wait() == 0
    return shown.decode()


def figures(line: str) -> tuple[int, float]:
    """How many are done, and the rate."""
    found = re.search(r"([\d,]+)(?:/1,040)? photos.* ([\d.]+) photos/s", line)
    assert found is not None, line
    return int(found[1].replace(",", "")), float(found[2])


def test_plain_lines_where_no_one_watches() -> None:
    *lines, last = plain(WORK).splitlines()
    assert "halfway [bold] there" in lines
    lines.remove("halfway [bold] there")
    counts = []
    for line in lines:
        count, rate = figures(line)
        counts.append(count)
        # At most 50 a second, for each takes 0.02 s; the 1,000 that were skipped do not count.
        assert 1 < rate <= 50
        assert re.fullmatch(
            r"reading \[photos\]: 1,0\d\d/1,040 photos, [\d.]+ photos/s, loss \d+, \d+ s left", line
        )
        left_s = float(line.split()[-3])
        assert left_s == pytest.approx((1040 - count) / rate, abs=0.6)
    assert counts == sorted(counts)
    assert re.fullmatch(r"reading \[photos\]: 40 photos in \d+ s, [\d.]+ photos/s, loss 39", last)
    rate = figures(last)[1]
    assert 1 < rate <= 50
    # A line each 0.1 s, not a line a photo.
    assert 3 <= len(lines) <= 40 / rate / 0.1 + 1


def test_a_bar_on_a_terminal() -> None:
    shown = on_a_terminal(WORK)
    assert "━" in shown
    assert "\x1b[" in shown
    assert "halfway [bold] there" in shown
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "reading [photos]" in text
    assert re.search(r"10[0-3]\d/1040 [\d.]+ photos/s, loss \d+, \d+ s left", text)
    last = text.strip().splitlines()[-1].rpartition("\r")[2]
    assert re.fullmatch(r"reading \[photos\]: 40 photos in \d+ s, [\d.]+ photos/s, loss 39", last)


def test_a_job_that_fails_does_not_claim_to_be_done(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), Progress("reading photos", 3):
        raise KeyError
    assert capfd.readouterr().err == ""


def test_a_quiet_job_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("reading photos", 3, quiet=True) as progress:
        progress.advance(3)
        progress.note("a note")
    assert capfd.readouterr() == ("", "")


def test_a_job_of_nothing_and_one_of_more_than_was_said(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("reading photos", 0):
        pass
    with Progress("making pairs", 1, "pairs") as progress:
        progress.advance(2000)
    nothing, more = capfd.readouterr().err.splitlines()
    assert nothing == "reading photos: 0 photos in 0 s, 0 photos/s"
    assert more.startswith("making pairs: 2,000 pairs in 0 s, ")


def test_slow_work_has_a_rate() -> None:
    code = (
        "import time\nfrom chajong.progress import Progress\n"
        "with Progress('training', 1, 'folds') as bar:\n    time.sleep(0.5)\n    bar.advance()\n"
    )
    found = re.fullmatch(r"training: 1 folds in \d s, ([\d.]+) folds/s\n", plain(code))
    assert found is not None
    assert 0 < float(found[1]) <= 2


def test_the_time_left_where_units_differ() -> None:
    def effort(units: int) -> float:
        return units if units < 10 else 4 * units - 30  # from the tenth on four times as long

    assert seconds_left(10, 0, 5, 20, float) == 30
    assert seconds_left(10, 0, 5, 20, effort) == 90
    assert seconds_left(10, 8, 10, 20, effort) == 200
    assert seconds_left(10, 0, 20, 20, effort) == 0
    code = WORK.replace("1040)", "1040, effort=lambda units: units + 1000 * (units == 1040))")
    lines = [line for line in plain(code).splitlines() if line.endswith((" s left", " min left"))]
    for line in lines:
        count, rate = figures(line)
        *_, left, unit, _ = line.split()
        seconds = float(left) * (60 if unit == "min" else 1)
        assert seconds == pytest.approx((2040 - count) / rate if count < 1040 else 0, rel=0.1)
    assert lines


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (762, "12.7 min"),
        (5399, "90.0 min"),
        (5400, "1.5 h"),
        (11520, "3.2 h"),
        (1e6, "277.8 h"),
    ],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_work_goes_on_where_nobody_reads_any_more() -> None:
    code = "from chajong.progress import Progress, say\nsay('a')\n"
    code += "with Progress('reading', 1) as progress:\n  progress.advance(1)\nprint('done')"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        made = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, check=False
        )
    finally:
        os.close(writer)
    assert made.stdout == b"done\n"


def test_say(capfd: pytest.CaptureFixture[str]) -> None:
    say("한 줄")
    assert capfd.readouterr() == ("", "한 줄\n")
