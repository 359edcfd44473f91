"""The faces of the demo cars as data: lamps, grilles, bumpers, tail lamps, wheels and windows.

Places on the front and the rear are (p, v): p runs along the body from the middle and is 1 where
half the width is reached, so that more than 1 lies round the corner; v is 0 at the lower edge of
the body and 1 at the bonnet or the boot. The right half mirrors the left one.
"""

from dataclasses import dataclass
from enum import IntEnum


class Material(IntEnum):
    """What a place of the surface is made of."""

    PAINT = 0
    SEAM = 1
    GLASS = 2
    TRIM = 3
    GLOSS = 4
    CHROME = 5
    LAMP = 6
    LIGHT = 7
    RED = 8
    GLOW = 9
    AMBER = 10
    ALLOY = 11
    TYRE = 12
    WELL = 13
    PLATE = 14
    INK = 15
    ROOF = 16
    SEAT = 17


M = Material
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Area:
    """A filled polygon with rounded corners."""

    material: Material
    points: Points
    smooth: int = 2


@dataclass(frozen=True)
class Line:
    """A stroke."""

    material: Material
    points: Points
    width_m: float = 0.02


@dataclass(frozen=True)
class Disc:
    """A filled circle."""

    material: Material
    at: tuple[float, float]
    radius_m: float


Piece = Area | Line | Disc
Style = tuple[Piece, ...]


def box(
    material: Material, left: float, low: float, right: float, high: float, smooth: int = 1
) -> Area:
    """Make a filled rectangle.

    Args:
        material: What it is filled with.
        left: Its left side.
        low: Its lower side.
        right: Its right side.
        high: Its upper side.
        smooth: How often its corners are cut.

    Returns:
        The area.
    """
    return Area(material, ((left, low), (right, low), (right, high), (left, high)), smooth)


def _rows(
    material: Material, left: float, right: float, *heights: float, width_m: float = 0.016
) -> Style:
    return tuple(Line(material, ((left, v), (right, v)), width_m) for v in heights)


def _columns(
    material: Material, low: float, high: float, *places: float, width_m: float = 0.016
) -> Style:
    return tuple(Line(material, ((p, low), (p, high)), width_m) for p in places)


HEADLAMPS: tuple[Style, ...] = (
    # a blade with a light along its lower edge
    (
        Area(M.GLOSS, ((0.50, 0.62), (0.95, 0.80), (1.38, 0.86), (1.30, 0.70), (0.80, 0.58))),
        Disc(M.LAMP, (0.74, 0.67), 0.045),
        Disc(M.LAMP, (0.93, 0.71), 0.045),
        Line(M.LIGHT, ((0.52, 0.61), (0.82, 0.59), (1.28, 0.70)), 0.028),
    ),
    # a round eye
    (
        Disc(M.CHROME, (0.74, 0.66), 0.150),
        Disc(M.LAMP, (0.74, 0.66), 0.125),
        Disc(M.GLOSS, (0.74, 0.66), 0.060),
        Disc(M.LIGHT, (0.74, 0.66), 0.035),
    ),
    # two square blocks
    (
        box(M.LIGHT, 0.52, 0.58, 0.82, 0.82),
        box(M.LAMP, 0.56, 0.61, 0.78, 0.79),
        box(M.LIGHT, 0.87, 0.58, 1.17, 0.82),
        box(M.LAMP, 0.91, 0.61, 1.13, 0.79),
    ),
    # a thin light above, the lamp below in the bumper
    (
        Area(M.LIGHT, ((0.50, 0.78), (1.25, 0.86), (1.25, 0.80), (0.50, 0.73)), 1),
        Area(M.GLOSS, ((0.70, 0.34), (0.70, 0.60), (1.15, 0.66), (1.10, 0.36))),
        Disc(M.LAMP, (0.82, 0.49), 0.055),
        Disc(M.LAMP, (0.98, 0.51), 0.055),
    ),
    # a bar of light over the whole width
    (
        box(M.GLOSS, -0.1, 0.70, 1.34, 0.84),
        Line(M.LIGHT, ((-0.1, 0.78), (1.30, 0.78)), 0.034),
        Area(M.GLOSS, ((0.80, 0.50), (0.78, 0.66), (1.18, 0.68), (1.10, 0.50))),
        box(M.LAMP, 0.84, 0.53, 1.08, 0.64),
    ),
    # upright lamps
    (
        box(M.GLOSS, 0.80, 0.40, 1.12, 0.90),
        box(M.LAMP, 0.84, 0.44, 1.08, 0.57),
        box(M.LAMP, 0.84, 0.60, 1.08, 0.72),
        box(M.LIGHT, 0.84, 0.75, 1.08, 0.86),
    ),
    # a hook of light round the lamp
    (
        Area(M.GLOSS, ((0.55, 0.58), (0.58, 0.84), (1.24, 0.86), (1.18, 0.52)), 1),
        box(M.LAMP, 0.72, 0.63, 1.02, 0.76),
        Line(M.LIGHT, ((0.60, 0.80), (1.18, 0.82), (1.12, 0.42), (0.90, 0.38)), 0.036),
    ),
    # a big drop with an amber corner
    (
        Area(M.LAMP, ((0.46, 0.52), (0.62, 0.72), (1.05, 0.94), (1.40, 0.92), (1.22, 0.56)), 3),
        Disc(M.CHROME, (0.75, 0.65), 0.065),
        Disc(M.CHROME, (1.00, 0.74), 0.075),
        Area(M.AMBER, ((1.16, 0.62), (1.18, 0.90), (1.36, 0.90), (1.24, 0.62)), 1),
    ),
    # two eyes
    (
        Disc(M.GLOSS, (0.60, 0.68), 0.105),
        Disc(M.LAMP, (0.60, 0.68), 0.085),
        Disc(M.GLOSS, (0.90, 0.70), 0.105),
        Disc(M.LIGHT, (0.90, 0.70), 0.085),
    ),
    # three slashes
    (
        Area(M.GLOSS, ((0.50, 0.54), (0.60, 0.88), (1.26, 0.90), (1.12, 0.54)), 1),
        Line(M.LIGHT, ((0.58, 0.58), (0.72, 0.84)), 0.040),
        Line(M.LIGHT, ((0.78, 0.58), (0.92, 0.84)), 0.040),
        Line(M.LIGHT, ((0.98, 0.58), (1.12, 0.84)), 0.040),
    ),
    # a triangle that points inwards
    (
        Area(M.LIGHT, ((0.42, 0.60), (1.22, 0.92), (1.14, 0.44)), 1),
        Area(M.GLOSS, ((0.56, 0.61), (1.13, 0.84), (1.08, 0.51)), 1),
        Disc(M.LAMP, (0.94, 0.67), 0.065),
    ),
    # a frame of light
    (
        box(M.LIGHT, 0.54, 0.52, 1.14, 0.86),
        box(M.GLOSS, 0.60, 0.58, 1.08, 0.80),
        Disc(M.LAMP, (0.84, 0.69), 0.070),
    ),
)

GRILLES: tuple[Style, ...] = (
    # wide, with chrome bars
    (
        Area(M.GLOSS, ((-0.1, 0.46), (-0.1, 0.78), (0.50, 0.76), (0.42, 0.46)), 1),
        *_rows(M.CHROME, -0.1, 0.44, 0.53, 0.61, 0.69),
    ),
    # a tall hexagon in a chrome frame
    (
        Area(M.CHROME, ((-0.1, 0.14), (-0.1, 0.84), (0.36, 0.84), (0.50, 0.56), (0.34, 0.14)), 1),
        Area(M.TRIM, ((-0.1, 0.19), (-0.1, 0.79), (0.33, 0.79), (0.45, 0.55), (0.30, 0.19)), 1),
    ),
    # a pair of nostrils
    (
        box(M.CHROME, 0.03, 0.40, 0.36, 0.86, 2),
        box(M.TRIM, 0.07, 0.45, 0.32, 0.81, 2),
    ),
    # seven slots
    (*_columns(M.TRIM, 0.46, 0.84, 0.0, 0.14, 0.28, 0.42, width_m=0.072),),
    # closed: a lid with a badge, a slot far below
    (
        Disc(M.CHROME, (0.0, 0.70), 0.060),
        box(M.TRIM, -0.1, 0.08, 0.62, 0.18),
    ),
    # a slit between the lamps
    (
        box(M.CHROME, -0.1, 0.62, 0.56, 0.74),
        box(M.GLOSS, -0.1, 0.645, 0.53, 0.715),
        Disc(M.CHROME, (0.0, 0.68), 0.055),
    ),
    # a shield that narrows downwards
    (
        Area(M.CHROME, ((-0.1, 0.06), (-0.1, 0.86), (0.34, 0.86), (0.10, 0.06)), 1),
        Area(M.GLOSS, ((-0.1, 0.14), (-0.1, 0.81), (0.28, 0.81), (0.06, 0.14)), 1),
    ),
    # a wide mouth that opens downwards
    (
        Area(M.TRIM, ((-0.1, 0.12), (-0.1, 0.62), (0.40, 0.62), (0.74, 0.12)), 1),
        *_rows(M.GLOSS, -0.1, 0.52, 0.30, 0.46),
    ),
    # two storeys
    (
        box(M.GLOSS, -0.1, 0.66, 0.46, 0.78),
        Area(M.TRIM, ((-0.1, 0.10), (-0.1, 0.50), (0.56, 0.50), (0.64, 0.10)), 1),
        Line(M.CHROME, ((-0.1, 0.30), (0.60, 0.30)), 0.022),
    ),
    # a dark panel over the whole front
    (
        Area(M.GLOSS, ((-0.1, 0.30), (-0.1, 0.82), (1.10, 0.84), (0.96, 0.34)), 1),
        *_columns(M.TRIM, 0.36, 0.60, 0.08, 0.24, 0.40, 0.56),
    ),
    # upright chrome bars
    (
        box(M.CHROME, -0.1, 0.36, 0.44, 0.88),
        box(M.TRIM, -0.1, 0.40, 0.41, 0.84),
        *_columns(M.CHROME, 0.40, 0.84, 0.0, 0.12, 0.24, 0.35, width_m=0.024),
    ),
    # a cross
    (
        Area(M.TRIM, ((-0.1, 0.42), (0.50, 0.80), (0.62, 0.70), (0.06, 0.36), (-0.1, 0.36)), 0),
        Area(M.TRIM, ((-0.1, 0.34), (0.02, 0.38), (0.60, 0.16), (0.50, 0.08), (-0.1, 0.28)), 0),
    ),
)

BUMPERS: tuple[Style, ...] = (
    (),
    (Disc(M.CHROME, (0.86, 0.26), 0.062), Disc(M.LAMP, (0.86, 0.26), 0.045)),
    (Area(M.TRIM, ((0.80, 0.12), (0.96, 0.40), (1.10, 0.40), (1.06, 0.12)), 1),),
    (box(M.TRIM, -0.1, -0.1, 1.6, 0.16, 0), box(M.CHROME, -0.1, 0.02, 0.46, 0.10, 0)),
    (Area(M.GLOSS, ((0.66, 0.14), (1.10, 0.30), (1.12, 0.20), (0.70, 0.05)), 1),),
    (box(M.TRIM, -0.1, -0.1, 1.6, 0.10, 0), box(M.LIGHT, 0.84, 0.22, 1.04, 0.27, 0)),
)

TAIL_LAMPS: tuple[Style, ...] = (
    # a bar over the whole width
    (
        box(M.RED, -0.1, 0.66, 1.30, 0.80),
        Line(M.GLOW, ((-0.1, 0.73), (1.26, 0.73)), 0.040),
    ),
    # an L that lies down
    (
        Area(
            M.RED,
            ((0.48, 0.60), (0.48, 0.70), (0.86, 0.72), (0.90, 0.92), (1.20, 0.92), (1.16, 0.58)),
            1,
        ),
        Line(M.GLOW, ((0.54, 0.65), (0.98, 0.65), (1.06, 0.88)), 0.032),
    ),
    # upright columns
    (
        box(M.RED, 0.82, 0.36, 1.14, 0.96),
        box(M.GLOW, 0.88, 0.56, 1.04, 0.92),
        box(M.AMBER, 0.86, 0.40, 1.08, 0.50),
    ),
    # two round lamps
    (
        Disc(M.CHROME, (0.58, 0.70), 0.095),
        Disc(M.GLOW, (0.58, 0.70), 0.078),
        Disc(M.CHROME, (0.86, 0.70), 0.095),
        Disc(M.RED, (0.86, 0.70), 0.078),
        Disc(M.GLOW, (0.86, 0.70), 0.040),
    ),
    # blades
    (
        Area(M.RED, ((0.30, 0.72), (1.34, 0.88), (1.34, 0.76), (0.50, 0.64)), 1),
        Line(M.GLOW, ((0.42, 0.71), (1.28, 0.81)), 0.024),
    ),
    # hooks
    (
        Area(M.GLOSS, ((0.52, 0.50), (0.52, 0.88), (1.22, 0.90), (1.16, 0.50)), 1),
        Line(M.GLOW, ((0.62, 0.58), (0.60, 0.80), (1.10, 0.82), (1.06, 0.60), (0.84, 0.58)), 0.036),
    ),
    # blocks
    (
        box(M.RED, 0.60, 0.56, 1.20, 0.84),
        box(M.GLOW, 0.66, 0.62, 0.86, 0.78),
        box(M.LAMP, 0.90, 0.62, 1.04, 0.78),
        box(M.AMBER, 1.06, 0.62, 1.18, 0.78),
    ),
    # triangles that point inwards
    (
        Area(M.RED, ((0.36, 0.66), (1.24, 0.96), (1.16, 0.46)), 1),
        Area(M.GLOW, ((0.74, 0.67), (1.08, 0.80), (1.04, 0.56)), 1),
    ),
    # three bars
    (*_columns(M.GLOW, 0.52, 0.88, 0.62, 0.78, 0.94, width_m=0.090),),
    # a dark panel with a dotted line
    (
        box(M.GLOSS, -0.1, 0.58, 1.26, 0.86),
        *(Disc(M.GLOW, (0.09 + 0.15 * i, 0.72), 0.036) for i in range(8)),
    ),
    # an arrow that points outwards
    (
        Area(
            M.RED,
            ((0.56, 0.54), (0.72, 0.72), (0.56, 0.92), (0.92, 0.92), (1.22, 0.73), (0.92, 0.54)),
            0,
        ),
        Line(M.GLOW, ((0.76, 0.60), (0.98, 0.73), (0.76, 0.86)), 0.036),
    ),
    # a light high up and a deep one
    (
        Area(M.GLOW, ((0.30, 0.88), (1.24, 0.92), (1.24, 0.85), (0.30, 0.82)), 0),
        box(M.RED, 0.80, 0.24, 1.16, 0.38),
    ),
)

REAR_BUMPERS: tuple[Style, ...] = (
    (Line(M.SEAM, ((-0.1, 0.40), (1.1, 0.40)), 0.008),),
    (box(M.TRIM, -0.1, -0.1, 0.96, 0.16), Disc(M.CHROME, (0.68, 0.10), 0.055)),
    (box(M.TRIM, -0.1, -0.1, 1.6, 0.22, 0), box(M.CHROME, -0.1, 0.02, 0.5, 0.12, 0)),
    (
        Area(M.GLOSS, ((-0.1, -0.1), (-0.1, 0.20), (0.64, 0.20), (0.80, -0.1)), 0),
        Disc(M.CHROME, (0.78, 0.10), 0.05),
        Disc(M.CHROME, (0.92, 0.10), 0.05),
    ),
    (Line(M.CHROME, ((-0.1, 0.34), (1.2, 0.34)), 0.022), box(M.RED, 0.78, 0.12, 1.02, 0.18)),
)

# Side windows: (share of the length, share of the height) from the front lower corner round.
WINDOWS: tuple[Points, ...] = (
    # the lower edge kicks up at the end
    ((0.00, 0.06), (0.00, 0.14), (0.20, 0.84), (0.72, 0.84), (0.98, 0.46), (0.88, 0.10)),
    # a long point at the end
    ((0.00, 0.06), (0.00, 0.14), (0.20, 0.84), (0.62, 0.84), (1.00, 0.30), (0.98, 0.12)),
    # square at the end
    ((0.00, 0.04), (0.00, 0.14), (0.14, 0.86), (0.96, 0.86), (1.00, 0.10), (0.98, 0.04)),
    # the lower edge rises, small at the end
    ((0.00, 0.00), (0.00, 0.10), (0.20, 0.84), (0.80, 0.84), (0.96, 0.70), (0.86, 0.34)),
    # rounded at the end
    ((0.00, 0.06), (0.00, 0.14), (0.20, 0.82), (0.66, 0.86), (0.90, 0.62), (0.94, 0.12)),
)


@dataclass(frozen=True)
class Wheel:
    """The pattern of a rim."""

    num_spokes: int
    width: float  # share of the turn that spokes cover at the rim
    taper: float  # how much wider (or, negative, narrower) they are at the hub
    twist: float = 0.0  # how far they lean, in spokes
    forked: bool = False
    holes: bool = False  # round holes in a plate instead of spokes
    hub: float = 0.2  # share of the rim's radius
    dark: bool = False


WHEELS: tuple[Wheel, ...] = (
    Wheel(5, 0.42, 0.0),
    Wheel(10, 0.40, 0.0),
    Wheel(5, 0.50, 0.1, forked=True),
    Wheel(7, 0.45, 0.0, twist=0.9),
    Wheel(8, 0.55, 0.0, holes=True, hub=0.3),
    Wheel(3, 0.50, 0.1, hub=0.3),
    Wheel(6, 0.34, 0.2, forked=True, dark=True),
    Wheel(16, 0.45, 0.0, dark=True),
    Wheel(9, 0.62, -0.1, twist=-1.2),
    Wheel(4, 0.72, -0.1, hub=0.34),
    Wheel(12, 0.50, 0.0, forked=True),
    Wheel(5, 0.70, 0.1, holes=True, hub=0.22, dark=True),
)
