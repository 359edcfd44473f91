"""Sizes of files, as people write them."""

import re

from chajong.errors import ResourceError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_bytes(text: str) -> int:
    """Read a size such as `20GB`, `500 MB`, `1.5GiB` or a plain number of bytes.

    Args:
        text: The size.

    Returns:
        Bytes.

    Raises:
        ResourceError: If it is not of that form.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?\s*", text.upper())
    if found is None:
        raise ResourceError(f"A size must be a number with a unit, such as 20GB. Got '{text}'.")
    number, unit, binary = found.groups()
    factor = _UNITS[unit]
    if binary:
        factor = 2 ** {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[unit]
    return int(float(number) * factor)
