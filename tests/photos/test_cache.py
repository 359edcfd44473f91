import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chajong.errors import DataError, ResourceError
from chajong.photos.cache import Cache, build_cache, cache_bytes, default_cache_folder
from chajong.photos.preprocess import Preprocess

SQUASH = Preprocess(32, "squash")

# Builds the cache of all photos in a folder, as soon as it is told to go.
CHILD = """
import hashlib, sys, time
from pathlib import Path
from chajong.photos.cache import build_cache
from chajong.photos.preprocess import Preprocess
photos, folder = map(Path, sys.argv[1:])
paths = list(photos.iterdir())
files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}
print("ready", flush=True)
sys.stdin.readline()
build_cache(files, Preprocess(32, "squash"), folder)
"""


def make_photos(folder: Path, num: int, side_px: int = 40) -> dict[str, Path]:
    """Photos of which no two are alike; the file's end makes it, so that thousands are quick."""
    folder.mkdir()
    files = {}
    for number in range(num):
        image = Image.new("RGB", (side_px, side_px), (number % 251, number // 251 * 10, 99))
        buffer = BytesIO()
        image.save(buffer, "PNG", compress_level=0)
        path = folder / f"{number:05}.jpg"
        path.write_bytes(buffer.getvalue())
        files[hashlib.sha256(buffer.getvalue()).hexdigest()] = path
    return files


def start_child(photos: Path, folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(photos), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def num_made(stderr: str) -> int:
    """How many photos a build says to have opened."""
    said = re.search(r"caching photos: ([\d,]+) photos in", stderr)
    return int(said[1].replace(",", "")) if said else 0


def check(cache: Cache, files: dict[str, Path]) -> None:
    """Each photo's own pixels lie in its row."""
    assert sorted(cache.rows) == sorted(files)
    assert sorted(cache.rows.values()) == list(range(len(files)))
    for sha256, path in files.items():
        assert (cache.pixels[cache.rows[sha256]] == SQUASH(path.read_bytes())).all(), path


def test_each_photo_has_its_own_pixels(tmp_path: Path) -> None:
    files = make_photos(tmp_path / "photos", 700)
    cache = build_cache(files, SQUASH, tmp_path / "cache")
    assert cache.pixels.shape == (700, 32, 32, 3)
    assert cache.pixels.dtype == np.uint8
    assert not cache.pixels.flags.writeable
    check(cache, files)


def test_says_its_size_and_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = make_photos(tmp_path / "photos", 20)
    first = build_cache(files, SQUASH, tmp_path / "cache")
    said = capsys.readouterr().err
    assert said.index("20 photos at 32 px take 0.1 MB") < said.index("caching photos: 20 photos")
    for path in files.values():
        path.unlink()  # what is there is not read again
    second = build_cache(files, SQUASH, tmp_path / "cache")
    assert capsys.readouterr().err == ""
    assert (second.pixels == first.pixels).all()
    assert second.rows == first.rows


def test_the_key_is_the_content_and_the_preprocessing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_photos(tmp_path / "photos", 6)
    build_cache(files, SQUASH, tmp_path / "cache")
    moved = {sha256: path.rename(path.with_suffix(".png")) for sha256, path in files.items()}
    capsys.readouterr()
    build_cache(dict(reversed(moved.items())), SQUASH, tmp_path / "cache")
    assert num_made(capsys.readouterr().err) == 0
    for preprocess in (Preprocess(32, "crop"), Preprocess(33, "squash")):
        cache = build_cache(moved, preprocess, tmp_path / "cache")
        assert num_made(capsys.readouterr().err) == 6
        assert cache.pixels.shape[1] == preprocess.size_px
    fewer, others = dict(list(moved.items())[:3]), dict(list(moved.items())[3:])
    for files in (fewer, others):
        check(build_cache(files, SQUASH, tmp_path / "cache"), files)
    monkeypatch.setattr("chajong.photos.preprocess._VERSION", 0)
    capsys.readouterr()
    build_cache(moved, SQUASH, tmp_path / "cache")
    assert num_made(capsys.readouterr().err) == 6


def test_killed_half_way_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = make_photos(tmp_path / "photos", 2000)
    folder = tmp_path / "cache"
    child = start_child(tmp_path / "photos", folder)
    go(child)
    num_done = 0
    while num_done == 0:
        assert child.poll() is None
        for done in folder.glob("*.done"):
            num_done = done.read_bytes().count(1)
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    (done,) = folder.glob("*.done")
    num_done = done.read_bytes().count(1)
    assert 0 < num_done < 2000
    capsys.readouterr()
    cache = build_cache(files, SQUASH, folder)
    assert num_made(capsys.readouterr().err) == 2000 - num_done
    check(cache, files)
    whole = build_cache(files, SQUASH, tmp_path / "other")
    assert (cache.pixels == whole.pixels).all()


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    files = make_photos(tmp_path / "photos", 1500)
    first, second = (start_child(tmp_path / "photos", tmp_path / "cache") for _ in range(2))
    go(first)
    while not list(tmp_path.glob("cache/*.done")):
        assert first.poll() is None
    first.send_signal(signal.SIGSTOP)  # so that the second certainly meets it at work
    go(second)
    assert second.stderr is not None
    assert "another process is making the same one; waiting" in second.stderr.readline()
    first.send_signal(signal.SIGCONT)
    said = [child.communicate(timeout=60)[1] for child in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert [num_made(text) for text in said] == [1500, 0]
    check(build_cache(files, SQUASH, tmp_path / "cache"), files)


def test_refuses_more_than_the_limit_before_any_work(tmp_path: Path) -> None:
    files = make_photos(tmp_path / "photos", 5)
    need = cache_bytes(5, SQUASH)
    assert need == 5 * 32 * 32 * 3
    with pytest.raises(ResourceError, match=r"5 photos at 32 px .* --cache-limit or .*size_px"):
        build_cache(files, SQUASH, tmp_path / "cache", limit_bytes=need - 1)
    assert not (tmp_path / "cache").exists()
    check(build_cache(files, SQUASH, tmp_path / "cache", limit_bytes=need), files)


def test_refuses_more_than_the_free_disk_before_any_work(tmp_path: Path) -> None:
    large = Preprocess(1024, "squash")
    num = shutil.disk_usage(tmp_path).free // cache_bytes(1, large) + 100
    files = dict.fromkeys(map(str, range(num)), tmp_path / "no photo")
    with pytest.raises(ResourceError, match=r"does not fit .* CHAJONG_CACHE"):
        build_cache(files, large, tmp_path / "cache")
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) == 0


def test_takes_its_disk_at_once(tmp_path: Path) -> None:
    files = make_photos(tmp_path / "photos", 300)
    next(iter(files.values())).unlink()
    with pytest.raises(DataError):
        build_cache(files, SQUASH, tmp_path / "cache")
    (pixels,) = (tmp_path / "cache").glob("*.pixels")
    assert pixels.stat().st_blocks * 512 >= cache_bytes(300, SQUASH)


def spoil_content(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def spoil_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (spoil_content, "was changed since the audit"),
        (Path.unlink, "cannot be read any more: No such file"),
        (spoil_by_a_folder, "cannot be read any more: Is a directory"),
    ],
)
def test_names_a_photo_that_is_not_what_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: object, what: str
) -> None:
    files = make_photos(tmp_path / "photos", 600)
    last = sorted(files)[-1]
    kept = files[last].read_bytes()
    assert callable(spoil)
    spoil(files[last])
    with pytest.raises(DataError, match=rf"{files[last].name} {what}.*chajong audit"):
        build_cache(files, SQUASH, tmp_path / "cache")
    capsys.readouterr()
    shutil.rmtree(files[last]) if files[last].is_dir() else files[last].unlink(missing_ok=True)
    files[last].write_bytes(kept)
    check(build_cache(files, SQUASH, tmp_path / "cache"), files)
    assert 1 <= num_made(capsys.readouterr().err) < 88 + 4  # all but the last batch was kept


def test_names_a_photo_that_cannot_be_opened(tmp_path: Path) -> None:
    files = make_photos(tmp_path / "photos", 3)
    broken = tmp_path / "photos" / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0")
    files[hashlib.sha256(broken.read_bytes()).hexdigest()] = broken
    with pytest.raises(DataError, match=r"broken.jpg is no photo .* truncated JPEG"):
        build_cache(files, SQUASH, tmp_path / "cache")


def test_a_cache_cut_by_others_is_made_anew(tmp_path: Path) -> None:
    files = make_photos(tmp_path / "photos", 10)
    build_cache(files, SQUASH, tmp_path / "cache")
    (pixels,) = (tmp_path / "cache").glob("*.pixels")
    os.truncate(pixels, 1000)
    check(build_cache(files, SQUASH, tmp_path / "cache"), files)
    pixels.unlink()
    check(build_cache(files, SQUASH, tmp_path / "cache"), files)


def test_no_photos_make_an_empty_cache(tmp_path: Path) -> None:
    cache = build_cache({}, SQUASH, tmp_path / "cache")
    assert cache.pixels.shape == (0, 32, 32, 3)
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_may_not_be_written_is_one_message(tmp_path: Path) -> None:
    files = make_photos(tmp_path / "photos", 2)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
        build_cache(files, SQUASH, tmp_path / "cache")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHAJONG_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert default_cache_folder() == tmp_path / ".cache" / "chajong"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache_folder() == Path("/xdg/chajong")
    monkeypatch.setenv("CHAJONG_CACHE", "~/own")
    assert default_cache_folder() == tmp_path / "own"


def test_threads_are_as_many_as_a_container_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Noted(ThreadPoolExecutor):
        def __init__(self, num: int) -> None:
            started.append(num)
            super().__init__(num)

    (tmp_path / "cpu.max").write_text("300000 100000\n")
    monkeypatch.setattr("chajong.environment._CONTAINER", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr("chajong.photos.cache.ThreadPoolExecutor", Noted)
    files = make_photos(tmp_path / "photos", 6)
    check(build_cache(files, SQUASH, tmp_path / "cache"), files)
    assert started == [3]


def test_a_whole_cache_is_used_where_nothing_may_be_written(nobody: Path) -> None:
    user = os.geteuid()
    os.seteuid(os.getuid())
    try:
        files = make_photos(nobody / "photos", 6)
        check(build_cache(files, SQUASH, nobody / "cache"), files)
        for path in (nobody / "cache").iterdir():
            path.chmod(0o444)
        (nobody / "cache").chmod(0o555)
    finally:
        os.seteuid(user)
    with pytest.raises(PermissionError):
        (nobody / "cache" / "more").touch()
    check(build_cache(files, SQUASH, nobody / "cache"), files)
    if user == os.getuid():  # so that it can be taken away
        (nobody / "cache").chmod(0o755)
