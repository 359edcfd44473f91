"""Reading the bytes of a photo, or saying why they cannot be had."""

import stat
from pathlib import Path

from chajong.photos.decode import Unreadable

MAX_FILE_BYTES = 512 * 2**20
"""A larger file is not read: the largest photo that is opened has 360 MB, uncompressed."""


def read_file(path: Path) -> bytes:
    """Read a photo's file whole.

    Args:
        path: The file.

    Returns:
        Its bytes.

    Raises:
        Unreadable: If it is missing, no regular file, too large, or cannot be read.
    """
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):  # reading a pipe would never end
            raise Unreadable("a folder" if stat.S_ISDIR(info.st_mode) else "not a regular file")
        if info.st_size > MAX_FILE_BYTES:
            raise Unreadable(
                f"a file of {info.st_size / 2**20:,.0f} MB; at most "
                f"{MAX_FILE_BYTES // 2**20} MB are read"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise Unreadable("missing: there is no such file") from None
    except ValueError:  # it holds a zero byte
        raise Unreadable("no file can have such a name") from None
    except OSError as error:
        raise Unreadable(f"could not be read: {error.strerror or error}") from error
