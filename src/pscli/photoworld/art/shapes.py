"""Colours, and points of curves, in the unit square."""

from __future__ import annotations

import math
from collections.abc import Sequence

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (44, 36, 50)
CREAM: Colour = (250, 240, 214)
GOLD: Colour = (247, 200, 74)
WOOD: Colour = (150, 98, 60)
LEAF: Colour = (84, 150, 72)
GLASS: Colour = (198, 228, 240)
STEEL: Colour = (156, 160, 172)


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
