"""Photos made ready once: squares of pixels in one memory-mapped file.

A cache is three files beside each other, named by its photos' content and the preprocessing:
`.pixels` holds the squares in the order of the photos' SHA-256, `.done` one byte a photo, set
after its pixels have reached the disk, and `.lock` lets one process at a time write. A build that
was killed goes on where it was; a second process waits for the first and finds all done.

Shapes: n photos, s the side of the square in pixels.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.environment import num_cores
from chajong.errors import DataError, ResourceError
from chajong.files import fingerprint, locked, make_folder, writing
from chajong.photos.decode import Unreadable
from chajong.photos.preprocess import Preprocess
from chajong.progress import Progress, say

# A kill costs the work on two batches at most.
_BATCH = 256


@dataclass(frozen=True)
class Cache:
    """Preprocessed photos.

    Attributes:
        pixels: RGB of shape (n, s, s, 3), a read-only memory map.
        rows: The row of each photo, by the SHA-256 of its file.
    """

    pixels: NDArray[np.uint8]
    rows: Mapping[str, int]


def default_cache_folder() -> Path:
    """Say where caches lie unless told otherwise.

    Returns:
        `$CHAJONG_CACHE`, else `$XDG_CACHE_HOME/chajong`, else `~/.cache/chajong`.
    """
    if own := os.environ.get("CHAJONG_CACHE"):
        return Path(own).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "chajong"


def cache_bytes(num_photos: int, preprocess: Preprocess) -> int:
    """Say how much disk a cache takes.

    Args:
        num_photos: The number of photos n, 0 or more.
        preprocess: What is done to them.

    Returns:
        The bytes of its pixels.
    """
    return num_photos * preprocess.size_px**2 * 3


def build_cache(
    files: Mapping[str, Path],
    preprocess: Preprocess,
    folder: Path,
    limit_bytes: int | None = None,
    num_threads: int | None = None,
) -> Cache:
    """Make a cache, or what is missing of it, or nothing where all of it is there.

    Args:
        files: Where each photo lies, by the SHA-256 (hexadecimal) of its file.
        preprocess: What is done to them.
        folder: Where caches lie; made where it is missing.
        limit_bytes: The most disk that this cache may take; None for all that is free.
        num_threads: How many threads work, 1 or more; None for one a core.

    Returns:
        The whole cache.

    Raises:
        DataError: If a photo has vanished, was changed or cannot be opened. The others that were
            done by then are kept.
        ResourceError: If the cache is larger than the limit or the free disk, before any work, or
            its folder may not be written.
    """  # noqa: DOC503 raised by callees too
    names = sorted(files)
    rows = {name: row for row, name in enumerate(names)}
    shape = (len(names), preprocess.size_px, preprocess.size_px, 3)
    if not names:
        return Cache(np.zeros(shape, dtype=np.uint8), rows)
    size = cache_bytes(len(names), preprocess)
    what = f"{len(names):,} photos at {preprocess.size_px} px take {_megabytes(size)}"
    if limit_bytes is not None and size > limit_bytes:
        raise ResourceError(
            f"The photo cache is too large: {what}, the limit is {_megabytes(limit_bytes)}. "
            "Raise --cache-limit or make data.size_px smaller."
        )
    key = fingerprint("cache", preprocess.fingerprint, names)
    stem = folder / f"{preprocess.size_px}px-{preprocess.aspect}-{key}"
    pixels = stem.with_suffix(".pixels")
    if not _is_whole(stem, size, len(names)):
        make_folder(folder)
        with _alone(stem.with_suffix(".lock")), _opened(stem, size, len(names), what) as store:
            photos = [(row, names[row], files[names[row]]) for row in store.missing()]
            _make(store, photos, preprocess, num_threads)
    return Cache(np.asarray(np.memmap(pixels, np.uint8, "r", shape=shape)), rows)


# A whole cache may belong to another user, or lie where nothing may be written.
def _is_whole(stem: Path, size_bytes: int, num_photos: int) -> bool:
    try:
        has_all = stem.with_suffix(".pixels").stat().st_size == size_bytes
        return has_all and stem.with_suffix(".done").read_bytes() == b"\1" * num_photos
    except OSError:
        return False


# Waits until no other process builds the same cache.
@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with locked(lock, wait=False) as held:
        if held:
            yield
            return
    _say("another process is making the same one; waiting for it")
    with locked(lock, wait=True):
        yield


# The open files of a cache in the making. They are written with pwrite, not through a memory map:
# a disk error is then an exception and no crash (SIGBUS), and what was written does not count as
# memory of this process.
@dataclass(frozen=True)
class _Store:
    path: Path
    pixels: int
    done: int

    def missing(self) -> Sequence[int]:
        done = os.pread(self.done, os.fstat(self.done).st_size, 0)
        rows: list[int] = np.flatnonzero(np.frombuffer(done, np.uint8) == 0).tolist()
        return rows

    def write(self, row: int, square: NDArray[np.uint8]) -> None:
        with writing(self.path):
            if os.pwrite(self.pixels, square.data, row * square.nbytes) < square.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def record(self, rows: Sequence[int]) -> None:
        with writing(self.path):
            os.fdatasync(self.pixels)  # so that no power cut leaves a photo done but not there
            for row in rows:
                os.pwrite(self.done, b"\1", row)


@contextmanager
def _opened(stem: Path, size_bytes: int, num_photos: int, what: str) -> Iterator[_Store]:
    path = stem.with_suffix(".pixels")
    with _descriptor(path) as pixels, _descriptor(stem.with_suffix(".done")) as done:
        with writing(path):
            if os.fstat(pixels).st_size != size_bytes:
                _say(f"{what} in {path}")
                os.truncate(done, 0)
                _reserve(path, pixels, size_bytes, what)
            os.truncate(done, num_photos)  # new bytes are zeros: not done
        yield _Store(path, pixels, done)


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# Takes all the disk at once, so that a build that begins is not stopped by a full disk.
def _reserve(path: Path, pixels: int, size_bytes: int, what: str) -> None:
    os.truncate(pixels, 0)
    free = shutil.disk_usage(path.parent).free
    if free < size_bytes:
        raise ResourceError(
            f"The photo cache does not fit on the disk of {path.parent}: {what}, "
            f"{_megabytes(free)} are free. Free some space, set CHAJONG_CACHE to a folder on a "
            "larger disk or make data.size_px smaller."
        )
    try:
        os.posix_fallocate(pixels, 0, size_bytes)
    except OSError:
        os.truncate(pixels, 0)
        raise


def _make(
    store: _Store,
    photos: Sequence[tuple[int, str, Path]],
    preprocess: Preprocess,
    num_threads: int | None,
) -> None:
    if not photos:
        return

    def make(photo: tuple[int, str, Path]) -> int:
        row, name, path = photo
        store.write(row, _square(path, name, preprocess))
        return row

    num_threads = num_threads or num_cores()
    finished: list[int] = []
    with ThreadPoolExecutor(num_threads) as pool, Progress("caching photos", len(photos)) as bar:
        try:
            for start in range(0, len(photos), _BATCH):
                made = pool.map(make, photos[start : start + _BATCH])
                store.record(finished)  # waits for the disk while the threads work on
                finished = []
                for row in made:
                    finished.append(row)
                    bar.advance()
        finally:
            store.record(finished)


def _square(path: Path, sha256: str, preprocess: Preprocess) -> NDArray[np.uint8]:
    again = "Run `chajong audit` again, then the same command."
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read any more: {error.strerror}. {again}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{path} was changed since the audit. {again}")
    try:
        return preprocess(data)
    except Unreadable as error:
        raise DataError(f"{path} is no photo that can be read: {error.reason}. {again}") from error


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"


def _say(line: str) -> None:
    say(f"photo cache: {line}")
