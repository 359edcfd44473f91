"""Pages for people: one HTML file with its photos in it, which opens anywhere, also offline."""

import re
from base64 import b64encode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chajong.environment import num_cores
from chajong.files import write_bytes
from chajong.photos.decode import Unreadable, decode
from chajong.photos.reading import read_file
from chajong.progress import Progress

_THUMB_PX = (272, 204)
_QUALITY = 72


class Tile(NamedTuple):
    """A photo with what is said below it."""

    id: str
    path: Path
    label: str
    part: str
    note: str = ""
    score: str = ""


def render_page(template: str, out: Path, **values: Any) -> Path:
    """Write a page.

    Args:
        template: Its name among the templates of this package.
        out: The file to make or replace.
        **values: What the template shows; texts are escaped there.

    Returns:
        The same path.

    Raises:
        ResourceError: If it cannot be written.
    """  # noqa: DOC502 raised by `write_bytes`
    text = render(template, **values)
    # A name that is no text, as Linux allows, must not cost the page.
    write_bytes(out, text.encode("utf-8", "replace"))
    return out


def render(template: str, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: Its name among the templates of this package.
        **values: What it shows; texts are escaped there.

    Returns:
        The text.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chajong.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(counted=counted, breakable=_breakable)
    return environment.get_template(template).render(values)


def counted(num: int, unit: str = "photo") -> str:
    """Say a number of things.

    Args:
        num: How many, 0 or more.
        unit: What is counted, in the singular.

    Returns:
        Such as `1 photo` or `1,200 photos`.
    """
    plural = f"{unit}es" if unit.endswith("s") else f"{unit}s"
    return f"{num:,} {unit if num == 1 else plural}"


def thumbnails(paths: Iterable[Path]) -> dict[Path, str]:
    """Make small JPEGs to be put into a page.

    Args:
        paths: Files of photos; repeated ones count once.

    Returns:
        A data URI for each photo that can be read.
    """
    different = sorted(set(paths))
    found: dict[Path, str] = {}
    with (
        Progress("making thumbnails", len(different)) as progress,
        ThreadPoolExecutor(num_cores()) as threads,
    ):
        for path, uri in zip(different, threads.map(_thumbnail, different), strict=True):
            if uri is not None:
                found[path] = uri
            progress.advance()
    return found


def _breakable(text: str) -> str:
    # Names of classes and files are long words; they may be broken where they have joints.
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=[_/])(?=[^_/])", "<wbr>", str(escape(text))))


def _thumbnail(path: Path) -> str | None:
    try:
        pixels = decode(read_file(path), at_least_px=max(_THUMB_PX)).pixels
    except Unreadable:
        return None
    return as_uri(pixels)


def as_uri(pixels: NDArray[np.uint8]) -> str:
    """Make a small JPEG to be put into a page.

    Args:
        pixels: RGB `(h, w, 3)`.

    Returns:
        A data URI.
    """
    photo = Image.fromarray(pixels)
    photo.thumbnail(_THUMB_PX)  # tiny photos stay tiny
    buffer = BytesIO()
    photo.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode('ascii')}"
