"""Names of what a folder of predictions holds."""

from __future__ import annotations

import hashlib
import re

FILE_NAME = "predictions.jsonl"
DRAWN, GOLD, CONTEXT = "images", "gold", "context"  # folders of photos


def file_stem(id: str) -> str:
    """What the names of an instance's photos begin with: another one for each id, also where
    names are folded to one case or one Unicode form, and valid on any system."""
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}/[0-9]{1,9}", id):
        return id.replace("/", "-")
    readable = re.sub(r"[^a-z0-9._-]+", "-", id.lower())[:40]
    digest = hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{readable}~{digest}"
