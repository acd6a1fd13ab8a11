"""What training takes: parameters, memory of each device, of the host and on disk, and work."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from pscli.components.adapters import adapted
from pscli.components.dalle import Dalle
from pscli.components.unidiffuser import UniDiffuser
from pscli.config import Config, ModelConfig, PartConfig
from pscli.dialogue.schema import Dialogue
from pscli.plan.parts import imagined
from pscli.plan.trace import Trace
from pscli.plan.work import Work, batch_of, longest, measured
from pscli.systems.base import System

ANSWERS = 64  # replies that are generated at once on the dev split
CACHE = float(1 << 30)  # bytes of keys and values at once, on a CPU
CONTEXT = 0.6e9  # bytes that CUDA takes for itself
PROGRAM = 1.0e9  # bytes of a process with its libraries, where they cannot be counted
# Bytes that an allocator takes for one that is asked for: freed blocks do not fit what comes next.
SLACK = {"cpu": 1.5, "cuda": 1.1}


@dataclass(frozen=True)
class Component:
    """A part of a system, or a part of that.

    Args:
        trained: Parameters that train.
        frozen: Parameters that do not.
        weights: Bytes of both.
    """

    name: str
    trained: int
    frozen: int
    weights: int


@dataclass(frozen=True)
class Estimate:
    """Bytes of one device, if they are not said to be other things.

    Args:
        components: In the order of the system's parts.
        work: What a micro-batch is made of.
        devices: Among which weights, gradients and moments are shared out.
        program: Of interpreter, libraries and the device's own context.
        weights: Of all parameters.
        gradients: Of those that train.
        optimizer: Moments.
        host: Of the host, where that is not the device.
        checkpoints: On disk, while one is written and the one before is kept.
        agent: On disk.
        tokens: Tokens of a batch.
        activations: Of a step at its highest, temporary values with it; 0 if it was not traced.
        logits: The most of it that are logits.
        evaluation: The LLM's cache of keys and values for the replies to the dev split, or what
            drawing their photos takes, whichever is more.
        caches: That cache.
        flops: Floating-point operations of a step, of all devices together.
    """

    components: tuple[Component, ...]
    work: Work
    devices: int
    program: float
    weights: float
    gradients: float
    optimizer: float
    host: float
    checkpoints: float
    agent: float
    tokens: float
    activations: float = 0.0
    logits: float = 0.0
    evaluation: float = 0.0
    caches: float = 0.0
    flops: float = 0.0

    @property
    def fixed(self) -> float:
        """What is there all the time."""
        return self.program + self.weights + self.gradients + self.optimizer

    @property
    def peak(self) -> float:
        """The most that is there at once."""
        return self.fixed + max(self.activations, self.evaluation)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"peak": self.peak}


def estimate(
    config: Config,
    dialogues: Sequence[Dialogue] = (),
    *,
    device: str = "cpu",
    devices: int = 1,
    limit: float = math.inf,
    roughly: bool = False,
) -> Estimate:
    """What a run of this configuration takes.

    Args:
        dialogues: Of the training split; if there are none, sequences are taken to be as long as
            they may be.
        device: Kind of the device, `cpu` or `cuda`.
        devices: How many share weights, gradients and moments (FSDP).
        limit: Bytes of a device; what does not fit before anything is computed is not traced.
        roughly: Nor is what fits several times over.

    Raises:
        ConfigError: if a part is not one of ours.
        CheckpointError: if configuration files are not within reach.
    """
    t = config.train
    system = imagined(config.system, config.model)
    trained = [p for p in system.parameters() if p.requires_grad]
    size, length = min(t.micro_batch, t.batch), config.sequence.max_length
    length = min(length, system.template(length).max_length)
    work = measured(system, dialogues, size, length) if dialogues else longest(size, length)
    parts = tuple(components(system, config.model))
    weights = sum(part.weights for part in parts)
    gradients = sum(p.nbytes for p in trained)
    optimizer = sum(moments(p, t.optimizer) for p in trained)
    # One layer is gathered whole, while the next one is on its way.
    gathered = 2 * max(map(own_bytes, system.modules())) if devices > 1 else 0
    fixed = Estimate(
        components=parts, work=work, devices=devices,
        program=CONTEXT if device == "cuda" else resident(),
        weights=weights / devices + gathered,
        gradients=gradients / devices,
        optimizer=optimizer / devices,
        host=resident() + weights if device == "cuda" else 0,
        checkpoints=2 * (gradients + optimizer),
        agent=agent_bytes(system),
        tokens=work.mean * t.batch,
    )  # fmt: skip
    # Activations of a sequence have taken up to twice the bytes of the weights so far.
    small = roughly and 4 * (fixed.fixed + 2 * weights * size) < limit
    if small or fixed.fixed > limit:
        return fixed
    found = traced(fixed, system, config, limit if device == "cuda" else 8 * CACHE)
    # torch's AdamW goes over all parameters at once there, with as much for square roots.
    step = gradients / devices if device == "cuda" and t.optimizer == "adamw" else 0
    return dataclasses.replace(found, activations=max(step, SLACK[device] * found.activations))


def traced(fixed: Estimate, system: System, config: Config, memory: float) -> Estimate:
    """The estimate with what a step and an evaluation hold and compute, seen in fake tensors.

    Args:
        memory: Bytes, an eighth of which keys and values may take.
    """
    t, work = config.train, fixed.work
    if t.checkpointing:
        system.recompute()
    batch = batch_of(work, system)
    trained = [p for p in system.parameters() if p.requires_grad]
    for parameter in trained:  # as in the second micro-batch
        parameter.grad = torch.empty_like(parameter)
    trace = watching(system)
    with trace:
        with torch.autocast("cpu", torch.bfloat16, enabled=t.precision == "bf16"):
            losses = system(batch, 1.0, "plan")
        if trained:
            (losses.text + losses.image).backward()
    caches = cache_bytes(system, config, work, memory / 8)
    share = t.batch / work.sequences * work.mean / max(1, work.length)
    return dataclasses.replace(
        fixed, activations=sum(trace.peak.values()), logits=trace.logits, caches=caches,
        evaluation=max(caches, drawing(system, work)), flops=trace.flops * share,
    )  # fmt: skip


def watching(system: System) -> Trace:
    """A trace that leaves out weights and gradients."""
    trace = Trace(system.llm.vocabulary) if system.speaks else Trace()
    for parameter in system.parameters():
        trace.know(parameter)
        if parameter.grad is not None:
            trace.know(parameter.grad)
    return trace


def cache_bytes(system: System, config: Config, work: Work, room: float) -> float:
    """Keys and values of all layers, for the replies that are generated at once.

    Args:
        room: Bytes that they may take, but for a single reply; a cache that grows is copied.
    """
    if not system.speaks:
        return 0
    llm: Any = system.llm.model.config.get_text_config()
    heads = getattr(llm, "num_key_value_heads", None) or llm.num_attention_heads
    width = getattr(llm, "head_dim", None) or llm.hidden_size // llm.num_attention_heads
    size = next(system.llm.parameters()).element_size()
    tokens = work.length + config.sequence.max_new_tokens
    reply = float(tokens * 2 * llm.num_hidden_layers * heads * width * size)
    return 2 * max(reply, min(ANSWERS * reply, room))


def drawing(system: System, work: Work) -> float:
    """What drawing the photos of so many replies holds: guided steps, and their decoding."""
    generator: Any = system.generator
    photos = min(math.ceil(ANSWERS * work.sharing), generator.together)
    if not photos:
        return 0
    trace = watching(system)
    with trace, torch.no_grad():
        if isinstance(generator, Dalle):
            written(generator, photos)
        else:
            denoised(generator, photos)
    return sum(trace.peak.values())


def denoised(generator: Any, photos: int) -> None:
    """A guided step of diffusion, and the decoding of what it leaves."""
    c = generator.unet.config
    noise = torch.zeros(2 * photos, c.in_channels, c.sample_size, c.sample_size)
    ids = torch.zeros(2 * photos, generator.tokenizer.model_max_length, dtype=torch.long)
    if isinstance(generator, UniDiffuser):  # with and without words in turn
        seen = torch.zeros(photos, 1, c.clip_img_dim)
        words = generator.words(ids[:photos])
        latents = generator.unet(noise[:photos], seen, words, 1, 0)[0]
    else:
        text = generator.text_encoder(ids)[0]
        latents = generator.unet(noise.to(text.dtype), torch.zeros(()), text).sample[:photos]
    generator.vae.decode(latents)


def written(generator: Dalle, photos: int) -> None:
    """All places of photos in one pass, whose keys and values are those of the last step, and their
    decoding."""
    rows = 2 * photos if generator.guidance > 1 else photos
    ids = torch.zeros(rows, generator.words + generator.tokens - 1, dtype=torch.long)
    generator.states(generator.embed(ids), DynamicCache())
    codes = torch.zeros(photos, generator.tokens, dtype=torch.long)
    generator.vae.decode(generator.quantized(codes), force_not_quantize=True)


def components(system: System, model: ModelConfig) -> Iterator[Component]:
    """A row for each part, or for each of its own parts if it has several."""
    seen: set[int] = set()
    for name, part in system.parts().items():
        named = getattr(model, name, None)
        rows = {n: list(c.parameters()) for n, c in part.module.named_children()}
        rows |= {n: [p] for n, p in part.module.named_parameters(recurse=False)}
        rows = {n: [p for p in ps if id(p) not in seen] for n, ps in rows.items()}
        rows = {n: ps for n, ps in rows.items() if ps}
        small = quantized(part.module) if isinstance(named, PartConfig) and named.quantize else {}
        for row, parameters in rows.items():
            seen |= set(map(id, parameters))
            yield Component(
                name if len(rows) == 1 else f"{name}.{row}",
                sum(p.numel() for p in parameters if p.requires_grad),
                sum(p.numel() for p in parameters if not p.requires_grad),
                round(sum(stored(p, named if id(p) in small else None) for p in parameters)),
            )


def quantized(module: nn.Module) -> set[int]:
    """Ids of the weights that bitsandbytes keeps in fewer bits: of frozen linear layers."""
    layers = (m for n, m in module.named_modules() if isinstance(m, nn.Linear) and "head" not in n)
    return {id(m.weight) for m in layers if not m.weight.requires_grad}


def stored(parameter: Tensor, part: PartConfig | None) -> float:
    """Bytes of a weight; with a float32 scale for 64 values of 4 bits, or for a row of 8."""
    if part is None:
        return parameter.nbytes
    scales = parameter.numel() / 64 if part.quantize == "4bit" else parameter.shape[0]
    return parameter.numel() * (0.5 if part.quantize == "4bit" else 1) + 4 * scales


def moments(parameter: Tensor, optimizer: str) -> float:
    """Bytes of both moments: float32, or 8 bits with a float32 scale for 256 values."""
    count = parameter.numel()
    if optimizer == "adamw-8bit" and count >= 4096:  # bitsandbytes leaves smaller ones alone
        return 2 * (count + 4 * math.ceil(count / 256))
    return 2 * 4 * count


def agent_bytes(system: System) -> int:
    """Bytes of an agent's folder: of a part with adapters only those."""
    modules = [part.module for part in system.parts().values() if part.saved]
    return sum(
        p.nbytes for m in modules for p in m.parameters() if p.requires_grad or not adapted(m)
    )


def own_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters without those of its submodules."""
    return sum(p.nbytes for p in module.parameters(recurse=False))


def resident() -> float:
    """Bytes of this process, which has loaded what a run loads."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    return PROGRAM
