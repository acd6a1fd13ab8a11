"""The report's page: what it says, what it takes from whom, and that no output becomes markup."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pscli.cli import app
from pscli.console import plain
from pscli.dialogue.schema import Dialogue, Photo, Truth, Turn
from pscli.errors import DataError
from pscli.files import append_line, write_json
from pscli.metrics.base import Score, Scored
from pscli.metrics.compare import Difference
from pscli.metrics.score import Scores, valued
from pscli.metrics.text import Text
from pscli.photoworld.dataset import Photoworld
from pscli.predictions.folder import FILE_NAME, Prediction, Side, read_predictions
from pscli.predictions.generate import fingerprint
from pscli.predictions.settings import Settings
from pscli.report.columns import contents
from pscli.report.curves import smoothed
from pscli.report.page import embedded
from pscli.report.page_curves import curves
from pscli.report.page_gallery import choose, figures, marks, thumbnail
from pscli.report.page_tables import PAPER, headline, sections
from pscli.report.page_tables import marks as drawn_marks
from pscli.report.page_worst import picked, sunk
from pscli.report.page_worst import table as worst_table
from pscli.report.table import tables

ATTACKS = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; \" ' ` \\u003c",
    "right \u202e left \u2066 isolated",
    "\x1b[31m\x00\x07\u2028\u2029",
    "x" * 3000,
    "狗在海边 كلب على الشاطئ समुद्र तट पर कुत्ता",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def predictions(folder: str, replies: dict[str, str], gold: str = "a dog", **more: Any) -> str:
    for id, text in replies.items():
        sides = {"reference": {"text": gold}, "prediction": {"text": text}}
        append_line(Path(folder) / FILE_NAME, {"id": id, **sides, **more})
    return folder


def run(folder: str, steps: int = 3, **values: float) -> str:
    write_json(Path(folder) / "config.json", {"train": {"monitor": ["BLEU-2", "-FID"]}})
    for step in range(steps):
        append_line(Path(folder) / "metrics.jsonl", {"step": step, "loss": 1 / (1 + step)})
    append_line(Path(folder) / "metrics.jsonl", {"step": steps, "BLEU-2": 3.0, **values})
    return folder


def made_by(agent: str, folder: str, split: str = "test", **how: Any) -> str:
    settings = Settings(agent, "0", "photoworld", split, 0, 0.0)
    settings = replace(settings, **how)
    write_json(Path(folder) / "config.json", asdict(settings))
    return folder


def report(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, args)])


def page_of(*args: str | Path) -> str:
    result = report(*args, "--out", "r", "--draws", "20", "--overwrite")
    assert result.exit_code == 0, result.output
    assert result.stdout == "r/index.html\n"
    return Path("r/index.html").read_text(encoding="utf-8")


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each script, style and cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._open in self.blocks:
            self.blocks[self._open].append(data)

    def shown(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


def data_of(html: str) -> Any:
    return json.loads(Parsed(html).blocks["script"][0])


# ---------------------------------------------------------------------------- attacks


@pytest.fixture
def attacked() -> str:
    """A page of which every text that a folder can hold is an attack."""
    for name in ("<b>&amp;'", "b"):
        for number, attack in enumerate(ATTACKS):
            kind = "".join(c for c in attack if c.isprintable())
            side = {"text": attack, "captions": [attack], "missing": 1, "notes": [attack]}
            line = {"id": f"{attack}/{number}", "kind": kind, "reference": side}
            append_line(Path(name) / FILE_NAME, line | {"prediction": side})
        settings = Settings(ATTACKS[0], ATTACKS[1], ATTACKS[0], "test", 0, 0.0)
        write_json(Path(name) / "config.json", asdict(settings))
    run("<i>run")
    return page_of("<b>&amp;'", "--group", "</td><svg/onload>=b", "<i>run")


def test_outputs_stay_text(attacked: str) -> None:
    parsed = Parsed(attacked)
    names = {name for name, _ in parsed.tags}
    assert not names & {"iframe", "object", "embed", "base", "b"}
    assert [name for name, _ in parsed.tags].count("script") == 2
    assert sum(name == "img" and "src" in attrs for name, attrs in parsed.tags) == 2  # curves
    for _, attrs in parsed.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs)
        for name in ("src", "srcset", "href", "action"):
            assert str(attrs.get(name, "#")).startswith(("#", "data:"))
    assert "49" not in parsed.shown()  # no template within a template
    assert "<img src=x onerror=alert(1)>" in parsed.shown()


def test_control_characters_and_turned_writing_are_spelt_out(attacked: str) -> None:
    assert not set(attacked) & set(map(chr, [0, 7, 0x1B, 0x202E, 0x2066, 0x2028]))
    texts = {part for row in data_of(attacked)["instances"] for part in row["gold"][:1]}
    assert texts == {plain(attack) for attack in ATTACKS}
    assert r"right \u202e left" in "".join(texts)


def test_the_policy_names_the_pages_own_script_and_style(attacked: str) -> None:
    parsed = Parsed(attacked)
    (policy,) = (a["content"] for _, a in parsed.tags if a.get("http-equiv"))
    assert policy is not None
    for name, block in (("script", parsed.blocks["script"][1:]), ("style", parsed.blocks["style"])):
        digest = hashlib.sha256("".join(block).encode()).digest()
        assert f"{name}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_a_script_block_cannot_be_ended_from_within() -> None:
    value = {"</script>": ["<!--", "]]>", "\u2028", "&", 1, None, {"a": ("b",)}]}
    text = embedded(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"</script>": ["<!--", "]]>", "\u2028", "&", 1, None, {"a": ["b"]}]}


def test_photos_are_written_anew_and_small(tmp_path: Path) -> None:
    big, little = tmp_path / "big.png", tmp_path / "little.png"
    Image.new("RGB", (900, 300), "red").save(big)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(little)
    with little.open("ab") as file:
        file.write(b"<script>alert(1)</script>")

    def read(path: Path) -> Image.Image:
        head, _, data = thumbnail(Photo(path)).partition(",")
        assert re.fullmatch(r"data:image/(png|jpeg);base64", head)
        assert b"script" not in base64.b64decode(data)
        return Image.open(io.BytesIO(base64.b64decode(data)))

    assert (read(big).size, read(big).format) == ((320, 107), "JPEG")
    assert np.array_equal(np.asarray(read(little)), pixels)  # as it was, to the bit


# ---------------------------------------------------------------------------- what it says


def test_the_papers_table_is_in_the_papers_convention() -> None:
    """Against the authors' text metric on its own."""
    for name in ("a", "b"):
        predictions(name, {"d/1": "a dog", "d/2": f"the dog {name}"}, "the dog is here")
    shown = Parsed(page_of("a", "b")).shown()
    metric = Text("authors")
    found = metric.scores([v for v in metric.values(read_predictions(Path("b"))) if v])
    for score in found.scores:
        assert f"{score.value:.2f}" in shown
    for rows in PAPER.values():
        for values in rows.values():
            assert all(value.split()[0] in shown for value in values)
    assert "not comparable" in shown


def test_the_papers_rows_of_the_same_data_stand_alone() -> None:
    ours = [("a", Scores(3, Scored((Score("BLEU-1 (individual)", 1.5, 3, "x", "higher"),))))]
    images = [("a", Scores(3, Scored((Score("FID-Net", 9.25, 2, "x", "lower", count="2/3"),))))]
    table = headline(ours, images, "photochat", "Here")
    assert [part.title for part in table.parts] == ["Here", "Guo et al. (2024), PhotoChat"]
    assert not table.apart
    (row,) = table.parts[0].rows
    told = [(cell.value, cell.count) if cell else None for cell in row.cells]
    assert told == [("1.50", ""), None, None, None, ("9.25", "2/3")]
    end_to_end = table.parts[1].rows[-1]
    assert [cell and cell.value for cell in end_to_end.cells] == [
        "12.08", "2.94", "11.00", "14.47", "75.88",
    ]  # fmt: skip
    assert end_to_end.cells[3] and end_to_end.cells[3].spread == "± 0.94"
    assert headline(ours, images, "photoworld", "Here").apart


def test_tables_come_by_type_and_whatever_else_is_scored() -> None:
    def scored(value: float) -> Scored:
        return Scored((Score("x", value, 4, "how", "higher", interval=(value - 1, value + 1)),))

    kinds = {"gold captions": scored(1), "look": scored(2), "chat": scored(3)}
    systems = [("a", Scores(9, scored(4), kinds, dict.fromkeys(kinds, 4)))] * 2
    found = sections(tables(systems, by_type=True))
    assert [t.title for t in found] == ["all responses", "chat", "look", "gold captions"]
    (row,) = found[0].rows
    assert [(c.value, c.spread, c.count) for c in row.cells if c] == [
        ("4.00", "[3.00,\u00a05.00]", "4")
    ] * 2
    (row,) = found[1].rows
    assert [c.count for c in row.cells if c] == ["", ""]  # n of the whole section


def test_bold_and_p_are_those_of_the_comparison() -> None:
    score = Score("x", 4.0, 9, "how", "higher")
    systems = [("a", Scores(9, Scored((score,)))), ("b", Scores(9, Scored((score,))))]
    apart = Difference("x", 0, 1, -0.5, "higher", 9, "how", (-0.75, -0.25), p=0.01)
    (section,) = sections(tables(systems, [apart]))
    (row,) = section.rows
    assert section.apart and row.apart
    assert (row.apart.value, row.apart.spread) == ("−0.50", "[-0.75,\u00a0-0.25] p=0.010")
    assert [cell.best for cell in row.cells if cell] == [True, False]
    (section,) = sections(tables(systems))
    assert not section.apart and not any(cell.best for cell in section.rows[0].cells if cell)


def test_steps_of_one_agent_are_a_ladder_and_rollouts_go_by_turn() -> None:
    """Every reply of the gold history is right, and in the rollout those of the first two."""
    gold = {f"d/{i}": "a dog" for i in range(1, 5)}
    steps = {"own": ("predicted", "gold"), "fed": ("gold", "gold"), "rolled": ("predicted", "own")}
    for name, (captions, history) in steps.items():
        late = {"d/3": "x", "d/4": "x"} if name == "rolled" else {}
        settings = Settings("r", "0", "photoworld", "test", 0, 0.0)
        settings = replace(settings, captions=captions, history=history)
        write_json(Path(predictions(name, gold | late)) / "config.json", asdict(settings))
    html = page_of(*steps)
    shown = Parsed(html).shown()
    assert "own, step by step" in shown and "own, by number of the response" in shown
    table = html[html.index("by number of the response") :]
    assert re.findall(r"<th scope=.col.>(\d[^<]+)", table) == [
        "1–2, gold history", "1–2, rollout", "3–4, gold history", "3–4, rollout",
    ]  # fmt: skip
    row = table[table.index("BLEU-2") : table.index("</tr>", table.index("BLEU-2"))]
    assert re.findall(r"value.>([^<]+)", row) == ["100.00", "100.00", "100.00", "0.00"]
    heads = re.findall(r"<th scope=.col.>([^<]+)", html[html.index("own, step by step") :])
    assert heads[:3] == ["gold captions", "its own captions", "rollout"]
    assert "predictions of fed |captions:gold" in shown
    assert 'id="ladders"' not in page_of("own")
    rolled = Settings("r", "0", "photoworld", "test", 0, 0.0, history="own")
    for more in ({"best_of": 4}, {"temperature": 1.0}, {"share_bias": 0.5}, {"split": "dev"}):
        write_json(Path("rolled/config.json"), asdict(replace(rolled, **more)))  # type: ignore[arg-type]
        assert 'id="ladders"' not in page_of("own", "rolled", "--force"), more


def test_figures_of_a_row_are_drawn_on_one_scale() -> None:
    one = Score("x", 4.0, 1, "", None, interval=(0.0, 8.0))
    two = Score("x", 6.0, 1, "", None, deviation=2.0)
    first, second, none = drawn_marks([one, two, None])
    assert first and second and none is None
    assert (first.low, first.at, first.high) == (4.0, 60.0, 116.0)
    assert (second.low, second.at, second.high) == (60.0, 88.0, 116.0)
    assert drawn_marks([one, None]) == []
    flat = Score("x", 1.0, 1, "", None)
    assert drawn_marks([flat, flat]) == []


def test_seeds_are_one_column_with_their_deviation() -> None:
    """Hand count: of a reply whose first word or two are right of three, BLEU-1 is 1/3 or 2/3."""
    predictions("s0", {"d/1": "a x y"}, "a b c")
    predictions("s1", {"d/1": "a b y"}, "a b c")
    shown = Parsed(page_of("--group", "mine=s0,s1")).shown()
    assert "50.00± 23.57" in shown  # mean and sample deviation of 33.3 and 66.7
    assert "Of several seeds the first is shown." in shown


# ---------------------------------------------------------------------------- gallery


def test_right_and_wrong_are_marked_where_the_truth_is_known() -> None:
    look = Truth("look", about="count", answer="three")
    some = [
        Prediction("d/1", "look", Side("Three."), Side("There are three."), look),
        Prediction("d/2", "look", Side("Three."), Side("There are two."), look),
        Prediction("d/3", "share", Side(missing=1), Side("no"), None),
        Prediction("d/4", "chat", Side("x"), Side("y", missing=1), None),
        Prediction("d/5", "chat", Side("x"), Side("y"), None),
    ]

    class Own:
        marks = {"good": "fine", "other": "lacking"}  # noqa: RUF012

        def values(self, predictions: Any) -> list[Any]:
            return [type("V", (), {"good": p.id == "d/1"})() for p in predictions]

    from pscli.photoworld.metrics import Answers

    metrics: Any = {"answers": Answers(), "own": Own()}
    found = marks(valued(some, metrics), metrics)
    assert found["d/1"] == [("answer", True), ("fine", True)]
    assert found["d/2"] == [("answer", False), ("fine", False)]
    assert found["d/3"] == [("no photo", False), ("fine", False)]
    assert found["d/4"] == [("photo sent", False), ("fine", False)]
    assert found["d/5"] == [("fine", False)]
    worth = figures(some, found)
    assert worth["d/3"] == 0.0  # no text to compare with, and both marks wrong
    assert worth["d/1"] > worth["d/2"]


def test_the_gallery_takes_best_median_worst_and_furthest_apart() -> None:
    """Hand-made figures: 0, 1, …, 9 of one system; the other differs at one instance."""
    some = [Prediction(f"d/{i}", None, Side("x"), Side("y")) for i in range(10)]
    one = {p.id: float(i) for i, p in enumerate(some)}
    two = one | {"d/3": 3.5}
    choice = choose(some, [one, two], 5, seed=0)
    reasons = {reason: id for id, some in choice.picks.items() for reason in some}
    assert (reasons["best"], reasons["worst"], reasons["apart"]) == ("d/9", "d/0", "d/3")
    assert reasons["median"] in ("d/4", "d/5")
    assert choice.each == 1 and choice.total == 10 and len(choice.picks) <= 5
    assert choose(some, [one, two], 5, seed=0) == choice
    assert len({str(choose(some, [one], 5, seed).picks) for seed in range(9)}) > 1
    everything = choose(some, [one], 10, seed=0)
    assert list(everything.picks) == [p.id for p in some]
    assert all("apart" not in reasons for reasons in everything.picks.values())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 20, 21, 34])
def test_the_gallery_holds_no_more_than_was_asked_for(count: int) -> None:
    """Oracle: by hand, of five types and as many of them as there is room for."""
    some = [Prediction(f"{i}/1", "abcde"[i % 5], Side("x"), Side("y")) for i in range(100)]
    one = {p.id: float(i) for i, p in enumerate(some)}
    two = {p.id: float(-i * i) for i, p in enumerate(some)}
    choice = choose(some, [one, two], count, seed=0)
    assert len(choice.picks) == min(count, len(choose(some, [one, two], 35, seed=0).picks))
    kinds = [p.kind for p in some if p.id in choice.picks]
    assert len(set(kinds)) == min(count, 5)
    told = [reason for reasons in choice.picks.values() for reason in reasons]
    assert choice.worst == min(told.count("of-0"), told.count("of-1"))


def test_the_dialogues_that_each_system_does_worst_on() -> None:
    """Oracle: by hand. Means of a: d 0.5, e 0.4, f 0.9; of b: d 0.2, e 0.8, f 0.2."""
    ids = ["d/1", "d/2", "e/1", "f/1", "f/2"]
    some = [Prediction(id, None, Side("x"), Side("y")) for id in ids]
    a = dict(zip(ids, [0.8, 0.2, 0.4, 1.0, 0.8], strict=True))
    b = dict(zip(ids, [0.3, 0.1, 0.8, 0.0, 0.4], strict=True))
    found = sunk(some, [a, b])
    assert [[one.dialogue for one in system] for system in found] == [["e", "d", "f"],
                                                                      ["d", "f", "e"]]  # fmt: skip
    assert found[0][1].figures == pytest.approx((0.5, 0.2))
    assert picked(found[0], 2) == ["e/1", "d/2"]  # of a dialogue the worst reply first
    assert picked(found[1], 9) == ["d/2", "d/1", "f/1", "f/2", "e/1"]
    assert worst_table(["a", "b"], [found[0][:1], found[1][:1]])[1:] == [
        ["a", "e", "1", "40.0", "80.0"], ["b", "d", "2", "50.0", "20.0"],
    ]  # fmt: skip


def test_worst_dialogues_stand_side_by_side_on_the_page() -> None:
    """Oracle: one system errs in one dialogue alone, the other in another."""
    right = {f"{name}/{k}": "a dog" for name in "abcd" for k in (1, 2)}
    predictions("one", right | {"c/1": "x", "c/2": "x"})
    predictions("two", right | {"a/2": "x"})
    html = page_of("one", "two")
    assert "Where each does worst" in Parsed(html).shown()
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition('id="worst"')[2].partition("</table>")[0])
    told = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert told[1] == ["one", "c", "2", "0.0", "100.0"]
    assert told[4] == ["two", "a", "2", "100.0", "50.0"]
    data = data_of(html)
    assert ["of-1", "worst dialogues of two"] in data["picks"]
    shown = {row["id"]: row for row in data["instances"] if "of-0" in row["picks"]}
    assert {"c/1", "c/2"} <= set(shown)
    assert [reply["parts"] for reply in shown["c/1"]["replies"]] == [["x"], ["a dog"]]


def test_contexts_and_photos_are_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Image.new("RGB", (8, 8), "blue")
    turns = (
        Turn("A", "one"),
        Turn("B", "two", photo=Photo(photo, "c")),
        Turn("A", "three"),
        Turn("B", "four"),
    )
    monkeypatch.setattr(Photoworld, "load", lambda self, split, count: [Dialogue(turns, "d")])
    for name in ("a", "b"):
        made_by("bundled", predictions(name, {"d/2": "r2", "d/3": "r3", "e/1": "r"}))
    data = data_of(page_of("a", "b"))
    assert data["systems"] == ["a", "b"]
    (dialogue,) = data["dialogues"].values()
    assert [m["speaker"] for m in dialogue] == ["A", "B", "A"]
    assert dialogue[1]["parts"] == ["two", {"caption": "c", "photo": 0}]
    assert len(data["photos"]) == 1 and data["photos"][0].startswith("data:image/png;base64,")
    before = {row["id"]: (row["before"], row["speaker"]) for row in data["instances"]}
    assert before == {"d/2": (2, "A"), "d/3": (3, "B"), "e/1": (0, "")}


def test_what_stood_in_a_context_is_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a rollout its own words, of drawn photos these; and no truth that is the script's."""
    colours = ["blue", "red", "green"]
    for name, colour in zip(("gold", "drawn", "own"), colours, strict=True):
        Path(name).mkdir()
        Image.new("RGB", (8, 8), colour).save(f"{name}/x.png")
    gone = Photo("gold/x.png", "gone", missing=True)
    turns = (
        Turn("A", "one", photo=gone),
        Turn("A", "and", photo=Photo("gold/x.png", "c")),
        Turn("B", "two"),
        Turn("A", "three"),
        Turn("B", "four"),
    )
    monkeypatch.setattr(Photoworld, "load", lambda self, split, count: [Dialogue(turns, "d")])
    truth = {"kind": "look", "about": "count", "answer": "three"}
    stood = {"gold": {}, "drawn": {"0": ["x.png"]}, "own": {"1": ["x.png"], "7": []}}
    for name, history in stood.items():
        how = {"1": "r1", "2": "r2"} if name == "own" else {}
        for number, text in how.items():
            side = {"text": text, "captions": ["mine"], "photos": ["x.png"] * (number == "1")}
            line = {"id": f"d/{number}", "reference": {"text": "a dog"}, "prediction": side}
            append_line(Path(name, FILE_NAME), line)
        made_by("bundled", predictions(name, {"d/3": "r3"}, truth=truth, history=history),
                history=name)  # fmt: skip

    def shown(*folders: str) -> tuple[list[Any], str]:
        data = data_of(page_of(*folders))
        (row,) = (row for row in data["instances"] if row["id"] == "d/3")
        messages = data["dialogues"][row["dialogue"]][: row["before"]]
        image = [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
                 for uri in data["photos"]]  # fmt: skip
        return [
            part if isinstance(part, str) else (part["caption"], *(
                (image[part["photo"]].getpixel((0, 0)),) if "photo" in part else ()))
            for message in messages for part in message["parts"]
        ], row["truth"]  # fmt: skip

    blue, red, green = ((0, 0, 255), (255, 0, 0), (0, 128, 0))
    said = ["one", ("gone",), "and", ("c", blue), "two", "three"]
    told = "What was said before stands as it stood in the context"
    assert shown("gold") == (said, "right is count: three")
    assert told not in Parsed(page_of("gold")).shown()
    assert shown("drawn") == ([*said[:3], ("c", red), *said[4:]], "")
    assert shown("own") == ([*said[:4], "r1", ("mine", green), "three"], "")
    assert shown("gold", "own") == (said, "")
    assert f"{told} of gold." in Parsed(page_of("gold", "own")).shown()


def test_the_page_says_how_many_it_shows_and_takes_types(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions("a", {f"d/{i}": f"{i}" for i in range(40)}, kind="look")
    predictions("a", {f"e/{i}": f"{i}" for i in range(40)}, kind="chat")
    html = page_of("a", "--count", "16", "--kind", "chat")
    data = data_of(html)
    assert data["total"] == 40 and data["kinds"] == ["chat"]
    assert 4 <= len(data["instances"]) <= 16
    assert f"(seed 0): {len(data['instances'])} of 40 responses" in Parsed(html).shown()


def test_a_type_that_there_is_none_of_is_refused_before_anything_is_scored() -> None:
    predictions("a", {"d/1": "x"}, kind="look")
    predictions("b", {"d/1": "x"}, kind="chat")
    predictions("c", {"d/1": "x"})
    for out in ("r", "x.png"):
        result = report("a", "b", "--kind", "look", "--kind", "nope", "--out", out)
        assert (result.exit_code, result.stdout) == (2, "")
        said = " ".join(result.stderr.split())
        assert "No prediction is of the type 'nope'. Known: chat, look." in said
        assert not Path(out).exists()
    result = report("c", "--kind", "look", "--out", "x.png")
    assert result.exit_code == 2 and "None has a type: leave out --kind." in result.stderr


@pytest.mark.parametrize("out", ["file/r", "file/deep/x.png", "shut/r", "shut/deep/x.png"])
def test_what_cannot_be_written_is_refused_before_anything_is_read(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").touch()
    Path("shut").mkdir()
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place).name != "shut")
    result = report("gone", "--out", out)
    assert (result.exit_code, result.stdout) == (2, "")
    said = " ".join(result.stderr.split())
    assert f"{out} cannot be written: " in said and "Name another --out." in said
    assert ("is no folder" in said) is out.startswith("file")


def test_the_root_is_no_place_for_a_report() -> None:
    """It has no folder above it that could be looked at."""
    predictions("a", {"d/1": "x"})
    result = report("a", "--out", "/")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "/ exists already." in result.stderr


def test_systems_without_a_common_instance_have_no_gallery() -> None:
    predictions("a", {"d/1": "x"})
    predictions("b", {"d/2": "x"})
    html = page_of("a", "b")
    assert "share no instance" in html and 'id="gallery"' not in html


# ---------------------------------------------------------------------------- runs


def test_a_run_stands_beside_the_predictions_of_its_agent() -> None:
    run("runs/x")
    made_by("runs/x", predictions("p", {"d/1": "a"}))
    found = contents([Path("p")], {})
    assert found.runs == {"p": [Path("runs/x")]}
    made_by(str(Path("runs/x/agent").resolve()), "p")
    found = contents([Path("p"), Path("runs/x")], {})
    assert [(c.name, c.folders) for c in found.columns] == [("p", (Path("p"),))]
    assert [(name, [r.name for r in some]) for name, some in found.runs.items()] == [("p", ["x"])]
    assert found.notes == []


def test_a_run_alone_brings_its_own_predictions() -> None:
    run("runs/x")
    assert contents([Path("runs/x")], {}).columns == []
    for step in ("step-000010", "step-000020"):
        made_by("runs/x", predictions(f"runs/x/samples/{step}", {"d/1": "a"}), "dev")
    found = contents([Path("runs/x")], {})
    assert found.columns[0].folders == (Path("runs/x/samples/step-000020"),)
    assert "step-000020, of dev" in found.notes[0]
    predictions("other", {"d/1": "a"})  # of the test split: not to be mixed with dev
    found = contents([Path("runs/x"), Path("other")], {})
    assert [column.name for column in found.columns] == ["other"]
    assert found.runs == {"x": [Path("runs/x")]}
    made_by("runs/x", predictions("preds/x", {"d/1": "a"}))
    found = contents([Path("runs/x")], {})
    assert [(c.name, c.folders) for c in found.columns] == [("x", (Path("preds/x"),))]


def test_a_run_that_was_trained_anew_leaves_its_former_predictions() -> None:
    """Oracle: the fingerprint that `generate` writes."""
    run("runs/x")
    write_json(Path("runs/x/agent/agent_config.json"), {"system": "e2e"})
    made_by("runs/x", predictions("runs/x/samples/step-000010", {"d/1": "a"}), "dev",
            weights="step 10")  # fmt: skip
    new = fingerprint(Path("runs/x/agent"))
    made_by("runs/x/agent", predictions("preds/x", {"d/1": "a"}), weights=new)
    found = contents([Path("runs/x")], {})
    assert found.columns[0].folders == (Path("preds/x"),)
    assert contents([Path("preds/x")], {}).runs == {"x": [Path("runs/x")]}
    write_json(Path("runs/x/agent/agent_config.json"), {"system": "tiger"})
    told = "preds/x: runs/x holds another agent than the one that made them."
    found = contents([Path("preds/x")], {})
    assert found.runs == {} and found.notes == [told]
    found = contents([Path("preds/x"), Path("runs/x")], {})
    assert [column.folders for column in found.columns] == [(Path("preds/x"),)]
    assert found.runs == {"runs/x": [Path("runs/x")]} and found.notes[0] == told
    found = contents([Path("runs/x")], {})
    assert found.columns[0].folders == (Path("runs/x/samples/step-000010"),)
    assert found.runs == {"x": [Path("runs/x")]} and found.notes[0] == told
    assert told in Parsed(page_of("runs/x")).shown()


def test_a_run_is_no_seed_of_a_system_that_has_its_name_by_chance() -> None:
    run("runs/new/x")
    run("runs/old/x")
    made_by("runs/new/x", predictions("preds/x", {"d/1": "a"}))
    found = contents([Path("preds/x"), Path("runs/old/x")], {})
    assert [column.name for column in found.columns] == ["x"]
    assert found.runs == {"x": [Path("runs/new/x")], "runs/old/x": [Path("runs/old/x")]}
    run("x")
    found = contents([Path("preds/x"), Path("x")], {})
    assert found.runs == {"x": [Path("runs/new/x")], str(Path("x").resolve()): [Path("x")]}


def test_two_runs_of_one_name_are_two_systems() -> None:
    run("runs/a/x")
    run("runs/b/x")
    predictions("preds/y", {"d/1": "a"})
    both = [Path("runs/a/x"), Path("runs/b/x")]
    found = contents([Path("preds/y"), *both], {})
    assert found.runs == {str(path): [path] for path in both}


def test_a_run_that_was_moved_keeps_its_own_predictions() -> None:
    run("runs/new/x")
    made_by("runs/x", predictions("runs/new/x/samples/step-000010", {"d/1": "a"}), "dev")
    found = contents([Path("runs/new/x")], {})
    assert [column.name for column in found.columns] == ["x"]
    assert found.runs == {"x": [Path("runs/new/x")]}
    found = contents([], {"g": [Path("runs/new/x")]})
    assert found.runs == {"g": [Path("runs/new/x")]}


def test_a_run_of_a_group_is_drawn_under_the_groups_name() -> None:
    """Also one that has no predictions."""
    run("runs/x")
    run("runs/y")
    made_by("runs/y", predictions("preds/y", {"d/1": "a"}))
    found = contents([], {"x": [Path("runs/x"), Path("preds/y")]})
    assert found.runs == {"x": [Path("runs/y"), Path("runs/x")]}


def test_seeds_of_a_group_share_a_name() -> None:
    for seed in "01":
        run(f"runs/x{seed}")
        made_by(f"runs/x{seed}", predictions(f"p{seed}", {"d/1": "a"}))
    found = contents([], {"x": [Path("p0"), Path("p1")]})
    assert found.runs == {"x": [Path("runs/x0"), Path("runs/x1")]}
    with pytest.raises(DataError, match="p0 is named twice"):
        contents([Path("p0")], {"x": [Path("p0")]})
    with pytest.raises(DataError, match="Two systems are called 'p0'"):
        contents([Path("p0")], {"p0": [Path("p1")]})


def test_smoothing_is_a_centred_mean() -> None:
    """Against numpy's convolution in the middle; a line stays a line to its ends."""
    values = np.random.default_rng(0).normal(size=50)
    middle = np.convolve(values, np.ones(7) / 7, "valid")
    assert smoothed(list(values), 7)[3:-3] == pytest.approx(list(middle))
    assert smoothed([2.0 * i for i in range(20)], 9) == pytest.approx([2.0 * i for i in range(20)])
    assert smoothed([1.0, 5.0], 1) == [1.0, 5.0]


def test_curves_show_losses_and_every_dev_score() -> None:
    run("x", steps=80, FID=5.0)
    run("y", steps=3)
    found = curves({"x": [Path("x")], "y": [Path("y")]}, ["x", "y"])
    assert [f.name for f in found.figures] == ["loss", "BLEU-2", "FID"]
    assert found.window == "1 or 9 steps"
    for figure in found.figures:
        light, dark = (Image.open(io.BytesIO(data)) for data in (figure.light, figure.dark))
        assert light.size == dark.size
        assert light.getpixel((0, 0))[0] > 200 and dark.getpixel((0, 0))[0] < 60


def test_figures_lie_beside_the_page_as_png() -> None:
    run("x")
    html = page_of("x")
    assert Image.open("r/figures/loss.png").format == "PNG"
    data = base64.b64encode(Path("r/figures/loss.png").read_bytes()).decode()
    assert f"data:image/png;base64,{data}" in html


# ---------------------------------------------------------------------------- the command


def test_a_report_is_not_replaced_unasked() -> None:
    predictions("a", {"d/1": "x"})
    page_of("a")
    result = report("a", "--out", "r")
    assert result.exit_code == 2 and "r exists already" in result.stderr
    assert report("a", "--out", "r", "--overwrite").exit_code == 0
    Path("other").mkdir()
    Path("other/thesis.tex").touch()
    result = report("a", "--out", "other", "--overwrite")
    assert result.exit_code == 2 and "it has no index.html" in result.stderr
    assert sorted(p.name for p in Path("other").iterdir()) == ["thesis.tex"]
    Path("other/index.html").write_text("<title>Photo-sharing dialogue, by pscli</title>")
    result = report("a", "--out", "other", "--overwrite")
    assert result.exit_code == 2 and "its index.html is not one of ours" in result.stderr
    assert (Path("other") / "thesis.tex").exists()


def test_the_folder_where_one_is_is_no_place_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is told before anything is read."""
    run("x")
    page_of("x")
    monkeypatch.chdir("r")
    result = report("gone", "--out", ".", "--overwrite")
    assert result.exit_code == 2 and ". cannot be replaced: you are in it." in result.stderr
    assert Path("index.html").is_file()


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--out", "r"], "name at least one folder"),
        (["a", "--out", "x.html"], "Expected a folder for its page"),
        (["a", "--out", "x.png", "--group", "g=a"], "A picture has no place for --group g"),
        (["none", "--out", "r"], "none has no predictions.jsonl"),
        (["a", "--metric", "gone:It", "--out", "r"], "'gone:It' cannot be loaded"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(args: list[str], parts: str) -> None:
    predictions("a", {"d/1": "x"})
    result = report(*args)
    assert result.exit_code == 2, result.output
    assert parts in re.sub(r"[\s│]+", " ", result.stderr)
    assert not Path("r").exists()
