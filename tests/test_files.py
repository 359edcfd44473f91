import os
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from chajong.errors import ResourceError
from chajong.files import (
    fingerprint,
    locked,
    make_folder,
    replacing,
    write_json,
    write_table,
    write_text,
    writing,
)
from tests.others import python, running


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


WRITING_BY_HALVES = """
from chajong.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    with temporary.open("w") as file:
        file.write("half of the new")
        file.flush()
        print("ready", flush=True)
        sys.stdin.readline()
        file.write(" file")
"""


def test_a_file_is_made_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "그랜저.txt"
    write_text(path, "한 줄\n")
    assert path.read_bytes() == "한 줄\n".encode()
    assert names(path.parent) == {path.name}
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to("shared/file.txt")
    for text in ("new", "changed"):
        write_text(link, text)
        assert (tmp_path / "shared/file.txt").read_text() == text
        assert link.is_symlink()
    assert names(tmp_path) == {"shared", "link.txt"}
    assert names(tmp_path / "shared") == {"file.txt"}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == {"x"}


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    texts = [str(digit) * 300_000 for digit in range(10)]
    write_text(path, texts[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for text in texts:
                write_text(path, text)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = [path.read_text() for _ in range(60)]
    stop.set()
    for writer in writers:
        writer.join()
    assert set(seen) <= set(texts)
    assert names(tmp_path) == {"x"}


def test_many_writers_of_one_file_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def write(text: str) -> None:
        for _ in range(150):
            write_text(path, text)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(write, "abcdef")) == [None] * 6  # none failed
    assert path.read_text() in set("abcdef")
    assert names(tmp_path) == {"x"}


def test_a_reader_does_not_see_a_file_in_the_making(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "old")
    with running(WRITING_BY_HALVES, path) as process:
        assert path.read_text() == "old"
        process.communicate("go on\n")
    assert path.read_text() == "half of the new file"
    assert names(tmp_path) == {"x"}


def test_a_killed_process_leaves_the_old_file_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    path = tmp_path / "[x]*"  # with the signs of patterns, which names may have
    write_text(path, "old")
    for _ in range(2):
        with running(WRITING_BY_HALVES, path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
        # Its leftover lies beside the file, and that of the one before does not any more.
        assert path.read_text() == "old"
        assert len(names(tmp_path)) == 2
    write_text(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == {"[x]*"}


def test_tidying_up_spares_a_process_that_is_still_writing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with running(WRITING_BY_HALVES, path) as process:
        write_text(path, "meanwhile")
        assert path.read_text() == "meanwhile"
        process.communicate("go on\n")
        assert process.returncode == 0
    assert path.read_text() == "half of the new file"
    assert names(tmp_path) == {"x"}


def test_tidying_up_spares_files_of_other_names(tmp_path: Path) -> None:
    others = {".x.json", ".x.json.tmp", ".xx.json.12345678.tmp", "x.json.12345678.tmp"}
    for name in others:
        (tmp_path / name).write_text("")
    write_json(tmp_path / "x.json", {})
    assert names(tmp_path) == others | {"x.json"}


def test_a_leftover_that_cannot_be_opened_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".x.12345678.tmp").mkdir()  # as little to be opened as a file of somebody else
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "new"


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.unlink()
            temporary.symlink_to("/dev/full")  # a device that is always full
            temporary.write_text("new")

    with pytest.raises(ResourceError, match=r"Could not write .*/x: the disk is full: free some"):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == {"x"}


ON_A_SMALL_DISK = """
import polars as pl
from chajong.errors import ResourceError
from chajong.files import write_csv, write_json, write_table, write_text
folder = Path(sys.argv[1])
for name, write in {
    "text": lambda path: write_text(path, "x" * 200_000),
    "json": lambda path: write_json(path, list(range(100_000))),
    "table": lambda path: write_table(path, pl.DataFrame({"a": range(200_000)})),
    "csv": lambda path: write_csv(path, pl.DataFrame({"a": range(200_000)})),
}.items():
    (folder / name).write_text("old")
    try:
        write(folder / name)
    except ResourceError as error:
        print(error)
    assert (folder / name).read_text() == "old"
assert len(list(folder.iterdir())) == 4
"""


def test_everything_that_writes_says_so_when_the_disk_is_full(tmp_path: Path) -> None:
    # A real disk, of 64 KiB, in a name space of its own.
    mount = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
    made = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path)),
            *python(ON_A_SMALL_DISK, tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in made.stderr or "mount:" in made.stderr:
        pytest.skip(f"this system lets no one mount a disk: {made.stderr}")
    assert made.stderr == ""
    assert made.stdout.count("the disk is full: free some space") == 4


def test_everything_that_writes_says_so_at_a_limit(tmp_path: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    made = subprocess.run(
        python(limit + ON_A_SMALL_DISK, tmp_path), capture_output=True, text=True, check=False
    )
    assert made.stderr == ""
    assert made.stdout.count("the file is larger than this account or file system allows") == 4


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for path, said in {
        tmp_path / "file" / "x": "a file stands where a folder is needed",
        tmp_path / "file" / "y" / "x": "a file stands where a folder is needed",
        tmp_path / "folder": "a folder stands where the file should be",
        tmp_path / ("가" * 100): "the name is too long",
        tmp_path / "loop" / "x": "a file stands where a folder is needed",
    }.items():
        with pytest.raises(ResourceError, match="Could not write") as caught:
            write_text(path, "x")
        assert said in str(caught.value)
    assert names(tmp_path) == {"file", "folder", "loop"}
    assert names(tmp_path / "folder") == set()


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    # Not tried on a device: without the check this would take the machine's own away.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(ResourceError, match="is a device or a pipe, and no file"):
            write_text(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
            make_folder(path)
    assert make_folder(tmp_path / "a" / "b") == make_folder(tmp_path / "a" / "b")


def test_a_folder_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x"

    def write() -> None:
        with replacing(path) as temporary:
            temporary.unlink()
            path.parent.rmdir()
            temporary.write_text("new")

    with pytest.raises(ResourceError, match="not there any more"):
        write()


def test_errors_that_say_nothing_about_the_place_pass(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError), writing(tmp_path):
        raise TimeoutError
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        raise ZeroDivisionError


def test_json_and_tables_are_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"차": [1, None, 0.5]})
    assert (tmp_path / "x.json").read_text(encoding="utf-8").startswith('{\n  "차": [')
    table = pl.DataFrame({"차": ["쏘나타", None], "n": [1, 2]})
    write_table(tmp_path / "x.parquet", table, {"made": "여기"})
    assert pl.read_parquet(tmp_path / "x.parquet").equals(table)
    assert pl.read_parquet_metadata(tmp_path / "x.parquet")["made"] == "여기"


def test_fingerprint_is_of_the_content() -> None:
    assert fingerprint("a", 1) == fingerprint("a", 1)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    different = [("a",), ("a", None), ("b",), (["a"],), ("a", 1), (1, "a"), ("a1",), (), (1.0,)]
    assert len({fingerprint(*parts) for parts in different}) == len(different)
    assert fingerprint("차종") == "629b9e5f88b9a509"
    assert fingerprint(("a", "b")) == fingerprint(["a", "b"])


HOLDING = """
from chajong.files import locked
with locked(Path(sys.argv[1]), wait=False) as held:
    assert held
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_is_held_by_one_process_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".lock"
    with running(HOLDING, path) as process:
        with locked(path, wait=False) as held:
            assert not held
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(path, wait=False) as held:
            assert held
            with locked(path, wait=False) as again:
                assert not again
    with locked(path, wait=False) as held:
        assert held


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with running(HOLDING, path) as process:
        assert process.stdin is not None
        timer = threading.Timer(0.2, process.stdin.close)
        begin = time.monotonic()
        timer.start()
        with locked(path, wait=True) as held:
            assert held
            assert time.monotonic() - begin >= 0.19


def test_a_lock_whose_folder_goes_while_it_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "work" / ".lock"
    with running(HOLDING, path) as process:
        assert process.stdin is not None

        def end() -> None:
            shutil.rmtree(path.parent)
            assert process.stdin is not None
            process.stdin.close()

        timer = threading.Timer(0.2, end)
        timer.start()
        gone = pytest.raises(ResourceError, match="its folder is not there any more")
        with gone, locked(path, wait=True):
            pass
        timer.join()


def test_an_error_inside_a_lock_passes_and_frees_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with pytest.raises(PermissionError), locked(path, wait=False):
        raise PermissionError(13, "of something else")
    with locked(path, wait=False) as held:
        assert held


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / ".lock", tmp_path):
        with pytest.raises(ResourceError, match="Could not write"), locked(path, wait=False):
            pass
