"""A verdict: what is said of one photo, as deep as we are sure."""

from dataclasses import dataclass
from typing import Literal

LevelName = Literal["exact", "generation", "model", "maker", "none"]
"""How much an answer says, the deepest first; `none` says nothing."""

Reason = Literal["sure", "unsure", "strange"]
"""`sure`: the exact class is said; `unsure`: a deeper answer would be wrong too often; `strange`:
the photo is unlike all that was learned, so that nothing is said."""


@dataclass(frozen=True)
class Said:
    """The likeliest group of classes at one level.

    Attributes:
        name: What the group is called.
        prob: Its probability, in [0, 1].
    """

    name: str
    prob: float


@dataclass(frozen=True)
class Guess:
    """One class and how likely it is; what the catalogue does not know is None.

    Attributes:
        name: The class.
        make: The maker, in English where known.
        make_ko: The maker, in Korean.
        model: The model line.
        generation: The generation.
        year_from: The first year of building.
        year_to: The last one; None also where it is still built.
        prob: The probability, in [0, 1].
    """

    name: str
    make: str | None
    make_ko: str | None
    model: str | None
    generation: str | None
    year_from: int | None
    year_to: int | None
    prob: float


@dataclass(frozen=True)
class Verdict:
    """What is said of one photo.

    Attributes:
        level: The deepest level that we are sure of.
        score: The probability of what is said there; of the likeliest maker for `none`.
        abstained: Whether nothing is said: the level is `none`.
        reason: Why not more is said.
        strangeness: How unlike all that was learned the photo is: the share of known cars' photos
            that are less strange, in [0, 1]; None where the bundle cannot tell.
        exact: The class; None above the level `exact`.
        make: The maker, in English where known; None for `none`.
        make_ko: The maker, in Korean.
        model: The model line; None above the level `model`.
        generation: The generation; None above the level `generation`.
        year_from: The first year of building of the group of classes that is said.
        year_to: The last one.
        levels: The likeliest group at maker, model, generation and exact, whether sure or not.
        top: The likeliest classes, at most five, the likeliest first.
    """

    level: LevelName
    score: float
    abstained: bool
    reason: Reason
    strangeness: float | None
    exact: str | None
    make: str | None
    make_ko: str | None
    model: str | None
    generation: str | None
    year_from: int | None
    year_to: int | None
    levels: dict[str, Said]
    top: tuple[Guess, ...]
