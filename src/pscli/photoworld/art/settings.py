"""One small function per setting."""

from __future__ import annotations

from collections.abc import Callable

from pscli.photoworld.art.brush import Brush
from pscli.photoworld.art.shapes import (
    INK,
    Colour,
    blend,
    smooth,
)


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
