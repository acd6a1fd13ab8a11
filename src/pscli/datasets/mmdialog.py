"""MMDialog (Feng et al. 2023): a folder that the user brings; a list or JSON lines.

    {"conversation_id": 0, "conversation": [
      {"turn": [{"__TEXT__": "Look"}, {"__MEDIA__": "-2682085160072908899"}]}]}

Photos are `<media_key>.jpg` in `images/`, below the split or for all of them. A turn mixes texts
and photos; nobody is named, and speakers alternate. Its licence forbids resharing, so there is
nothing to download.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pscli.datasets.corpus import Corpus, split_files
from pscli.datasets.records import Dropped, KnownPhoto, clean, clean_id, unknown
from pscli.dialogue.schema import Dialogue, Turn

_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
SPEAKERS = ("A", "B")


def mmdialog() -> Corpus:
    """The dataset, as the registry knows it."""
    return Corpus(
        name="mmdialog",
        licence="for academic use, on request from its authors; not to be shared again",
        citation=(
            "Feng, Sun, Xu, Zhao, Yang, Tao, Zhao, Lin: MMDialog: A Large-scale Multi-turn "
            "Dialogue Dataset Towards Multi-modal Open-domain Conversation. ACL 2023."
        ),
        splits=("train", "dev", "test"),
        parse=parse,
        files=split_files,
        photos=_images,
        upstream=(),
    )


def _images(folder: Path, split: str) -> Path:
    names = [folder / name / "images" for name in (split, "valid", "validation", "val")]
    wanted = names if split == "dev" else names[:1]
    return next((path for path in wanted if path.is_dir()), folder / "images")


def matches(value: Any) -> bool:
    """Whether a JSON value looks like one of these conversations."""
    return isinstance(value, dict) and isinstance(value.get("conversation"), list)


def parse(value: Any, photos: Path, split: str, at: str, drop: Dropped) -> Dialogue | None:
    """A conversation, or None if there is none in the value; what is left out is named.

    Args:
        photos: Folder in which photos lie.
    """
    if not matches(value):
        drop(at, "a record without a conversation")
        return None
    turns: list[Turn] = []
    for number, message in enumerate(value["conversation"]):
        parts = message.get("turn") if isinstance(message, dict) else message
        if not isinstance(parts, list):
            drop(at, "a turn that is no list of texts and media")
            continue
        texts: list[str] = []
        speaker = SPEAKERS[number % 2]
        for part in parts:
            if not isinstance(part, dict):
                drop(at, "a part of a turn that is no object")
                continue
            text, key = part.get("__TEXT__"), part.get("__MEDIA__")
            if isinstance(text, str) and text.strip():
                texts.append(clean(text, at, drop))
            if key is not None:
                photo = _photo(key, photos, split, at, drop)
                turns.append(Turn(speaker, " ".join(texts), photo))
                texts = []
            elif not isinstance(text, str):
                drop(at, "a part of a turn with neither a text nor a media key")
        if texts:
            turns.append(Turn(speaker, " ".join(texts)))
    if not turns:
        drop(at, "a conversation without turns")
        return None
    return Dialogue(tuple(turns), clean_id(value.get("conversation_id"), at.rpartition(" ")[2]))


def _photo(key: Any, photos: Path, split: str, at: str, drop: Dropped) -> KnownPhoto:
    if type(key) is int:
        key = str(key)
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        drop(at, "a media key of another form")
        return unknown(photos, None, split, at)
    return KnownPhoto(photos / f"{key}.jpg")
