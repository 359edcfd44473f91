"""Where the demo cars stand: streets, car parks, walls, parks, showrooms and garages.

Everything behind the car is drawn flat, at half the scale of the car, and then out of focus.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from chajong.photos.drawing.body import Body
from chajong.photos.drawing.light import DUSK, INDOORS, NIGHT, RGB, SUNNY, Sky
from chajong.photos.drawing.render import Camera

Rng = np.random.Generator
Pixels = list[tuple[float, float]]


class Stage:
    """The picture behind a car.

    Args:
        camera: Where the car is seen from; its photo is twice as large as this picture.
        sky: The hour of the day.
        behind_m: How far behind the car the ground ends.
        rng: Where all chance comes from.
    """

    def __init__(self, camera: Camera, sky: Sky, behind_m: float, rng: Rng) -> None:
        self.camera, self.sky, self.rng = camera, sky, rng
        self.width, self.height = camera.size_px[0] // 2, camera.size_px[1] // 2
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw = ImageDraw.Draw(self.image)
        ahead = camera.axes[2] * (1, 1, 0)
        end = ahead / np.linalg.norm(ahead) * behind_m
        self.foot = max(self.flat([(float(end[0]), float(end[1]))])[0][1], 2.0)

    def flat(self, ground_m: list[tuple[float, float]]) -> Pixels:
        """Find places on the ground in the picture.

        Args:
            ground_m: Places, x and y in metres.

        Returns:
            Their pixels; none if one of them is behind the camera.
        """
        points = np.array([(x, y, 0) for x, y in ground_m], np.float32)
        pixels, away_m = self.camera.project(points)
        return [(x, y) for x, y in (pixels / 2).tolist()] if away_m.min() > 0.4 else []

    def dye(self, colour: RGB, gain: float = 1.0) -> tuple[int, int, int]:
        """Give a colour as this hour shows it.

        Args:
            colour: Red, green and blue, 1 for white.
            gain: Factor on its brightness.

        Returns:
            Red, green and blue, 0 to 255.
        """
        red, green, blue = (
            min(round(c * gain * tint * 255), 255)
            for c, tint in zip(colour, self.sky.tint, strict=True)
        )
        return red, green, blue

    def air(self) -> None:
        """Paint the sky down to the end of the ground."""
        zenith, horizon = np.array(self.sky.zenith), np.array(self.sky.horizon)
        down = np.linspace(0, 1, round(self.foot))[:, None] ** 1.3
        rows = np.sqrt((zenith + (horizon - zenith) * down).clip(0, 1)) * 255
        strip = np.repeat(rows[:, None], self.width, axis=1).astype(np.uint8)
        self.image.paste(Image.fromarray(strip))

    def ground(self, colour: RGB) -> None:
        """Paint the ground from where it ends to the lower edge.

        Args:
            colour: Red, green and blue, 1 for white.
        """
        rows = max(self.height - int(self.foot), 1)
        fade = np.linspace(1.12, 0.86, rows)[:, None, None]
        grain = self.rng.normal(0, 4, (rows, self.width, 1))
        earth = np.array(self.dye(colour)) * fade + grain
        self.image.paste(Image.fromarray(earth.clip(0, 255).astype(np.uint8)), (0, int(self.foot)))

    def stripe(self, x0_m: float, y0_m: float, x1_m: float, y1_m: float) -> None:
        """Paint a white stripe on the ground.

        Args:
            x0_m: One corner.
            y0_m: One corner.
            x1_m: The corner across.
            y1_m: The corner across.
        """
        corners = self.flat([(x0_m, y0_m), (x1_m, y0_m), (x1_m, y1_m), (x0_m, y1_m)])
        if corners:
            self.draw.polygon(corners, fill=self.dye((0.82, 0.82, 0.80)))

    def wall(self, colour: RGB) -> None:
        """Paint a wall down to the end of the ground.

        Args:
            colour: Red, green and blue, 1 for white.
        """
        self.draw.rectangle((0, 0, self.width, self.foot), fill=self.dye(colour))

    def steps(self, share_low: float, share_high: float) -> tuple[float, list[float]]:
        """Draw a width at random, and places so far apart from left to right.

        Args:
            share_low: Least width, as a share of the picture's.
            share_high: Largest width, likewise.

        Returns:
            The width and the places, in pixels.
        """
        step = self.rng.uniform(share_low, share_high) * self.width
        return step, np.arange(self.rng.uniform(-step, 0), self.width, step).tolist()


def _grey(tone: float) -> RGB:
    return tone, tone, tone


def _street(stage: Stage) -> None:
    rng, draw, foot = stage.rng, stage.draw, stage.foot
    stage.air()
    x = -rng.uniform(0, 60)
    while x < stage.width:
        width, high = rng.uniform(0.12, 0.34) * stage.width, rng.uniform(0.2, 0.9) * stage.height
        tone = rng.uniform(0.4, 0.9)
        colour = tone, tone * rng.uniform(0.88, 1), tone * rng.uniform(0.75, 1)
        draw.rectangle((x, foot - high, x + width, foot), fill=stage.dye(colour))
        _windows(stage, x, foot - high, x + width, colour)
        x += width + rng.uniform(0, 14)
    stage.ground((0.43, 0.43, 0.44))
    y_m = rng.choice((-2.2, 2.2))
    stage.stripe(-30, y_m - 0.07, 30, y_m + 0.07)


def _windows(stage: Stage, left: float, top: float, right: float, colour: RGB) -> None:
    step = stage.rng.uniform(10, 17)
    dark = stage.sky in (NIGHT, DUSK)
    for y in np.arange(top + step * 0.6, stage.foot - step, step):
        for x in np.arange(left + step * 0.5, right - step * 0.5, step):
            on = dark and stage.rng.random() < 0.35
            fill = (235, 200, 130) if on else stage.dye(colour, 0.55)
            stage.draw.rectangle((x, y, x + step * 0.5, y + step * 0.55), fill=fill)


def _trees(stage: Stage) -> None:
    for rise, gain in ((1.0, 0.85), (0.4, 0.6)):
        for _ in range(12):
            radius = stage.rng.uniform(0.05, 0.14) * stage.width
            x, y = stage.rng.uniform(0, stage.width), stage.foot - radius * rise
            tone = stage.rng.uniform(0.8, 1.15) * gain
            box = (x - radius, y - radius * 0.9, x + radius, y + radius)
            stage.draw.ellipse(box, fill=stage.dye((0.36, 0.52, 0.24), tone))


def _car_park(stage: Stage) -> None:
    stage.air()
    _trees(stage)
    stage.ground((0.48, 0.47, 0.46))
    for _ in range(4):
        _parked(stage)
    for y_m in np.arange(-6.5, 7, 2.6).tolist():
        stage.stripe(-2.8, y_m - 0.06, 2.6, y_m + 0.06)


def _parked(stage: Stage) -> None:
    rng, draw, y = stage.rng, stage.draw, stage.foot
    x, size = rng.uniform(0, stage.width), stage.width * rng.uniform(0.06, 0.09)
    bright = tuple(rng.uniform(0.1, 0.9, 3).tolist())
    paint = stage.dye(bright if rng.random() < 0.4 else _grey(0.7))
    roof = (x - size, y - size, x + size * 0.9, y - size * 0.2)
    draw.rounded_rectangle(roof, size * 0.3, fill=stage.dye(_grey(0.2)))
    low = (x - size * 1.7, y - size * 0.5, x + size * 1.7, y + size * 0.3)
    draw.rounded_rectangle(low, size * 0.25, fill=paint)
    for side in (-1, 1):
        wheel = x + side * size
        box = (wheel - size * 0.25, y, wheel + size * 0.25, y + size * 0.5)
        draw.ellipse(box, fill=stage.dye(_grey(0.08)))


def _park(stage: Stage) -> None:
    stage.air()
    _trees(stage)
    grounds = ((0.55, 0.51, 0.43), (0.44, 0.54, 0.30), (0.50, 0.50, 0.48))
    stage.ground(grounds[stage.rng.integers(3)])


def _by_a_wall(stage: Stage) -> None:
    walls = ((0.64, 0.42, 0.34), (0.70, 0.70, 0.68), (0.78, 0.73, 0.62), (0.44, 0.50, 0.56))
    colour = walls[stage.rng.integers(4)]
    stage.wall(colour)
    if stage.rng.random() < 0.5:
        size = stage.rng.uniform(7, 12)
        for row, y in enumerate(np.arange(stage.foot - size, -size, -size)):
            stage.draw.line((0, y, stage.width, y), fill=stage.dye(colour, 0.86))
            for x in np.arange(-(row % 2) * size, stage.width, 2 * size):
                stage.draw.line((x, y, x, y + size), fill=stage.dye(colour, 0.86))
    else:
        for x in stage.steps(0.04, 0.09)[1]:
            stage.draw.line((x, 0, x, stage.foot), fill=stage.dye(colour, 0.9), width=2)
    stage.ground((0.50, 0.49, 0.47))


def _showroom(stage: Stage) -> None:
    tone = stage.rng.uniform(0.75, 0.93)
    stage.wall((tone, tone, tone * stage.rng.uniform(0.94, 1)))
    step, places = stage.steps(0.16, 0.3)
    for x in places:
        panel = (x, 0, x + step * 0.5, stage.foot)
        stage.draw.rectangle(panel, fill=stage.dye(_grey(tone * 0.93)))
        lamp = [(x + step * at, y) for at, y in ((0.6, 0), (0.95, 0), (0.9, 7), (0.65, 7))]
        stage.draw.polygon(lamp, fill=(255, 255, 250))
    stage.ground(_grey(stage.rng.uniform(0.45, 0.72)))


def _garage(stage: Stage) -> None:
    tone = stage.rng.uniform(0.28, 0.48)
    stage.wall(_grey(tone))
    step, places = stage.steps(0.25, 0.4)
    for x in places:
        stage.draw.rectangle((x, 0, x + step * 0.22, stage.foot), fill=stage.dye(_grey(tone * 1.5)))
        band = (x, stage.foot * 0.72, x + step * 0.22, stage.foot)
        stage.draw.rectangle(band, fill=stage.dye((0.75, 0.62, 0.12)))
        tube = (x + step * 0.4, stage.height * 0.02, x + step * 0.9, stage.height * 0.05)
        stage.draw.rectangle(tube, fill=(245, 250, 250))
    stage.ground((0.38, 0.43, 0.41))
    for y_m in np.arange(-6.5, 7, 2.6).tolist():
        stage.stripe(-2.8, y_m - 0.06, 2.6, y_m + 0.06)


@dataclass(frozen=True)
class Place:
    """Somewhere a car can stand."""

    paint: Callable[[Stage], None]
    behind_m: float
    share: float  # of all photos
    indoors: bool = False


PLACES = (
    Place(_street, 16, 0.24),
    Place(_car_park, 14, 0.24),
    Place(_park, 22, 0.16),
    Place(_by_a_wall, 3.6, 0.14),
    Place(_showroom, 4.5, 0.13, indoors=True),
    Place(_garage, 6, 0.09, indoors=True),
)


def backdrop(place: Place, camera: Camera, sky: Sky, body: Body, rng: Rng) -> Image.Image:
    """Paint what is behind and under a car.

    Args:
        place: Where it stands.
        camera: Where it is seen from.
        sky: The hour of the day.
        body: The car, for its shadow.
        rng: Where all chance comes from.

    Returns:
        A picture of half the camera's size.
    """
    stage = Stage(camera, sky, place.behind_m * rng.uniform(0.9, 1.5), rng)
    place.paint(stage)
    image = stage.image.filter(ImageFilter.BoxBlur(rng.uniform(0.6, 1.6)))
    drift_m = rng.uniform(-0.5, 0.5) if sky is SUNNY else 0.0
    wide = _shadow(stage, body, 1.12, drift_m, 120 if sky is not INDOORS else 90)
    close = _shadow(stage, body, 1.0, 0.0, 205)
    black = Image.new("RGB", image.size, (6, 6, 8))
    return Image.composite(black, Image.composite(black, image, wide), close)


def _shadow(stage: Stage, body: Body, grow: float, drift_m: float, strength: int) -> Image.Image:
    # The shadow under a car as a mask; drawn small, as it is blurred anyway.
    turn = np.linspace(0, 2 * np.pi, 40)
    cos, sin = np.cos(turn), np.sin(turn)
    x = body.length_m * 0.49 * grow * np.sign(cos) * np.abs(cos) ** 0.4
    y = body.width_m * 0.49 * grow * np.sign(sin) * np.abs(sin) ** 0.4 + drift_m
    mask = Image.new("L", (stage.width // 2, stage.height // 2))
    edge = stage.flat(list(zip(x.tolist(), y.tolist(), strict=True)))
    ImageDraw.Draw(mask).polygon([(px / 2, py / 2) for px, py in edge], fill=strength)
    mask = mask.filter(ImageFilter.BoxBlur(2 * grow**4))
    return mask.resize((stage.width, stage.height), Image.Resampling.BILINEAR)
