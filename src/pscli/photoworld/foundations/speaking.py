"""The tongue: two different BPE vocabularies, the LLM, and the Q-Former that shows it photos."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    Blip2QFormerConfig,
    Blip2QFormerModel,
    Blip2VisionModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from pscli.components.llm import LanguageModel
from pscli.components.perceptron import QFormerPerceptron, in_place
from pscli.dialogue.batch import Batch, collate
from pscli.dialogue.schema import Dialogue, Photo
from pscli.dialogue.sequence import (
    END_IMG,
    IGNORE,
    IMG,
    PHOTO,
    Packed,
    Template,
    seen,
    token_id,
    told,
)
from pscli.photoworld.foundations.fit import Losses, fit
from pscli.photoworld.foundations.pool import Pool, global_labels, kind_labels, side_labels
from pscli.photoworld.foundations.seeing import GLOBALS
from pscli.photoworld.scene import COLOURS, KINDS, SETTINGS, SIDES, Scene
from pscli.systems.base import text_loss
from pscli.systems.captioner import CAPTION, DESCRIBE, Captioner

CLIP_LENGTH = 40  # tokens of a caption, where Stable Diffusion has 77


def texts(dialogues: Sequence[Dialogue]) -> Iterable[str]:
    """Everything that is said in dialogues, and both kinds of words for their photos."""
    for dialogue in dialogues:
        for turn in dialogue.turns:
            yield " " + turn.text
        for photo in dialogue.photos:
            yield f" {photo.caption}"
            yield " " + describe(photo)


def describe(photo: Photo) -> str:
    """Full description of a photoworld photo."""
    assert isinstance(photo.source, Scene)
    return photo.source.description()


def train_llm_tokenizer(corpus: Iterable[str], size: int = 2048) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the marks of our template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", IMG, END_IMG, PHOTO]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=[IMG, END_IMG, PHOTO],
    )  # fmt: skip


def train_clip_tokenizer(corpus: Iterable[str], size: int = 400) -> CLIPTokenizer:
    """CLIP's own BPE (lower case, `</w>` ends a word) with a vocabulary of photoworld."""
    like: Any = CLIPTokenizer()._tokenizer
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = like.normalizer, like.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=CLIP_LENGTH)


def language_model(tokenizer: PreTrainedTokenizerFast) -> LanguageModel:
    """A Llama of 2.2 M parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=6, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return LanguageModel(LlamaForCausalLM(config), tokenizer)


def mean_text_loss(llm: LanguageModel, batch: Batch, embeddings: Tensor | None = None) -> Tensor:
    """Negative log-likelihood per supervised token (Eq. 2)."""
    embeddings = llm.embed(batch.ids) if embeddings is None else embeddings
    hidden = llm.hidden(embeddings, batch.mask, batch.positions)
    return text_loss(llm, hidden, batch) / batch.tokens


class Reading:
    """Dialogues as running text, all of it supervised.

    Photos are told by their full descriptions, or are `length` visual embeddings.
    """

    def __init__(
        self, llm: LanguageModel, dialogues: Sequence[Dialogue], length: int | None = None
    ) -> None:
        see = seen(llm.tokenizer, length) if length else told(llm.tokenizer, describe)
        template = Template(llm.tokenizer, see)
        self.sequences = [s for d in dialogues for s in self.written(template, d)]
        self.pad = llm.tokenizer.pad_token_id

    def written(self, template: Template, dialogue: Dialogue) -> list[Packed]:
        """The sequences of a dialogue."""
        sequences, photo = template.pack(dialogue), template.id(PHOTO)
        for s in sequences:
            # The first token of a segment does not follow the token before it.
            same = [a == b for a, b in zip(s.segments, s.segments[1:], strict=False)]
            s.labels = [IGNORE] + [
                t if k and t != photo else IGNORE for t, k in zip(s.ids[1:], same, strict=True)
            ]
        return sequences

    def batch(self, step: int, count: int, window: int = 8) -> Batch:
        """The batch of a step; the batches of a window share out its sequences by length."""
        drawn, part = divmod(step, window)
        generator = torch.Generator().manual_seed(drawn)
        rows = torch.randint(len(self.sequences), (window * count,), generator=generator).tolist()
        rows.sort(key=lambda row: len(self.sequences[row].ids))
        first = count * int(torch.randperm(window, generator=generator)[part])
        return collate([self.sequences[i] for i in rows[first : first + count]], self.pad)


def train_llm(
    tokenizer: PreTrainedTokenizerFast, dialogues: Sequence[Dialogue], work: Path,
    *, steps: int, batch: int = 8, seed: int = 0,
) -> LanguageModel:  # fmt: skip
    """Reads in bf16, a third faster."""
    torch.manual_seed(seed)
    llm = language_model(tokenizer)
    reading = Reading(llm, dialogues)

    def loss(step: int) -> Losses:
        with torch.autocast("cpu", torch.bfloat16):
            return {"text": mean_text_loss(llm, reading.batch(step, batch))}

    fit(llm, loss, work, steps=steps, lr=2e-3)
    return llm


def caption_sequence(captioner: Captioner, task: str, words: str) -> Packed:
    """The captioner's prompt and `words </s>`, which are supervised."""
    tokenizer = captioner.llm.tokenizer
    asked = captioner.prompt_ids(task)
    answer = [
        *tokenizer(" " + words, add_special_tokens=False).input_ids, tokenizer.eos_token_id
    ]  # fmt: skip
    packed = Packed()
    packed.append(asked, [False] * len(asked), 0)
    packed.append(answer, [True] * len(answer), 0)
    return packed


def perceptron(vision: Blip2VisionModel, width: int, length: int = 8) -> QFormerPerceptron:
    """A frozen vision encoder and an untrained Q-Former of 0.4 M parameters.

    Deviation: `length` 8 visual tokens for 64 patches; the paper has 32 for 256.
    """
    qformer = Blip2QFormerModel(
        Blip2QFormerConfig(
            hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=320,
            encoder_hidden_size=vision.config.hidden_size, cross_attention_frequency=1,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, vocab_size=1,
        )
    )  # fmt: skip
    # Without positions nobody can tell left from right: a patch's column is lost in the ViT.
    places = vision.embeddings.position_embedding.detach()[0].clone()
    return QFormerPerceptron(vision.requires_grad_(False), qformer, length, width, places=places)


class Shown(nn.Module):
    """A captioner with linear probes on its visual embeddings: what they must tell the LLM.

    They stand where BLIP-2 has its contrastive and matching losses. By captions alone the
    embeddings told things and colours, but were slow to tell the light and the side.
    """

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner
        width = captioner.perceptron.length * captioner.perceptron.width
        self.colours = nn.Linear(width, len(KINDS) * (1 + len(COLOURS)))
        self.sides = nn.Linear(width, len(KINDS) * (2 + len(SIDES)))
        self.globals = nn.ModuleDict({k: nn.Linear(width, n) for k, n in GLOBALS.items()})

    def probes(self, visual: Tensor, scenes: Sequence[Scene]) -> Tensor:
        """Cross-entropy of all probes of visual embeddings [B, Q, D]."""
        x, facts = visual.flatten(1), global_labels(scenes)
        things = (self.colours(x), kind_labels(scenes)), (self.sides(x), side_labels(scenes))
        losses = [
            8 * F.cross_entropy(logits.view(labels.numel(), -1), labels.flatten())
            for logits, labels in things
        ]
        losses += [F.cross_entropy(head(x), facts[name]) for name, head in self.globals.items()]
        return torch.stack(losses).sum()


def untrained(vision: Blip2VisionModel, llm: LanguageModel, seed: int = 0) -> Captioner:
    """A captioner whose Q-Former has learnt nothing yet."""
    torch.manual_seed(seed)
    return Captioner(perceptron(vision, llm.width), llm)


class Lessons:
    """Captions and full descriptions of photos, questions about them, and whole dialogues.

    Args:
        shares: How many of each are in a step.
    """

    def __init__(
        self, captioner: Captioner, pool: Pool, dialogues: Sequence[Dialogue],
        asked: Sequence[Dialogue], *, shares: tuple[int, int, int], seed: int = 0,
    ) -> None:  # fmt: skip
        self.shown, self.pool = Shown(captioner), pool
        llm, length = captioner.llm, captioner.perceptron.length
        self.reading, self.looking = Reading(llm, dialogues, length), Reading(llm, asked, length)
        self.shares, self.seed = shares, seed

    def losses(self, step: int) -> Losses:
        """Of the batch of a step."""
        captioner, pool = self.shown.captioner, self.pool
        rows = pool.pick(self.seed + 3, step, self.shares[0])
        scenes = [pool.scenes[i] for i in rows]
        asked_for = [
            caption_sequence(captioner, DESCRIBE, s.description())
            if n % 2
            else caption_sequence(captioner, CAPTION, s.caption(like=n % 8 == 0))
            for n, s in enumerate(scenes)
        ]
        patches = captioner.perceptron.vision(pool.batch(rows)).last_hidden_state
        visual, captions = seen_loss(captioner, patches, collate(asked_for, self.reading.pad))
        return {
            "caption": captions,
            "probes": 0.2 * self.shown.probes(visual, scenes),
            "questions": dialogue_loss(captioner, self.looking.batch(step, self.shares[1])),
            "text": dialogue_loss(captioner, self.reading.batch(step, self.shares[2])),
        }


def seen_loss(captioner: Captioner, patches: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Visual embeddings [B, Q, D] of photos, and the text loss of a batch that looks at them."""
    llm, visual = captioner.llm, captioner.perceptron(patches)
    photo = token_id(llm.tokenizer, PHOTO)
    embeddings = in_place(llm.embed(batch.ids), batch.ids == photo, visual)
    return visual, mean_text_loss(llm, batch, embeddings)


def dialogue_loss(captioner: Captioner, batch: Batch) -> Tensor:
    """Text loss of a batch that looks at its own photos."""
    photos = [photo.open() for photo in batch.photos]
    return seen_loss(captioner, captioner.perceptron.look(photos), batch)[1]


def train_captioner(lessons: Lessons, work: Path, *, steps: int) -> Captioner:
    """The captioner of the lessons, once it has taken them; in bf16."""

    def loss(step: int) -> Losses:
        with torch.autocast("cpu", torch.bfloat16):
            return lessons.losses(step)

    fit(lessons.shown, loss, work, steps=steps, lr=1e-3, ema=0.998)
    return lessons.shown.captioner


@torch.no_grad()
def perplexity(llm: LanguageModel, dialogues: Sequence[Dialogue]) -> float:
    """exp of the mean negative log-likelihood per token of running text."""
    reading = Reading(llm, dialogues)
    total, tokens = 0.0, 0
    for start in range(0, len(reading.sequences), 32):
        batch = collate(reading.sequences[start : start + 32], reading.pad)
        total += float(mean_text_loss(llm, batch)) * batch.tokens
        tokens += batch.tokens
    return math.exp(total / tokens)


@torch.no_grad()
def settings_said_again(llm: LanguageModel, dialogues: Sequence[Dialogue]) -> float:
    """Share of the settings in captions that the LLM finds likeliest, of those said before.

    Perplexity hides whether an LLM copies: a caption has one setting, and all other words are
    easier.
    """
    reading = Reading(llm, dialogues)
    settings = {llm.tokenizer(f" {s}", add_special_tokens=False).input_ids[0] for s in SETTINGS}
    right = []
    for packed in reading.sequences:
        batch = collate([packed], reading.pad)
        logits = llm.logits(llm.hidden(llm.embed(batch.ids), batch.mask, batch.positions)[0])
        for span in packed.captions:
            ids = packed.ids[: span.end]
            places = [k for k in range(span.start, span.end) if ids[k] in settings]
            right += [logits[k - 1].argmax().item() == ids[k] for k in places if ids[k] in ids[:k]]
    return sum(right) / max(1, len(right))
