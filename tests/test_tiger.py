"""A pipeline that decides first: the decision, its loss, and that replies keep to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pscli.components.readiness import Decided
from pscli.config import Config, SequenceConfig, TrainConfig
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue
from pscli.dialogue.sequence import Template, told
from pscli.runs import Run
from pscli.systems.base import Question
from pscli.systems.tiger import Predictor, Tiger, decisions
from pscli.training.loop import train
from test_dialog2image import FEW, done, pscli, sets
from test_training import curve, killed, scores

IMG, END_IMG, END = 1, 2, 3


@pytest.fixture
def dialogues(random_dialogue: Any) -> list[Dialogue]:
    return [random_dialogue(seed, turns=5, photos=0.5) for seed in range(8)]


def system(build: SimpleNamespace) -> Tiger:
    parts = build.pipeline()
    torch.manual_seed(4)
    made = Tiger(parts.captioner, parts.llm, parts.generator, Predictor(parts.llm.width))
    return made.freeze()


def questions(dialogues: list[Dialogue]) -> list[Question]:
    return [
        Question(d.responses[:k], d.responses[k].speaker, f"{d.id}/{k}")
        for d in dialogues
        for k in range(1, len(d.responses))
    ]


def literal(made: Tiger, dialogue: Dialogue, k: int) -> Tensor:
    """[2] log-probabilities of words and photo, of one response by itself: the paper's two layers,
    on the state of the last token before it."""
    responses = dialogue.responses
    template = Template(made.llm.tokenizer, told(made.llm.tokenizer), 512)
    ids = torch.tensor([template.prompt(responses[:k], responses[k].speaker).ids])
    state = made.llm.model.base_model(input_ids=ids).last_hidden_state[0, -1]
    p = made.predictor
    inner = p.fc1.weight @ state + p.fc1.bias
    return torch.log_softmax(p.fc2.weight @ inner + p.fc2.bias, dim=0)


# -- loss --------------------------------------------------------------------------------------


def test_the_loss_is_the_pipelines_and_a_cross_entropy_of_each_response(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    """Oracle: every response read by itself; -log p of whether it has a photo."""
    made, plain = system(build), build.pipeline().freeze()
    packed = [p for d in dialogues for p in made.template(512).pack(d)]
    batch = made.prepare(collate(packed, made.llm.tokenizer.pad_token_id))
    losses, base = made(batch, 1.0, "0/0"), plain(batch, 1.0, "0/0")
    lost, counts = torch.zeros(()), [0, 0]
    for dialogue in dialogues:
        for k, response in enumerate(dialogue.responses[1:], start=1):
            due = bool(response.photos)
            lost = lost - literal(made, dialogue, k)[int(due)]
            counts[due] += 1
    assert min(counts) > 5
    torch.testing.assert_close(losses.text, base.text + lost, rtol=1e-5, atol=1e-4)
    assert torch.equal(losses.image, base.image)


def test_the_predictor_trains_apart(build: SimpleNamespace, dialogues: list[Dialogue]) -> None:
    """Oracle: the gradient of a pipeline without a predictor."""
    made, plain = system(build), build.pipeline().freeze()
    packed = [p for d in dialogues[:3] for p in made.template(512).pack(d)]
    for one in (made, plain):
        batch = one.prepare(collate(packed, made.llm.tokenizer.pad_token_id))
        sum(one(batch, 1.0, "0/0")).backward()
    alone = dict(plain.named_parameters())
    for name, weight in made.named_parameters():
        if name.startswith("predictor."):
            assert weight.grad is not None and weight.grad.abs().sum() > 0
        elif weight.grad is not None:
            torch.testing.assert_close(weight.grad, alone[name].grad)


def test_responses_are_told_apart() -> None:
    """Oracle: by hand. -100 is what is not predicted; 1 is [IMG]."""
    labels = torch.tensor([[-100, -100, 7, 1, 8, -100, 9, 3], [-100, 5, -100, -100, 1, -100, 1, 1]])
    begins, due = decisions(labels, IMG)
    places = [(0, 1), (0, 5), (1, 0), (1, 3), (1, 5)]
    assert [tuple(row) for row in begins.nonzero().tolist()] == places
    assert due.tolist() == [1, 0, 0, 1, 1]


# -- replies -----------------------------------------------------------------------------------


def test_replies_keep_to_the_decision(build: SimpleNamespace, dialogues: list[Dialogue]) -> None:
    """Oracle: the log-odds; `share_bias` moves the threshold, just above and below one of them."""
    made = system(build).eval()
    with torch.no_grad():
        made.predictor.fc2.weight.mul_(30)  # decisions of both kinds
    asked = questions(dialogues[:2])
    odds = made.decide(made.prompts(asked, 400))
    alone = torch.cat([made.decide(made.prompts([one], 400)) for one in asked])
    torch.testing.assert_close(odds, alone, rtol=1e-4, atol=1e-4)
    middle = float(odds.median())
    shared = []
    for bias in (0.001 - middle, -0.001 - middle):
        replies = made.reply(asked, share_bias=bias, max_new_tokens=20)
        due = (odds + bias > 0).tolist()
        assert [bool(reply.photos) for reply in replies] == due
        shared.append(sum(due))
    assert shared[0] == shared[1] + 1 and shared[1] > 0


def test_the_decision_is_the_classifiers(build: SimpleNamespace, random_dialogue: Any) -> None:
    """Oracle: the two layers by hand, of dialogues whose contexts hold no photos."""
    made = system(build).eval()
    talks = [random_dialogue(seed, turns=4, photos=0.0) for seed in range(3)]
    found = made.decide(made.prompts(questions(talks), 400))
    literally = [literal(made, d, k) for d in talks for k in range(1, len(d.responses))]
    wanted = torch.stack([row[1] - row[0] for row in literally])
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-4, atol=1e-5)


def test_where_photos_may_begin() -> None:
    """Oracle: by hand, logits 0, 1, 2, 3, 4 of a vocabulary of five."""
    steps = Decided(IMG, END_IMG, END, torch.tensor([True, False, True]), latest=3)
    no = -torch.inf

    def after(*tokens: int) -> list[list[float]]:
        rows = torch.tensor([list(tokens)] * 2, dtype=torch.long).reshape(2, -1)
        return steps.of([2, 1])(rows, torch.arange(5.0).repeat(2, 1)).tolist()

    assert after() == [[0, 3, 2, no, 4], [0, no, 2, 3, 4]]  # what would end it begins the photo
    assert after(4, 4, 4)[0] == [no, 0, no, no, no]  # the latest place
    for begun in ([IMG], [4, IMG], [4, 4, 4, IMG]):
        assert after(*begun)[0] == [0, no, no, no, 4]  # no empty caption, however late it begins
    assert after(IMG, 4, END_IMG)[0] == [0, 1, 2, 3, 4]  # it has one
    assert after(4, 4, 4)[1] == [0, no, 2, 3, 4]


# -- training ----------------------------------------------------------------------------------


def test_a_killed_run_goes_on_bit_for_bit(
    build: SimpleNamespace, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    """Oracle: the run that was never interrupted."""
    recipe = TrainConfig(lr=1e-3, batch=2, micro_batch=2, warmup=1, epochs=1.0, save_minutes=0.0)
    config = Config(sequence=SequenceConfig(max_length=200), train=recipe)
    train(whole := system(build), dialogues, config, Run(tmp_path / "whole"), scores)
    killed(2, system(build), dialogues, config, Run(tmp_path / "broken"), scores)
    train(again := system(build), dialogues, config, Run(tmp_path / "broken"), scores, resume=True)
    assert curve(tmp_path / "broken") == curve(tmp_path / "whole")
    assert "grad_predictor" in curve(tmp_path / "whole")[0]
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    spent = Run(tmp_path / "broken").spent
    assert spent and spent[0] == 4 and spent[1] > 0


def test_it_trains_answers_and_is_found_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done("train", "tiger", "--preset", "demo", "--run", "r", *sets(FEW))
    parts = sorted(p.name for p in Path("r/agent").iterdir() if p.is_dir())
    assert parts == ["generator", "llm", "predictor"]

    def answers(agent: str, out: str) -> str:
        done("generate", "--dataset", "photoworld", "--count", 2, "--agent", agent, "--out", out)
        return Path(out, "predictions.jsonl").read_text()

    said = answers("r", "preds")
    shutil.move("r/agent", "moved")
    assert answers("moved", "again") == said
    for name in ("index.json", "predictor/model.safetensors"):
        Path("moved", name).unlink()
    broken = pscli("generate", "--dataset", "photoworld", "--count", 2, "--agent", "moved")
    assert broken.exit_code == 2 and "moved/predictor" in broken.stderr


def test_a_plan_counts_it() -> None:
    """Oracle: two layers of the LLM's width, 128 and 2, with biases; else it is the pipeline."""
    found = json.loads(done("plan", "tiger", "--json").stdout)
    trained = {c["name"]: c["trained"] for c in found["components"]}
    width = system_width()
    own = sum(count for name, count in trained.items() if name.startswith("predictor"))
    assert own == 128 * width + 128 + 2 * 128 + 2
    assert found["flops"] > 0


def system_width() -> int:
    from pscli.components.load import located

    config = json.loads(Path(located("photoworld", "llm"), "config.json").read_text())
    return int(config["hidden_size"])
