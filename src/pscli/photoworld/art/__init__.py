"""Cartoon drawings of photoworld: one small function per thing and per setting.

Every drawing lives in the unit square (x to the right, y down), is drawn several times larger
than asked for and scaled down, so that one drawing serves a 21-pixel sprite and a README.
"""

from __future__ import annotations

import random

from PIL import Image

from pscli.photoworld.art.brush import Brush
from pscli.photoworld.art.pen import Pen
from pscli.photoworld.art.settings import SETTINGS
from pscli.photoworld.art.shapes import Colour
from pscli.photoworld.art.things import THINGS

# Things keep nearly their own colour: telling orange from yellow at sunset must stay possible.
THING_TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.94, 0.88), "night": (0.86, 0.86, 0.92)}


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
