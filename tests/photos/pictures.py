"""Pictures for tests: no two seeds give the same, and one seed always does."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance


def scene(seed: int, size_px: tuple[int, int] = (240, 160)) -> Image.Image:
    """Soft colours with sharp shapes in front, somewhat like a photo."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(30, 220, (5, 7, 3), dtype=np.uint8))
    image = soft.resize(size_px, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(24):
        x, y = rng.random(2) * size_px
        half = rng.random(2) * np.array(size_px) / 8
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        box = (x - half[0], y - half[1], x + half[0], y + half[1])
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(box, fill=colour)
    return image


def encoded(image: Image.Image, format_: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    if format_ in ("JPEG", "WEBP"):
        options.setdefault("quality", 90)
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def put(path: Path, content: bytes | Image.Image) -> Path:
    """Write a file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else encoded(content))
    return path


def lit(image: Image.Image, factor: float) -> bytes:
    """A picture file of other light."""
    return encoded(ImageEnhance.Brightness(image).enhance(factor))
