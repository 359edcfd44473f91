"""The photos of the demo: a car, a place, an hour, a camera and what it does to the picture."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from chajong.photos.drawing.backdrop import PLACES, backdrop
from chajong.photos.drawing.body import Surface, shape
from chajong.photos.drawing.design import Design
from chajong.photos.drawing.light import (
    CLOUDY,
    DUSK,
    INDOORS,
    NIGHT,
    RGB,
    SUNNY,
    Light,
    Palette,
    Sky,
    ceiling,
    outdoors,
    palette,
    shade,
)
from chajong.photos.drawing.render import F32, Camera, Layer, Mesh, mesh, rasterise
from chajong.photos.drawing.skin import (
    Skin,
    cabin_skin,
    deck_skin,
    plate_skin,
    roof_skin,
    wall_skin,
    wheel_skin,
)
from chajong.photos.drawing.styles import WHEELS, Material

Rng = np.random.Generator

_VIEWS = (  # degrees from the nose, how much they vary, share of all photos
    (0, 4, 0.05),
    (36, 6, 0.54),
    (90, 4, 0.04),
    (143, 6, 0.32),
    (180, 4, 0.05),
)
_HOURS = (SUNNY, CLOUDY, DUSK, NIGHT)
_BY_DAY, _BY_NIGHT = (0.48, 0.36, 0.11, 0.05), (0.38, 0.36, 0.18, 0.08)
_PAINTS: tuple[RGB, ...] = (
    (0.72, 0.72, 0.71), (0.64, 0.64, 0.60), (0.44, 0.46, 0.48), (0.20, 0.21, 0.23),
    (0.07, 0.075, 0.085), (0.012, 0.012, 0.014), (0.02, 0.05, 0.26), (0.05, 0.15, 0.44),
    (0.40, 0.012, 0.016), (0.20, 0.01, 0.03), (0.02, 0.13, 0.07), (0.10, 0.13, 0.08),
    (0.55, 0.20, 0.02), (0.60, 0.42, 0.04), (0.30, 0.23, 0.15), (0.16, 0.32, 0.38),
    (0.14, 0.07, 0.20), (0.08, 0.035, 0.02),
)  # fmt: skip
_PLATES: tuple[RGB, ...] = (
    (0.75, 0.76, 0.74), (0.75, 0.76, 0.74), (0.75, 0.76, 0.74),
    (0.30, 0.55, 0.75), (0.75, 0.55, 0.05), (0.05, 0.30, 0.15),
)  # fmt: skip


@dataclass(frozen=True)
class Car:
    """A model, ready to be photographed; its number plates are the last texels of the mesh."""

    design: Design
    mesh: Mesh


def build(design: Design) -> Car:
    """Build the car of a design.

    Args:
        design: The design.

    Returns:
        The car.
    """
    parts = shape(design.body)
    layers = [
        Layer(parts.wall, wall_skin(design, parts), (18, 32), 1),
        Layer(parts.deck, deck_skin(design, parts), (12, 12), 1),
        Layer(parts.cabin, cabin_skin(design, parts), (16, 28), 3),
        Layer(parts.roof, roof_skin(design, parts), (18, 16), 3),
        Layer(
            parts.mirror,
            _plain(parts.mirror, Material.GLOSS if design.dark_roof else Material.PAINT),
            (3, 6),
            3,
        ),
    ]
    for face, tread in zip(parts.faces, parts.treads, strict=True):
        rim = wheel_skin(WHEELS[design.wheel], *face.points_m.shape[:2])
        layers.append(Layer(face, rim, (21, 15), 4, flat=True, least_cosine=0.14))
        layers.append(Layer(tread, _plain(tread, Material.TYRE), (7, 15), 0))
    layers += [
        Layer(plate, _plain(plate, Material.PLATE), (24, 52), 2, mirrored=False)
        for plate in parts.plates
    ]
    return Car(design, mesh(layers))


def _plain(surface: Surface, material: Material) -> Skin:
    return np.full(surface.points_m.shape[:2], material, np.uint8)


def snap(car: Car, rng: Rng, *, dark: bool) -> Image.Image:
    """Photograph a car from somewhere, somewhere, at some hour.

    Args:
        car: The car.
        rng: Where all chance comes from.
        dark: Whether the photo is rather taken in the evening and underexposed.

    Returns:
        The photo, its short side 200 to 240 pixels.
    """
    degrees, spread, _ = _VIEWS[rng.choice(len(_VIEWS), p=[share for *_, share in _VIEWS])]
    camera = _camera(car.mesh.facets.corners_m, degrees + rng.uniform(-spread, spread), rng)
    return _take(car, camera, rng, dark=dark)


def snap_wheel(car: Car, rng: Rng) -> Image.Image:
    """Photograph the front wheel of a car from close by.

    Args:
        car: The car.
        rng: Where all chance comes from.

    Returns:
        The photo.
    """
    body = car.design.body
    radius_m, side_m = body.wheel_radius_m * 1.25, body.width_m / 2
    corners = np.array(
        [
            (body.axles_m[0] + x * radius_m, side_m, (1 + z) * radius_m * 0.8)
            for x in (-1, 1)
            for z in (-1, 1)
        ],
        np.float32,
    )
    camera = _camera(corners, 78 + rng.uniform(-12, 12), rng, left=True)
    return _take(car, camera, rng, dark=False)


def _camera(fit_m: F32, degrees: float, rng: Rng, *, left: bool = False) -> Camera:
    # A camera that looks at the middle of the car from an angle and just holds some points.
    side = 1 if left or rng.random() < 0.5 else -1
    around, up = np.radians(degrees * side), np.radians(rng.uniform(4, 9))
    towards = -np.array([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)])
    place = np.array([0, 0, 0.75]) - towards * rng.uniform(6.5, 9.0)
    right = np.cross(towards, (0, 0, 1)) / np.cos(up)
    down = np.cross(towards, right)
    roll = rng.normal(0, 0.015)
    axes = np.stack(
        [
            right * np.cos(roll) + down * np.sin(roll),
            down * np.cos(roll) - right * np.sin(roll),
            towards,
        ]
    ).astype(np.float32)
    camera = Camera(place.astype(np.float32), axes, 1.0, (0, 0), (1, 1))
    flat, _ = camera.project(fit_m.reshape(-1, 3))
    low, high = flat.min(axis=0), flat.max(axis=0)
    wide, tall = (high - low).tolist()
    aspect = np.clip(wide / tall * 0.93, 1.2, 1.75) * rng.uniform(0.93, 1.07)
    height = int(rng.integers(200, 241))
    size = np.array([2 * round(height * aspect), 2 * height])
    focal_px = rng.uniform(0.92, 0.99) * min(size[0] / wide, size[1] / tall)
    slack = size - (high - low) * focal_px
    centre = size / 2 - (low + high) / 2 * focal_px + slack * rng.uniform(-0.3, 0.3, 2)
    return Camera(
        camera.place_m, axes, focal_px, (centre[0], centre[1]), (int(size[0]), int(size[1]))
    )


def _take(car: Car, camera: Camera, rng: Rng, *, dark: bool) -> Image.Image:
    place = PLACES[rng.choice(len(PLACES), p=[place.share for place in PLACES])]
    sky = INDOORS if place.indoors else _HOURS[rng.choice(4, p=_BY_NIGHT if dark else _BY_DAY)]
    light = _light(camera, sky, rng)
    colours = _colours(sky, rng)
    behind = backdrop(place, camera, sky, car.design.body, rng)
    plate = plate_skin(rng).reshape(-1)
    materials = np.concatenate([car.mesh.materials[: -2 * plate.size], plate, plate])
    seen = rasterise(replace(car.mesh, materials=materials), camera)
    pixels = np.asarray(behind.resize(camera.size_px, Image.Resampling.BILINEAR)).copy()
    pixels.reshape(-1, 3)[seen.pixels] = shade(
        seen, camera, light, colours, rng.uniform(0.98, 1.22)
    )
    return _develop(Image.fromarray(pixels).reduce(2), sky, rng, dark=dark)


def _light(camera: Camera, sky: Sky, rng: Rng) -> Light:
    # The sun stands high and rather behind the camera than behind the car.
    behind = camera.place_m[:2] / np.linalg.norm(camera.place_m[:2])
    sun = np.append(
        behind * rng.uniform(-0.1, 0.9) + rng.uniform(-0.5, 0.5, 2), rng.uniform(0.6, 1.2)
    )
    around = ceiling(rng) if sky is INDOORS else outdoors(sky, rng)
    return Light(sky, (sun / np.linalg.norm(sun)).astype(np.float32), around)


def _colours(sky: Sky, rng: Rng) -> Palette:
    # Paint and plates; nothing here knows the model, so that colours cannot tell it.
    red, green, blue = (
        (
            np.array(_PAINTS[rng.integers(len(_PAINTS))]) * rng.uniform(0.85, 1.12)
            + rng.uniform(-0.008, 0.008, 3)
        )
        .clip(0.008, 0.85)
        .tolist()
    )
    plate = _PLATES[rng.integers(len(_PLATES))]
    return palette((red, green, blue), plate, lamps_on=bool(rng.random() < sky.lamps_on))


def _develop(photo: Image.Image, sky: Sky, rng: Rng, *, dark: bool) -> Image.Image:
    # What lens, sensor and software do to a photo.
    if sky in (NIGHT, DUSK):
        bright = photo.reduce(2).point([max(0, level - 190) * 2 for level in range(256)] * 3)
        glow = bright.filter(ImageFilter.BoxBlur(3)).resize(photo.size, Image.Resampling.BILINEAR)
        photo = ImageChops.add(photo, glow)
    match rng.choice(3, p=(0.78, 0.12, 0.10)):
        case 1:
            photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.2)))
        case 2:
            photo = photo.filter(ImageFilter.SHARPEN)
    pixels = np.asarray(photo, np.float32)
    gain = rng.uniform(0.72, 1.0) if dark else rng.uniform(0.9, 1.12)
    pixels = pixels * (gain * (1 + rng.normal(0, 0.02, 3))).astype(np.float32)
    noise = rng.standard_normal(pixels.shape[:2], np.float32)[..., None]
    pixels += noise * np.float32(rng.uniform(1, 3.5))
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.05:  # some dealers mirror their photos
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return photo
