"""What it costs to answer a split: as `pscli generate` does it, and one by one.

    python benchmarks/generate.py [--dialogues 200] [--drawn 60]

The bundled agent answers photoworld's test dialogues in four ways, from embeddings and photos to
words, greedily:

- *without caches*: one instance at a time, all that it has read and written read again for each
  token, its photos drawn by themselves;
- *one by one*: likewise by transformers' `generate`, which keeps keys and values within a reply;
- *by length*: 64 instances of about the same length at once, padded on the left, whatever dialogues
  they are of, and all photos of a batch drawn together, as `pscli generate` did before;
- *ours*: whole dialogues, up to 64 instances at once, the context of each read once.

All take turns on 20 dialogues at a time, in another order each time, on one thread; seconds are of
its processor, so that neighbours on the machine count little. Replies must be the same to the word.
A ratio is of the sums, with a 95 % bootstrap interval over the turns. Photos are drawn of the first
`--drawn` dialogues, one by one once for both ways that do it; what the frozen vision encoder makes
of photos lies in the cache before any of them begins. *Read* are the tokens that the LLM's decoder
is given, padding and re-reading included; *prompt* those of prompts, as often as they are read.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from arguments import positive
from torch.nn.utils.rnn import pad_sequence

from pscli import console
from pscli.components.decoding import trunks
from pscli.components.noise import seeded
from pscli.dialogue.reply import Caption, parse
from pscli.photoworld.dataset import Photoworld
from pscli.predictions.generate import Instance, batches, instances
from pscli.systems.agent import Agent

TURN, SIZE = 20, 64
WAYS = ("without caches", "one by one", "by length", "ours")
Ids = dict[str, list[int]]


class Bench:
    """One system, what it reads, and how long it takes."""

    def __init__(self, agent: Agent) -> None:
        self.system: Any = agent.system
        self.lengths = agent.config.sequence
        self.read: dict[str, int] = defaultdict(int)
        self.prompt: dict[str, int] = defaultdict(int)
        self.way = ""
        self.system.llm.model.base_model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, module: Any, args: Any, given: dict[str, Any]) -> None:
        words = given.get("inputs_embeds")
        words = given["input_ids"] if words is None else words
        self.read[self.way] += words.shape[:2].numel()

    def prompts(self, some: Sequence[Instance]) -> list[torch.Tensor]:
        asked = [i.question for i in some]
        return [p.embeddings for p in self.system.prompts(asked, self.lengths.max_length)]

    def words(self, some: Sequence[Instance]) -> Ids:
        """Tokens of replies by instance, in the current way."""
        if self.way == "ours":
            prompts = self.prompts(some)
            read = [t.embeddings for t in trunks(prompts)]
            limit = self.lengths.max_new_tokens
            rows = self.system.llm.respond(prompts, max_new_tokens=limit)
        else:
            read = [prompt for i in some for prompt in self.prompts([i])]
            slow = self.way == "without caches"
            rows = [self.slowly(p) for p in read] if slow else self.padded(read)
        self.prompt[self.way] += sum(map(len, read))
        return dict(zip((i.question.key for i in some), rows, strict=True))

    @torch.no_grad()
    def slowly(self, prompt: torch.Tensor) -> list[int]:
        """What follows a prompt, all of it read again for every token."""
        llm, ids = self.system.llm, []
        while len(ids) < self.lengths.max_new_tokens:
            read = torch.cat([prompt, llm.embed(torch.tensor(ids, dtype=torch.long))])
            hidden = llm.hidden(read[None], None, torch.arange(len(read))[None])
            ids.append(int(llm.logits(hidden[0, -1]).argmax()))
            if ids[-1] == llm.tokenizer.eos_token_id:
                return ids[:-1]
        return ids

    @torch.no_grad()
    def padded(self, prompts: Sequence[torch.Tensor]) -> list[list[int]]:
        """What follows prompts by transformers alone, padded on the left."""
        llm, end = self.system.llm, self.system.llm.tokenizer.eos_token_id
        together = pad_sequence(list(prompts), batch_first=True, padding_side="left")
        lengths, places = torch.tensor([[len(p)] for p in prompts]), torch.arange(together.shape[1])
        ids = llm.model.generate(
            inputs_embeds=together, attention_mask=(places >= len(places) - lengths).long(),
            max_new_tokens=self.lengths.max_new_tokens, do_sample=False, eos_token_id=end,
            pad_token_id=llm.tokenizer.pad_token_id,
        ).tolist()  # fmt: skip
        return [row[: row.index(end)] if end in row else row for row in ids]

    def draw(self, replies: Ids) -> int:
        """Draws the photos of replies together, and says how many."""
        wanted = [
            (part.words, seeded(0, key, number))
            for key, ids in replies.items()
            for number, part in enumerate(parse(ids, self.system.llm.tokenizer)[0])
            if isinstance(part, Caption)
        ]
        return len(self.system.draw([w for w, _ in wanted], [g for _, g in wanted]))


def cut(way: str, work: Sequence[Instance]) -> list[list[Instance]]:
    """What is answered at once."""

    def length(instance: Instance) -> int:
        context = instance.question.responses
        return sum(len(r.text) + 100 * len(r.photos) for r in context)

    if way == "ours":
        return batches(work, SIZE)
    size = SIZE if way == "by length" else 1
    ordered = sorted(work, key=length)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def merged(replies: Sequence[Ids]) -> Ids:
    return {key: ids for batch in replies for key, ids in batch.items()}


def timed(do: Callable[[Any], Any], each: Sequence[Any]) -> tuple[list[Any], float]:
    """What is done with each, and seconds of the processor."""
    began = time.process_time()
    return [do(one) for one in each], time.process_time() - began


def ratio(above: Sequence[float], below: Sequence[float], draws: int = 2000) -> str:
    rng, pairs = random.Random(0), list(zip(above, below, strict=True))
    found = []
    for _ in range(draws):
        some = rng.choices(pairs, k=len(pairs))
        found.append(sum(a for a, _ in some) / sum(b for _, b in some))
    cuts = statistics.quantiles(found, n=40)
    return f"{sum(above) / sum(below):5.2f} [{cuts[0]:.2f}, {cuts[-1]:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dialogues", type=positive, default=200)
    parser.add_argument("--drawn", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(Agent.from_pretrained())
    dialogues = Photoworld().load("test", options.dialogues)
    words: dict[str, list[float]] = defaultdict(list)
    photos: dict[str, list[float]] = defaultdict(list)
    replied = drawn = 0
    for turn in range(0, len(dialogues), TURN):
        work = instances(dialogues[turn : turn + TURN])
        bench.way = ""
        bench.prompts(work)  # fills the cache
        rng, replies = random.Random(turn), {}
        for way in rng.sample(WAYS, len(WAYS)):
            bench.way = way
            replies[way], seconds = timed(bench.words, cut(way, work))
            words[way].append(seconds)
        for way in WAYS:
            assert merged(replies[way]) == merged(replies["ours"]), way
        replied += len(work)
        print(f"to {turn + TURN}: " + ", ".join(f"{w} {words[w][-1]:.2f} s" for w in WAYS))
        if turn >= options.drawn:
            continue
        for way in rng.sample(WAYS[1:], len(WAYS) - 1):
            counts, seconds = timed(bench.draw, replies[way])
            photos[way].append(seconds)
        photos["without caches"].append(photos["one by one"][-1])
        drawn += sum(counts)
    print(f"{len(dialogues)} dialogues, {replied} replies, {drawn} photos; one thread")
    for way in WAYS:
        print(
            f"{way:15} words {sum(words[way]):7.1f} s, photos {sum(photos[way]):6.1f} s, "
            f"prompt {bench.prompt[way]:,}, read {bench.read[way]:,}"
        )
    for way in WAYS[:-1]:
        first = range(len(photos["ours"]))
        both = [[words[x][n] + photos[x][n] for n in first] for x in (way, "ours")]
        print(f"{way}/ours: words {ratio(words[way], words['ours'])}, with photos {ratio(*both)}")


if __name__ == "__main__":
    console.script(main)
