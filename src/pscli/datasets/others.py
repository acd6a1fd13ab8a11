"""Chats in forms of others that need no reader of their own.

    {"dialog": ["Hi", "My dog runs.", "Sweet!"], "replaced_idx": 1, "img_file": "dog.jpg"}

is MMDD (Lee et al. 2021): a photo stands for the sentence that it replaced, which is its caption.

    {"dialog": [["Sweet", "So cute!"], ["Stoic", "A dog."]], "image_hash": "0f3a"}

is Image-Chat (Shuster et al. 2020): two talk about a photo, `0f3a.jpg`, that the first one sends.

    {"id": "7", "image": "dog.jpg", "conversations": [
      {"from": "human", "value": "<image>\\nWhat is this?"}, {"from": "gpt", "value": "A dog."}]}

is LLaVA's, in which each `<image>` is the next of `image`.

    {"messages": [{"role": "user", "content": [
      {"type": "text", "text": "What is this?"},
      {"type": "image_url", "image_url": {"url": "https://example.org/dog.jpg"}}]}]}

is OpenAI's; an address may be a `data:` address, which holds the file itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from pscli.datasets.records import Dropped, KnownPhoto, digest, url_of
from pscli.dialogue.pixels import MAX_BYTES, Encoded
from pscli.dialogue.schema import Dialogue, Photo, Turn, label
from pscli.errors import DataError

SPEAKERS = ("user", "assistant")  # roles that speak to each other
Find = Callable[[Any], Photo]  # the photo of a path or address
_CONVERT = (
    "python -c 'import json, sys; value = json.load(open(sys.argv[1])); "
    'print(json.dumps({"turns": [{"speaker": SPEAKER, "text": TEXT} '
    "for i, t in enumerate(LIST)]}))' FILE > dialogue.json"
)


def matches(value: Any) -> bool:
    """Whether a JSON value looks like one of these chats."""
    return _reader(value) is not None


def parse(value: Any, photos: Path, split: str, at: str, drop: Dropped) -> Dialogue:
    """A chat; what nobody said in it is left out and named.

    Args:
        photos: Folder to which paths are relative.

    Raises:
        DataError: if it has another form.
    """
    read = _reader(value)
    assert read is not None

    def find(address: Any) -> Photo:
        return _photo(address, photos, at)

    turns = tuple(turn for turn in read(value, find, at, drop) if not turn.blank)
    if not turns:
        _refuse(at, "nobody says anything")
    return Dialogue(turns, label(value.get("id")) or "")


def conversion(value: Any) -> str:
    """The line that converts a list of messages in a JSON value into our form; empty if none is."""
    lists = value.items() if isinstance(value, dict) else [(None, value)]
    for key, found in lists:
        first = found[0] if isinstance(found, list) and found else None
        place = "value" if key is None else f"value[{json.dumps(key)}]"
        if isinstance(first, str):
            speaker, text = '"AB"[i % 2]', "t"
        elif isinstance(first, dict) and (words := [k for k in first if type(first[k]) is str]):
            longest = max(words, key=lambda name: len(first[name]))
            who = [k for k in first if k != longest and type(first[k]) in (str, int)]
            speaker = f"str(t[{json.dumps(who[0])}])" if who else '"AB"[i % 2]'
            text = f"t[{json.dumps(longest)}]"
        else:
            continue
        line = _CONVERT.replace("SPEAKER", speaker).replace("TEXT", text).replace("LIST", place)
        return line if line.count("'") == 2 else ""
    return ""


def _reader(value: Any) -> Callable[[Any, Find, str, Dropped], Iterator[Turn]] | None:
    if not isinstance(value, dict) or "turns" in value:
        return None
    known = {"replaced_idx": ("dialog", _mmdd), "image_hash": ("dialog", _image_chat)}
    known |= {"conversations": ("conversations", _llava), "messages": ("messages", _openai)}
    found = (
        r for name, (key, r) in known.items() if name in value and type(value.get(key)) is list
    )
    return next(found, None)


def _mmdd(value: Any, find: Find, at: str, drop: Dropped) -> Iterator[Turn]:
    replaced = value["replaced_idx"]
    if type(replaced) is not int or not 0 <= replaced < len(value["dialog"]):
        _refuse(at, "replaced_idx is no number of a sentence")
    for number, text in enumerate(value["dialog"]):
        speaker, words = "AB"[number % 2], _text(text, at)
        if number != replaced:
            yield Turn(speaker, words)
            continue
        yield Turn(speaker, "", replace(find(value.get("img_file")), caption=words))


def _image_chat(value: Any, find: Find, at: str, drop: Dropped) -> Iterator[Turn]:
    yield Turn("A", "", find(f"{_text(value['image_hash'], at)}.jpg"))
    for number, said in enumerate(value["dialog"]):
        if not isinstance(said, list) or len(said) != 2:
            _refuse(at, "a message is no pair of personality and text")
        yield Turn("AB"[number % 2], _text(said[1], at))


def _llava(value: Any, find: Find, at: str, drop: Dropped) -> Iterator[Turn]:
    images = value.get("image", value.get("images")) or []
    left = iter(images if isinstance(images, list) else [images])
    for message in value["conversations"]:
        speaker = label(message.get("from")) if isinstance(message, dict) else None
        if speaker is None:
            _refuse(at, "a message does not say whom it is from")
        *before, last = _text(message.get("value"), at).split("<image>")
        for words in before:
            yield Turn(speaker, words, find(next(left, None)))
        yield Turn(speaker, last)
    if any(True for _ in left):
        _refuse(at, "there are more images than <image> marks")


def _openai(value: Any, find: Find, at: str, drop: Dropped) -> Iterator[Turn]:
    for message in value["messages"]:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in SPEAKERS:
            drop(at, "a message that neither user nor assistant sent")
            continue
        content = message.get("content")
        texts: list[str] = []
        for part in content if isinstance(content, list) else [content or ""]:
            if not isinstance(part, dict):
                part = {"type": "text", "text": part}
            kind = part.get("type")
            if kind in ("image_url", "input_image"):
                address = part.get("image_url")
                address = address.get("url") if isinstance(address, dict) else address
                yield Turn(role, " ".join(texts), find(address))
                texts = []
            elif kind in ("text", "input_text", "output_text"):
                texts.append(_text(part.get("text"), at))
            else:
                _refuse(at, "a part of a message is neither a text nor an image_url")
        yield Turn(role, " ".join(texts))


def _photo(address: Any, photos: Path, at: str) -> Photo:
    if not isinstance(address, str) or not address:
        _refuse(at, "a photo has neither a path nor an address")
    if Encoded.is_at(address):
        try:
            return Photo(Encoded.at(address, MAX_BYTES))
        except ValueError:
            _refuse(at, f"a data: address is not in base64, or holds more than {MAX_BYTES:,} bytes")
    if address.partition(":")[0].lower() in ("http", "https"):
        url = url_of(address, at, Dropped())
        if url is None:
            _refuse(at, "a photo has an address that cannot be asked for")
        return KnownPhoto(photos / "by-url" / f"{digest(url)}.jpg", urls=(url,))
    return KnownPhoto(photos / address)


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        _refuse(at, f"a text is {type(value).__name__}, not a string")
    return value


def _refuse(at: str, what: str) -> NoReturn:
    raise DataError(f"{at}: {what}.", "docs/datasets.md shows the forms that are read.")
