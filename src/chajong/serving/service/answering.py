"""What a bundle says of photos; where the service meets the rest of `chajong.serving`.

Shapes: n photos, c classes, d numbers of an embedding.
"""

from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.gallery import Gallery
from chajong.photos.preprocess import Squares
from chajong.serving.engine import Engine
from chajong.serving.heat import has_heat, picture
from chajong.serving.judge import DEFAULT_RISK, Judge
from chajong.serving.verdict import Verdict

MAX_NEAREST = 5


@dataclass(frozen=True, eq=False)
class Seen:
    """What a bundle says of one photo.

    Attributes:
        verdict: The answer.
        embedding: (d,) for its nearest training photos; none where the bundle keeps none.
    """

    verdict: Verdict
    embedding: NDArray[np.floating] | None = None


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
        judge: Who decides how much is said.
        risk: The share of wrong answers that is accepted; none where nobody can tell.
        can: What else can be asked.
    """

    engine: Engine
    judge: Judge
    risk: float | None
    can: Abilities

    @classmethod
    def of(cls, engine: Engine, risk: float | None) -> "Answerer":
        """Get ready to answer.

        Args:
            engine: Who computes.
            risk: The share of wrong answers that is accepted; none for the usual one.

        Returns:
            The answerer.

        Raises:
            BundleError: If the bundle cannot keep the risk.
        """  # noqa: DOC502 raised by `Judge.of`
        gallery = engine.bundle.gallery
        can = Abilities(has_heat(engine), gallery is not None, engine.bundle.tells_strangeness)
        judge = Judge.of(engine.bundle, risk)
        if risk is None and engine.bundle.risks is not None:
            risk = DEFAULT_RISK
        return cls(engine, judge, risk, can)

    def see(self, squares: Sequence[Squares]) -> list[Seen]:
        """Answer photos.

        Args:
            squares: What the engine prepared of n photos, at least one.

        Returns:
            n answers.
        """
        looked = self.engine.look(squares)
        said = self.judge.verdicts(looked.log_probs, looked.strangeness)
        if looked.embeddings is None:
            return [Seen(verdict) for verdict in said]
        return [Seen(*both) for both in zip(said, looked.embeddings, strict=True)]

    def nearest(self, seen: Seen, num: int) -> tuple[Near, ...]:
        """Find the nearest training photos.

        Args:
            seen: What was said.
            num: How many.

        Returns:
            The nearest first; none where the bundle keeps none.
        """
        gallery = self.engine.bundle.gallery
        if gallery is None or seen.embedding is None:
            return ()
        return tuple(
            Near(found.photo, found.name, found.similarity, self._thumbnail(gallery, found.place))
            for found in gallery.nearest(seen.embedding, num)
        )

    def heat(self, data: bytes, name: str | None) -> bytes | None:
        """Draw what speaks for a class.

        Args:
            data: The photo's file.
            name: The class; the likeliest if none.

        Returns:
            A PNG; none where the bundle cannot draw it.
        """
        return picture(self.engine, self.judge, data, name)[1]

    @staticmethod
    def _thumbnail(gallery: Gallery, place: int) -> str | None:
        with suppress(OSError):  # a new bundle may be taking this one's place
            if (small := gallery.thumbnail(place)) is not None:
                return f"data:image/jpeg;base64,{b64encode(small).decode()}"
        return None
