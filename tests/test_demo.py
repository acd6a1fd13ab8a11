"""`pscli demo`: the showcase conversation, in a terminal and in plain lines, kept or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len
from typer.testing import CliRunner

from pscli.chat import pictures
from pscli.chat.screen import show_turns
from pscli.cli import app
from pscli.dialogue.schema import Dialogue, Photo, Reply, Turn
from pscli.photoworld.showcase import dialogue
from pscli.predictions.generate import read_dialogue
from pscli.systems.agent import Agent
from terminal import Terminal, plain

EXAMPLES = Path(__file__).parents[1] / "examples"


class Painter:
    """Answers with words and a blue photo."""

    def respond(self, dialogue: Dialogue) -> Reply:
        photo = Photo(Image.new("RGB", (8, 8), "blue"), "Blue kites at the beach.")
        return Reply((f"I heard {len(dialogue.responses)} of you.", photo))


@pytest.fixture(autouse=True)
def painter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Agent, "from_pretrained", lambda **options: Painter())
    monkeypatch.setattr(pictures, "protocol", lambda: None)  # no questions to the terminal


def test_the_examples_are_what_it_shows() -> None:
    shown, kept = dialogue(), read_dialogue(EXAMPLES / "dialog.json")
    assert [(t.speaker, t.text) for t in shown.turns] == [(t.speaker, t.text) for t in kept.turns]
    assert shown.id == kept.id
    assert [t.photo is None for t in shown.turns] == [t.photo is None for t in kept.turns]
    (drawn,), (file,) = shown.photos, kept.photos
    assert drawn.open().tobytes() == file.open().tobytes()


def test_without_a_terminal_it_is_plain_lines_and_nothing_is_written() -> None:
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"A: {dialogue().turns[0].text}"
    assert lines[2] == "A: Here you go! [photo]"
    assert lines[4:] == ["A: I heard 4 of you. [photo] Blue kites at the beach."]
    assert "pscli demo --out" in done.stderr
    assert list(Path().iterdir()) == []


def test_what_is_kept_is_the_conversation_to_go_on_with() -> None:
    done = CliRunner().invoke(app, ["demo", "--out", "kept"])
    assert done.exit_code == 0, done.output
    assert "pscli chat --context kept/dialog.json" in done.stderr
    kept = read_dialogue(Path("kept/dialog.json"))
    assert [t.text for t in kept.turns[:4]] == [t.text for t in dialogue().turns]
    assert kept.turns[4].text == "I heard 4 of you."
    assert [photo.caption for photo in kept.photos] == [None, "Blue kites at the beach."]
    assert kept.photos[0].open().tobytes() == dialogue().photos[0].open().tobytes()
    assert kept.photos[1].open().getpixel((0, 0)) == (0, 0, 255)
    again = CliRunner().invoke(app, ["demo", "--out", "kept"])
    assert (again.exit_code, again.stdout) == (2, "")
    assert "is there already" in again.stderr and "another folder" in again.stderr


@pytest.mark.parametrize(("kind", "columns"), [("24-bit", 80), ("no-color", 40)])
def test_in_a_terminal_it_is_bubbles(kind: str, columns: int) -> None:
    shown = Terminal(lambda: app(["demo"], prog_name="pscli"), kind=kind, columns=columns)
    raw = shown.end()
    assert shown.code == 0, raw
    text = plain(raw)
    assert "\ufffd" not in text  # characters are whole, wherever a read has ended
    rows = text.splitlines()
    drawn = [row for row in rows if "─" in row or "▀" in row]
    assert [row for row in drawn if cell_len(row) > columns] == []
    assert sum("╭" in row for row in rows) == sum("╰" in row for row in rows) == 6
    tops = [row.index("╭") for row in rows if "╭" in row]
    assert tops[0] == tops[2] == tops[4] == tops[5] == 0  # A on the left, B on the right
    assert min(tops[1], tops[3]) > 0
    assert ("▀" in text) == (kind == "24-bit")


def test_no_bubble_controls_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from pscli import console

    monkeypatch.setattr(console, "stdout", Console(force_terminal=True, width=60, no_color=True))
    evil: Any = "\x1b]0;owned\x07\u202e[red]"
    turns = (Turn(evil, f"Hi [blue]{evil}" * 9),)
    show_turns(Dialogue(turns), turns)
    out = capsys.readouterr().out
    assert "[red]" in out and "[blue]" in out and "owned" in out
    assert "\x1b]" not in out and "\x07" not in out and "\u202e" not in out
    assert max(map(cell_len, plain(out).splitlines())) <= 60
