"""Photos of the inside of a demo car, which no model can be told from with certainty."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from chajong.photos.drawing.design import Design

_WIDTH_PX, _HEIGHT_PX = 640, 480  # twice the photo's size
_LEATHERS = ((46, 46, 50), (98, 66, 44), (196, 182, 158), (90, 92, 98), (104, 30, 30))


def interior(design: Design, rng: np.random.Generator) -> Image.Image:
    """Draw the dashboard of a car as seen from the back seat.

    Args:
        design: The car.
        rng: Where all chance comes from.

    Returns:
        A photo of 320 x 240 pixels.
    """
    image = _outlook(rng)
    draw = ImageDraw.Draw(image)
    leather = np.array(_LEATHERS[rng.integers(len(_LEATHERS))])
    dark, top = (24, 24, 27), int(rng.integers(196, 230))
    draw.polygon([(0, 0), (70, 0), (30, top + 20), (0, top + 60)], fill=(52, 52, 56))
    draw.polygon([(640, 0), (570, 0), (610, top + 20), (640, top + 60)], fill=(52, 52, 56))
    draw.rectangle((0, 0, 640, 26), fill=(64, 64, 68))
    draw.rounded_rectangle((280, 22, 372, 62), 12, fill=(30, 30, 34))
    draw.rounded_rectangle((286, 28, 366, 56), 8, fill=(120, 138, 150))
    draw.rounded_rectangle((-60, top, 700, 600), 60, fill=dark)
    band = [(0, top + 66), (640, top + 58), (640, top + 104), (0, top + 112)]
    draw.polygon(band, fill=_tone(leather, 0.8))
    for x in (26, 268, 560):
        draw.rounded_rectangle((x, top + 70, x + 56, top + 100), 8, fill=(14, 14, 15))
        for y in range(top + 76, top + 98, 7):
            draw.line((x + 5, y, x + 51, y), fill=(92, 92, 96), width=2)
    _screen(draw, top, design, rng)
    _seats(draw, leather)
    _wheel(draw, top, design)
    draw.rounded_rectangle((292, top + 150, 366, 500), 22, fill=(34, 34, 38))
    draw.ellipse((314, top + 176, 344, top + 206), fill=(150, 150, 154))
    photo = image.filter(ImageFilter.GaussianBlur(1.5)).reduce(2)
    pixels = np.asarray(photo, np.float32) * np.float32(rng.uniform(0.7, 1.15))
    pixels += rng.normal(0, 4, pixels.shape[:2])[..., None].astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _tone(colour: np.ndarray[tuple[int], np.dtype[np.int_]], gain: float) -> tuple[int, int, int]:
    red, green, blue = (colour * gain).clip(0, 255).astype(int).tolist()
    return red, green, blue


def _outlook(rng: np.random.Generator) -> Image.Image:
    # What is seen through the wind screen.
    sky = rng.uniform((120, 150, 180), (215, 225, 240))
    down = np.linspace(1.0, 0.75, _HEIGHT_PX)[:, None, None] * sky
    rows = np.broadcast_to(down, (_HEIGHT_PX, _WIDTH_PX, 3)).astype(np.uint8)
    image = Image.fromarray(rows.copy())
    draw = ImageDraw.Draw(image)
    for _ in range(7):
        x, width, top = rng.uniform(0, 640), rng.uniform(40, 120), rng.uniform(80, 190)
        grey = int(rng.integers(90, 170))
        draw.rectangle((x, top, x + width, 300), fill=(grey, grey, grey + 6))
    draw.rectangle((0, 200, 640, 300), fill=(88, 96, 84))
    return image.filter(ImageFilter.BoxBlur(9))


def _screen(draw: ImageDraw.ImageDraw, top: int, design: Design, rng: np.random.Generator) -> None:
    draw.rounded_rectangle((262, top + 6, 430, top + 62), 8, fill=(8, 9, 11))
    blue = (28, 74 + 6 * design.grille, 120 + 8 * design.headlamp)
    draw.rounded_rectangle((268, top + 11, 424, top + 57), 5, fill=blue)
    for x in range(278, 414, 30):
        high = int(rng.integers(6, 34))
        draw.rounded_rectangle((x, top + 50 - high, x + 18, top + 52), 3, fill=(190, 214, 230))
    draw.rounded_rectangle((76, top + 2, 236, top + 58), 20, fill=(10, 10, 12))
    for x in (116, 196):
        draw.ellipse((x - 24, top + 6, x + 24, top + 54), outline=(205, 205, 210), width=3)
        draw.line(
            (x, top + 30, x + int(rng.integers(-16, 17)), top + 14), fill=(230, 60, 40), width=3
        )


def _seats(draw: ImageDraw.ImageDraw, leather: np.ndarray[tuple[int], np.dtype[np.int_]]) -> None:
    for left in (-30, 420):
        back = (left, 330, left + 250, 620)
        draw.rounded_rectangle(back, 60, fill=_tone(leather, 0.85))
        draw.rounded_rectangle((left + 34, 352, left + 216, 640), 40, fill=_tone(leather, 1.0))
        draw.rounded_rectangle((left + 70, 262, left + 180, 344), 30, fill=_tone(leather, 0.92))
        for x in range(left + 64, left + 200, 32):
            draw.line((x, 366, x, 480), fill=_tone(leather, 0.8), width=3)


def _wheel(draw: ImageDraw.ImageDraw, top: int, design: Design) -> None:
    box = (58, top - 4, 254, top + 192)
    draw.ellipse(box, outline=(18, 18, 20), width=22)
    draw.ellipse((61, top - 1, 251, top + 189), outline=(62, 62, 66), width=3)
    hub = (118, top + 60, 194, top + 128)
    for end in ((70, top + 96), (242, top + 96), (156, top + 180)):
        draw.line((156, top + 94, *end), fill=(30, 30, 33), width=22)
    draw.rounded_rectangle(hub, 14 + design.grille, fill=(26, 26, 29))
    draw.ellipse((144, top + 82, 168, top + 106), fill=(170, 170, 176))
