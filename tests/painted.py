"""Photos whose corners say what they show, and a judge that reads it: no trained weights."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from PIL import Image
from torch import Tensor, nn

from pscli.photoworld.scene import COLOURS, KINDS, LIGHTS, SETTINGS

COLOUR_NAMES = list(COLOURS)


class Reader(nn.Module):
    """Reads what `paint` wrote into a photo: kinds, colours and setting in its outer columns, the
    light in its middle row."""

    def grid(self, images: Tensor) -> Tensor:
        return images

    def decided(self, images: Tensor) -> SimpleNamespace:
        rows = torch.arange(len(images))
        kinds = torch.zeros(len(images), len(KINDS), 1 + len(COLOURS))
        kinds[..., 0] = 1
        for column in (63, 0):
            code = ((images[..., :16, column].mean(-1) + 1) * 127.5 / 5).round().long()
            kind, colour, setting = code.unbind(1)
            kinds[rows, kind, colour] = 2
        settings = torch.zeros(len(images), len(SETTINGS))
        settings[rows, setting] = 1
        lit = ((images[:, 1, 32, 8:56].mean(-1) + 1) * 127.5 / 5).round().long()
        lights = torch.zeros(len(images), len(LIGHTS))
        lights[rows, lit] = 1
        return SimpleNamespace(kinds=kinds, settings=settings, lights=lights)


class Counter(nn.Module):
    """Reads the number of things that `paint` wrote into a photo's middle row; all small, right."""

    def forward(self, images: Tensor) -> SimpleNamespace:
        number = ((images[:, 0, 32, 8:56].mean(-1) + 1) * 127.5 / 5).round().long()
        numbers = torch.nn.functional.one_hot(number, 6)
        sizes = torch.tensor([1.0, 0]).repeat(len(images), 1)
        sides = torch.tensor([0.0, 0, 1]).repeat(len(images), len(KINDS), 1)
        return SimpleNamespace(numbers=numbers, sizes=sizes, sides=sides)


def paint(
    setting: str, *things: tuple[str, str], number: int | None = None, light: str = "sunset"
) -> Image.Image:
    """A photo of the setting and one or two things: the first on the left, the last right."""
    photo = Image.new("RGB", (32, 32))
    for left, (colour, kind) in zip((0, 16), (things[0], things[-1]), strict=True):
        code = KINDS.index(kind), 1 + COLOUR_NAMES.index(colour), SETTINGS.index(setting)
        photo.paste(tuple(5 * i for i in code), (left, 0, left + 16, 32))
    many = len(set(things)) if number is None else number
    photo.paste((5 * many, 5 * LIGHTS.index(light), 0), (1, 14, 31, 19))
    return photo
