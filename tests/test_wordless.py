"""Photos that are drawn from hidden states: what is read, learnt, drawn, saved and scored."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from pscli.components.generator import StableDiffusion
from pscli.components.llm import LanguageModel
from pscli.components.load import Load
from pscli.components.mapper import Connector, Mapper, heads
from pscli.components.noise import seeded
from pscli.components.readiness import Follow
from pscli.config import Config, ModelConfig, SequenceConfig, TrainConfig
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.dialogue.sequence import END_IMG, IGNORE, IMG, token_id
from pscli.errors import CheckpointError, ConfigError
from pscli.runs import Run
from pscli.systems.agent import Agent
from pscli.systems.base import Question
from pscli.systems.wordless import Queries, Voken, Wordless, reads, vokens
from pscli.training.loop import train
from test_dialog2image import done, pscli, sets
from test_tiger import system as tiger
from test_training import curve, killed, scores

TOKENS = 3
KINDS = ["voken", "queries"]


@pytest.fixture
def dialogues(random_dialogue: Any) -> list[Dialogue]:
    return [random_dialogue(seed, turns=6, photos=0.6) for seed in range(12)]


def system(
    build: SimpleNamespace, kind: str, *, align: float = 0.0, **options: Any
) -> Voken | Queries:
    """Vokens are taught to a tokenizer of its own, as other tests share theirs."""
    llm, generator = build.llm(), build.generator(**options)
    torch.manual_seed(5)
    sizes = (llm.width, *reads(generator))
    if kind == "queries":
        mapper = Connector(TOKENS, *sizes)
        made: Any = Queries(build.perceptron(), llm, mapper, generator, TOKENS, align)
    else:
        llm = LanguageModel(llm.model, copy.deepcopy(llm.tokenizer), vokens(TOKENS))
        llm.learn_marks()
        made = Voken(build.perceptron(), llm, Mapper(*sizes), generator, TOKENS, align)
    made.freeze().eval()
    return made  # type: ignore[no-any-return]


def batch(made: Wordless, dialogues: list[Dialogue]) -> Any:
    template = made.template(300)
    packed = [p for d in dialogues for p in template.pack(d)]
    return made.prepare(collate(packed, template.tokenizer.pad_token_id))


# -- the mapper ----------------------------------------------------------------------------------


def attention(block: nn.MultiheadAttention, x: Tensor, y: Tensor) -> Tensor:
    """softmax(Q Kᵀ / √d) V, head by head."""
    width = x.shape[-1]
    q, k, v = (
        t @ w.T + b
        for t, w, b in zip(
            (x, y, y),
            block.in_proj_weight.split(width),
            block.in_proj_bias.split(width),
            strict=True,
        )
    )
    each = width // block.num_heads
    found = [
        (a @ b.transpose(1, 2) / each**0.5).softmax(-1) @ c
        for a, b, c in zip(q.split(each, -1), k.split(each, -1), v.split(each, -1), strict=True)
    ]
    return torch.cat(found, -1) @ block.out_proj.weight.T + block.out_proj.bias


def literal(mapper: Mapper, hidden: Tensor) -> Tensor:
    """Decoder(Encoder(MLP(h)), q), every layer written out: normalised first, then added."""
    t: Any = mapper.transformer
    h = mapper.mlp[2](F.gelu(mapper.mlp[0](hidden)))
    for layer in t.encoder.layers:
        x = layer.norm1(h)
        h = h + attention(layer.self_attn, x, x)
        h = h + layer.linear2(layer.linear1(layer.norm2(h)).relu())
    h = t.encoder.norm(h)
    q = mapper.decoded.repeat(len(h), 1, 1)
    for layer in t.decoder.layers:
        x = layer.norm1(q)
        q = q + attention(layer.self_attn, x, x)
        q = q + attention(layer.multihead_attn, layer.norm2(q), h)
        q = q + layer.linear2(layer.linear1(layer.norm3(q)).relu())
    found: Tensor = t.decoder.norm(q)
    return found


@pytest.mark.parametrize("mode", [True, False])
def test_the_mapper_is_what_minigpt_5_writes(mode: bool) -> None:
    """Oracle: the literal form, in float64; at training and at drawing alike."""
    torch.manual_seed(0)
    mapper = Mapper(12, 5, 16).double().train(mode)
    hidden = torch.randn(3, TOKENS, 12, dtype=torch.float64)
    with torch.no_grad():
        found = mapper(hidden)
        torch.testing.assert_close(found, literal(mapper, hidden), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(mapper(hidden[1:2]), found[1:2], rtol=1e-9, atol=1e-9)
    assert found.shape == (3, 5, 16)


def test_broken_weights_of_a_new_part_are_named(tmp_path: Path) -> None:
    """Missing, cut off, of another part, and no numbers."""
    file, made = tmp_path / "mapper" / "model.safetensors", Mapper(12, 5, 16)
    file.parent.mkdir()

    def load() -> Any:
        return Load(ModelConfig(), tmp_path).made("mapper", lambda: Mapper(12, 5, 16))

    def refused(why: str) -> None:
        with pytest.raises(CheckpointError, match=f"(?s)mapper.*cannot be loaded: .*{why}"):
            load()

    refused("No such file")
    file.write_bytes(b"")
    refused("")
    save_file(Mapper(12, 5, 32).state_dict(), file)
    refused("size mismatch")
    save_file(made.state_dict() | {"decoded": torch.full((5, 16), torch.nan)}, file)
    refused("decoded has values that are no numbers")
    save_file(made.state_dict(), file)
    assert torch.equal(load().decoded, made.decoded)


def test_heads_divide_the_width() -> None:
    assert [heads(width) for width in (1024, 768, 12, 7)] == [8, 8, 4, 1]


# -- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_states_in_a_packed_sequence_are_those_of_each_response_alone(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    """Oracle: what an agent reads when it has written that response itself: prompt, words, and
    image tokens. With it, training and drawing read the same."""
    made = system(build, kind)
    packed = batch(made, dialogues[:6])
    places = [(row, span.start) for row, span in packed.captions]
    assert len(places) >= 8
    with torch.no_grad():
        embeddings = made.asked(made.embed(packed.ids, packed.seen), places)
        hidden = made.llm.hidden(embeddings, packed.mask, packed.positions)
        told = dict(
            zip(
                (span.key for _, span in packed.captions),
                made.mapper(made.states(hidden, places)),
                strict=True,
            )
        )
    template = made.template(300)
    seen = 0
    for dialogue in dialogues[:6]:
        responses = dialogue.responses
        names = template.names(r.speaker for r in responses)
        for k, response in enumerate(responses[1:], start=1):
            if not response.photos:
                continue
            (prompt,) = made.prompts([Question(responses[:k], response.speaker)], 300)
            name = names[response.speaker]
            ids = template.target(response, name, "")[0][len(name) :]
            ids = ids[: ids.index(template.tokenizer.eos_token_id)]
            written = SimpleNamespace(prompt=prompt, ids=ids)
            alone: Any = made.conditions(written)  # type: ignore[arg-type]
            for number, row in enumerate(alone):
                torch.testing.assert_close(
                    told[f"{dialogue.id}/{k}/{number}"], row, rtol=1e-4, atol=1e-4
                )
                seen += 1
    assert seen == len(places)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_generator_s_on_these_embeddings_with_mse_beside_it(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    """Oracle: diffusers' own U-Net and scheduler, photo by photo, with half of them dropped."""
    made = system(build, kind, align=0.25, caption_dropout=0.5)
    packed = batch(made, dialogues[:6])
    g, total, dropped = made.generator, 0.0, 0
    places = [(row, span.start) for row, span in packed.captions]
    with torch.no_grad():
        found = made(packed, 1.0, "0/0")
        embeddings = made.asked(made.embed(packed.ids, packed.seen), places)
        hidden = made.llm.hidden(embeddings, packed.mask, packed.positions)
        for (row, span), latents in zip(packed.captions, packed.drawn, strict=True):
            told = made.mapper(hidden[row, span.start : span.start + TOKENS][None])
            noise = g.draw_noise([seeded("0/0", span.key, "diffusion")])
            words = told if not noise.dropped else g.text_encoder(g.tokenize([""])[0])[0]
            noisy = g.scheduler.add_noise(latents[None], noise.noise, noise.timesteps)
            wanted = g.scheduler.get_velocity(latents[None], noise.noise, noise.timesteps)
            total += float((g.unet(noisy, noise.timesteps, words).sample - wanted).pow(2).mean())
            gold = g.text_encoder(g.tokenize([span.photo.caption or ""])[0])[0]
            total += 0.25 * float((told - gold).pow(2).mean())
            dropped += int(noise.dropped)
    assert 0 < dropped < len(places)
    assert float(found.image) == pytest.approx(total, rel=1e-4)


def test_captions_are_dropped_at_the_published_rate(build: SimpleNamespace) -> None:
    """Oracle: the 10 % of MiniGPT-5."""
    generator: StableDiffusion = build.generator(caption_dropout=0.1)
    noise = generator.draw_noise([seeded(n, "rate") for n in range(2000)])
    assert 0.08 < float(noise.dropped.float().mean()) < 0.12


@pytest.mark.parametrize("kind", KINDS)
def test_text_before_and_after_is_what_it_would_be_without(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    """Queries are seen by no word, and nothing but words and vokens is predicted."""
    made = system(build, kind)
    template = made.template(300)
    packed = [p for d in dialogues for p in template.pack(d)]
    tokenizer = template.tokenizer
    for p in packed:
        for span in p.captions:
            inside = p.labels[span.start : span.end]
            assert span.end - span.start == TOKENS
            if kind == "queries":
                assert inside == [IGNORE] * TOKENS
            else:
                assert tokenizer.convert_ids_to_tokens(inside) == vokens(TOKENS)
                assert p.labels[span.start - 1] == token_id(tokenizer, IMG)
    if kind == "voken":
        return
    with torch.no_grad():
        text = made(batch(made, dialogues), 1.0, "0").text
        made.mapper.queries.add_(100.0)
        assert made(batch(made, dialogues), 1.0, "0").text == text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [False, True])
def test_the_image_loss_reaches_the_llm_unless_it_is_frozen(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str, frozen: bool
) -> None:
    made = system(build, kind)
    if frozen:
        made.freeze(["perceptron.", "llm.", "generator."])
    made(batch(made, dialogues[:4]), 1.0, "0").image.backward()
    reached = {
        name.split(".")[0]
        for name, p in made.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    trains = {"mapper"} if frozen else {"perceptron", "llm", "mapper"}
    assert reached == trains | ({"generator"} if kind == "queries" and not frozen else set())
    assert made.mapper.mlp[0].weight.grad is not None
    if kind == "queries":
        assert float(made.mapper.queries.grad.abs().sum()) > 0  # type: ignore[union-attr]
    elif not frozen:
        rows = made.llm.model.get_input_embeddings().weight.grad[made.ids]  # type: ignore[union-attr]
        assert (rows.abs().sum(1) > 0).all()
    # A micro-batch without photos can be learnt from, too.
    chat = Dialogue((Turn("X", "a dog"), Turn("Y", "boat")), "c")
    losses = made(batch(made, [chat]), 1.0, "0")
    (losses.text + losses.image).backward()
    assert losses.image == 0


@pytest.mark.parametrize("kind", ["e2e", "pipeline", "tiger", *KINDS])
def test_a_micro_batch_without_photos_is_learnt_from_whatever_is_frozen(
    build: SimpleNamespace, kind: str
) -> None:
    """Where only the generator trains, there is nothing to learn from it, and nothing fails."""
    builders = {"e2e": build.end_to_end, "pipeline": build.pipeline, "tiger": lambda: tiger(build)}
    made = builders[kind]() if kind in builders else system(build, kind)
    made.freeze(["perceptron.", "captioner.", "llm.", "predictor.", "mapper."])
    chat = Dialogue((Turn("X", "a dog"), Turn("Y", "boat")), "c")
    losses = made(batch(made, [chat]), 1.0, "0")
    (losses.text + losses.image).backward()
    gradients = [p.grad for p in made.parameters() if p.grad is not None]
    assert losses.text > 0 and losses.image == 0
    assert gradients and not any(g.any() for g in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_may_be_of_16_bits(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    """As an LLM and a generator with adapters are. Oracle: the losses in float32."""
    made = system(build, kind, align=0.1)
    with torch.no_grad():
        wanted = made(batch(made, dialogues[:4]), 1.0, "0")
        for part in (made.llm, made.generator):
            part.bfloat16()
        found = made(batch(made, dialogues[:4]), 1.0, "0")
    torch.testing.assert_close(found.text, wanted.text, rtol=0.05, atol=0.0)
    torch.testing.assert_close(found.image, wanted.image, rtol=0.05, atol=0.0)
    (reply,) = made.reply([Question(dialogues[0].responses[:2], "X")], share_bias=100.0)
    assert reply.photos and made.mapper.decoded.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_bit_for_bit(
    build: SimpleNamespace, dialogues: list[Dialogue], tmp_path: Path, kind: str
) -> None:
    """Oracle: the run that was never interrupted."""
    recipe = TrainConfig(lr=1e-3, batch=4, micro_batch=4, warmup=2, epochs=1.0, save_minutes=0.0)
    config = Config(sequence=SequenceConfig(max_length=300), train=recipe)
    train(system(build, kind), dialogues, config, Run(tmp_path / "whole"), scores)
    killed(2, system(build, kind), dialogues, config, Run(tmp_path / "broken"), scores)
    train(system(build, kind), dialogues, config, Run(tmp_path / "broken"), scores, resume=True)
    whole = curve(tmp_path / "whole")
    assert curve(tmp_path / "broken") == whole and len(whole) >= 4
    assert whole[0]["grad_llm_from_image"] > 0 and whole[0]["grad_mapper"] > 0


# -- replies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", [[7, 8, 9], [9]])
def test_what_follows_img_follows_of_itself_and_stands_nowhere_else(chain: list[int]) -> None:
    """Oracle: replies written by hand; 3 is [IMG], 9 is [/IMG]."""
    rule = Follow(3, chain)
    scores_ = torch.zeros(3, 10)
    nothing = rule(torch.empty(3, 0, dtype=torch.long), scores_)
    assert torch.isinf(nothing).any(0).nonzero().flatten().tolist() == sorted(chain[:-1])
    for place, token in enumerate(chain):
        so_far = torch.tensor([[1, 3, *chain[:place]]])
        assert int(rule(so_far, scores_[:1]).argmax()) == token
        assert int(torch.isfinite(rule(so_far, scores_[:1])).sum()) == 1
    after = rule(torch.tensor([[3, *chain]]), scores_[:1])
    assert int(torch.isfinite(after).sum()) == 10 - len(chain[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_has_photos_and_no_captions_alone_and_beside_others(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    made = system(build, kind)
    asked = [Question(d.responses[:k], "X", f"{d.id}/{k}") for d in dialogues[:2] for k in (1, 3)]
    how: dict[str, Any] = {"seed": 3, "share_bias": 100.0, "max_new_tokens": 8}
    together = made.reply(asked, **how)
    mark = token_id(made.llm.tokenizer, IMG)
    assert made.llm.tokenizer.decode([mark]) in together[0].raw
    for question, reply in zip(asked, together, strict=True):
        (alone,) = made.reply([question], **how)
        assert len(reply.photos) >= 1 and not any(reply.captions)
        assert (alone.raw, alone.text) == (reply.raw, reply.text)
        # Drawn together with others, last bits of a sum may differ, and so a grey level.
        pairs = zip(alone.photos, reply.photos, strict=True)
        assert max(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() for a, b in pairs) <= 1
    (told,) = made.reply(asked[:1], captions=[["a dog"]], **how)
    assert told.captions == ["a dog"]
    (place,) = (n for n, part in enumerate(told.parts) if isinstance(part, Photo))
    (again,) = made.draw(["a dog"], [seeded(3, asked[0].key, place)])
    assert np.abs(np.asarray(again, int) - np.asarray(told.photos[0], int)).max() <= 1
    with pytest.raises(ConfigError, match="draws from no caption"):
        made.reply(asked[:1], best_of=2, **how)
    assert not Agent(made, Config()).captioned and Agent(build.pipeline(), Config()).captioned


def test_a_reply_cut_off_among_its_tokens_is_completed(build: SimpleNamespace) -> None:
    made = system(build, "voken")
    first, mark = made.ids, token_id(made.llm.tokenizer, IMG)  # type: ignore[union-attr]
    end = token_id(made.llm.tokenizer, END_IMG)
    whole = [5, mark, *first, end, 6, mark]
    assert made.spelt([*whole, *first[:1]]) == ([*whole, *first], [2, len(whole)])
    assert made.spelt(whole) == ([*whole, *first], [2, len(whole)])


@pytest.mark.parametrize("kind", KINDS)
def test_image_tokens_that_places_do_not_reach_push_out_the_oldest_words(
    build: SimpleNamespace, dialogues: list[Dialogue], kind: str
) -> None:
    """Oracle: the same states, of a context that begins later."""
    made = system(build, kind)
    (prompt,) = made.prompts([Question(dialogues[0].responses[:3], "X")], 300)
    ids = [token_id(made.llm.tokenizer, IMG)]
    whole = len(prompt.embeddings) + len(made.spelt(ids)[0])
    made.llm.model.config.max_position_embeddings = whole - 2
    short = replace(prompt, embeddings=prompt.embeddings[2:])
    cut, wanted = (
        made.conditions(SimpleNamespace(prompt=p, ids=ids))  # type: ignore[arg-type]
        for p in (prompt, short)
    )
    assert torch.equal(cut, wanted)


def test_a_generator_that_reads_no_embeddings_is_refused() -> None:
    with pytest.raises(ConfigError, match="draws from captions only"):
        reads(SimpleNamespace())  # type: ignore[arg-type]


def test_the_seam_draws_what_captions_draw(build: SimpleNamespace) -> None:
    """Oracle: the same captions as words."""
    generator = build.generator()
    words = ["a red dog", "a boat"]
    by_words = generator.draw(words, [seeded(n) for n in range(2)])
    by_text = generator.draw(generator.encode(words), [seeded(n) for n in range(2)])
    assert all(np.array_equal(a, b) for a, b in zip(by_words, by_text, strict=True))


# -- by the command line -------------------------------------------------------------------------

FEW = {
    "train.dialogues": 8, "train.batch": 4, "train.micro_batch": 4, "train.eval_dialogues": 4,
    "train.warmup": 0, "model.draw_steps": 2, "sequence.share_bias": 30.0,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_answers_is_scored_and_planned(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done("train", kind, "--preset", "demo", "--run", "r", *sets(FEW))
    parts = {p.name for p in Path("r/agent").iterdir() if p.is_dir()}
    assert parts == {"generator", "llm", "mapper", "perceptron"}

    def answers(out: str) -> list[dict[str, Any]]:
        done("generate", "--dataset", "photoworld", "--count", 4, "--agent", "r", "--out", out)
        lines = Path(out, "predictions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    records = answers("preds")
    assert records == answers("again")
    assert any(r["prediction"]["photos"] for r in records)
    assert not any(any(r["prediction"]["captions"]) for r in records)
    assert not any(r["prediction"]["text"].count("[IMG") for r in records)
    told = done("score", "preds", "--json").stdout
    assert "no photo has a caption" in told and '"name": "sharing F1"' in told
    assert '"name": "caption faithfulness"' not in told
    found = json.loads(done("plan", kind, "--json").stdout)
    rows = {c["name"]: c["trained"] for c in found["components"]}
    mapped = sum(n for name, n in rows.items() if name.startswith("mapper"))
    assert mapped > 1e5 and found["flops"] > 0
    assert (rows["generator.unet"] > 0) == (kind == "queries")

    Path("context.json").write_text('{"turns": [{"speaker": "A", "text": "Send me a photo!"}]}')
    shown = done("generate", "--context", "context.json", "--agent", "r").stdout
    assert "[photo] → replies/0001.png" in shown.splitlines()

    Path("r/agent/index.json").unlink()
    asked = ["generate", "--dataset", "photoworld", "--count", 4, "--agent", "r"]
    if kind == "voken":  # more image tokens than it was trained with
        config = json.loads(Path("r/agent/agent_config.json").read_text())
        config["model"]["image_tokens"] += 1
        Path("r/agent/agent_config.json").write_text(json.dumps(config))
        broken = pscli(*asked)
        assert broken.exit_code == 2 and "does not know [IMG9]" in broken.stderr
        config["model"]["image_tokens"] -= 1
        Path("r/agent/agent_config.json").write_text(json.dumps(config))
    Path("r/agent/mapper/model.safetensors").unlink()
    broken = pscli(*asked)
    assert broken.exit_code == 2 and "mapper" in broken.stderr
