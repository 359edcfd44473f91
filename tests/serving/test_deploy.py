"""The container and the unit: linted and read, for there is no engine to run them in."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from chajong.bundle import Bundle
from chajong.cli import app
from chajong.serving.service.settings import Limits
from tests.serving.running import form, running

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
UNIT = ROOT / "deploy" / "chajong.service"


def instructions() -> list[tuple[str, str]]:
    """What the Dockerfile says, comments left out and each instruction on one line."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (x.partition(" ") for x in lines if x)]


def said(wanted: str) -> list[str]:
    return [rest for word, rest in instructions() if word == wanted]


def unit() -> dict[str, list[str]]:
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if re.match(r"\w+=", line)]
    found: dict[str, list[str]] = {}
    for key, _, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def accept(arguments: list[str]) -> None:
    """Refuses unknown options and missing arguments; runs nothing."""
    command = get_command(app)
    context = command.make_context("chajong", list(arguments))
    name, serve, rest = command.resolve_command(context, list(arguments))  # type: ignore[attr-defined]
    assert name == "serve"
    serve.make_context(name, rest)


def test_the_image_holds_the_service_alone() -> None:
    assert said("RUN")[-1].startswith("/opt/chajong/bin/pip install --compile '.[serve]'")
    assert all(re.fullmatch(r"python:[\d.]+-slim-\w+( AS build)?", base) for base in said("FROM"))
    assert "PIP_CONSTRAINT=/source/constraints.txt" in said("ENV")[0]
    (copied,) = (rest for rest in said("COPY") if rest.startswith("--from"))
    assert copied == "--from=build /opt/chajong /opt/chajong"


def test_the_image_runs_as_nobody() -> None:
    last = max(place for place, (word, _) in enumerate(instructions()) if word == "FROM")
    after = dict(instructions()[last:])
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", after["USER"])
    entry, arguments = json.loads(after["ENTRYPOINT"]), json.loads(after["CMD"])
    assert entry[0] == "chajong"
    accept([*entry[1:], *arguments])


def test_only_what_the_image_needs_is_sent_to_its_building() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        name.removeprefix("./")
        for rest in said("COPY")
        if not rest.startswith("--from")
        for name in rest.split()[:-1]
    }
    assert let_in == copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert not any(fnmatch("src/chajong/serving/page/page.js", rule) for rule in rules[1:])


def test_health_is_asked_for_by_python(exported: Bundle, tmp_path: Path) -> None:
    (check,) = said("HEALTHCHECK")
    program, option, code = json.loads(check.partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    port = json.loads(said("CMD")[0])[-1]
    assert f":{port}/" in code
    assert said("EXPOSE") == [port]

    def healthy(to: int) -> bool:
        asked = [sys.executable, option, code.replace(f":{port}/", f":{to}/")]
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    with running(exported.folder, tmp_path / "log") as service:
        assert healthy(service.port)
    assert not healthy(service.port)


def test_the_unit_starts_what_there_is() -> None:
    found = unit()
    (start,) = found["ExecStart"]
    program, *arguments = shlex.split(start)
    assert Path(program).name == "chajong"
    accept(arguments)
    assert found["KillSignal"] == ["SIGTERM"]
    assert found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    limits = Limits()
    assert int(found["TimeoutStopSec"][0]) > limits.body_s + limits.deadline_s + 5


NO_NEW_CODE = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    print("the kernel cannot", flush=True)
else:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_it_answers_without_writing_code_into_memory(exported: Bundle) -> None:
    found = unit()
    assert found["MemoryDenyWriteExecute"] == ["yes"]
    settings = dict(one.split("=") for one in found["Environment"][0].split())
    serve = ["-m", "chajong", "serve", str(exported.folder), "--port", "0"]
    serve += ["--runtime", "onnxruntime"]
    with subprocess.Popen(
        [sys.executable, "-c", NO_NEW_CODE, *serve],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=60)
    if line.startswith("the kernel cannot"):
        pytest.skip("the kernel is too old")
    assert line.startswith("http://"), errors
    assert process.returncode == 0


NOTHING_WRITTEN = """
for place in $(awk '{ print $2 }' /proc/mounts); do
    mount -o remount,bind,ro "$place" 2> /dev/null
done
if touch "$1" 2> /dev/null; then exit 1; fi
shift
exec "$@"
"""


def test_it_answers_where_nothing_can_be_written(
    exported: Bundle, photos: Path, tmp_path: Path
) -> None:
    # As in the container: a read-only file system. A photo of four megabytes is one that a
    # server's usual form reader would put on the disk.
    probe = tmp_path / "probe"
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    read_only = [*unshare, "sh", "-c", NOTHING_WRITTEN, "sh", str(probe)]
    if shutil.which("unshare") is None or subprocess.run([*read_only, "true"]).returncode:
        pytest.skip("nobody but an administrator can make file systems read-only here")
    assert not probe.exists()
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.jpg", quality=92)
    large = (tmp_path / "large.jpg").read_bytes()
    assert len(large) > 3 * 2**20
    small = next(photos.rglob("*.jpg")).read_bytes()
    with running(exported.folder, tmp_path / "log", under=read_only) as service:
        for photo in (small, large):
            assert service.ask("/v1/predict", photo).status == 200
            body = form(("photos", "a.jpg", photo), ("photos", "b.jpg", photo))
            assert service.ask("/v1/batch", *body).status == 200


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint") or shutil.which(
        "hadolint", path=str(Path(sys.executable).parent)
    )
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    made = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (made.stdout, made.returncode) == ("", 0)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    text = UNIT.read_text(encoding="utf-8")
    there = tmp_path / UNIT.name
    there.write_text(text.replace("/opt/chajong/bin/chajong", sys.executable), encoding="utf-8")

    def analyze(*arguments: str) -> str:
        command = ["systemd-analyze", *arguments, str(there)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stderr

    assert analyze("verify") == ""
    # In tenths, from 0 (nothing is open) to 100.
    analyze("security", "--offline=true", "--threshold=15")
