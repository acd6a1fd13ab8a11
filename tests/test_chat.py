"""Talks with an agent that stands in for a trained one, in Python, in pipes and in terminals."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from pscli.chat import pictures
from pscli.chat.commands import HELP, completions
from pscli.chat.saved import save
from pscli.chat.typing import path_of
from pscli.cli import app
from pscli.dialogue.reply import Caption
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import ConfigError, DataError
from pscli.photoworld.shipped import AGENT
from pscli.predictions.generate import read_dialogue
from pscli.systems.agent import Agent
from pscli.systems.chat import Chat
from standin import Fake
from terminal import Terminal, plain

EVIL = "\x1b]0;owned\x07\x9b2J\u202e"
PROTOCOL = pictures.protocol
LONG = "one fish two fish red fish blue fish black fish blue fish old fish new fish"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (6, 4), "yellow").save("my dog.png")
    return tmp_path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    agent = Fake()
    monkeypatch.setattr(Agent, "from_pretrained", lambda folder=None, **options: agent)
    monkeypatch.setattr(pictures, "protocol", lambda: None)  # no questions to the terminal
    return agent


def typed(*said: str, args: Sequence[str] = ()) -> Result:
    """The command without a terminal."""
    return CliRunner().invoke(app, ["chat", *args], input="".join(f"{line}\n" for line in said))


def terminal(*args: str, prompt: str = "A: ", **options: Any) -> Terminal:
    shown = Terminal(lambda: app(["chat", *args], prog_name="pscli"), **options)
    assert "is the agent." in shown.wait(prompt)
    return shown


# ---------------------------------------------------------------------------- in Python


def test_a_talk_remembers_what_was_said_and_drawn() -> None:
    chat = Fake().chat()
    told: list[Any] = []
    reply = chat.say("draw a red dog", tell=told.append)
    assert told == ["I", " heard", " draw", " a", " red", " dog", Caption("a red dog")]
    photo = reply.parts[1]
    assert chat.dialogue.turns == (
        Turn("A", "draw a red dog"), Turn("B", "I heard draw a red dog", photo),
    )  # fmt: skip
    chat.say(photo=Photo(Path("my dog.png")))
    assert [turn.speaker for turn in chat.dialogue.turns] == ["A", "B", "A", "B"]
    assert chat.dialogue.turns[-1].text == "I see a photo"


def test_what_is_taken_back_is_forgotten() -> None:
    chat = Fake().chat()
    assert not chat.undo()
    chat.say("one")
    chat.say("two")
    assert chat.undo()
    assert [turn.text for turn in chat.dialogue.turns] == ["one", "I heard one"]
    chat.add("three")
    chat.add("four")
    chat.undo()
    assert chat.dialogue.turns[-1].text == "three"


def test_what_the_agent_alone_has_said_stays() -> None:
    chat = Fake().chat()
    chat.say("one")
    chat.dialogue = Dialogue(chat.dialogue.turns[1:])
    assert not chat.undo()
    assert [turn.text for turn in chat.dialogue.turns] == ["I heard one"]


def test_a_photo_is_drawn_anew_with_other_noise_or_another_caption() -> None:
    agent = Fake()
    chat = agent.chat()
    with pytest.raises(ConfigError, match="B has sent no photo yet"):
        chat.redraw()
    chat.say("draw a red dog")
    chat.say("nice")
    first = chat.dialogue.photos[0]
    assert chat.redraw().caption == "a red dog"
    chat.redraw("a blue boat")
    chat.redraw()
    assert agent.drawn[1:] == [
        ("a red dog", ("", 1), 1), ("a blue boat", ("", 1), 1), ("a blue boat", ("", 1), 2),
    ]  # fmt: skip
    assert [p.caption for p in chat.dialogue.photos] == ["a blue boat"]
    assert chat.dialogue.photos[0].open().tobytes() != first.open().tobytes()
    assert chat.dialogue.turns[1].text == "I heard draw a red dog"


def test_captions_may_be_looked_at_and_changed_before_they_are_drawn() -> None:
    agent = Fake()
    chat = agent.chat()
    chat.add("draw a red dog")
    told: list[Any] = []
    reply, captions = chat.preview(told.append)
    assert reply.parts == ("I heard draw a red dog",) and captions == ["a red dog"]
    assert told[-1] == Caption("a red dog")
    assert agent.drawn == [] and len(chat.dialogue.turns) == 1
    assert chat.answer(captions=["a blue boat"]).captions == ["a blue boat"]
    assert [p.caption for p in chat.dialogue.photos] == ["a blue boat"]


def test_drawings_are_chosen_from_as_many_as_were_asked_for(fake: Fake) -> None:
    done = typed("draw a dog", "/best-of 3", "draw a dog", "/redraw", "/best-of 0", "/redraw")
    assert done.exit_code == 0, done.output
    assert fake.tries == [1, 3, 3, 1]


def test_sides_are_changed() -> None:
    chat = Fake().chat()
    assert (chat.me, chat.speaker) == ("A", "B")
    chat.turn_to()
    assert (chat.me, chat.speaker) == ("B", "A")
    chat.turn_to("Zoe")
    assert (chat.me, chat.speaker) == ("B", "Zoe")
    chat.turn_to("B")
    assert (chat.me, chat.speaker) == ("Zoe", "B")
    dialogue = Dialogue((Turn("X", "Hi"), Turn("Y", "Hi")))
    assert (Chat(Fake(), dialogue).me, Chat(Fake(), dialogue).speaker) == ("X", "Y")
    assert Chat(Fake(), dialogue, "X").me == "Y"
    assert Chat(Fake(), Dialogue((Turn("B", "Hi"),))).speaker == "A"
    assert Chat(Fake(), None, "A").me == "B"


def test_a_saved_talk_is_read_again_and_can_be_moved(tmp_path: Path) -> None:
    chat = Fake().chat()
    with pytest.raises(DataError, match="Nothing was said"):
        save(chat.dialogue, Path("talk.json"))
    chat.say("Look!", Photo(Path("my dog.png"), "My dog."))
    chat.say("draw a red dog")
    save(chat.dialogue, Path("here/talk.json"))
    save(chat.dialogue, Path("here/talk.json"))
    Path("here").rename("there")
    Path("my dog.png").unlink()
    again = read_dialogue(Path("there/talk.json"))
    assert [(t.speaker, t.text) for t in again.turns] == [
        (t.speaker, t.text) for t in chat.dialogue.turns
    ]
    assert [p.caption for p in again.photos] == ["My dog.", "a red dog"]
    assert again.photos[0].open().getpixel((0, 0)) == (255, 255, 0)
    first, second = (talk.photos[1].open().tobytes() for talk in (again, chat.dialogue))
    assert first == second
    assert len(list(Path("there/talk.photos").iterdir())) == 2


# ---------------------------------------------------------------------------- without a terminal


def test_lines_in_and_plain_lines_out(fake: Fake) -> None:
    done = typed("Hi", "draw a red dog", "", "/undo", "Bye")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "I heard Hi", "I heard draw a red dog", "[photo] a red dog → replies/0001.png",
        "B: I heard Hi", "I heard Bye",
    ]  # fmt: skip
    assert Image.open("replies/0001.png").size == (8, 8)
    assert "\x1b" not in done.output
    assert len(re.findall(r"\(\d\.\d s\)", done.stderr)) == 3


def test_photos_may_be_saved_where_one_is(fake: Fake) -> None:
    done = typed("draw a red dog", args=["--out", "."])
    assert done.exit_code == 0, done.output
    assert Image.open("0001.png").size == (8, 8)


def test_a_failing_line_ends_a_talk_of_lines(fake: Fake) -> None:
    for line, told in [
        ("/photo none.png", "none.png does not exist"),
        ("/phot x", "There is no command /phot. Did you mean /photo?"),
        ("/seed x", "/seed is 'x'."),
        ("/best-of", "/best-of of what?"),
        ("/best-of few", "/best-of is 'few'."),
        ("/best-of 1001", "/best-of is '1001'."),
        ("/save", "/save of what?"),
        ("/undo", "Nothing was said yet."),
        ("/redraw", "B has sent no photo yet."),
        ("/load none.json", "none.json does not exist"),
        ("/photo a\0b", "NUL"),
    ]:
        done = typed(line, "Hi")
        assert done.exit_code == 2, line
        assert told in done.stderr
        assert done.stdout == ""


def test_json_of_one_command_is_the_context_of_the_other(fake: Fake) -> None:
    done = typed("draw a red dog", "/photo my dog.png", "Look!", args=["--json"])
    assert done.exit_code == 0, done.output
    Path("elsewhere").mkdir()
    Path("elsewhere/talk.json").write_text(done.stdout)
    more = CliRunner().invoke(app, ["generate", "--context", "elsewhere/talk.json", "--json"])
    assert more.exit_code == 0, more.output
    Path("elsewhere/more.json").write_text(more.stdout)
    again = typed(args=["--context", "elsewhere/more.json", "--json"])
    turns = json.loads(again.stdout)["turns"]
    assert [turn["text"] for turn in turns] == [
        "draw a red dog", "I heard draw a red dog", "", "Look!", "I heard Look!",
        "I heard I heard Look!",
    ]  # fmt: skip
    assert Path(turns[1]["photo"]["path"]).name == "0001.png"
    assert turns[2]["photo"]["path"].endswith("/my dog.png")


def test_bytes_that_are_no_text_are_heard_all_the_same(fake: Fake) -> None:
    done = CliRunner().invoke(app, ["chat"], input=b"caf\xe9\n")
    assert done.exit_code == 0, done.output
    assert "I heard caf" in done.stdout


# ---------------------------------------------------------------------------- in a terminal


@pytest.mark.parametrize(
    ("kind", "columns"), [("24-bit", 80), ("256", 80), ("16", 40), ("no-color", 40), ("dumb", 80)]
)
def test_every_command_in_a_terminal(fake: Fake, kind: str, columns: int) -> None:
    shown = terminal("my dog.png", prompt="A [photo]: ", kind=kind, columns=columns)
    assert "I heard Look" in shown.say("Look")
    first = shown.say(f"draw {LONG}")
    assert "[photo] one fish" in first
    assert "→ replies/0001.png" in first
    assert re.search(r"\(\d\.\d s to the first word, \d\.\d s\)", first)
    written = first[first.index("B: ") : first.index("[photo]")]
    assert max(cell_len(line) for line in plain(written).split("\n")) <= columns
    assert "→ replies/0002.png" in shown.say("/redraw")
    assert "[photo] two boats → replies/0003.png" in shown.say("/redraw two boats")
    assert "A: " in shown.say("/seed 2")
    assert "A: " in shown.say("/best-of 2")
    assert "generate --context talk.json" in " ".join(plain(shown.say("/save talk.json")).split())
    assert "is there already" in shown.say("/save my dog.png")
    assert "Taken back." in shown.say("/undo")
    assert "You are B, A is the agent." in shown.say("/speaker", "B: ")
    assert "You are B, Zoe is the agent." in shown.say("/speaker Zoe", "B: ")
    loaded = shown.say("/load talk.json")
    assert "A: draw one fish" in loaded and "You are A, B is the agent." in loaded
    told = shown.say("/help")
    assert all(name in told for name in HELP)
    shown.type("/quit\n")
    text = shown.end()
    assert shown.code == 0
    assert ("▀" in text) == (kind in ("24-bit", "256", "16"))
    assert ("\x1b[38;2;" in text) == (kind == "24-bit")
    assert ("\x1b[38;5;" in text) == (kind == "256")
    if kind == "16":
        assert re.search(r"\x1b\[(3[0-7]|9[0-7]);(4[0-7]|10[0-7])m▀", text)
    assert [p.caption for p in read_dialogue(Path("talk.json")).photos] == [None, "two boats"]


def test_tab_completes_commands_and_paths(fake: Fake) -> None:
    shown = terminal()
    shown.type("/ph\t")
    shown.until("/photo ")
    shown.type("my\t")
    shown.until("my dog.png")
    assert "It goes with" in shown.say("", "A [photo]: ")
    shown.end("\x04")
    assert shown.code == 0


def test_what_tab_offers(tmp_path: Path) -> None:
    Path(".hidden").touch()
    Path("folder").mkdir()
    Path("folder/x\x1b[2J").touch()
    assert completions("") == completions("Hi") == []
    assert completions("/s") == ["/speaker ", "/seed ", "/save "]
    assert completions("/photo ") == ["/photo folder/", "/photo my dog.png"]
    assert completions("/load folder/") == []
    assert completions("/photo .h") == ["/photo .hidden"]
    assert completions("/photo none/") == completions("/seed my") == []


def test_paths_are_what_terminals_make_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/zoe")
    Path("back\\ slash").touch()
    for text, path in [
        ("'my dog.png'", "my dog.png"), ('"a\\ b"', "a\\ b"), ("my\\ dog.png", "my dog.png"),
        ("back\\ slash", "back\\ slash"), ("~/x", "/home/zoe/x"), ("'", "'"),
        ("~no-one/x", "~no-one/x"),
    ]:  # fmt: skip
        assert path_of(text) == Path(path)


def test_ctrl_c_stops_an_answer_or_a_drawing_and_not_the_talk(fake: Fake) -> None:
    shown = terminal()
    shown.type("\x03")
    shown.until("/quit leaves.")
    shown.wait()
    shown.type("slow and steady wins the race\n")
    shown.until("and")
    shown.until(" slow")
    shown.type("\x03")
    shown.until("Stopped")
    shown.wait()
    shown.type("draw it forever\n")
    shown.until("[photo] it forever")
    shown.type("\x03")
    shown.until("Stopped")
    shown.wait()
    shown.say("/save talk.json")
    shown.end("\x04")
    assert shown.code == 0
    texts = [turn.text for turn in read_dialogue(Path("talk.json")).turns]
    assert texts[0] == "slow and steady wins the race"
    assert "I heard slow and steady wins the race".startswith(texts[1])
    assert len(texts[1]) < 37
    assert texts[2:] == ["draw it forever", "I heard draw it forever"]


def test_errors_do_not_end_a_talk_in_a_terminal(fake: Fake) -> None:
    shown = terminal()
    for line, told in [("/photo none.png", "does not exist"), ("/nothing", "no command /nothing")]:
        assert told in shown.say(line)
    assert "I heard Hi" in shown.say("Hi")
    shown.end("\x04")
    assert shown.code == 0


def test_nothing_that_is_said_or_loaded_controls_the_terminal(fake: Fake) -> None:
    turns = [
        Turn(f"A{EVIL}\nB", f"Hi{EVIL}"),
        Turn("B", f"You{EVIL}", Photo(Path("my dog.png"), EVIL)),
    ]
    save(Dialogue(tuple(turns)), Path("talk.json"))
    me = "A\\u001b]0;owned\\u0007\\u009b2J\\u202e B: "
    shown = terminal("--context", "talk.json", prompt=me)
    assert "B is the agent." in shown.say("/load talk.json", me)
    shown.say(f"draw {chr(0x202E)}", me)
    assert "0002.png" in shown.say(f"/redraw {chr(0x202E)}evil", me)
    text = shown.end("\x04")
    assert shown.code == 0
    assert "owned" in text
    # What was typed is echoed by the terminal itself.
    said = "\n".join(line for line in plain(text).split("\n") if "draw" not in line or "→" in line)
    assert not set(said) & set("\x1b\x07\x9b\u202e")
    assert "\x1b]" not in text


def test_terminals_that_show_pictures_are_sent_pictures(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixels, as xterm, foot and iTerm2 take them; kitty's way is the library's second choice."""
    pytest.importorskip("textual_image")
    monkeypatch.setattr(pictures, "protocol", PROTOCOL)
    PROTOCOL.cache_clear()
    shown = terminal(columns=30, typed="\x1b[?62;4c")  # what it answers to the question
    assert "\x1bP" in shown.say("draw a red dog")
    text = shown.end("\x04")
    assert shown.code == 0
    assert "▀" not in text


def test_a_talk_of_60_turns_with_10_photos_keeps_its_memory(fake: Fake) -> None:
    import tracemalloc

    chat = fake.chat()
    sizes = []
    for turn in range(60):
        if turn == 12:
            tracemalloc.start()
        chat.say("draw a dog" if turn % 6 == 5 else f"turn {turn}")
        sizes.append(tracemalloc.get_traced_memory()[0] if turn >= 12 else 0)
    tracemalloc.stop()
    assert len(chat.dialogue.photos) == 10
    assert max(sizes) < 1 << 20


@pytest.mark.skipif(
    not (AGENT / "agent_config.json").is_file(), reason="the bundled agent is not there"
)
def test_the_bundled_agent_streams_what_it_responds() -> None:
    """The same words, photo and marks as `respond`, for the same dialogue, turn by turn."""
    agent = Agent.from_pretrained(device="cpu")
    chat = agent.chat()
    for text in ("Hi! I have a new red car.", "Can you send me a picture of a dog at the beach?"):
        told: list[str | Caption] = []
        chat.add(text)
        wanted = agent.respond(chat.dialogue)
        reply = chat.answer(told.append)
        assert reply.raw == wanted.raw
        assert reply.photos == wanted.photos
        assert "".join(part for part in told if isinstance(part, str)) == reply.text
        assert [part.words for part in told if isinstance(part, Caption)] == reply.captions
    assert chat.dialogue == Dialogue(chat.dialogue.turns)
