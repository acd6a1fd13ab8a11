"""Photos that cannot be had but are described: read, learnt from, answered, written and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pscli.cli import app
from pscli.config import Config
from pscli.datasets.base import load, named
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue, Photo, Reply, Response, Turn
from pscli.dialogue.sequence import IGNORE, Packed
from pscli.errors import ConfigError
from pscli.metrics.score import SEEN, score_folder
from pscli.predictions.folder import read_predictions
from pscli.predictions.generate import instances, predict
from pscli.predictions.settings import Settings, read_settings
from pscli.predictions.writer import writing
from pscli.report.pictures import conversation
from pscli.report.sheet import sheet
from pscli.systems.base import Losses, Question, System
from test_sources import PHOTOCHAT, PHOTOCHAT_ONE, corpus, read

RED = Image.new("RGB", (16, 16), "red")
GONE = Photo(Path("nowhere.png"), "A red dog", missing=True)
SETTINGS = Settings("a", "w", "jsonl", "test", 0, 0.0, "described")


def talk(*photos: Photo | None) -> Dialogue:
    """Two speakers in turn, each of whom may send a photo."""
    words = ["Look", "at", "my", "red", "dog", "on", "the", "beach"]
    turns = (Turn("AB"[i % 2], words[i], photo) for i, photo in enumerate(photos))
    return Dialogue(tuple(turns), "d")


# ---------------------------------------------------------------------------- reading


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset with a photo that is there, one that is not, one that is none, each captioned,
    and one of which nobody says anything."""
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path))
    (tmp_path / "jsonl").mkdir()
    RED.save(tmp_path / "jsonl" / "here.png")
    (tmp_path / "jsonl" / "broken.png").write_text("no photo")
    photos = {
        2: {"path": "here.png", "caption": "red"},
        4: {"path": "gone.png", "caption": "A red dog"},
        6: {"path": "broken.png", "caption": "A blue boat"},
        8: {"path": "mute.png"},
    }
    turns = [
        {"speaker": "AB"[i % 2], "text": f"t{i}"} | ({"photo": photos[i]} if i in photos else {})
        for i in range(10)
    ]
    text = json.dumps({"id": "d", "turns": turns})
    for split in ("train", "dev", "test"):
        (tmp_path / "jsonl" / f"{split}.jsonl").write_text(text)
    return tmp_path / "jsonl"


def test_what_is_described_is_kept_and_what_is_not_ends_its_dialogue(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (whole,) = load(named("jsonl"), "test")
    assert len(whole.turns) == 8  # the ninth sends a photo of which nobody says anything
    assert [(p.caption, p.missing) for p in whole.photos] == [
        ("red", False),
        ("A red dog", True),
        ("A blue boat", True),
    ]
    told = " ".join(capsys.readouterr().err.split())
    assert "2 of 4 photos are not on disk, which leaves out 2 of 9 instances." in told
    assert "2 of 4 photos are told by their descriptions alone" in told
    assert "1 × a photo that cannot be decoded, first" in told
    (strict,) = load(named("jsonl"), "test", photos="strict")
    assert strict.turns == whole.turns[:4]
    assert "1 × a photo that cannot be decoded, and what follows it" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="Photos are to be 'some'"):
        load(named("jsonl"), "test", photos="some")


@pytest.mark.skipif(not PHOTOCHAT.is_dir(), reason="the real files are not here")
def test_every_photo_response_of_photochat_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--photos strict` leaves none of 10,273, and two thirds of the others."""
    monkeypatch.setenv("PSCLI_DATA", str(PHOTOCHAT.parent))
    for photos, instances_, sharing in (("described", 91_715, 10_273), ("strict", 62_104, 0)):
        dialogues = corpus("photochat").load("train", photos=photos)
        responses = [response for dialogue in dialogues for response in dialogue.responses[1:]]
        assert len(responses) == instances_
        shared = [photo for response in responses for photo in response.photos]
        assert len([response for response in responses if response.photos]) == sharing
        assert all(photo.missing and photo.caption.startswith("Objects") for photo in shared)


@pytest.mark.parametrize(
    ("description", "caption"),
    [
        ("The photo has your friend Ann. Objects in the photo: Dog", "Objects in the photo: Dog"),
        ("Objects in the photo: Dog. Cat", "Objects in the photo: Dog. Cat"),
        ("The photo has your dog.", "The photo has your dog."),
        ("Mine: The photo has your dog. X", "Mine: The photo has your dog. X"),
        (None, None),
    ],
)
def test_whom_the_sender_sees_is_no_part_of_a_caption(
    description: str | None, caption: str | None
) -> None:
    dialogue, _ = read("photochat", PHOTOCHAT_ONE | {"photo_description": description})
    assert dialogue is not None and [p.caption for p in dialogue.photos] == [caption]


# ---------------------------------------------------------------------------- learning


def losses(system: System, packed: Sequence[Packed]) -> Losses:
    batch = collate(packed, system.llm.tokenizer.pad_token_id)
    with torch.no_grad():
        found: Losses = system(system.prepare(batch), 1.0, "s")
    return found


@pytest.mark.parametrize("name", ["end_to_end", "pipeline"])
def test_it_teaches_words_and_sharing_but_no_drawing(name: str, build: Any) -> None:
    """Against each instance alone, its photos told in words."""
    system: System = getattr(build, name)()
    template = system.template(400)
    dialogue = talk(None, GONE, None, Photo(RED, "A blue boat"), GONE, None)
    (packed,) = template.pack(dialogue)
    assert [span.photo.caption for span in packed.captions] == ["A blue boat"]
    assert packed.described == 2
    found = losses(system, [packed])
    text = image = torch.zeros(())
    for k in range(1, 6):
        start = dialogue.responses[:k], dialogue.responses[k].speaker
        prompt = template.prompt(*start)
        said = template.said(dialogue.responses[k], [], f"d/{k}")
        alone = replace(prompt, captions=[], labels=[IGNORE] * len(prompt))
        alone.captions += [
            replace(span, start=span.start + len(prompt), end=span.end + len(prompt))
            for span in said.spans
        ]
        alone.append(said.target, [True] * len(said.target), 0)
        one = losses(system, [alone])
        text, image = text + one.text, image + one.image
    assert found.text == pytest.approx(float(text), rel=1e-5)
    assert found.image == pytest.approx(float(image), rel=1e-4)
    assert found.image > 0
    (packed,) = template.pack(talk(None, GONE, None))
    assert losses(system, [packed]).image == 0
    taught = [t for t in packed.labels if t != IGNORE]
    words = " ".join(str(system.llm.tokenizer.decode(taught)).split())
    assert words.startswith("at[IMG] A red dog[/IMG]")


def test_without_any_photo_both_systems_learn_the_same(build: Any) -> None:
    """Their LLMs read and are taught the same tokens."""
    systems = build.end_to_end(), build.pipeline()
    packed = [s.template(30).pack(talk(None, GONE, None, GONE, None, None)) for s in systems]
    assert packed[0] == packed[1] and len(packed[0]) > 1
    found = [losses(system, packed[0]) for system in systems]
    assert found[0].text == found[1].text and not any(f.image for f in found)


@pytest.mark.parametrize("name", ["end_to_end", "pipeline"])
def test_what_is_there_is_read_as_ever(name: str, build: Any) -> None:
    """A photo that can be seen is seen, or told by the captioner; never by its own caption."""
    system: System = getattr(build, name)()

    def prompt(photo: Photo) -> torch.Tensor:
        responses = talk(photo, None).responses
        (found,) = system.prompts([Question(responses, "A")], 400)
        return found.embeddings

    here, gone = Photo(RED, "A red dog"), GONE
    assert torch.equal(prompt(here), prompt(replace(here, caption="Another")))
    assert not torch.equal(prompt(gone), prompt(replace(gone, caption="A blue dog")))


# ---------------------------------------------------------------------------- answers


class Sharer:
    """Shares a photo wherever one was shared last but one, or never."""

    config = Config()

    def __init__(self, drawn: int) -> None:
        self.drawn = drawn

    def respond_all(self, questions: Sequence[Question], **_: Any) -> list[Reply]:
        shared = [Photo(RED, "red")] * self.drawn
        return [Reply(("Hi", *shared)) for _ in questions]


def write(folder: Path, drawn: int, *photos: Photo | None) -> Path:
    work = instances([talk(*photos)])
    with writing(folder, SETTINGS) as writer:
        predict(Sharer(drawn), work, writer, lambda count: None)
    return folder


def test_predictions_say_so_and_need_no_file(tmp_path: Path) -> None:
    mixed = Response("A", (Turn("A", "", GONE), Turn("A", "", Photo(RED, "red"))))
    with writing(tmp_path / "p", SETTINGS) as writer:
        writer.add("d/1", mixed, Reply(("Hi",)), filled=False, described=True)
    (found,) = read_predictions(tmp_path / "p")
    assert (found.described, found.filled, found.reference.missing) == (True, False, 1)
    assert found.reference.captions == ("red", "A red dog")  # those that have files come first
    assert len(found.reference.photos) == 1 and found.reference.shares
    assert not found.prediction.shares
    assert found.reference.told == "[img] A red dog [/img] [img] red [/img]"
    assert found.prediction.told == "Hi"
    assert read_settings(tmp_path / "p") == SETTINGS


def test_sharing_counts_all_and_image_scores_what_has_photos(tmp_path: Path) -> None:
    here = Photo(RED, "red")
    found = score_folder(write(tmp_path / "p", 1, None, GONE, here, None, here))
    # By hand: four instances, all of which share; a photo is due in three.
    scores = found.overall
    assert (scores["sharing precision"].value, scores["sharing recall"].value) == (75, 100)
    assert scores["FID-photoworld"].count == scores["IS-photoworld"].count == "4/2"
    assert found.sizes == {SEEN: 0}  # the first answer shares it, and the others have seen it
    alone = score_folder(write(tmp_path / "q", 1, None, None, None, GONE))
    assert alone.overall["sharing precision"].value == pytest.approx(100 / 3)
    assert alone.sizes == {SEEN: 2}
    assert "FID-photoworld" in alone.overall.reasons
    assert SEEN not in score_folder(write(tmp_path / "r", 0, None, here, None)).by_kind


@pytest.mark.parametrize("side", ["reference", "prediction"])
def test_predictions_of_others_may_have_no_files(tmp_path: Path, side: str) -> None:
    line: dict[str, Any] = {"id": "1", "reference": {"text": "a"}, "prediction": {"text": "a"}}
    line[side]["missing"] = 1
    (tmp_path / "predictions.jsonl").write_text(json.dumps(line))
    (found,) = read_predictions(tmp_path)
    assert getattr(found, side).shares
    assert score_folder(tmp_path).overall["sharing accuracy"].value == 0
    for broken in (-1, True, "1", None):
        line[side]["missing"] = broken
        (tmp_path / "predictions.jsonl").write_text(json.dumps(line))
        result = CliRunner().invoke(app, ["score", str(tmp_path)])
        assert result.exit_code == 2
        assert f"line 1, {side}: `missing` is no number of photos" in result.stderr


def test_it_is_drawn_as_words(tmp_path: Path, folder: Path) -> None:
    (dialogue,) = load(named("jsonl"), "test")
    with writing(tmp_path / "p", SETTINGS) as writer:
        predict(Sharer(0), instances([dialogue]), writer, lambda count: None)
    assert sheet([tmp_path / "p"], 1).width > 100
    told = conversation(talk(GONE).responses)
    other = conversation(talk(replace(GONE, caption="A cat")).responses)
    assert told.tobytes() != other.tobytes()


def test_an_agent_answers_a_split_without_its_photos(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pscli.systems.agent import Agent

    monkeypatch.setattr(Agent, "from_pretrained", lambda *args, **options: Sharer(0))
    (tmp_path / "agent").mkdir()

    def generate(*options: str) -> list[Any]:
        out = str(tmp_path / "-".join(("p", *options)))
        command = ["generate", "--dataset", "jsonl", "--agent", str(tmp_path / "agent")]
        result = CliRunner().invoke(app, [*command, "--out", out, *options])
        assert result.exit_code == 0, result.output
        return read_predictions(Path(out))

    marks = [(p.id, p.described, p.reference.missing) for p in generate()]
    assert sorted(marks) == [
        ("d/1", False, 0), ("d/2", False, 0), ("d/3", False, 0), ("d/4", True, 1),
        ("d/5", True, 0), ("d/6", True, 1), ("d/7", True, 0),
    ]  # fmt: skip
    assert len(generate("--photos", "strict")) == 3
    command = ["generate", "--dataset", "jsonl", "--photos", "some"]
    assert CliRunner().invoke(app, command).exit_code == 2


def test_training_counts_them(folder: Path, tmp_path: Path, build: Any) -> None:
    from pscli.config import Config, changed
    from pscli.runs import Run
    from pscli.training.loop import train

    config = changed(changed(Config(), "train.epochs", 1.0), "train.batch", 1)
    run = Run.start(tmp_path / "run", config)
    train(build.pipeline(), load(named("jsonl"), "train"), config, run, lambda system, step: {})
    assert [line["described"] for line in run.metrics if "text" in line] == [2]
    assert config.photos == "described"
