"""The conversation that `pscli demo` shows; `examples/dialog.json` is the same as files."""

from __future__ import annotations

from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.photoworld.scene import Scene, Thing

KITES = Scene("beach", "sunset", "big", (Thing("kite", "red", 2, "middle"),), seed=5)


def dialogue() -> Dialogue:
    """Four turns; the agent is to answer the last one, by a photo like the one that it has seen."""
    turns = (
        Turn("A", "Hello Nora! We were at the beach with my cousin and found red kites."),
        Turn("B", "Can you show me a photo?"),
        Turn("A", "Here you go!", Photo(KITES)),
        Turn("B", "How nice! Can you make the same photo, but in blue?"),
    )
    return Dialogue(turns, "kites")
