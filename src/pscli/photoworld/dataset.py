"""photoworld as a dataset: drawn from its seed, so that there is nothing to download."""

from __future__ import annotations

from pscli.dialogue.schema import Dialogue
from pscli.photoworld.talk import DEFAULT_SIZES, dialogues


class Photoworld:
    """The embedded world. Its photos are scenes, drawn when they are opened."""

    name = "photoworld"
    licence = "Apache-2.0, like this package"
    citation = "none: it is part of pscli"
    shows = "cartoons"
    splits = tuple(DEFAULT_SIZES)

    def load(self, split: str, count: int | None = None) -> list[Dialogue]:
        """Dialogues of a split; the first `count`, or 6,000 of train, 500 of dev, 600 of test and
        of unseen."""
        size = DEFAULT_SIZES[split]
        return dialogues(split, size if count is None else count)

    def overlaps(self) -> dict[str, dict[str, tuple[int, int]]]:
        """How much of the other splits training has shown: split → what → (how many, of all)."""
        from pscli.photoworld.known import overlaps

        return {split: overlaps(split) for split in self.splits if split != "train"}
