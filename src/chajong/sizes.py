"""Sizes of files, as people write them."""

import re
from fractions import Fraction

from chajong.errors import ResourceError

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_bytes(text: str) -> int:
    """Read a size such as `20GB`, `500 MB`, `1.5GiB` or a plain number of bytes.

    Args:
        text: The size; K, M, G and T are powers of 1000, or of 1024 with an `i`.

    Returns:
        Bytes.

    Raises:
        ResourceError: If it is not of that form.
    """
    found = re.fullmatch(
        r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:([KMGT])(I?))?B?\s*",
        text,
        re.IGNORECASE | re.ASCII,
    )
    if found is None:
        raise ResourceError(f"A size must be a number with a unit, such as 20GB. Got {text!r}.")
    number, unit, binary = found.groups(default="")
    return int(Fraction(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()])
