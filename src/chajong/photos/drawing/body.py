"""The bodies of the demo cars: smooth surfaces made from a few proportions.

Axes in metres: x forwards, y to the left, z up; the origin lies on the ground under the middle of
the car. Shapes: h w texels of one surface, n points of a line.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PLATE_TEXELS = (48, 208)
_WALL_TEXELS = (144, 1152)  # a texel of about 6 mm, so that the seam of a door is one or two wide
_CABIN_TEXELS = (96, 672)
_CAP_TEXELS = (72, 288)
_FACE_TEXELS = (64, 361)
_BEND = 0.86  # where, on the way up, a wall begins to bend into the lid above it


@dataclass(frozen=True)
class Body:
    """The proportions of a car; places along it are shares of the length, 0 at the nose."""

    kind: str
    length_m: float
    width_m: float
    height_m: float
    wheelbase: float
    front_axle: float
    clearance_m: float
    wheel_radius_m: float
    nose_m: float  # heights of the bonnet's front edge, of the wind screen's foot, of the boot
    cowl_m: float
    tail_m: float
    cowl: float  # places of the wind screen's foot, of the roof and of the rear window's foot
    roof_start: float
    roof_end: float
    cabin_end: float
    sharpness: float  # how square the corners are, seen from above; 2 would be an ellipse
    tumblehome_m: float  # how far the side windows lean inwards

    def x_m(self, share: float) -> float:
        """Turn a share of the length into a coordinate.

        Args:
            share: 0 at the nose, 1 at the tail.

        Returns:
            x in metres.
        """
        return (0.5 - share) * self.length_m

    @property
    def axles_m(self) -> tuple[float, float]:
        """The x coordinates of the front and the rear axle."""
        return self.x_m(self.front_axle), self.x_m(self.front_axle + self.wheelbase)


@dataclass(frozen=True)
class Surface:
    """A grid of points on the left half of the car."""

    points_m: Floats  # (h, w, 3)
    num_pinched: int = 0  # columns at either end that are too close to tell a direction

    @property
    def normals(self) -> Floats:
        """The outward unit normals, (h, w, 3)."""
        down, along = np.gradient(self.points_m, axis=(0, 1))
        normals = np.cross(along, down)
        normals /= np.linalg.norm(normals, axis=2, keepdims=True) + 1e-12
        if pinched := self.num_pinched:
            normals[:, :pinched] = normals[:, pinched : pinched + 1]
            normals[:, -pinched:] = normals[:, -pinched - 1 : -pinched]
        inside = self.points_m.mean(axis=(0, 1)) * (0.9, 0, 1)
        outward = np.sum(normals * (self.points_m - inside)) >= 0
        return normals if outward else -normals


@dataclass(frozen=True)
class Shape:
    """The surfaces of one car."""

    wall: (
        Surface  # from the sills up to the bonnet, running from the nose over the left to the tail
    )
    deck: Surface  # bonnet and boot
    cabin: Surface  # wind screen, side windows and rear window
    roof: Surface
    faces: tuple[Surface, ...]  # of the wheels, in polar coordinates
    treads: tuple[Surface, ...]
    mirror: Surface
    plates: tuple[Surface, ...]  # front and rear, each over both halves
    wall_m: float  # how long the wall is


def shape(body: Body) -> Shape:
    """Build the surfaces of a body.

    Args:
        body: Its proportions.

    Returns:
        The left half of the car.
    """
    wall = _wall(body)
    cabin = _cabin(body, wall.points_m[-1])
    side_m = float(wall.points_m[..., 1].max()) - 0.045
    wheels = [_wheel(body, axle_m, side_m) for axle_m in body.axles_m]
    return Shape(
        wall=wall,
        deck=_cap(wall.points_m[-1], crown_m=0.05),
        cabin=cabin,
        roof=_cap(cabin.points_m[-1], crown_m=0.035),
        faces=tuple(face for face, _ in wheels),
        treads=tuple(tread for _, tread in wheels),
        mirror=_mirror(body),
        plates=(_plate(wall, 0, 0.30), _plate(wall, -1, 0.50 if body.height_m > 1.55 else 0.24)),
        wall_m=_length_m(_body_outline(body)),
    )


def _outline(front_m: float, rear_m: float, half_width_m: float, sharpness: float) -> Floats:
    # Half a rounded rectangle from the front centre over the left to the rear centre, (n, 2).
    angle = np.linspace(0, np.pi, 4001)
    along = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / sharpness)
    x = (front_m + rear_m) / 2 + (front_m - rear_m) / 2 * along
    return np.stack([x, half_width_m * np.sin(angle).clip(0) ** (2 / 3.4)], axis=1)


def _body_outline(body: Body) -> Floats:
    half_m = body.length_m / 2
    return _outline(half_m, -half_m, body.width_m / 2, body.sharpness)


def _length_m(line: Floats) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _even(*lines: Floats, num: int) -> list[Floats]:
    # Sample lines that run side by side at even distances along their mean.
    mean = np.mean([line[:, :2] for line in lines], axis=0)
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(mean, axis=0), axis=1))])
    at = np.linspace(0, way[-1], num)
    return [np.stack([np.interp(at, way, axis) for axis in line.T], axis=1) for line in lines]


def _outward(line: Floats) -> Floats:
    # The outward unit normals of a line seen from above, (n, 2).
    step = np.gradient(line[:, :2], axis=0)
    normal = np.stack([step[:, 1], -step[:, 0]], axis=1)
    unit: Floats = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12)
    return unit


def _deck_height_m(body: Body, x: Floats) -> Floats:
    # The height of bonnet, waist and boot along the car.
    ends = (body.x_m(1), body.x_m(body.cabin_end), body.x_m(body.cowl), body.x_m(0))
    fine = np.linspace(-0.7, 0.7, 561) * body.length_m
    line = np.interp(fine, ends, (body.tail_m, body.cowl_m + 0.03, body.cowl_m, body.nose_m))
    kernel = np.exp(-0.5 * (np.arange(-60, 61) * (fine[1] - fine[0]) / 0.16) ** 2)
    line = np.convolve(np.pad(line, 60, mode="edge"), kernel / kernel.sum(), mode="valid")
    return np.interp(x, fine, line)


def _wall(body: Body) -> Surface:
    (line,) = _even(_body_outline(body), num=_WALL_TEXELS[1])
    outward = _outward(line)
    front, rear = outward[:, 0].clip(0) ** 2, (-outward[:, 0]).clip(0) ** 2
    side = 1 - front - rear
    up = np.linspace(0, 1, _WALL_TEXELS[0])[:, None]
    round_m = 0.11 * front + 0.10 * side + 0.08 * rear
    turn = ((up - _BEND) / (1 - _BEND)).clip(0) * np.pi / 2
    straight_m = _deck_height_m(body, line[:, 0]) - round_m - body.clearance_m
    z = body.clearance_m + (up / _BEND).clip(0, 1) * straight_m + round_m * np.sin(turn)
    inset_m = round_m * (1 - np.cos(turn))
    # the tuck above the sill, the lean of nose and tail, the shoulder, the hollow of the doors
    inset_m = inset_m + (0.10 - 0.03 * side) * ((0.28 - up) / 0.28).clip(0) ** 2
    inset_m = inset_m + (0.07 * front + 0.04 * rear) * ((up - 0.46) / 0.54).clip(0) ** 1.5
    inset_m = inset_m + side * 0.022 * (1 + np.tanh((up - 0.70) / 0.035))
    inset_m = inset_m + side * 0.03 * np.exp(-(((up - 0.36) / 0.16) ** 2))
    for axle_m in body.axles_m:  # flares round the wheels
        away_m = np.hypot(line[:, 0] - axle_m, z - body.wheel_radius_m)
        off_m = away_m - body.wheel_radius_m * 1.16
        inset_m = inset_m - side * 0.045 * np.exp(-((off_m / 0.09) ** 2))
    points = np.empty((*z.shape, 3))
    points[..., :2] = line - outward * inset_m[..., None]
    points[..., 1] = points[..., 1].clip(0)
    points[..., 2] = z
    return Surface(points)


def _cabin(body: Body, rim_m: Floats) -> Surface:
    # The walls of the cabin on a rim, (w, 3), the upper edge of the body.
    low_m = body.width_m / 2 - 0.09
    low = _outline(body.x_m(body.cowl), body.x_m(body.cabin_end), low_m, 9)
    high_m = low_m - body.tumblehome_m
    high = _outline(body.x_m(body.roof_start), body.x_m(body.roof_end), high_m, 9)
    order = np.argsort(rim_m[:, 0])
    foot_m = np.interp(low[:, 0], rim_m[order, 0], rim_m[order, 2])
    middle_m, half_m = (high[0, 0] + high[-1, 0]) / 2, (high[0, 0] - high[-1, 0]) / 2
    arch_m = 0.06 * ((high[:, 0] - middle_m) / half_m) ** 2
    low = np.column_stack([low, foot_m - 0.02])
    high = np.column_stack([high, body.height_m - 0.035 - arch_m])
    low, high = _even(low, high, num=_CABIN_TEXELS[1])
    outward = np.column_stack([_outward((low + high) / 2), np.zeros(len(low))])
    up = np.linspace(0, 1, _CABIN_TEXELS[0])[:, None, None]
    round_m = 0.13
    slope = high - low
    bend = high - slope * (round_m / np.linalg.norm(slope, axis=1, keepdims=True))
    rise = (up / _BEND).clip(0, 1)
    turn = ((up - _BEND) / (1 - _BEND)).clip(0, 1)
    points = low + rise * (bend - low) + 0.035 * np.sin(np.pi * rise) * outward
    inner = high - round_m * outward + [0, 0, 0.012]
    curve = (1 - turn) ** 2 * bend + 2 * turn * (1 - turn) * high + turn**2 * inner
    points = np.where(turn > 0, curve, points)
    points[..., 1] = points[..., 1].clip(0)
    return Surface(points)


def _cap(rim_m: Floats, crown_m: float) -> Surface:
    # The lid on a rim: from the tail to the nose, from the rim to the middle.
    x, y, z = rim_m[np.argsort(rim_m[:, 0])].T
    share = np.linspace(-1, 1, _CAP_TEXELS[1])
    at = (x[0] + x[-1]) / 2 + (x[-1] - x[0]) / 2 * np.sin(share * np.pi / 2)
    inward = np.linspace(0, 1, _CAP_TEXELS[0])[:, None]
    points = np.empty((*_CAP_TEXELS, 3))
    points[..., 0] = at
    points[..., 1] = np.interp(at, x, y) * (1 - inward)
    points[..., 2] = np.interp(at, x, z) + crown_m * (1 - (1 - inward) ** 2)
    return Surface(points, num_pinched=16)


def _wheel(body: Body, axle_m: float, side_m: float) -> tuple[Surface, Surface]:
    # The outer face of a wheel, from the hub outwards and once round, and its tread.
    share = np.linspace(0, 1, _FACE_TEXELS[0])[:, None]
    turn = np.linspace(0, 2 * np.pi, _FACE_TEXELS[1])
    dish_m = 0.06 * (1 - share / 0.72).clip(0) + 0.4 * (share - 0.8).clip(0) ** 1.5
    face = np.empty((*_FACE_TEXELS, 3))
    face[..., 0] = axle_m + body.wheel_radius_m * share * np.cos(turn)
    face[..., 1] = side_m - dish_m
    face[..., 2] = body.wheel_radius_m * (1 + share * np.sin(turn))
    tread = np.repeat(face[-1:], 8, axis=0)
    tread[..., 1] -= np.linspace(0, 0.2, 8)[:, None]
    return Surface(face), Surface(tread)


def _mirror(body: Body) -> Surface:
    turn, rise = np.linspace(0, 2 * np.pi, 37), np.linspace(-np.pi / 2, np.pi / 2, 19)[:, None]
    ring = np.cos(rise) ** 0.7  # a rounded box rather than a ball
    points = np.empty((19, 37, 3))
    points[..., 0] = body.x_m(body.cowl) - 0.40 + 0.08 * np.cos(turn) * ring
    points[..., 1] = body.width_m / 2 - 0.01 + 0.17 * np.sin(turn) * ring
    points[..., 2] = body.cowl_m + 0.09 + 0.08 * np.sin(rise)
    return Surface(points)


def _plate(wall: Surface, end: int, up: float) -> Surface:
    # A number plate at the nose (column 0) or at the tail (column -1), as one reads it.
    height, width = PLATE_TEXELS
    at_m = wall.points_m[round(up * (len(wall.points_m) - 1)), end]
    sign = 1 if end == 0 else -1
    points = np.empty((height, width, 3))
    points[..., 0] = at_m[0] + sign * 0.015
    points[..., 1] = np.linspace(-0.26, 0.26, width) * sign
    points[..., 2] = at_m[2] + np.linspace(0.06, -0.06, height)[:, None]
    return Surface(points)
