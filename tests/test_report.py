"""`pscli report` over anyone's predictions: which are shown, and what was said before them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pscli.cli import app
from pscli.dialogue.schema import Dialogue, Response, Turn
from pscli.errors import DataError
from pscli.files import append_line, write_json
from pscli.photoworld.dataset import Photoworld
from pscli.predictions.folder import FILE_NAME, Prediction
from pscli.predictions.settings import Settings
from pscli.report import sheet as sheets

OWN = """
from pscli.dialogue.schema import Dialogue, Turn
class Mine:
    name, licence, citation, splits = "mine", "none", "none", ("test",)
    def load(self, split, count=None):
        return [Dialogue((Turn("A", "one"), Turn("B", "two")), "d")]
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_dataset", raising=False)
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path / "data"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str, str]]:
    """Context, speaker and reply of each conversation that is drawn."""
    found: list[tuple[list[str], str, str]] = []
    whole = sheets.exchange

    def exchange(before: list[Response], speaker: str, replies: Any, gold: Any) -> Any:
        found.append(([response.text for response in before], speaker, replies[0][0][0]))
        return whole(before, speaker, replies, gold)

    monkeypatch.setattr(sheets, "exchange", exchange)
    return found


def predictions(folder: str, *ids: str, dataset: str = "") -> str:
    for id in ids:
        side = {"text": f"reply {id}"}
        append_line(Path(folder) / FILE_NAME, {"id": id, "reference": side, "prediction": side})
    if dataset:
        settings = Settings("bundled", "0", dataset, "test", 0, 0.0)
        write_json(Path(folder) / "config.json", asdict(settings))
    return folder


def report(*args: str) -> Result:
    return CliRunner().invoke(app, ["report", *args, "--out", "x.png", "--overwrite"])


def test_ids_of_others_are_not_read_as_ours(drawn: list[Any]) -> None:
    """Each is an instance by itself: several are shown, whatever they look like."""
    predictions("plain", *"012345")
    predictions("like-ours", *(f"test/{i}" for i in range(6)))
    Path("like-ours/config.json").write_text('{"dataset": "photochat"}')
    for folder in ("plain", "like-ours"):
        drawn.clear()
        result = report(folder, "--count", "4")
        assert (result.exit_code, result.stderr) == (0, "")
        assert len({reply for _, _, reply in drawn}) == 4
        assert {(tuple(before), speaker) for before, speaker, _ in drawn} == {((), "")}


def test_contexts_of_a_dataset_of_ones_own_are_drawn_if_it_is_named(drawn: list[Any]) -> None:
    Path("own_dataset.py").write_text(OWN)
    predictions("p", "d/1", dataset="own_dataset:Mine")
    result = report("p")
    assert result.exit_code == 0
    assert "Without contexts: they come from 'own_dataset:Mine'" in result.stderr
    assert "--use 'own_dataset:Mine'" in result.stderr
    assert "own_dataset" not in sys.modules
    result = report("p", "--use", "own_dataset:Mine")
    assert (result.exit_code, result.stderr) == (0, "")
    assert drawn == [([], "", "reply d/1"), (["one"], "B", "reply d/1")]


@pytest.mark.parametrize(
    ("dataset", "use", "problem"),
    [
        ("photochat", [], "has no split 'test' of photochat. Fetch it with `pscli fetch"),
        ("gone:Mine", ["--use", "gone:Mine"], "'gone:Mine' cannot be loaded"),
        ("of\x1bold", [], "'of\\x1bold'"),
    ],
)
def test_contexts_that_cannot_be_had_are_told(
    drawn: list[Any], dataset: str, use: list[str], problem: str
) -> None:
    predictions("p", "d/1", dataset=dataset)
    result = report("p", *use)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("Without contexts: ") and problem in result.stderr
    assert "\x1b" not in result.stderr
    assert drawn == [([], "", "reply d/1")]


def test_an_instance_that_the_dataset_lacks_has_no_context(
    drawn: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Dialogue((Turn("A", "one"), Turn("B", "two")), "d")
    monkeypatch.setattr(Photoworld, "load", lambda self, split, count: [talk])
    predictions("p", "d/1", "d/9", "e/1", "f/x", "g/²", "h", dataset="photoworld")
    found = sheets.sheet([Path("p")], 9)
    assert found.width > 0
    assert [(before, speaker) for before, speaker, _ in drawn if before] == [(["one"], "B")]
    assert len(drawn) == 5  # of d, one of the two


@pytest.mark.parametrize(
    ("config", "dev"),
    [
        ('{"train": {"monitor": ["CMMD", "-FID"]}}', ["CMMD", "FID"]),
        ('{"train": {"monitor": [1]}}', []),
        ('{"dataset": "photochat"}', []),
        ("[", []),
        (None, []),
    ],
)
def test_curves_are_those_of_the_losses_and_of_what_the_run_watches(
    monkeypatch: pytest.MonkeyPatch, config: str | None, dev: list[str]
) -> None:
    append_line(Path("r/metrics.jsonl"), {"step": 1})
    if config:
        Path("r/config.json").write_text(config)
    drawn: list[Any] = []
    monkeypatch.setattr(sheets, "loss_plot", lambda *args: drawn.append(args))
    sheets.curves(Path("r"), Path("x.png"))
    assert drawn == [([{"step": 1}], Path("x.png"), dev)]


def test_curves_are_drawn_of_what_is_a_number_and_a_line_needs_its_step() -> None:
    for line in ({"step": 1, "loss": 2.0, "text": "x"}, {"step": 2, "loss": None}):
        append_line(Path("r/metrics.jsonl"), line)
    sheets.curves(Path("r"), Path("x.png"))
    append_line(Path("r/metrics.jsonl"), {"loss": 1.0})
    with pytest.raises(DataError, match=r"metrics.jsonl:3 has no step\. Delete the line"):
        sheets.curves(Path("r"), Path("x.png"))


class Polite:
    """Marks replies that thank."""

    marks = {"polite": "polite tone"}  # noqa: RUF012

    def values(self, predictions: Sequence[Prediction]) -> list[Any]:
        return [SimpleNamespace(polite="thank" in p.prediction.text) for p in predictions]


def test_every_reply_has_its_own_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"text": "Look", "captions": ["A dog."], "missing": 1}
    bare = {"text": "thank you"}
    for name, sides in {"a": (said, bare), "b": (said, said), "c": (bare, said)}.items():
        line = {"id": "d/1", "reference": sides[0], "prediction": sides[1]}
        append_line(Path(name) / FILE_NAME, line)
    found: list[Any] = []
    whole = sheets.exchange
    monkeypatch.setattr(sheets, "exchange", lambda *args: found.append(args[2]) or whole(*args))
    sheets.sheet([Path("a"), Path("b"), Path("c")], 1, judges=[Polite()])
    assert [marks for _, marks in found[0]] == [
        {"no photo": False, "polite tone": True},
        {"photo sent": True, "polite tone": False},
        {"photo sent": False, "polite tone": False},
    ]


class After:
    """Marks a reply by what was predicted before it in its dialogue."""

    marks = {"after": "after"}  # noqa: RUF012

    def values(self, predictions: Sequence[Prediction]) -> list[Any]:
        ids = {p.id for p in predictions}
        return [SimpleNamespace(after={"d/1", p.id} <= ids or None) for p in predictions]


def test_marks_are_those_of_the_whole_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions("p", "d/1", "d/2")
    found: list[Any] = []
    whole = sheets.exchange
    monkeypatch.setattr(sheets, "exchange", lambda *args: found.append(args[2]) or whole(*args))
    monkeypatch.setattr(sheets, "choose", lambda *_, **__: ["d/2"])
    sheets.sheet([Path("p")], 1, judges=[After()])
    assert [marks for _, marks in found[0]] == [{"after": True}]


def test_a_picture_shows_what_stood_in_the_context(
    drawn: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Dialogue(
        (Turn("A", "one"), Turn("B", "two"), Turn("A", "three"), Turn("B", "four")), "d"
    )
    monkeypatch.setattr(Photoworld, "load", lambda self, split, count: [talk])
    monkeypatch.setattr(sheets, "choose", lambda *_, **__: ["d/3"])
    predictions("p", "d/1", dataset="photoworld")
    side = {"text": "x"}
    line = {"id": "d/3", "reference": side, "prediction": side, "history": {"1": []}}
    append_line(Path("p", FILE_NAME), line)
    sheets.sheet([Path("p")], 1)
    assert drawn == [(["one", "reply d/1", "three"], "B", "x")]


def test_a_picture_is_not_replaced_unasked() -> None:
    predictions("p", "d/1")
    append_line(Path("r/metrics.jsonl"), {"step": 1, "loss": 2.0})
    Path("x.png").write_text("theirs")
    for args in (["p"], ["r"], ["p", "--photos", "3"]):
        result = CliRunner().invoke(app, ["report", *args, "--out", "x.png"])
        assert result.exit_code == 2
        assert "x.png exists already." in result.stderr and "--overwrite" in result.stderr
    assert Path("x.png").read_text() == "theirs"
    assert report("p").exit_code == 0
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "idle"),
    [
        (["p", "--clip", "x", "--device", "cpu", "--draws", "9"], "--clip, --device, --draws"),
        (["p", "--extractor", "photoworld", "--seed", "1"], "--seed, --extractor"),
        (["p", "--inception-weights", "x.pt"], "--inception-weights"),
        (["r", "--count", "3", "--kind", "look", "--use", "a:b"], "--count, --kind, --use"),
        (["r", "--metric", "a:b", "--force", "--seed", "0"], "--seed, --metric, --force"),
        (["p", "--photos", "3", "--count", "3", "--use", "a:b"], "--count, --use"),
        (["p", "--photos", "3", "--draws", "9", "--force"], "--draws, --force"),
    ],
)
def test_what_a_picture_does_not_read_is_refused(args: list[str], idle: str) -> None:
    predictions("p", "d/1")
    append_line(Path("r/metrics.jsonl"), {"step": 1, "loss": 2.0})
    result = report(*args)
    said = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2 and "does not read it. Leave it out." in said
    assert f" {idle}: " in said
    assert not Path("x.png").exists()
