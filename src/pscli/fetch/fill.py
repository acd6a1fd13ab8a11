"""Pictures in the place of photos that did not come, each flagged in the manifest."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pscli.console import Advance
from pscli.datasets.manifest import Entry, note_entry, write_manifest
from pscli.dialogue.schema import Photo
from pscli.fetch.photos import DISK, PART
from pscli.files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

Draw = Callable[[str, int], "Image"]  # (caption, seed) → photo


def fill(
    gaps: Mapping[str, Photo],
    entries: dict[str, Entry],
    folder: Path,
    progress: Advance,
    draw: Draw | None = None,
    model: str = "",
) -> None:
    """Puts a picture in the place of each photo, and says so in its entry.

    One whose file cannot be written stays away.

    Args:
        gaps: Photos by their paths.
        entries: The manifest.
        draw: Draws it from its caption; a placeholder by default.
        model: Name of who draws.
    """
    (folder / PART).mkdir(exist_ok=True)
    for path, photo in gaps.items():
        seed = int(hashlib.sha256(path.encode()).hexdigest()[:8], 16)
        image = draw(photo.caption or "", seed) if draw else placeholder()
        data = io.BytesIO()
        image.save(data, "PNG")
        png = data.getvalue()
        progress(1)
        try:
            with replacing(folder / path, folder / PART / "fill", sync=False) as file:
                file.write(png)
        except OSError as error:
            if error.errno in DISK:
                raise
            continue
        entries[path] = replace(
            entries[path],
            status="synthetic" if draw else "placeholder",
            provenance=f"synthetic:{model if draw else 'placeholder'}",
            sha256=hashlib.sha256(png).hexdigest(),
            size=len(png),
            format="PNG",
        )
        note_entry(folder, entries[path])
    shutil.rmtree(folder / PART, ignore_errors=True)
    write_manifest(folder, entries)


def placeholder() -> Image:
    """A grey picture that says at a glance that a photo is missing."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (256, 256), (216, 216, 216))
    pen = ImageDraw.Draw(image)
    pen.rectangle((48, 64, 207, 191), outline=(150, 150, 150), width=6)
    pen.line((48, 191, 207, 64), fill=(150, 150, 150), width=6)
    return image
