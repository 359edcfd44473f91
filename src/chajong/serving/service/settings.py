"""What a service is told when it starts."""

import hashlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chajong.choices import Precision, Runtime
from chajong.errors import DataError

KEY_VARIABLE = "CHAJONG_API_KEY"
"""The environment variable that may hold a key."""

_MIN_KEY = 16
_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What is refused before work is done for it.

    Attributes:
        max_bytes: Of one photo's file.
        max_body_bytes: Of a request with several photos.
        max_held_bytes: Of all bodies that are held at once.
        max_photos: In one request.
        max_megapixels: Of one photo.
        max_frames: Pictures in one file; more than one is an animation.
        max_scans: How often a progressive JPEG may go over the picture; encoders write about 10.
        formats: What is taken, by content.
        max_queue: Photos that are accepted and not answered yet.
        max_connections: At once; beyond, the one that waits longest for its next request is closed.
        deadline_s: From the last byte of a request to its answer, in seconds.
        head_s: For sending the head of a request.
        body_s: For sending its body, and more as long as it comes at a walking pace; no pause is
            longer.
    """

    max_bytes: int = 20 * _MIB
    max_body_bytes: int = 64 * _MIB
    max_held_bytes: int = 256 * _MIB
    max_photos: int = 32
    max_megapixels: float = 50
    max_frames: int = 1
    max_scans: int = 32
    formats: tuple[str, ...] = ("jpeg", "png", "webp")
    max_queue: int = 128
    max_connections: int = 512
    deadline_s: float = 10
    head_s: float = 10
    body_s: float = 30

    def __post_init__(self) -> None:
        """Refuse limits that nothing passes.

        Raises:
            DataError: If one is not positive and finite.
        """
        limits = {name: value for name, value in vars(self).items() if name != "formats"}
        if wrong := [name for name, value in limits.items() if not 0 < value < math.inf]:
            raise DataError(f"The limits {', '.join(wrong)} must be greater than 0, and finite.")


@dataclass(frozen=True)
class Settings:
    """How a bundle is served.

    Attributes:
        folder: The bundle's; a bundle that is put in its place is taken.
        runtime: What computes; none for the fastest.
        precision: In which number format; none for the fastest.
        risk: The share of wrong answers that is accepted, above 0 and below 1; none for the usual
            one.
        host: The address to listen on.
        port: The port; 0 for a free one.
        keys: SHA-256 of each key that is let in; anybody is where there is none.
        origins: Web sites whose pages may ask from a browser.
        poll_s: How often it is looked for a new bundle, in seconds.
        limits: What is refused.
    """

    folder: Path
    runtime: Runtime | None = None
    precision: Precision | None = None
    risk: float | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[bytes, ...] = ()
    origins: tuple[str, ...] = ()
    poll_s: float = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            DataError: If an origin is no origin.
        """
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/A-Z\s]+", origin):
                raise DataError(
                    f"{origin!r} is no origin as browsers send it. Give scheme and host in small "
                    "letters, and a port that is not the usual one, such as https://example.com"
                )


def read_keys(file: Path | None) -> tuple[bytes, ...]:
    """Read the keys from a file and from the environment.

    Args:
        file: A key a line; empty lines and those that start with # are passed over.

    Returns:
        SHA-256 of each.

    Raises:
        DataError: If the file cannot be read or holds no key, the variable is empty, or a key is
            too short or does not fit into a header.
    """
    said = os.environ.get(KEY_VARIABLE)
    keys = [] if said is None else [said.strip()]
    if keys == [""]:
        raise DataError(
            f"{KEY_VARIABLE} is set and empty, which would let anybody in. Put a key into it, or "
            "unset it."
        )
    if file is not None:
        keys += (found := list(_lines(file)))
        if not found:
            raise DataError(f"There is no key in {file}. Write one a line.")
    if any(len(key) < _MIN_KEY for key in keys):
        raise DataError(
            f"A key is shorter than {_MIN_KEY} characters. Make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    if not all(re.fullmatch("[!-~]+", key) for key in keys):
        raise DataError(
            "A key holds characters that do not fit into a header. Use ASCII letters, digits and "
            "punctuation without spaces."
        )
    return tuple(digest(key) for key in keys)


def digest(key: str) -> bytes:
    """Give what is kept of a key, and compared.

    Args:
        key: The key.

    Returns:
        Its SHA-256.
    """
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def _lines(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"The keys in {file} cannot be read ({error}).") from error
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            yield line
