"""Light on the demo cars: the hours of the day, materials and reflections.

Shapes: n pixels that show the car, k materials.
"""

from dataclasses import dataclass

import numpy as np

from chajong.photos.drawing.render import F32, Camera, Seen
from chajong.photos.drawing.styles import Material as M

RGB = tuple[float, float, float]

_AROUND = (64, 32)  # rows by the height of a direction, columns by its x
_BLOCK = 1 << 14  # pixels lit at a time, so that they stay in the processor's cache


@dataclass(frozen=True)
class Sky:
    """An hour of the day or a lit room; colours are linear, about 1 for white in the light."""

    sun: RGB
    above: RGB  # what falls from the sky or the ceiling
    below: RGB  # what the ground throws back
    zenith: RGB
    horizon: RGB
    tint: RGB  # of the surroundings
    lamps_on: float  # how often a car has its lamps on


SUNNY = Sky(
    (1.15, 1.05, 0.90), (0.38, 0.46, 0.58), (0.20, 0.19, 0.17),
    (0.20, 0.40, 0.78), (0.88, 0.94, 1.05), (1.04, 1.02, 0.98), 0.0,
)  # fmt: skip
CLOUDY = Sky(
    (0.20, 0.20, 0.20), (0.85, 0.87, 0.90), (0.22, 0.22, 0.22),
    (0.64, 0.68, 0.74), (0.95, 0.97, 1.00), (0.92, 0.94, 0.96), 0.1,
)  # fmt: skip
DUSK = Sky(
    (0.60, 0.30, 0.12), (0.28, 0.26, 0.38), (0.11, 0.09, 0.09),
    (0.12, 0.14, 0.34), (1.00, 0.55, 0.30), (0.64, 0.52, 0.54), 0.6,
)  # fmt: skip
NIGHT = Sky(
    (0.32, 0.27, 0.18), (0.11, 0.12, 0.18), (0.07, 0.06, 0.05),
    (0.02, 0.03, 0.08), (0.34, 0.25, 0.16), (0.28, 0.28, 0.36), 0.9,
)  # fmt: skip
INDOORS = Sky(
    (0.30, 0.30, 0.30), (0.80, 0.80, 0.79), (0.30, 0.30, 0.30),
    (1.00, 1.00, 0.98), (0.55, 0.56, 0.58), (0.96, 0.96, 0.96), 0.2,
)  # fmt: skip


@dataclass(frozen=True)
class Light:
    """Where the sun stands and what the paint mirrors."""

    sky: Sky
    to_sun: F32  # (3,) a unit vector
    around: F32  # (rows x columns, 3)


@dataclass(frozen=True)
class Palette:
    """The materials of one car."""

    base: F32  # (k, 3) diffuse colour
    mirror: F32  # (k,) share that is mirrored when looked at straight
    clear: F32  # (k,) how much more is mirrored at a grazing look
    emission: F32  # (k, 3)


# base, mirror, clear, emission when the lamps are on; the paint and the plate are the car's own
_MATERIALS: dict[M, tuple[RGB, float, float, RGB]] = {
    M.GLASS: ((0.012, 0.013, 0.014), 0.10, 0.90, (0, 0, 0)),
    M.SEAT: ((0.045, 0.044, 0.042), 0.10, 0.90, (0, 0, 0)),
    M.TRIM: ((0.022, 0.022, 0.023), 0.01, 0.10, (0, 0, 0)),
    M.GLOSS: ((0.008, 0.008, 0.008), 0.05, 0.80, (0, 0, 0)),
    M.CHROME: ((0.15, 0.15, 0.15), 0.65, 0.30, (0, 0, 0)),
    M.LAMP: ((0.40, 0.41, 0.42), 0.25, 0.50, (0.30, 0.30, 0.27)),
    M.LIGHT: ((0.90, 0.90, 0.90), 0.10, 0.20, (0.95, 0.95, 0.92)),
    M.RED: ((0.30, 0.004, 0.008), 0.05, 0.60, (0.12, 0, 0)),
    M.GLOW: ((0.75, 0.015, 0.015), 0.05, 0.40, (0.80, 0.05, 0.04)),
    M.AMBER: ((0.75, 0.25, 0.02), 0.05, 0.40, (0, 0, 0)),
    M.ALLOY: ((0.42, 0.42, 0.43), 0.25, 0.20, (0, 0, 0)),
    M.TYRE: ((0.016, 0.016, 0.016), 0.0, 0.05, (0, 0, 0)),
    M.WELL: ((0.005, 0.005, 0.005), 0.0, 0.0, (0, 0, 0)),
    M.ROOF: ((0.010, 0.010, 0.011), 0.05, 0.80, (0, 0, 0)),
}


def palette(paint: RGB, plate: RGB, *, lamps_on: bool) -> Palette:
    """The materials of a car.

    Args:
        paint: Its colour, linear.
        plate: The colour of its number plates.
        lamps_on: Whether its lamps are lit.

    Returns:
        A row a material.
    """
    seam = (paint[0] * 0.25, paint[1] * 0.25, paint[2] * 0.25)
    ink = 0.02 if plate[1] > 0.4 else 0.7
    materials = _MATERIALS | {
        M.PAINT: (paint, 0.05, 0.80, (0, 0, 0)),
        M.SEAM: (seam, 0.0, 0.0, (0, 0, 0)),
        M.PLATE: (plate, 0.0, 0.0, (0, 0, 0)),
        M.INK: ((ink, ink, ink), 0.0, 0.0, (0, 0, 0)),
    }
    rows = [materials[material] for material in M]
    base, mirror, clear, emission = (np.array(column, np.float32) for column in zip(*rows))
    return Palette(base, mirror, clear, emission * np.float32(1.0 if lamps_on else 0.12))


def outdoors(sky: Sky, rng: np.random.Generator) -> F32:
    """What a car mirrors outdoors: ground, a dark line of houses and trees, sky.

    Args:
        sky: The hour of the day.
        rng: Shapes the skyline.

    Returns:
        A colour a direction, (rows x columns, 3).
    """
    height, x = _directions()
    line = 0.10 + 0.07 * np.sin(5 * x + rng.uniform(0, 6))
    line = line + 0.05 * np.sin(11 * x + rng.uniform(0, 6))
    zenith, horizon, ground = (np.array(c) for c in (sky.zenith, sky.horizon, sky.below))
    air = horizon + (zenith - horizon) * height.clip(0) ** 0.6
    houses = 0.35 * ground + 0.05 * horizon
    above = houses + (air - houses) * ((height - line) / 0.06).clip(0, 1)
    around = np.where(height < 0, ground * (1 + 0.6 * height), above)
    return around.reshape(-1, 3).astype(np.float32)


def ceiling(rng: np.random.Generator) -> F32:
    """What a car mirrors in a room: floor, walls, rows of lamps above.

    Args:
        rng: Shifts the rows.

    Returns:
        A colour a direction, (rows x columns, 3).
    """
    height, x = _directions()
    wall = 0.42 + 0.1 * np.sin(4 * x + rng.uniform(0, 6))
    rows = np.sin(9 * x / (height.clip(0) + 0.25) + rng.uniform(0, 6)) > 0.35
    above = np.where(height > 0.3, np.where(rows, 1.3, 0.35), wall)
    grey = np.where(height < 0, 0.18 - 0.10 * height, above)
    return np.repeat(grey.reshape(-1, 1), 3, axis=1).astype(np.float32)


def _directions() -> tuple[F32, F32]:
    """The height and the x of each direction, (rows, columns, 1)."""
    rows, cols = ((np.arange(num) + 0.5) / num * 2 - 1 for num in _AROUND)
    height, x = np.meshgrid(rows, cols, indexing="ij")
    return height[..., None], x[..., None]


def shade(seen: Seen, camera: Camera, light: Light, colours: Palette) -> F32:
    """Light every pixel of the car.

    Diffuse light from the sun and a hemisphere, mirrored surroundings by Schlick's approximation
    of Fresnel's law (https://doi.org/10.1111/1467-8659.1330233), and the sun's glint.

    Args:
        seen: What the pixels show.
        camera: Where it is seen from.
        light: The light.
        colours: The materials.

    Returns:
        Linear colours, (n, 3).
    """
    lit = np.empty((len(seen.pixels), 3), np.float32)
    for start in range(0, len(lit), _BLOCK):
        block = slice(start, start + _BLOCK)
        _shade(seen, block, camera, light, colours, lit[block])
    return lit


def _shade(
    seen: Seen, block: slice, camera: Camera, light: Light, colours: Palette, lit: F32
) -> None:
    normal, material = seen.normals[:, block], seen.materials[block]
    ray = _rays(seen, block, camera)
    cosine = (-(ray * normal).sum(axis=0)).clip(0.03, 1)
    mirrored = ray + 2 * cosine * normal
    clear = colours.clear.take(material)
    shine = colours.mirror.take(material) + clear * (1 - cosine) ** 5
    where = (mirrored[[2, 0]] * 0.5 + 0.5) * np.array([[_AROUND[0]], [_AROUND[1]]], np.float32)
    row, col = where.astype(np.intp)
    around = light.around.take(
        row.clip(0, _AROUND[0] - 1) * _AROUND[1] + col.clip(0, _AROUND[1] - 1), axis=0
    )
    sun = light.to_sun[:, None]
    straight = (normal * sun).sum(axis=0).clip(0)
    glint = ((mirrored * sun).sum(axis=0) * 10 - 9).clip(0) ** 3 * clear * np.float32(1.5)
    shelter = (seen.height_m[block] * 1.6 + 0.3).clip(0, 1)  # little light gets under a car
    up = normal[2] * 0.5 + 0.5
    sun_rgb, above, below = (
        np.array(c, np.float32) for c in (light.sky.sun, light.sky.above, light.sky.below)
    )
    fall = (below + np.outer(up, above - below)) * shelter[:, None] + np.outer(straight, sun_rgb)
    lit[:] = colours.base.take(material, axis=0) * fall
    lit += around * (shine * shelter)[:, None]
    lit += np.outer(glint, sun_rgb)
    lit += colours.emission.take(material, axis=0)


def _rays(seen: Seen, block: slice, camera: Camera) -> F32:
    """Unit vectors from the camera to what the pixels show, (3, n)."""
    row, col = np.divmod(seen.pixels[block], camera.size_px[0])
    x = (col.astype(np.float32) - np.float32(camera.centre_px[0])) / np.float32(camera.focal_px)
    y = (row.astype(np.float32) - np.float32(camera.centre_px[1])) / np.float32(camera.focal_px)
    right, down, forwards = camera.axes[..., None]
    ray = right * x + down * y + forwards
    return ray / np.sqrt(x * x + y * y + 1)
