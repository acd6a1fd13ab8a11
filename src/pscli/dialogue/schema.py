"""The one schema of photo-sharing dialogue: Dialogue, Turn, Photo, Response, Reply.

Guo et al. (2024), §2.1: a context U and a response R are sequences of textual and visual
elements. Here a `Turn` is one message as it was sent (a text, a photo, or both); consecutive
turns of one speaker form one `Response`, and every response after the first of a dialogue is a
training and test instance, of either speaker.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pscli.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000  # larger photos are refused before they are decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # what counts as a photo


class Drawable(Protocol):
    """Anything that can draw itself, such as a photoworld scene."""

    def draw(self) -> Image: ...


@dataclass(frozen=True)
class Photo:
    """One photo: where its pixels come from and what it is called.

    Args:
        source: A file, an image in memory, or something that draws itself.
        caption: What the photo shows, in words; None if nobody said.
        filled: What it was filled in by if the real photo could not be had; else empty.
    """

    source: Path | Image | Drawable
    caption: str | None = None
    filled: str = ""

    def open(self) -> Image:
        """The pixels as an RGB image.

        Raises:
            DataError: if the file is missing, is no image, or has too many pixels.
        """
        if isinstance(self.source, Path):
            return _open_image(self.source)
        if hasattr(self.source, "draw"):
            return self.source.draw()
        return self.source.convert("RGB")


def _open_image(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise DataError(f"Photo {path} does not exist.", "Check the path in the dialogue.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"Photo {path} is {image.width}×{image.height}, more than "
                    f"{MAX_PIXELS // 1_000_000} million pixels.",
                    "Scale it down and try again.",
                )
            return _as_seen(image)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"Photo {path} has far too many pixels ({error}).", "Scale it down and try again."
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"Photo {path} is not an image that can be decoded.",
            "Expected PNG, JPEG, WebP or another format that Pillow reads.",
        ) from error


def _as_seen(image: Image) -> Image:
    """RGB as a viewer shows it: turned as the camera says, on white, 16 bits scaled to 8."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


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
        return cls(**{**pairs, "things": things})


@dataclass(frozen=True)
class Turn:
    """One message: a text, a photo, or a text followed by a photo.

    A message that mixes several texts and photos is several turns of the same speaker.
    """

    speaker: str
    text: str = ""
    photo: Photo | None = None
    truth: Truth | None = None

    def __post_init__(self) -> None:
        if isinstance(self.photo, str | Path):
            object.__setattr__(self, "photo", Photo(Path(self.photo)))


@dataclass(frozen=True)
class Response:
    """Consecutive turns of one speaker: the unit that is predicted and scored (§2.1)."""

    speaker: str
    turns: tuple[Turn, ...]

    @property
    def parts(self) -> list[str | Photo]:
        """Texts and photos in the order in which they were sent; neighbouring texts are joined."""
        parts: list[str | Photo] = []
        for turn in self.turns:
            text = " ".join(turn.text.split())
            if text and parts and isinstance(parts[-1], str):
                parts[-1] += " " + text
            elif text:
                parts.append(text)
            if turn.photo is not None:
                parts.append(turn.photo)
        return parts

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

    @property
    def responses(self) -> list[Response]:
        """Consecutive turns of one speaker joined; turns with neither text nor photo dropped."""
        sent = (turn for turn in self.turns if turn.text.strip() or turn.photo is not None)
        groups = itertools.groupby(sent, key=lambda turn: turn.speaker)
        return [Response(speaker, tuple(turns)) for speaker, turns in groups]

    @property
    def photos(self) -> list[Photo]:
        return [turn.photo for turn in self.turns if turn.photo is not None]

    def to_json(self, photo_names: Iterator[str]) -> dict[str, Any]:
        """Our JSON form. Args: photo_names: a relative file name for each photo, in order."""
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
                is a path or `{"path": …, "caption": …}`, relative to `folder`.
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
            if not isinstance(turn, dict) or not isinstance(turn.get("speaker"), str):
                raise DataError(f"{at}: no speaker.", hint)
            text = turn.get("text", "")
            if not isinstance(text, str):
                raise DataError(f"{at}: the text is {type(text).__name__}, not a string.", hint)
            truth = Truth.from_json(turn["truth"]) if isinstance(turn.get("truth"), dict) else None
            turns.append(Turn(turn["speaker"], text, _photo(turn.get("photo"), folder, at), truth))
        if not any(turn.text.strip() or turn.photo for turn in turns):
            raise DataError(f"{where} is empty: no turn has a text or a photo.", hint)
        return cls(tuple(turns), str(pairs.get("id", "")))


def _photo(value: Any, folder: Path, at: str) -> Photo | None:
    if value is None:
        return None
    path = value.get("path") if isinstance(value, dict) else value
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(path, str) or not isinstance(caption, str | None):
        raise DataError(f"{at}: the photo is not a path.", 'Expected "photo": "dog.jpg".')
    return Photo(folder / path, caption)


@dataclass(frozen=True)
class Reply:
    """What an agent answers: texts and photos in order.

    Args:
        parts: Texts and photos; every photo carries the caption from which it was drawn.
        raw: The generated string, with its [IMG] and [/IMG] marks, before it was parsed.
        notes: What was unusual about it, such as an [IMG] span that was never closed.
    """

    parts: tuple[str | Photo, ...]
    raw: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        return " ".join(part for part in self.parts if isinstance(part, str))

    @property
    def captions(self) -> list[str]:
        return [part.caption or "" for part in self.parts if isinstance(part, Photo)]

    @property
    def photos(self) -> list[Image]:
        return [part.open() for part in self.parts if isinstance(part, Photo)]
