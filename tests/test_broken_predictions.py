"""Broken and odd folders of predictions: `score` and `report` name the entry and the reason.

Each is refused with exit code 2, one message and no traceback, or accepted as documented.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner, Result

from pscli.cli import app
from pscli.errors import DataError
from pscli.predictions.folder import FILE_NAME, read_predictions

HOSTILE = "\x1b[2J\x07\x9b"


@dataclass
class Case:
    """A folder of two good predictions that a test breaks."""

    folder: Path

    def record(self, **changes: Any) -> dict[str, Any]:
        """The second line, changed; a dict changes that side."""
        sides = {
            "reference": {"text": "Here.", "captions": ["A car."], "photos": ["gold/1.png"]},
            "prediction": {"text": "Look!", "captions": ["A bus."], "photos": ["images/1.png"]},
        }
        pairs: dict[str, Any] = {"id": "d/2", "kind": "share", **sides}
        return pairs | changes

    def write(self, *lines: str | bytes | dict[str, Any]) -> None:
        texts = (json.dumps(line) if isinstance(line, dict) else line for line in lines)
        data = b"\n".join(t if isinstance(t, bytes) else t.encode() for t in texts)
        (self.folder / FILE_NAME).write_bytes(data + b"\n")

    def line(self, line: str | bytes | dict[str, Any]) -> None:
        """A good line, then this one."""
        self.write(self.record(id="d/1"), line)

    def change(self, **changes: Any) -> None:
        self.line(self.record(**changes))

    def side(self, **changes: Any) -> None:
        self.change(prediction=self.record()["prediction"] | changes)

    def photo(self, name: str) -> None:
        self.side(photos=[name])

    def file(self, data: bytes, name: str = "images/odd.png") -> None:
        """A photo of these bytes."""
        (self.folder / name).write_bytes(data)
        self.photo(name)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.chdir(tmp_path)
    for name in ("gold", "images"):
        Path("p", name).mkdir(parents=True)
        Image.new("RGB", (9, 9), "teal").save(f"p/{name}/1.png")
    Image.new("RGB", (9, 9)).save("outside.png")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    return Case(Path("p"))


def run(command: str) -> Result:
    return CliRunner().invoke(
        app, [command, "p", *(["--out", "x.png"] if command == "report" else [])]
    )


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    message = result.stderr.removeprefix("Scoring: 1 of 1\n")
    assert message.startswith("Error: ") and "Traceback" not in message
    assert len(message.splitlines()) <= 2 and len(message) < 1200
    assert message.replace("\n", "").isprintable()
    for part in parts:
        assert part in message


def png(width: int, height: int, body: bytes = b"\0" * 9) -> bytes:
    """A PNG that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


def good() -> bytes:
    return Path("p/images/1.png").read_bytes()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
Break = Callable[[Case], Any]
FILES: dict[str, tuple[Break, str]] = {
    "no file": (lambda c: None, "p has no predictions.jsonl."),
    "an empty file": (lambda c: c.write(""), "p has no predictions."),
    "blank lines": (lambda c: c.write(" ", "\t", "\r"), "p has no predictions."),
    "a folder of that name": (
        lambda c: Path("p", FILE_NAME).mkdir(),
        "p has no predictions.jsonl.",
    ),
    "UTF-16": (
        lambda c: Path("p", FILE_NAME).write_text(json.dumps(c.record()), encoding="utf-16"),
        "predictions.jsonl is UTF-16 or UTF-32.",
    ),
    "UTF-16 without a mark": (
        lambda c: Path("p", FILE_NAME).write_text(json.dumps(c.record()), encoding="utf-16-be"),
        "predictions.jsonl is UTF-16 or UTF-32.",
    ),
    "UTF-32": (
        lambda c: Path("p", FILE_NAME).write_text(json.dumps(c.record()), encoding="utf-32"),
        "predictions.jsonl is UTF-16 or UTF-32.",
    ),
    "an array over lines": (lambda c: c.write("[", "{}", "]"), "line 1 is not valid JSON"),
}
LINES: dict[str, tuple[Break, str]] = {
    "cut off": (lambda c: c.line(json.dumps(c.record())[:-9]), "is not valid JSON: "),
    "no JSON": (lambda c: c.line("id: d/2"), "is not valid JSON: Expecting value"),
    "two objects": (lambda c: c.line("{} {}"), "is not valid JSON: Extra data"),
    "a trailing comma": (lambda c: c.line('{"id": "x",}'), "is not valid JSON: "),
    "single quotes": (lambda c: c.line("{'id': 'x'}"), "is not valid JSON: "),
    "a list": (lambda c: c.line("[1]"), "is not an object."),
    "a number": (lambda c: c.line("7"), "is not an object."),
    "a string": (lambda c: c.line('"x"'), "is not an object."),
    "null": (lambda c: c.line("null"), "is not an object."),
    "NUL bytes": (lambda c: c.line(b"\0" * 99), "is not valid JSON: "),
    "NUL within": (lambda c: c.line(b'{"id": "a\0b"}'), "is not valid JSON: Invalid control"),
    "a bare escape": (lambda c: c.line(b'{"id": "\x1b[2J"}'), "is not valid JSON: Invalid control"),
    "latin-1": (
        lambda c: c.line('{"id": "Zoë"}'.encode("latin-1")),
        "cannot be read: 'utf-8' codec",
    ),
    "gzip": (lambda c: c.line(b"\x1f\x8b\x08\0\xff"), "cannot be read: "),
    "deep nesting": (lambda c: c.line("[" * 100_000), "is nested too deeply."),
    "deep elsewhere": (
        lambda c: c.line('{"x": ' + '{"x":' * 100_000 + "1" + "}" * 100_001),
        "is nested too deeply.",
    ),
    "NaN": (lambda c: c.line('{"id": "x", "score": NaN}'), "cannot be read: NaN is no number."),
    "infinity": (lambda c: c.line('{"x": [-Infinity]}'), "cannot be read: -Infinity is no number."),
    "a huge integer": (lambda c: c.line('{"id": ' + "9" * 5000 + "}"), "cannot be read: Exceeds"),
}
FIELDS: dict[str, tuple[Break, str]] = {
    "no id": (lambda c: c.line({"prediction": {}}), ": `id` is missing or not a string."),
    "an id that is a number": (lambda c: c.change(id=2), ": `id` is missing or not a string."),
    "an id that is null": (lambda c: c.change(id=None), ": `id` is missing or not a string."),
    "an id twice": (lambda c: c.change(id="d/1"), ": id 'd/1' is already on line 1."),
    "a hostile id twice": (
        lambda c: c.write(*[c.record(id=HOSTILE)] * 2),
        r": id '\x1b[2J\x07\x9b' is already on line 1.",
    ),
    "a long id twice": (
        lambda c: c.write(*[c.record(id="x" * 9999)] * 2),
        "xxx' is already on line 1.",
    ),
    "kind: number": (lambda c: c.change(kind=7), ": `kind` is neither null nor a string"),
    "kind: list": (lambda c: c.change(kind=["share"]), ": `kind` is neither null nor a string"),
    "kind: hostile": (lambda c: c.change(kind=HOSTILE), ": `kind` is neither null nor a string"),
    "kind: two lines": (lambda c: c.change(kind="a\nb"), ": `kind` is neither null nor a string"),
    "kind: half a character": (lambda c: c.change(kind="\ud83d"), ": `kind` is neither null"),
    "filled: number": (lambda c: c.change(filled=1), ": `filled` is neither true nor false."),
    "filled: string": (lambda c: c.change(filled="true"), ": `filled` is neither true nor false."),
    "filled: null": (lambda c: c.change(filled=None), ": `filled` is neither true nor false."),
    "no reference": (lambda c: c.line({"id": "x"}), ": `reference` is missing or not an object."),
    "reference: text": (
        lambda c: c.change(reference="x"),
        ": `reference` is missing or not an obj",
    ),
    "prediction: null": (
        lambda c: c.change(prediction=None),
        ": `prediction` is missing or not an",
    ),
    "prediction: list": (
        lambda c: c.change(prediction=[{}]),
        ": `prediction` is missing or not an",
    ),
    "no text": (
        lambda c: c.change(prediction={}),
        ", prediction: `text` is missing or not a string",
    ),
    "text: null": (lambda c: c.side(text=None), ", prediction: `text` is missing or not a string"),
    "text: number": (lambda c: c.side(text=1.5), ", prediction: `text` is missing or not a string"),
    "text: list": (lambda c: c.side(text=["x"]), ", prediction: `text` is missing or not a string"),
    "text: a book": (
        lambda c: c.side(text="x " * 500_000),
        "`text` has 1,000,000 characters, more",
    ),
    "captions: text": (lambda c: c.side(captions="x"), "`captions` is not a list of strings."),
    "captions: null": (lambda c: c.side(captions=None), "`captions` is not a list of strings."),
    "captions: numbers": (lambda c: c.side(captions=[1]), "`captions` is not a list of strings."),
    "photos: text": (lambda c: c.side(photos="images/1.png"), "`photos` is not a list of strings."),
    "photos: objects": (lambda c: c.side(photos=[{}]), "`photos` is not a list of strings."),
    "photos: null inside": (lambda c: c.side(photos=[None]), "`photos` is not a list of strings."),
    "raw: number": (lambda c: c.side(raw=1), "`raw` is missing or not a string."),
    "notes: text": (lambda c: c.side(notes="x"), "`notes` is not a list of strings."),
    "truth: list": (lambda c: c.change(truth=["x"]), ": `truth` has another form."),
    "truth: empty": (lambda c: c.change(truth={}), ": `truth` has another form."),
    "truth: a hostile key": (
        lambda c: c.change(truth={"kind": "x", HOSTILE: 1}),
        ": `truth` has another form.",
    ),
    "truth: kind": (lambda c: c.change(truth={"kind": 1}), ": `truth` has another form."),
    "truth: a hostile kind": (
        lambda c: c.change(truth={"kind": HOSTILE}),
        "`truth` has another form",
    ),
    "truth: share": (
        lambda c: c.change(truth={"kind": "x", "share": "yes"}),
        ": `truth` has another form.",
    ),
    "truth: things": (
        lambda c: c.change(truth={"kind": "x", "things": ["abc"]}),
        ": `truth` has another form.",
    ),
    "truth: a thing": (
        lambda c: c.change(truth={"kind": "x", "things": [["a", 1]]}),
        ": `truth` has another form.",
    ),
    "truth: about": (
        lambda c: c.change(truth={"kind": "x", "about": 7}),
        ": `truth` has another form.",
    ),
}
PHOTOS: dict[str, tuple[Break, str]] = {
    "missing": (lambda c: c.photo("images/2.png"), "photo 'images/2.png' does not exist in"),
    "hostile": (lambda c: c.photo(HOSTILE), r"photo '\x1b[2J\x07\x9b' does not exist in"),
    "no name": (lambda c: c.photo(""), "photo '' does not exist in"),
    "a folder": (lambda c: c.photo("images"), "photo 'images' does not exist in"),
    "below a file": (lambda c: c.photo("images/1.png/2.png"), "does not exist in"),
    "a pipe": (
        lambda c: (os.mkfifo("p/pipe.png"), c.photo("pipe.png")),
        "photo 'pipe.png' does not exist",
    ),
    "above": (lambda c: c.photo("../outside.png"), "photo '../outside.png' lies outside"),
    "absolute": (lambda c: c.photo(str(Path("outside.png").resolve())), "lies outside"),
    "a device": (lambda c: c.photo("/dev/zero"), "photo '/dev/zero' lies outside"),
    "a link out": (
        lambda c: (Path("p/l.png").symlink_to("../outside.png"), c.photo("l.png")),
        "photo 'l.png' lies outside",
    ),
    "a folder that leads out": (
        lambda c: (Path("p/l").symlink_to(".."), c.photo("l/outside.png")),
        "photo 'l/outside.png' lies outside",
    ),
    "a link to nothing": (
        lambda c: (Path("p/l.png").symlink_to("2.png"), c.photo("l.png")),
        "'l.png' does not exist",
    ),
    "a circle of links": (
        lambda c: (Path("p/l.png").symlink_to("l.png"), c.photo("l.png")),
        "photo 'l.png' ",
    ),
    "NUL": (lambda c: c.photo("a\0b"), r"photo 'a\x00b' is no path."),
    "half a character": (lambda c: c.photo("a\ud83d.png"), "does not exist"),
    "a long name": (lambda c: c.photo("x" * 5000), "xxx' is no path."),
    "empty": (lambda c: c.file(b""), "photo 'images/odd.png' is an empty file."),
}
PIXELS: dict[str, tuple[Break, str]] = {
    "text": (lambda c: c.file(b"no image"), "is not an image that can be decoded."),
    "its own list": (lambda c: c.photo(FILE_NAME), "is not an image that can be decoded."),
    "zeros": (lambda c: c.file(b"\0" * 5000), "is not an image that can be decoded."),
    "a header": (lambda c: c.file(b"\x89PNG\r\n\x1a\n"), "is not an image that can be decoded."),
    "cut off": (lambda c: c.file(good()[:-40]), "is not an image that can be decoded."),
    "too little data": (lambda c: c.file(png(99, 99)), "is not an image that can be decoded."),
    "EPS": (lambda c: c.file(EPS), "is not an image that can be decoded."),
    "SVG": (lambda c: c.file(b"<svg xmlns='x'/>"), "is not an image that can be decoded."),
    "a giant": (lambda c: c.file(png(50_000, 50_000)), "far too many pixels"),
    "too large": (lambda c: c.file(png(8_001, 8_001)), "more than 64 million pixels"),
}  # fmt: skip


def ids(cases: dict[str, tuple[Break, str]]) -> list[Any]:
    return [pytest.param(*values, id=name) for name, values in cases.items()]


@pytest.mark.parametrize("command", ["score", "report"])
@pytest.mark.parametrize(("broken", "problem"), ids(FILES))
def test_a_file_that_cannot_be_read(case: Case, command: str, broken: Break, problem: str) -> None:
    broken(case)
    refused(run(command), problem)
    assert not Path("p/scores.json").exists() and not Path("x.png").exists()


@pytest.mark.parametrize("command", ["score", "report"])
@pytest.mark.parametrize(("broken", "problem"), ids(LINES | FIELDS | PHOTOS))
def test_a_line_is_named_with_its_reason(
    case: Case, command: str, broken: Break, problem: str
) -> None:
    broken(case)
    refused(run(command), "Error: p/predictions.jsonl, line 2", problem)
    assert not Path("p/scores.json").exists() and not Path("x.png").exists()


def test_all_that_are_broken_are_counted(case: Case) -> None:
    good = [case.record(id=f"a/{i}") for i in range(3)]
    lost = case.record(prediction={"text": "a", "photos": ["images/2.png"]})
    case.write(*good, lost, case.record(id="a/1"), case.record(id="a/1"), "{", "[]", good[0])
    refused(
        run("score"),
        "p/predictions.jsonl, line 4, prediction: photo 'images/2.png' does not exist in",
        ". Of 9 entries 6 cannot be used; this is the first.",
    )
    dumps([talk(i, [None, TALK[1]]) for i in range(1200)], [talk(i) for i in range(1200)])(case)
    (case.folder / FILE_NAME).unlink()
    (case.folder / "images/1.png").unlink()
    refused(run("score"), "hyp.json, conversation 1, turn 2, ", "Of 1,200 entries 1,200 cannot be")


@pytest.mark.parametrize("command", ["score", "report"])
@pytest.mark.parametrize(("broken", "problem"), ids(PIXELS))
def test_a_photo_that_cannot_be_decoded_is_named_with_its_instance(
    case: Case, command: str, broken: Break, problem: str
) -> None:
    broken(case)
    refused(run(command), "Error: Instance 'd/2': Photo ", problem)
    assert not Path("p/scores.json").exists() and not Path("x.png").exists()


@pytest.mark.parametrize("command", ["score", "report"])
def test_a_file_instead_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p").write_text("{}")
    refused(run(command), "p is a file.", "Name the folder in which predictions.jsonl lies.")


def lists(hyp: bytes | None, ref: bytes | None) -> Break:
    """A folder of plain lists alone."""
    return lambda c: plain(c, {"hyp.txt": hyp, "ref.txt": ref})


def plain(case: Case, files: dict[str, bytes | None]) -> None:
    for name, data in files.items():
        if data is not None:
            (case.folder / name).write_bytes(data)


TALK = [{"turn": [{"__TEXT__": "Hi"}]}, {"turn": [{"__TEXT__": "Look"}, {"__MEDIA__": "1"}]}]
SAID = [None, TALK[1]]


def talk(id: Any, turns: Any = TALK) -> dict[str, Any]:
    return {"conversation_id": id, "conversation": turns}


def dumps(hyp: Any, ref: Any = (talk(7), talk(8))) -> Break:
    """A folder of conversations; bytes are written as they are."""

    def data(value: Any) -> bytes:
        return value if isinstance(value, bytes) else json.dumps(value).encode()

    return lambda c: plain(c, {"hyp.json": data(hyp), "ref.json": data(ref)})


def turn(second: Any) -> Break:
    """Another second turn of the second conversation."""
    return dumps([talk(7, SAID), talk(8, [None, second])])


def elsewhere(turns: Any) -> Break:
    """Other turns of the second conversation as it really was."""
    return dumps([talk(7, SAID), talk(8, SAID)], [talk(7), talk(8, turns)])


SECOND = "p/hyp.json, conversation 2"
PAIRS: dict[str, tuple[Break, str]] = {
    "no references": (lists(b"a\n", None), "p has hyp.txt, but no file ref.txt."),
    "no hypotheses": (lists(None, b"a\n"), "p has ref.txt, but no file hyp.txt."),
    "a folder of that name": (
        lambda c: (Path("p/hyp.txt").mkdir(), lists(None, b"a\n")(c)),
        "p has ref.txt, but no file hyp.txt.",
    ),
    "two forms": (
        lambda c: (c.write(c.record()), lists(b"a\n", b"a\n")(c)),
        "p holds predictions of two forms: hyp.txt and predictions.jsonl.",
    ),
    "three forms": (
        lambda c: (dumps([talk(7, SAID)], [talk(7)])(c), lists(b"a\n", b"a\n")(c)),
        "p holds predictions of two forms: hyp.txt and hyp.json.",
    ),
    "a line less": (lists(b"a\nb\n", b"a\nb\nc\n"), "p/hyp.txt has 2 lines, and p/ref.txt 3."),
    "a line more": (lists(b"a\nb\n\n", b"a\nb"), "p/hyp.txt has 3 lines, and p/ref.txt 2."),
    "empty lists": (lists(b"", b""), "p has no predictions: hyp.txt holds none."),
    "a list of another coding": (
        lists(b"a\nZo\xeb\n", b"a\nb\n"),
        "p/hyp.txt, line 2 is not UTF-8.",
    ),
    "references of another coding": (lists(b"a", b"\xff"), "p/ref.txt, line 1 is not UTF-8."),
    "a list in UTF-16": (lists("a\n".encode("utf-16"), b"a"), "p/hyp.txt is UTF-16 or UTF-32."),
    "old line ends": (lists(b"a\rb\rc", b"a b c"), "p/hyp.txt, line 1 has a carriage return"),
    "a book in a line": (
        lists(b"a\n" + b"x" * 20_001, b"a\nb"),
        "p/hyp.txt, line 2, prediction: `text` has 20,001 characters",
    ),
    "no JSON": (dumps(b"[{"), "p/hyp.json is not valid JSON: "),
    "no JSON further down": (dumps(b'[{},\n{"x"}]'), " at line 2, column 5."),
    "no JSON in a line": (
        dumps(json.dumps(talk(7, SAID)).encode() + b"\n{\n"),
        "p/hyp.json, line 2 is not valid JSON: ",
    ),
    "deep JSON": (dumps(b"[" * 100_000), "p/hyp.json is nested too deeply."),
    "NaN in a dump": (dumps(b"[NaN]"), "p/hyp.json cannot be read: NaN is no number."),
    "no conversation": (dumps([talk(7, SAID), 3]), f"{SECOND} is no object with a list `conv"),
    "turns by number": (dumps([talk(7, SAID), talk(8, {"1": []})]), f"{SECOND} is no object with"),
    "no conversation_id": (
        dumps([talk(7, SAID), {"conversation": SAID}]),
        f"{SECOND}: `conversation_id` is missing",
    ),
    "a conversation_id that is true": (
        dumps([talk(7, SAID), talk(True, SAID)]),
        f"{SECOND}: `conversation_id` is missing, or no string or number.",
    ),
    "a conversation twice": (
        dumps([talk("7", SAID), talk(7, SAID)]),
        f"{SECOND}: conversation_id 7 is also that of p/hyp.json, conversation 1.",
    ),
    "a conversation less": (
        dumps([talk(7, SAID)], [talk(7), talk(8), talk(HOSTILE)]),
        "p/hyp.json lacks 2 of the 3 conversations of p/ref.json; the first is '8'.",
    ),
    "a hostile conversation more": (
        dumps([talk(7, SAID), talk(8, SAID), talk(HOSTILE, SAID)]),
        r"p/ref.json lacks 1 of the 3 conversations of p/hyp.json; the first is '\x1b[2J\x07\x9b'.",
    ),
    "a turn less": (
        dumps([talk(7, SAID), talk(8, SAID[:1])]),
        f"{SECOND} has 1 turns, and 2 in ref.json.",
    ),
    "what was given": (
        dumps([talk(7, SAID), talk(8, TALK)]),
        f"{SECOND}, turn 1 has nothing before it that it could answer.",
    ),
    "nothing is predicted": (dumps([talk(7, [None] * 2)], [talk(7)]), "p has no predictions: hyp"),
    "a turn that is a text": (turn("Hi"), f"{SECOND}, turn 2 is no list of texts and media."),
    "a turn that was null": (
        elsewhere([TALK[0], None]),
        "p/ref.json, conversation 2, turn 2 is no list of texts and media.",
    ),
    "a part that is a text": (
        turn([{"__TEXT__": "a"}, "b"]),
        f"{SECOND}, turn 2, part 2 is neither a __TEXT__ nor a __MEDIA__.",
    ),
    "a text that is null": (turn([{"__TEXT__": None}]), f"{SECOND}, turn 2, part 1 is neither"),
    "a text and a photo in one": (
        turn([{"__TEXT__": "a", "__MEDIA__": "1"}]),
        f"{SECOND}, turn 2, part 1 is neither a __TEXT__ nor a __MEDIA__.",
    ),
    "a key that is true": (turn([{"__MEDIA__": True}]), f"{SECOND}, turn 2, part 1 is neither"),
    "a photo that is not there": (
        turn([{"__MEDIA__": 2}]),
        f"{SECOND}, turn 2, prediction: photo 'images/2.jpg' does not exist",
    ),
    "a real photo that is not there": (
        elsewhere([TALK[0], [{"__MEDIA__": "-2"}]]),
        f"{SECOND}, turn 2, reference: photo 'gold/-2.jpg' does not exist",
    ),
    "a key that leads out": (
        turn([{"__MEDIA__": "../../outside"}]),
        "photo 'images/../../outside.png' lies outside",
    ),
    "a hostile key": (
        turn([{"__MEDIA__": HOSTILE}]),
        r"photo 'images/\x1b[2J\x07\x9b.jpg' does not",
    ),
    "a key with NUL": (turn([{"__MEDIA__": "a\0b"}]), r"photo 'images/a\x00b.jpg' is no path."),
}


@pytest.mark.parametrize("command", ["score", "report"])
@pytest.mark.parametrize(("broken", "problem"), ids(PAIRS))
def test_what_other_programs_wrote_is_named_with_its_reason(
    case: Case, command: str, broken: Break, problem: str
) -> None:
    broken(case)
    refused(run(command), problem)
    assert not Path("p/scores.json").exists() and not Path("x.png").exists()


def test_a_question_that_photoworld_does_not_know_is_named(case: Case) -> None:
    case.change(truth={"kind": "look", "about": HOSTILE, "answer": "x"})
    refused(run("score"), r"The truth of 'd/2' asks for '\x1b[2J\x07\x9b'")


ODD: dict[str, Break] = {
    "a byte-order mark": lambda c: c.write(b"\xef\xbb\xbf" + json.dumps(c.record()).encode()),
    "carriage returns": lambda c: c.write(json.dumps(c.record()) + "\r", "\r"),
    "other fields": lambda c: c.change(score=1.5e300, seed=-1, extra={"a": [None]}),
    "ids that differ by case": lambda c: c.change(id="D/1"),
    "a hostile id": lambda c: c.change(id=HOSTILE),
    "hostile texts": lambda c: c.side(
        text=HOSTILE, captions=[HOSTILE], raw=HOSTILE, notes=[HOSTILE]
    ),
    "half a character": lambda c: c.side(text="a\ud83d", captions=["\udc00"]),
    "texts without a word": lambda c: c.change(
        reference={"text": "…"}, prediction={"text": " \u200b\u2028"}
    ),
    "no texts": lambda c: c.write(c.record(reference={"text": ""}, prediction={"text": ""})),
    "captions without photos": lambda c: c.side(captions=["a", "b"], photos=[]),
    "a photo twice": lambda c: c.side(photos=["images/1.png", "./images/../images/1.png"]),
    "a link within": lambda c: (Path("p/l.png").symlink_to("gold/1.png"), c.photo("l.png")),
    "another suffix": lambda c: c.file(good(), "images/1.txt"),
    "a type of one's own": lambda c: c.change(kind="Bild – 图"),
    "all filled in": lambda c: c.write(c.record(filled=True)),
    "plain lists": lists("\ufeffHi  there\r\n\n\u2028x\n".encode(), b"Hi\nyou\n\n"),
    "a line that does not end": lists(b"a\nb", b"a\nb\n"),
    "conversations in lines": dumps(json.dumps(talk(7, SAID)).encode(), [talk("7")]),
    "media keys that are numbers": turn([{"__MEDIA__": 1}, {"__MEDIA__": 1}]),
    "a turn without a part": turn({"turn": []}),
    "hostile conversations": dumps([talk(HOSTILE, SAID)], [talk(HOSTILE)]),
}


@pytest.mark.parametrize("command", ["score", "report"])
@pytest.mark.parametrize("odd", [pytest.param(odd, id=name) for name, odd in ODD.items()])
def test_what_is_odd_but_whole_is_accepted(case: Case, command: str, odd: Break) -> None:
    odd(case)
    result = run(command)
    assert result.exit_code == 0, result.output
    assert (result.stdout + result.stderr).replace("\n", "").isprintable()
    if command == "score":
        assert "NaN" not in Path("p/scores.json").read_text()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=9,
)
FIELD = st.sampled_from(["id", "kind", "reference", "prediction", "truth", "filled"])
INNER = st.sampled_from(["text", "captions", "photos", "raw", "notes"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=FIELD, inner=st.none() | INNER, value=JSON)
def test_any_value_anywhere_is_read_or_refused_by_its_line(
    case: Case, field: str, inner: str | None, value: Any
) -> None:
    record = case.record()
    if inner and field in ("reference", "prediction"):
        record[field][inner] = value
    else:
        record[field] = value
    (case.folder / FILE_NAME).write_text(json.dumps(record))
    said = ""
    try:
        (found,) = read_predictions(case.folder)
        assert (found.kind or "").isprintable()
    except DataError as error:
        said = error.message
    assert not said or f"{FILE_NAME}, line 1" in said


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(level=st.sampled_from(["list", "talk", "turns", "turn", "parts", "part"]), value=JSON)
def test_any_value_in_a_dump_is_read_or_refused_by_its_place(
    case: Case, level: str, value: Any
) -> None:
    at = {
        "list": value,
        "talk": [talk(7, SAID), value],
        "turns": [talk(7, SAID), talk(8, value)],
        "turn": [talk(7, SAID), talk(8, [None, value])],
        "parts": [talk(7, SAID), talk(8, [None, {"turn": value}])],
        "part": [talk(7, SAID), talk(8, [None, [value]])],
    }
    dumps(at[level])(case)
    said = ""
    try:
        assert read_predictions(case.folder)
    except DataError as error:
        said = error.message
    assert not said or "hyp.json" in said


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hyp=st.binary(max_size=40), ref=st.binary(max_size=40))
def test_any_bytes_as_plain_lists_are_read_or_refused(case: Case, hyp: bytes, ref: bytes) -> None:
    lists(hyp, ref)(case)
    said = ""
    try:
        found = read_predictions(case.folder)
        assert len(found) == ref.removesuffix(b"\n").count(b"\n") + 1
    except DataError as error:
        said = error.message
    assert not said or "hyp.txt" in said or "ref.txt" in said
