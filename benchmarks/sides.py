"""Which side something is on: of a photo with one thing, and of one with two.

    python benchmarks/sides.py [--agent AGENT] [--count 240]

Questions about test scenes in test wordings, each right after its photo, answered by the agent;
and what its perceptron and LLM say of the same photos when they are asked to describe them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice

import script
import torch

from pscli.dialogue.schema import Photo
from pscli.photoworld.metrics import answered
from pscli.photoworld.scene import SIDE_PHRASES, Scene
from pscli.photoworld.talk import questions
from pscli.systems.agent import Agent
from pscli.systems.base import Question
from pscli.systems.captioner import DESCRIBE, Captioner

Asked = tuple[Question, str, Scene]


def asked(things: int) -> Iterator[Asked]:
    """Questions about a side, their right answers, and the scenes, without end."""
    index = 0
    while True:
        dialogue = questions("test", index)
        (photo,) = dialogue.photos
        for number, response in enumerate(dialogue.responses):
            truth = response.truth
            if truth and truth.about == "side" and len(photo.source.things) == things:
                question = Question(dialogue.responses[:number], response.speaker, dialogue.id)
                yield question, truth.answer, photo.source
        index += 1


def placed(description: str, scene: Scene) -> bool:
    """Whether a description has every thing on its side."""
    return all(f"{thing.kind} {SIDE_PHRASES[thing.side]}" in description for thing in scene.things)


@torch.no_grad()
def right(agent: Agent, some: list[Asked]) -> tuple[int, int]:
    """How many questions are answered right, and how many descriptions are."""
    system, answers, told = agent.system, 0, 0
    captioner = Captioner(system.perceptron, system.llm)
    for start in range(0, len(some), 30):
        part = some[start : start + 30]
        replies = system.reply([question for question, _, _ in part])
        pairs = zip(replies, part, strict=True)
        answers += sum(answered(reply.text, "side") == side for reply, (_, side, _) in pairs)
        described = captioner.describe([Photo(scene) for _, _, scene in part], DESCRIBE)
        told += sum(placed(d, scene) for d, (_, _, scene) in zip(described, part, strict=True))
    return answers, told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agent", help="of `train-e2e`; default: the bundled one")
    parser.add_argument("--count", type=int, default=240)
    options = parser.parse_args()
    agent = Agent.from_pretrained(options.agent)
    for things in (1, 2):
        answers, told = right(agent, list(islice(asked(things), options.count)))
        for what, good in (("answers", answers), ("descriptions", told)):
            share = f"{good} of {options.count}, {100 * good / options.count:.1f} %"
            print(f"{things} thing{'s' * (things > 1)}, {what}: {share}")


if __name__ == "__main__":
    script.run(main)
