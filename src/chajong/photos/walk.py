"""Names of files: walking folders in a fixed order, and finding a listed name on disk.

Names are compared in NFC and files opened by the name that is on disk, because macOS unpacks
Korean names as NFD. Hidden files (`.x`, the `._x` of macOS) and `__MACOSX` are passed over.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from chajong.errors import DataError
from chajong.file_names import BLEND, BUNDLE, ISSUES, MANIFEST, OUT_OF_FOLD, RECIPE, RUN, SUMS
from chajong.wording import nfc

# Also what cannot be opened, such as .heic: it becomes a photo with a status that says so.
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif"),
)
# What tells folders that the program itself wrote; pictures in them are no photos.
_OURS = (
    (RUN, RECIPE),
    (BLEND, OUT_OF_FOLD),
    (MANIFEST, ISSUES),
    (BUNDLE, SUMS),
)


def is_there(path: Path) -> bool:
    """Tell whether there is something at a path, as far as this account may know.

    Args:
        path: Any path, however odd.

    Returns:
        Whether there is. (`Path.exists` may raise where a folder above may not be entered.)
    """
    try:
        path.stat()
    except OSError:
        return False
    return True


def is_photo(name: str) -> bool:
    """Say whether a file name is that of a photo.

    Args:
        name: A file name or path.

    Returns:
        Whether its suffix, in any case, is one of `PHOTO_SUFFIXES`.
    """
    return name.lower().endswith(PHOTO_SUFFIXES)


def below(path: Path, folder: Path) -> str:
    """Say where a path lies below a folder, by their spelling.

    Args:
        path: The path.
        folder: The folder.

    Returns:
        The path from the folder.

    Raises:
        ValueError: If it lies elsewhere.
    """  # noqa: DOC502 raised by pathlib
    start, text = f"{folder}/", str(path)
    if text.startswith(start):  # ten times as fast as pathlib, which knows more spellings
        return text[len(start) :]
    return str(path.relative_to(folder))


def folders(folder: Path, *, strict: bool = True) -> list[str]:
    """List the folders in a folder that may hold photos.

    Args:
        folder: The folder.
        strict: Whether a link that leads nowhere is refused; else it is passed over.

    Returns:
        Their names as on disk, sorted.
    """
    found = _entries(str(folder))
    return [entry.name for entry in found if (_is_folder(entry) if strict else entry.is_dir())]


def holds_ours(folder: Path) -> bool:
    """Tell whether a folder is what the program itself wrote, or holds some of it.

    Args:
        folder: The folder.

    Returns:
        Whether it or a folder below it is a run, a blend, an audit or a bundle.
    """
    found = _entries(str(folder))
    if _is_ours({entry.name for entry in found}):
        return True
    below = (entry for entry in found if entry.is_dir(follow_symlinks=False))
    return any(holds_ours(Path(entry.path)) for entry in below)


def photos_in(folder: Path) -> Iterator[Path]:
    """Walk a folder and all folders in it, links to folders too, but no run, audit or bundle in it.

    Args:
        folder: Where to begin.

    Yields:
        Every photo, spelled as on disk; the order does not hang on the file system.

    Raises:
        DataError: If a link leads back to a folder it lies in, or a folder may not be read.
    """
    start = os.path.realpath(folder)
    waiting: list[tuple[str, tuple[str, ...]]] = [(str(folder), (start,))]
    while waiting:
        path, above = waiting.pop()
        entries = _entries(path)
        if len(above) > 1 and _is_ours({entry.name for entry in entries}):
            continue
        for entry in entries:
            if not _is_folder(entry):
                if is_photo(entry.name):
                    yield Path(entry.path)
                continue
            linked = entry.is_symlink()
            real = os.path.realpath(entry.path) if linked else f"{above[-1]}/{entry.name}"
            if real in above:
                raise DataError(
                    f"The link {entry.path} leads back to {real}, which it lies in, so there"
                    " would be photos without end. Remove the link."
                )
            waiting.append((entry.path, (*above, real)))


def _is_ours(names: Collection[str]) -> bool:
    return any(all(name in names for name in marks) for marks in _OURS)


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            entries = [e for e in found if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as error:
        raise DataError(
            f"The folder {folder} could not be read: {error.strerror}. Change its permissions,"
            " or leave it out."
        ) from error
    for entry in entries:
        check_utf8(entry.path)
    return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        if entry.is_symlink() and not is_photo(entry.name):
            entry.stat()  # `is_dir` is silent about what is gone, such as a disk that is not there
        return entry.is_dir()
    except OSError as error:
        if is_photo(entry.name):  # it becomes a photo that cannot be read
            return False
        raise DataError(
            f"The link {entry.path} leads nowhere: {error.strerror}. Remove the link."
        ) from error


def check_utf8(path: str) -> None:
    """Refuse a name whose letters cannot be known.

    Args:
        path: A path as Python spells it.

    Raises:
        DataError: If the bytes on disk are not UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"The name {os.fsencode(path)!r} is not UTF-8, which runs and tables are written in. "
            "Rename it, or unpack the archive that it is from again with its own encoding (Korean "
            "Windows: unzip -O cp949)."
        ) from error


class Names:
    """Finds what a table lists below one folder, whatever Unicode form the disk has.

    Args:
        root: The folder that relative paths count from and that no path may leave.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # `resolve` follows links; a table may spell the folder in either way.
        self._roots = (os.path.normpath(root.absolute()), str(root.resolve()))
        self._listed: dict[str, dict[str, str]] = {}

    def inside(self, listed: str) -> str | None:
        """Say where a listed path lies below the root; links are not followed.

        Args:
            listed: A path as the table spells it, relative to the root or absolute.

        Returns:
            The path from the root, with slashes and no dots; None if it leaves the root.
        """
        if "\0" in listed:
            return None
        parts = Path(os.path.normpath(os.path.join(self._roots[0], listed))).parts  # noqa: PTH118
        for root in self._roots:
            above = Path(root).parts
            names = [nfc(part) for part in parts[: len(above)]]
            if len(parts) > len(above) and names == [nfc(part) for part in above]:
                return "/".join(parts[len(above) :])
        return None

    def on_disk(self, relative: str) -> Path:
        """Spell a path as it is on disk.

        Args:
            relative: A path from the root.

        Returns:
            The file with that name, whatever its Unicode form; the path unchanged where there
            is none.
        """
        path = self.root / relative
        if os.path.lexists(path):
            return path
        folder = str(self.root)
        for name in Path(relative).parts:
            spelled = self._names(folder).get(nfc(name))
            if spelled is None:
                return path
            folder = f"{folder}/{spelled}"
        return Path(folder)

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._listed:
            try:
                names = sorted(path.name for path in Path(folder).iterdir())
            except OSError:
                names = []
            self._listed[folder] = {nfc(name): name for name in names}
        return self._listed[folder]
