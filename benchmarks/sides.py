"""Which side something is on: of a photo with one thing, and of one with two.

    python benchmarks/sides.py [--agent AGENT] [--count 240]
    python benchmarks/sides.py --dialogues 250      # and all questions of test dialogues

Questions about test scenes in test wordings, each right after its photo, answered by the agent;
and what its perceptron and LLM say of the same photos when they are asked to describe them. With
`--dialogues`, the questions about photos of so many test dialogues, after their true history; apart
those in two of the wordings that training has not shown, and those about the first of two photos,
and the last.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice

import torch
from arguments import positive

from pscli import console
from pscli.dialogue.schema import Photo
from pscli.errors import ConfigError
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.metrics import answered
from pscli.photoworld.scene import SIDE_PHRASES, Scene
from pscli.photoworld.talk import questions
from pscli.predictions.generate import batches, instances
from pscli.systems.agent import Agent
from pscli.systems.base import Question
from pscli.systems.captioner import DESCRIBE, Captioner
from pscli.systems.seeing import Seeing

Asked = tuple[Question, str, Scene]
WORDINGS = {
    " earlier: ": "earlier",
    " asks ": "second hand",
    " wants to know": "second hand",
    "the first ": "of the first of two",
    "the last ": "of the last of two",
}


def asked(things: int) -> Iterator[Asked]:
    """Questions about a side, their right answers, and the scenes, without end."""
    for dialogue in (questions("test", index) for index in count()):
        (photo,) = dialogue.photos
        for number, response in enumerate(dialogue.responses):
            truth = response.truth
            if truth and truth.about == "side" and len(photo.source.things) == things:
                question = Question(dialogue.responses[:number], response.speaker, dialogue.id)
                yield question, truth.answer, photo.source


def placed(description: str, scene: Scene) -> bool:
    """Whether a description has every thing on its side."""
    return all(f"{thing.kind} {SIDE_PHRASES[thing.side]}" in description for thing in scene.things)


@torch.no_grad()
def right(agent: Agent, some: list[Asked]) -> tuple[int, int]:
    """How many questions are answered right, and how many descriptions are."""
    asked_for, sides, scenes = zip(*some, strict=True)
    replies = agent.system.reply(asked_for)
    captioner = Captioner(agent.system.perceptron, agent.system.llm)
    told = captioner.describe([Photo(scene) for scene in scenes], DESCRIBE)
    return (
        sum(answered(r.text, "side") == side for r, side in zip(replies, sides, strict=True)),
        sum(map(placed, told, scenes)),
    )


def in_dialogues(agent: Agent, count: int) -> dict[str, tuple[int, int]]:
    """Of questions about photos: how many are answered right, of how many, by type and wording."""
    hits: Counter[str] = Counter()
    of: Counter[str] = Counter()
    work = instances(Photoworld().load("test", count))
    for batch in batches([i for i in work if i.gold.truth and i.gold.truth.about], 64):
        replies = agent.respond_all([instance.question for instance in batch])
        for instance, reply in zip(batch, replies, strict=True):
            truth = instance.gold.truth
            said = instance.question.responses[-1].text.lower()
            assert truth and truth.about
            names = {"all", truth.kind, *(w for part, w in WORDINGS.items() if part in said)}
            of.update(names)
            hits.update(names if answered(reply.text, truth.about) == truth.answer else ())
    return {name: (hits[name], of[name]) for name in sorted(of)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agent", help="of `train-e2e`; default: the bundled one")
    parser.add_argument("--count", type=positive, default=240)
    parser.add_argument("--dialogues", type=positive, help="of test, whose questions are asked")
    options = parser.parse_args()
    agent = Agent.from_pretrained(options.agent)
    if not isinstance(agent.system, Seeing):
        raise ConfigError("The LLM of this agent sees no photos.", "Give one of `train-e2e`.")
    for things in (1, 2):
        answers, told = right(agent, list(islice(asked(things), options.count)))
        for what, good in (("answers", answers), ("descriptions", told)):
            share = f"{good} of {options.count}, {100 * good / options.count:.1f} %"
            print(f"{things} thing{'s' * (things > 1)}, {what}: {share}")
    found = in_dialogues(agent, options.dialogues) if options.dialogues else {}
    for name, (good, of) in found.items():
        print(f"dialogues, {name}: {good} of {of}, {100 * good / of:.1f} %")


if __name__ == "__main__":
    console.script(main)
