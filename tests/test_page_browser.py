"""The report's page in a browser: what a reader meets. Needs playwright and a Chromium."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.files import append_line, write_json, write_lines
from pscli.photoworld.dataset import Photoworld
from pscli.predictions.folder import FILE_NAME
from pscli.predictions.settings import Settings
from pscli.report.columns import contents
from pscli.report.page import Options, write_page

pytestmark = pytest.mark.slow

WIDTHS, SCHEMES = (1440, 390), ("light", "dark")
ATTACK = "<img src=x onerror=document.title='lost'>"
SCRIPT = "</script><script>document.title='lost'</script>"


class Opened:
    """A page, what it asked for over any network, and what its console said."""

    def __init__(
        self, browser: Any, folder: Path, width: int = 1440, scheme: str = "light"
    ) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = (folder / "index.html").as_uri()
        began = time.monotonic()
        self.page.goto(self.address)
        self.seconds = time.monotonic() - began

    def fits(self) -> bool:
        script = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        return bool(self.page.evaluate(script))

    def elsewhere(self) -> list[str]:
        return [url for url in self.asked if url != self.address and not url.startswith("data:")]


def systems(root: Path, count: int, names: tuple[str, ...] = ("e2e", "pipeline")) -> list[Path]:
    """Predictions of `count` instances, every fifth with a photo, and attacks among them."""
    for name in names:
        (root / name / "images").mkdir(parents=True)
        lines = []
        for i in range(count):
            texts = {0: ATTACK, 1: SCRIPT, 2: "w" * 400, 3: "كلب على الشاطئ"}
            side: dict[str, Any] = {"text": texts.get(i % 50, f"{name} says {i} in some words")}
            if i % 5 == 0:
                photo = f"images/{i % 200}.png"
                if not (root / name / photo).exists():
                    Image.effect_noise((64, 64), 80).convert("RGB").save(root / name / photo)
                side |= {"photos": [photo], "captions": [f"A thing, number {i}."]}
            gold = {"text": f"what was said {i}", "missing": int(i % 5 == 0)}
            line = {"id": f"d{i // 8}/{1 + i % 8}", "kind": ("chat", "share")[i % 5 == 0]}
            lines.append(line | {"reference": gold, "prediction": side})
        write_lines(root / name / FILE_NAME, lines)
        settings = Settings("bundled", "0", "photoworld", "test", 0, 0.0)
        write_json(root / name / "config.json", asdict(settings))
    return [root / name for name in names]


def talks(self: Any, split: str, count: Any = None) -> list[Dialogue]:
    photo = Photo(Image.new("RGB", (64, 64), "teal"), "A teal square.")
    turns = [Turn("AB"[i % 2], f"turn {i} {ATTACK}", photo if i == 2 else None) for i in range(9)]
    return [Dialogue(tuple(turns), f"d{i}") for i in range(625)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two systems and a run."""
    root = tmp_path_factory.mktemp("report")
    folders = systems(root, 300)
    for step in range(60):
        line = {"step": step, "loss": 2 - step / 60, "tau": 1.0}
        append_line(root / "a-run-with-a-rather-long-name" / "metrics.jsonl", line)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Photoworld, "load", talks)
        found = contents([*folders, root / "a-run-with-a-rather-long-name"], {})
        write_page(root / "report", found, Options(count=300, draws=20))
    return root / "report"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_fits_and_says_nothing(browser: Any, written: Path, width: int, scheme: str) -> None:
    opened = Opened(browser, written, width, scheme)
    opened.page.select_option("#pick", "")
    opened.page.locator("#more").click()
    for button in opened.page.locator(".earlier button").all()[:3]:
        button.click()
    for box in opened.page.locator("details").all():
        box.evaluate("box => box.open = true")
    assert opened.fits()
    assert opened.said == []
    assert opened.elsewhere() == []
    seen = "[...document.images].every(image => !image.src || image.naturalWidth > 0)"
    opened.page.wait_for_function(seen, timeout=10_000)


def test_scripts_in_outputs_stay_text(browser: Any, written: Path) -> None:
    opened = Opened(browser, written)
    opened.page.select_option("#pick", "")
    opened.page.fill("#find", "onerror=document.title")
    opened.page.wait_for_function("document.querySelector('.card')")
    assert opened.page.get_by_text(ATTACK, exact=True).first.is_visible()
    opened.page.fill("#find", "</script><script>")
    opened.page.wait_for_timeout(300)
    assert opened.page.get_by_text(SCRIPT, exact=True).first.is_visible()
    assert opened.page.title() != "lost"
    assert opened.page.locator("img[src=x], .card script").count() == 0


def test_a_script_that_were_there_would_not_run(
    browser: Any, written: Path, tmp_path: Path
) -> None:
    """The policy is the second wall: markup put into the page by hand stays dead."""
    html = (written / "index.html").read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(html.replace("<main", f"{ATTACK}{SCRIPT[9:]}<main"))
    opened = Opened(browser, tmp_path)
    opened.page.wait_for_timeout(200)
    assert opened.page.title() != "lost"
    assert any("Content Security Policy" in text for text in opened.said)


def test_the_gallery_filters_by_type_marks_and_words(browser: Any, written: Path) -> None:
    page = Opened(browser, written).page
    page.select_option("#pick", "")
    page.select_option("#type", "=share")
    assert set(page.locator(".card h3 b").all_text_contents()) == {"share"}
    assert page.locator(".mark.right").count() > 0
    page.select_option("#verdict", "wrong")
    assert page.locator(".card").count() == 0
    assert page.locator("#found").text_content() == "None fits."
    page.select_option("#verdict", "")
    page.fill("#find", "NUMBER 5.")
    page.wait_for_timeout(300)
    assert page.locator(".card").count() <= 1
    page.fill("#find", "nowhere to be found")
    page.wait_for_timeout(300)
    assert page.locator(".card").count() == 0


def test_photos_are_enlarged_by_keyboard(browser: Any, written: Path) -> None:
    page = Opened(browser, written).page
    button = page.locator(".replies button.photo").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog[open] img").get_attribute("src").startswith("data:image/")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert button.evaluate("button => button === document.activeElement")


def test_the_head_of_a_table_stays_in_sight(browser: Any, written: Path) -> None:
    page = Opened(browser, written).page
    page.set_viewport_size({"width": 1440, "height": 300})
    row = page.locator("#scores table").first.locator("tbody tr").nth(6)
    row.evaluate("row => row.scrollIntoView({block: 'end', behavior: 'instant'})")
    top = page.locator("#scores table").first.locator("thead th").nth(1).bounding_box()["y"]
    assert 0 <= top < 300


@pytest.mark.parametrize("count", [240, 5000])
def test_five_thousand_predictions_open_in_two_seconds(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The gallery of its default size, and with every one of them in the page."""
    monkeypatch.setattr(Photoworld, "load", talks)
    folders = systems(tmp_path, 5000)
    write_page(tmp_path / "report", contents(folders, {}), Options(count=count, draws=20))
    fastest = min(Opened(browser, tmp_path / "report").seconds for _ in range(3))
    assert fastest <= 2.0
    opened = Opened(browser, tmp_path / "report")
    shown = opened.page.locator("#found").text_content()
    assert shown.endswith(f"of {5000:,} responses.")
    assert opened.said == [] and opened.elsewhere() == [] and opened.fits()
