"""Configuration: one frozen tree, presets as functions, JSON round trip, --set a.b=value."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from dataclasses import dataclass, field, replace
from typing import Any

from pscli.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """Which components, by registry name, folder or hub id.

    Args:
        llm: `photoworld` (the shipped one), a folder, or a hub id.
        vision: Perceptron folder, likewise.
        generator: diffusers pipeline folder or hub id, likewise.
        perceptron: `qformer` (the arXiv version) or `linear`.
        bridge: How L^v reaches the LLM; `dvtm` is the paper's.
        caption_source: What the text encoder reads in training: the `sampled` caption (§2.4.1) or
            the `gold` one.
        frozen: Prefixes of parameters that do not train. The paper does not say which do.
    """

    llm: str = "photoworld"
    vision: str = "photoworld"
    generator: str = "photoworld"
    perceptron: str = "qformer"
    bridge: str = "dvtm"
    caption_source: str = "sampled"
    frozen: tuple[str, ...] = ("perceptron.vision", "generator.vae", "captioner")
    llm_revision: str | None = None
    generator_revision: str | None = None
    guidance: float = 3.0
    draw_steps: int = 20
    snr_gamma: float | None = None


@dataclass(frozen=True)
class SequenceConfig:
    """max_length: longest packed sequence in tokens; max_new_tokens: longest reply."""

    max_length: int = 400
    max_new_tokens: int = 60


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are §3.1.2 of Guo et al. (2024), where it speaks."""

    lr: float = 5e-5  # §3.1.2
    weight_decay: float = 0.01  # §3.1.2
    batch: int = 32  # §3.1.2; here in packed dialogues, not in single responses
    micro_batch: int = 32
    warmup: int = 1000  # §3.1.2 "over the first 1,000 steps"; constant afterwards
    epochs: float = 20.0  # paper silent: it stops early
    dialogues: int | None = None  # of the training split; all by default
    tau_start: float = 1.0  # §3.1.2
    tau_end: float = 0.01  # §3.1.2
    tau_epochs: float = 3.0  # §3.1.2
    alpha: float = 1.0  # §3.1.2
    patience: int = 4  # §3.1.2, in evaluations
    evaluations_per_epoch: float = 1.0  # §3.1.2
    eval_dialogues: int = 100  # of the dev split; paper: all
    decay: bool = False  # linear decay of the rate to zero; paper silent
    max_grad_norm: float = 1.0  # paper silent; our choice
    save_minutes: float = 5.0


@dataclass(frozen=True)
class Config:
    system: str = "e2e"
    dataset: str = "photoworld"
    preset: str = "tiny"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, pairs: dict[str, Any]) -> Config:
        """Raises ConfigError at an unknown name or a value of the wrong type."""
        if not isinstance(pairs, dict):
            raise ConfigError(
                f"A configuration cannot be a {type(pairs).__name__}.",
                'Expected {"system": "e2e", "train": {…}, …}.',
            )
        config = cls()
        for name, value in _flat(pairs):
            config = changed(config, name, value)
        return config


def paper(system: str = "e2e") -> Config:
    """Guo et al. (2024), §3.1.2: Llama-2-7b-chat, BLIP-2, Stable Diffusion 2.1 base."""
    return Config(
        system=system,
        preset="paper",
        model=ModelConfig(
            llm="meta-llama/Llama-2-7b-chat-hf",
            vision="Salesforce/blip2-opt-2.7b-coco",
            generator="stabilityai/stable-diffusion-2-1-base",
            guidance=7.5,  # paper silent; the pipeline's default
        ),
        sequence=SequenceConfig(max_length=2048, max_new_tokens=128),
    )


def tiny(system: str = "e2e") -> Config:
    """photoworld on two CPU cores: the paper's recipe, scaled from 7 B to 8 M parameters."""
    return Config(
        system=system,
        preset="tiny",
        # Gold captions: sampled ones name other settings than the photo, and taught the small
        # generator to trust no setting at all (docs/deviations.md).
        model=ModelConfig(snr_gamma=5.0, caption_source="gold"),
        train=TrainConfig(
            lr=5e-4,  # ten times the paper's: the parts are a thousand times smaller
            warmup=15,  # of 188 steps, as 1,000 are of the paper's
            micro_batch=16,
            epochs=1.0,
            tau_epochs=0.67,  # two thirds of the run; our choice
            evaluations_per_epoch=1.0,
            eval_dialogues=60,
            decay=True,
        ),
    )


def demo(system: str = "e2e") -> Config:
    """A taste of `tiny`: two minutes."""
    base = tiny(system)
    short = replace(
        base.train, epochs=1.0, dialogues=1920, tau_epochs=0.75, warmup=10, eval_dialogues=24
    )
    return replace(base, preset="demo", train=short)


def changed(config: Any, name: str, value: Any) -> Any:
    """`config` with the value at `a.b` replaced.

    Args:
        value: A value of the right type, or a string that is read as one.

    Raises:
        ConfigError: if there is no such name, or the value does not fit; it suggests the nearest.
    """
    return _changed(config, name, value, "")


def _changed(config: Any, name: str, value: Any, above: str) -> Any:
    head, _, rest = name.partition(".")
    path = above + head
    fields = {f.name for f in dataclasses.fields(config)}
    if head not in fields:
        near = difflib.get_close_matches(head, sorted(fields), n=1)
        guess = f" Did you mean '{above}{near[0]}'?" if near else ""
        raise ConfigError(
            f"Unknown setting '{path}'.{guess}", f"Known: {', '.join(sorted(fields))}."
        )
    current = getattr(config, head)
    if dataclasses.is_dataclass(current) != bool(rest):
        raise ConfigError(
            f"'{above}{name}' does not name a single setting.",
            "Write --set train.lr=1e-4, for example.",
        )
    if rest:
        return replace(config, **{head: _changed(current, rest, value, f"{path}.")})
    kind = typing.get_type_hints(type(config))[head]
    return replace(config, **{head: _cast(value, kind, path)})


def _cast(value: Any, kind: Any, name: str) -> Any:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if isinstance(value, str) and str not in kinds:
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
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


def _flat(pairs: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in pairs.items():
        flat += (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
        )
    return flat
