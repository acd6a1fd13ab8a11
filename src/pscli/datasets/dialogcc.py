"""DialogCC (Lee et al. 2024): a JSON list per split, photos as entries of their own.

    {"dialogue_id": "bst:1", "split": "train", "dialogue": [
      {"utterance_idx": 0, "utterance": "Hi", "speaker": "Ann", "shared_image": []},
      {"utterance_idx": 1, "utterance": "", "speaker": "Ben",
       "shared_image": [{"image_url": "https://…", "caption": "a dog"}, …]}]}

`shared_image` lists alternatives for one photo; the first with an address is read, and the others
are counted among what is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pscli.datasets.base import Upstream
from pscli.datasets.corpus import Corpus, split_files
from pscli.datasets.records import Dropped, KnownPhoto, clean, clean_id, digest, unknown, url_of
from pscli.dialogue.schema import Dialogue, Turn

UPSTREAM = "https://huggingface.co/datasets/passing2961/dialogcc/resolve/main/"
FILES = {"train": "train.json", "dev": "valid.json", "test": "test.json"}


def dialogcc() -> Corpus:
    """The dataset, as the registry knows it."""
    return Corpus(
        name="dialogcc",
        licence="CC BY-NC-SA 4.0",
        citation=(
            "Lee, Ko, Kim, Hyeon, Choi: DialogCC: An Automated Pipeline for Creating High-Quality "
            "Multi-Modal Dialogue Dataset. NAACL 2024."
        ),
        splits=tuple(FILES),
        parse=parse,
        files=split_files,
        photos=lambda folder, split: folder / "photos",
        upstream=tuple(Upstream(n, split, UPSTREAM + n) for split, n in FILES.items()),
    )


def matches(value: Any) -> bool:
    """Whether a JSON value looks like one of these dialogues."""
    turns = value.get("dialogue") if isinstance(value, dict) else None
    return isinstance(turns, list) and any(isinstance(t, dict) and "utterance" in t for t in turns)


def parse(value: Any, photos: Path, split: str, at: str, drop: Dropped) -> Dialogue | None:
    """A dialogue, or None if there is none in the value; what is left out is named.

    Args:
        photos: Folder in which photos lie.
    """
    listed = value.get("dialogue") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        drop(at, "a record without a list of entries")
        return None
    turns = []
    for entry in listed:
        speaker = entry.get("speaker") if isinstance(entry, dict) else None
        text = entry.get("utterance", "") if isinstance(entry, dict) else None
        if type(speaker) is not str or type(text) is not str:
            drop(at, "an entry without a speaker or with an utterance that is no string")
            continue
        images = entry.get("shared_image")
        photo = _photo(images, photos, split, at, drop) if images else None
        if photo is None and (not text or text.isspace()):
            drop(at, "an entry with neither words nor a photo")
            continue
        if not (speaker.isascii() and text.isascii()):
            speaker, text = clean(speaker, at, drop), clean(text, at, drop)
        turns.append(Turn(speaker, text, photo))
    if not turns:
        drop(at, "a dialogue without entries")
        return None
    return Dialogue(tuple(turns), clean_id(value.get("dialogue_id"), at.rpartition(" ")[2]))


def _photo(images: Any, photos: Path, split: str, at: str, drop: Dropped) -> KnownPhoto:
    if not isinstance(images, list):
        drop(at, "a shared_image that is no list")
        images = []
    found = None
    for image in images:
        if not isinstance(image, dict):
            drop(at, "a shared image that is no object")
        elif found is not None:
            drop(at, "another alternative for a shared image (the first is read)")
        elif url := url_of(image.get("image_url"), at, drop):
            caption = image.get("caption")
            if caption is not None and not isinstance(caption, str):
                drop(at, "a caption that is no string")
                caption = None
            name = digest(url)
            path = photos / name[:2] / f"{name}.jpg"
            found = KnownPhoto(path, caption and clean(caption, at, drop), urls=(url,))
    return found or unknown(photos, None, split, at)
