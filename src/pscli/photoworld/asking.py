"""Questions about photos in more words than any split has: for practice alone.

In the training split only the photo just sent is asked about for somebody else, and whoever learnt
from it alone takes every such question for one about the last photo. Practice joins ways of asking
with ways of putting a question, so that a photo is known by its name, or as the one just sent.
"""

from __future__ import annotations

from pscli.photoworld.phrases import Slot

# Detail -> how a question about it is put: by itself, and within a sentence.
_DIRECT: dict[str, tuple[str, ...]] = {
    "count": ("how many {nouns} were there", "how many {nouns} did you see"),
    "side": ("on which side {was} {the}", "was it left, middle or right for {the}"),
    "size": ("{was} {the} big or small", "did {the} look big or small"),
    "light": ("what time of day was it", "was it day, sunset or night"),
}
_INDIRECT: dict[str, tuple[str, ...]] = {
    "count": ("how many {nouns} there were", "how many {nouns} you saw"),
    "side": ("on which side {the} {was}", "which side {the} {was} on"),
    "size": ("if {the} {was} big or small", "how big {the} {was}, big or small"),
    "light": ("what time of day it was", "if it was day, sunset or night"),
}
_INDIRECT_NOW: dict[str, tuple[str, ...]] = {
    "count": ("how many {nouns} there are", "how many {nouns} you see"),
    "side": ("on which side {the} {be}", "which side {the} {be} on"),
    "size": ("if {the} {be} big or small", "how big {the} {be}, big or small"),
    "light": ("what time of day it is there", "if it is day, sunset or night there"),
}
_AT_ANY_TIME = (
    "Now my {relation} asks me {it}",
    "Please tell my {relation} {it}",
    "I want to tell {friend} {it}",
    "{friend} would love to hear {it}",
)
_OUTER = (
    *(f"{way} in the {{photo}} {{sent}}." for way in _AT_ANY_TIME),
    "My {relation} forgot {it} in the {photo} {sent}.",
    "I forgot {it} in the {photo} {sent}.",
    "Tell me again {it} in the {photo} {sent}, {you}.",
    "{friend} is here and forgot {it} in the {photo}.",
)
_OUTER_NOW = (
    *(f"{way}." for way in _AT_ANY_TIME),
    "My {relation} is here and asks me {it}.",
    "{friend} loves it and asks me {it}.",
)
_AFTER = (
    "My {relation} asks about the {photo} {sent}: {it}?",
    "I told {friend} about the {photo} {sent}. {it}?",
    "{friend} saw the {photo} {sent}. {it}?",
    "You know the {photo} {sent}? {it}?",
    "Let me think of the {photo}, {you}. {it}?",
    "And the {photo}, {it}?",
)


def _joined(ways: tuple[str, ...], puts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(way.replace("{it}", put) for way in ways for put in puts)


# Templates as those of `phrases.ASK_NOW` and `phrases.ASK_AGAIN`, with the same names in braces.
ASK_NOW_ANYHOW = {a: Slot(every=_joined(_OUTER_NOW, puts)) for a, puts in _INDIRECT_NOW.items()}
ASK_AGAIN_ANYHOW = {
    a: Slot(every=_joined(_OUTER, puts) + _joined(_AFTER, _DIRECT[a]))
    for a, puts in _INDIRECT.items()
}
