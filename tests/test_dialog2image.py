"""Systems that only draw: what they read of a dialogue, what trains, and how they are scored."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from pscli.cli import app
from pscli.components.linearise import Message, hashes, messages, newest_words
from pscli.components.noise import seeded
from pscli.config import Config, SequenceConfig, TrainConfig, changed
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import ConfigError
from pscli.photoworld.noise import Instead
from pscli.registry import TABLES, find
from pscli.runs import Run
from pscli.systems.base import Question
from pscli.systems.dialog2image import Dialog2Image, ZeroShot, sun2023
from pscli.training.loop import optimizer_of, train
from test_training import curve, killed, scores

TALK = Dialogue(
    (
        Turn("Ann", "Hi!"), Turn("Ann", "How are\n you?"), Turn("Bob", "Fine."),
        Turn("Ann", photo=Photo(Path("red.png"), "A red dog")), Turn("Bob", "Nice  dog!"),
    ),
    "t",
)  # fmt: skip

WORDS = ["red", "dog", "#", "boat", "lovely,", "photograph!", "kitchen's", "xyzzy"]


@pytest.fixture
def dialogues(random_dialogue: Any) -> list[Dialogue]:
    return [random_dialogue(seed, turns=6, photos=0.6) for seed in range(12)]


def system(build: SimpleNamespace, **options: Any) -> Dialog2Image:
    made = Dialog2Image(build.generator(**options), hashes)
    made.freeze()
    return made


# -- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hashes", "# Hi! # How are you? # Fine. # Nice dog!"),
        ("spaces", "Hi! How are you? Fine. Nice dog!"),
        ("persons", "[PER1] Hi! [PER1] How are you? [PER2] Fine. [PER2] Nice dog!"),
        ("letters", "A: Hi! A: How are you? B: Fine. B: Nice dog!"),
    ],
)
def test_the_four_ways_of_figure_4(name: str, text: str) -> None:
    """Oracle: written by hand."""
    assert find("linearisation", name)(messages(TALK.responses)) == text


def test_every_way_is_in_the_registry() -> None:
    assert set(TABLES["linearisation"]) == {"hashes", "spaces", "persons", "letters"}


def test_the_newest_turns_keep_their_speakers() -> None:
    assert messages(TALK.responses, 2) == [Message(1, "Fine."), Message(1, "Nice dog!")]
    assert messages(TALK.responses, 9) == messages(TALK.responses)
    assert messages([]) == []


def test_what_is_too_long_loses_its_oldest_words(clip_tokenizer: Any) -> None:
    """Oracle: every end of the text, one word shorter each, until one fits."""
    rng = random.Random(0)
    cut = 0
    for _ in range(40):
        words = rng.choices(WORDS, k=20)
        text = " ".join(words[: rng.randint(1, 20)])
        ends = [" ".join(text.split()[i:]) for i in range(len(text.split()))]
        fit = (e for e in ends if len(clip_tokenizer(e).input_ids) <= 16)
        found = newest_words(text, clip_tokenizer)
        assert found == next(fit)
        cut += found != text
    assert 5 < cut < 40
    assert newest_words("", clip_tokenizer) == ""
    long = "supercalifragilisticexpialidocious" * 3
    assert newest_words(f"a {long}", clip_tokenizer) == long  # a word at least


def test_each_photo_has_the_words_before_its_response(build: SimpleNamespace) -> None:
    """A photo that nobody has is told of, and teaches nothing."""
    made = system(build)
    red = Photo(Path("red.png"))
    talk = Dialogue(
        (
            Turn("A", "a dog", red), Turn("B", "send"), Turn("A", "here", red), Turn("A", "", red),
            Turn("B", "Yes", Photo(Path("gone.png"), "A boat", missing=True)),
        ),
        "d",
    )  # fmt: skip
    left: list[tuple[str, str]] = []
    (packed,) = made.template(99).pack(talk, lambda at, why: left.append((at, why)))
    assert packed.ids == made.generator.tokenize(["# a dog # send"])[0][0].tolist()
    assert [span.key for span in packed.captions] == ["d/2/0", "d/2/1"]
    assert left == [("dialogue d, response 3", "a photo that cannot be had")]
    assert not any(label >= 0 for label in packed.labels)


def test_what_is_drawn_is_the_photo_that_is_to_be_drawn(build: SimpleNamespace) -> None:
    """As the template of systems that speak has it: in the control of a study another one."""
    shown, other = Photo(Path("red.png")), Photo(Path("blue.png"))
    sent = Instead(shown.source, other=other)
    (packed,) = system(build).template(99).pack(Dialogue((Turn("A", "Hi"), Turn("B", "", sent))))
    assert [span.photo for span in packed.captions] == [other]


# -- training ----------------------------------------------------------------------------------


def test_the_noise_predictor_alone_trains(build: SimpleNamespace) -> None:
    trained = {n.split(".")[1] for n, p in system(build).named_parameters() if p.requires_grad}
    assert trained == {"unet"}
    nothing = ZeroShot(build.generator(), hashes).freeze()
    assert not any(p.requires_grad for p in nothing.parameters())


def test_the_loss_is_the_generator_s_for_each_photo_and_its_dialogue(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    """Oracle: photo by photo, each with the text of its own dialogue."""
    made = system(build)
    packed = [p for d in dialogues for p in made.template(99).pack(d)]
    assert sum(len(p.captions) for p in packed) > len(packed) > 8
    whole = made(made.prepare(collate(packed, 0)), 1.0, "0/0")
    assert whole.text == 0
    total = torch.zeros(())
    for p in packed:
        for span in p.captions:
            noise = made.generator.draw_noise([seeded("0/0", span.key, "diffusion")])
            latents = made.generator.latents([span.photo.open()])
            total += made.generator.losses(torch.tensor([p.ids]), latents, noise).sum().detach()
    torch.testing.assert_close(whole.image.detach(), total, rtol=1e-5, atol=1e-5)


def test_a_killed_run_goes_on_bit_for_bit(
    build: SimpleNamespace, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    """Oracle: the run that was never interrupted. Each micro-batch as large as may be."""
    recipe = TrainConfig(lr=1e-3, batch=4, micro_batch=4, warmup=2, epochs=1.0, save_minutes=0.0)
    config = Config(sequence=SequenceConfig(max_length=120), train=recipe)
    train(system(build), dialogues, config, Run(tmp_path / "whole"), scores)
    killed(2, system(build), dialogues, config, Run(tmp_path / "broken"), scores)
    train(system(build), dialogues, config, Run(tmp_path / "broken"), scores, resume=True)
    whole = curve(tmp_path / "whole")
    assert curve(tmp_path / "broken") == whole and len(whole) >= 4
    assert "grad_llm_from_image" not in whole[0]  # there is no LLM
    assert "grad_generator" in whole[0]


def test_the_paper_s_recipe(build: SimpleNamespace) -> None:
    """Oracle: §3.3, Table 5."""
    t = sun2023().train
    assert (t.lr, t.weight_decay, t.batch, sun2023().model.draw_steps) == (3e-5, 0.03, 260, 50)
    groups = optimizer_of(system(build), t).param_groups
    assert groups[0]["betas"] == (0.9, 0.9)
    assert optimizer_of(system(build), TrainConfig()).param_groups[0]["betas"] == (0.9, 0.999)


# -- replies -----------------------------------------------------------------------------------


def test_a_reply_is_a_photo_of_the_dialogue_and_no_words(build: SimpleNamespace) -> None:
    made = system(build).eval()
    asked = [Question(TALK.responses[:k], "A", f"t/{k}") for k in (1, 2)]
    replies = made.reply(asked, seed=3, temperature=0.7, max_length=4)
    assert [r.text for r in replies] == ["", ""]
    texts = ["# Hi! # How are you?", "# Hi! # How are you? # Fine."]
    assert [r.captions for r in replies] == [[newest(made, text)] for text in texts]
    for reply, question in zip(replies, asked, strict=True):
        alone = []
        for seed in (3, 4):
            (again,) = made.draw([reply.captions[0]], [seeded(seed, question.key, 0)])
            alone.append(np.abs(np.asarray(again, int) - np.asarray(reply.photos[0], int)).max())
        # Drawn together with others, last bits of a sum may differ, and so a grey level.
        assert alone[0] <= 1 < 8 < alone[1]
    (told,) = made.reply(asked[:1], captions=[["a dog", "a boat"]])
    assert told.captions == ["a dog", "a boat"]


def newest(made: Dialog2Image, text: str) -> str:
    return newest_words(text, made.generator.tokenizer)


# -- by the command line -----------------------------------------------------------------------

FEW = {
    "train.dialogues": 8, "train.batch": 2, "train.micro_batch": 2, "train.eval_dialogues": 4,
    "train.warmup": 0, "model.draw_steps": 2, "train.epochs": 1.0,
}  # fmt: skip


def pscli(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def sets(settings: dict[str, Any]) -> list[str]:
    return [word for k, v in settings.items() for word in ("--set", f"{k}={v}")]


def done(*words: object) -> Result:
    result = pscli(*words)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result


def test_it_trains_answers_and_is_scored_where_a_photo_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done("train", "dialog2image", "--preset", "demo", "--run", "r", *sets(FEW))
    assert sorted(p.name for p in Path("r/agent").iterdir() if p.is_dir()) == ["generator"]
    assert "- generator: `photoworld`" in Path("r/agent/README.md").read_text()
    assert "perceptron" not in Path("r/agent/README.md").read_text()

    def answers(agent: str, out: str) -> str:
        done("generate", "--dataset", "photoworld", "--count", 6, "--agent", agent, "--out", out)
        return Path(out, "predictions.jsonl").read_text()

    said = answers("r", "preds")
    shutil.move("r/agent", "moved")
    assert answers("moved", "again") == said
    records = list(map(json.loads, said.splitlines()))
    assert records and all(record["reference"]["photos"] for record in records)
    assert all(not r["prediction"]["text"] and len(r["prediction"]["photos"]) == 1 for r in records)
    found = json.loads(done("score", "preds", "--json").stdout)
    overall = next(iter(found["folders"].values()))["overall"] if "folders" in found else found
    told = json.dumps(overall)
    assert "no words: this system only draws" in told
    assert "no decision: this system only draws" in told
    assert '"BLEU-2", "value"' not in told and '"name": "sharing F1"' not in told

    refused = pscli(
        "generate", "--dataset", "photoworld", "--count", 6, "--agent", "moved", "--history", "own",
        "--out", "rolled",
    )  # fmt: skip
    assert refused.exit_code == 2 and "this one only draws" in refused.stderr

    next(Path("moved/generator/unet").glob("*.safetensors")).unlink()
    broken = pscli("generate", "--dataset", "photoworld", "--count", 6, "--agent", "moved")
    assert broken.exit_code == 2 and "generator/unet" in broken.stderr


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of one's own, with data in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PSCLI_DATA", "data")


def jsonl(**splits: list[list[dict[str, str]]]) -> None:
    """A dataset of one's own: turns of dialogues by split, and a photo without a caption."""
    folder = Path("data/jsonl")
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(folder / "red.png")
    for split, talks in splits.items():
        lines = [json.dumps({"id": str(n), "turns": talk}) for n, talk in enumerate(talks)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


ASKED = {"speaker": "A", "text": "Send me a red one!"}
SENT = {"speaker": "B", "text": "Here", "photo": "red.png"}
TOLD = {"speaker": "B", "text": "I have none."}
OWN = ["train", "dialog2image", "--preset", "demo", "--dataset", "jsonl", "--run", "r", *sets(FEW)]


@pytest.mark.usefixtures("own_data")
def test_it_learns_from_photos_without_captions() -> None:
    jsonl(train=[[ASKED, SENT]], dev=[[ASKED, SENT]])
    trained = done(*OWN)
    assert "without a caption" not in trained.stderr
    assert len(curve(Path("r"))) == 2  # a step, and an evaluation


@pytest.mark.usefixtures("own_data")
def test_a_dev_split_that_asks_nothing_is_refused_before_training() -> None:
    jsonl(train=[[ASKED, SENT]], dev=[[ASKED, TOLD]])
    refused = pscli(*OWN)
    assert refused.exit_code == 2, refused.output + repr(refused.exception)
    assert "There is nothing to answer in jsonl dev: no photo is shared there" in refused.stderr
    assert not Path("r").exists()


def test_zero_shot_needs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = pscli("train", "zero-shot", "--preset", "demo", "--run", "r", *sets(FEW))
    assert refused.exit_code == 2 and "generate --system zero-shot" in refused.stderr
    assert not Path("r").exists()
    last = ["--system", "zero-shot", *sets({"model.turns": 1, "model.draw_steps": 2})]
    some = ["generate", "--dataset", "photoworld", "--count", 3]
    done(*some, *last)
    lines = Path("preds/zero-shot/predictions.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        assert record["prediction"]["captions"][0].count("#") <= 1  # the last turn, or its end
    done(*some, *last)  # there already
    other = pscli(*some, "--system", "zero-shot")
    assert other.exit_code == 2 and "weights" in other.stderr
    both = pscli(*some, *last, "--agent", "r")
    assert both.exit_code == 2 and "--agent or --system" in both.stderr
    Path("talk.json").write_text(json.dumps({"turns": [{"speaker": "A", "text": "A red car!"}]}))
    one = json.loads(done("generate", "--context", "talk.json", "--json", *last).stdout)
    assert one["captions"] == ["# A red car!"] and len(one["photos"]) == 1


@pytest.mark.parametrize("name", ["dialog2image", "zero-shot"])
def test_a_plan_counts_it(name: str) -> None:
    found = json.loads(done("plan", name, "--json").stdout)
    trained = {c["name"]: c["trained"] for c in found["components"]}
    assert trained["generator.vae"] == trained["generator.text_encoder"] == 0
    assert (trained["generator.unet"] > 1e6) == (name == "dialog2image")
    assert found["work"]["length"] == 40 and found["evaluation"] > 0 and found["flops"] > 0


def test_a_file_chooses_no_linearisation_of_its_own() -> None:
    pairs = changed(Config(), "model.linearisation", "mine:way").to_json()
    with pytest.raises(ConfigError, match="mine:way"):
        Config.from_json(pairs)
    assert Config.from_json(pairs, use=["mine:way"]).model.linearisation == "mine:way"
