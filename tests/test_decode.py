"""What counts as a photo, how much memory it may cost, and which names it may have."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import unicodedata
import warnings
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pscli
from faults import chunk, header, photo_bytes, png
from pscli.dialogue.pixels import FORMATS
from pscli.fetch import names as names_module
from pscli.fetch.decode import image_format
from pscli.fetch.names import clashes, folded, forbidden_by_windows
from pscli.fetch.web import Fault
from pscli.files import folds_names


@pytest.mark.parametrize("data", [b"", b"GIF89a", bytes(100), b"%PDF-1.4", b"\xff\xd8\xff" * 9])
def test_what_is_no_photo_is_a_fault(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(Fault) as caught:
        image_format(tmp_path / "x")
    assert caught.value.status == "broken"


@given(st.data())
def test_a_damaged_photo_is_a_photo_or_a_fault(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Never anything else: whatever a decoder raises belongs to the photo."""
    known = Image.registered_extensions().values()
    kind = data.draw(st.sampled_from([name for name in FORMATS if name in known]))
    out = io.BytesIO()
    Image.open(io.BytesIO(photo_bytes(1))).save(out, kind)
    damaged = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with contextlib.suppress(Fault), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert image_format(path) in (*FORMATS, "MPO")


def test_large_photos_at_once_cost_what_one_does(tmp_path: Path) -> None:
    """Six PNGs of 64 million pixels, which decoded take 1.5 GB, in six threads."""
    rows = zlib.compress((b"\0" + bytes(3 * 8000)) * 8000, 1)
    data = png(header(8000, 8000), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    (tmp_path / "large.png").write_bytes(data)
    code = """if True:
        import sys, threading
        from pathlib import Path
        import PIL.PngImagePlugin
        from pscli.fetch.decode import image_format
        def high():
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        base, found = high(), []
        decode = lambda: found.append(image_format(Path(sys.argv[1])))
        threads = [threading.Thread(target=decode) for _ in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert found == ["PNG"] * 6
        print((high() - base) // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large.png")],
        env=os.environ | {"PYTHONPATH": str(Path(pscli.__file__).parents[1])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 350  # 244 for one


# ---------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("paths", "problems"),
    [
        (["a/b.jpg", "a/c.jpg", "ab/c.jpg"], {}),
        (["a", "a/b"], {"a/b": "a"}),
        (["a/b", "a"], {"a": "a/b"}),
        (["a/b/c/d", "a/b", "a/b/c", "a/b/e"], {"a/b": "a/b/c/d", "a/b/c": "a/b/c/d"}),
        (["a", "a/b/c", "a/b"], {"a/b/c": "a", "a/b": "a"}),
        (["x/A.jpg", "x/a.jpg"], {}),
    ],
)
def test_paths_that_are_files_and_folders(
    tmp_path: Path, paths: list[str], problems: dict[str, str]
) -> None:
    """The first one stays."""
    told = {path: f"its name clashes with {other}" for path, other in problems.items()}
    assert clashes(paths, tmp_path) == told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x/A.jpg", "x/a.jpg"),
        ("X/a.jpg", "x/a.jpg"),
        ("é.jpg", "e\u0301.jpg"),
        ("\u212b.jpg", "\u00c5.jpg"),
        ("STRASSE.jpg", "straße.jpg"),
        ("A", "a/b"),
    ],
)
def test_names_that_are_one_where_case_and_accents_are_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    assert clashes([first, second], tmp_path) == {}
    monkeypatch.setattr(names_module, "folds_names", lambda folder: True)
    assert clashes([first, second], tmp_path) == {second: f"its name clashes with {first}"}


@given(st.text(), st.sampled_from(["NFC", "NFD"]))
def test_folding_knows_no_difference_of_form(text: str, form: str) -> None:
    assert folded(unicodedata.normalize(form, text)) == folded(text)
    assert folded(folded(text)) == folded(text)


def test_a_disk_that_folds_names_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "probe").touch()
    same = (tmp_path / "PROBE").exists()
    assert folds_names(tmp_path) is same
    whole = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: whole(self) or self.name.startswith(".fold"))
    assert folds_names(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["probe"]


@pytest.mark.parametrize(
    ("path", "forbidden"),
    [
        ("photos/a.jpg", False), ("photos/con.jpg", True), ("CON", True), ("nul.tar.gz", True),
        ("com1.jpg", True), ("COM¹.jpg", True), ("com10.jpg", False), ("console.jpg", False),
        ("a/aux/b.jpg", True), ("con .jpg", True), ("a:b.jpg", True), ("a?.jpg", True),
        ("a*b", True), ("a\\b", True), ('a"b', True), ("a<b>", True), ("a|b", True),
        ("a\tb", True), ("a.", True), ("a /b.jpg", True), ("a../b", True), (".a.jpg", False),
        ("ä b.jpg", False),
    ],
)  # fmt: skip
def test_names_that_windows_forbids(path: str, forbidden: bool) -> None:
    """https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""
    assert forbidden_by_windows(path) is forbidden


def test_such_names_are_refused_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clashes(["con.jpg", "a.jpg"], tmp_path) == {}
    monkeypatch.setattr(names_module, "on_windows", True)
    assert clashes(["con.jpg", "a.jpg"], tmp_path) == {"con.jpg": "a name that Windows forbids"}
