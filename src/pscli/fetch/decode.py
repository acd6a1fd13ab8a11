"""Whether what came is a photo, decided by decoding it, a few at a time."""

from __future__ import annotations

from pathlib import Path

from pscli.dialogue.pixels import MAX_PIXELS, Budget, formats
from pscli.fetch.web import Fault

BUDGET = Budget(MAX_PIXELS)  # the largest takes all: as a PNG 250 MB, as a WEBP nearly 1 GB
SMALL = MAX_PIXELS // 4  # what a photo takes at least, for all that is beside its pixels


def image_format(file: Path) -> str:
    """The format of a photo that can be decoded to its end.

    Raises:
        Fault: if it cannot, or has too many pixels. Its name and its type are not looked at.
    """
    with BUDGET.take(SMALL):
        pixels, kind = _decoded(file, SMALL)
    if pixels > SMALL:
        with BUDGET.take(pixels):
            _decoded(file, pixels)
    return kind


def _decoded(file: Path, most: int) -> tuple[int, str]:
    """Pixels and format of a photo, which is decoded if it has not more than `most`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=formats()) as image:
            pixels = image.width * image.height
            if pixels <= most:
                # A JPEG can be decoded at an eighth of its size: everything is read, little is
                # computed.
                image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
                image.load()
    except Image.DecompressionBombError:
        pixels = MAX_PIXELS + 1
    except UnidentifiedImageError as error:
        raise Fault("broken", "not a photo") from error
    except Exception as error:  # decoders of foreign bytes fail in every way
        raise Fault("broken", "a photo that cannot be decoded") from error
    if pixels > MAX_PIXELS:
        raise Fault("refused", f"more than {MAX_PIXELS:,} pixels")
    return pixels, image.format or ""
