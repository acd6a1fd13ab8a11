"""What draws settings: soft shapes without outlines, in one light."""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

from pscli.photoworld.art.shapes import Colour, Point, blend, ring, smooth

GROUND_TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (0.96, 0.8, 0.72), "night": (0.45, 0.49, 0.65)}
LAMPLIGHT = (0.58, 0.5, 0.54)  # indoors at night
SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((140, 200, 238), (222, 240, 246)),
    "sunset": ((226, 128, 146), (254, 208, 146)),
    "night": ((20, 26, 60), (56, 68, 116)),
}


class Brush:
    """An RGB unit square on which soft shapes without outlines are drawn, in one light."""

    def __init__(self, pixels: int, light: str, rng: random.Random) -> None:
        self.pixels = pixels
        self.light = light
        self.rng = rng
        self.tint = GROUND_TINTS[light]
        self.image = Image.new("RGB", (pixels, pixels))
        self._draw = ImageDraw.Draw(self.image)

    def lit(self, colour: Colour) -> Colour:
        """`colour` as it looks in this light."""
        red, green, blue = (
            round(value * tint) for value, tint in zip(colour, self.tint, strict=True)
        )
        return red, green, blue

    def indoors(self) -> None:
        """From now on a night is lit by a lamp."""
        if self.light == "night":
            self.tint = LAMPLIGHT

    def poly(self, points: Sequence[Point], fill: Colour, glow: bool = False) -> None:
        """A polygon; one that glows keeps its colour in every light."""
        corners = [(x * self.pixels, y * self.pixels) for x, y in points]
        self._draw.polygon(corners, fill=fill if glow else self.lit(fill))

    def oval(self, cx: float, cy: float, rx: float, ry: float, fill: Colour,
             glow: bool = False) -> None:  # fmt: skip
        """An ellipse."""
        self.poly(ring(cx, cy, rx, ry), fill, glow)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour,
            glow: bool = False) -> None:  # fmt: skip
        """A rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, glow)

    def ground(self, top: float, near: Colour, far: Colour) -> None:
        """A floor from `top` to the lower edge, shading from `far` to `near`."""
        self._fade(0, top, 1, 1, self.lit(far), self.lit(near))

    def sky(self, x0: float = 0, y0: float = 0, x1: float = 1, y1: float = 0.6) -> None:
        """A sky in this light, with sun or moon, clouds or stars, scaled to the given window."""
        self._fade(x0, y0, x1, y1, *SKIES[self.light])
        width, height = x1 - x0, y1 - y0

        def at(x: float, y: float, r: float, fill: Colour, flat: float = 1.0) -> None:
            size = r * width
            self.oval(x0 + x * width, y0 + y * height, size, size * flat, fill, glow=True)

        x = self.rng.uniform(0.15, 0.85)
        if self.light == "day":
            at(x, 0.2, 0.075, (255, 238, 170))
            for _ in range(2):
                cx, cy = self.rng.uniform(0.12, 0.88), self.rng.uniform(0.16, 0.55)
                for dx, r in ((-0.07, 0.05), (0, 0.075), (0.075, 0.05)):
                    at(cx + dx, cy, r, (250, 252, 253), 0.7)
        elif self.light == "sunset":
            at(x, 0.6, 0.15, (254, 214, 150))
            at(x, 0.6, 0.11, (255, 236, 176))
            for y in (0.26, 0.42):
                at(self.rng.uniform(0.2, 0.8), y, 0.16, (240, 160, 160), 0.14)
        else:
            for _ in range(22):
                r = self.rng.uniform(0.006, 0.013)
                at(self.rng.uniform(0.04, 0.96), self.rng.uniform(0.04, 0.85), r, (236, 236, 214))
            at(x, 0.27, 0.09, (250, 244, 214))
            at(x + 0.045, 0.235, 0.075, blend(*SKIES["night"], 0.27))

    def ridge(self, base: float, height: float, fill: Colour, bumps: int = 3) -> None:
        """Rolling hills whose tops wander around `base`."""
        tops = [(i / bumps - 0.02, base + self.rng.uniform(-height, height))
                for i in range(-1, bumps + 2)]  # fmt: skip
        self.poly([*smooth(tops, closed=False), (1.4, 1), (-0.4, 1)], fill)

    def window(self, x0: float, y0: float, x1: float, y1: float, frame: Colour) -> None:
        """A window with a cross, and the sky behind it."""
        self.box(x0 - 0.025, y0 - 0.025, x1 + 0.025, y1 + 0.025, frame)
        self.sky(x0, y0, x1, y1)
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        self.box(cx - 0.01, y0, cx + 0.01, y1, frame)
        self.box(x0, cy - 0.01, x1, cy + 0.01, frame)

    def _fade(self, x0: float, y0: float, x1: float, y1: float, top: Colour, low: Colour) -> None:
        left, right = round(x0 * self.pixels), round(x1 * self.pixels)
        first, last = round(y0 * self.pixels), round(y1 * self.pixels)
        for y in range(first, last + 1):
            fill = blend(top, low, (y - first) / max(1, last - first))
            self._draw.line((left, y, right, y), fill=fill)
