"""Photos to be answered, one after another, wherever they are: bytes to be read when it is time.

Of each photo only its name is kept, so that a million of them fit into memory.
"""

import glob
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from chajong.errors import DataError
from chajong.photos.decode import Unreadable
from chajong.photos.layout import find_unlabelled, unlabelled_in
from chajong.photos.reading import MAX_FILE_BYTES, read_file
from chajong.photos.walk import check_utf8, is_photo
from chajong.wording import nfc

STDIN = "-"

# RuntimeError is a password, or a compression that zipfile does not know; the rest is damage.
_CANNOT_UNPACK = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class Asked:
    """A photo that is asked about.

    Attributes:
        id: Its name in the answer, in NFC.
        read: Gives its bytes, or raises `Unreadable`.
        stamp: Tells it from other photos of that name, without reading it: where it lies, its size,
            and when it was changed.
    """

    id: str
    read: Callable[[], bytes]
    stamp: Callable[[], str]


@dataclass(frozen=True)
class Source:
    """Photos to be answered, always in the same order.

    Attributes:
        num_photos: How many; none where that is not known before the last one.
        photos: Goes through them.
    """

    num_photos: int | None
    photos: Callable[[], Iterator[Asked]]


def open_source(where: str) -> Source:
    """Find photos to be answered.

    Args:
        where: A folder, a CSV or Parquet table, a photo, a DACON folder (as `find_unlabelled`
            takes them), a zip, a pattern with `*`, `?` or `[` (`**` for folders in folders), or
            `-` for a list of paths on standard input, one a line.

    Returns:
        The photos. Those of a folder, a zip or a pattern are sorted by id.

    Raises:
        DataError: If there are none, or a file cannot be used.
    """  # noqa: DOC502 raised by what it calls
    path = Path(where)
    if where == STDIN:
        return Source(None, _from_stdin)
    if not path.exists() and glob.has_magic(where):
        return _from_pattern(where)
    if path.is_dir() and not (path / "test.csv").is_file():
        return _from_names(path, (str(p.relative_to(path)) for p in unlabelled_in(path)), where)
    if path.suffix.lower() == ".zip" and path.is_file():
        return _from_zip(path)
    refs = find_unlabelled(path)
    return Source(len(refs), lambda: (_of_file(ref.id, ref.path) for ref in refs))


def _of_file(id_: str, path: Path) -> Asked:
    return Asked(id_, lambda: read_file(path), lambda: _stamp(path))


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        return f"{path.absolute()} {error.errno}"
    return f"{path.absolute()} {found.st_size} {found.st_ctime_ns}"


def _from_names(root: Path, found: Iterator[str], where: str) -> Source:
    names = sorted(found, key=nfc)
    _check(names, where)
    return Source(len(names), lambda: (_of_file(nfc(name), root / name) for name in names))


def _from_pattern(pattern: str) -> Source:
    parts = Path(pattern).parts
    plain = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:plain])
    try:
        found = [str(path.relative_to(root)) for path in root.glob(str(Path(*parts[plain:])))]
    except ValueError as error:
        raise DataError(
            f"{pattern} is no pattern: {error}. For folders in folders write **/ by itself, such "
            "as 'photos/**/*.jpg'."
        ) from error
    seen = (name for name in found if is_photo(name) and not _is_hidden(name))
    return _from_names(root, seen, pattern)


def _from_stdin() -> Iterator[Asked]:
    for line in sys.stdin.buffer:
        try:
            name = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"Standard input has a line that is not UTF-8: {line[:80]!r}. Give one path a line."
            ) from error
        if "\0" in name:
            raise DataError(
                f"Standard input has a line with a zero byte: {line[:80]!r}. Give one path a line "
                "(find without -print0)."
            )
        if name:
            yield _of_file(nfc(name), Path(name))


def _from_zip(path: Path) -> Source:
    try:
        archive = zipfile.ZipFile(path)
    except _CANNOT_UNPACK as error:
        raise DataError(f"{path} cannot be opened as a zip: {error}. Make it again.") from error
    spelled = ((_spelled(info), info) for info in archive.infolist() if not info.is_dir())
    found = [(id_, info) for id_, info in spelled if is_photo(id_) and not _is_hidden(id_)]
    seen = sorted(found, key=lambda each: (each[0], each[1].filename))
    _check([id_ for id_, _ in seen], str(path))
    return Source(len(seen), lambda: (_of_zip(archive, id_, info) for id_, info in seen))


def _of_zip(archive: zipfile.ZipFile, id_: str, info: zipfile.ZipInfo) -> Asked:
    return Asked(
        id_, lambda: _unzipped(archive, info.filename), lambda: f"{info.CRC} {info.file_size}"
    )


def _is_hidden(name: str) -> bool:
    parts = (part for part in name.split("/") if part not in (".", ".."))
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _spelled(info: zipfile.ZipInfo) -> str:
    # Without the flag of UTF-8 a name is in the code page of the machine that packed it.
    if info.flag_bits & 0x800:
        return nfc(info.filename)
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:  # newer versions of Python have read an extra field with the name
        return nfc(info.filename)
    for encoding in ("utf-8", "cp949"):
        try:
            return nfc(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
    return nfc(info.filename)


def _unzipped(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        with archive.open(name) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except _CANNOT_UNPACK as error:
        raise Unreadable(f"could not be unpacked: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise Unreadable(
            f"larger than {MAX_FILE_BYTES // 2**20} MB, which is the most that is read"
        )
    return data


def _check(names: list[str], where: str) -> None:
    for name in names:
        check_utf8(name)
    if not names:
        raise DataError(f"There are no photos in {where}.")
    for one, other in pairwise(names):
        if nfc(one) == nfc(other):
            raise DataError(
                f"Two photos in {where} have the id {nfc(one)}: names are compared in Unicode's "
                "NFC. Rename or delete one."
            )
