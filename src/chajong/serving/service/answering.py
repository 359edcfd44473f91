"""What a bundle says of photos; where the service meets the rest of `chajong.serving`.

Shapes: n photos, c classes, d numbers of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.bundle import Bundle
from chajong.pooling import Floats
from chajong.serving.engine import Engine, Squares
from chajong.serving.verdict import Guess, Said, Verdict

MAX_NEAREST = 5
_NUM_TOP = 5


@dataclass(frozen=True, eq=False)
class Seen:
    """What a bundle says of one photo.

    Attributes:
        verdict: The answer.
        embedding: (d,) for its nearest training photos; none where the bundle keeps none.
    """

    verdict: Verdict
    embedding: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Near:
    """A training photo that is like the asked one.

    Attributes:
        photo: Its name.
        name: Its class.
        similarity: How like it is, -1 to 1.
    """

    photo: str
    name: str
    similarity: float


@dataclass(frozen=True)
class Abilities:
    """What else a bundle can do.

    Attributes:
        heat: Draw what decided an answer.
        nearest: Name the nearest training photos.
        strangeness: Tell photos that are unlike all that was learned.
    """

    heat: bool
    nearest: bool
    strangeness: bool


def see(engine: Engine, squares: Sequence[Squares], risk: float) -> list[Seen]:
    """Answer photos.

    Args:
        engine: Who answers.
        squares: What it prepared of n photos.
        risk: The share of wrong answers that is accepted.

    Returns:
        n answers.
    """
    # SEAM: engine.look(squares) gives embeddings and strangeness too.
    said = verdicts(engine.bundle, engine.answer(squares), risk, None)
    return [Seen(verdict) for verdict in said]


def abilities(engine: Engine) -> Abilities:
    """Tell what else can be asked.

    Args:
        engine: Who answers.

    Returns:
        What it can do.
    """
    del engine  # SEAM: has_heat(engine), engine.bundle.gallery, its strangeness
    return Abilities(heat=False, nearest=False, strangeness=False)


def nearest(engine: Engine, seen: Seen, num: int) -> tuple[Near, ...]:
    """Find the nearest training photos.

    Args:
        engine: Who answered.
        seen: What it said.
        num: How many.

    Returns:
        The nearest first; none where the bundle keeps none.
    """
    del engine, seen, num  # SEAM: engine.bundle.gallery.nearest(seen.embedding, num)
    return ()


def heat(engine: Engine, data: bytes, name: str | None) -> bytes | None:
    """Draw what speaks for a class.

    Args:
        engine: Who answers.
        data: The photo's file.
        name: The class; the likeliest if none.

    Returns:
        A PNG; none where the bundle cannot draw it.
    """
    del engine, data, name  # SEAM: overlay(data, heat(engine, engine.prepare(data), name))
    return None


# SEAM: chajong.serving's own `verdicts` takes its place; it backs off to the level that is sure.
def verdicts(
    bundle: Bundle, log_probs: Floats, risk: float, strangeness: Floats | None
) -> list[Verdict]:
    """Say the exact class, whatever the risk.

    Args:
        bundle: The bundle that answered.
        log_probs: (n, c).
        risk: The share of wrong answers that is accepted.
        strangeness: (n,), if known.

    Returns:
        n verdicts.
    """
    del risk, strangeness
    levels = bundle.catalogue.levels(bundle.labels)
    made = []
    for probs in np.exp(log_probs):
        said = {}
        for level in levels:
            sums = np.bincount(level.groups, probs, len(level.names))
            said[level.name] = Said(level.names[best := int(sums.argmax())], float(sums[best]))
        top = tuple(
            _guess(bundle, place, probs[place]) for place in np.argsort(-probs)[:_NUM_TOP].tolist()
        )
        first = top[0]
        made.append(
            Verdict(
                level="exact",
                score=first.prob,
                abstained=False,
                reason="sure",
                strangeness=None,
                exact=first.name,
                make=first.make,
                make_ko=first.make_ko,
                model=first.model,
                generation=first.generation,
                year_from=first.year_from,
                year_to=first.year_to,
                levels=said,
                top=top,
            )
        )
    return made


def _guess(bundle: Bundle, place: int, prob: float) -> Guess:
    car = bundle.catalogue.cars[place]
    return Guess(
        car.name,
        car.maker,
        car.maker_ko,
        car.model,
        car.generation,
        car.year_from,
        car.year_to,
        float(prob),
    )
