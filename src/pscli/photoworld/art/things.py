"""One small function per kind of thing; those of animals are beside them."""

from __future__ import annotations

import math
from collections.abc import Callable

from pscli.photoworld.art.animals import ANIMALS
from pscli.photoworld.art.pen import Pen
from pscli.photoworld.art.shapes import (
    CREAM,
    GLASS,
    GOLD,
    INK,
    LEAF,
    STEEL,
    WOOD,
    ring,
    smooth,
)


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
    **ANIMALS,
    "apple": _apple, "balloon": _balloon, "bicycle": _bicycle, "boat": _boat, "boot": _boot,
    "bus": _bus, "cake": _cake, "car": _car, "chair": _chair, "clock": _clock, "crown": _crown,
    "cup": _cup, "drum": _drum, "flower": _flower, "gift": _gift, "guitar": _guitar, "hat": _hat,
    "kite": _kite, "lamp": _lamp, "mushroom": _mushroom, "robot": _robot, "rocket": _rocket,
    "tent": _tent, "umbrella": _umbrella,
}  # fmt: skip
