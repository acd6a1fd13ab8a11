"""The endpoint for programs, and the door before all: on loopback, with stand-in agents."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("gradio")

from pscli.dialogue.schema import Reply
from pscli.errors import ConfigError, DataError
from pscli.serve import guard, limits, messages
from pscli.serve.host import Host
from pscli.serve.limits import MAX_BODY, Busy, Memory
from serving import Client, address, picture, server, shown
from standin import Fake

TOKEN = "a token that nobody guesses"
DOORS = (  # of Gradio's, that lead to files, elsewhere, or past the queue
    "/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=/etc/passwd",
    "/gradio_api/upload", "/gradio_api/proxy=http://169.254.169.254/", "/gradio_api/run/predict",
    "/gradio_api/call/on_send", "/gradio_api/runs", "/gradio_api/run-history/connect",
    "/gradio_api/process_recording", "/gradio_api/vibe-edit", "/gradio_api/component_server",
    "/gradio_api/stream/x", "/monitoring", "/monitoring/summary", "/login", "/docs",
    "/openapi.json", "/gradio_api/openapi.json", "/static/../../../../etc/passwd",
    "/assets/..%2f..%2f..%2fetc/passwd", "//etc/passwd", "/custom_component/x", "/v1/files",
)  # fmt: skip


class Odd(Fake):
    """Fails, when it is told to, and says that something was odd."""

    def respond_all(self, questions: Any, **how: Any) -> list[Reply]:
        heard = questions[0].responses[-1].text
        if heard == "fail":
            raise RuntimeError("secret")
        (reply,) = super().respond_all(questions, **how)
        return [Reply(reply.parts, reply.raw, ("Odd.",) if heard == "odd" else ())]


@pytest.fixture(scope="module")
def agents() -> dict[str, Odd]:
    return {"one": Odd(), "two": Odd()}


@pytest.fixture(scope="module")
def client(agents: dict[str, Odd]) -> Iterator[Client]:
    with server(agents) as asked:
        yield asked


@pytest.fixture(scope="module")
def guarded() -> Iterator[Client]:
    with server({"one": Fake()}, TOKEN) as asked:
        yield asked


# ---------------------------------------------------------------------------- completions


def test_texts_and_photos_in_and_out(client: Client) -> None:
    done = client.complete([{"type": "text", "text": "draw a red dog"}, shown(picture())])
    assert done.status == 200, done.body
    (choice,) = done.json["choices"]
    assert done.json["object"] == "chat.completion" and done.json["model"] == "one"
    assert choice["finish_reason"] == "stop"
    message = choice["message"]
    assert (message["role"], message["content"]) == ("assistant", "I heard draw a red dog")
    (image,) = message["images"]
    assert image["caption"] == "a red dog"
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    drawn = Image.open(io.BytesIO(base64.b64decode(data)))
    assert drawn.size == (8, 8) and drawn.getpixel((7, 7)) == (255, 0, 0)


def test_a_reply_is_sent_back_as_it_came(client: Client, agents: dict[str, Odd]) -> None:
    heard: list[Any] = []
    agents["two"].respond_all = lambda q, **how: heard.append(q[0]) or [Reply(("Yes",))]  # type: ignore[method-assign, func-returns-value]
    message = client.complete("draw a dog").json["choices"][0]["message"]
    system = {"role": "system", "content": "You are a pirate."}
    again = client.complete(
        system, "draw a dog", message, [shown(picture("blue")), {"type": "text", "text": "and?"}],
        model="two",
    )  # fmt: skip
    del agents["two"].respond_all
    assert again.json["choices"][0]["message"] == {"role": "assistant", "content": "Yes"}
    (question,) = heard
    assert question.speaker == "assistant"
    first, second, third = question.responses
    assert first.text == "draw a dog"
    assert second.parts[0] == "I heard draw a dog" and second.photos[0].caption == "a dog"
    assert second.photos[0].open().getpixel((7, 7)) == (255, 0, 0)
    assert third.photos[0].open().getpixel((0, 0)) == (0, 0, 255) and third.parts[1] == "and?"


def test_a_user_s_photos_stand_before_the_words_with_them() -> None:
    """As in a talk; between words, and in what an agent has said, nothing moves."""
    words, photo = {"type": "text", "text": "How many?"}, shown(picture())

    def order(role: str, *parts: Any) -> list[str]:
        after = [{"role": "user", "content": "end"}] if role == "assistant" else []
        said = messages.dialogue_of([{"role": role, "content": list(parts)}, *after]).responses[0]
        return ["words" if isinstance(part, str) else "photo" for part in said.parts]

    assert order("user", words, photo, photo) == ["photo", "photo", "words"]
    assert order("user", photo, words) == ["photo", "words"]
    assert order("user", words, photo, words) == ["words", "photo", "words"]
    assert order("assistant", words, photo) == ["words", "photo"]


def chunks(body: bytes) -> list[Any]:
    lines = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_answer_in_pieces(client: Client) -> None:
    done = client.complete("draw a red dog", stream=True)
    assert done.headers["content-type"].startswith("text/event-stream")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(done.body)]
    assert deltas[0] == {"role": "assistant", "content": ""}
    words = [delta["content"] for delta in deltas[1:] if "content" in delta]
    assert words == ["I", " heard", " draw", " a", " red", " dog"]
    assert deltas[-2]["images"][0]["caption"] == "a red dog"
    ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks(done.body)]
    assert ends == [None] * (len(ends) - 1) + ["stop"]
    assert len({chunk["id"] for chunk in chunks(done.body)}) == 1


def test_seed_temperature_and_notes(client: Client, agents: dict[str, Odd]) -> None:
    client.complete("draw a dog", seed=7)
    assert agents["one"].drawn[-1] == ("a dog", ("", 1), 7)
    assert client.complete("odd").json["choices"][0]["message"]["notes"] == ["Odd."]
    last = chunks(client.complete("odd", stream=True).body)[-1]
    assert last["choices"][0]["delta"] == {"notes": ["Odd."]}


def test_models(client: Client) -> None:
    found = client.ask("/v1/models").json
    assert found["object"] == "list" and [m["id"] for m in found["data"]] == ["one", "two"]
    done = client.complete("Hi", model="two")
    assert done.json["model"] == "two"


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b"\xff\xff", 400, "cannot be read"),
        ([], 400, "no JSON object"),
        ({}, 400, "no list of messages"),
        ({"messages": []}, 400, "no list of messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0]: Its role"),
        ({"messages": ["Hi"]}, 400, "messages[0]: Its role"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "A text is int"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, 400, "neither a text"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, 400, "5,000 characters"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "not the user's"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "not the user's"),
        ({"messages": [{"role": "user", "content": "x"}] * 401}, 400, "401 messages"),
        ({"model": "three"}, 404, "no such model. Known: one, two."),
        ({"model": ["one"]}, 404, "no such model"),
        ({"tools": [{}]}, 400, "tools is not known"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format is not known"),
        ({"n": 2}, 400, "n is not 1"),
        ({"temperature": 3}, 400, "temperature is no number from 0 to 2"),
        ({"temperature": "hot"}, 400, "temperature is no number"),
        ({"seed": -1}, 400, "seed is no number"),
        ({"seed": True}, 400, "seed is no number"),
        ({"messages": [{"role": "user", "content": "fail"}]}, 500, "The agent failed"),
        ({"messages": [{"role": "user", "content": "fail"}], "stream": True}, 500, "failed"),
    ],
)  # fmt: skip
def test_refusals_have_openais_form(client: Client, body: Any, status: int, told: str) -> None:
    if isinstance(body, dict) and body:
        body = {"messages": [{"role": "user", "content": "Hi"}]} | body
    done = client.ask("/v1/chat/completions", body)
    assert done.status == status, done.body[:300]
    assert told in done.error["message"] and "secret" not in done.error["message"]
    assert set(done.error) == {"message", "type", "param", "code"}
    kind = "server_error" if status == 500 else "invalid_request_error"
    assert done.error["type"] == kind
    assert done.error["code"] == ("model_not_found" if status == 404 else None)


def test_other_methods_are_refused(client: Client) -> None:
    done = client.ask("/v1/chat/completions")
    assert done.status == 405 and done.error["message"] == "Only POST is known here."


def test_the_openai_client_works(client: Client) -> None:
    openai = pytest.importorskip("openai")
    asks = openai.OpenAI(base_url=f"{client.address}v1", api_key="none", max_retries=0)
    said = [{"role": "user", "content": "draw a dog"}]
    message = asks.chat.completions.create(model="one", messages=said).choices[0].message
    assert message.content == "I heard draw a dog"
    assert message.images[0]["caption"] == "a dog"
    more = asks.chat.completions.create(
        model="one", messages=[*said, message.model_dump(), {"role": "user", "content": "Hi"}]
    )
    assert more.choices[0].message.content == "I heard Hi"
    pieces = asks.chat.completions.create(model="one", messages=said, stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == "I heard draw a dog"
    with pytest.raises(openai.NotFoundError, match="no such model"):
        asks.chat.completions.create(model="none", messages=said)
    assert [model.id for model in asks.models.list()] == ["one", "two"]


# ---------------------------------------------------------------------------- photos that are sent


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says that it is large."""
    data = bytearray(picture())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


def frames(form: str) -> bytes:
    file = io.BytesIO()
    first, *rest = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green"))
    first.save(file, form, save_all=True, append_images=rest)
    return file.getvalue()


def deep(mode: str, form: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 6)).save(file, form)
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<html><script>alert(1)</script></html>"
TAKEN = {
    "png": picture(), "jpeg": picture(form="JPEG"), "webp": picture(form="WEBP"),
    "gif": picture(form="GIF"), "bmp": picture(form="BMP"), "tiff": picture(form="TIFF"),
    "gif of three": frames("GIF"), "webp of three": frames("WEBP"), "tiff of three": frames("TIFF"),
    "grey": deep("L", "PNG"), "palette": deep("P", "PNG"), "alpha": deep("RGBA", "PNG"),
    "16 bits": deep("I;16", "PNG"), "cmyk": deep("CMYK", "JPEG"), "one bit": deep("1", "PNG"),
    "large": picture(size=(3000, 2000)), "thin": picture(size=(10_000, 1)),
    "png with html after it": picture() + HTML,
    "jpeg with html after it": picture(form="JPEG") + HTML,
    "gif with a script after it": picture(form="GIF") + b";/*" + HTML,
    "png with a zip after it": picture() + b"PK\x03\x04" + b"x" * 100,
}  # fmt: skip
REFUSED = {
    "svg": SVG, "svg named png": SVG, "html": HTML, "nothing": b"", "a byte": b"\x89",
    "cut off": picture()[:40], "pixels cut off": picture(size=(400, 400), colour="#123456")[:200],
    "10,000 px": picture(size=(10_000, 10_000)), "a bomb": bomb(30_000, 30_000),
    "a bomb of a row": bomb(1_000_000, 1000), "a bomb of no pixel": bomb(0, 0),
    "larger than said": bomb(8, 60_000), "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n",
    "pdf": b"%PDF-1.4\n", "ico": b"\x00\x00\x01\x00\x01\x00", "elf": b"\x7fELF" + b"\0" * 99,
    "a pickle": b"\x80\x04cos\nsystem\n", "zeros": b"\0" * 1000,
    "gzip": b"\x1f\x8b\x08" + b"\0" * 50,
    "html with a gif's head": b"GIF89a" + HTML, "text": b"photo",
}  # fmt: skip
ADDRESSES = (
    "http://127.0.0.1:1/x.png", "https://example.org/x.png", "file:///etc/passwd", "/etc/passwd",
    "../x.png", "x.png", "", "data:", "data:,x", "data:image/png,x", "data:image/png;base64,!!!",
    "data:image/png;base64,AA", "DATA:text/html,<script>", "javascript:alert(1)", "blob:x",
    "gradio_api/file=/etc/passwd", None, 7, {"path": "/etc/passwd"}, ["x"],
)  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_photos_are_kept_as_pixels_alone(name: str) -> None:
    kind = "image/png" if len(name) % 2 else "text/html"  # what it is called says nothing
    photo = limits.received(address(TAKEN[name], kind), "A dog")
    data = photo.source.data  # type: ignore[union-attr]
    kept = Image.open(io.BytesIO(data))
    assert (kept.format, kept.mode) == ("PNG", "RGB") and max(kept.size) <= limits.SIDE
    assert b"script" not in data and b"PK" not in data
    assert photo.caption == "A dog"


def test_small_photos_keep_every_pixel_and_lose_their_tags() -> None:
    image = Image.effect_noise((64, 48), 90).convert("RGB")
    file = io.BytesIO()
    tags = Image.Exif()
    tags[0x8825] = {1: "N"}  # where it was taken
    image.save(file, "PNG", exif=tags, dpi=(300, 300), icc_profile=b"secret profile")
    kept = limits.received(address(file.getvalue()))
    assert kept.open().tobytes() == image.tobytes()
    assert not Image.open(io.BytesIO(kept.source.data)).info  # type: ignore[union-attr]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_photo_is_refused(client: Client, name: str) -> None:
    done = client.complete([shown(REFUSED[name])])
    assert done.status == 400, name
    assert done.error["message"].startswith("messages[0]: "), done.error
    assert client.complete("Hi").status == 200


def test_nothing_is_asked_for_and_no_file_is_opened(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.png").write_bytes(picture())
    for url in ADDRESSES:
        part = {"type": "image_url", "image_url": {"url": url}}
        for wrong in (part, {"type": "image_url", "image_url": url}):
            done = client.complete([wrong])
            assert done.status == 400, url
            assert "data: address" in done.error["message"] or "base64" in done.error["message"]


def test_photos_are_bounded(client: Client) -> None:
    few = [shown(picture())] * 33
    assert "33 photos are too many" in client.complete(few).error["message"]
    large = client.complete([shown(b"\x89PNG" + b"x" * (17 << 20))])
    assert large.status == 400 and "16 MiB" in large.error["message"]


def test_no_more_photos_are_decoded_than_a_talk_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []
    monkeypatch.setattr(
        messages, "received", lambda *said: decoded.append(said) or limits.received(*said)
    )
    for many in ([100], [20, 100]):
        decoded.clear()
        said = [{"role": "user", "content": [shown(picture())] * number} for number in many]
        with pytest.raises(DataError, match="33 photos are too many"):
            messages.dialogue_of(said)
        assert len(decoded) == 33


def test_photos_that_are_kept_are_counted() -> None:
    room = Memory(100)
    first = room.keep(b"x" * 60)
    with pytest.raises(Busy, match="no room for more photos"):
        room.keep(b"x" * 60)
    del first
    kept = [room.keep(b"x" * 50), room.keep(b"x" * 50)]
    assert room.free == 0
    kept.clear()
    assert room.free == 100


# ---------------------------------------------------------------------------- who may ask


def test_pages_of_others_are_not_answered(client: Client) -> None:
    here = f"127.0.0.1:{client.port}"
    for host, status in [
        (here, 200), (f"localhost:{client.port}", 200), (f"[::1]:{client.port}", 200),
        ("example.org", 403), (f"example.org:{client.port}", 403), ("127.0.0.1.example.org", 403),
        ("", 403), ("[", 403), ("0.0.0.0", 403), ("2130706433", 403),
    ]:  # fmt: skip
        assert client.ask("/v1/models", Host=host).status == status, host
    for origin, status in [
        (f"http://{here}", 200), ("http://example.org", 403), ("null", 403), ("", 403),
        ("http://127.0.0.1:1", 403), ("https://127.0.0.1.example.org", 403),
    ]:  # fmt: skip
        assert client.ask("/v1/models", Host=here, Origin=origin).status == status, origin
        assert client.ask("/", Host=here, Origin=origin).status == status, origin


def test_only_what_the_page_needs_is_open(client: Client) -> None:
    for path in DOORS:
        for method in ("GET", "POST"):
            done = client.ask(path, method=method)
            assert done.status == 404, path
            assert b"root:" not in done.body


def test_a_browser_asks_nobody_else(client: Client) -> None:
    for path in ("/", "/v1/models", "/nothing"):
        headers = client.ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "connect-src 'self'" in policy
        assert "http" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
    page = client.ask("/").body.decode()
    for other in ("fonts.googleapis", "cdn.", "huggingface.co/front"):
        assert other not in page


def test_a_token_is_asked_for_everywhere(guarded: Client) -> None:
    for path in ("/", "/config", "/v1/models", "/gradio_api/heartbeat/x", "/theme.css"):
        for headers in ({}, {"Authorization": "Bearer x"}, {"Cookie": f"{guard.COOKIE}=x"}):
            assert guarded.ask(path, **headers).status == 401, path
    assert guarded.ask("/v1/models").error["code"] == "invalid_api_key"
    assert guarded.ask("/?token=wrong").status == 401
    assert b'name="token"' in guarded.ask("/").body
    assert guarded.ask("/v1/models", Authorization=f"Bearer {TOKEN}").status == 200
    assert guarded.ask("/v1/models", Authorization=f"Bearer {TOKEN}", Host="lab:80").status == 200
    entered = guarded.ask(f"/?token={TOKEN.replace(' ', '%20')}")
    assert entered.status == 303 and entered.headers["location"] == "/"
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert guarded.ask("/", Cookie=cookie.partition(";")[0]).status == 200


def test_requests_are_bounded(client: Client, guarded: Client) -> None:
    line = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    line.putrequest("POST", "/v1/chat/completions")
    line.putheader("Content-Length", str(MAX_BODY + 1))
    line.endheaders()
    answer = line.getresponse()  # before anything is sent
    assert answer.status == 413 and "32 MiB" in json.loads(answer.read())["error"]["message"]
    line.close()
    for path in ("/v1/chat/completions", "/gradio_api/queue/join"):
        line = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        pieces = (b"[" * (1 << 20) for _ in range(MAX_BODY >> 20))
        headers = {"Content-Type": "application/json"}
        try:
            line.request("POST", path, _and_one(pieces), headers, encode_chunked=True)
            assert line.getresponse().status == 413, path
        except (BrokenPipeError, ConnectionResetError):
            pass  # it had heard enough
        line.close()
    assert client.complete("Hi").status == 200


def _and_one(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    yield b"["


# ---------------------------------------------------------------------------- the queue


class Slow(Fake):
    """Answers when it may, and counts who is answered at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()
        self.now = self.most = 0

    def respond_all(self, questions: Any, **how: Any) -> list[Reply]:
        self.now += 1
        self.most = max(self.most, self.now)
        assert self.may.wait(30)
        try:
            return super().respond_all(questions, **how)
        finally:
            self.now -= 1


def test_one_after_another_and_no_more_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    hosts = {"one": Host("one", slow, waiting=5)}
    monkeypatch.setattr("pscli.serve.server.hosted", lambda agents: hosts)
    with server({"one": slow}) as client, ThreadPoolExecutor(9) as askers:
        asked = [askers.submit(client.complete, f"number {n}") for n in range(9)]
        while sum(done.done() for done in asked) < 4:  # who are refused at once
            time.sleep(0.02)
        slow.may.set()
        answers = [done.result() for done in asked]
    assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 4
    assert slow.most == 1
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.error["code"] == "rate_limit_exceeded"
    for n, answer in enumerate(answers):  # to each their own
        if answer.status == 200:
            assert answer.json["choices"][0]["message"]["content"] == f"I heard number {n}"


def test_who_leaves_stops_the_answer(client: Client, agents: dict[str, Odd]) -> None:
    line = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    body = {"messages": [{"role": "user", "content": "slow " * 500}], "stream": True}
    line.request("POST", "/v1/chat/completions", json.dumps(body))
    line.getresponse().read(100)
    line.close()
    began = time.monotonic()
    assert client.complete("Hi").status == 200  # not after 100 seconds
    assert time.monotonic() - began < 20


def test_agents_have_names_of_their_own() -> None:
    from pscli.serve.host import names_of

    paths = ["runs/e2e", "runs/e2e/agent", "other/e2e", "owner/name", "runs/e2e (2)"]
    assert names_of(list(map(Path, paths))) == [
        "e2e", "e2e (2)", "e2e (3)", "name", "e2e (2) (2)"
    ]  # fmt: skip


def test_an_agent_that_fails_is_an_error_of_the_server(client: Client) -> None:
    assert issubclass(Busy, ConfigError.__base__)  # told as all errors are
    assert client.complete("fail").error["type"] == "server_error"
    assert client.complete("Hi").status == 200
