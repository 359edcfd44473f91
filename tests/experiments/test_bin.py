import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chajong.errors import RunError
from chajong.experiments.bin import remove, restore
from chajong.experiments.listing import list_runs
from tests.runs import files, finished, training


def contents(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder).items() if name != ".lock"}


def test_a_run_goes_to_the_bin_and_comes_back(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run = finished(runs / "차종 1")
    other = finished(runs / "other")
    before = contents(run.folder)
    place = remove(run.folder)
    assert place == runs / ".bin" / "차종 1~1"
    assert not run.folder.exists()
    assert [row.run for row in list_runs(runs)] == ["other"]
    assert [row.run for row in list_runs(runs / ".bin")] == ["차종 1~1"]
    assert restore(run.folder) == run.folder
    assert contents(run.folder) == before
    assert not place.exists()
    assert {row.run for row in list_runs(runs)} == {"차종 1", "other"}
    assert other.folder.exists()


def test_several_of_one_name_come_back_the_last_first(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for number in range(11):
        finished(folder)
        (folder / "number").write_text(str(number))
        remove(folder)
    finished(tmp_path / "run~2")
    remove(tmp_path / "run~2")
    for number in (10, 9):
        restore(folder)
        assert (folder / "number").read_text() == str(number)
        folder.rename(tmp_path / f"kept{number}")
    restore(tmp_path / "run~2")
    assert not (tmp_path / "run~2" / "number").exists()


def test_the_place_is_taken(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    place = remove(run.folder)
    finished(tmp_path / "run")
    before = contents(run.folder)
    with pytest.raises(RunError, match=r"is there already\. Rename what is there, or put it away"):
        restore(run.folder)
    assert contents(run.folder) == before
    assert place.exists()


def test_what_is_not_in_the_bin(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no bin beside"):
        restore(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    remove(finished(tmp_path / "a").folder)
    with pytest.raises(RunError, match=r"There is no 'run' in .*\.bin; it holds 'a'\."):
        restore(tmp_path / "run")
    restore(tmp_path / "a")
    with pytest.raises(RunError, match="it is empty"):
        restore(tmp_path / "run")


def test_what_is_no_run_stays(tmp_path: Path) -> None:
    (tmp_path / "blend").mkdir()
    (tmp_path / "blend" / "blend.json").write_text("{}")
    for path in (tmp_path / "blend", tmp_path / "missing", tmp_path):
        with pytest.raises(RunError, match="is no run"):
            remove(path)
    assert (tmp_path / "blend" / "blend.json").exists()
    assert not (tmp_path / ".bin").exists()


def test_a_damaged_run_can_be_put_away(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run.folder / "run.json").write_text("{")
    remove(run.folder)
    assert not run.folder.exists()


def test_a_run_in_training_stays(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    with training(run.folder), pytest.raises(RunError, match="A process is training"):
        remove(run.folder)
    assert run.folder.exists()
    remove(run.folder)


def test_a_link_stands_for_its_run(tmp_path: Path) -> None:
    run = finished(tmp_path / "real" / "run")
    link = tmp_path / "link"
    link.symlink_to(run.folder)
    assert remove(link) == tmp_path / "real" / ".bin" / "run~1"
    restore(link)
    assert run.folder.is_dir()


KILLED = """
import os, sys
from pathlib import Path
from chajong.experiments.bin import remove, restore

rename = Path.rename
def rename_and_die(path, target):
    if sys.argv[3] == "after":
        rename(path, target)
    os.kill(os.getpid(), 9)

Path.rename = rename_and_die
{"rm": remove, "restore": restore}[sys.argv[2]](Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["rm", "restore"])
def test_a_process_killed_at_any_moment_leaves_the_run_whole(
    verb: str, moment: str, tmp_path: Path
) -> None:
    run = finished(tmp_path / "run")
    before = contents(run.folder)
    if verb == "restore":
        remove(run.folder)
    command = [sys.executable, "-c", KILLED, str(run.folder), verb, moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    places = [path for path in (run.folder, tmp_path / ".bin" / "run~1") if path.exists()]
    assert places == [run.folder if (verb == "rm") == (moment == "before") else places[0]]
    assert contents(places[0]) == before
    # The next process finds nothing in its way.
    if places[0] != run.folder:
        restore(run.folder)
    remove(run.folder)
    restore(run.folder)
    assert contents(run.folder) == before
