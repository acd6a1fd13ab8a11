"""Decoding with shared contexts, against loops that read every prompt anew for every token."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    DynamicCache,
    FalconConfig,
    GPT2Config,
    GPTNeoConfig,
    Lfm2Config,
    LlamaConfig,
    LogitsProcessor,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from pscli.components.decoding import Trunk, batches, room, sees_all, trunks
from pscli.components.llm import LanguageModel
from pscli.components.noise import gumbel, seeded
from pscli.config import tiny
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.shipped import AGENT
from pscli.predictions.generate import batches as work_in_batches
from pscli.predictions.generate import instances
from pscli.systems.agent import Agent
from pscli.systems.agent import build as build_system
from pscli.systems.base import System

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "initializer_range": 0.3, "max_position_embeddings": 128,
}  # fmt: skip
FAMILIES: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "llama": (LlamaConfig, {"num_key_value_heads": 2}),
    "gpt2": (GPT2Config, {}),
    "qwen2": (Qwen2Config, {"num_key_value_heads": 2}),
    "opt": (OPTConfig, {"ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3}),
}
OTHERS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "bloom": (BloomConfig, {}),
    "falcon": (FalconConfig, {"alibi": True}),
    "gpt-neo": (GPTNeoConfig, {"window_size": 8, "attention_types": [[["global", "local"], 1]]}),
    "lfm2": (Lfm2Config, {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 2}),
    "mamba": (MambaConfig, {}),
    "mistral": (MistralConfig, {"num_key_value_heads": 2, "sliding_window": 8}),
}


def model(name: str, tokenizer: Any) -> LanguageModel:
    kind, options = (FAMILIES | OTHERS)[name]
    torch.manual_seed(3)
    ids = {n: getattr(tokenizer, n) for n in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = kind(vocab_size=len(tokenizer), **SMALL | ids | options)
    found = AutoModelForCausalLM.from_config(config).eval()
    return LanguageModel(found, tokenizer)


def contexts(llm: LanguageModel, seed: int = 0) -> list[Tensor]:
    """Prompts of five dialogues, shuffled: prefixes of their last ones, and two that are none."""
    rng = random.Random(seed)
    found = []
    for n in range(5):
        ids = [llm.tokenizer.bos_token_id, *(rng.randrange(5, 300) for _ in range(20 + 7 * n))]
        cuts = sorted(rng.sample(range(3, len(ids)), k=1 + n))
        found += [llm.embed(torch.tensor(ids[:cut])).detach() for cut in cuts]
        found += [llm.embed(torch.tensor([*ids[:9], 7, 8])).detach()] * (n % 2)
    rng.shuffle(found)
    return found


class Impatience(LogitsProcessor):
    """Makes the end likelier with each token, and more with odd ones, so that lengths differ."""

    def __init__(self, end: int) -> None:
        self.end = end

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        odd = (input_ids % 2).sum(dim=1)
        scores = scores.clone()
        scores[:, self.end] += 0.4 * input_ids.shape[1] + 0.8 * odd
        return scores


def one_by_one(
    llm: LanguageModel,
    prompts: Sequence[Tensor],
    limit: int,
    change: Callable[[int, Tensor, Tensor], Tensor] = lambda n, ids, scores: scores,
) -> list[list[int]]:
    """The oracle: the whole prompt is read for every token, without masks, padding or caches."""
    replies = []
    for n, prompt in enumerate(prompts):
        ids: list[int] = []
        while len(ids) < limit:
            written = torch.tensor([ids], dtype=torch.long)
            with torch.no_grad():
                read = torch.cat([prompt, llm.embed(written[0])])[None]
                logits = llm.model(inputs_embeds=read, use_cache=False).logits[:, -1]
            token = int(change(n, written, logits).argmax())
            if token == llm.tokenizer.eos_token_id:
                break
            ids.append(token)
        replies.append(ids)
    return replies


@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_replies_are_those_of_prompts_that_are_read_one_by_one(name: str, tokenizer: Any) -> None:
    llm = model(name, tokenizer)
    assert sees_all(llm.model.base_model, 60) is (name in FAMILIES)
    assert sees_all(llm.model.base_model, 8) is (name in FAMILIES or name == "mistral")
    prompts, end = contexts(llm), Impatience(tokenizer.eos_token_id)
    expected = one_by_one(llm, prompts, 12, lambda n, ids, scores: end(ids, scores))
    lengths = list(map(len, expected))
    assert len(set(lengths)) > 4 and len(set(map(tuple, expected))) > 14
    assert llm.respond(prompts, max_new_tokens=12, processors=[end]) == expected
    some = [3, 0, 8]
    found = llm.respond([prompts[n] for n in some], max_new_tokens=5, processors=[end])
    assert found == [expected[n][:5] for n in some]


@pytest.mark.parametrize("name", ["gpt2", "llama", "bloom"])
def test_samples_do_not_depend_on_the_batch(name: str, tokenizer: Any) -> None:
    """Oracle: Gumbel noise of each prompt's own generator, token by token."""
    llm = model(name, tokenizer)
    prompts, end = contexts(llm), Impatience(tokenizer.eos_token_id)
    own = [seeded(n) for n in range(len(prompts))]

    def noisy(n: int, ids: Tensor, scores: Tensor) -> Tensor:
        return end(ids, scores) / 1.5 + gumbel(scores.shape[1:], own[n])

    expected = one_by_one(llm, prompts, 12, noisy)
    assert len(set(map(len, expected))) > 4
    for order in (range(len(prompts)), [5, 2, 9], [4]):
        found = llm.respond(
            [prompts[n] for n in order], max_new_tokens=12, temperature=1.5, processors=[end],
            generators=[seeded(n) for n in order],
        )  # fmt: skip
        assert found == [expected[n] for n in order]


def test_a_prompt_branches_off_the_first_that_begins_with_it() -> None:
    a, b = torch.arange(10.0)[:, None], torch.tensor([[0.0], [1.0], [7.0]])
    found = trunks([a[:4], b, a, a[:2], b, a[:10]])
    assert [(t.numbers, t.lengths) for t in found] == [
        ([2, 5, 0, 3], [10, 10, 4, 2]),
        ([1, 4], [3, 3]),
    ]
    assert [t.embeddings is whole for t, whole in zip(found, (a, b), strict=True)] == [True, True]
    assert [t.tokens(5) for t in found] == [30, 13]
    assert trunks([]) == []


def test_batches_keep_to_the_room() -> None:
    some = [Trunk(torch.zeros(n, 1), [0] * k) for n, k in ((9, 1), (5, 6), (5, 1), (4, 2), (1, 1))]
    assert [t.tokens(2) for t in some] == [11, 17, 7, 8, 3]

    def sizes(room: int) -> list[int]:
        cut = list(batches(some, 2, room))
        assert [t for batch in cut for t in batch] == some
        return [len(batch) for batch in cut]

    assert sizes(1) == [1] * 5  # one is always tried
    assert sizes(24) == [1, 1, 3]
    assert sizes(33) == [1, 1, 3]
    assert sizes(34) == [2, 3]
    assert sizes(85) == [5]
    assert list(batches([], 2, 1)) == []


@pytest.mark.parametrize(("room", "most"), [(1, 1), (300, 4), (10_000, 7)])
def test_a_small_room_changes_no_reply(
    room: int, most: int, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = model("qwen2", tokenizer)
    prompts = contexts(llm)
    expected = one_by_one(llm, prompts, 9)
    rows = []
    llm.model.base_model.register_forward_pre_hook(
        lambda module, args, options: rows.append(len(options["inputs_embeds"])), with_kwargs=True
    )
    monkeypatch.setattr("pscli.components.llm.room", lambda model: room)
    assert llm.respond(prompts, max_new_tokens=9) == expected
    assert max(rows) == most


def test_the_room_counts_keys_and_values(tokenizer: Any) -> None:
    """Oracle: the bytes of a cache."""
    for name in FAMILIES:
        llm = model(name, tokenizer)
        cache = DynamicCache()
        llm.hidden(torch.zeros(1, 8, 32), None, torch.arange(8)[None], cache)
        held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        assert room(llm.model) == (1 << 30) // (held // 8)


# -- the agents ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e2e", "pipeline"])
def test_photos_are_looked_at_once(build: SimpleNamespace, random_dialogue: Any, name: str) -> None:
    system = build.end_to_end() if name == "e2e" else build.pipeline()
    dialogues = [random_dialogue(seed, turns=6) for seed in range(3)]
    asked = [i.question for i in instances(dialogues)]
    photos = {id(p) for q in asked for r in q.responses for p in r.photos}
    eyes = system.perceptron if name == "e2e" else system.captioner.perceptron
    seen = []
    eyes.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    prompts = [p.embeddings for p in system.prompts(asked, 400)]
    assert seen == [len(photos)] and len(photos) > 3
    assert len(trunks(prompts)) == len(dialogues)


@pytest.fixture(scope="module", params=["e2e", "pipeline"])
def system(request: Any) -> System:
    """The bundled agent, and the pipeline of the same foundations before it is trained."""
    if request.param == "e2e":
        return Agent.from_pretrained().system
    return build_system("pipeline", tiny("pipeline").model).eval()


@pytest.mark.skipif(not AGENT.is_dir(), reason="the bundled agent is not there")
@pytest.mark.parametrize("dialogues", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_photoworld_is_answered_as_if_one_by_one(system: System, dialogues: int) -> None:
    work = instances(Photoworld().load("test", dialogues))
    limit, longest, count = 60, 400, 0
    for batch in work_in_batches(work, 64):
        asked = [i.question for i in batch]
        prompts = [p.embeddings for p in system.prompts(asked, longest)]
        assert len(trunks(prompts)) == len({q.key.rpartition("/")[0] for q in asked})
        together = system.llm.respond(prompts, max_new_tokens=limit)
        assert together == one_by_one(system.llm, prompts, limit)
        count += len(asked)
    assert count == len(work)


@pytest.mark.parametrize("name", ["llama", "mamba"])
def test_every_token_is_heard_once_in_its_order(name: str, tokenizer: Any) -> None:
    llm = model(name, tokenizer)
    end = tokenizer.eos_token_id
    prompts, heard = contexts(llm)[:6], [[] for _ in range(6)]
    options: Any = {"max_new_tokens": 9, "processors": [Impatience(end)]}
    found = llm.respond(prompts, hear=lambda n, token: heard[n].append(token), **options)
    assert [[token for token in row if token != end] for row in heard] == found
    assert llm.respond(prompts, **options) == found
