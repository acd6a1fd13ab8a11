"""OpenAI's messages as a dialogue, and replies as its messages.

https://platform.openai.com/docs/api-reference/chat has its form. Photos of a reply are in `images`,
as OpenRouter and LiteLLM have them, and a reply may be sent back as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pscli.dialogue.schema import Dialogue, Photo, Reply, Turn
from pscli.errors import DataError
from pscli.serve.limits import bounded, kept, received, short

ROLES = ("user", "assistant")  # that speak to each other
ASIDE = ("system", "developer")  # say how to behave, which these agents cannot be told


def dialogue_of(messages: Any) -> Dialogue:
    """What was said so far. Texts and photos of a message stay in order; but where a user's words
    are followed by photos alone, as most clients have it, the photos come first, as in `Chat.add`.

    Raises:
        DataError: if they have another form, or a photo is not in them.
    """
    if not isinstance(messages, list) or not messages:
        raise DataError("messages is no list of messages.", 'Expected [{"role": "user", …}, …].')
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        try:
            for turn in _turns(message):
                turns.append(turn)
                bounded(Dialogue(tuple(turns)))  # before more photos are decoded
        except DataError as error:
            raise DataError(f"messages[{number}]: {error.message}", error.hint) from error
    said = Dialogue(tuple(turns)).responses
    if not said or said[-1].speaker != "user":
        raise DataError("The last message is not the user's.", "Say something to the agent.")
    return Dialogue(tuple(turns))


def _turns(message: Any) -> Iterator[Turn]:
    role = message.get("role") if isinstance(message, dict) else None
    if role in ASIDE:
        return
    if role not in ROLES:
        raise DataError("Its role is none of user and assistant.", "Tools are not known here.")
    content, images = message.get("content"), message.get("images")
    words: list[str] = []
    parts = [*_parts(content), *_parts(images)]
    if role == "user" and parts == sorted(parts, key=_kind, reverse=True):
        parts.sort(key=_kind)  # photos, then words
    for part in parts:
        kind = _kind(part)
        if kind == "text":
            words.append(short(part.get("text")))
        elif kind == "image_url":
            address = part.get("image_url")
            address = address.get("url") if isinstance(address, dict) else address
            caption = part.get("caption")
            photo = received(address, short(caption) if caption is not None else None)
            yield Turn(role, " ".join(words), photo)
            words = []
        else:
            raise DataError("A part is neither a text nor an image_url.", "Leave it out.")
    yield Turn(role, " ".join(words))


def _kind(part: Any) -> str:
    return str(part.get("type")) if isinstance(part, dict) else ""


def _parts(content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    return [] if content is None else [{"type": "text", "text": content}]


def message_of(reply: Reply) -> dict[str, Any]:
    """A reply as a message."""
    pairs: dict[str, Any] = {"role": "assistant", "content": reply.text}
    images = images_of(reply)
    pairs |= {"images": images} if images else {}
    return pairs | ({"notes": list(reply.notes)} if reply.notes else {})


def images_of(reply: Reply) -> list[dict[str, Any]]:
    """The photos of a reply as parts of a message, each with its caption."""
    return [
        {"type": "image_url", "image_url": {"url": address_of(part)}, "caption": part.caption}
        for part in reply.parts
        if isinstance(part, Photo)
    ]


def address_of(photo: Photo) -> str:
    """The `data:` address of a photo."""
    address: str = kept(photo).source.address  # type: ignore[union-attr]
    return address


def fault(
    message: str,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
) -> dict[str, Any]:
    """The body of a refusal."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
