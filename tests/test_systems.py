"""The two systems at tiny size: where gradients flow, what moves, and oracles for every loss."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pscli.components.bridge import Captions, dvtm, none
from pscli.components.generator import DiffusionNoise, added_to_token_embedding
from pscli.components.llm import LanguageModel
from pscli.components.noise import seeded
from pscli.config import Config, PartConfig
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.dialogue.sequence import Packed, Template, told
from pscli.errors import CheckpointError, ConfigError, DataError
from pscli.systems.agent import Agent
from pscli.systems.base import Losses, Question, answer
from pscli.training.experiment import refuse_untrainable

Dialogues = Callable[..., Dialogue]


def sequences(system: Any, dialogues: Sequence[Dialogue]) -> list[Packed]:
    return [packed for d in dialogues for packed in system.template(512).pack(d)]


def losses(system: Any, packed: Sequence[Packed], size: int, tau: float = 1.0) -> Losses:
    """Σ over micro-batches of `size` sequences, with gradients accumulated."""
    texts, images = [], []
    for start in range(0, len(packed), size):
        pad = system.llm.tokenizer.pad_token_id
        part = system(system.prepare(collate(packed[start : start + size], pad)), tau, "0/0")
        (part.text + part.image).backward()
        texts.append(part.text.detach())
        images.append(part.image.detach())
    return Losses(torch.stack(texts).sum(), torch.stack(images).sum())


def gradients(system: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in system.named_parameters() if p.grad is not None}


def norm(part: nn.Module) -> float:
    squares = [p.grad.square().sum() for p in part.parameters() if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


@pytest.fixture
def dialogues(random_dialogue: Dialogues) -> list[Dialogue]:
    return [random_dialogue(seed, turns=3 + seed % 3, photos=0.5) for seed in range(8)]


# -- gradients across the bridge ---------------------------------------------------------------


@pytest.mark.parametrize(("bridge", "flows"), [(dvtm, True), (none, False)])
@pytest.mark.parametrize("source", ["sampled", "gold"])
def test_the_image_loss_reaches_the_llm_and_the_q_former_by_the_bridge_alone(
    build: SimpleNamespace, dialogues: list[Dialogue], bridge: Any, flows: bool, source: str
) -> None:
    system = build.end_to_end(bridge, source)
    batch = system.prepare(collate(sequences(system, dialogues[:3]), 0))
    assert batch.photos and batch.captions
    system(batch, 1.0, "0/0").image.backward()
    assert norm(system.generator.unet) > 0 and norm(system.generator.text_encoder) > 0
    for part in (system.llm, system.perceptron.qformer, system.perceptron.projection):
        assert (norm(part) > 1e-9) is flows and (norm(part) > 0) is flows
    assert (system.perceptron.queries.grad is not None) is flows


def test_the_bridge_changes_no_loss(build: SimpleNamespace, dialogues: list[Dialogue]) -> None:
    results = []
    for bridge in (dvtm, none):
        system = build.end_to_end(bridge)
        results.append(losses(system, sequences(system, dialogues[:3]), 3))
    assert results[0] == results[1]


def test_pipeline_losses_train_separate_parts(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    system = build.pipeline()
    batch = system.prepare(collate(sequences(system, dialogues[:3]), 0))
    result = system(batch, 1.0, "0/0")
    result.image.backward(retain_graph=True)
    assert norm(system.llm) == norm(system.captioner) == 0 < norm(system.generator)
    system.zero_grad()
    result.text.backward()
    assert norm(system.generator) == norm(system.captioner) == 0 < norm(system.llm)


# Softmax and normalisation ignore a shift that all keys share, so that the bias of a key
# projection has no gradient but rounding; and the visual place has no embedding of its own.
FROZEN = ("perceptron.vision.", "generator.vae.", "captioner.")
UNMOVED = ("k_proj.bias",)


@pytest.mark.parametrize("kind", ["end_to_end", "pipeline"])
def test_what_is_frozen_stays_and_everything_else_moves(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    system = getattr(build, kind)()
    system.freeze()
    before = {n: p.detach().clone() for n, p in system.named_parameters()}
    trainable = {n for n, p in system.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        [p for p in system.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0
    )
    packed = sequences(system, dialogues)
    for _ in range(2):
        optimizer.zero_grad()
        losses(system, packed, 8)
        optimizer.step()
    moved = {n for n, p in system.named_parameters() if not torch.equal(p, before[n])}
    assert moved <= trainable
    still = {n for n in trainable - moved if not n.endswith(UNMOVED)}
    assert not still
    frozen = {n for n in before if n.startswith(FROZEN)}
    assert frozen and not frozen & trainable
    parts = {n.split(".")[0] for n in moved}
    assert parts == {"llm", "generator"} | ({"perceptron"} if kind == "end_to_end" else set())


# -- micro-batches -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["end_to_end", "pipeline"])
def test_micro_batches_add_up(build: SimpleNamespace, dialogues: list[Dialogue], kind: str) -> None:
    system = getattr(build, kind)(caption_dropout=0.3)
    packed = sequences(system, dialogues)
    assert len(packed) == 8
    whole = losses(system, packed, 8)
    expected = gradients(system)
    for size in (4, 1):
        system.zero_grad()
        parts = losses(system, packed, size)
        torch.testing.assert_close(parts.text, whole.text, rtol=1e-5, atol=0)
        torch.testing.assert_close(parts.image, whole.image, rtol=1e-5, atol=0)
        found = gradients(system)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            scale = float(expected[name].norm())
            difference = float((gradient - expected[name]).norm())
            # Key biases have no gradient but rounding (see UNMOVED).
            assert difference <= 1e-5 * scale + 1e-5, (name, difference, scale)


def test_noise_and_captions_do_not_depend_on_the_micro_batch(
    build: SimpleNamespace, dialogues: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = build.end_to_end(caption_dropout=0.5)
    packed = sequences(system, dialogues)
    written: list[Captions] = []
    drawn: list[DiffusionNoise] = []
    write, draw_noise = system.write, system.generator.draw_noise

    def watch_write(*args: Any) -> Any:
        written.append(write(*args))
        return written[-1]

    def watch_noise(generators: Any) -> DiffusionNoise:
        drawn.append(draw_noise(generators))
        return drawn[-1]

    monkeypatch.setattr(system, "write", watch_write)
    monkeypatch.setattr(system.generator, "draw_noise", watch_noise)
    results = []
    with torch.no_grad():
        for size in (8, 1):
            written.clear()
            drawn.clear()
            for start in range(0, 8, size):
                system(system.prepare(collate(packed[start : start + size], 0)), 0.5, "0/3")
            noise = [c.noise[row][c.llm_mask[row]] for c in written for row in range(len(c.noise))]
            words = [w for c in written for w in c.text]
            diffusion = [
                torch.cat([getattr(d, k) for d in drawn]) for k in ("noise", "timesteps", "dropped")
            ]
            results.append((noise, words, diffusion))
    (noise, words, diffusion), (noise_1, words_1, diffusion_1) = results
    assert words == words_1 and len(set(words)) > 1
    assert all(torch.equal(a, b) for a, b in zip(noise, noise_1, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(diffusion, diffusion_1, strict=True))
    assert len({float(n[0, 0]) for n in noise}) == len(noise)  # another draw for every photo


# -- what the text encoder reads ---------------------------------------------------------------


def test_captions_are_sampled_where_the_gold_caption_stands(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    """Against the full logits of the packed sequence and the Gumbel noise of each key."""
    system = build.end_to_end()
    batch = system.prepare(collate(sequences(system, dialogues), 0))
    tokenizer = system.llm.tokenizer
    with torch.no_grad():
        hidden = system.llm.hidden(system.embed(batch.ids, batch.seen), batch.mask, batch.positions)
        captions = system.write(hidden, batch, "0/5")
        logits = system.llm.logits(hidden)
    words = captions.text
    for n, (row, span) in enumerate(batch.captions):
        m = span.end - span.start
        assert int(captions.llm_mask[n].sum()) == m
        expected = logits[row, span.start - 1 : span.end - 1]
        torch.testing.assert_close(captions.logits[n, :m], expected)
        u = torch.rand(m, logits.shape[-1], generator=seeded("0/5", span.key, "gumbel"))
        ids = (expected - (-u.log()).log()).argmax(-1).tolist()
        assert captions.llm_ids[n, :m].tolist() == ids
        plain = [i for i in ids if i not in tokenizer.all_special_ids]
        assert words[n] == tokenizer.decode(plain).strip()
        assert captions.llm_words[n, :m].tolist() == [
            i not in tokenizer.all_special_ids for i in ids
        ]
        clip = system.generator.tokenizer
        read = clip(words[n], padding="max_length", truncation=True, max_length=16).input_ids
        assert captions.clip_ids[n].tolist() == read
        assert captions.clip_words[n].tolist() == [i not in clip.all_special_ids for i in read]


def test_gold_captions_are_the_dialogue_s_own(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    system = build.end_to_end(caption_source="gold")
    batch = system.prepare(collate(sequences(system, dialogues), 0))
    with torch.no_grad():
        embeddings = system.embed(batch.ids, batch.seen)
        hidden = system.llm.hidden(embeddings, batch.mask, batch.positions)
        words = system.write(hidden, batch, "0/0").text
    assert list(words) == [span.photo.caption for _, span in batch.captions]


def test_each_photo_s_embeddings_stand_in_its_own_place(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    system = build.end_to_end()
    batch = system.prepare(collate(sequences(system, dialogues), 0))
    photo = system.llm.tokenizer.convert_tokens_to_ids("<photo>")
    with torch.no_grad():
        embeddings = system.embed(batch.ids, batch.seen)
        for place in (batch.ids != photo).nonzero().tolist():
            row, column = place
            assert torch.equal(embeddings[row, column], system.llm.embed(batch.ids[row, column]))
        places = (batch.ids == photo).nonzero().tolist()
        for n, shown in enumerate(batch.photos):
            (visual,) = system.perceptron(system.perceptron.look([shown.open()]))
            for (row, column), expected in zip(places[3 * n : 3 * n + 3], visual, strict=True):
                torch.testing.assert_close(embeddings[row, column], expected)


def test_text_loss_is_the_log_likelihood(build: SimpleNamespace, dialogues: list[Dialogue]) -> None:
    """The pipeline's sequences are plain text: transformers' own loss is the oracle."""
    system = build.pipeline()
    packed = sequences(system, dialogues[:4])
    expected = 0.0
    for p in packed:
        ids, labels = torch.tensor([p.ids]), torch.tensor([p.labels])
        with torch.no_grad():
            count = int((labels != -100).sum())
            expected += float(system.llm.model(ids, labels=labels).loss) * count
    assert float(losses(system, packed, 4).text) == pytest.approx(expected, rel=1e-5)


# -- the generator -----------------------------------------------------------------------------


CAPTIONS = ["A red dog", "A blue boat at the beach", "the kitchen at night"]


def some_noise(generator: Any, dropped: Sequence[bool] = (False,) * 3) -> DiffusionNoise:
    drawn = generator.draw_noise([seeded("test", n) for n in range(3)])
    return dataclasses.replace(drawn, dropped=torch.tensor(dropped))


def some_latents() -> Tensor:
    return torch.randn(3, 4, 4, 4, generator=seeded("latents"))


def test_a_residual_is_added_to_the_input_embeddings(build: SimpleNamespace) -> None:
    """Oracle: a copy of the encoder whose vocabulary has a row for every changed embedding."""
    generator = build.generator()
    ids, _ = generator.tokenize(CAPTIONS)
    residual = torch.randn(*ids.shape, 16, generator=seeded("residual"))
    noise, latents = some_noise(generator), some_latents()
    found = generator.losses(ids, latents, noise, residual)

    other = copy.deepcopy(generator)
    table = other.text_encoder.get_input_embeddings().weight.detach()
    rows = (table[ids] + residual).flatten(0, 1)
    other.text_encoder.set_input_embeddings(nn.Embedding.from_pretrained(rows))
    expected = other.losses(torch.arange(len(rows)).view_as(ids), latents, noise)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(found, generator.losses(ids, latents, noise), rtol=1e-3)


def test_an_exclamation_mark_is_read_where_padding_is_one_too(build: SimpleNamespace) -> None:
    """As Stable Diffusion 2 pads: "!" is a word of the caption before its end, none after it."""
    generator = build.generator()
    generator.tokenizer = copy.deepcopy(generator.tokenizer)
    generator.tokenizer.pad_token = "!"
    ids, words = generator.tokenize(["a dog!?", ""])
    plain = generator.tokenizer(["a dog!?", ""], add_special_tokens=False).input_ids
    assert [row[kept].tolist() for row, kept in zip(ids, words, strict=True)] == plain
    assert plain[0][-2] == ids[1][-1] == generator.tokenizer.convert_tokens_to_ids("!")


def test_a_dropped_caption_is_the_empty_one_and_carries_no_gradient(
    build: SimpleNamespace,
) -> None:
    generator = build.generator()
    ids, _ = generator.tokenize(CAPTIONS)
    residual = torch.randn(*ids.shape, 16, generator=seeded("residual")).requires_grad_()
    noise, latents = some_noise(generator, (True, False, True)), some_latents()
    found = generator.losses(ids, latents, noise, residual)
    empty, _ = generator.tokenize(["", CAPTIONS[1], ""])
    plain = dataclasses.replace(noise, dropped=torch.tensor([False] * 3))
    expected = generator.losses(empty, latents, plain)
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]], rtol=1e-6, atol=1e-6)
    found.sum().backward()
    assert residual.grad is not None
    assert [bool(g.any()) for g in residual.grad] == [False, True, False]


def test_captions_are_dropped_at_the_rate_that_was_asked_for(build: SimpleNamespace) -> None:
    generator = build.generator(caption_dropout=0.1)
    drawn = generator.draw_noise([seeded("rate", n) for n in range(3000)])
    # Four standard errors of a binomial.
    assert float(drawn.dropped.float().mean()) == pytest.approx(0.1, abs=0.022)
    assert 0 <= int(drawn.timesteps.min()) < 10 and 990 <= int(drawn.timesteps.max()) <= 999
    assert float(drawn.noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.noise.std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("gamma", [None, 5.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_image_loss_is_the_literal_formula(
    build: SimpleNamespace, prediction: str, gamma: float | None
) -> None:
    """z_t = √ᾱ z + √(1-ᾱ) ε; the target is ε or v = √ᾱ ε - √(1-ᾱ) z; min-SNR weights."""
    generator = build.generator(prediction, snr_gamma=gamma)
    ids, latents, noise = generator.tokenize(CAPTIONS)[0], some_latents(), some_noise(generator)
    noise = dataclasses.replace(noise, timesteps=torch.tensor([3, 400, 990]))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    bars = (1 - betas).cumprod(0)[noise.timesteps]
    with torch.no_grad():
        found = generator.losses(ids, latents, noise)
        text = generator.text_encoder(ids).last_hidden_state
        for n, bar in enumerate(bars.tolist()):
            signal, sigma = bar**0.5, (1 - bar) ** 0.5
            z, epsilon = latents[n], noise.noise[n]
            z_t = signal * z + sigma * epsilon
            predicted = generator.unet(z_t[None], noise.timesteps[n], text[n : n + 1]).sample[0]
            wanted = epsilon if prediction == "epsilon" else signal * epsilon - sigma * z
            snr = bar / (1 - bar)
            weight = 1.0
            if gamma is not None:
                weight = min(snr, gamma) / (snr if prediction == "epsilon" else snr + 1)
            expected = weight * float((predicted - wanted).square().mean())
            assert float(found[n]) == pytest.approx(expected, rel=1e-4)


def test_latents_are_the_scaled_mode_of_the_posterior(
    build: SimpleNamespace, random_photo: Callable[[random.Random], Photo]
) -> None:
    generator = build.generator()
    image = random_photo(random.Random(1)).open()
    assert generator.size == 16
    pixels = torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.no_grad():
        moments = generator.vae.quant_conv(generator.vae.encoder(pixels))
    found = generator.latents([image, image.resize((16, 16))])
    assert found.shape == (2, 4, 4, 4)
    torch.testing.assert_close(found[:1], 0.5 * moments[:, :4], rtol=1e-4, atol=1e-5)


def test_the_hook_is_removed_after_an_error(build: SimpleNamespace) -> None:
    generator = build.generator()
    ids, _ = generator.tokenize(CAPTIONS)
    embedding = generator.text_encoder.get_input_embeddings()
    before = generator.text_encoder(ids)[0]
    with added_to_token_embedding(generator.text_encoder, torch.ones(3, 16, 16)):
        assert not torch.allclose(generator.text_encoder(ids)[0], before)
    assert torch.equal(generator.text_encoder(ids)[0], before)
    with pytest.raises(RuntimeError):  # a residual of another shape
        generator.losses(ids, some_latents(), some_noise(generator), torch.ones(3, 5, 16))
    assert not embedding._forward_hooks
    assert torch.equal(generator.text_encoder(ids)[0], before)


# -- answers -----------------------------------------------------------------------------------


def questions(dialogues: Sequence[Dialogue]) -> list[Question]:
    return [Question(d.responses[:-1], d.responses[-1].speaker, d.id) for d in dialogues]


@pytest.mark.parametrize("kind", ["end_to_end", "pipeline"])
def test_batched_answers_equal_one_by_one(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    system = getattr(build, kind)()
    asked = questions(dialogues)
    options = {"max_new_tokens": 12, "max_length": 200}
    together = answer(system, asked, **options)
    alone = [answer(system, [q], **options)[0] for q in asked]
    assert [r.raw for r in together] == [r.raw for r in alone]
    assert len({r.raw for r in together}) > 2  # different questions, different answers


def test_answers_follow_the_likeliest_tokens(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    """Against a loop that re-reads the whole context for every token."""
    system = build.end_to_end()
    (asked,) = questions(dialogues[:1])
    prompt = system.prompts([asked], 200)[0].embeddings
    ids: list[int] = []
    with torch.no_grad():
        for _ in range(10):
            words = system.llm.embed(torch.tensor(ids, dtype=torch.long))
            embeddings = torch.cat([prompt, words])[None]
            token = int(system.llm.model(inputs_embeds=embeddings).logits[0, -1].argmax())
            if token == system.llm.tokenizer.eos_token_id:
                break
            ids.append(token)
    (reply,) = answer(system, [asked], max_new_tokens=10)
    assert reply.raw == system.llm.tokenizer.decode(ids)


def test_a_reply_has_room_after_the_longest_context(build: SimpleNamespace) -> None:
    """GPT-2 has an embedding of each place, and none beyond. Oracle: the context that fits."""
    made = build.pipeline()
    end = made.llm.tokenizer.eos_token_id
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 60}
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(made.llm.tokenizer), bos_token_id=end, eos_token_id=end, **sizes)
    )
    made.llm = LanguageModel(model.eval(), made.llm.tokenizer)
    turns = [Turn("XY"[n % 2], "a b c") for n in range(12)]
    asked = [Question(Dialogue(tuple(turns[:k])).responses, "X", f"{k}") for k in (2, 12)]
    how: dict[str, Any] = {"max_new_tokens": 20, "end_bias": -100.0}
    assert max(len(p.embeddings) for p in made.prompts(asked, 60)) > 40
    full = made.reply(asked, max_length=60, **how)
    assert [r.raw for r in full] == [r.raw for r in made.reply(asked, max_length=40, **how)]
    assert not full[0].notes and "did not fit" in full[1].notes[-1]
    with pytest.raises(ConfigError, match=r"60 tokens at most, .*max_new_tokens is 50"):
        made.reply(asked, max_length=60, max_new_tokens=50)


def test_photos_reach_the_reply_that_named_them(
    build: SimpleNamespace, dialogues: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = build.end_to_end()
    tokenizer = system.llm.tokenizer
    raws = [
        " Yes",
        " a[IMG] red dog[/IMG] b[IMG] blue boat[/IMG]",
        "[IMG][/IMG]",
        " c[IMG] red dog",
    ]

    def respond(prompts: Sequence[Tensor], **options: Any) -> list[list[int]]:
        chosen = raws if len(prompts) == 4 else raws[1:2]
        return [tokenizer(raw, add_special_tokens=False).input_ids for raw in chosen]

    monkeypatch.setattr(system.llm, "respond", respond)
    asked = questions(dialogues[:4])
    replies = answer(system, asked, seed=1)
    assert [r.text for r in replies] == ["Yes", "a b", "", "c"]
    assert [r.captions for r in replies] == [[], ["red dog", "blue boat"], [], ["red dog"]]
    assert [len(r.notes) for r in replies] == [0, 0, 1, 1]
    first, second, third = (np.asarray(p, np.int16) for r in replies for p in r.photos)
    assert first.shape == (16, 16, 3)
    assert (first != third).any()  # the same words in the same place of another dialogue
    (again,) = answer(system, asked[1:2], seed=1)
    for photo, expected in zip(again.photos, (first, second), strict=True):
        assert np.abs(np.asarray(photo, np.int16) - expected).max() <= 1  # rounding to 8 bits
    (other,) = answer(system, asked[1:2], seed=2)
    assert (np.asarray(other.photos[0]) != first).any()


def test_sampling_is_seeded_and_leaves_the_global_generator_alone(
    build: SimpleNamespace, dialogues: list[Dialogue]
) -> None:
    system = build.end_to_end()
    asked = questions(dialogues[:2])
    torch.manual_seed(5)
    state = torch.get_rng_state()
    raws = [
        [r.raw for r in answer(system, asked, temperature=1.0, seed=s, max_new_tokens=8)]
        for s in (0, 0, 1)
    ]
    assert raws[0] == raws[1] != raws[2]
    alone = [answer(system, [q], temperature=1.0, max_new_tokens=8)[0].raw for q in asked]
    assert alone == raws[0]
    assert torch.equal(torch.get_rng_state(), state)


def test_the_pipeline_tells_photos_in_its_captioner_s_words(
    build: SimpleNamespace, dialogues: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = build.pipeline()
    asked = questions(dialogues[:3])
    photos = [p for q in asked for r in q.responses for p in r.photos]
    monkeypatch.setattr(
        system.captioner, "describe", lambda shown: [f"dog {n}" for n in range(len(shown))]
    )
    numbers = {id(p): n for n, p in enumerate(photos)}
    see = told(system.llm.tokenizer, lambda photo: f"dog {numbers[id(photo)]}")
    template = Template(system.llm.tokenizer, see, 400)
    prompts = [prompt.embeddings for prompt in system.prompts(asked, 400)]
    for prompt, q in zip(prompts, asked, strict=True):
        ids = torch.tensor(template.prompt(q.responses, q.speaker).ids)
        assert torch.equal(prompt, system.llm.embed(ids))


def test_a_foreign_llm_is_taught_the_marks(build: SimpleNamespace, tmp_path: Path) -> None:
    """A tokenizer without our marks and without padding, as Llama-2's is."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(["a"], trainer)
    plain = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    model = build.llm().model
    model.resize_token_embeddings(len(plain))
    rows = model.get_input_embeddings().weight.detach().clone()
    LanguageModel(model, plain).save_pretrained(tmp_path / "plain")
    taught = LanguageModel.from_pretrained(tmp_path / "plain")
    table = taught.model.get_input_embeddings().weight
    assert len(taught.tokenizer) == len(table) == len(rows) + 4
    assert torch.equal(table[: len(rows)], rows)
    assert torch.equal(taught.model.get_output_embeddings().weight, table)  # still tied
    marks = ["<s>", "</s>", "[IMG]", "[/IMG]", "<photo>", "<pad>"]
    ids = taught.tokenizer("".join(marks), add_special_tokens=False).input_ids
    assert ids == taught.tokenizer.convert_tokens_to_ids(marks) and len(set(ids)) == 6
    assert set(ids) == set(taught.tokenizer.all_special_ids)
    assert taught.tokenizer.pad_token == "<pad>"
    taught.save_pretrained(tmp_path / "taught")
    again = LanguageModel.from_pretrained(tmp_path / "taught")
    assert again.tokenizer("".join(marks), add_special_tokens=False).input_ids == ids
    assert torch.equal(again.model.get_input_embeddings().weight, table)


# -- agent folders -----------------------------------------------------------------------------


def config(**model: Any) -> Config:
    base = Config()
    options = {"draw_steps": 2} | model
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, **options),
        sequence=dataclasses.replace(base.sequence, max_new_tokens=12),
    )


def test_an_agent_folder_answers_as_the_agent_did(
    build: SimpleNamespace, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    asked = questions(dialogues[:4])
    e2e = Agent(build.end_to_end(guidance=3.0), config())
    e2e.save_pretrained(tmp_path / "e2e")
    shared: dict[str, Any] = {
        "perceptron": PartConfig("qformer", str(tmp_path / "e2e" / "perceptron")),
        "llm": PartConfig("causal", str(tmp_path / "e2e" / "llm")),
    }
    pipeline = Agent(
        build.pipeline(guidance=3.0), dataclasses.replace(config(**shared), system="pipeline")
    )
    # The captioner is not stored: it is what the configuration names.
    pipeline.system.captioner = type(pipeline.system.captioner)(build.perceptron(), build.llm())
    pipeline.save_pretrained(tmp_path / "run" / "agent")
    for agent, folder in ((e2e, tmp_path / "e2e"), (pipeline, tmp_path / "run")):
        loaded = Agent.from_pretrained(folder)
        assert loaded.config == agent.config
        before, after = (dict(a.system.named_parameters()) for a in (agent, loaded))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[n], after[n]) for n in before)
        for name, parameter in after.items():
            assert parameter.requires_grad is not name.startswith(FROZEN)
        replies, again = agent.respond_all(asked), loaded.respond_all(asked)
        assert [(r.raw, r.captions) for r in replies] == [(r.raw, r.captions) for r in again]
        photos = [
            a.system.generator.draw(CAPTIONS, [seeded(n) for n in range(3)])
            for a in (agent, loaded)
        ]
        for one, other in zip(*photos, strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(other))
        # Training goes on with the same noise schedule and target.
        schedulers = [a.system.generator.scheduler for a in (agent, loaded)]
        assert torch.equal(schedulers[0].alphas_cumprod, schedulers[1].alphas_cumprod)
        assert schedulers[1].config.prediction_type == "v_prediction"
        files = [p.suffix for p in folder.rglob("*") if p.is_file()]
        assert not {".bin", ".pt", ".pkl", ".ckpt"} & set(files)


def test_half_precision_halves_the_folder_and_keeps_the_agent(
    build: SimpleNamespace, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    agent = Agent(build.end_to_end(), config())
    agent.save_pretrained(tmp_path / "full")
    agent.save_pretrained(tmp_path / "half", half=True)
    sizes = [
        sum(p.stat().st_size for p in (tmp_path / name).rglob("*.safetensors"))
        for name in ("full", "half")
    ]
    assert sizes[1] < 0.7 * sizes[0]  # headers are not halved
    loaded = Agent.from_pretrained(tmp_path / "half")
    assert {p.dtype for p in loaded.system.parameters()} == {torch.float32}
    assert len(loaded.respond_all(questions(dialogues[:2]))) == 2


def test_saving_replaces_an_older_folder(build: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "old.txt").write_text("old", encoding="utf-8")
    Agent(build.end_to_end(), config()).save_pretrained(folder)
    assert not (folder / "old.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["agent"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"modle": {}, "llm": 3}'])
def test_a_folder_without_an_agent_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "agent_config.json").write_text(content, encoding="utf-8")
    with pytest.raises((CheckpointError, ConfigError)):
        Agent.from_pretrained(tmp_path)


def test_who_is_to_speak(build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(build.end_to_end(), config())
    asked: list[Question] = []

    def respond_all(questions: Sequence[Question], **options: Any) -> list[str]:
        asked.extend(questions)
        return ["reply"]

    monkeypatch.setattr(agent, "respond_all", respond_all)
    for speakers in ("A", "AB", "ABC", "B", "ABA"):
        agent.respond(Dialogue([Turn(s, "a") for s in speakers]))
    agent.respond(Dialogue([Turn("A", "a")]), "Zoe")
    assert [q.speaker for q in asked] == ["B", "A", "B", "A", "B", "Zoe"]
    with pytest.raises(ConfigError) as caught:
        agent.respond(Dialogue([Turn("A", " ")]))
    assert str(caught.value) == "The dialogue is empty. Give it at least one turn."


def test_configurations_are_stored_with_the_agent(build: SimpleNamespace, tmp_path: Path) -> None:
    Agent(build.end_to_end(), config(snr_gamma=5.0)).save_pretrained(tmp_path / "agent")
    pairs = json.loads((tmp_path / "agent" / "agent_config.json").read_text(encoding="utf-8"))
    assert Config.from_json(pairs).model == config(snr_gamma=5.0).model
    assert Agent.from_pretrained(tmp_path / "agent").system.generator.snr_gamma == 5.0


def test_an_odd_image_is_scaled_for_the_eyes(build: SimpleNamespace) -> None:
    perceptron = build.perceptron()
    from PIL import Image

    pixels = perceptron.pixels([Image.new("L", (3, 90), 255), Image.new("RGB", (16, 16))])
    assert pixels.shape == (2, 3, 16, 16)
    assert torch.equal(pixels[0], torch.ones(3, 16, 16))
    assert torch.equal(pixels[1], -torch.ones(3, 16, 16))
    patches = perceptron.vision(pixels).last_hidden_state
    assert perceptron(patches).shape == (2, 3, 32)
    assert F.mse_loss(*perceptron(patches)) > 0


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(build: SimpleNamespace, temperature: float) -> None:
    agent = Agent(build.end_to_end(), config())
    with pytest.raises(ConfigError, match=f"The temperature is {temperature}"):
        agent.respond(Dialogue([Turn("A", "a")]), temperature=temperature)


@pytest.mark.parametrize(
    ("name", "what"),
    [("none.jpg", "does not exist"), ("", "is a folder"), ("a\0b.jpg", "does not exist")],
)
def test_a_photo_that_is_not_there_is_named(
    build: SimpleNamespace, tmp_path: Path, name: str, what: str
) -> None:
    agent = Agent(build.end_to_end().freeze(), config())  # eyes that keep what they see
    with pytest.raises(DataError, match=rf"^Photo .* {what}"):
        agent.respond(Dialogue([Turn("A", "Look!", photo=str(tmp_path / name))]))


def test_what_is_to_stay_is_a_part_of_the_system(build: SimpleNamespace) -> None:
    """Else a misspelt name would let train what was to stay."""
    system = build.end_to_end()
    refuse_untrainable(system, "e2e", ["generator.", "perceptron.vision."])
    with pytest.raises(ConfigError) as caught:
        refuse_untrainable(system, "e2e", ["generator.", "generater.vae."])
    assert "model.frozen names 'generater.vae.'" in caught.value.message
    assert caught.value.hint == "Its parts: perceptron, llm, generator."
