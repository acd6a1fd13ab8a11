"""What the server takes in: how much of it, and in which form it is kept."""

from __future__ import annotations

import ipaddress
import secrets
import threading
import weakref
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from pscli.dialogue.pixels import Encoded
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import DataError, PscliError
from pscli.files import parse_json

MAX_BODY = 32 << 20  # bytes of a request: a photo in base64, or a talk with its photos
MAX_BYTES = 16 << 20  # of a photo, and of all photos of a talk as they are kept
MAX_TEXT = 4_000  # characters of a message, a caption or a name
MAX_TEXTS = 200_000  # characters of a talk
MAX_TURNS = 400  # of a talk
MAX_PHOTOS = 32  # of a talk, or of a request
SIDE = 768  # pixels of the longer side of a photo that is kept; agents see fewer
MEMORY = 1 << 30  # bytes of the photos of all talks together


class Busy(PscliError):
    """More than the server takes at a time: what is asked may work later."""


@dataclass(frozen=True)
class Kept(Encoded):
    """A file in memory, for as long as somebody has it. Nobody else guesses its name."""

    kind: str = "image/png"
    name: str = field(default_factory=lambda: secrets.token_hex(16))


class Memory:
    """Files that are kept at a time, of so many bytes together."""

    def __init__(self, size: int) -> None:
        # A garbage collection may give back while something is being kept.
        self.free, self._lock = size, threading.RLock()
        self._files: WeakValueDictionary[str, Kept] = WeakValueDictionary()

    def keep(self, data: bytes, kind: str = "image/png") -> Kept:
        """A file, counted for as long as it is kept. Raises Busy if there is no room."""
        size, file = len(data), Kept(data, kind)
        with self._lock:
            if self.free < size:
                raise Busy("The server has no room for more photos.", "Try again later.")
            self.free -= size
            self._files[file.name] = file
        weakref.finalize(file, self._give_back, size)
        return file

    def get(self, name: str) -> Kept | None:
        """A file that is kept."""
        return self._files.get(name)

    def _give_back(self, size: int) -> None:
        with self._lock:
            self.free += size


ROOM = Memory(MEMORY)


def received(address: Any, caption: str | None = None) -> Photo:
    """A photo that somebody sends, as it is kept: see `kept`.

    Args:
        address: A `data:` address. No other is asked for, and no file is opened.

    Raises:
        DataError: if it is another, or no photo that can be read.
    """
    if not isinstance(address, str) or not Encoded.is_at(address):
        raise DataError("A photo has no data: address.", "Send the photo itself, in base64.")
    try:
        sent = Encoded.at(address, MAX_BYTES)
    except ValueError as error:
        raise DataError(
            f"A photo is not in base64, or has more than {MAX_BYTES >> 20} MiB.",
            "Send a smaller one.",
        ) from error
    return kept(Photo(sent, caption))


def kept(photo: Photo) -> Photo:
    """A photo as a PNG of at most SIDE pixels a side, which holds its pixels and nothing else.

    So neither the place where it was taken is kept, nor what else was hidden in the file.

    Raises:
        DataError: if it cannot be read.
    """
    image = photo.open()
    image.thumbnail((SIDE, SIDE))
    image.info.clear()
    file = BytesIO()
    image.save(file, "PNG")
    return replace(photo, source=ROOM.keep(file.getvalue()))


def all_kept(dialogue: Dialogue) -> Dialogue:
    """A dialogue whose photos are all kept: those that were drawn are not yet."""
    turns = []
    for turn in dialogue.turns:
        if turn.photo and not isinstance(turn.photo.source, Kept):
            turn = replace(turn, photo=kept(turn.photo))
        turns.append(turn)
    return replace(dialogue, turns=tuple(turns))


def bounded(dialogue: Dialogue) -> Dialogue:
    """A dialogue that is no longer than a talk may be. Raises DataError at a longer one."""
    sources = [photo.source for photo in dialogue.photos]
    texts = [short(text) for turn in dialogue.turns for text in (turn.speaker, turn.text)]
    texts += [short(photo.caption or "") for photo in dialogue.photos]
    for what, count, most in (
        ("messages", len(dialogue.turns), MAX_TURNS),
        ("characters", sum(map(len, texts)), MAX_TEXTS),
        ("photos", len(sources), MAX_PHOTOS),
        ("bytes of photos", sum(len(s.data) for s in sources if isinstance(s, Encoded)), MAX_BYTES),
    ):
        if count > most:
            raise DataError(f"{count:,} {what} are too many: {most:,} are taken.", "Begin anew.")
    return dialogue


def short(text: Any) -> str:
    """A text that somebody sends. Raises DataError if it is none, or too long."""
    if not isinstance(text, str):
        raise DataError(f"A text is {type(text).__name__}.", "Expected a string.")
    if len(text) > MAX_TEXT:
        raise DataError(f"A text has {len(text):,} characters: {MAX_TEXT:,} are taken.", "Cut it.")
    return text


def from_file(text: Any) -> Dialogue:
    """The dialogue in a file that the page saved. Its photos are in it: no other file is opened.

    Raises:
        DataError: if it is another file.
    """
    hint = "Load a file that this page saved."
    if not isinstance(text, str):
        raise DataError("That is no file.", hint)
    dialogue = bounded(Dialogue.from_json(parse_json(text, "The file"), Path(), "The file"))
    if not all(isinstance(photo.source, Encoded) for photo in dialogue.photos):
        raise DataError("The file names photos that are not in it.", hint)
    turns = (Turn(t.speaker, t.text, kept(t.photo) if t.photo else None) for t in dialogue.turns)
    return replace(dialogue, turns=tuple(turns))


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
