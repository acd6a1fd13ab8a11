"""Which side something is on: of a photo with one thing, and of one with two.

    python benchmarks/sides.py [--agent AGENT] [--count 240]

Questions about test scenes in test wordings, each right after its photo, answered by the agent;
and what its perceptron and LLM say of the same photos when they are asked to describe them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import count, islice

import torch
from arguments import positive

from pscli import console
from pscli.dialogue.schema import Photo
from pscli.errors import ConfigError
from pscli.photoworld.metrics import answered
from pscli.photoworld.scene import SIDE_PHRASES, Scene
from pscli.photoworld.talk import questions
from pscli.systems.agent import Agent
from pscli.systems.base import Question
from pscli.systems.captioner import DESCRIBE, Captioner
from pscli.systems.seeing import Seeing

Asked = tuple[Question, str, Scene]


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agent", help="of `train-e2e`; default: the bundled one")
    parser.add_argument("--count", type=positive, default=240)
    options = parser.parse_args()
    agent = Agent.from_pretrained(options.agent)
    if not isinstance(agent.system, Seeing):
        raise ConfigError("The LLM of this agent sees no photos.", "Give one of `train-e2e`.")
    for things in (1, 2):
        answers, told = right(agent, list(islice(asked(things), options.count)))
        for what, good in (("answers", answers), ("descriptions", told)):
            share = f"{good} of {options.count}, {100 * good / options.count:.1f} %"
            print(f"{things} thing{'s' * (things > 1)}, {what}: {share}")


if __name__ == "__main__":
    console.script(main)
