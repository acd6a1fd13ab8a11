"""A dataset of one's own, for every command that takes the name of one. From this folder:

    pscli stats own_dataset:Kites
    pscli train-e2e --dataset own_dataset:Kites --preset demo

The name may be that of a class, or of a function that returns such an object.
"""

from __future__ import annotations

from itertools import islice, product

from PIL import Image

from pscli import Dialogue, Photo, Turn

COLOURS = {"train": ("red", "blue", "green"), "dev": ("white",), "test": ("black",)}
PLACES = ("beach", "garden")


class Kites:
    name = "kites"
    licence = "CC0"
    citation = "none"
    splits = tuple(COLOURS)

    def load(self, split: str, count: int | None = None) -> list[Dialogue]:
        """Dialogues of a split; only the first `count`, if that is given."""
        return [talk(*words) for words in islice(product(COLOURS[split], PLACES), count)]


def talk(colour: str, place: str) -> Dialogue:
    kite = Photo(Image.new("RGB", (64, 64), colour), f"A {colour} kite at the {place}.")
    turns = (
        Turn("Ann", f"Did you fly the {colour} kite?"),
        Turn("Ben", f"Yes, at the {place}. Look!", kite),
        Turn("Ann", "How lovely."),
    )
    return Dialogue(turns, f"{colour}-{place}")
