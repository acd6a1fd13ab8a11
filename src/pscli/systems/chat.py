"""A talk with an agent: everything that is said or drawn is context from then on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from pscli.dialogue.reply import Caption, Tell
from pscli.dialogue.schema import Dialogue, Photo, Reply, Response, Turn
from pscli.errors import ConfigError
from pscli.systems.base import Question


class Chat:
    """A talk: what was said so far, and who says it.

    ```python
    chat = agent.chat()
    while line := input("> "):
        reply = chat.say(line)
        print(reply.text)
    ```

    A reply is what `agent.respond` gives for the same dialogue, seed and temperature.

    Args:
        agent: An `Agent`, or what answers and draws as one.
        dialogue: What was said so far.
        speaker: Who the agent is; by default the second one who speaks.

    Attributes:
        me: Who you are.
        seed, temperature, best_of: As of `Agent.respond`.
        unlike: Photos so far that are unlike those that the agent was trained on.
    """

    def __init__(
        self, agent: Any, dialogue: Dialogue | None = None, speaker: str | None = None
    ) -> None:
        self.agent = agent
        self.seed, self.temperature, self.best_of = 0, 0.0, 1
        self._again = 0  # how often a photo was drawn anew
        self.go_on(dialogue or Dialogue(()), speaker)

    def go_on(self, dialogue: Dialogue, speaker: str | None = None) -> None:
        """Goes on with another dialogue. Args: speaker: As above."""
        self.dialogue = dialogue
        self.unlike: list[Photo] = []
        self._judged: list[Photo] = []  # each photo is flagged once
        speakers = [response.speaker for response in dialogue.responses]
        others = [name for name in speakers if name not in (speakers[0], speaker)]
        self.speaker = speaker or next(iter(others), "A" if speakers[:1] == ["B"] else "B")
        known = [name for name in speakers if name != self.speaker]
        self.me = next(iter(known), "B" if self.speaker == "A" else "A")

    def say(self, text: str = "", photo: Photo | None = None, tell: Tell | None = None) -> Reply:
        """The agent's reply to what you say; both are remembered.

        Args:
            photo: What you show, such as `Photo(Path("dog.jpg"))`.
            tell: Told of the reply while it is written: words with the space before them, and each
                `Caption` before it is drawn.
        """
        self.add(text, photo)
        return self.answer(tell)

    def add(self, text: str = "", photo: Photo | None = None) -> None:
        """Says something, and leaves it without an answer for now."""
        self.dialogue = self.after(text, photo)

    def after(self, text: str = "", photo: Photo | None = None) -> Dialogue:
        """The dialogue once you have said something.

        A photo stands before the words that go with it: it was shown first, and they are about it.
        """
        parts = [part for part in (photo, text) if part] or [text]
        turns = Response.of(self.me, parts).turns
        return replace(self.dialogue, turns=(*self.dialogue.turns, *turns))

    def answer(self, tell: Tell | None = None, captions: Sequence[str] | None = None) -> Reply:
        """What the agent says next.

        Args:
            captions: Of the photos that it is to send, in place of its own.

        Raises:
            ConfigError: if nothing was said yet.
        """
        question = Question.after(self.dialogue, self.speaker)
        reply = self.flagged(self._reply(question, tell, captions), question.shown)
        self.dialogue = self.dialogue.said(reply, self.speaker)
        return reply

    def preview(self, tell: Tell | None = None) -> tuple[Reply, list[str]]:
        """The words that the agent would say next, and the captions of the photos with them.

        Nothing is drawn or remembered; `answer(captions=…)` does both.

        Raises:
            ConfigError: if the agent writes no captions.
        """
        if not getattr(self.agent, "captioned", True):
            raise ConfigError(
                "This agent writes no captions that could be looked at.", "Let it answer."
            )
        captions: list[str] = []

        def hear(part: str | Caption) -> None:
            if isinstance(part, Caption):
                captions.append(part.words)
            if tell:
                tell(part)

        return self._reply(Question.after(self.dialogue, self.speaker), hear, []), captions

    def _reply(
        self, question: Question, tell: Tell | None, captions: Sequence[str] | None
    ) -> Reply:
        how = self._drawing(self.seed) | {"temperature": self.temperature}
        how |= {"tell": tell} if tell else {}
        how |= {} if captions is None else {"captions": [captions]}
        reply: Reply = self.agent.respond_all([question], **how)[0]
        return reply

    def flagged(self, reply: Reply, photos: Sequence[Photo]) -> Reply:
        """A reply that tells of photos unlike those that the agent was trained on: see
        `Agent.flagged`. Each photo is told of once in a talk."""
        new = [p for p in photos if not any(p is judged for judged in self._judged)]
        self._judged = [*self._judged, *new]
        if hasattr(self.agent, "flagged"):
            reply = self.agent.flagged(reply, new)
            self.unlike = [*self.unlike, *reply.unlike]
        return reply

    def with_agent(self, agent: Any) -> Chat:
        """The same talk with another agent, which has judged no photo yet."""
        chat = copy(self)
        chat.agent, chat.unlike, chat._judged = agent, [], []
        return chat

    def redraw(self, caption: str | None = None) -> Photo:
        """Another photo in place of the agent's last one, which is forgotten.

        Args:
            caption: What it is to show; by default the same, with new noise.

        Raises:
            ConfigError: if the agent has sent no photo, or nobody knows what it shows.
        """
        turns = list(self.dialogue.turns)
        sent = [n for n, turn in enumerate(turns) if turn.speaker == self.speaker and turn.photo]
        if not sent:
            raise ConfigError(f"{self.speaker} has sent no photo yet.", "Ask for one.")
        old = turns[sent[-1]].photo
        wanted = caption or (old.caption if old else None)
        if not wanted:
            raise ConfigError("The photo has no caption.", "Say what it is to show.")
        # The same noise for another caption, so that only what it says changes.
        self._again += not caption
        key = (self.dialogue.id, self._place(old))
        photo: Photo = self.agent.draw([wanted], [key], **self._drawing(self.seed + self._again))[0]
        turns[sent[-1]] = replace(turns[sent[-1]], photo=photo)
        self.dialogue = replace(self.dialogue, turns=tuple(turns))
        return photo

    def _drawing(self, seed: int) -> dict[str, Any]:
        """How photos are drawn."""
        return {"seed": seed} | ({"best_of": self.best_of} if self.best_of > 1 else {})

    def _place(self, photo: Photo | None) -> int:
        """Which part of its reply a photo was: with the seed, this decides about its noise."""
        parts = [response.parts for response in self.dialogue.responses]
        return next(n for known in parts for n, part in enumerate(known) if part is photo)

    def undo(self) -> bool:
        """Takes back what you said last, its photo as well, and all after it; False if there is
        nothing."""
        turns = list(self.dialogue.turns)
        while turns and turns[-1].speaker != self.me:
            turns.pop()
        if not turns:
            return False
        last = turns.pop()
        if last.photo is None and turns and _shows(turns[-1], self.me):
            turns.pop()
        self.dialogue = replace(self.dialogue, turns=tuple(turns))
        return True

    def turn_to(self, speaker: str | None = None) -> None:
        """Makes the agent another one; by default you and the agent change sides."""
        name = speaker or self.me
        if name == self.me:
            self.me = self.speaker
        self.speaker = name


def _shows(turn: Turn, speaker: str) -> bool:
    """Whether a speaker shows a photo, and says nothing with it."""
    return turn.speaker == speaker and turn.photo is not None and not turn.text
