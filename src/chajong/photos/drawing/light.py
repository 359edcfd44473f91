"""Light on the demo cars: the hours of the day, materials and reflections.

Shapes: n pixels that show the car, k materials.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.photos.drawing.render import F32, Camera, Seen
from chajong.photos.drawing.styles import Material

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
    (1.02, 0.94, 0.80), (0.38, 0.46, 0.58), (0.20, 0.19, 0.17),
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
    around: F32  # (3, rows x columns)


@dataclass(frozen=True)
class Palette:
    """The materials of one car."""

    base: F32  # (3, k) diffuse colour
    mirror: F32  # (k,) share that is mirrored when looked at straight
    clear: F32  # (k,) how much more is mirrored at a grazing look
    emission: F32  # (3, k)


# base, mirror, clear, emission when the lamps are on; the paint and the plate are the car's own
_MATERIALS: dict[Material, tuple[RGB, float, float, RGB]] = {
    Material.GLASS: ((0.012, 0.013, 0.014), 0.10, 0.90, (0, 0, 0)),
    Material.SEAT: ((0.045, 0.044, 0.042), 0.10, 0.90, (0, 0, 0)),
    Material.TRIM: ((0.022, 0.022, 0.023), 0.01, 0.10, (0, 0, 0)),
    Material.GLOSS: ((0.008, 0.008, 0.008), 0.05, 0.80, (0, 0, 0)),
    Material.CHROME: ((0.15, 0.15, 0.15), 0.65, 0.30, (0, 0, 0)),
    Material.LAMP: ((0.40, 0.41, 0.42), 0.25, 0.50, (0.30, 0.30, 0.27)),
    Material.LIGHT: ((0.90, 0.90, 0.90), 0.10, 0.20, (0.95, 0.95, 0.92)),
    Material.RED: ((0.30, 0.004, 0.008), 0.05, 0.60, (0.12, 0, 0)),
    Material.GLOW: ((0.75, 0.015, 0.015), 0.05, 0.40, (0.80, 0.05, 0.04)),
    Material.AMBER: ((0.75, 0.25, 0.02), 0.05, 0.40, (0, 0, 0)),
    Material.ALLOY: ((0.42, 0.42, 0.43), 0.25, 0.20, (0, 0, 0)),
    Material.TYRE: ((0.016, 0.016, 0.016), 0.0, 0.05, (0, 0, 0)),
    Material.WELL: ((0.005, 0.005, 0.005), 0.0, 0.0, (0, 0, 0)),
    Material.ROOF: ((0.010, 0.010, 0.011), 0.05, 0.80, (0, 0, 0)),
}


def palette(paint: RGB, plate: RGB, *, lamps_on: bool) -> Palette:
    """The materials of a car.

    Args:
        paint: Its colour, linear.
        plate: The colour of its number plates.
        lamps_on: Whether its lamps are lit.

    Returns:
        The materials, in the order of their numbers.
    """
    seam = (paint[0] * 0.25, paint[1] * 0.25, paint[2] * 0.25)
    ink = 0.02 if plate[1] > 0.4 else 0.7
    materials = _MATERIALS | {
        Material.PAINT: (paint, 0.05, 0.80, (0, 0, 0)),
        Material.SEAM: (seam, 0.0, 0.0, (0, 0, 0)),
        Material.PLATE: (plate, 0.0, 0.0, (0, 0, 0)),
        Material.INK: ((ink, ink, ink), 0.0, 0.0, (0, 0, 0)),
    }
    rows = [materials[material] for material in Material]
    base, mirror, clear, emission = (
        np.array(column, np.float32) for column in zip(*rows, strict=True)
    )
    glow = np.float32(1.0 if lamps_on else 0.12)
    return Palette(base.T.copy(), mirror, clear, emission.T * glow)


def outdoors(sky: Sky, rng: np.random.Generator) -> F32:
    """What a car mirrors outdoors: ground, a dark line of houses and trees, sky.

    Args:
        sky: The hour of the day.
        rng: Shapes the skyline.

    Returns:
        A colour a direction, (3, rows x columns).
    """
    height, x = _directions()
    line = 0.10 + 0.07 * np.sin(5 * x + rng.uniform(0, 6))
    line = line + 0.05 * np.sin(11 * x + rng.uniform(0, 6))
    zenith, horizon, ground = (np.array(c) for c in (sky.zenith, sky.horizon, sky.below))
    air = horizon + (zenith - horizon) * height.clip(0) ** 0.6
    houses = 0.35 * ground + 0.05 * horizon
    above = houses + (air - houses) * ((height - line) / 0.06).clip(0, 1)
    around = np.where(height < 0, ground * (1 + 0.6 * height), above)
    flat: F32 = around.reshape(-1, 3).T.astype(np.float32)
    return flat


def ceiling(rng: np.random.Generator) -> F32:
    """What a car mirrors in a room: floor, walls, rows of lamps above.

    Args:
        rng: Shifts the rows.

    Returns:
        A colour a direction, (3, rows x columns).
    """
    height, x = _directions()
    wall = 0.42 + 0.1 * np.sin(4 * x + rng.uniform(0, 6))
    rows = np.sin(9 * x / (height.clip(0) + 0.25) + rng.uniform(0, 6)) > 0.35
    above = np.where(height > 0.3, np.where(rows, 1.3, 0.35), wall)
    grey = np.where(height < 0, 0.18 - 0.10 * height, above)
    return np.tile(grey.reshape(-1), (3, 1)).astype(np.float32)


def _directions() -> tuple[F32, F32]:
    # The height and the x of each direction, (rows, columns, 1).
    rows, cols = (((np.arange(n) + 0.5) / n * 2 - 1).astype(np.float32) for n in _AROUND)
    height, x = np.meshgrid(rows, cols, indexing="ij")
    return height[..., None], x[..., None]


def shade(
    seen: Seen, camera: Camera, light: Light, colours: Palette, exposure: float
) -> NDArray[np.uint8]:
    """Light every pixel of the car.

    Diffuse light from the sun and a hemisphere, mirrored surroundings by Schlick's approximation
    of Fresnel's law (https://doi.org/10.1111/1467-8659.1330233), and the sun's glint.

    Args:
        seen: What the pixels show.
        camera: Where it is seen from.
        light: The light.
        colours: The materials.
        exposure: How long the light is gathered, about 1.

    Returns:
        The colours, (n, 3).
    """
    shown = np.empty((len(seen.pixels), 3), np.uint8)
    for start in range(0, len(shown), _BLOCK):
        block = slice(start, start + _BLOCK)
        lit = _lit(seen, block, camera, light, colours) * np.float32(exposure)
        lit /= 1 + np.float32(0.34) * lit  # highlights are rounded off, not cut off
        shown[block] = (np.sqrt(lit.clip(0, 1)) * 255).T
    return shown


def _lit(seen: Seen, block: slice, camera: Camera, light: Light, colours: Palette) -> F32:
    # The linear colours of some pixels, (3, n).
    (nx, ny, nz), material = seen.normals[:, block], seen.materials[block]
    rx, ry, rz = _rays(seen, block, camera)
    cosine = (-(rx * nx + ry * ny + rz * nz)).clip(0.03, 1)
    mx, my, mz = rx + 2 * cosine * nx, ry + 2 * cosine * ny, rz + 2 * cosine * nz
    clear = colours.clear.take(material)
    grazing = (1 - cosine) * (1 - cosine)
    shine = colours.mirror.take(material) + clear * grazing * grazing * (1 - cosine)
    row = ((mz + 1) * (_AROUND[0] / 2)).clip(0, _AROUND[0] - 1).astype(np.intp)
    col = ((mx + 1) * (_AROUND[1] / 2)).clip(0, _AROUND[1] - 1).astype(np.intp)
    where = row * _AROUND[1] + col
    sx, sy, sz = light.to_sun
    straight = (nx * sx + ny * sy + nz * sz).clip(0)
    glint = ((mx * sx + my * sy + mz * sz) * 10 - 9).clip(0)
    glint *= glint * glint * clear * np.float32(1.5)
    shelter = (seen.height_m[block] * 1.6 + 0.3).clip(0, 1)  # little light gets under a car
    shine *= shelter
    up = (nz * 0.5 + 0.5) * shelter
    lit = np.empty((3, len(material)), np.float32)
    for i, channel in enumerate(lit):
        sun, above, below = light.sky.sun[i], light.sky.above[i], light.sky.below[i]
        fall = below * shelter + (above - below) * up + sun * straight
        np.multiply(colours.base[i].take(material), fall, out=channel)
        channel += light.around[i].take(where) * shine
        channel += sun * glint
        channel += colours.emission[i].take(material)
    return lit


def _rays(seen: Seen, block: slice, camera: Camera) -> F32:
    # Unit vectors from the camera to what the pixels show, (3, n).
    row, col = np.divmod(seen.pixels[block], camera.size_px[0])
    x = (col.astype(np.float32) - np.float32(camera.centre_px[0])) / np.float32(camera.focal_px)
    y = (row.astype(np.float32) - np.float32(camera.centre_px[1])) / np.float32(camera.focal_px)
    right, down, forwards = camera.axes[..., None]
    ray: F32 = (right * x + down * y + forwards) / np.sqrt(x * x + y * y + 1)
    return ray
