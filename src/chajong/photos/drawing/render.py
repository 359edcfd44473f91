"""A small renderer for the demo cars: surfaces to facets, facets to pixels.

Shapes: f facets, t texels of all surfaces together, n pixels that show the car.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chajong.photos.drawing.body import Floats, Surface

F32 = NDArray[np.float32]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Layer:
    """A surface with its skin, ready to be cut into facets."""

    surface: Surface
    skin: NDArray[np.uint8]  # (h, w)
    facet_texels: tuple[int, int]
    depth: int  # layers of a greater depth are drawn over those of a smaller one
    mirrored: bool = True  # also on the right half
    flat: bool = False  # seen as a whole or not at all
    least_cosine: float = 0.05  # of the angle at which it is worth drawing


@dataclass(frozen=True)
class Facets:
    """Small pieces of surfaces, each nearly a parallelogram."""

    corners_m: F32  # (f, 4, 3)
    normals: F32  # (f, 3)
    least_cosine: Floats  # (f,)
    depth: Ints  # (f,)
    first: Ints  # (f,) the texel of the first corner
    pitch: Ints  # (f,) texels from one row to the next
    texels: Ints  # (f, 2) rows and columns
    side: Ints  # (f,) 1 left, -1 right


@dataclass(frozen=True)
class Mesh:
    """A car cut into facets, and what each texel of it is like."""

    facets: Facets
    texels: F32  # (t, 4) normal and height above the ground
    materials: NDArray[np.uint8]  # (t,)


def mesh(layers: Sequence[Layer]) -> Mesh:
    """Cut surfaces into facets.

    Args:
        layers: The surfaces of a car.

    Returns:
        Facets and texels.
    """
    facets: list[Facets] = []
    texels: list[Floats] = []
    first = 0
    for layer in layers:
        points, normals = layer.surface.points_m, layer.surface.normals
        texels.append(np.concatenate([normals, points[..., 2:]], axis=2).reshape(-1, 4))
        sides = (1, -1) if layer.mirrored else (1,)
        facets += [_cut(layer, normals, first, side) for side in sides]
        first += layer.skin.size
    return Mesh(
        _joined(facets),
        np.concatenate(texels).astype(np.float32),
        np.concatenate([layer.skin.reshape(-1) for layer in layers]),
    )


def _cut(layer: Layer, normals: Floats, first: int, side: int) -> Facets:
    points, (height, width) = layer.surface.points_m, layer.skin.shape
    rows, cols = (
        np.unique(np.append(np.arange(0, size - 1, step), size - 1))
        for size, step in zip((height, width), layer.facet_texels, strict=True)
    )
    r0, c0 = (grid.reshape(-1) for grid in np.meshgrid(rows[:-1], cols[:-1], indexing="ij"))
    r1, c1 = (grid.reshape(-1) for grid in np.meshgrid(rows[1:], cols[1:], indexing="ij"))
    corners = np.stack([points[r0, c0], points[r0, c1], points[r1, c1], points[r1, c0]], axis=1)
    facing = normals[(r0 + r1) // 2, (c0 + c1) // 2]
    if layer.flat:
        whole = normals.sum(axis=(0, 1))
        facing = np.broadcast_to(whole / np.linalg.norm(whole), facing.shape)
    return Facets(
        corners_m=(corners * (1, side, 1)).astype(np.float32),
        normals=(facing * (1, side, 1)).astype(np.float32),
        least_cosine=np.full(len(r0), layer.least_cosine),
        depth=np.full(len(r0), layer.depth),
        first=first + r0 * width + c0,
        pitch=np.full(len(r0), width),
        texels=np.stack([r1 - r0, c1 - c0], axis=1),
        side=np.full(len(r0), side),
    )


def _joined(parts: list[Facets]) -> Facets:
    return Facets(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Facets))
    )


@dataclass(frozen=True)
class Camera:
    """Where a photo is taken from, and how."""

    place_m: F32  # (3,)
    axes: F32  # (3, 3): to the right, down, forwards
    focal_px: float
    centre_px: tuple[float, float]
    size_px: tuple[int, int]  # width, height

    def project(self, points_m: F32) -> tuple[F32, F32]:
        """Find points in the photo.

        Args:
            points_m: Points, (..., 3).

        Returns:
            Their pixels, (..., 2), and how far away they are in metres, (...).
        """
        seen = (points_m - self.place_m) @ self.axes.T
        away_m = np.maximum(seen[..., 2], np.float32(0.05))
        flat = seen[..., :2] / away_m[..., None] * np.float32(self.focal_px)
        pixels: F32 = (flat + np.array(self.centre_px, np.float32)).astype(np.float32)
        return pixels, away_m


@dataclass(frozen=True)
class Seen:
    """The pixels that show the car."""

    pixels: Ints  # (n,) into the photo, row by row
    normals: F32  # (3, n)
    height_m: F32  # (n,)
    materials: NDArray[np.uint8]  # (n,)


def rasterise(car: Mesh, camera: Camera) -> Seen:
    """Find which texel each pixel shows: facets from the farthest to the nearest, by layers.

    Args:
        car: The car.
        camera: The camera.

    Returns:
        What is seen of the car.
    """
    facets, (width, height) = car.facets, camera.size_px
    to_camera = camera.place_m - facets.corners_m.mean(axis=1)
    cosine = np.sum(to_camera * facets.normals, axis=1) / np.linalg.norm(to_camera, axis=1)
    facing = np.flatnonzero(cosine > facets.least_cosine)
    flat, away_m = camera.project(facets.corners_m[facing])
    order = np.lexsort((-away_m.mean(axis=1), facets.depth[facing]))
    facing, flat = facing[order], flat[order]
    board = Image.new("I", (width, height))
    draw = ImageDraw.Draw(board)
    for number, corners in enumerate(flat.reshape(-1, 8).tolist(), start=1):
        draw.polygon(corners, fill=number)
    numbers = np.asarray(board, dtype=np.intp).reshape(-1)
    pixels = np.flatnonzero(numbers)
    drawn = numbers[pixels] - 1
    texel = _texel(facets, facing, _affine(flat), drawn, pixels % width, pixels // width)
    found = car.texels.take(texel, axis=0).T.copy()
    found[1] *= facets.side[facing].astype(np.float32)[drawn]
    return Seen(pixels, found[:3], found[3], car.materials.take(texel))


def _texel(facets: Facets, facing: Ints, affine: F32, drawn: Ints, x: Ints, y: Ints) -> Ints:
    # The texel that a facet shows at a pixel, (n,).
    a, b, c, d, e, f = affine.take(drawn, axis=0).T
    px, py = x.astype(np.float32), y.astype(np.float32)
    rows, cols = facets.texels[facing].astype(np.float32).take(drawn, axis=0).T
    col = ((a * px + b * py + c).clip(0, 1) * cols + np.float32(0.5)).astype(np.intp)
    row = ((d * px + e * py + f).clip(0, 1) * rows + np.float32(0.5)).astype(np.intp)
    texel: Ints = facets.first[facing].take(drawn) + row * facets.pitch[facing].take(drawn) + col
    return texel


def _affine(flat: F32) -> F32:
    # From pixels to shares of the columns and rows of each facet, (f, 6).
    along = (flat[:, 1] - flat[:, 0] + flat[:, 2] - flat[:, 3]) / 2
    down = (flat[:, 3] - flat[:, 0] + flat[:, 2] - flat[:, 1]) / 2
    middle = flat.mean(axis=1)
    area = along[:, 0] * down[:, 1] - along[:, 1] * down[:, 0]
    area = np.where(np.abs(area) < 1e-3, np.float32(1e-3), area)
    a, b = down[:, 1] / area, -down[:, 0] / area
    d, e = -along[:, 1] / area, along[:, 0] / area
    c = 0.5 - a * middle[:, 0] - b * middle[:, 1]
    f = 0.5 - d * middle[:, 0] - e * middle[:, 1]
    return np.stack([a, b, c, d, e, f], axis=1)
