"""How readily replies share photos, and end: biases against a decoder written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from pscli.cli import app
from pscli.config import Config, changed
from pscli.dialogue.sequence import IMG, token_id
from pscli.predictions.settings import read_settings
from pscli.systems.agent import Agent
from pscli.systems.base import Question, System, answer

NEW = 12  # tokens


def questions(random_dialogue: Any) -> list[Question]:
    dialogues = [random_dialogue(seed) for seed in range(6)]
    return [Question(d.responses[:3], "Y", d.id) for d in dialogues]


def by_hand(system: System, question: Question, bias: float, to_end: float = 0.0) -> str:
    """The likeliest token, one after the other, all of the sequence anew for each."""
    tokenizer = system.llm.tokenizer
    mark, end = token_id(tokenizer, IMG), tokenizer.eos_token_id
    (prompt,) = system.prompts([question], 400)
    ids: list[int] = []
    while len(ids) < NEW and end not in ids:
        read = torch.cat([prompt.embeddings, system.llm.embed(torch.tensor(ids, dtype=torch.long))])
        logits = system.llm.model(inputs_embeds=read[None]).logits[0, -1].detach().clone()
        if mark not in ids:
            logits[mark] += bias
        logits[end] += to_end
        ids.append(int(logits.argmax()))
    return str(tokenizer.decode([i for i in ids if i != end]))


@pytest.mark.parametrize("bias", [0.0, 4.0, -4.0, -1000.0, 1000.0])
def test_the_bias_is_added_until_a_reply_has_a_photo(
    bias: float, build: Any, random_dialogue: Any
) -> None:
    system = build.end_to_end()
    mark = token_id(system.llm.tokenizer, IMG)
    system.llm.model.get_output_embeddings().weight.data[mark] *= 3  # it is said now and then
    asked = questions(random_dialogue)
    found = [r.raw for r in answer(system, asked, max_new_tokens=NEW, share_bias=bias)]
    assert found == [by_hand(system, question, bias) for question in asked]
    if bias == 0:
        assert 0 < sum(IMG in raw for raw in found) < len(found)
    if abs(bias) == 1000:
        assert all(raw.startswith(IMG) is (bias > 0) for raw in found)
        assert all((IMG in raw) is (bias > 0) for raw in found)


@pytest.mark.parametrize("bias", [-1000.0, -2.0, 2.0])
def test_replies_end_more_or_less_readily(bias: float, build: Any, random_dialogue: Any) -> None:
    system = build.end_to_end()
    end = system.llm.tokenizer.eos_token_id
    system.llm.model.get_output_embeddings().weight.data[end] *= 4  # some replies end early
    asked = questions(random_dialogue)
    found = [r.raw for r in answer(system, asked, max_new_tokens=NEW, end_bias=bias)]
    assert found == [by_hand(system, question, 0.0, bias) for question in asked]
    assert found != [r.raw for r in answer(system, asked, max_new_tokens=NEW)]


def test_sampled_replies_share_by_their_probability(build: Any, random_dialogue: Any) -> None:
    """The odds of [IMG] as the first token grow by e^B: one reply in two at its own log-odds."""
    system = build.end_to_end()
    (question, *_) = questions(random_dialogue)
    (prompt,) = system.prompts([question], 400)
    logits = system.llm.model(inputs_embeds=prompt.embeddings[None]).logits[0, -1].detach()
    mark = token_id(system.llm.tokenizer, IMG)
    p = float(logits.softmax(-1)[mark])
    asked = [Question(question.responses, "Y", f"d{number}") for number in range(400)]
    bias = float(torch.logit(torch.tensor(1 - p)))
    replies = answer(system, asked, temperature=1.0, max_new_tokens=1, share_bias=bias)
    share = sum(reply.raw.startswith(IMG) for reply in replies) / 400
    assert share == pytest.approx(0.5, abs=0.1)  # four standard deviations


def test_it_is_the_agents_own_or_the_commands_and_recorded(
    tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(changed(Config(), "sequence.share_bias", 1000.0), "sequence.max_new_tokens", 3)
    agent = Agent(build.end_to_end(), config)
    monkeypatch.setattr(Agent, "from_pretrained", lambda *args, **options: agent)
    (tmp_path / "agent").mkdir()

    def shared(*options: str) -> tuple[float, float | None, float | None]:
        agent.config = config
        out = tmp_path / "-".join(("p", *options))
        command = ["generate", "--dataset", "photoworld", "--count", "1"]
        command += ["--agent", str(tmp_path / "agent"), "--out", str(out)]
        result = CliRunner().invoke(app, [*command, *options])
        assert result.exit_code == 0, result.output
        settings = read_settings(out)
        assert settings is not None
        lines = (out / "predictions.jsonl").read_text().splitlines()
        share = sum('"raw": "[IMG]' in line for line in lines) / len(lines)
        return share, settings.share_bias, settings.end_bias

    assert shared() == (1, None, None)
    assert shared("--share-bias", "-1000", "--end-bias", "-2.5") == (0, -1000, -2.5)
    assert agent.config.sequence.end_bias == -2.5
    result = CliRunner().invoke(app, ["generate", "--dataset", "photoworld", "--share-bias", "nan"])
    assert result.exit_code == 2
