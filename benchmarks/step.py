"""What a training step of photoworld costs beside the sum of its library parts, and its bridge.

    python benchmarks/step.py [--steps 40]

*Ours* is what `pscli train-e2e --preset tiny` does for a micro-batch from the second epoch on:
collate, look photos up in the cache, forward through Eqs. 1-13, backward. *Parts* are, on the
same batch and one after another, what the libraries do in it: transformers' Llama on the packed
sequences with the cross-entropy of the supervised tokens, the Q-Former on the same patches, and a
diffusers training step (CLIP text encoder, U-Net, squared error) on the same latents; forward and
backward each, no bridge between them. Both take turns in one process; the ratio of each pair is
taken first, then the median, with a 95 % bootstrap interval. `none` is our step without a bridge.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from arguments import positive
from torch.nn import functional as F

from pscli import config, console
from pscli.components.noise import seeded
from pscli.dialogue.batch import Batch, collate
from pscli.dialogue.sequence import IGNORE
from pscli.photoworld.dataset import Photoworld
from pscli.registry import find
from pscli.systems.agent import build
from pscli.training.loop import batch_of
from pscli.training.memory import keep_freed_memory


def ours(system: Any, some: Any, pad: int, seed: str) -> None:
    batch = system.prepare(collate(some, pad))
    losses = system(batch, 0.5, seed)
    (losses.text / batch.tokens + losses.image / max(1, len(batch.captions))).backward()


def parts(system: Any, batch: Batch, seed: str) -> None:
    """The libraries' modules, called as their own training scripts call them."""
    model = system.llm.model
    words = model.get_input_embeddings()(batch.ids)
    bias = torch.zeros(batch.mask.shape).masked_fill(~batch.mask, torch.finfo(torch.float32).min)
    states = model.base_model(
        inputs_embeds=words, attention_mask=bias, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    labels = batch.labels[:, 1:]
    known = labels != IGNORE
    logits = model.get_output_embeddings()(states[:, :-1][known])
    F.cross_entropy(logits, labels[known]).backward()

    if batch.seen is not None:
        eyes = system.perceptron
        queries = eyes.queries.expand(len(batch.seen), -1, -1)
        seen = eyes.qformer(query_embeds=queries, encoder_hidden_states=batch.seen)
        eyes.projection(seen.last_hidden_state).mean().backward()

    if batch.captions:
        brush = system.generator
        ids, _ = brush.tokenize([span.photo.caption or "" for _, span in batch.captions])
        noise = brush.draw_noise([seeded(seed, span.key) for _, span in batch.captions])
        noisy = brush.scheduler.add_noise(batch.drawn, noise.noise, noise.timesteps)
        wanted = brush.scheduler.get_velocity(batch.drawn, noise.noise, noise.timesteps)
        said = brush.unet(noisy, noise.timesteps, brush.text_encoder(ids)[0]).sample
        F.mse_loss(said, wanted).backward()


def median_interval(ratios: list[float], draws: int = 2000) -> tuple[float, float]:
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=positive, default=40)
    options = parser.parse_args()
    keep_freed_memory()
    settings = config.tiny()
    system = build("e2e", settings.model)
    template = system.template(settings.sequence.max_length)
    sequences = [s for d in Photoworld().load("train", 400) for s in template.pack(d)]
    pad, size = template.tokenizer.pad_token_id, settings.train.micro_batch
    seconds: dict[str, list[float]] = {"parts": [], "dvtm": [], "none": []}
    for step in range(-2, options.steps):  # two to warm up
        rows = batch_of(len(sequences), size, step + 2, 0)
        some = sorted((sequences[i] for i in rows), key=len)
        batch = system.prepare(collate(some, pad))  # fills the cache, as an epoch before did

        def with_bridge(name: str, some: Any = some, step: int = step) -> Callable[[], None]:
            def run() -> None:
                system.bridge = find("bridge", name)
                ours(system, some, pad, str(step))

            return run

        work: dict[str, Callable[[], None]] = {
            "parts": lambda batch=batch, step=step: parts(system, batch, str(step)),
            "dvtm": with_bridge("dvtm"),
            "none": with_bridge("none"),
        }
        for name in random.Random(step).sample(sorted(work), len(work)):
            system.zero_grad()
            began = time.perf_counter()
            work[name]()
            if step >= 0:
                seconds[name].append(time.perf_counter() - began)
    print(f"{options.steps} steps of {size} dialogues; threads: {torch.get_num_threads()}")
    for name, spent in seconds.items():
        print(f"{name:6} {statistics.median(spent):.3f} s")
    for above, below in (("dvtm", "parts"), ("none", "parts"), ("dvtm", "none")):
        ratios = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
        low, high = median_interval(ratios)
        print(f"{above}/{below}: {statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    console.script(main)
