"""The page in a browser: what a visitor meets. Needs playwright and a Chromium."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

from pscli.predictions.generate import read_dialogue
from serving import Client, picture, server
from standin import Fake

pytestmark = pytest.mark.slow

WIDTHS, SCHEMES = (1440, 390), ("light", "dark")
ATTACK = "<img src=x onerror=document.title='lost'> **bold** ${document.title='lost'} {{value}}"
PATIENCE = 60_000  # milliseconds
TOKEN = "a token that nobody guesses"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with server({"one": Fake(), "two": Fake()}) as asked:
        yield asked


class Opened:
    """The page of a visitor, what it asked for, and what its console said."""

    def __init__(self, browser: Any, client: Client, width: int = 1440, **look: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **look)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._hears)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = client.address
        self.page.goto(self.address)
        self.box = self.page.get_by_placeholder("Say something")
        self.box.wait_for()

    def _hears(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def rests(self) -> None:
        """Waits for the end of an answer."""
        self.page.get_by_role("button", name="Send").wait_for()

    def says(self, text: str, turns: int) -> None:
        """Says something. Args: turns: That are there when it was answered."""
        self.box.fill(text)
        self.box.press("Enter")
        done = f"document.querySelectorAll('.turn:not(.now)').length == {turns}"
        self.page.wait_for_function(done)
        self.rests()

    def bubbles(self) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(".turn").all_inner_texts()]

    def fits(self) -> bool:
        script = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        return bool(self.page.evaluate(script))

    def faults(self) -> list[str]:
        """What axe-core finds that is serious."""
        spec = find_spec("axe_playwright_python")
        if spec is None or not spec.submodule_search_locations:
            warnings.warn(
                "Install axe-playwright-python: nobody looks for axe's faults", stacklevel=2
            )
            return []
        source = Path(spec.submodule_search_locations[0]) / "axe.min.js"
        self.page.evaluate(source.read_text(encoding="utf-8") + "; 0")
        found = self.page.evaluate("axe.run()")["violations"]
        return [
            f"{fault['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def close(self) -> None:
        """Nothing failed, and nobody else was asked."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith((self.address, "blob:"))] == []
        assert self.page.title() == "pscli"
        self.context.close()


@pytest.fixture(params=WIDTHS)
def opened(browser: Any, client: Client, request: Any) -> Iterator[Opened]:
    page = Opened(browser, client, request.param)
    yield page
    page.close()


def test_a_talk_with_photos(opened: Opened, tmp_path: Path) -> None:
    page, file = opened.page, tmp_path / "my <dog>.png"
    file.write_bytes(picture("yellow", (320, 240)))
    page.set_input_files(".photo-picker input", file)
    page.locator(".chosen img").wait_for()
    opened.says(ATTACK, 2)
    assert not page.locator(".chosen").is_visible()
    opened.says("draw a red dog", 4)
    assert opened.bubbles() == [
        f"A {ATTACK}", f"B I heard {ATTACK}", "A draw a red dog",
        "B I heard draw a red dog a red dog",
    ]  # fmt: skip
    assert page.locator(".turn figure img").count() == 2
    assert opened.fits() and opened.box.is_visible()

    first = page.locator(".turn.theirs img").get_attribute("src")
    page.get_by_label("Caption").fill("a blue boat")
    page.get_by_role("button", name="Redraw").click()
    page.get_by_text("a blue boat", exact=True).wait_for()
    opened.rests()
    assert page.locator(".turn.theirs img").get_attribute("src") != first

    page.locator("button.photo").last.click()
    assert page.locator("dialog.large").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog.large").is_visible()

    with page.expect_download() as saving:
        page.get_by_role("button", name="Save").click()
    saved = tmp_path / "talk.json"
    saving.value.save_as(saved)
    assert saving.value.suggested_filename == "talk.json"
    dialogue = read_dialogue(saved)
    assert [photo.caption for photo in dialogue.photos] == [None, "a blue boat"]
    assert dialogue.photos[0].open().size == (320, 240)

    said = opened.bubbles()
    page.get_by_role("button", name="New").click()
    page.wait_for_function("!document.querySelector('.turn')")
    page.set_input_files(".tools input[type=file]", saved)
    page.wait_for_function("document.querySelectorAll('.turn').length == 4")
    assert opened.bubbles() == said
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("document.querySelectorAll('.turn').length == 2")
    assert opened.faults() == []


def test_two_agents_side_by_side(opened: Opened) -> None:
    page = opened.page
    opened.says("Hi", 2)
    page.get_by_label("Beside it").click()
    page.get_by_role("option", name="two").click()
    page.wait_for_function("document.querySelectorAll('.turn').length == 4")
    opened.says("draw a red dog", 8)
    assert page.locator(".sides h2").all_inner_texts() == ["one", "two"]
    assert opened.fits()
    page.get_by_label("Caption").nth(1).fill("a cat")
    page.get_by_role("button", name="Redraw").nth(1).click()
    page.get_by_text("a cat", exact=True).wait_for()
    opened.rests()
    assert page.locator("figcaption").all_inner_texts() == ["a red dog", "a cat"]
    assert opened.faults() == []


def test_captions_before_photos_and_the_other_speaker(opened: Opened) -> None:
    page = opened.page
    page.get_by_text("How it answers and draws").click()
    page.get_by_label("Let me see captions").check()
    page.get_by_label("B", exact=True).check()
    opened.says("draw a red dog", 1)
    page.get_by_text("It would draw what stands below").wait_for()
    page.get_by_label("Caption", exact=True).fill("a green car")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_function("document.querySelectorAll('figcaption').length == 1")
    opened.rests()
    assert opened.bubbles() == ["B draw a red dog", "A I heard draw a red dog a green car"]
    assert opened.faults() == []


def test_an_answer_is_stopped(opened: Opened) -> None:
    page = opened.page
    opened.box.fill("slow " * 300)
    opened.box.press("Enter")
    page.get_by_text(re.compile("I heard slow")).wait_for()
    page.get_by_role("button", name="Stop").click()
    opened.rests()
    page.wait_for_function("document.querySelectorAll('.turn:not(.now)').length == 2")
    assert opened.bubbles()[1].count("slow") < 300
    opened.says("Hi", 4)
    assert opened.bubbles()[-1] == "B I heard Hi"


def test_photos_are_pasted_and_wrong_ones_refused(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    page.evaluate("""async () => {
        const canvas = new OffscreenCanvas(40, 30);
        canvas.getContext("2d").fillRect(0, 0, 40, 30);
        const file = new File([await canvas.convertToBlob()], "x.png", {type: "image/png"});
        const data = new DataTransfer();
        data.items.add(file);
        document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
    }""")
    page.locator(".chosen img").wait_for()
    opened.says("", 2)
    assert opened.bubbles()[1] == "B I see a photo"
    page.set_input_files(
        ".photo-picker input",
        {"name": "x.png", "mimeType": "image/png", "buffer": b"<svg onload=alert(1)>"},
    )
    page.locator(".chosen").wait_for()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("is not an image that can be decoded").wait_for()
    page.locator(".chosen").wait_for(state="hidden")
    large = {"name": "x.png", "mimeType": "image/png", "buffer": b"x" * (17 << 20)}
    page.set_input_files(".photo-picker input", large)
    page.get_by_text("More than 16 MiB are not taken").wait_for()
    bad = {"turns": [{"speaker": "A", "photo": "/etc/passwd"}]}
    file = {"name": "t.json", "mimeType": "application/json", "buffer": json.dumps(bad).encode()}
    page.set_input_files(".tools input[type=file]", file)
    page.get_by_text("names photos that are not in it").wait_for()
    assert opened.faults() == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_hard_to_read(browser: Any, client: Client, scheme: str) -> None:
    opened = Opened(browser, client, color_scheme=scheme)
    opened.page.get_by_text("How it answers and draws").click()
    opened.page.get_by_label("Seed").wait_for()
    assert opened.faults() == []
    opened.says("draw a dog", 2)
    opened.page.locator("button.photo").click()
    assert opened.faults() == []
    opened.close()


def test_the_token_opens_the_page(browser: Any) -> None:
    with server({"one": Fake()}, TOKEN) as client:
        page = browser.new_page()
        page.goto(client.address)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        page.get_by_placeholder("Say something").wait_for(timeout=PATIENCE)
        assert page.url == client.address
        page.close()
