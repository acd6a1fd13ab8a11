"""What the page does, by the calls that a browser makes; and the command that serves it."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("gradio")

from pscli.cli import app
from pscli.cli import serve as command
from pscli.dialogue.schema import Dialogue, Photo, Reply, Turn
from pscli.errors import ConfigError, DataError
from pscli.predictions.generate import read_dialogue
from pscli.serve import limits, server, shown
from pscli.serve.host import hosted
from pscli.serve.talks import Live, Talk, text
from pscli.systems.agent import Agent
from serving import Client, Visitor, address, picture
from serving import server as served
from standin import Fake

ATTACK = "<img src=x onerror=alert(1)>**bold** [x](javascript:alert(1)) ${alert(1)} {{value}}</div>"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;**bold** [x](javascript:alert(1)) ${alert(1)}"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with served({"one": Fake(), "two": Fake()}) as asked:
        yield asked


def talk(*names: str, agents: Any = None) -> Talk:
    begun = Talk()
    begun.seat(hosted(agents or {"one": Fake(), "two": Fake()}), names or ("one",), "A")
    return begun


def answer(begun: Talk, *said: str, photo: str = "", asks: bool = False) -> list[Live]:
    """Says something to all sides, and takes their answers."""

    async def answers() -> list[Live]:
        begun.say(" ".join(said), photo)
        return [live for side in begun.sides async for live in begun.answer(side, asks)]

    return asyncio.run(answers())


def redraw(begun: Talk, caption: str, number: int = 0) -> None:
    async def drawn() -> None:
        async for _ in begun.redraw(begun.sides[number], caption):
            pass

    asyncio.run(drawn())


def said(begun: Talk, number: int = 0) -> list[tuple[str, str, str | None]]:
    turns = begun.sides[number].chat.dialogue.turns
    return [(t.speaker, t.text, t.photo.caption if t.photo else None) for t in turns]


# ---------------------------------------------------------------------------- talks


def test_words_appear_as_they_are_written_and_captions_before_photos() -> None:
    begun = talk()
    lives = answer(begun, "draw a red dog")
    assert [live.words for live in lives[:3]] == ["I", "I heard", "I heard draw"]
    assert lives[-1] == Live("I heard draw a red dog", ("a red dog",))
    assert said(begun) == [
        ("A", "draw a red dog", None), ("B", "I heard draw a red dog", "a red dog")
    ]  # fmt: skip


def test_captions_are_looked_at_and_changed_before_they_are_drawn() -> None:
    begun = talk()
    answer(begun, "draw a red dog", asks=True)
    (side,) = begun.sides
    assert side.waiting == ["a red dog"] and side.caption == "a red dog"
    assert side.host.agent.drawn == [] and len(said(begun)) == 1
    assert "It would draw" in shown.live(side, None)
    redraw(begun, "a blue boat\n a green car ")
    assert [caption for _, _, caption in said(begun)] == [None, "a blue boat", "a green car"]
    assert side.waiting is None
    answer(begun, "draw a cat", asks=True)
    redraw(begun, " ")  # no photo is sent then
    assert said(begun)[-1] == ("B", "I heard draw a cat", None)
    answer(begun, "Hi", asks=True)
    assert said(begun)[-1] == ("B", "I heard Hi", None) and side.waiting is None


def test_photos_without_captions_are_drawn_at_once() -> None:
    """There is nothing to look at before; they are not lost for that."""
    fake = Fake()
    fake.captioned = False
    begun = talk(agents={"one": fake})
    answer(begun, "draw a red dog", asks=True)
    assert begun.sides[0].waiting is None and fake.drawn
    assert begun.sides[0].chat.dialogue.photos
    with pytest.raises(ConfigError, match="writes no captions"):
        begun.sides[0].chat.preview()


def test_a_photo_is_drawn_anew() -> None:
    begun = talk()
    (side,) = begun.sides
    with pytest.raises(ConfigError, match="no photo yet"):
        redraw(begun, "a dog")
    answer(begun, "draw a red dog")
    first = side.drawn
    redraw(begun, "a red dog")  # the same words: other noise
    redraw(begun, "a blue boat")
    assert side.host.agent.drawn[1:] == [("a red dog", ("", 1), 1), ("a blue boat", ("", 1), 1)]
    assert side.caption == "a blue boat" and side.drawn != first
    with pytest.raises(ConfigError, match="no caption"):
        redraw(begun, " ")


def test_two_agents_hear_the_same_and_answer_each_for_itself() -> None:
    begun = talk("one", "two", "one")
    answer(begun, "Look!", photo=address(picture()))
    assert len(begun.sides) == 2
    redrawn = said(begun, 1)
    heard = [("A", "", None), ("A", "Look!", None), ("B", "I heard Look!", None)]
    assert said(begun) == redrawn == heard
    answer(begun, "draw a dog")
    redraw(begun, "a cat", 1)
    assert said(begun)[-1][2] == "a dog" and said(begun, 1)[-1][2] == "a cat"
    assert [file["name"] for file in begun.save()] == ["talk-one.json", "talk-two.json"]


def test_another_agent_goes_on_where_the_first_one_is() -> None:
    hosts = hosted({"one": Fake(), "two": Fake()})
    begun = Talk()
    begun.seat(hosts, ["one", "none"], "A")
    answer(begun, "Hi")
    begun.seat(hosts, ["two", "one"], "A")
    assert [side.host.name for side in begun.sides] == ["two", "one"]
    assert said(begun) == said(begun, 1) == [("A", "Hi", None), ("B", "I heard Hi", None)]
    begun.seat(hosts, ["gone"], "A")
    assert [side.host.name for side in begun.sides] == ["one"]


class Doubting(Fake):
    """Knows no photo."""

    def flagged(self, reply: Reply, photos: Any) -> Reply:
        time.sleep(0.2 * len(photos))
        return replace(reply, notes=("Unlike.",) * len(photos), unlike=tuple(photos))


def test_each_agent_judges_photos_for_itself_and_once() -> None:
    hosts = hosted({name: Doubting() for name in ("one", "two", "three")})
    begun = Talk()
    begun.seat(hosts, ["one", "two"], "A")
    answer(begun, "Look!", photo=address(picture()))
    assert [side.notes for side in begun.sides] == [("Unlike.",)] * 2
    begun.seat(hosts, ["one", "two", "three"], "A")
    answer(begun, "Well?")
    assert [side.notes for side in begun.sides] == [(), (), ("Unlike.",)]
    assert [len(side.chat.unlike) for side in begun.sides] == [1, 1, 1]


def test_a_note_on_a_photo_outlives_a_stop() -> None:
    begun = talk(agents={"one": Doubting()})

    async def stopped() -> None:
        begun.say("Look!", address(picture()))
        async for live in begun.answer(begun.sides[0]):
            if live.words == "I heard Look!":
                break
        await asyncio.sleep(0.4)  # it is judged

    asyncio.run(stopped())
    assert begun.sides[0].notes == ()
    answer(begun, "Well?")
    assert begun.sides[0].notes == ("Unlike.",)


def test_either_speaker_is_played() -> None:
    begun = talk()
    answer(begun, "Hi")
    begun.seat(hosted({"one": Fake()}), ["one"], "A")
    hosts = {"one": begun.sides[0].host}
    begun.seat(hosts, ["one"], "B")
    answer(begun, "Ho")
    assert [speaker for speaker, _, _ in said(begun)][-2:] == ["B", "A"]
    begun.seat(hosts, ["one"], "Zoe")  # nobody
    assert begun.sides[0].chat.me == "B"


def test_nothing_lets_the_agent_speak_where_it_is_its_turn() -> None:
    begun = talk()
    with pytest.raises(DataError, match="nothing to answer"):
        begun.say("  ", "")
    begun.load(Dialogue((Turn("B", "Hi"), Turn("A", "Ho"))))
    assert begun.sides[0].chat.speaker == "A"
    begun.load(Dialogue((Turn("A", "Hi"),)))
    answer(begun, "")
    assert said(begun)[-1] == ("B", "I heard Hi", None)


def test_what_was_stopped_was_said_and_what_comes_later_was_not() -> None:
    begun = talk()

    async def stopped(aside: bool) -> None:
        begun.say("slow and steady wins the race", "")
        answers = begun.until_stopped(begun.answer(begun.sides[0]))
        await anext(answers)
        await anext(answers)
        if aside:  # by another event, while the next word is awaited
            asyncio.get_running_loop().call_later(0.05, begun.stop)
            assert [live async for live in answers] == []
        await answers.aclose()

    asyncio.run(stopped(False))
    assert said(begun)[1:] == [("B", "I heard", None)]
    asyncio.run(stopped(True))
    assert len(said(begun)) == 4
    assert "I heard".startswith(said(begun)[3][1])  # it had to wait for the first one
    answer(begun, "Hi")
    assert [text for _, text, _ in said(begun)][4:] == ["Hi", "I heard Hi"]


def test_a_photo_that_is_drawn_after_a_stop_was_not_sent() -> None:
    class Slow(Fake):
        def draw(self, *args: Any, **how: Any) -> list[Photo]:
            time.sleep(0.3)
            return super().draw(*args, **how)

    begun = talk(agents={"one": Slow()})

    async def stopped() -> None:
        begun.say("draw a dog", "")
        async for live in begun.answer(begun.sides[0]):
            if live.captions:
                break
        await asyncio.sleep(0.6)

    asyncio.run(stopped())
    assert begun.sides[0].host.agent.drawn != []
    assert said(begun)[1:] == [("B", "I heard draw a dog", None)]


def test_what_is_taken_back_is_forgotten() -> None:
    begun = talk("one", "two")
    with pytest.raises(ConfigError, match="nothing to take back"):
        begun.undo()
    answer(begun, "draw a dog", asks=True)
    begun.undo()
    assert said(begun) == said(begun, 1) == [] and begun.sides[1].waiting is None


def test_a_photo_and_its_words_count_as_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = talk()
    monkeypatch.setattr(limits, "MAX_TURNS", 1)
    with pytest.raises(DataError, match="2 messages are too many"):
        begun.say("Look!", address(picture()))
    assert not said(begun)


def test_talks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = talk()
    for wrong, told in [("x" * 5000, "5,000 characters"), (7, "A text is int")]:
        with pytest.raises(DataError, match=told):
            begun.say(wrong, "")
    monkeypatch.setattr(limits, "MAX_PHOTOS", 1)
    answer(begun, "Look!", photo=address(picture()))
    with pytest.raises(DataError, match="2 photos are too many"):
        begun.say("Look!", address(picture()))
    for values, told in [
        ((-1, 1, 0), "seed"), ((0, 9, 0), "Drawings"), ((0, 1, 3), "temperature"),
        ((None, 1, 0), "seed"), ((True, 1, 0), "seed"), ((float("nan"), 1, 0), "seed"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            begun.set(*values)


# ---------------------------------------------------------------------------- saved and loaded


def test_a_saved_talk_is_a_context_and_is_loaded_again(tmp_path: Path) -> None:
    begun = talk()
    with pytest.raises(ConfigError, match="Nothing was said"):
        begun.save()
    answer(begun, "Look!", photo=address(picture("yellow")))
    answer(begun, "draw a red dog")
    (file,) = begun.save()
    kept = limits.ROOM.get(file["file"])
    assert kept and kept.kind == "application/json"
    path = tmp_path / file["name"]
    path.write_bytes(kept.data)
    again = read_dialogue(path)
    assert [(t.speaker, t.text) for t in again.turns] == [
        (t.speaker, t.text) for t in begun.sides[0].chat.dialogue.turns
    ]
    assert again.photos[0].open().getpixel((0, 0)) == (255, 255, 0)
    assert again.photos[1].caption == "a red dog"
    other = talk()
    other.load(limits.from_file(kept.data.decode()))
    assert text(other.sides[0]) == text(begun.sides[0]) == kept.data.decode()


def test_json_of_generate_holds_the_photos_of_such_a_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Agent, "from_pretrained", lambda folder=None, **options: Fake())
    begun = talk()
    begun.say("draw a dog", address(picture("yellow")))
    Path("talk.json").write_text(text(begun.sides[0]))
    for _ in range(2):
        done = CliRunner().invoke(app, ["generate", "--context", "talk.json", "--json"])
        assert done.exit_code == 0, done.output
        Path("talk.json").write_text(done.stdout)
    first, second = read_dialogue(Path("talk.json")).photos
    assert first.open().getpixel((0, 0)) == (255, 255, 0) and second.caption == "a dog"


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("", "not valid JSON"), (None, "no file"), ("[" * 99_999, "nested"), ("[]", "no list"),
        ('{"turns": []}', "is empty"),
        ('{"turns": [{"speaker": "A", "photo": "/etc/passwd"}]}', "not in it"),
        ('{"turns": [{"speaker": "A", "photo": "../dog.png"}]}', "not in it"),
        ('{"turns": [{"speaker": "A", "photo": {"path": "x.png"}}]}', "not in it"),
        ('{"turns": [{"speaker": "A", "photo": "http://127.0.0.1/x.png"}]}', "not in it"),
        ('{"turns": [{"speaker": "A", "photo": "data:x,y"}]}', "not in base64"),
        ('{"turns": [{"speaker": "A", "photo": "data:;base64,AAAA"}]}', "no|not an image"),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', "no list of turns"),
        (json.dumps({"turns": [{"speaker": "A", "text": "x" * 5000}]}), "5,000 characters"),
        (json.dumps({"turns": [{"speaker": "A", "text": "x"}] * 500}), "500 messages"),
        (json.dumps({"turns": [{"speaker": "A", "text": "x" * 999}] * 300}), "300,000 characters"),
    ],
)  # fmt: skip
def test_files_that_are_not_loaded(file: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        limits.from_file(file)


# ---------------------------------------------------------------------------- what is shown


def test_whatever_is_written_is_shown_as_text() -> None:
    begun = talk()
    dialogue = Dialogue(
        (Turn(ATTACK, ATTACK, Photo(picture_in_memory(), ATTACK)), Turn("B", "</script>"))
    )
    begun.load(limits.all_kept(dialogue))
    (side,) = begun.sides
    side.notes, side.waiting = (ATTACK,), [ATTACK]
    pages = [
        shown.talk(side), shown.live(side, Live(ATTACK, (ATTACK,), 3)), shown.live(side, None),
        shown.told(DataError(ATTACK)), shown.talk(talk().sides[0], ATTACK),
    ]  # fmt: skip
    for page in pages:
        assert "<img src=x" not in page and "</script>" not in page
    assert ESCAPED in pages[0] and ESCAPED in pages[1] and ESCAPED in pages[3]
    assert f'alt="{ESCAPED}' in pages[0]
    assert shown.told(RuntimeError("secret")).count("secret") == 0


def picture_in_memory() -> Any:
    from PIL import Image

    return Image.new("RGB", (4, 4))


# ---------------------------------------------------------------------------- by the queue


def test_a_visitor_talks(client: Client) -> None:
    zoe = Visitor(client, "zoe")
    page = zoe.says(f"draw {ATTACK}")
    assert "<img src=x" not in page and "I heard draw &lt;img src=x" in page
    name = re.findall(r'<img src="(kept/[0-9a-f]{32})"', page)[0]
    photo = client.ask(f"/{name}")
    assert photo.headers["content-type"] == "image/png" and photo.body[:4] == b"\x89PNG"
    assert client.ask(f"/{name[:-1]}x").status == 404
    zoe.says("draw a dog")
    zoe.use("on_draw", Caption="a cat")
    assert zoe.values[zoe.part("Caption")] == "a cat"
    assert "There is nothing to answer" in zoe.use("on_send", Message=" ")
    zoe.use("on_save")
    saved = next(value for value in zoe.values.values() if "talk.json" in str(value))
    (file,) = json.loads(saved)
    assert [turn["text"] for turn in client.ask(f"/kept/{file['file']}").json["turns"]][2:] == [
        "draw a dog", "I heard draw a dog",
    ]  # fmt: skip
    assert "Say something, or show a photo." in zoe.use("on_new")
    assert "nothing to take back" in zoe.use("on_undo")
    gc.collect()
    assert client.ask(f"/kept/{file['file']}").status == client.ask(f"/{name}").status == 404


def test_two_visitors_never_meet(client: Client) -> None:
    zoe, abe = Visitor(client, "zoe2"), Visitor(client, "abe2")
    zoe.says("my secret")
    assert "secret" not in abe.says("Hi")
    assert "secret" not in abe.use("on_change")
    assert "secret" in zoe.use("on_change")


def test_whatever_is_sent_to_the_page_is_refused_or_harmless(client: Client) -> None:
    eve = Visitor(client, "eve")
    event = eve.event("on_send")
    right = [eve.values[id] for id in event["inputs"]]
    path = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    photo = 8
    for number in range(1, len(right)):
        for wrong in (None, path, 10**30, "x" * 5000):
            data = [*right]
            data[7], data[number] = "Hi", wrong
            joined = client.ask(
                "/gradio_api/queue/join",
                {"data": data, "fn_index": event["id"], "session_hash": f"eve{number}"},
            )
            assert joined.status in (200, 400, 422), joined.body
            if joined.status == 200:
                told = client.ask(f"/gradio_api/queue/data?session_hash=eve{number}").body
                assert b"root:" not in told and b"Traceback" not in told
                if number == photo and wrong:
                    assert b"alert" in told
    assert "I heard Ho" in Visitor(client, "adam").says("Ho")


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_many_visitors_at_once_and_nothing_is_written(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int
) -> None:
    """All are answered, with what they said themselves; what they sent is not kept on disk."""
    monkeypatch.chdir(tmp_path)
    before, most = written(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    zoe = Visitor(client, "crowd")

    def visit(number: int) -> str:
        visitor = Visitor.__new__(Visitor)
        visitor.__dict__ |= zoe.__dict__ | {"name": f"crowd{number}", "values": {**zoe.values}}
        event = visitor.event("on_send")
        visitor.values[event["inputs"][8]] = address(picture(size=(1000, 800)))
        return visitor.says(f"draw number {number}")

    with ThreadPoolExecutor(count) as crowd:
        pages = list(crowd.map(visit, range(count)))
    for number, page in enumerate(pages):
        assert f"I heard draw number {number}<" in page
        assert not any(f"number {other}<" in page for other in range(count) if other != number)
    assert list(tmp_path.iterdir()) == [] and written() == before
    if sys.platform == "linux":  # in KiB there
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 500_000


def written() -> set[Path]:
    """Files in the server's own folders."""
    places = Path(tempfile.gettempdir()).glob("pscli-serve-*")
    return {path for place in places for path in place.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------------- the command


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served."""
    calls: list[Any] = []
    monkeypatch.setattr(server, "run", lambda app, sock: calls.append(app))
    loads: Any = lambda folder=None, **options: Fake()  # noqa: E731
    monkeypatch.setattr(Agent, "from_pretrained", loads)
    return calls


def serve(*args: str) -> Any:
    return CliRunner().invoke(app, ["serve", "--port", "0", *args])


def test_on_this_machine_no_token_is_needed_and_elsewhere_one_is_made(ran: list[Any]) -> None:
    done = serve()
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("http://127.0.0.1:") and "token" not in done.stdout
    assert ran[0].token is None
    done = serve("--host", "0.0.0.0", "--agent", "runs/e2e", "--agent", "runs/pipeline")
    assert f"/?token={ran[1].token}" in done.stdout and len(ran[1].token) == 32
    serve("--host", "0.0.0.0")
    assert ran[1].token != ran[2].token
    serve("--token", "sixteen letters!")
    assert ran[3].token == "sixteen letters!"
    assert not Path(os.environ["GRADIO_TEMP_DIR"]).exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--token", "short"], "no 16 or more plain characters"),
        (["--token", "sixteen lettérs!"], "no 16 or more plain characters"),
        (["--host", "no.such.host.invalid"], "cannot be listened at"),
    ],
)
def test_what_cannot_be_served(ran: list[Any], args: list[str], told: str) -> None:
    done = serve(*args)
    assert done.exit_code == 2 and told in done.stderr
    assert ran == []


def test_a_port_that_is_taken_is_said(ran: list[Any]) -> None:
    with server.listen("127.0.0.1", 0) as sock:
        done = serve("--port", str(sock.getsockname()[1]))
    assert done.exit_code == 2 and "Name another --port" in done.stderr


def test_without_gradio_the_line_that_installs_it_is_said(
    ran: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    done = serve()
    assert done.exit_code == 2 and "pip install 'pscli[web]'" in done.stderr
    assert command.HINT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_it_ends_at_once_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """Also while somebody has the page open."""
    code = (
        "from pscli.serve.server import *; from standin import Fake\n"
        "with listen('127.0.0.1', 0) as sock, serving({'one': Fake()}) as app:\n"
        "    print(sock.getsockname()[1], flush=True); run(app, sock)"
    )
    paths = [str(Path(__file__).parent), *sys.path]
    process = subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert process.stdout
    client = Client(int(process.stdout.readline()))
    assert client.complete("Hi").status == 200
    line = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    line.request("GET", "/gradio_api/heartbeat/x")
    line.getresponse().read(10)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert list(tmp_path.glob("pscli-serve-*")) == []


def test_no_other_command_loads_what_serves() -> None:
    code = (
        "import sys, pscli.cli, pscli.serve.limits, pscli.serve.server\n"
        "print([m for m in ('gradio', 'fastapi', 'uvicorn', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
