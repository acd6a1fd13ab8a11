"""PhotoChat (Zang et al. 2021): shards of JSON lists, one photo to a dialogue.

    {"dialogue": [{"message": "Hi", "share_photo": false, "user_id": 1},
                  {"message": "", "share_photo": true, "user_id": 0}],
     "dialogue_id": 7, "photo_id": "train/0123456789abcdef",
     "photo_description": "Objects in the photo: Dog", "photo_url": "https://…"}

Older revisions have no `photo_id`, and none or several turns that share the photo.
"""

from __future__ import annotations

import re
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from pscli.datasets.base import Upstream
from pscli.datasets.corpus import Corpus, split_files
from pscli.datasets.records import Dropped, KnownPhoto, clean, clean_id, digest, unknown, url_of
from pscli.dialogue.schema import Dialogue, Turn

UPSTREAM = (
    "https://raw.githubusercontent.com/google-research/google-research/master/"
    "multimodalchat/photochat/"
)
OPEN_IMAGES = "https://open-images-dataset.s3.amazonaws.com/"
# The prefix is the Open Images split, not PhotoChat's.
_PHOTO_ID = re.compile(r"(?:train|validation|test)/[0-9a-f]{16}")
# Whom the sender was told to see in the photo; no photo shows it, and the released code of Guo et
# al. (2024) leaves it out of captions, as we do.
_WHO = re.compile(r"\AThe photo has your [^.]*\.\s*(?=\S)")


def photochat() -> Corpus:
    """The dataset, as the registry knows it."""
    return Corpus(
        name="photochat",
        licence="CC BY 4.0",
        citation=(
            "Zang, Liu, Wang, Song, Zhang, Chen: PhotoChat: A Human-Human Dialogue Dataset with "
            "Photo Sharing Behavior for Joint Image-Text Modeling. ACL 2021."
        ),
        splits=("train", "dev", "test"),
        parse=parse,
        files=split_files,
        photos=lambda folder, split: folder / "photos",
        upstream=_shards(),
    )


def _shards() -> tuple[Upstream, ...]:
    sums = package_files(__package__).joinpath("photochat.sha256").read_text(encoding="ascii")
    lines = (line.split() for line in sums.splitlines())
    return tuple(Upstream(n, n.split("/")[0], UPSTREAM + n, sha256) for sha256, n in lines)


def matches(value: Any) -> bool:
    """Whether a JSON value looks like one of these dialogues."""
    turns = value.get("dialogue") if isinstance(value, dict) else None
    return isinstance(turns, list) and any(isinstance(t, dict) and "user_id" in t for t in turns)


def parse(value: Any, photos: Path, split: str, at: str, drop: Dropped) -> Dialogue | None:
    """A dialogue, or None if there is none in the value; what is left out is named.

    Args:
        photos: Folder in which photos lie.
    """
    listed = value.get("dialogue") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        drop(at, "a record without a list of turns")
        return None
    shared = [isinstance(turn, dict) and turn.get("share_photo") is True for turn in listed]
    photo = _photo(value, photos, split, at, drop) if any(shared) else None
    turns = []
    for turn, shares in zip(listed, shared, strict=True):
        user = turn.get("user_id") if isinstance(turn, dict) else None
        text = turn.get("message", "") if isinstance(turn, dict) else None
        if type(user) not in (int, str) or type(text) is not str:
            drop(at, "a turn without a user_id or with a message that is no string")
            continue
        sent = photo if shares else None
        if sent is None and (not text or text.isspace()):
            drop(at, "a turn with neither words nor a photo")
            continue
        if not text.isascii():
            text = clean(text, at, drop)
        turns.append(Turn(clean(str(user), at, drop), text, sent))
    if not turns:
        drop(at, "a dialogue without turns")
        return None
    return Dialogue(tuple(turns), f"{split}-{clean_id(value.get('dialogue_id'), _number(at))}")


def _number(at: str) -> str:
    return at.rpartition(" ")[2]


def _photo(value: dict[str, Any], photos: Path, split: str, at: str, drop: Dropped) -> KnownPhoto:
    name, description = value.get("photo_id"), value.get("photo_description")
    if description is not None and not isinstance(description, str):
        drop(at, "a photo_description that is no string")
    told = _WHO.sub("", description, count=1) if isinstance(description, str) else None
    caption = told and clean(told, at, drop)
    known = isinstance(name, str) and _PHOTO_ID.fullmatch(name)
    if name is not None and not known:
        drop(at, "a photo_id of another form")
    url = url_of(value.get("photo_url"), at, drop)
    urls = tuple(u for u in (url, f"{OPEN_IMAGES}{name}.jpg" if known else None) if u)
    if not urls:
        drop(at, "a photo of which neither an id nor an address is known")
        return unknown(photos, caption, split, at)
    path = f"{name}.jpg" if known else f"by-url/{digest(urls[0])}.jpg"
    return KnownPhoto(photos / path, caption, urls=urls)
