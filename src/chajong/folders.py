"""Folders made whole or not at all."""

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chajong.errors import ResourceError
from chajong.files import locked, make_folder, writing

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE


@contextmanager
def replacing_folder(place: Path) -> Iterator[Path]:
    """Give a draft folder that takes the place of `place` when the block ends well.

    Readers see the old folder or the new one. A process killed inside the block leaves the old one,
    and what else it leaves the next one sweeps away.

    Args:
        place: The folder to make or replace.

    Yields:
        The draft, empty, beside it.

    Raises:
        ResourceError: If another process makes it now, or it may not be written.
    """
    place = place.resolve()
    draft, old, lock = (place.with_name(f".{place.name}.{end}") for end in ("new", "old", "lock"))
    make_folder(place.parent)
    with locked(lock, wait=False) as held:
        if not held:
            raise ResourceError(
                f"Another process is writing {place} now. Wait for it, or choose another folder."
            )
        try:
            if old.exists() and not place.exists():  # killed between two steps of `_swap`
                old.rename(place)
            for leftover in (draft, old):
                _remove(leftover)
            yield make_folder(draft)
            with writing(place):
                _swap(draft, place, old)
        finally:
            if old.exists() and not place.exists():  # stopped between two steps of `_swap`
                old.rename(place)
            for leftover in (draft, old):
                _remove(leftover)
            lock.unlink(missing_ok=True)


def is_free(place: Path) -> bool:
    """Tell whether a folder may be made.

    Args:
        place: Where.

    Returns:
        Whether nothing is there, or an empty folder.
    """
    return not place.exists() or (place.is_dir() and not any(place.iterdir()))


def _swap(new: Path, place: Path, old: Path) -> None:
    if not place.exists() or not any(place.iterdir()):
        new.rename(place)
    elif not _exchange(new, place):
        # Where the system cannot do it at once, a kill between these two leaves nothing there.
        place.rename(old)
        try:
            new.rename(place)
        except OSError:
            old.rename(place)
            raise


def _exchange(one: Path, other: Path) -> bool:
    # Python has no name for it. What it cannot do here is tried in two steps, and fails there.
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)


def _remove(folder: Path) -> None:
    # Folders copied from a read-only place may be read-only too.
    for path in (folder, *folder.rglob("*")) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
