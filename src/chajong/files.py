"""Writing files whole or not at all, and telling values apart by fingerprint."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar, cast

import polars as pl
from pydantic import TypeAdapter, ValidationError

from chajong.errors import ChajongError, ResourceError
from chajong.parquet import read_parquet
from chajong.progress import say

T = TypeVar("T")

_SAID = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EFBIG: "the file is larger than this account or file system allows: raise the limit",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EACCES: "it may not be written: choose another folder or change its permissions",
    errno.EPERM: "it may not be written: choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another folder",
    errno.EEXIST: "a file stands where a folder is needed: choose another folder",
    errno.ENOTEMPTY: "something was put there meanwhile: run the same command again",
    errno.EBUSY: "it is in use, perhaps as a mount point: choose another folder",
    errno.EISDIR: "a folder stands where the file should be: choose another name",
    errno.ENOENT: "its folder is not there any more: run the same command again",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "symbolic links on the way lead in a circle: choose another folder",
    errno.ENOSYS: "the file system cannot lock files: choose a folder on another one",
    errno.ENOLCK: "the file system cannot lock files: choose a folder on another one",
    errno.EOPNOTSUPP: "the file system cannot lock files: choose a folder on another one",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the ways in which writing can fail into one clear message.

    Args:
        path: The file or folder being written, named in the message.

    Yields:
        Nothing.

    Raises:
        ResourceError: If the disk is full or the place may not be written.
    """  # noqa: DOC503 other errors pass unchanged
    try:
        yield
    except OSError as error:
        if error.errno not in _SAID:
            raise
        raise ResourceError(f"Could not write {path}: {_SAID[error.errno]}.") from error


def make_folder(path: Path) -> Path:
    """Make a folder and its parents.

    Args:
        path: The folder.

    Returns:
        The same path.

    Raises:
        ResourceError: If it may not be made.
    """  # noqa: DOC502 raised by `writing`
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` when the block ends well.

    Readers see the old file or the new one, never a part; a process killed inside the block
    leaves the old one.

    Args:
        path: The file to make or replace.

    Yields:
        The temporary path to write to, in the same folder.

    Raises:
        ResourceError: If the disk is full, or the place may not be written or is no file.
    """
    path = Path(os.path.realpath(path))  # a link stays one, and what it leads to is replaced
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with writing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ResourceError(f"Could not write {path}: it is a device or a pipe, and no file.")
    with writing(path), _holding(temporary, wait=True):
        _sweep(path)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def _sweep(path: Path) -> None:
    # A killed process leaves its temporary file behind, but not its lock on it.
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
        # One of another user stays; it is in nobody's way.
        with suppress(OSError), _holding(leftover, wait=False) as held:
            if held:
                leftover.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file atomically.

    Args:
        path: The file.
        data: Its whole content.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Args:
        path: The file.
        text: Its whole content.
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, readable by people.

    Args:
        path: The file.
        value: Anything that JSON can hold.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_table(path: Path, table: pl.DataFrame, metadata: dict[str, str] | None = None) -> None:
    """Write a Parquet file atomically.

    Args:
        path: The file.
        table: Its rows.
        metadata: Texts kept in the file's header, read by `polars.read_parquet_metadata`.
    """
    # By way of memory, because polars has errors of its own for a full disk.
    buffer = BytesIO()
    table.write_parquet(buffer, compression="lz4", metadata=metadata)
    write_bytes(path, buffer.getbuffer())


def write_csv(path: Path, table: pl.DataFrame) -> None:
    """Write a CSV file atomically, with a BOM, so that spreadsheets read Korean.

    Args:
        path: The file.
        table: Its rows.
    """
    # By way of memory, for the same reason.
    buffer = BytesIO()
    table.write_csv(buffer, include_bom=True)
    write_bytes(path, buffer.getbuffer())


def read_json(path: Path, kind: type[T], refuse: type[ChajongError], advice: str) -> T:
    """Read JSON and check it.

    Args:
        path: The file.
        kind: What it must hold.
        refuse: The error to raise where it does not.
        advice: What to do then.

    Returns:
        The value.

    Raises:
        ChajongError: Of the class `refuse`, if the file cannot be read or holds anything else.
    """  # noqa: DOC503 whose name is not known here
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        value: T = _checker(cast(Any, kind)).validate_python(read)
        return value
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in error.errors())
        cause: Exception = error
    except (OSError, ValueError, RecursionError) as error:
        said, cause = str(error), error
    raise refuse(f"{path} is damaged: {said}. {advice}") from cause


@cache
def _checker(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_memory(path: Path, columns: pl.Schema) -> pl.DataFrame:
    """Read what `write_memory` kept; nothing is lost where that cannot be read.

    Args:
        path: The file.
        columns: What it must hold.

    Returns:
        The table; empty if the file is missing, damaged or of another version.
    """
    with suppress(OSError, pl.exceptions.PolarsError):
        if path.is_file() and (found := read_parquet(path)).schema == columns:
            return found
    return pl.DataFrame(schema=columns)


def write_memory(path: Path, table: pl.DataFrame, pity: str) -> None:
    """Keep a table so that work need not be done again; say it where that is not possible.

    Args:
        path: The file.
        table: What to keep.
        pity: What it means if it cannot be kept.
    """
    try:
        write_table(path, table)
    except ResourceError as error:
        say(f"{pity} {error}")


def fingerprint(*parts: object) -> str:
    """Name a value by its content.

    Args:
        *parts: Anything that JSON can hold; the order counts.

    Returns:
        16 hexadecimal digits of a SHA-256.
    """
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """Name a file by its content.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_if_any(path: Path) -> str | None:
    """Name a file by its content, where that can be read.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits; none if it cannot be read, which is told of where it is looked at.
    """
    try:
        return sha256_of(path)
    except OSError:
        return None


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file, so that two processes do not write one thing.

    The lock goes with the process, however it ends.

    Args:
        path: The lock file; made where it is missing.
        wait: Whether to wait for the lock, or to say at once that another process has it.

    Yields:
        Whether the lock is held.
    """
    make_folder(path.parent)
    with ExitStack() as held:
        with writing(path):
            is_held = held.enter_context(_holding(path, wait))
        yield is_held


@contextmanager
def _holding(path: Path, wait: bool) -> Iterator[bool]:
    handle = _opened(path)
    try:
        held = _lock(handle, wait)
        while held and not _is_at(path, handle):
            # Another process took it for a leftover between our opening and our locking it.
            another = _opened(path)
            os.close(handle)
            handle = another
            held = _lock(handle, wait)
        yield held
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _lock(handle: int, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
