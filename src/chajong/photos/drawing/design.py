"""The models of the demo: proportions and styles drawn at random, kin kept alike."""

from dataclasses import dataclass, replace

import numpy as np

from chajong.photos.drawing.body import Body
from chajong.photos.drawing.names import Kin
from chajong.photos.drawing.styles import (
    BUMPERS,
    GRILLES,
    HEADLAMPS,
    REAR_BUMPERS,
    TAIL_LAMPS,
    WHEELS,
)

# fmt: off
_BODIES = (  # length, width, height in m; shares of the length; heights in m; see Body
    Body("sedan",     4.75, 1.84, 1.45, .600, .185, .18, .335,  .74,  .96, 1.00, .27, .43, .70, .87, 10, .17),
    Body("suv",       4.60, 1.90, 1.72, .600, .185, .23, .375,  .96, 1.10, 1.10, .24, .36, .90, .98, 12, .15),
    Body("hatch",     4.05, 1.76, 1.50, .630, .190, .18, .320,  .78,  .98,  .96, .22, .40, .86, .98, 10, .15),
    Body("pickup",    5.25, 1.92, 1.84, .610, .170, .27, .400, 1.02, 1.16, 1.12, .23, .33, .55, .61, 12, .13),
    Body("coupe",     4.45, 1.88, 1.30, .580, .200, .15, .345,  .64,  .86,  .92, .32, .48, .62, .90,  8, .20),
    Body("van",       4.90, 1.94, 1.98, .610, .170, .20, .340,  .98, 1.14, 1.12, .11, .24, .95, .99, 12, .11),
    Body("wagon",     4.80, 1.84, 1.47, .600, .185, .17, .335,  .74,  .96, 1.00, .27, .42, .90, .98, 10, .16),
    Body("mini",      3.60, 1.62, 1.62, .680, .150, .17, .285,  .86, 1.02, 1.00, .15, .27, .93, .99, 11, .10),
    Body("offroad",   4.30, 1.90, 1.88, .600, .170, .28, .400, 1.06, 1.16, 1.12, .29, .32, .97, .99, 16, .07),
    Body("fastback",  4.85, 1.90, 1.40, .600, .190, .16, .350,  .70,  .92,  .98, .26, .43, .66, .97, 10, .18),
    Body("crossover", 4.65, 1.90, 1.62, .610, .180, .22, .375,  .88, 1.06, 1.14, .25, .39, .68, .97, 11, .17),
    Body("mpv",       4.50, 1.84, 1.66, .620, .180, .17, .330,  .82, 1.02, 1.02, .16, .33, .90, .99, 10, .14),
)
# fmt: on
_TALL_M = 1.58
_SQUARE_WINDOWS, _OTHER_WINDOWS = 2, (0, 1, 3, 4)


@dataclass(frozen=True)
class Design:
    """All that tells a model from another; numbers are places in the lists of styles."""

    body: Body
    headlamp: int
    grille: int
    bumper: int
    tail_lamp: int
    rear_bumper: int
    wheel: int
    windows: int
    rear_pillar: float  # share of the cabin's way round behind the side windows
    cladding: bool
    chrome: bool
    side_strip: bool
    dark_pillars: bool
    dark_roof: bool
    glass_roof: bool
    rails: bool
    stripe: bool

    @property
    def num_doors(self) -> int:
        """2 or 4."""
        return 2 if self.body.kind == "coupe" else 4


def design(seed: int, kin: Kin) -> Design:
    """Design a model.

    The generations of a family share the kind of body; a facelift differs from the model before it
    in one detail: the lamps, the wheels or the grille.

    Args:
        seed: Another seed, other cars.
        kin: The model's place among its kin.

    Returns:
        The design.
    """
    made = _generation(seed, kin.family, kin.generation)
    for facelift in range(1, kin.facelift + 1):
        made = _facelift(made, (kin.family + kin.generation + facelift - 1) % 3, facelift)
    return made


def _generation(seed: int, family: int, generation: int) -> Design:
    orders = np.random.default_rng((seed, 1))
    number = family + 10 * generation

    def style(num_styles: int, step: int) -> int:
        # Every style once before any comes again, together with other ones each time.
        order = orders.permutation(num_styles)
        return int(order[(number + number // num_styles * step) % num_styles])

    kind = _BODIES[orders.permutation(len(_BODIES))[family % len(_BODIES)]]
    rng = np.random.default_rng((seed, 2, family, generation))
    body = _vary(kind, rng)
    tall = body.height_m > _TALL_M
    long_roof = tall or body.roof_end > 0.84

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    return Design(
        body=body,
        headlamp=style(len(HEADLAMPS), 1),
        grille=style(len(GRILLES), 5),
        bumper=style(len(BUMPERS), 1),
        tail_lamp=style(len(TAIL_LAMPS), 7),
        rear_bumper=style(len(REAR_BUMPERS), 2),
        wheel=style(len(WHEELS), 3),
        windows=_SQUARE_WINDOWS if long_roof else _OTHER_WINDOWS[style(4, 1)],
        rear_pillar=float(rng.uniform(0.02, 0.045) if long_roof else rng.uniform(0.03, 0.07)),
        cladding=tall and chance(0.6),
        chrome=chance(0.5),
        side_strip=chance(0.3),
        dark_pillars=chance(0.35),
        dark_roof=chance(0.25),
        glass_roof=chance(0.3),
        rails=long_roof and chance(0.5),
        stripe=body.kind in ("coupe", "mini", "hatch") and chance(0.4),
    )


def _vary(body: Body, rng: np.random.Generator) -> Body:
    length, height, width = (
        rng.uniform(0.95, 1.06),
        rng.uniform(0.96, 1.04),
        rng.uniform(0.98, 1.03),
    )
    return replace(
        body,
        length_m=body.length_m * length,
        width_m=body.width_m * width,
        height_m=body.height_m * height,
        wheel_radius_m=body.wheel_radius_m * rng.uniform(1.0, 1.08),
        nose_m=body.nose_m * rng.uniform(0.95, 1.05),
        cowl_m=body.cowl_m * rng.uniform(0.98, 1.03),
        tail_m=body.tail_m * rng.uniform(0.97, 1.04),
        cowl=body.cowl * rng.uniform(0.93, 1.07),
        roof_start=body.roof_start * rng.uniform(0.97, 1.03),
        roof_end=body.roof_end * rng.uniform(0.98, 1.02),
        tumblehome_m=body.tumblehome_m * rng.uniform(0.85, 1.15),
    )


def _facelift(design: Design, detail: int, step: int) -> Design:
    def other(style: int, num_styles: int) -> int:
        return (style + 4 * step + 1) % num_styles

    match detail:
        case 0:
            return replace(
                design,
                headlamp=other(design.headlamp, len(HEADLAMPS)),
                tail_lamp=other(design.tail_lamp, len(TAIL_LAMPS)),
            )
        case 1:
            return replace(design, grille=other(design.grille, len(GRILLES)))
        case _:
            return replace(design, wheel=other(design.wheel, len(WHEELS)))
