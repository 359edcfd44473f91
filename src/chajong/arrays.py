"""Arrays of half-precision numbers in files of a bundle; nothing is unpickled."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chajong.checksums import COPY_AGAIN
from chajong.errors import BundleError
from chajong.files import write_bytes


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as numpy's own file.

    Args:
        path: The file.
        values: Numbers.
    """
    with BytesIO() as buffer:
        np.save(buffer, values, allow_pickle=False)
        write_bytes(path, buffer.getvalue())


def load_array(path: Path) -> NDArray[np.float16]:
    """Read an array that `save_array` wrote; nothing is unpickled.

    Args:
        path: The file.

    Returns:
        The numbers.

    Raises:
        BundleError: If the file holds anything else.
    """
    try:
        values: NDArray[np.float16] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read ({error}). {COPY_AGAIN}") from error
    if values.dtype != np.float16 or values.ndim != 2:
        raise BundleError(f"{path} holds {values.dtype} {values.shape} numbers. {COPY_AGAIN}")
    return values
