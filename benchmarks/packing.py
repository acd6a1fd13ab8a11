"""What packing a dialogue saves: one sequence for all its responses beside one for each of them.

    python benchmarks/packing.py [--dialogues 24] [--rounds 5] [--dataset photoworld]

*Packed* is what training does. *One by one* gives every response a sequence of its own, behind its
context, as the paper's released code does; they are batched by length, so that little is padded,
and about as many tokens at once. Both are forward and backward through the same system, in turns,
in seconds of the processor of one thread; photos are computed before. Losses and gradients are the
same (`tests/test_layouts.py`). The ratio of each pair is taken first, then the median, with the
least and the largest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from arguments import positive

from pscli import console
from pscli.config import changed, tiny
from pscli.datasets.base import load, named
from pscli.dialogue.batch import Batch, collate
from pscli.dialogue.sequence import Packed, Template
from pscli.systems.agent import build
from pscli.training.memory import keep_freed_memory

TOKENS = 4_096  # of a batch, with what pads it


def one_by_one(template: Template, dialogue: Any) -> list[Packed]:
    names = template.names(r.speaker for r in dialogue.responses)
    said = [
        template.said(r, names[r.speaker], f"{dialogue.id}/{i}")
        for i, r in enumerate(dialogue.responses)
    ]
    return [template._sequence(said, 0, i + 1, {i}) for i in range(1, len(said))]


def batches(system: Any, sequences: Sequence[Packed]) -> list[Batch]:
    """Sequences of about the same length together, their photos ready."""
    groups: list[list[Packed]] = [[]]
    for sequence in sorted(sequences, key=len):
        if groups[-1] and len(sequence) * (len(groups[-1]) + 1) > TOKENS:
            groups.append([])
        groups[-1].append(sequence)
    pad = system.llm.tokenizer.pad_token_id
    return [system.prepare(collate(group, pad)) for group in groups]


def step(system: Any, work: Sequence[Batch]) -> None:
    for batch in work:
        losses = system(batch, 0.5, "0")
        (losses.text + losses.image).backward()
    system.zero_grad()


def seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dialogues", type=positive, default=24)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--dataset", default="photoworld")
    parser.add_argument("--llm", type=Path, help="folder or GGUF file of another LLM")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    config = tiny()
    if args.llm:
        config = changed(config, "model.llm.weights", str(args.llm))
        config = changed(config, "model.perceptron.kind", "linear")
    system: Any = build("e2e", config.model)
    system.train()
    template = system.template(512)
    dialogues = load(named(args.dataset), "dev", args.dialogues)
    packed = [sequence for d in dialogues for sequence in template.pack(d)]
    single = [sequence for d in dialogues for sequence in one_by_one(template, d)]
    ways = {"packed": batches(system, packed), "one by one": batches(system, single)}
    for name, sequences in (("packed", packed), ("one by one", single)):
        print(
            f"{name}: {len(sequences)} sequences, {sum(map(len, sequences)):,} tokens", flush=True
        )
    for work in ways.values():
        step(system, work)  # memory is asked for once
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, work in ways.items():
            taken[name].append(seconds(lambda work=work: step(system, work)))  # type: ignore[misc]
    ratios = [a / b for a, b in zip(taken["one by one"], taken["packed"], strict=True)]
    for name, times in taken.items():
        print(f"{name}: {statistics.median(times):.2f} s")
    print(f"ratio: {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")


if __name__ == "__main__":
    console.script(main)
