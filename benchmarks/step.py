"""What a bridge costs in a training step of photoworld, measured by leaving it out.

    python benchmarks/step.py [--steps 40]

Steps with `dvtm`, another bridge and `none` take turns on the same batches in one process: forward,
backward, clipping and AdamW, as `pscli train-e2e --preset tiny` does them. Under `none` the caption
is still sampled and read; only R^SD and its gradient are left out. The ratio of each pair of steps
is taken first, then their median, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

import torch

from pscli import config
from pscli.dialogue.batch import collate
from pscli.photoworld.dataset import Photoworld
from pscli.registry import find
from pscli.systems.agent import build
from pscli.training.loop import batch_of, clip
from pscli.training.memory import keep_freed_memory

BRIDGES = ("none", "dvtm", "dvtm-word", "vtm", "soft")


def median_interval(ratios: list[float], draws: int = 2000) -> tuple[float, float]:
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--bridges", nargs="+", default=["dvtm"], choices=BRIDGES[1:])
    options = parser.parse_args()
    keep_freed_memory()
    settings = config.tiny()
    system = build("e2e", settings.model)
    template = system.template(settings.sequence.max_length)
    sequences = [s for d in Photoworld().load("train", 400) for s in template.pack(d)]
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], lr=5e-4)
    seconds: dict[str, list[float]] = {name: [] for name in ("none", *options.bridges)}
    for step in range(-2, options.steps):  # two to warm up
        rows = batch_of(len(sequences), settings.train.micro_batch, step + 2, 0)
        batch = collate([sequences[i] for i in rows], template.tokenizer.pad_token_id)
        names = list(seconds)
        random.Random(step).shuffle(names)
        for name in names:
            system.bridge = find("bridge", name)
            began = time.perf_counter()
            optimizer.zero_grad()
            losses = system(batch, 0.5, str(step))
            loss = losses.text / batch.tokens + losses.image / max(1, len(batch.captions))
            loss.backward()
            clip(system, 1.0)
            optimizer.step()
            if step >= 0:
                seconds[name].append(time.perf_counter() - began)
    print(f"{options.steps} steps of {settings.train.micro_batch} dialogues; threads: "
          f"{torch.get_num_threads()}")  # fmt: skip
    for name, spent in seconds.items():
        ratios = [a / b for a, b in zip(spent, seconds["none"], strict=True)]
        low, high = median_interval(ratios)
        print(f"{name:10} {statistics.median(spent):.3f} s  {statistics.median(ratios):.3f} × none "
              f"[{low:.3f}, {high:.3f}]")  # fmt: skip


if __name__ == "__main__":
    main()
