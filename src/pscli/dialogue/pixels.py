"""From image files to RGB pixels: which formats are read, how large, and how they are seen."""

from __future__ import annotations

import base64
import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pscli.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

MAX_PIXELS = 64_000_000  # larger photos are refused before they are decoded
MAX_BYTES = 1 << 25  # of a photo in a data: address
# Photos, and no format that is a program (EPS, PS, PDF, WMF) or that nobody sends.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"
)  # fmt: skip
ORIENTATION = 0x0112  # EXIF


def formats() -> list[str]:
    """Those of FORMATS that the installed Pillow reads."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


class Budget:
    """Pixels that all threads together may decode at a time; who asks for more waits."""

    def __init__(self, pixels: int) -> None:
        self._free, self._changed = pixels, threading.Condition()

    @contextlib.contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


BUDGET = Budget(2 * MAX_PIXELS)


@dataclass(frozen=True)
class Encoded:
    """An image file in memory, such as that of a `data:` address."""

    data: bytes = field(repr=False)

    @staticmethod
    def is_at(address: str) -> bool:
        """Whether an address is a `data:` address."""
        return address[:5].lower() == "data:"

    @classmethod
    def at(cls, address: str, limit: int = MAX_BYTES) -> Self:
        """The file in a `data:` address. Raises ValueError if it is not in base64, or too large."""
        head, _, data = address.partition(",")
        if not head.lower().endswith(";base64") or len(data) > limit * 4 // 3:
            raise ValueError("not in base64, or too large")
        return cls(base64.b64decode(data, validate=True))

    @property
    def address(self) -> str:
        """The `data:` address that holds the file. Raises DataError if it is no image."""
        from PIL import Image

        with decoding("in memory"), Image.open(BytesIO(self.data), formats=formats()) as image:
            kind = image.get_format_mimetype()
        return f"data:{kind};base64,{base64.b64encode(self.data).decode()}"

    def draw(self) -> Image:
        return read(BytesIO(self.data), "in memory")


def read(file: Path | BytesIO, name: str) -> Image:
    """The pixels of an image file as RGB, as a viewer shows them; of several frames the first.

    Args:
        name: What the photo is called, for error messages.

    Raises:
        DataError: if it is no image of FORMATS, is cut off, or has too many pixels.
    """
    from PIL import Image

    with decoding(name), Image.open(file, formats=formats()) as image:
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise DataError(
                f"Photo {name} is {image.width}×{image.height}, more than "
                f"{MAX_PIXELS // 1_000_000} million pixels.",
                "Scale it down and try again.",
            )
        with BUDGET.take(pixels):
            return as_seen(image)


def check(path: Path) -> None:
    """Decodes a photo to its end, and keeps nothing of it. Raises DataError as `read` does."""
    from PIL import Image

    with decoding(str(path)), Image.open(path, formats=formats()) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"Photo {path} has more than {MAX_PIXELS:,} pixels.")
        # A JPEG can be decoded at an eighth of its size: everything is read, little is computed.
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        with BUDGET.take(image.width * image.height):
            image.load()


@contextlib.contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises at a broken photo into a DataError that names the photo."""
    from PIL.Image import DecompressionBombError

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        except DataError:
            raise
        except DecompressionBombError as error:
            raise DataError(
                f"Photo {name} has far too many pixels ({error}).", "Scale it down and try again."
            ) from error
        except Exception as error:  # not OSError alone: decoders are not written for broken files
            unread = isinstance(error, OSError) and error.strerror
            what = f"cannot be read: {unread}" if unread else "is not an image that can be decoded"
            raise DataError(
                f"Photo {name} {what}.", f"Expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
            ) from error


def as_seen(image: Image) -> Image:
    """RGB as a viewer shows it: turned as the camera says, on white, deep greys scaled to 8 bits.

    Raises whatever Pillow does where they cannot be decoded: see `decoding`.
    """
    from PIL import Image

    image.load()
    turn = _turn(image)
    if image.mode[0] in "IF":
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    if image.mode != "RGB":  # a copy of a large photo is large
        image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _turn(image: Image) -> Transpose | None:
    """How to turn an image that was taken with a turned camera.

    `ImageOps.exif_transpose` writes the other tags anew, which fails where one of them is odd.
    """
    from PIL.Image import Transpose

    try:
        orientation = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken tags say nothing about the pixels
        return None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(orientation)


def _eight_bits(image: Image) -> Image:
    """8-bit greys of 16-bit, 32-bit or real ones.

    The smallest usual range that holds all values becomes 0 to 255: 0 to 1, 0 to 255, or 0 to
    65535 (divided by 256). Where none does, their own least and greatest value become 0 and 255.
    """
    import numpy as np
    from PIL import Image

    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if deep:  # a dark one is dark
        return Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    values = np.array(image, np.float64)
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    if low < 0 or high > 65535:
        values -= low
        values /= high - low or 1  # first, so that the greatest is 1 to the bit
        values *= 255
    elif high > 255:
        values /= 256
    elif high <= 1:
        values *= 255
    return Image.fromarray(values.astype(np.uint8))
