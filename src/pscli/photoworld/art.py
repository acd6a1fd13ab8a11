"""Cartoon drawings of photoworld: one small function per thing and per setting.

Every drawing lives in the unit square (x to the right, y down), is drawn several times larger
than asked for and scaled down, so that one drawing serves a 21-pixel sprite and a README.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (44, 36, 50)
CREAM: Colour = (250, 240, 214)
GOLD: Colour = (247, 200, 74)
WOOD: Colour = (150, 98, 60)
LEAF: Colour = (84, 150, 72)
GLASS: Colour = (198, 228, 240)
STEEL: Colour = (156, 160, 172)

# Things keep nearly their own colour: telling orange from yellow at sunset must stay possible.
THING_TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.94, 0.88), "night": (0.86, 0.86, 0.92)}
GROUND_TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (0.96, 0.8, 0.72), "night": (0.45, 0.49, 0.65)}
LAMPLIGHT = (0.58, 0.5, 0.54)  # indoors at night
SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((140, 200, 238), (222, 240, 246)),
    "sunset": ((226, 128, 146), (254, 208, 146)),
    "night": ((20, 26, 60), (56, 68, 116)),
}
OUTLINE = 0.042  # of a thing's width: about one pixel of a 64-pixel photo


def draw_thing(kind: str, colour: Colour, light: str, pixels: int) -> Image.Image:
    """One thing on a transparent square, as an RGBA image of `pixels` × `pixels`.

    Args:
        kind: A key of `THINGS`.
        colour: Of the body, before the tint of the light.
        light: "day", "sunset" or "night".
        pixels: Width and height, > 0.
    """
    pen = Pen(max(160, 4 * pixels), colour)
    THINGS[kind](pen)
    red, green, blue, alpha = pen.image.split()
    bands = (
        band.point([min(255, round(value * tint)) for value in range(256)])
        for band, tint in zip((red, green, blue), THING_TINTS[light], strict=True)
    )
    image = Image.merge("RGBA", (*bands, alpha))
    return image.resize((pixels, pixels), Image.Resampling.LANCZOS)


def draw_setting(setting: str, light: str, variant: int, pixels: int) -> Image.Image:
    """An empty setting as an RGB image of `pixels` × `pixels`.

    Args:
        setting: A key of `SETTINGS`.
        light: "day", "sunset" or "night".
        variant: Moves clouds, trees, stars; odd ones are mirrored.
        pixels: Width and height, > 0.
    """
    brush = Brush(min(1024, 4 * pixels), light, random.Random(f"{setting}-{variant}"))
    SETTINGS[setting](brush)
    image = brush.image
    if variant % 2:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.resize((pixels, pixels), Image.Resampling.LANCZOS)


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with a `share` (0..1) of `second` mixed in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 8) -> list[Point]:
    """A Catmull-Rom curve through `points`, as a dense polyline."""
    count = len(points)
    curve: list[Point] = []
    for i in range(count if closed else count - 1):
        around = [i - 1, i, i + 1, i + 2]
        picked = [points[j % count if closed else min(max(j, 0), count - 1)] for j in around]
        for step in range(steps):
            t = step / steps
            weights = (
                -t + 2 * t**2 - t**3,
                2 - 5 * t**2 + 3 * t**3,
                t + 4 * t**2 - 3 * t**3,
                -(t**2) + t**3,
            )
            curve.append(
                (
                    sum(w * p[0] for w, p in zip(weights, picked, strict=True)) / 2,
                    sum(w * p[1] for w, p in zip(weights, picked, strict=True)) / 2,
                )
            )
    return curve if closed else [*curve, points[-1]]


def ring(cx: float, cy: float, rx: float, ry: float, start: float = 0, end: float = 360,
         steps: int = 48) -> list[Point]:  # fmt: skip
    """Points on an ellipse from `start` to `end` degrees, clockwise from three o'clock."""
    angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


class Pen:
    """A transparent unit square on which outlined shapes are drawn."""

    def __init__(self, pixels: int, body: Colour) -> None:
        self.pixels = pixels
        self.body = body
        self.shine = blend(body, (255, 255, 255), 0.5)
        self.shade = blend(body, INK, 0.24)
        self.image = Image.new("RGBA", (pixels, pixels))
        self._draw = ImageDraw.Draw(self.image)

    def poly(self, points: Sequence[Point], fill: Colour | None = None, line: bool = True) -> None:
        """A filled polygon; the body's colour unless `fill` says otherwise."""
        corners = [(x * self.pixels, y * self.pixels) for x, y in points]
        self._draw.polygon(corners, fill=fill or self.body)
        if line:
            self._trace([*corners, corners[0]], INK, OUTLINE * self.pixels)

    def blob(self, points: Sequence[Point], fill: Colour | None = None, line: bool = True) -> None:
        """A filled smooth shape through `points`."""
        self.poly(smooth(points), fill, line)

    def oval(self, cx: float, cy: float, rx: float, ry: float | None = None,
             fill: Colour | None = None, line: bool = True) -> None:  # fmt: skip
        """A filled ellipse, a circle without `ry`."""
        self.poly(ring(cx, cy, rx, rx if ry is None else ry)[:-1], fill, line)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None,
            radius: float = 0.0, line: bool = True) -> None:  # fmt: skip
        """A filled rectangle with rounded corners."""
        if radius <= 0:
            self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, line)
            return
        corners = [(x1 - radius, y1 - radius, 0), (x0 + radius, y1 - radius, 90),
                   (x0 + radius, y0 + radius, 180), (x1 - radius, y0 + radius, 270)]  # fmt: skip
        points = [p for x, y, a in corners for p in ring(x, y, radius, radius, a, a + 90, 8)]
        self.poly(points, fill, line)

    def stroke(self, points: Sequence[Point], fill: Colour | None = None, width: float = 0.08,
               line: bool = True) -> None:  # fmt: skip
        """A thick line along `points`, with round ends."""
        path = [(x * self.pixels, y * self.pixels) for x, y in points]
        if line:
            self._trace(path, INK, (width + 1.6 * OUTLINE) * self.pixels)
        self._trace(path, fill or self.body, width * self.pixels)

    def eye(self, x: float, y: float, radius: float = 0.045) -> None:
        """A dark eye with a glint."""
        self.oval(x, y, radius, fill=INK, line=False)
        self.oval(x - radius / 3, y - radius / 3, radius / 2.6, fill=(255, 255, 255), line=False)

    def _trace(self, path: Sequence[Point], colour: Colour, width: float) -> None:
        self._draw.line(path, fill=colour, width=max(1, round(width)), joint="curve")
        r = width / 2
        for x, y in (path[0], path[-1]):
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _wheel(pen: Pen, x: float, y: float, radius: float) -> None:
    pen.oval(x, y, radius, fill=(66, 62, 72))
    pen.oval(x, y, radius * 0.42, fill=(214, 214, 220), line=False)


def _car(pen: Pen) -> None:
    pen.poly([(0.16, 0.52), (0.3, 0.25), (0.66, 0.25), (0.84, 0.52)])
    pen.poly([(0.26, 0.5), (0.34, 0.33), (0.46, 0.33), (0.46, 0.5)], GLASS, line=False)
    pen.poly([(0.53, 0.5), (0.53, 0.33), (0.63, 0.33), (0.74, 0.5)], GLASS, line=False)
    pen.box(0.03, 0.48, 0.97, 0.82, radius=0.1)
    pen.box(0.07, 0.7, 0.93, 0.79, pen.shade, 0.04, line=False)
    pen.box(0.1, 0.53, 0.8, 0.58, pen.shine, 0.02, line=False)
    pen.oval(0.9, 0.6, 0.05, fill=GOLD, line=False)
    _wheel(pen, 0.25, 0.82, 0.145)
    _wheel(pen, 0.75, 0.82, 0.145)


def _boat(pen: Pen) -> None:
    pen.stroke([(0.48, 0.06), (0.48, 0.72)], WOOD, 0.03)
    pen.blob([(0.54, 0.06), (0.76, 0.3), (0.9, 0.6), (0.7, 0.62), (0.54, 0.6)])
    pen.poly([(0.42, 0.16), (0.42, 0.6), (0.1, 0.6)], CREAM)
    pen.poly([(0.03, 0.68), (0.97, 0.68), (0.8, 0.96), (0.2, 0.96)])
    pen.poly([(0.14, 0.83), (0.86, 0.83), (0.78, 0.93), (0.22, 0.93)], pen.shade, line=False)
    pen.stroke([(0.6, 0.2), (0.72, 0.38)], pen.shine, 0.04, line=False)


def _bus(pen: Pen) -> None:
    pen.box(0.03, 0.12, 0.97, 0.84, radius=0.09)
    pen.box(0.07, 0.7, 0.93, 0.8, pen.shade, 0.03, line=False)
    pen.box(0.1, 0.165, 0.9, 0.2, pen.shine, 0.015, line=False)
    for x in (0.11, 0.33, 0.55):
        pen.box(x, 0.26, x + 0.16, 0.48, GLASS, 0.02)
    pen.box(0.77, 0.26, 0.91, 0.72, GLASS, 0.02)
    _wheel(pen, 0.26, 0.84, 0.13)
    _wheel(pen, 0.68, 0.84, 0.13)


def _bicycle(pen: Pen) -> None:
    for x in (0.24, 0.76):
        pen.stroke(ring(x, 0.73, 0.175, 0.175), pen.body, 0.06)
        pen.oval(x, 0.73, 0.035, fill=STEEL, line=False)
    pen.stroke([(0.24, 0.73), (0.4, 0.4), (0.66, 0.4), (0.48, 0.73), (0.24, 0.73)], width=0.075)
    pen.stroke([(0.48, 0.73), (0.38, 0.32)], width=0.06)
    pen.stroke([(0.76, 0.73), (0.64, 0.24), (0.78, 0.2)], width=0.06)
    pen.stroke([(0.28, 0.3), (0.47, 0.3)], INK, 0.08)
    pen.stroke([(0.76, 0.2), (0.86, 0.24)], INK, 0.07)


def _balloon(pen: Pen) -> None:
    string = smooth([(0.5, 0.75), (0.55, 0.83), (0.46, 0.9), (0.52, 0.98)], closed=False)
    pen.stroke(string, INK, 0.03, line=False)
    pen.poly([(0.5, 0.7), (0.6, 0.8), (0.4, 0.8)])
    pen.blob([(0.5, 0.03), (0.8, 0.16), (0.86, 0.4), (0.7, 0.64), (0.5, 0.75), (0.3, 0.64),
              (0.14, 0.4), (0.2, 0.16)])  # fmt: skip
    pen.stroke(smooth([(0.74, 0.48), (0.66, 0.58), (0.54, 0.66)], False), pen.shade, 0.05, False)
    pen.oval(0.33, 0.25, 0.08, 0.11, pen.shine, line=False)


def _umbrella(pen: Pen) -> None:
    hook = [(0.5, 0.5), (0.5, 0.86), *ring(0.41, 0.86, 0.09, 0.09, 0, 150, 10)]
    pen.stroke(hook, WOOD, 0.045)
    pen.stroke([(0.5, 0.04), (0.5, 0.12)], WOOD, 0.04)
    scallops = [p for x in (0.81, 0.5, 0.19) for p in ring(x, 0.54, 0.155, 0.09, 0, -180, 10)]
    pen.poly([*ring(0.5, 0.54, 0.465, 0.44, 180, 360), *scallops])
    pen.poly([(0.5, 0.12), *ring(0.5, 0.54, 0.155, 0.09, 180, 360, 10)], pen.shine)
    pen.stroke(smooth([(0.12, 0.4), (0.2, 0.26), (0.3, 0.19)], False), pen.shine, 0.04, False)


def _kite(pen: Pen) -> None:
    tail = smooth([(0.5, 0.68), (0.4, 0.78), (0.55, 0.86), (0.44, 0.96)], closed=False)
    pen.stroke(tail, INK, 0.03, line=False)
    pen.poly([(0.32, 0.76), (0.32, 0.88), (0.54, 0.76), (0.54, 0.88)], pen.shade)
    pen.poly([(0.5, 0.03), (0.93, 0.33), (0.5, 0.72), (0.07, 0.33)])
    pen.poly([(0.5, 0.09), (0.5, 0.32), (0.17, 0.32)], pen.shine, line=False)
    pen.poly([(0.5, 0.34), (0.84, 0.34), (0.5, 0.65)], pen.shade, line=False)
    pen.stroke([(0.07, 0.33), (0.93, 0.33)], INK, 0.03, line=False)
    pen.stroke([(0.5, 0.05), (0.5, 0.7)], INK, 0.03, line=False)


def _hat(pen: Pen) -> None:
    pen.oval(0.5, 0.8, 0.47, 0.14)
    pen.oval(0.5, 0.83, 0.38, 0.08, pen.shade, line=False)
    pen.blob([(0.24, 0.76), (0.22, 0.44), (0.3, 0.2), (0.5, 0.24), (0.7, 0.2), (0.78, 0.44),
              (0.76, 0.76), (0.5, 0.83)])  # fmt: skip
    pen.poly([(0.22, 0.6), (0.5, 0.66), (0.78, 0.6), (0.77, 0.74), (0.5, 0.81), (0.23, 0.74)],
             (90, 66, 60))  # fmt: skip
    pen.stroke(smooth([(0.32, 0.48), (0.33, 0.36), (0.37, 0.29)], False), pen.shine, 0.06, False)


def _cat(pen: Pen) -> None:
    tail = smooth([(0.68, 0.9), (0.88, 0.86), (0.9, 0.68), (0.82, 0.58)], closed=False)
    pen.stroke(tail, width=0.085)
    pen.blob([(0.5, 0.5), (0.7, 0.62), (0.76, 0.93), (0.5, 0.97), (0.24, 0.93), (0.3, 0.62)])
    pen.oval(0.5, 0.8, 0.11, 0.14, pen.shine, line=False)
    for side in (-1, 1):
        pen.poly([(0.5 + side * 0.37, 0.03), (0.5 + side * 0.07, 0.16), (0.5 + side * 0.37, 0.36)])
        pen.poly([(0.5 + side * 0.31, 0.12), (0.5 + side * 0.18, 0.18), (0.5 + side * 0.31, 0.26)],
                 (240, 170, 180), line=False)  # fmt: skip
    pen.oval(0.5, 0.36, 0.38, 0.27)
    for side in (-1, 1):
        pen.eye(0.5 + side * 0.16, 0.33, 0.055)
        pen.stroke([(0.5 + side * 0.2, 0.46), (0.5 + side * 0.46, 0.43)], INK, 0.022, line=False)
        pen.stroke([(0.5 + side * 0.2, 0.5), (0.5 + side * 0.44, 0.54)], INK, 0.022, line=False)
    pen.poly([(0.45, 0.42), (0.55, 0.42), (0.5, 0.48)], (222, 110, 130), line=False)


def _dog(pen: Pen) -> None:
    pen.stroke(smooth([(0.12, 0.56), (0.05, 0.42), (0.1, 0.3)], closed=False), width=0.07)
    for x in (0.26, 0.56):
        pen.box(x, 0.7, x + 0.11, 0.95, pen.shade, 0.04)
    pen.box(0.08, 0.46, 0.72, 0.8, radius=0.16)
    for x in (0.13, 0.45):
        pen.box(x, 0.7, x + 0.12, 0.97, radius=0.04)
    pen.box(0.15, 0.66, 0.6, 0.78, line=False)
    pen.blob([(0.5, 0.24), (0.6, 0.1), (0.76, 0.1), (0.84, 0.28), (0.97, 0.34), (0.96, 0.48),
              (0.76, 0.56), (0.56, 0.52)])  # fmt: skip
    pen.blob([(0.58, 0.1), (0.66, 0.18), (0.64, 0.42), (0.54, 0.5), (0.46, 0.36)], (112, 74, 56))
    pen.oval(0.95, 0.35, 0.05, 0.045, INK, line=False)
    pen.eye(0.76, 0.25)
    pen.stroke([(0.62, 0.57), (0.74, 0.58)], (200, 60, 60), 0.05)
    pen.stroke([(0.2, 0.52), (0.44, 0.52)], pen.shine, 0.04, line=False)


def _rabbit(pen: Pen) -> None:
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.13, 0.22, 0.1, 0.2)
        pen.oval(0.5 + side * 0.13, 0.22, 0.04, 0.13, (240, 170, 180), line=False)
    pen.oval(0.78, 0.84, 0.1, fill=(255, 255, 255))
    pen.blob([(0.5, 0.56), (0.72, 0.7), (0.74, 0.92), (0.5, 0.97), (0.26, 0.92), (0.28, 0.7)])
    pen.oval(0.5, 0.82, 0.12, 0.11, pen.shine, line=False)
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.2, 0.92, 0.13, 0.055)
    pen.oval(0.5, 0.5, 0.28, 0.2)
    for side in (-1, 1):
        pen.eye(0.5 + side * 0.13, 0.46, 0.05)
    pen.oval(0.5, 0.53, 0.035, 0.025, (222, 110, 130), line=False)
    pen.box(0.46, 0.57, 0.54, 0.65, (255, 255, 255), 0.01, line=False)


def _duck(pen: Pen) -> None:
    pen.blob([(0.74, 0.24), (0.98, 0.3), (0.96, 0.37), (0.74, 0.4)], (240, 140, 40))
    for x in (0.36, 0.5):
        pen.stroke([(x, 0.86), (x, 0.94), (x + 0.1, 0.95)], (240, 140, 40), 0.04)
    pen.blob([(0.03, 0.46), (0.2, 0.54), (0.42, 0.5), (0.5, 0.4), (0.42, 0.26), (0.5, 0.1),
              (0.66, 0.06), (0.8, 0.16), (0.8, 0.34), (0.72, 0.46), (0.78, 0.64), (0.66, 0.84),
              (0.4, 0.9), (0.16, 0.8), (0.05, 0.62)])  # fmt: skip
    pen.blob([(0.18, 0.62), (0.4, 0.56), (0.6, 0.62), (0.5, 0.76), (0.32, 0.78)], pen.shade)
    pen.eye(0.67, 0.22)
    pen.stroke([(0.53, 0.16), (0.5, 0.26)], pen.shine, 0.04, line=False)


def _fish(pen: Pen) -> None:
    pen.blob([(0.3, 0.56), (0.04, 0.26), (0.1, 0.56), (0.04, 0.88)], pen.shade)
    pen.blob([(0.44, 0.34), (0.5, 0.14), (0.66, 0.16), (0.72, 0.36)], pen.shade)
    pen.blob([(0.22, 0.56), (0.4, 0.34), (0.64, 0.29), (0.88, 0.4), (0.97, 0.56), (0.88, 0.74),
              (0.64, 0.84), (0.4, 0.78)])  # fmt: skip
    pen.stroke(ring(0.58, 0.56, 0.1, 0.2, -70, 70, 12), pen.shade, 0.04, line=False)
    pen.stroke(ring(0.44, 0.56, 0.1, 0.14, -70, 70, 12), pen.shade, 0.04, line=False)
    pen.oval(0.82, 0.5, 0.085, fill=(255, 255, 255))
    pen.oval(0.835, 0.5, 0.045, fill=INK, line=False)
    pen.stroke([(0.46, 0.4), (0.66, 0.36)], pen.shine, 0.045, line=False)
    pen.stroke([(0.86, 0.68), (0.92, 0.66)], INK, 0.03, line=False)


def _butterfly(pen: Pen) -> None:
    for side in (-1, 1):

        def x(value: float, side: int = side) -> float:
            return 0.5 + side * value  # mirrors a wing

        feeler = smooth([(x(0.02), 0.28), (x(0.08), 0.12), (x(0.17), 0.07)], closed=False)
        pen.stroke(feeler, INK, 0.035, line=False)
        pen.blob([(x(0.02), 0.52), (x(0.3), 0.52), (x(0.4), 0.7), (x(0.26), 0.93),
                  (x(0.1), 0.82)], pen.shade)  # fmt: skip
        pen.blob([(x(0.02), 0.5), (x(0.1), 0.26), (x(0.34), 0.1), (x(0.48), 0.24), (x(0.42), 0.5),
                  (x(0.2), 0.58)])  # fmt: skip
        pen.oval(x(0.31), 0.3, 0.085, fill=pen.shine, line=False)
        pen.oval(x(0.23), 0.74, 0.055, fill=pen.shine, line=False)
    pen.oval(0.5, 0.54, 0.05, 0.27, (86, 66, 66))


def _snail(pen: Pen) -> None:
    skin = (222, 190, 150)
    for x in (0.83, 0.93):
        pen.stroke([(0.82, 0.6), (x, 0.34)], skin, 0.035)
        pen.oval(x, 0.34, 0.045, fill=INK, line=False)
    pen.blob([(0.03, 0.95), (0.2, 0.84), (0.6, 0.82), (0.72, 0.6), (0.84, 0.52), (0.95, 0.62),
              (0.92, 0.82), (0.78, 0.96), (0.4, 0.97)], skin)  # fmt: skip
    pen.oval(0.42, 0.52, 0.345)
    turns = [(0.42 + 0.26 * (1 - i / 44) * math.cos(i / 4), 0.52 + 0.26 * (1 - i / 44)
              * math.sin(i / 4)) for i in range(40)]  # fmt: skip
    pen.stroke(turns, INK, 0.045, line=False)
    pen.stroke(ring(0.42, 0.52, 0.28, 0.28, 200, 260, 10), pen.shine, 0.05, line=False)
    pen.stroke([(0.84, 0.74), (0.89, 0.72)], INK, 0.03, line=False)


def _turtle(pen: Pen) -> None:
    skin = (168, 190, 120)
    pen.poly([(0.12, 0.72), (0.02, 0.82), (0.2, 0.82)], skin)
    for x in (0.16, 0.52):
        pen.box(x, 0.74, x + 0.16, 0.97, skin, 0.05)
    pen.blob([(0.64, 0.74), (0.76, 0.56), (0.8, 0.4), (0.92, 0.36), (0.98, 0.48), (0.92, 0.62),
              (0.8, 0.8)], skin)  # fmt: skip
    pen.eye(0.9, 0.46, 0.04)
    pen.poly([*ring(0.42, 0.76, 0.37, 0.5, 180, 360), (0.72, 0.84), (0.12, 0.84)])
    pen.poly([(0.07, 0.73), (0.77, 0.73), (0.72, 0.83), (0.12, 0.83)], pen.shade, line=False)
    pen.poly([(0.42, 0.36), (0.56, 0.46), (0.51, 0.63), (0.33, 0.63), (0.28, 0.46)], pen.shine)
    for path in ([(0.28, 0.46), (0.15, 0.44)], [(0.56, 0.46), (0.69, 0.44)],
                 [(0.33, 0.63), (0.26, 0.73)], [(0.51, 0.63), (0.58, 0.73)]):  # fmt: skip
        pen.stroke(path, INK, 0.035, line=False)


def _flower(pen: Pen) -> None:
    pen.stroke([(0.5, 0.5), (0.5, 0.96)], LEAF, 0.06)
    pen.blob([(0.5, 0.94), (0.32, 0.9), (0.18, 0.74), (0.4, 0.78)], LEAF)
    pen.blob([(0.5, 0.94), (0.68, 0.9), (0.82, 0.74), (0.6, 0.78)], LEAF)
    for i in range(6):
        angle = math.radians(60 * i + 30)
        pen.oval(0.5 + 0.23 * math.cos(angle), 0.36 + 0.22 * math.sin(angle), 0.15)
    pen.oval(0.5, 0.36, 0.2, line=False)
    pen.oval(0.5, 0.36, 0.12, fill=(120, 78, 50))
    pen.oval(0.36, 0.17, 0.045, fill=pen.shine, line=False)


def _mushroom(pen: Pen) -> None:
    pen.blob([(0.36, 0.5), (0.64, 0.5), (0.62, 0.74), (0.7, 0.94), (0.5, 0.97), (0.3, 0.94),
              (0.38, 0.74)], CREAM)  # fmt: skip
    pen.poly([*ring(0.5, 0.54, 0.47, 0.48, 180, 360), *ring(0.5, 0.54, 0.47, 0.09, 0, 180)])
    pen.stroke(ring(0.5, 0.52, 0.42, 0.08, 15, 165, 16), pen.shade, 0.05, line=False)
    spots = CREAM if min(pen.body) < 220 else (206, 176, 140)
    for x, y, r in ((0.5, 0.22, 0.085), (0.24, 0.38, 0.07), (0.76, 0.38, 0.07), (0.5, 0.46, 0.06)):
        pen.oval(x, y, r, r * 0.85, spots, line=False)


def _apple(pen: Pen) -> None:
    pen.stroke(smooth([(0.5, 0.28), (0.5, 0.16), (0.44, 0.06)], closed=False), WOOD, 0.05)
    pen.blob([(0.52, 0.2), (0.62, 0.06), (0.84, 0.05), (0.74, 0.2)], LEAF)
    pen.blob([(0.5, 0.29), (0.7, 0.21), (0.93, 0.34), (0.93, 0.62), (0.76, 0.93), (0.5, 0.92),
              (0.24, 0.93), (0.07, 0.62), (0.07, 0.34), (0.3, 0.21)])  # fmt: skip
    pen.stroke(smooth([(0.85, 0.56), (0.8, 0.74), (0.68, 0.85)], False), pen.shade, 0.07, False)
    pen.oval(0.27, 0.42, 0.085, 0.12, pen.shine, line=False)


def _cake(pen: Pen) -> None:
    pen.box(0.46, 0.12, 0.54, 0.34, CREAM)
    pen.blob([(0.5, 0.0), (0.56, 0.09), (0.5, 0.14), (0.44, 0.09)], (250, 170, 50))
    pen.box(0.24, 0.32, 0.76, 0.62, radius=0.05)
    pen.box(0.08, 0.56, 0.92, 0.92, radius=0.05)
    pen.box(0.11, 0.78, 0.89, 0.89, pen.shade, 0.02, line=False)
    for y, xs in ((0.35, (0.33, 0.5, 0.67)), (0.6, (0.18, 0.34, 0.5, 0.66, 0.82))):
        for x in xs:
            pen.oval(x, y + 0.02, 0.075, 0.07, CREAM, line=False)
    pen.stroke([(0.03, 0.94), (0.97, 0.94)], (226, 226, 232), 0.03)


def _cup(pen: Pen) -> None:
    for x in (0.3, 0.5):
        steam = smooth([(x, 0.26), (x + 0.06, 0.18), (x - 0.02, 0.12), (x + 0.04, 0.04)], False)
        pen.stroke(steam, (246, 246, 246), 0.035)
    pen.stroke(ring(0.72, 0.6, 0.2, 0.18, -90, 90, 14), width=0.075)
    pen.poly([(0.07, 0.36), (0.75, 0.36), (0.72, 0.86), (0.64, 0.96), (0.18, 0.96), (0.1, 0.86)])
    pen.box(0.6, 0.46, 0.67, 0.86, pen.shade, 0.03, line=False)
    pen.box(0.16, 0.5, 0.23, 0.82, pen.shine, 0.03, line=False)
    pen.oval(0.41, 0.36, 0.34, 0.075, (100, 62, 42))


def _guitar(pen: Pen) -> None:
    pen.stroke([(0.46, 0.54), (0.88, 0.12)], WOOD, 0.085)
    pen.stroke([(0.84, 0.16), (0.92, 0.08)], (96, 62, 44), 0.14)
    pen.blob([(0.36, 0.42), (0.5, 0.3), (0.67, 0.35), (0.7, 0.5), (0.58, 0.64), (0.6, 0.8),
              (0.44, 0.95), (0.2, 0.95), (0.05, 0.8), (0.05, 0.56), (0.2, 0.4)])  # fmt: skip
    pen.oval(0.47, 0.53, 0.1, fill=(70, 46, 40))
    pen.stroke([(0.2, 0.64), (0.36, 0.8)], (96, 62, 44), 0.06)
    pen.stroke([(0.28, 0.72), (0.86, 0.14)], CREAM, 0.025, line=False)
    pen.stroke(smooth([(0.11, 0.74), (0.12, 0.6), (0.2, 0.5)], False), pen.shine, 0.045, False)


def _chair(pen: Pen) -> None:
    for x, top in ((0.27, 0.6), (0.73, 0.6), (0.17, 0.72), (0.83, 0.72)):
        pen.stroke([(x, top), (x, 0.95)], WOOD, 0.07)
    pen.box(0.22, 0.03, 0.78, 0.56, radius=0.1)
    pen.box(0.34, 0.14, 0.66, 0.5, pen.shade, 0.06)
    pen.poly([(0.22, 0.54), (0.78, 0.54), (0.9, 0.7), (0.1, 0.7)])
    pen.box(0.1, 0.69, 0.9, 0.78, pen.shade, 0.02)
    pen.stroke([(0.29, 0.12), (0.29, 0.4)], pen.shine, 0.04, line=False)


def _lamp(pen: Pen) -> None:
    pen.oval(0.5, 0.54, 0.1, 0.06, (255, 236, 150))
    pen.stroke([(0.5, 0.5), (0.5, 0.9)], WOOD, 0.07)
    pen.oval(0.5, 0.9, 0.25, 0.07, WOOD)
    pen.poly([(0.32, 0.05), (0.68, 0.05), (0.93, 0.55), (0.07, 0.55)])
    pen.poly([(0.58, 0.09), (0.66, 0.09), (0.86, 0.51), (0.7, 0.51)], pen.shade, line=False)
    pen.poly([(0.35, 0.09), (0.42, 0.09), (0.29, 0.51), (0.14, 0.51)], pen.shine, line=False)


def _clock(pen: Pen) -> None:
    for side in (-1, 1):
        pen.stroke([(0.5 + side * 0.24, 0.84), (0.5 + side * 0.32, 0.95)], STEEL, 0.07)
        pen.stroke([(0.5 + side * 0.2, 0.26), (0.5 + side * 0.26, 0.18)], INK, 0.06)
        pen.oval(0.5 + side * 0.27, 0.16, 0.145, 0.115)
    pen.stroke([(0.5, 0.2), (0.5, 0.08)], STEEL, 0.06)
    pen.oval(0.5, 0.56, 0.4)
    pen.oval(0.5, 0.56, 0.245, fill=(250, 246, 232))
    pen.stroke([(0.5, 0.4), (0.5, 0.56), (0.61, 0.62)], INK, 0.045, line=False)
    pen.stroke(ring(0.5, 0.56, 0.325, 0.325, 195, 260, 12), pen.shine, 0.05, line=False)


def _tent(pen: Pen) -> None:
    pen.stroke([(0.46, 0.08), (0.54, 0.18)], WOOD, 0.04)
    pen.stroke([(0.54, 0.08), (0.46, 0.18)], WOOD, 0.04)
    pen.poly([(0.5, 0.16), (0.97, 0.95), (0.03, 0.95)])
    pen.poly([(0.5, 0.24), (0.19, 0.91), (0.09, 0.91)], pen.shine, line=False)
    pen.poly([(0.5, 0.24), (0.91, 0.91), (0.78, 0.91)], pen.shade, line=False)
    pen.poly([(0.5, 0.42), (0.7, 0.95), (0.3, 0.95)], (70, 54, 62))
    pen.poly([(0.5, 0.42), (0.34, 0.95), (0.22, 0.95)], pen.shade)


def _boot(pen: Pen) -> None:
    pen.blob([(0.2, 0.14), (0.58, 0.14), (0.6, 0.34), (0.62, 0.54), (0.86, 0.6), (0.95, 0.76),
              (0.92, 0.86), (0.5, 0.87), (0.16, 0.86), (0.2, 0.5)])  # fmt: skip
    pen.box(0.12, 0.06, 0.66, 0.22, pen.shine, 0.05)
    pen.poly([(0.12, 0.82), (0.96, 0.82), (0.96, 0.94), (0.48, 0.94), (0.42, 0.9), (0.38, 0.97),
              (0.12, 0.97)], (92, 66, 58))  # fmt: skip
    pen.stroke([(0.3, 0.3), (0.29, 0.6)], pen.shine, 0.055, line=False)
    for y in (0.34, 0.45):
        pen.stroke([(0.46, y), (0.58, y)], INK, 0.035, line=False)


def _robot(pen: Pen) -> None:
    pen.stroke([(0.5, 0.2), (0.5, 0.07)], STEEL, 0.04)
    pen.oval(0.5, 0.06, 0.05, fill=(230, 80, 70))
    for side in (-1, 1):
        arm = [(0.5 + side * 0.3, 0.6), (0.5 + side * 0.42, 0.68), (0.5 + side * 0.42, 0.78)]
        pen.stroke(arm, STEEL, 0.07)
        pen.box(0.5 + side * 0.16 - 0.08, 0.82, 0.5 + side * 0.16 + 0.08, 0.97, STEEL, 0.03)
    pen.box(0.22, 0.53, 0.78, 0.87, radius=0.06)
    pen.box(0.14, 0.15, 0.86, 0.52, radius=0.08)
    pen.box(0.22, 0.22, 0.78, 0.42, (52, 60, 80), 0.05)
    for x in (0.36, 0.64):
        pen.oval(x, 0.32, 0.065, fill=(150, 240, 230), line=False)
    pen.oval(0.5, 0.69, 0.08, fill=GOLD)
    pen.stroke([(0.28, 0.6), (0.28, 0.79)], pen.shine, 0.04, line=False)


def _rocket(pen: Pen) -> None:
    pen.blob([(0.38, 0.76), (0.62, 0.76), (0.6, 0.88), (0.5, 0.99), (0.4, 0.88)], (250, 160, 50))
    for side in (-1, 1):
        pen.blob([(0.5 + side * 0.18, 0.48), (0.5 + side * 0.42, 0.66), (0.5 + side * 0.42, 0.92),
                  (0.5 + side * 0.16, 0.78)], pen.shade)  # fmt: skip
    pen.blob([(0.5, 0.02), (0.7, 0.2), (0.76, 0.48), (0.66, 0.8), (0.34, 0.8), (0.24, 0.48),
              (0.3, 0.2)])  # fmt: skip
    pen.oval(0.5, 0.38, 0.12, fill=GLASS)
    pen.stroke([(0.34, 0.56), (0.37, 0.7)], pen.shine, 0.05, line=False)
    pen.stroke([(0.36, 0.19), (0.64, 0.19)], INK, 0.035, line=False)


def _crown(pen: Pen) -> None:
    pen.poly([(0.06, 0.24), (0.28, 0.5), (0.5, 0.14), (0.72, 0.5), (0.94, 0.24), (0.88, 0.92),
              (0.12, 0.92)])  # fmt: skip
    pen.box(0.12, 0.74, 0.88, 0.92, pen.shade, 0.02)
    for x, y in ((0.07, 0.22), (0.5, 0.12), (0.93, 0.22)):
        pen.oval(x, y, 0.065, fill=CREAM)
    for x, gem in ((0.29, (80, 190, 200)), (0.5, (220, 70, 90)), (0.71, (80, 190, 200))):
        pen.oval(x, 0.83, 0.05, fill=gem, line=False)
    pen.stroke([(0.2, 0.52), (0.22, 0.66)], pen.shine, 0.05, line=False)


def _drum(pen: Pen) -> None:
    pen.poly([(0.06, 0.42), (0.94, 0.42), (0.94, 0.82), *ring(0.5, 0.82, 0.44, 0.13, 0, 180)])
    zigzag = [(0.07, 0.56), (0.22, 0.86), (0.36, 0.62), (0.5, 0.91), (0.64, 0.62), (0.78, 0.86),
              (0.93, 0.56)]  # fmt: skip
    pen.stroke(zigzag, CREAM, 0.03, line=False)
    pen.oval(0.5, 0.42, 0.44, 0.15, pen.shade)
    pen.oval(0.5, 0.4, 0.38, 0.1, CREAM, line=False)
    pen.stroke([(0.44, 0.4), (0.08, 0.1)], WOOD, 0.045)
    pen.stroke([(0.56, 0.4), (0.92, 0.1)], WOOD, 0.045)
    for x in (0.44, 0.56):
        pen.oval(x, 0.4, 0.05, fill=WOOD)


def _gift(pen: Pen) -> None:
    ribbon = CREAM if min(pen.body) < 220 else (196, 150, 110)
    pen.box(0.1, 0.5, 0.9, 0.96, radius=0.02)
    pen.box(0.13, 0.84, 0.87, 0.93, pen.shade, line=False)
    pen.box(0.04, 0.34, 0.96, 0.54, radius=0.03)
    pen.stroke([(0.1, 0.4), (0.36, 0.4)], pen.shine, 0.04, line=False)
    pen.box(0.43, 0.34, 0.57, 0.96, ribbon)
    for side in (-1, 1):
        pen.blob([(0.5, 0.32), (0.5 + side * 0.14, 0.1), (0.5 + side * 0.36, 0.08),
                  (0.5 + side * 0.32, 0.28)], ribbon)  # fmt: skip
    pen.oval(0.5, 0.3, 0.07, fill=ribbon)


THINGS: dict[str, Callable[[Pen], None]] = {
    "apple": _apple, "balloon": _balloon, "bicycle": _bicycle, "boat": _boat, "boot": _boot,
    "bus": _bus, "butterfly": _butterfly, "cake": _cake, "car": _car, "cat": _cat,
    "chair": _chair, "clock": _clock, "crown": _crown, "cup": _cup, "dog": _dog, "drum": _drum,
    "duck": _duck, "fish": _fish, "flower": _flower, "gift": _gift, "guitar": _guitar,
    "hat": _hat, "kite": _kite, "lamp": _lamp, "mushroom": _mushroom, "rabbit": _rabbit,
    "robot": _robot, "rocket": _rocket, "snail": _snail, "tent": _tent, "turtle": _turtle,
    "umbrella": _umbrella,
}  # fmt: skip


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


def _beach(brush: Brush) -> None:
    brush.sky(y1=0.5)
    brush.box(0, 0.44, 1, 0.66, (118, 182, 200))
    for y in (0.48, 0.53):
        x = brush.rng.uniform(0.1, 0.7)
        brush.box(x, y, x + 0.2, y + 0.012, (170, 212, 220))
    brush.ground(0.62, (226, 204, 160), (238, 220, 182))
    shore = [(i / 6, 0.615 + 0.02 * (i % 2)) for i in range(-1, 9)]
    brush.poly([*smooth(shore, False), (1.3, 0.58), (-0.3, 0.58)], (236, 244, 244))
    brush.poly([(x, y - 0.025) for x, y in [*smooth(shore, False), (1.3, 0.56), (-0.3, 0.56)]],
               (118, 182, 200))  # fmt: skip
    x = brush.rng.uniform(0.06, 0.14)
    trunk = [(x - 0.03, 0.7), (x, 0.5), (x + 0.06, 0.28), (x + 0.085, 0.28), (x + 0.035, 0.5),
             (x + 0.025, 0.7)]  # fmt: skip
    brush.poly(trunk, (158, 126, 96))
    for dx, dy in ((-0.17, 0.06), (-0.13, -0.07), (0.02, -0.13), (0.16, -0.06), (0.18, 0.07)):
        leaf = [(x + 0.07, 0.28), (x + 0.07 + dx * 0.6, 0.25 + dy), (x + 0.07 + dx, 0.3 + dy)]
        brush.poly([*leaf, (x + 0.07 + dx * 0.5, 0.29 + dy)], (106, 150, 104))
    for _ in range(7):
        brush.oval(brush.rng.random(), brush.rng.uniform(0.72, 0.97), 0.012, 0.008, (206, 180, 138))


def _pine(brush: Brush, x: float, base: float, height: float, fill: Colour) -> None:
    brush.box(x - 0.018, base - 0.08, x + 0.018, base, (124, 98, 80))
    for i in range(3):
        top = base - height + i * height * 0.24
        half = height * (0.15 + 0.06 * i)
        brush.poly([(x, top), (x + half, top + height * 0.4), (x - half, top + height * 0.4)], fill)


def _forest(brush: Brush) -> None:
    brush.sky(y1=0.6)
    brush.ridge(0.4, 0.03, (142, 172, 150))
    for i in range(9):
        x = i / 8 + brush.rng.uniform(-0.03, 0.03)
        _pine(brush, x, 0.62, brush.rng.uniform(0.28, 0.4), (116, 152, 124))
    brush.ground(0.6, (124, 136, 92), (134, 154, 108))
    for x in (-0.02, 0.14, 0.84, 1.0):
        x += brush.rng.uniform(-0.03, 0.03)
        _pine(brush, x, 0.68, brush.rng.uniform(0.5, 0.62), (86, 124, 96))
    for _ in range(12):
        x, y = brush.rng.random(), brush.rng.uniform(0.7, 0.98)
        brush.oval(x, y, 0.02, 0.01, (150, 132, 96))


def _street(brush: Brush) -> None:
    brush.sky(y1=0.6)
    fronts = [(204, 176, 164), (178, 186, 196), (214, 200, 168), (176, 160, 168), (190, 198, 182)]
    brush.rng.shuffle(fronts)
    pane = {"day": (206, 222, 230), "sunset": (250, 210, 150), "night": (240, 210, 130)}
    x = -0.08
    for front in fronts:
        width, top = brush.rng.uniform(0.22, 0.28), brush.rng.uniform(0.1, 0.3)
        brush.box(x, top, x + width, 0.66, front)
        brush.box(x, top, x + width, top + 0.02, blend(front, INK, 0.25))
        for row in range(3):
            for column in range(2):
                wx, wy = x + 0.045 + column * width * 0.48, top + 0.06 + row * 0.12
                if wy < 0.56:
                    on = _pane(brush, pane)
                    brush.box(wx, wy, wx + 0.06, wy + 0.07, on, glow=True)
        x += width
    brush.box(0, 0.62, 1, 0.7, (196, 192, 190))
    brush.box(0, 0.69, 1, 0.71, (158, 154, 156))
    brush.ground(0.71, (128, 128, 136), (142, 142, 148))
    for i in range(4):
        brush.box(0.04 + i * 0.27, 0.84, 0.17 + i * 0.27, 0.865, (216, 212, 198))


def _pane(brush: Brush, pane: dict[str, Colour]) -> Colour:
    """The colour of a house window, which may be dark at night."""
    if brush.light == "night" and brush.rng.random() < 0.35:
        return (52, 56, 84)
    return pane[brush.light]


def _kitchen(brush: Brush) -> None:
    brush.indoors()
    brush.box(0, 0, 1, 0.8, (222, 226, 214))
    for i in range(1, 8):
        brush.box(0, i * 0.09, 1, i * 0.09 + 0.006, (206, 212, 202))
        brush.box(i * 0.125, 0, i * 0.125 + 0.006, 0.6, (206, 212, 202))
    x = brush.rng.uniform(0.28, 0.36)
    brush.window(x, 0.1, x + 0.34, 0.38, (244, 240, 230))
    for side in (0.0, 0.78):
        brush.box(side, 0.04, side + 0.22, 0.3, (176, 152, 132))
        brush.box(side + 0.02, 0.06, side + 0.2, 0.28, (190, 166, 144))
        brush.oval(side + 0.11, 0.25, 0.012, 0.012, (110, 94, 84))
    brush.box(0, 0.47, 1, 0.51, (232, 226, 216))
    brush.box(0, 0.51, 1, 0.66, (176, 152, 132))
    for i in range(4):
        brush.box(i * 0.25 + 0.015, 0.53, i * 0.25 + 0.235, 0.645, (190, 166, 144))
    brush.ground(0.66, (196, 188, 178), (206, 200, 190))
    for row in range(4):
        for column in range(-1, 6):
            y0, y1 = 0.66 + row * 0.085, 0.66 + (row + 1) * 0.085
            x0 = (column + 0.5 * (row % 2)) * 0.25
            tile = [(x0, y0), (x0 + 0.125, y0), (x0 + 0.125, y1), (x0, y1)]
            brush.poly(tile, (178, 172, 166))


def _bedroom(brush: Brush) -> None:
    brush.indoors()
    brush.box(0, 0, 1, 0.7, (214, 204, 220))
    for i in range(12):
        brush.box(i / 12, 0, i / 12 + 0.03, 0.7, (206, 194, 214))
    x = brush.rng.uniform(0.1, 0.16)
    brush.window(x, 0.1, x + 0.3, 0.42, (244, 240, 230))
    for side in (x - 0.07, x + 0.27):
        brush.poly([(side, 0.06), (side + 0.1, 0.06), (side + 0.085, 0.5), (side + 0.015, 0.5)],
                   (196, 150, 158))  # fmt: skip
    brush.box(x - 0.09, 0.045, x + 0.39, 0.065, (140, 110, 96))
    brush.box(0.72, 0.12, 0.9, 0.26, (150, 120, 100))
    brush.box(0.74, 0.14, 0.88, 0.24, (196, 208, 204))
    brush.box(0, 0.66, 1, 0.7, (236, 230, 226))
    brush.ground(0.7, (176, 142, 116), (188, 156, 130))
    for y in (0.77, 0.85, 0.93):
        brush.box(0, y, 1, y + 0.007, (160, 128, 104))
    brush.oval(0.8, 0.47, 0.24, 0.1, (150, 116, 96))
    brush.box(0.56, 0.47, 1.04, 0.76, (150, 116, 96))
    for x in (0.7, 0.91):
        brush.oval(x, 0.54, 0.09, 0.05, (240, 238, 236))
    brush.box(0.58, 0.56, 1.02, 0.74, (172, 182, 206))
    brush.box(0.58, 0.56, 1.02, 0.6, (224, 226, 234))
    brush.oval(0.5, 0.9, 0.4, 0.075, (196, 184, 196))
    brush.oval(0.5, 0.9, 0.33, 0.055, (210, 200, 208))


def _meadow(brush: Brush) -> None:
    brush.sky(y1=0.6)
    brush.ridge(0.44, 0.05, (164, 194, 150))
    brush.ridge(0.53, 0.04, (148, 184, 126), bumps=2)
    brush.ground(0.62, (136, 176, 104), (152, 190, 118))
    x = brush.rng.uniform(0.74, 0.9)
    brush.box(x - 0.02, 0.4, x + 0.02, 0.6, (140, 112, 90))
    for dx, dy, r in ((-0.06, 0.36, 0.08), (0.06, 0.36, 0.08), (0, 0.28, 0.09)):
        brush.oval(x + dx, dy, r, r, (122, 160, 106))
    for _ in range(26):
        x, y = brush.rng.random(), brush.rng.uniform(0.64, 0.98)
        dot = brush.rng.choice([(240, 236, 214), (226, 190, 200), (232, 216, 150)])
        brush.oval(x, y, 0.011, 0.009, dot)
        brush.box(x + 0.05, y - 0.01, x + 0.056, y + 0.014, (112, 152, 88))


def _mountains(brush: Brush) -> None:
    brush.sky(y1=0.6)
    shift = brush.rng.uniform(-0.06, 0.06)
    for x, top, half in ((0.08, 0.24, 0.34), (0.92, 0.2, 0.36), (0.5, 0.1, 0.36)):
        x += shift
        brush.poly([(x, top), (x + half, 0.66), (x - half, 0.66)], (150, 156, 172))
        brush.poly([(x, top), (x + half, 0.66), (x + 0.04, 0.66)], (130, 136, 154))
        slope = half / (0.66 - top)
        snow = [
            (x, top),
            (x + 0.14 * slope, top + 0.14),
            (x + 0.05 * slope, top + 0.1),
            (x, top + 0.15),
            (x - 0.06 * slope, top + 0.1),
            (x - 0.14 * slope, top + 0.14),
        ]
        brush.poly(snow, (238, 240, 244))
    brush.ridge(0.62, 0.03, (138, 150, 134))
    brush.ground(0.68, (150, 152, 136), (140, 152, 130))
    for _ in range(9):
        x, y = brush.rng.random(), brush.rng.uniform(0.7, 0.97)
        brush.oval(x, y, 0.03, 0.016, (170, 170, 166))
        brush.oval(x, y + 0.008, 0.03, 0.009, (128, 128, 126))


def _desert(brush: Brush) -> None:
    brush.sky(y1=0.6)
    x = brush.rng.uniform(0.5, 0.7)
    mesa = [(x - 0.2, 0.6), (x - 0.14, 0.36), (x + 0.14, 0.36), (x + 0.22, 0.6)]
    brush.poly(mesa, (200, 150, 122))
    brush.poly([(x + 0.04, 0.36), (x + 0.14, 0.36), (x + 0.22, 0.6), (x + 0.1, 0.6)],
               (182, 134, 110))  # fmt: skip
    brush.ridge(0.54, 0.04, (222, 186, 138), bumps=2)
    brush.ridge(0.61, 0.04, (212, 172, 122), bumps=2)
    brush.ground(0.7, (218, 180, 130), (226, 190, 142))
    cactus, dark = (118, 150, 112), (100, 132, 98)
    first = brush.rng.uniform(0.08, 0.2)
    for x, base, s in ((first, 0.7, 1.0), (first + 0.74, 0.64, 0.6)):
        brush.box(x - 0.03 * s, base - 0.36 * s, x + 0.03 * s, base, cactus)
        brush.oval(x, base - 0.36 * s, 0.03 * s, 0.03 * s, cactus)
        brush.box(x + 0.012 * s, base - 0.36 * s, x + 0.03 * s, base, dark)
        for side, y in ((-1, 0.14), (1, 0.2)):
            edge = x + side * 0.1 * s
            brush.box(min(x, edge), base - y * s - 0.02 * s, max(x, edge), base - y * s + 0.02 * s,
                      cactus)  # fmt: skip
            brush.box(edge - 0.022 * s, base - (y + 0.13) * s, edge + 0.022 * s,
                      base - (y - 0.02) * s, cactus)  # fmt: skip
    for y in (0.78, 0.87, 0.95):
        x = brush.rng.uniform(0.05, 0.6)
        brush.oval(x + 0.15, y, 0.16, 0.008, (204, 164, 114))


SETTINGS: dict[str, Callable[[Brush], None]] = {
    "beach": _beach, "bedroom": _bedroom, "desert": _desert, "forest": _forest,
    "kitchen": _kitchen, "meadow": _meadow, "mountains": _mountains, "street": _street,
}  # fmt: skip
