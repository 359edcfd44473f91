"""All photos of one demo model, written to disk; a few of them are planted to be found out."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from chajong.photos.drawing.design import design
from chajong.photos.drawing.interior import interior
from chajong.photos.drawing.names import Kin, default_names, kinship
from chajong.photos.drawing.scene import Car, Rng, build, snap, snap_wheel

Kind = Literal["interior", "wheel", "exact", "reencoded", "resized", "mirrored"]

_DETAILS: tuple[Kind, ...] = ("interior", "wheel")
_COPIES: tuple[Kind, ...] = ("exact", "reencoded", "resized", "mirrored")
_DETAIL_SHARE, _COPY_SHARE = 0.01, 0.02
_TRAIN, _TEST, _PLAN = 0, 1, 2  # the streams of chance of a model


@dataclass(frozen=True)
class Planted:
    """A train photo that is not simply a photo of the car."""

    file: str
    kind: Kind
    of: str = ""  # the file that it is a copy of


@dataclass(frozen=True)
class Album:
    """What to draw of one model, and where to; good for being sent to another process."""

    seed: int
    model: int
    kin: Kin
    train: tuple[Path, ...]
    test: tuple[Path, ...]


def draw_album(album: Album) -> tuple[Planted, ...]:
    """Draw all photos of a model.

    Args:
        album: Which ones; the folders are there.

    Returns:
        The planted ones.
    """
    car = build(design(album.seed, album.kin))
    planted = plan(album)
    by_file = {photo.file: photo for photo in planted}
    for index, path in enumerate(album.train):
        photo = by_file.get(path.name)
        if photo is None or photo.kind in _DETAILS:
            rng = _stream(album, _TRAIN, index)
            path.write_bytes(_encoded(_drawn(car, photo, rng), rng))
    for index, path in enumerate(album.train):
        if (photo := by_file.get(path.name)) and photo.of:
            original = path.with_name(photo.of).read_bytes()
            path.write_bytes(_copy(original, photo.kind, _stream(album, _TRAIN, index)))
    for index, path in enumerate(album.test):
        rng = _stream(album, _TEST, index)
        path.write_bytes(_encoded(snap(car, rng, dark=True), rng))
    return planted


def draw_few(num_photos: int) -> list[bytes]:
    """Draw photos of different models into memory, always the same ones.

    Args:
        num_photos: How many.

    Returns:
        JPEG files.
    """
    files = []
    for model, kin in enumerate(kinship(default_names(num_photos))):
        rng = np.random.default_rng((0, model))
        files.append(_encoded(snap(build(design(0, kin)), rng, dark=False), rng))
    return files


def plan(album: Album) -> tuple[Planted, ...]:
    """Choose which train photos of a model are planted; over all models the shares are exact.

    Args:
        album: The model's photos.

    Returns:
        The planted photos; their names are those of the files, without folders.
    """
    order = _stream(album, _PLAN, 0).permutation(len(album.train)).tolist()
    files = [album.train[index].name for index in order]
    details = _turns(_DETAILS, _DETAIL_SHARE, album)
    copies = _turns(_COPIES, _COPY_SHARE, album)
    planted = [Planted(files.pop(), kind) for kind in details]
    for kind in copies:
        file = files.pop()
        planted.append(Planted(file, kind, of=files.pop(0)))
    return tuple(planted)


def _turns(kinds: tuple[Kind, ...], share: float, album: Album) -> list[Kind]:
    # The kinds that fall to this model when they are dealt out over all models in turn.
    before, after = (round((album.model + i) * len(album.train) * share) for i in (0, 1))
    return [kinds[turn % len(kinds)] for turn in range(before, after)]


def _stream(album: Album, part: int, index: int) -> Rng:
    # The chance of one photo, whatever was drawn before it and by whom.
    return np.random.default_rng((album.seed, album.model, part, index))


def _drawn(car: Car, photo: Planted | None, rng: Rng) -> Image.Image:
    if photo is None:
        return snap(car, rng, dark=False)
    return interior(car.design, rng) if photo.kind == "interior" else snap_wheel(car, rng)


def _encoded(photo: Image.Image, rng: Rng) -> bytes:
    file = BytesIO()
    photo.save(file, "JPEG", quality=int(rng.integers(62, 93)))
    return file.getvalue()


def _copy(original: bytes, kind: Kind, rng: Rng) -> bytes:
    if kind == "exact":
        return original
    photo = Image.open(BytesIO(original))
    if kind == "resized":
        share = rng.uniform(0.6, 0.85)
        size = round(photo.width * share), round(photo.height * share)
        photo_again = photo.resize(size, Image.Resampling.LANCZOS)
    elif kind == "mirrored":
        photo_again = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    else:
        photo_again = photo.convert("RGB")
    return _encoded(photo_again, rng)
