import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chajong
from chajong.environment import (
    code_fingerprint,
    describe_environment,
    memory_bytes,
    num_cores,
    package_version,
    peak_memory_bytes,
)

PACKAGE = Path(chajong.__file__).parent


def copied(folder: Path) -> Path:
    """A copy of the package, as an installation would have it."""
    shutil.copytree(
        PACKAGE, folder / "chajong", ignore=shutil.ignore_patterns("__pycache__", ".*_cache")
    )
    return folder


def asked(folder: Path, question: str) -> str:
    code = f"from chajong import environment\nprint(environment.{question})"
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return made.stdout.strip()


def test_the_environment_can_be_kept_as_json() -> None:
    found = describe_environment()
    assert json.loads(json.dumps(found)) == found
    assert found["python"].split(".")[0] == "3"
    assert found["packages"]["numpy"] == package_version("numpy")
    assert found["cores"] == num_cores()
    assert found["code"] == code_fingerprint()
    assert found["command"] == sys.argv


def test_versions() -> None:
    assert package_version("pytest")
    assert package_version("no-such-package") is None


def test_cores_are_those_that_this_process_may_use() -> None:
    one = min(os.sched_getaffinity(0))
    code = "from chajong.environment import num_cores\nprint(num_cores())"
    pinned = f"import os\nos.sched_setaffinity(0, {{{one}}})\n{code}"
    made = subprocess.run(
        [sys.executable, "-c", pinned], capture_output=True, text=True, check=True
    )
    assert made.stdout == "1\n"
    assert 1 <= num_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("max 100000\n", 64), ("200000 100000\n", 2), ("50000 100000\n", 1), ("9900000 100000", 64)],
)
def test_cores_of_a_container(
    said: str, wanted: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr("chajong.environment._CONTAINER", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert num_cores() == wanted


def test_limits_of_a_service_of_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Its own group says how much memory it may take; the one around it, how long it may compute.
    own = tmp_path / "system.slice" / "chajong.service"
    own.mkdir(parents=True)
    (own / "memory.max").write_text("104857600\n")
    (own / "cpu.max").write_text("max 100000\n")
    (own.parent / "memory.max").write_text("max\n")
    (own.parent / "cpu.max").write_text("300000 100000\n")
    (tmp_path / "where").write_text("0::/system.slice/chajong.service\n")
    monkeypatch.setattr("chajong.environment._CONTAINER", tmp_path)
    monkeypatch.setattr("chajong.environment._WHERE_IN_IT", tmp_path / "where")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert memory_bytes() == 100 * 2**20
    assert num_cores() == 3
    # Without a word of where it is, as on other systems, those of the whole hold.
    (tmp_path / "memory.max").write_text("209715200\n")
    (tmp_path / "where").unlink()
    assert memory_bytes() == 200 * 2**20


def test_memory_is_at_most_the_machines() -> None:
    total = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    assert 2**26 < memory_bytes() <= int(total) * 1024


def test_code_has_a_fingerprint_of_its_content(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    before = asked(folder, "code_fingerprint()")
    assert before == code_fingerprint()
    (folder / "chajong" / "notes.txt").write_text("no code")
    assert asked(folder, "code_fingerprint()") == before
    with (folder / "chajong" / "errors.py").open("a") as file:
        file.write("# changed\n")
    after = asked(folder, "code_fingerprint()")
    assert len(after) == 16
    assert after != before


def test_the_commit_is_of_this_project_and_not_of_one_around_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "x")
    installed = copied(tmp_path / "venv" / "lib" / "site-packages")
    assert asked(installed, "_commit()") == "None"
    checkout = copied(tmp_path / "src")
    assert asked(checkout, "_commit()") == git("rev-parse", "--short=12", "HEAD")


def test_peak_memory_is_of_the_program_and_not_of_what_started_it() -> None:
    held = np.ones(2**27, np.uint8)  # 128 MiB here, which the child must not count
    code = "from chajong.environment import peak_memory_bytes as peak; before = peak()\n"
    code += "held = bytearray(b'x' * 2**25); print(before, peak())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after - before >= 2**25
    assert before < 2**27 <= peak_memory_bytes()
    assert held.nbytes == 2**27
