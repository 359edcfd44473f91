import random

import pytest

from chajong.errors import ResourceError
from chajong.sizes import parse_bytes


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("0", 0),
        ("123", 123),
        ("123B", 123),
        ("20GB", 20 * 10**9),
        ("20gb", 20 * 10**9),
        ("20G", 20 * 10**9),
        (" 500 MB ", 500 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("2KiB", 2048),
        ("2k", 2000),
        ("0.5 TB", 5 * 10**11),
        ("1Ti", 2**40),
        ("999999999999999TB", 999999999999999 * 10**12),
    ],
)
def test_sizes(text: str, num_bytes: int) -> None:
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize(
    "text",
    [
        *("", "GB", "-1GB", "1e9", "1,000", "20 G B", "5iB", "5i", "20PB", ".5GB", "5.", "inf"),
        *("nan", "1GBGB", "٣GB", "9" * 400, "1." + "1" * 5000, "20GB\n20GB"),
        *("1K\u0130B", "1\u212aB"),  # a dotted I, and the sign of Kelvin
    ],
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ResourceError, match="must be a number with a unit, such as 20GB"):
        parse_bytes(text)


def test_random_texts_are_sizes_or_refused() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        text = "".join(chance.choices("0123456789.kKMGTiIBb -eı \n", k=chance.randrange(8)))
        try:
            assert parse_bytes(text) >= 0
        except ResourceError:
            continue
