"""One small function per kind of animal."""

from __future__ import annotations

import math
from collections.abc import Callable

from pscli.photoworld.art.pen import Pen
from pscli.photoworld.art.shapes import (
    INK,
    ring,
    smooth,
)


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


ANIMALS: dict[str, Callable[[Pen], None]] = {
    "butterfly": _butterfly, "cat": _cat, "dog": _dog, "duck": _duck, "fish": _fish,
    "rabbit": _rabbit, "snail": _snail, "turtle": _turtle,
}  # fmt: skip
