"""The one schema of photo-sharing dialogue: Dialogue, Turn, Photo, Response, Reply.

Guo et al. (2024), §2.1: a context U and a response R are sequences of textual and visual
elements. Here a `Turn` is one message as it was sent (a text, a photo, or both); consecutive
turns of one speaker form one `Response`, and every response after the first of a dialogue is a
training and test instance, of either speaker.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from pscli.dialogue.pixels import FORMATS as FORMATS
from pscli.dialogue.pixels import MAX_PIXELS as MAX_PIXELS
from pscli.dialogue.pixels import Encoded, as_seen, decoding, read
from pscli.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

ONLY_DRAWS = "This system only draws."  # a note on every reply of one that has no words
# Instance types (of photoworld), in the order in which their figures are shown.
INSTANCE_TYPES = ("chat", "look", "share", "vary", "recall")
Drop = Callable[[str, str], None]  # told of what is left out: where it is, and why
_SURROGATE = re.compile("[\ud800-\udfff]")


class Drawable(Protocol):
    """Anything that can draw itself, such as a photoworld scene."""

    def draw(self) -> Image: ...


@dataclass(frozen=True)
class Photo:
    """One photo: where its pixels come from and what it is called.

    Args:
        source: A file, also as a string, an image in memory, or something that draws itself.
        caption: What the photo shows, in words; None if nobody said, or nothing but blanks.
        filled: What it was filled in by if the real photo could not be had; else empty.
        missing: Whether nobody can see it, so that its caption has to stand for it.
    """

    source: Path | Image | Drawable
    caption: str | None = None
    filled: str = ""
    missing: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.source, str):
            object.__setattr__(self, "source", Path(self.source))
        if self.caption is not None:
            said = whole(self.caption) if self.caption.strip() else None
            object.__setattr__(self, "caption", said)

    @property
    def hint(self) -> str:
        """What to do if it is not there."""
        if isinstance(self.source, Path) and {"http:", "https:"} & {*self.source.parts}:
            return "No address is asked here: save the photo, and name its file."
        return "Check the path."

    @property
    def target(self) -> Photo:
        """What is to be drawn where this photo is sent: itself, but in the control of a study."""
        return self

    def open(self) -> Image:
        """The pixels as an RGB image.

        Raises:
            DataError: if the file is missing, is no image, or has too many pixels.
        """
        if isinstance(self.source, Path):
            name = whole(str(self.source))
            if not os.path.isfile(self.source):
                if os.path.isdir(self.source):
                    raise DataError(f"Photo {name} is a folder.", "Name the file of a photo.")
                raise DataError(f"Photo {name} does not exist.", self.hint)
            return read(self.source, name)
        if hasattr(self.source, "draw"):
            return self.source.draw()
        with decoding("in memory"):
            seen = as_seen(self.source)
            return seen.copy() if seen is self.source else seen


@dataclass(frozen=True)
class Truth:
    """What is right for a response, where the dataset knows it (photoworld does).

    Args:
        kind: Instance type: `chat`, `look`, `share`, `vary` or `recall`.
        share: Whether a photo belongs here.
        things: (colour, kind) of every thing that the shared photo must show.
        setting: Setting that it must show; None where the talk left it open.
        about: For `look` and `recall`: the detail asked for (`count`, `side`, `size`, `light`).
        answer: The right value of that detail.
    """

    kind: str
    share: bool = False
    things: tuple[tuple[str, str], ...] = ()
    setting: str | None = None
    about: str | None = None
    answer: str | None = None

    def to_json(self) -> dict[str, Any]:
        pairs = {"kind": self.kind, "share": self.share, "setting": self.setting}
        pairs |= {"things": [list(t) for t in self.things]}
        return {
            k: v for k, v in (pairs | {"about": self.about, "answer": self.answer}).items() if v
        }

    @classmethod
    def from_json(cls, pairs: dict[str, Any]) -> Truth:
        """Raises TypeError or ValueError if it is not what `to_json` wrote."""
        things = tuple((colour, kind) for colour, kind in pairs.get("things", ()))
        truth = cls(**{**pairs, "things": things})
        words = (truth.setting, truth.about, truth.answer)
        if not (
            all(isinstance(word, str) for word in (truth.kind, *itertools.chain(*things)))
            and all(isinstance(word, str | None) for word in words)
            and isinstance(truth.share, bool)
        ):
            raise TypeError("a value is of another type")
        return truth


@dataclass(frozen=True)
class Turn:
    """One message: a text, a photo, or a text followed by a photo.

    A message that mixes several texts and photos is several turns of the same speaker.

    Raises:
        DataError: if the speaker or the text is no string.
    """

    speaker: str
    text: str = ""
    photo: Photo | None = None
    truth: Truth | None = None

    def __post_init__(self) -> None:
        for name in ("speaker", "text"):
            if not isinstance(value := getattr(self, name), str):
                raise DataError(
                    f"The {name} of a turn is {type(value).__name__}, not a string.",
                    'Write Turn("A", "Hi!").',
                )
        object.__setattr__(self, "speaker", whole(self.speaker))
        object.__setattr__(self, "text", whole(self.text))
        if isinstance(self.photo, str | Path):
            object.__setattr__(self, "photo", Photo(Path(self.photo)))

    @property
    def blank(self) -> bool:
        """Whether nothing was sent."""
        return self.photo is None and not self.text.strip()


@dataclass(frozen=True)
class Response:
    """Consecutive turns of one speaker: the unit that is predicted and scored (§2.1)."""

    speaker: str
    turns: tuple[Turn, ...]

    @classmethod
    def of(cls, speaker: str, parts: Iterable[str | Photo]) -> Self:
        """A turn for each text and each photo."""
        turns = (Turn(speaker, p) if isinstance(p, str) else Turn(speaker, photo=p) for p in parts)
        return cls(speaker, tuple(turns))

    @property
    def parts(self) -> list[str | Photo]:
        """Texts and photos in the order in which they were sent; neighbouring texts are joined."""
        parts: list[str | Photo] = []
        words: list[str] = []
        for turn in self.turns:
            words += turn.text.split()
            if turn.photo is not None:
                parts += [" ".join(words), turn.photo] if words else [turn.photo]
                words = []
        return [*parts, " ".join(words)] if words else parts

    @property
    def text(self) -> str:
        return " ".join(part for part in self.parts if isinstance(part, str))

    @property
    def photos(self) -> list[Photo]:
        return [part for part in self.parts if isinstance(part, Photo)]

    @property
    def truth(self) -> Truth | None:
        """Truth of the last turn that has one."""
        return next((turn.truth for turn in reversed(self.turns) if turn.truth), None)


@dataclass(frozen=True)
class Dialogue:
    """A conversation: its turns in order, and an id that is unique within its split."""

    turns: tuple[Turn, ...]
    id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", tuple(self.turns))
        object.__setattr__(self, "id", whole(self.id))

    @property
    def responses(self) -> list[Response]:
        """Consecutive turns of one speaker joined; turns with neither text nor photo dropped."""
        sent = (turn for turn in self.turns if not turn.blank)
        groups = itertools.groupby(sent, key=lambda turn: turn.speaker)
        return [Response(speaker, tuple(turns)) for speaker, turns in groups]

    @property
    def photos(self) -> list[Photo]:
        return [turn.photo for turn in self.turns if turn.photo is not None]

    @property
    def answering(self) -> str:
        """Who is to answer: of those who did not speak last, who spoke last; else B, or A."""
        speakers = [response.speaker for response in self.responses]
        others = [speaker for speaker in speakers if speaker != speakers[-1]]
        return others[-1] if others else "A" if speakers[-1:] == ["B"] else "B"

    def said(self, reply: Reply, speaker: str | None = None) -> Dialogue:
        """The dialogue with a reply at its end: turn by turn, each photo with the text before it.

        Args:
            speaker: Whose reply it is; by default of who was to answer.
        """
        name, turns, text = speaker or self.answering, list(self.turns), ""
        for part in reply.parts:
            if isinstance(part, Photo):
                turns.append(Turn(name, text, part))
                text = ""
            else:
                text = f"{text} {part}".strip()
        return replace(self, turns=(*turns, Turn(name, text)) if text else tuple(turns))

    def to_json(self, photo_names: Iterator[str]) -> dict[str, Any]:
        """Our JSON form. Args: photo_names: a file name or address for each photo, in order."""
        turns = []
        for turn in self.turns:
            pairs: dict[str, Any] = {"speaker": turn.speaker, "text": turn.text}
            if turn.photo is not None:
                pairs["photo"] = {"path": next(photo_names), "caption": turn.photo.caption}
            if turn.truth is not None:
                pairs["truth"] = turn.truth.to_json()
            turns.append(pairs)
        return {"id": self.id, "turns": turns}

    @classmethod
    def from_json(cls, pairs: Any, folder: Path, where: str = "dialogue") -> Dialogue:
        """Reads our JSON form.

        Args:
            pairs: `{"id": …, "turns": [{"speaker": "A", "text": "…", "photo": …}, …]}`; a photo
                is a path or `{"path": …, "caption": …}`, relative to `folder`, or a `data:`
                address, which holds the file itself.
            where: Name of the file and record, for error messages.

        Raises:
            DataError: if the value has another form; it names the record and the turn.
        """
        hint = 'Expected {"turns": [{"speaker": "A", "text": "Hi!", "photo": "dog.jpg"}, …]}.'
        if not isinstance(pairs, dict) or not isinstance(pairs.get("turns"), list):
            raise DataError(f"{where} has no list of turns.", hint)
        turns = []
        for number, turn in enumerate(pairs["turns"]):
            at = f"{where}, turn {number}"
            speaker = label(turn.get("speaker")) if isinstance(turn, dict) else None
            if speaker is None:
                raise DataError(f"{at}: no speaker.", hint)
            text = turn.get("text")
            if not isinstance(text, str | None):
                raise DataError(f"{at}: the text is {type(text).__name__}, not a string.", hint)
            photo = _photo(turn.get("photo"), folder, at)
            turns.append(Turn(speaker, text or "", photo, _truth(turn.get("truth"), at)))
        if all(turn.blank for turn in turns):
            raise DataError(f"{where} is empty: no turn has a text or a photo.", hint)
        return cls(tuple(turns), label(pairs.get("id")) or "")


def whole(text: str) -> str:
    """A text that can be written as UTF-8: half characters (lone surrogates) become U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def label(value: Any) -> str | None:
    """The name in a JSON value, which may be a number; None if it is something else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        return None


def before(turns: Sequence[Turn], number: int) -> tuple[Turn, ...]:
    """The turns before the response that turn `number` is a part of."""
    speaker = turns[number].speaker
    while number and (turns[number - 1].blank or turns[number - 1].speaker == speaker):
        number -= 1
    return tuple(turns[:number])


def usable(
    dialogue: Dialogue, drop: Drop, check: Callable[[Photo], object] = Photo.open
) -> Dialogue:
    """A dialogue up to its first response with a photo that cannot be used, which is named.

    Neither that response nor what follows it could be seen as it was.

    Args:
        check: Raises DataError at such a photo.
    """
    for number, turn in enumerate(dialogue.turns):
        try:
            if turn.photo is not None:
                check(turn.photo)
        except DataError as error:
            at = f"dialogue {dialogue.id}, turn {number} ({error.message.rstrip('.')})"
            drop(at, "a photo that cannot be used, with the response and all after it")
            return replace(dialogue, turns=before(dialogue.turns, number))
    return dialogue


def _truth(value: Any, at: str) -> Truth | None:
    if not isinstance(value, dict):
        return None
    try:
        return Truth.from_json(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{at}: the truth has another form ({error}).", "Leave it out.") from error


def _photo(value: Any, folder: Path, at: str) -> Photo | None:
    if value is None:
        return None
    path = value.get("path") if isinstance(value, dict) else value
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(path, str) or not isinstance(caption, str | None):
        raise DataError(f"{at}: the photo is not a path.", 'Expected "photo": "dog.jpg".')
    if not Encoded.is_at(path):
        return Photo(folder / path, caption)
    try:
        return Photo(Encoded.at(path), caption)
    except ValueError as error:
        raise DataError(
            f"{at}: a data: address is not in base64, or holds too much.", "Name a file."
        ) from error


@dataclass(frozen=True)
class Reply:
    """What an agent answers: texts and photos in order.

    Args:
        parts: Texts and photos; a photo carries the caption from which it was drawn, if any.
        raw: The generated string, with its [IMG] and [/IMG] marks, before it was parsed.
        notes: What was unusual about it, such as an [IMG] span that was never closed, and on each
            photo of `unlike`.
        unlike: Photos of the context that are unlike those that the agent was trained on.
    """

    parts: tuple[str | Photo, ...]
    raw: str = ""
    notes: tuple[str, ...] = field(default=())
    unlike: tuple[Photo, ...] = field(default=())

    @property
    def text(self) -> str:
        return " ".join(part for part in self.parts if isinstance(part, str))

    @property
    def captions(self) -> list[str]:
        return [part.caption or "" for part in self.parts if isinstance(part, Photo)]

    @property
    def photos(self) -> list[Image]:
        return [part.open() for part in self.parts if isinstance(part, Photo)]
