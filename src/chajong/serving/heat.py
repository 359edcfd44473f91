"""Where in a photo a bundle sees what speaks for a class.

Networks that end in a mean over places and a linear layer give every place a logit of its own, and
the mean of these is what they answer (class activation maps, Zhou et al. 2016, arXiv 1512.04150).
Nothing is estimated, and it costs one look.

Shapes: h w places.
"""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chajong.graph import WHOLE
from chajong.photos.decode import decode
from chajong.photos.preprocess import Aspect
from chajong.pooling import Floats
from chajong.serving.engine import Engine, Squares

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


def _laid(square: Image.Image, size: tuple[int, int], aspect: Aspect) -> Image.Image:
    # The square as large as it is on the photo; nothing is known of what was cut off.
    sides = {"squash": size, "letterbox": (max(size),) * 2, "crop": (min(size),) * 2}[aspect]
    grown = square.resize(sides, Image.Resampling.BICUBIC)
    left, top = ((outer - inner) // 2 for outer, inner in zip(sides, size, strict=True))
    return grown.crop((left, top, left + size[0], top + size[1]))
