"""What photoworld's judge sees in photos, and how it would answer a question about one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pscli.photoworld.scene import COLOURS, KINDS, LIGHTS, SETTINGS, SIDES, SIZES
from pscli.photoworld.writing import COUNT_WORDS

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 64
Things = frozenset[tuple[str, str]]  # (colour, kind)


class View(NamedTuple):
    """What one photo shows.

    Args:
        things: (colour, kind) of its things.
        number: How many things there are altogether; 5 if there are more.
        sides: Side of each kind that it shows.
    """

    things: Things
    setting: str
    light: str
    number: int
    size: str
    sides: dict[str, str]

    def answer(self, about: str, kind: str) -> str | None:
        """The right answer to a question about a thing of this photo; None if there is none.

        Args:
            about: "count", "side", "size" or "light".
            kind: The thing that is asked about; how many there are can be told of one kind alone,
                and where it is only if it comes once.
        """
        kinds = {kind for _, kind in self.things}
        if about == "light":
            return self.light
        if about == "size":
            return self.size if kind in kinds else None
        if about == "side":
            return self.sides.get(kind) if self.number == len(kinds) else None
        return COUNT_WORDS.get(self.number) if kinds == {kind} else None


def look(photos: Sequence[Tensor], extractor: Any = None, details: Any = None) -> list[View]:
    """What the judge sees in each photo.

    Args:
        photos: uint8 [3, 64, 64] each.
        extractor, details: Stand in for the shipped networks.
    """
    if not photos:
        return []
    import torch

    from pscli.photoworld.details import load_details
    from pscli.photoworld.judge import load_extractor

    extractor = (extractor or load_extractor()).eval()
    details = (details or load_details()).eval()
    seen = []
    for start in range(0, len(photos), BATCH):
        batch = torch.stack(list(photos[start : start + BATCH]))
        with torch.no_grad():
            grid = extractor.grid(batch.float() / 127.5 - 1)
            what, more = extractor.decided(grid), details(grid)
        found = (what.kinds, what.settings, what.lights, more.numbers, more.sizes, more.sides)
        seen += [_view(*row) for row in zip(*(x.argmax(-1).tolist() for x in found), strict=True)]
    return seen


def _view(
    row: list[int], setting: int, light: int, number: int, size: int, sides: list[int]
) -> View:
    colours = list(COLOURS)
    shown = {KINDS[k]: colours[c - 1] for k, c in enumerate(row) if c}
    return View(
        frozenset((colour, kind) for kind, colour in shown.items()),
        SETTINGS[setting],
        LIGHTS[light],
        number,
        SIZES[size],
        {kind: SIDES[sides[KINDS.index(kind)]] for kind in shown},
    )
