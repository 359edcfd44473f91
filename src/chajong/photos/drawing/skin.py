"""The skins of the demo cars: which material each place of a surface is made of.

Shapes: h w texels of a surface, n points of a line.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from chajong.photos.drawing.body import PLATE_TEXELS, Floats, Shape, Surface
from chajong.photos.drawing.design import Design
from chajong.photos.drawing.styles import (
    BUMPERS,
    GRILLES,
    HEADLAMPS,
    REAR_BUMPERS,
    TAIL_LAMPS,
    WINDOWS,
    Area,
    Disc,
    Line,
    Material,
    Piece,
    Points,
    Style,
    Wheel,
    box,
)

Skin = NDArray[np.uint8]
M = Material

_LAMPS_GROWN = 1.6
_ABOVE_M = 2.0  # higher than any wall
_BONNET = Line(M.SEAM, ((-0.1, 0.88), (1.0, 0.90), (1.2, 0.94)), 0.011)
_BOOT: Style = (
    Line(M.SEAM, ((-0.1, 0.36), (0.78, 0.36), (0.84, 1.0)), 0.008),
    Disc(M.CHROME, (0.0, 0.86), 0.035),
)
# The letter of a number plate: a consonant (ga, na, da, ra, ma, ba, sa) and the vowel beside it.
_VOWEL, _TICK = ((16, 0), (16, 25)), ((16, 11), (21, 11))
_CONSONANTS = (
    (((1, 3), (11, 3), (9, 14), (2, 22)),),
    (((2, 2), (2, 19), (12, 17)),),
    (((12, 4), (2, 4), (2, 19), (12, 18)),),
    (((1, 3), (11, 3), (11, 11), (2, 11), (2, 20), (12, 19)),),
    (((2, 4), (11, 4), (11, 19), (2, 19), (2, 4)),),
    (((2, 2), (2, 20), (11, 20), (11, 2)), ((2, 11), (11, 11))),
    (((7, 2), (6, 10), (1, 20)), ((6, 10), (12, 20))),
)


class Canvas:
    """A skin being painted in coordinates of its own.

    Args:
        image: The skin.
        to_texels: Turns points, (n, 2), into columns and rows, (n, 2).
        texels_per_m: How wide a stroke of one metre is.
    """

    def __init__(
        self, image: Image.Image, to_texels: Callable[[Floats], Floats], texels_per_m: float
    ) -> None:
        self._draw = ImageDraw.Draw(image)
        self._to_texels, self._texels_per_m = to_texels, texels_per_m

    def paint(self, style: Style) -> None:
        """Paint the pieces of a style, the first one at the bottom.

        Args:
            style: The pieces.
        """
        for piece in style:
            self._paint(piece)

    def _paint(self, piece: Piece) -> None:
        match piece:
            case Area(material, points, smooth):
                texels = self._to_texels(rounded(points, smooth))
                self._draw.polygon(_points(texels), fill=int(material))
            case Line(material, points, width_m):
                width = max(1, round(width_m * self._texels_per_m))
                texels = self._to_texels(np.asarray(points, float))
                self._draw.line(_points(texels), fill=int(material), width=width, joint="curve")
            case Disc(material, at, radius_m):
                turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
                middle = self._to_texels(np.asarray([at], float))
                ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * self._texels_per_m
                self._draw.polygon(_points(middle + ring * radius_m), fill=int(material))


def _points(line: Floats) -> Points:
    return tuple((x, y) for x, y in line.tolist())


def rounded(points: Points, times: int) -> Floats:
    """Round the corners of a polygon by cutting them, as Chaikin does.

    Args:
        points: The corners.
        times: How often they are cut; 0 keeps them sharp.

    Returns:
        More corners, (n, 2).
    """
    line = np.asarray(points, float)
    for cut in range(times):
        share = 0.15 if cut == 0 else 0.25
        ahead = np.roll(line, -1, axis=0)
        near, far = (1 - share) * line + share * ahead, share * line + (1 - share) * ahead
        line = np.stack([near, far], axis=1).reshape(-1, 2)
    return line


def _blank(surface: Surface, material: Material) -> Image.Image:
    height, width = surface.points_m.shape[:2]
    return Image.new("L", (width, height), int(material))


def wall_skin(design: Design, shape: Shape) -> Skin:
    """Paint the body below the windows.

    Args:
        design: The car.
        shape: Its surfaces.

    Returns:
        Materials, (h, w).
    """
    body, points = design.body, shape.wall.points_m
    image = _blank(shape.wall, M.PAINT)
    height, width = points.shape[:2]
    per_m = (width - 1) / shape.wall_m
    half = body.width_m / 2 * per_m

    def front(places: Floats) -> Floats:
        placed: Floats = places * np.array((half, height - 1))
        return placed

    def rear(places: Floats) -> Floats:
        return front(places) * (-1, 1) + (width - 1, 0)

    def side(places: Floats) -> Floats:
        along = points[height // 2, :, 0]
        cols = np.interp(-places[:, 0], -along, np.arange(width))
        low, high = points[0, :, 2], points[-1, :, 2]
        share = (places[:, 1] - np.interp(cols, np.arange(width), low)) / np.interp(
            cols, np.arange(width), high - low
        )
        return np.column_stack([cols, share * (height - 1)])

    def larger(place: Callable[[Floats], Floats]) -> Canvas:
        # Lamps are drawn larger than life, as much hangs on them.
        middle = np.array((0.86, 0.70))
        grown = _LAMPS_GROWN * per_m
        return Canvas(image, lambda p: place((p - middle) * _LAMPS_GROWN + middle), grown)

    Canvas(image, side, per_m).paint(_doors(design))
    Canvas(image, front, per_m).paint((_BONNET, *GRILLES[design.grille], *BUMPERS[design.bumper]))
    larger(front).paint(HEADLAMPS[design.headlamp])
    Canvas(image, rear, per_m).paint((*_BOOT, *REAR_BUMPERS[design.rear_bumper]))
    larger(rear).paint(TAIL_LAMPS[design.tail_lamp])
    Canvas(image, side, per_m).paint(_arches(design))
    return np.array(image)


def _doors(design: Design) -> Style:
    # Doors and trim of the side, in metres.
    body = design.body
    front, rear = body.axles_m
    low_m, radius_m = body.clearance_m, body.wheel_radius_m
    first, last = front - radius_m - 0.13, rear + radius_m * 0.55
    middle = (first + last) / 2 - 0.03
    ends = (first, middle, last) if design.num_doors == 4 else (first, middle - 0.25)
    handle_m = body.cowl_m - 0.16
    pieces: list[Piece] = [
        *(Line(M.SEAM, ((x, low_m + 0.1), (x, _ABOVE_M)), 0.009) for x in ends),
        Line(M.SEAM, ((first, low_m + 0.1), (ends[-1], low_m + 0.1)), 0.009),
    ]
    handle = M.CHROME if design.chrome else M.SEAM
    pieces += [Line(handle, ((x + 0.06, handle_m), (x + 0.24, handle_m)), 0.03) for x in ends[1:]]
    if design.side_strip:
        pieces.append(Line(M.CHROME, ((first, low_m + 0.2), (last, low_m + 0.2)), 0.025))
    if design.cladding:
        pieces.append(box(M.TRIM, rear, low_m - 0.2, front, low_m + 0.17, 0))
    return tuple(pieces)


def _arches(design: Design) -> Style:
    # The wheel arches, in metres.
    body = design.body
    hubs = [(x, body.wheel_radius_m) for x in body.axles_m]
    wells = [Disc(M.WELL, hub, body.wheel_radius_m * 1.13) for hub in hubs]
    rims = [Disc(M.TRIM, hub, body.wheel_radius_m * 1.36) for hub in hubs]
    return tuple([*rims, *wells] if design.cladding else wells)


def cabin_skin(design: Design, shape: Shape) -> Skin:
    """Paint the windows, what is seen through them, and the pillars between them.

    Args:
        design: The car.
        shape: Its surfaces.

    Returns:
        Materials, (h, w).
    """
    image = _blank(shape.cabin, M.GLOSS if design.dark_pillars else M.PAINT)
    height, width = shape.cabin.points_m.shape[:2]
    facing_side = np.abs(shape.cabin.normals[height // 2, :, 1]) > 0.75
    first, *_, last = np.flatnonzero(facing_side).tolist()
    start, end = first + 0.015 * width, last - design.rear_pillar * width
    per_m = height / 0.55

    def ends(places: Floats) -> Floats:
        placed: Floats = places * np.array((width - 1, height - 1))
        return placed

    def windows(places: Floats) -> Floats:
        placed: Floats = places * np.array((end - start, height - 1)) + np.array((start, 0))
        return placed

    front, rear = first / width - 0.012, last / width + 0.012
    Canvas(image, ends, per_m).paint(_screens(design, front, rear))
    Canvas(image, windows, per_m).paint(_side_windows(design))
    return np.array(image)


def _screens(design: Design, front: float, rear: float) -> Style:
    # Wind screen and rear window; `front` and `rear` are the pillars' shares of the way round.
    pieces: list[Piece] = [
        Area(M.GLASS, ((-0.1, 0.0), (front, 0.0), (front, 0.88), (-0.1, 0.90)), 1),
        box(M.SEAT, front * 0.22, -0.1, front * 0.78, 0.40, 2),
        box(M.SEAT, front * 0.36, 0.45, front * 0.64, 0.62, 2),
        Area(M.GLASS, ((rear, 0.12), (rear, 0.84), (1.2, 0.86), (1.2, 0.10)), 1),
        box(M.SEAT, rear * 0.45 + 0.55, 0.12, rear * 0.2 + 0.8, 0.34, 2),
        box(M.RED, 0.985, 0.79, 1.1, 0.83, 0),
    ]
    if design.body.cabin_end > 0.97:  # a hatch has a wiper
        pieces.append(Line(M.TRIM, ((1.0, 0.16), (0.5 * rear + 0.5, 0.24)), 0.02))
    return tuple(pieces)


def _side_windows(design: Design) -> Style:
    outline = rounded(WINDOWS[design.windows], 2)
    middle = outline.mean(axis=0)
    rim = (outline - middle) * (1.03, 1.12) + middle
    two = design.num_doors == 2
    seats, posts = ((0.40,), (0.56,)) if two else ((0.33, 0.70), (0.46, 0.84))
    return (
        Area(M.CHROME if design.chrome else M.TRIM, _points(rim), 0),
        Area(M.GLASS, _points(outline), 0),
        *(box(M.SEAT, x - 0.04, 0.12, x + 0.04, 0.52, 2) for x in seats),
        *(Line(M.TRIM, ((x + 0.01, -0.1), (x - 0.02, 0.92)), 0.05) for x in posts),
    )


def deck_skin(design: Design, shape: Shape) -> Skin:
    """Paint the bonnet, the boot or the bed.

    Args:
        design: The car.
        shape: Its surfaces.

    Returns:
        Materials, (h, w).
    """
    body = design.body
    image = _blank(shape.deck, M.PAINT)
    height, width = shape.deck.points_m.shape[:2]
    along = shape.deck.points_m[0, :, 0]

    def above(places: Floats) -> Floats:
        cols = np.interp(places[:, 0], along, np.arange(width))
        return np.column_stack([cols, places[:, 1] * (height - 1)])

    cowl, cabin_end = body.x_m(body.cowl), body.x_m(body.cabin_end)
    pieces: list[Piece] = [
        Line(M.SEAM, ((body.x_m(0.11), 0.14), (cowl, 0.10)), 0.010),
        box(M.TRIM, cowl - 0.1, 0.1, cowl + 0.06, 1.2, 0),
    ]
    if body.kind == "pickup":
        pieces.append(box(M.WELL, body.x_m(0.975), 0.10, cabin_end - 0.03, 1.2, 0))
    if design.stripe:
        pieces.append(box(M.ROOF, body.x_m(1.1), 0.62, body.x_m(-0.1), 0.86, 0))
    Canvas(image, above, height / 0.8).paint(tuple(pieces))
    return np.array(image)


def roof_skin(design: Design, shape: Shape) -> Skin:
    """Paint the roof.

    Args:
        design: The car.
        shape: Its surfaces.

    Returns:
        Materials, (h, w).
    """
    image = _blank(shape.roof, M.ROOF if design.dark_roof else M.PAINT)
    height, width = shape.roof.points_m.shape[:2]
    pieces: list[Piece] = []
    if design.glass_roof:
        pieces.append(box(M.GLASS, 0.12, 0.14, 0.80, 1.2, 0))
    if design.rails:
        pieces.append(Line(M.ALLOY, ((0.06, 0.06), (0.94, 0.06)), 0.05))
    if design.stripe:
        pieces.append(box(M.ROOF, -0.1, 0.62, 1.1, 0.86, 0))
    Canvas(image, lambda places: places * (width - 1, height - 1), height / 0.6).paint(
        tuple(pieces)
    )
    return np.array(image)


def wheel_skin(wheel: Wheel, height: int, width: int) -> Skin:
    """Paint a wheel in polar coordinates.

    Args:
        wheel: The pattern of its rim.
        height: Rows, from the hub outwards.
        width: Columns, once round.

    Returns:
        Materials, (h, w).
    """
    radius = np.linspace(0, 1, height)[:, None] / 0.72
    turn = np.linspace(0, 1, width)[None, :]
    rim = M.GLOSS if wheel.dark else M.ALLOY
    phase = (turn * wheel.num_spokes + wheel.twist * (radius - 0.5)) % 1
    off = np.abs(phase - 0.5) * 2
    width_here = wheel.width + wheel.taper * (1 - radius)
    if wheel.holes:
        spoke = (off / wheel.width) ** 2 + ((radius - 0.66) / 0.2) ** 2 > 1
    elif wheel.forked:
        spread = width_here * (radius - wheel.hub).clip(0)
        spoke = np.abs(off - spread) < 0.16 + 0.1 * (1 - radius)
    else:
        spoke = off < width_here
    skin = np.where(spoke, rim, M.WELL)
    skin = np.where(radius < wheel.hub, rim, skin)
    skin = np.where(radius < 0.09, M.CHROME, skin)
    skin = np.where((radius > 0.9) & (radius <= 1), M.ALLOY, skin)
    return np.where(radius > 1, M.TYRE, skin).astype(np.uint8)


def plate_skin(rng: np.random.Generator) -> Skin:
    """Paint a number plate that nobody has.

    Args:
        rng: Where the number comes from.

    Returns:
        Materials, (h, w).
    """
    height, width = PLATE_TEXELS
    image = Image.new("L", (width, height), int(M.PLATE))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(42)
    number = f"{rng.integers(0, 1000):03d}", f"{rng.integers(0, 10000):04d}"
    draw.text((10, 24), number[0], int(M.INK), font, anchor="lm", stroke_width=1)
    draw.text((106, 24), number[1], int(M.INK), font, anchor="lm", stroke_width=1)
    left, top = 82, 12
    for stroke in (*_CONSONANTS[rng.integers(len(_CONSONANTS))], _VOWEL, _TICK):
        draw.line([(left + x, top + y) for x, y in stroke], int(M.INK), 3)
    draw.rectangle((0, 0, width - 1, height - 1), outline=int(M.INK))
    return np.array(image)
