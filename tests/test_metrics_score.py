"""A whole folder scored, overall and per instance type, and the table of systems."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from pscli.dialogue.schema import Photo
from pscli.errors import ConfigError
from pscli.files import append_line
from pscli.metrics.score import REAL, Scores, score_folder
from pscli.photoworld import judge
from pscli.photoworld.details import GRID
from pscli.photoworld.scene import COLOURS, KINDS, LIGHTS, SETTINGS
from pscli.predictions.folder import FILE_NAME
from pscli.report.table import left_out, shown, signatures, tables


class Blind(nn.Module):
    """Sees an apple of the first colour in the first setting, whatever the photo shows."""

    name, side = "blind", 64

    def grid(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), *GRID, GRID[1])

    def decided(self, images: Tensor) -> SimpleNamespace:
        kinds = torch.zeros(len(images), len(KINDS), 1 + len(COLOURS))
        kinds[..., 0] = 1
        kinds[:, 0, 1] = 2
        settings = torch.zeros(len(images), len(SETTINGS))
        settings[:, 0] = 1
        lights = torch.zeros(len(images), len(LIGHTS))
        return SimpleNamespace(kinds=kinds, settings=settings, lights=lights)

    def features(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3)) / 127.5 - 1

    def logits(self, features: Tensor) -> Tensor:
        return 3 * features


@pytest.fixture(autouse=True)
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for photoworld's network."""
    monkeypatch.setattr(judge, "load_extractor", Blind)


def write(folder: Path, *, photoworld: bool = True) -> Path:
    things = [[next(iter(COLOURS)), KINDS[0]]]
    truths = [
        {"kind": "chat"},
        {"kind": "look", "about": "side", "answer": "left"},
        {"kind": "share", "share": True, "things": things, "setting": SETTINGS[0]},
        {"kind": "share", "share": True, "things": things, "setting": SETTINGS[1]},
        {"kind": "recall", "about": "size", "answer": "big"},
    ]
    for i, truth in enumerate(truths):
        photos, captions = [], []
        if truth["kind"] == "share":
            photos, captions = [f"images/{i}.png"], ["A photo."]
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), (50 * i, 20, 90)).save(folder / photos[0])
        side = {"text": "it is on the left", "captions": captions, "photos": photos}
        record = {"id": f"x/{i}", "kind": None, "reference": side, "prediction": side}
        append_line(
            folder / FILE_NAME,
            record | ({"truth": truth, "kind": truth["kind"]} if photoworld else {}),
        )
    return folder


def test_every_type_gets_the_metrics_that_make_sense(tmp_path: Path) -> None:
    scores = score_folder(write(tmp_path))
    assert scores.n == 5
    assert scores.sizes == {"chat": 1, "look": 1, "share": 2, "recall": 1}
    assert list(scores.by_kind) == ["chat", "look", "share", "recall"]
    own = {
        kind: {s.name for s in scored.scores} - {s.name for s in scores.by_kind["chat"].scores}
        for kind, scored in scores.by_kind.items()
    }
    answers = {"answer accuracy", "answer chance", "answer majority"}
    for kind, about in (("look", "side"), ("recall", "size")):
        assert own[kind] == answers | {f"answer accuracy, {about}"}
    assert own["share"] == {
        "IS-photoworld",
        "FID-photoworld",
        "KID×1000-photoworld",
        "CMMD-photoworld",
        "own-photo cosine-photoworld",
        "other-photo cosine-photoworld",
        "caption faithfulness",
        "photo faithfulness",
        "photo faithfulness (sent)",
        "things faithfulness",
        "setting faithfulness",
        "setting faithfulness (sent)",
    }
    few = "needs 4 drawn and 4 gold photos, there are 2 and 2"
    assert scores.by_kind["share"].reasons == {
        "number faithfulness": "the talk fixes no number",
        "light faithfulness": "the talk fixes no light",
        "photo precision-photoworld": few,
        "photo recall-photoworld": few,
    }
    assert scores.by_kind["chat"].reasons == {}  # nor is anything said of photos there
    assert "sharing F1" in scores.overall and "sharing F1" not in scores.by_kind["share"]
    assert scores.overall["BLEU-2"].value == pytest.approx(100)
    assert scores.overall["FID-photoworld"].value == pytest.approx(0, abs=1e-5)
    assert scores.overall["answer accuracy"].value == pytest.approx(50)
    assert scores.by_kind["recall"]["answer accuracy"].value == 0
    assert scores.overall["photo faithfulness"].value == pytest.approx(100)
    assert scores.overall["setting faithfulness"].value == pytest.approx(50)


def test_a_dataset_without_truth_has_text_photos_and_sharing(tmp_path: Path) -> None:
    scores = score_folder(write(tmp_path, photoworld=False))
    few = {f"photo {name}-photoworld" for name in ("precision", "recall")}  # of two photos
    assert scores.by_kind == {} and set(scores.overall.reasons) == few | {"turn distance"}
    assert [s.name for s in scores.overall.scores][-10:] == [
        "IS-photoworld",
        "FID-photoworld",
        "KID×1000-photoworld",
        "CMMD-photoworld",
        "own-photo cosine-photoworld",
        "other-photo cosine-photoworld",
        "sharing precision",
        "sharing recall",
        "sharing F1",
        "sharing accuracy",
    ]


def test_instances_with_filled_in_photos_are_also_left_out(tmp_path: Path) -> None:
    assert REAL not in score_folder(write(tmp_path)).by_kind
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    records[2]["filled"] = True  # one of the two that share
    (tmp_path / "predictions.jsonl").write_text("\n".join(map(json.dumps, records)))
    scores = score_folder(tmp_path)
    assert (scores.n, scores.sizes[REAL]) == (5, 4)
    whole, real = scores.overall, scores.by_kind[REAL]
    assert (whole["sharing F1"].n, real["sharing F1"].n) == (2, 1)
    assert [s.name for s in real.scores] == [
        s.name
        for s in whole.scores
        if s.name in real  # FID needs two photos
    ]


def test_no_photo_is_opened_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By image scores, faithfulness and sections together."""
    opened: list[Path] = []
    whole = Photo.open

    def counted(self: Photo) -> Image.Image:
        assert isinstance(self.source, Path)
        opened.append(self.source)
        return whole(self)

    monkeypatch.setattr(Photo, "open", counted)
    assert "photo faithfulness" in score_folder(write(tmp_path)).by_kind["share"]
    assert sorted(path.name for path in opened) == ["2.png", "3.png"]


def test_scores_go_to_json(tmp_path: Path) -> None:
    scores = score_folder(write(tmp_path), by_kind=False)
    pairs = json.loads(json.dumps(scores.to_json()))
    assert pairs["n"] == 5 and pairs["kinds"] == {}
    first = pairs["overall"]["scores"][0]
    assert first["name"] == "BLEU-1" and first["signature"].startswith("order:1|")
    by_kind = score_folder(tmp_path).to_json()["kinds"]
    assert by_kind["share"]["n"] == 2 and by_kind["share"]["scores"]


def test_an_unknown_extractor_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Unknown extractor 'vgg'"):
        score_folder(tmp_path / "nowhere", extractor="vgg")


def lines_of(*systems: tuple[str, Scores], width: int = 100, by_type: bool = False) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in shown(tables(systems, by_type=by_type), width):
        console.print(part)
    return [line.strip() for line in console.export_text().splitlines()]


def test_the_table_sets_systems_side_by_side(tmp_path: Path) -> None:
    one = score_folder(write(tmp_path / "one"))
    two = score_folder(write(tmp_path / "two", photoworld=False))
    lines = lines_of(("[e2e]", one), ("pipeline", two))
    header = next(line for line in lines if "pipeline" in line)
    assert header.startswith("all, n=5")
    assert header.index("[e2e]") < header.index("pipeline")
    names = [line for line in lines if "100.00" in line or "0.00" in line]
    assert [name.split("  ")[0] for name in names[:3]] == ["BLEU-1 ↑", "BLEU-2 ↑", "ROUGE-L ↑"]
    assert names[1].count("100.00") == 2
    assert lines.count("n=2/2") == 6  # below image scores
    accuracy = lines.index(next(line for line in lines if line.startswith("answer accuracy ↑")))
    low, high = one.overall["answer accuracy"].interval
    assert lines[accuracy].split()[-2:] == ["50.00", "–"]
    below = lines[accuracy + 1]
    assert below.startswith("n=2 ") and below.endswith(f"[{low:.2f}, {high:.2f}]")
    assert any(line.startswith("answer chance  ") for line in lines)
    assert sum(line.startswith("BLEU-2 ↑") for line in lines) == 1
    lines = lines_of(("[e2e]", one), ("pipeline", two), by_type=True)
    texts = [line for line in lines if line.startswith("BLEU-2 ↑")]
    assert len(texts) == 5  # all, chat, look, share, recall
    assert texts[1].count("100.00") == 1 and texts[1].endswith("–")
    assert sum(line.startswith("share, n=2 / 0") for line in lines) == 1


def test_each_signature_is_told_once(tmp_path: Path) -> None:
    scores = score_folder(write(tmp_path))
    lines = signatures([("a", scores), ("b", scores)])
    assert len(lines) == len(set(lines))
    assert sum(line.startswith("BLEU-2 |order:2|cumulative|tok:13a|") for line in lines) == 1
    assert not any("|n:" in line for line in lines)


def test_it_is_told_why_a_score_is_left_out(tmp_path: Path) -> None:
    side = {"text": "hi", "captions": [], "photos": []}
    record = {"id": "x", "kind": "chat", "reference": side, "prediction": side}
    append_line(tmp_path / FILE_NAME, record)
    lines = left_out([("mute", score_folder(tmp_path))])
    assert "mute: no IS-photoworld: needs 2 drawn photos, there are 0" in lines
    assert sum("FID-photoworld, " in line for line in lines) == 1  # with others of its reason
    assert "mute: no sharing F1: no photo is predicted and none is due" in lines
    assert any(
        line.startswith("mute, chat: no BLEU-2")
        and line.endswith("no reference has 2 tokens (tok:13a)")
        for line in lines
    )
