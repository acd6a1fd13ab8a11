"""An agent that stands in for a trained one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from PIL import Image

from pscli.dialogue.reply import Caption
from pscli.dialogue.schema import Dialogue, Photo, Reply
from pscli.systems.base import Question
from pscli.systems.chat import Chat


class Fake:
    """Says what it heard, and draws what it is asked for: `draw a red dog`."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, tuple[str, int], int]] = []
        self.tries: list[int] = []

    def chat(self, dialogue: Dialogue | None = None, speaker: str | None = None) -> Chat:
        return Chat(self, dialogue, speaker)

    def respond(self, dialogue: Dialogue, speaker: str | None = None, **how: Any) -> Reply:
        return self.respond_all([Question.after(dialogue, speaker)], **how)[0]

    def respond_all(self, questions: Sequence[Question], **how: Any) -> list[Reply]:
        tell = how.get("tell") or (lambda part: None)
        heard = questions[0].responses[-1].turns[-1]
        text = f"I heard {heard.text}" if heard.text else "I see a photo"
        for n, word in enumerate(text.split(" ")):
            tell(f" {word}" if n else word)
            if heard.text.startswith("slow"):
                time.sleep(0.2)
        parts: list[str | Photo] = [text]
        if heard.text.startswith("draw"):
            tell(Caption(heard.text[5:]))
            if "forever" in heard.text:
                time.sleep(60)
            (wanted,) = how.get("captions") or [[heard.text[5:]]]
            best_of = how.get("best_of", 1)
            for number, caption in enumerate(wanted, start=1):
                parts += self.draw([caption], [("", number)], seed=how["seed"], best_of=best_of)
        return [Reply(tuple(parts), text)]

    def draw(
        self,
        captions: Sequence[str],
        keys: Sequence[tuple[str, int]],
        *,
        seed: int = 0,
        best_of: int = 1,
    ) -> list[Photo]:
        self.tries.append(best_of)
        self.drawn.append((captions[0], keys[0], seed))
        image = Image.new("RGB", (8, 8), ["red", "green", "blue"][seed % 3])
        image.paste("white", (0, 0, 4, 4))
        return [Photo(image, captions[0])]
