"""Photos as a viewer shows them, by hand and by Pillow's own turning; broken and hostile files."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageOps

from pscli.dialogue import pixels
from pscli.dialogue.pixels import FORMATS, SUFFIXES, Budget, Encoded, formats
from pscli.dialogue.schema import Photo
from pscli.errors import DataError

RGB = Image.new("RGB", (6, 4), "red")
RGB.paste("blue", (0, 0, 3, 2))
HERE = [name for name in FORMATS if name in formats()]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Photo(Encoded(data)).open()


def shown(image: Image.Image, kind: str = "TIFF", **options: Any) -> list[Any]:
    """Pixels of an image that was saved and opened, row by row."""
    return listed(opened(encoded(image, kind, **options)))


def listed(image: Image.Image) -> list[Any]:
    assert image.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()]


def greys(values: Any, kind: str = "TIFF") -> list[int]:
    found = shown(Image.fromarray(np.array([values])), kind)
    assert all(r == g == b for r, g, b in found)
    return [r for r, _, _ in found]


# -- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HERE)
def test_formats_of_photos_are_read_whatever_the_name(tmp_path: Path, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100}
    (tmp_path / "x.png").write_bytes(encoded(RGB, kind, **options))
    seen = Photo(tmp_path / "x.png").open()
    assert (seen.mode, seen.size) == ("RGB", (6, 4))
    red, blue = seen.getpixel((5, 3)), seen.getpixel((0, 0))
    assert red[0] > 200 and red[2] < 80 and blue[2] > 150 and blue[0] < 100


def test_the_suffixes_are_those_of_the_formats() -> None:
    known = {s for s, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert set(SUFFIXES) <= known | {".avif"}


@pytest.mark.parametrize("kind", ["EPS", "PDF", "PPM", "PCX", "TGA", "ICO", "DDS", "JPEG2000"])
def test_other_formats_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: ran.append(a) or RGB.im)
    with pytest.raises(DataError) as caught:
        opened(encoded(RGB, kind))
    assert str(caught.value) == (
        "Photo in memory is not an image that can be decoded. "
        "Expected JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF."
    )
    assert not ran


def test_formats_are_known_before_any_photo_was_opened() -> None:
    ask = "from pscli.dialogue.pixels import formats; print(*formats())"
    out = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert out.stdout.split() == HERE


def test_a_pillow_without_a_format_reads_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    assert formats() == ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
    assert opened(encoded(RGB, "PNG")).tobytes() == RGB.tobytes()


# -- how photos are seen -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in HERE if kind not in ("GIF", "BMP")])
@pytest.mark.parametrize("orientation", range(10))
def test_photos_are_turned_as_the_camera_says(kind: str, orientation: int) -> None:
    """Oracle: `ImageOps.exif_transpose`, of an image without other tags."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(RGB, kind, exif=exif)
    with Image.open(BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    seen = opened(data)
    assert seen.size == expected.size == ((4, 6) if orientation in range(5, 9) else (6, 4))
    assert seen.tobytes() == expected.tobytes()


def test_odd_tags_do_not_matter(tmp_path: Path) -> None:
    """Orientation 6, and a resolution of -1/0, which cannot be written back."""
    exif = b"II*\0" + struct.pack("<IH", 8, 2) + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    exif += struct.pack("<HHII", 0x11A, 10, 1, 38) + struct.pack("<Iii", 0, -1, 0)
    assert opened(encoded(RGB, "JPEG", exif=b"Exif\0\0" + exif)).size == (4, 6)
    for broken in (exif[:12], exif[:20], b"II*\0\xff\xff\xff\xff", b"", b"nonsense"):
        assert opened(encoded(RGB, "JPEG", exif=b"Exif\0\0" + broken)).size in ((6, 4), (4, 6))
    exif = b"II*\0" + struct.pack("<IHHHI", 8, 1, 0x112, 2, 2) + b"6\0\0\0\0\0\0\0"
    assert opened(encoded(RGB, "JPEG", exif=b"Exif\0\0" + exif)).size == (4, 6)  # as a text
    exif = exif.replace(b"6\0", b"x\0")
    assert opened(encoded(RGB, "JPEG", exif=b"Exif\0\0" + exif)).size == (6, 4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # 16 bits: by 256, also where all are dark.
        (np.array([0, 255, 256, 32896, 65535], np.uint16), [0, 0, 1, 128, 255]),
        (np.array([0, 200], np.uint16), [0, 0]),
        # 32 bits: 0 to 1, 0 to 255, 0 to 65535, else from their least to their greatest value.
        (np.array([0, 1], np.int32), [0, 255]),
        (np.array([0, 7, 255], np.int32), [0, 7, 255]),
        (np.array([0, 255, 32896, 65535], np.int32), [0, 0, 128, 255]),
        (np.array([-100, 0, 100], np.int32), [0, 127, 255]),
        (np.array([0, 65536], np.int32), [0, 255]),
        (np.array([-(2**31), -1, 2**31 - 1], np.int32), [0, 127, 255]),
        (np.array([2**30, 2**30 + 1, 2**30 + 2], np.int32), [0, 127, 255]),
        (np.array([70_000, 70_000], np.int32), [0, 0]),
        # Real numbers: likewise.
        (np.array([0.0, 0.25, 1.0], np.float32), [0, 63, 255]),
        (np.array([0.0, 7.9, 255.0], np.float32), [0, 7, 255]),
        (np.array([0.0, 256.0, 65535.0], np.float32), [0, 1, 255]),
        (np.array([-1.0, 0.0, 1.0], np.float32), [0, 127, 255]),
        (np.array([0.0, 1e30], np.float32), [0, 255]),
        (np.array([0.0, np.nan, np.inf, -np.inf, 0.5, 1.0], np.float32), [0, 0, 255, 0, 127, 255]),
        (np.array([np.nan, np.inf], np.float32), [0, 0]),
    ],
)
def test_deep_greys_are_scaled(values: Any, expected: list[int]) -> None:
    assert greys(values) == expected


def test_deep_greys_of_either_byte_order_and_in_png() -> None:
    values = np.array([[0, 255, 32896, 65535]], np.uint16)
    for kind in ("TIFF", "PNG"):
        assert greys(values[0], kind) == [0, 0, 128, 255]
    big = Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes())
    assert [r for r, _, _ in shown(big)] == [0, 0, 128, 255]
    # Older versions of Pillow read 16 bits of a PNG as 32.
    older = Image.fromarray(values.astype(np.int32) % 256)
    older.format = "PNG"
    assert listed(pixels.as_seen(older)) == [(0, 0, 0)] * 4
    # In memory, no file says how deep they are.
    assert Photo(Image.fromarray(np.array([[0.5]], np.float32))).open().getpixel((0, 0))[0] == 127


def test_transparent_photos_stand_on_white() -> None:
    """By hand: half of red is 255 * 127 / 255 = 127 of white in the other two channels."""
    assert shown(Image.new("RGBA", (1, 1), (255, 0, 0, 128)), "PNG") == [(255, 127, 127)]
    assert shown(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), "PNG") == [(255, 255, 255)]
    assert shown(Image.new("LA", (1, 1), (0, 128)), "PNG") == [(127, 127, 127)]
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2])
    red, green, blue, white = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    assert shown(palette, "PNG") == [red, green, blue]
    assert shown(palette, "GIF", transparency=1) == [red, white, blue]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shown(palette, "PNG", transparency=bytes([255, 0, 128])) == [
            red, white, (127, 127, 255),
        ]  # fmt: skip
    keyed = Image.new("RGB", (2, 1), red)
    keyed.putpixel((1, 0), blue)
    assert shown(keyed, "PNG", transparency=blue) == [red, white]
    assert Photo(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).open().getpixel((0, 0)) == white


def test_other_modes() -> None:
    one = Image.new("1", (2, 1), 0)
    one.putpixel((1, 0), 1)
    for kind in ("PNG", "TIFF", "BMP"):
        assert shown(one, kind) == [(0, 0, 0), (255, 255, 255)]
    ink = Image.new("CMYK", (3, 1), (0, 0, 0, 0))
    ink.putpixel((1, 0), (0, 255, 255, 0))
    ink.putpixel((2, 0), (0, 0, 0, 255))
    assert shown(ink) == [(255, 255, 255), (255, 0, 0), (0, 0, 0)]
    assert shown(Image.new("L", (1, 1), 7)) == [(7, 7, 7)]


@pytest.mark.parametrize("kind", [kind for kind in ("GIF", "WEBP", "PNG", "AVIF") if kind in HERE])
def test_of_several_frames_the_first_is_seen(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], quality=100)
    red, green, blue = opened(data).getpixel((8, 8))
    assert red > 240 and green < 15 and blue < 15


# -- broken and hostile files ------------------------------------------------------------------


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_what_is_cut_off_is_refused(kind: str, part: float) -> None:
    noise = Image.effect_noise((40, 40), 90).convert("RGB")
    data = encoded(noise, kind)
    assert opened(data).size == (40, 40)
    with pytest.raises(DataError, match="not an image that can be decoded"):
        opened(data[: int(part * len(data))])


@pytest.mark.parametrize("kind", HERE)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(kind: str, data: Any) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    options = {} if kind in ("GIF", "BMP") else {"exif": exif}
    whole = bytearray(encoded(RGB, kind, **options))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        assert opened(bytes(whole)).mode == "RGB"


def test_any_fault_of_a_decoder_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = RGB.convert("L")
    data = encoded(grey, "PNG")
    for fault in (ZeroDivisionError, KeyError, struct.error, MemoryError, AssertionError):

        def fail(*args: Any, fault: type[Exception] = fault) -> None:
            raise fault("odd")

        for name in ("load", "convert"):
            with monkeypatch.context() as patch:
                patch.setattr(Image.Image, name, fail)
                patch.setattr("PIL.ImageFile.ImageFile.load", fail)
                with pytest.raises(DataError, match="not an image that can be decoded"):
                    opened(data)
                with pytest.raises(DataError, match="not an image that can be decoded"):
                    Photo(grey).open()


def test_a_data_address_is_told_by_its_colon() -> None:
    assert Encoded.is_at("DATA:image/png;base64,AA")
    assert not any(map(Encoded.is_at, ("data", "data/dog.png", "database:dog.png", "")))


def test_what_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(encoded(RGB, "PNG"))

    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"x\.png cannot be read: Permission denied\."):
        Photo(tmp_path / "x.png").open()
    for name in ("a\0b", "x" * 5000, "\ud800.png"):
        with pytest.raises(DataError, match="does not exist") as caught:
            Photo(tmp_path / name).open()
        str(caught.value).encode()  # can be printed


def test_too_many_pixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixels, "MAX_PIXELS", 23)
    monkeypatch.setattr(pixels, "as_seen", lambda image: pytest.fail("decoded"))
    with pytest.raises(DataError, match="in memory is 6×4, more than"):
        opened(encoded(RGB, "PNG"))
    monkeypatch.undo()
    monkeypatch.setattr(pixels, "MAX_PIXELS", 24)
    assert opened(encoded(RGB, "PNG")).size == (6, 4)


# -- many at once ------------------------------------------------------------------------------


def test_pixels_in_flight_are_bounded_over_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 threads decode photos of 24 pixels, of which a budget of 50 lets two at a time."""
    now, most, lock = 0, 0, threading.Lock()
    as_seen = pixels.as_seen

    def slowly(image: Image.Image) -> Image.Image:
        nonlocal now, most
        with lock:
            now += 24
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 24
        return as_seen(image)

    monkeypatch.setattr(pixels, "BUDGET", Budget(50))
    monkeypatch.setattr(pixels, "as_seen", slowly)
    data = [encoded(RGB, "PNG"), encoded(RGB, "PNG")[:60]] * 16  # every other one is broken
    with ThreadPoolExecutor(16) as pool:
        found = [pool.submit(opened, d) for d in data]
    assert [f.exception() is None for f in found] == [True, False] * 16
    assert most == 48
    with pixels.BUDGET.take(50):  # all was given back
        pass


def test_the_budget_is_two_of_the_largest_photos() -> None:
    assert pixels.MAX_PIXELS == 64_000_000
    with pixels.BUDGET.take(pixels.MAX_PIXELS), pixels.BUDGET.take(pixels.MAX_PIXELS):
        assert pixels.BUDGET._free == 0
