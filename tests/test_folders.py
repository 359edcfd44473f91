"""A folder takes the place of another one whole, or not at all."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chajong import folders
from chajong.errors import ResourceError
from chajong.folders import replacing_folder

WRITING = """
import sys, time
from pathlib import Path
from chajong.folders import replacing_folder
for number in range(100000):
    with replacing_folder(Path(sys.argv[1])) as draft:
        for name in "abc":
            (draft / name).write_text(str(number))
    print(number, flush=True)
"""


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(place: Path, text: str) -> None:
    with replacing_folder(place) as draft:
        (draft / "a").write_text(text)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_is_made_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:  # as on a file system that cannot exchange
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    place = tmp_path / "deep" / "place"
    for text in ("first", "second"):
        fill(place, text)
        assert contents(place) == {"a": text}
    with pytest.raises(TypeError):
        fill(place, 3)  # type: ignore[arg-type]
    assert contents(place) == {"a": "second"}
    assert [path.name for path in place.parent.iterdir()] == ["place"]


def test_this_system_exchanges_at_once(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert folders._exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "other").exists()
    assert not folders._exchange(tmp_path / "one", tmp_path / "missing")


def test_a_kill_at_any_moment_leaves_a_whole_folder(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for moment in range(12):
        command = [sys.executable, "-c", WRITING, str(place)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moment * 0.0007)
            process.send_signal(signal.SIGKILL)
        found = contents(place)
        assert set(found) == set("abc")
        assert len(set(found.values())) == 1
    fill(place, "last")
    assert contents(place) == {"a": "last"}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_kill_between_two_steps_is_put_right_by_the_next(tmp_path: Path) -> None:
    place = tmp_path / "place"
    fill(place, "old")
    place.rename(tmp_path / ".place.old")
    (tmp_path / ".place.new").mkdir()
    with pytest.raises(ValueError, match="no"), replacing_folder(place):
        raise ValueError("no")
    assert contents(place) == {"a": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_ctrl_c_between_two_steps_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, rename = tmp_path / "place", Path.rename
    place.mkdir()
    (place / "old").touch()

    def stopped(self: Path, to: Path) -> Path:
        if self.name.endswith(".new"):
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr("chajong.folders._exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt), replacing_folder(place) as draft:
        (draft / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "old"]


def test_what_was_copied_from_a_read_only_place_is_taken_away(tmp_path: Path) -> None:
    place = tmp_path / "place"
    fill(place, "old")
    with replacing_folder(place) as draft:
        (draft / "deep").mkdir()
        (draft / "deep" / "a").write_text("new")
        (draft / "deep").chmod(0o555)
    fill(place, "last")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_two_writers_of_one_place(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with replacing_folder(place) as draft:
        with (
            pytest.raises(ResourceError, match="Another process is writing"),
            replacing_folder(place),
        ):
            raise AssertionError
        (draft / "a").write_text("first")
    assert contents(place) == {"a": "first"}
