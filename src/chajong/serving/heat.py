"""Where in a photo a bundle sees what speaks for a class.

Networks that end in a mean over places and a linear layer give every place a logit of its own, and
the mean of these is what they answer (class activation maps, Zhou et al. 2016, arXiv 1512.04150).
Nothing is estimated, and it costs one look.

Shapes: h w places.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from chajong.ahead import in_order
from chajong.bundle_place import refuse_inside
from chajong.errors import BundleError, DataError
from chajong.files import write_bytes, write_csv
from chajong.folders import is_free, replacing_folder
from chajong.graph import WHOLE
from chajong.photos.decode import Unreadable, decode
from chajong.photos.preprocess import Aspect, Squares
from chajong.photos.sources import Asked, Source
from chajong.pooling import Floats
from chajong.predictions import OK
from chajong.progress import Interrupted, Progress
from chajong.serving.engine import Engine
from chajong.serving.judge import Judge
from chajong.wording import did_you_mean, nfc

MAPS = "maps.csv"
"""The table of a folder of maps."""

_COLUMNS = pl.Schema({"id": pl.String, "status": pl.String, "class": pl.String, "map": pl.String})
_SIDE_PX = 512  # the longer one of a picture
_COOL, _WARM = (24, 92, 200), (214, 108, 12)  # as the key of the page has them
_OPACITY = 0.55


def has_heat(engine: Engine) -> bool:
    """Tell whether a bundle can give maps.

    Args:
        engine: The bundle, ready to answer.

    Returns:
        Whether its first member's networks end in a mean over places and a linear layer, and one
        of its views shows the whole photo.
    """
    graph = engine.bundle.facts.graphs[0]
    return "heat" in graph.outputs and graph.seen in WHOLE


def heat(engine: Engine, squares: Squares, name: str) -> Floats | None:
    """Map what speaks for a class and against the others.

    Args:
        engine: Who looks: the networks of the first member.
        squares: What the engine's `prepare` made of the photo.
        name: A class.

    Returns:
        (h, w) in logits, above the mean of all classes; none if networks do not end in a mean over
        places and a linear layer, or the class was added later.
    """
    learned = engine.bundle.learned
    if name not in learned.names:
        return None
    said = engine.heat(squares)
    if said is None:
        return None
    found: Floats = said[learned.index(name)] - said.mean(axis=0)
    return found


def overlay(data: bytes, found: NDArray[np.floating[Any]], aspect: Aspect = "squash") -> bytes:
    """Lay a map over its photo.

    Args:
        data: The photo's whole file.
        found: (h, w) of the square that the photo became.
        aspect: How it became that square.

    Returns:
        A PNG, upright, at most 512 pixels long: warm where it is positive, cool where negative.

    Raises:
        Unreadable: If the photo cannot be opened.
    """  # noqa: DOC502 raised by `decode`
    photo = Image.fromarray(decode(data, at_least_px=_SIDE_PX).pixels)
    photo.thumbnail((_SIDE_PX, _SIDE_PX))
    strength = Image.fromarray((found / max(float(np.abs(found).max()), 1e-6)).astype(np.float32))
    level = np.array(_laid(strength, photo.size, aspect)).clip(-1, 1)[..., None]
    colour = np.where(level > 0, np.array(_WARM), np.array(_COOL))
    share = _OPACITY * np.abs(level)
    mixed = np.array(photo) * (1 - share) + colour * share
    file = BytesIO()
    Image.fromarray(mixed.round().astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def picture(
    engine: Engine, judge: Judge, data: bytes, name: str | None = None
) -> tuple[str, bytes | None]:
    """Draw what speaks for a class in a photo.

    Args:
        engine: Who looks.
        judge: Who says which class is the likeliest.
        data: The photo's whole file.
        name: The class; the likeliest if none.

    Returns:
        The class, and a PNG; none where the bundle has no map of that class.

    Raises:
        Unreadable: If the photo cannot be opened.
    """  # noqa: DOC502 raised by `prepare`
    squares = engine.prepare(data)
    if name is None:
        [verdict] = judge.verdicts(engine.answer([squares]), None)
        name = verdict.top[0].name
    found = heat(engine, squares, name)
    drawn = None if found is None else overlay(data, found, engine.bundle.facts.graphs[0].aspect)
    return name, drawn


def draw_maps(engine: Engine, source: Source, out: Path, name: str | None = None) -> pl.DataFrame:
    """Draw what speaks for a class in each of some photos, into a folder.

    Args:
        engine: Who looks.
        source: The photos.
        out: The folder: a PNG for each photo, named by its place in the list, and `maps.csv`. One
            that holds maps is replaced.
        name: The class; for each photo the likeliest if none.

    Returns:
        A row for each photo, as in `maps.csv`: `id`, `status`, `class`, and `map`, the file's name;
        empty where there is none.

    Raises:
        BundleError: If the bundle has no maps, or none of that class, or the folder lies in it.
        DataError: If there is no such class, there are no photos, or something else is in the
            folder.
        Interrupted: If the user stopped it; nothing is written then.
    """  # noqa: DOC503 BundleError raised by `refuse_inside` too
    name = None if name is None else nfc(name)
    _check_class(engine, name)
    refuse_inside(out)
    if not is_free(out) and not _holds_maps(out):
        raise DataError(f"{out} holds something else than maps. Give another folder with --out.")
    judge, rows = Judge.of(engine.bundle), []
    try:
        with (
            replacing_folder(out) as draft,
            Progress("drawing maps", source.num_photos) as progress,
        ):

            def drawn(one: tuple[int, Asked]) -> tuple[str, str, str | None, str | None]:
                return _drawn(engine, judge, one[1], draft / f"{one[0]:06}.png", name)

            num = engine.num_callers
            for row in in_order(drawn, enumerate(source.photos(), 1), num, 2 * num):
                rows.append(row)
                progress.advance()
            if not rows:
                raise DataError("There are no photos: nothing was listed.")
            table = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
            write_csv(draft / MAPS, table)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped after {len(rows):,} photos; nothing was written.") from None
    return table


def _holds_maps(folder: Path) -> bool:
    # All of it gives way to new maps, so nothing else may be there.
    return (folder / MAPS).is_file() and all(
        path.name == MAPS or re.fullmatch(r"\d{6,}\.png", path.name) for path in folder.iterdir()
    )


def _check_class(engine: Engine, name: str | None) -> None:
    bundle = engine.bundle
    if not has_heat(engine):
        raise BundleError(
            f"{bundle.folder} cannot draw what decided its answers: its first networks do not end "
            "in a mean over places, or see no whole photo. Export a run of another backbone."
        )
    if name is None or name in bundle.learned.names:
        return
    if name in bundle.labels.names:
        raise BundleError(
            f"{name} was added to {bundle.folder}, and maps are of learned classes alone. Leave "
            "--class out, or name a learned one."
        )
    known = bundle.learned.names
    raise DataError(
        f"There is no class {name!r}{did_you_mean(name, known)} in {bundle.folder}. Name one of "
        "its labels.json, or leave --class out for the likeliest of each photo."
    )


def _drawn(
    engine: Engine, judge: Judge, asked: Asked, path: Path, name: str | None
) -> tuple[str, str, str | None, str | None]:
    try:
        shown, drawn = picture(engine, judge, asked.read(), name)
    except Unreadable as error:
        return asked.id, f"unreadable: {error.reason}", None, None
    if drawn is None:
        return asked.id, "no map: of a class that was added", shown, None
    write_bytes(path, drawn)
    return asked.id, OK, shown, path.name


def _laid(square: Image.Image, size: tuple[int, int], aspect: Aspect) -> Image.Image:
    # The square as large as it is on the photo; nothing is known of what was cut off.
    sides = {"squash": size, "letterbox": (max(size),) * 2, "crop": (min(size),) * 2}[aspect]
    grown = square.resize(sides, Image.Resampling.BICUBIC)
    left, top = ((outer - inner) // 2 for outer, inner in zip(sides, size, strict=True))
    return grown.crop((left, top, left + size[0], top + size[1]))
