"""What a bundle says of photos; where the service meets the rest of `chajong.serving`.

Shapes: n photos, c classes, d numbers of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chajong.bundle import Bundle
from chajong.levels import Levels
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
        thumbnail: A small JPEG as a data address, if the bundle keeps one.
    """

    photo: str
    name: str
    similarity: float
    thumbnail: str | None


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


@dataclass(frozen=True, eq=False)
class Answerer:
    """A bundle's engine, and what is made of its numbers.

    Attributes:
        engine: Who computes.
        risk: The share of wrong answers that is accepted; none for the usual one.
    """

    engine: Engine
    risk: float | None

    @classmethod
    def of(cls, engine: Engine, risk: float | None) -> "Answerer":
        """Get ready to answer.

        Args:
            engine: Who computes.
            risk: The share of wrong answers that is accepted; none for the usual one.

        Returns:
            The answerer.
        """
        return cls(engine, risk)

    @cached_property
    def _levels(self) -> Levels:
        return self.engine.bundle.catalogue.levels(self.engine.bundle.labels)

    @property
    def can(self) -> Abilities:
        """What else can be asked."""
        # SEAM: has_heat(engine), engine.bundle.gallery, and its strangeness.
        return Abilities(heat=False, nearest=False, strangeness=False)

    def see(self, squares: Sequence[Squares]) -> list[Seen]:
        """Answer photos.

        Args:
            squares: What the engine prepared of n photos, at least one.

        Returns:
            n answers.
        """
        # SEAM: engine.look(squares) gives embeddings and strangeness too.
        return [Seen(verdict) for verdict in self.verdicts(self.engine.answer(squares))]

    def verdicts(self, log_probs: Floats) -> list[Verdict]:
        """Decide what is said of photos.

        Args:
            log_probs: (n, c).

        Returns:
            n verdicts.
        """
        # SEAM: Judge.of(engine.bundle, risk), made once, backs off to the level that is sure.
        return _exact(self.engine.bundle, self._levels, log_probs)

    def nearest(self, seen: Seen, num: int) -> tuple[Near, ...]:
        """Find the nearest training photos.

        Args:
            seen: What was said.
            num: How many.

        Returns:
            The nearest first; none where the bundle keeps none.
        """
        del seen, num  # SEAM: engine.bundle.gallery.nearest(seen.embedding, num)
        return ()

    def heat(self, data: bytes, name: str | None) -> bytes | None:
        """Draw what speaks for a class.

        Args:
            data: The photo's file.
            name: The class; the likeliest if none.

        Returns:
            A PNG; none where the bundle cannot draw it.
        """
        del data, name  # SEAM: overlay(data, heat(engine, engine.prepare(data), name))
        return None


def _exact(bundle: Bundle, levels: Levels, log_probs: Floats) -> list[Verdict]:
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
