"""What systems share whose LLM sees the photos of a dialogue as embeddings (Guo et al. 2024, §2.3;
"Eq. n" refers to it)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from pscli.components.perceptron import Perceptron, in_place
from pscli.dialogue.batch import Batch
from pscli.dialogue.schema import Photo
from pscli.dialogue.sequence import PHOTO, Template, seen, token_id
from pscli.systems.base import Prompt, Question, System
from pscli.systems.captioner import Captioner

# B sequences, L tokens, D LLM width; P photos of Q embeddings


class Seeing(System):
    """A system with a perceptron and an LLM."""

    perceptron: Perceptron

    def template(self, max_length: int) -> Template:
        see = seen(self.llm.tokenizer, self.perceptron.length)
        return Template(self.llm.tokenizer, see, self.llm.reaches(max_length))

    def prepare(self, batch: Batch) -> Batch:
        return dataclasses.replace(super().prepare(batch), seen=self.look(batch.photos))

    def look(self, photos: Sequence[Photo]) -> Tensor | None:
        """[P, …] what the perceptron sees in photos: H̃^v = ViT(I) (Eq. 3)."""
        seer = self.perceptron
        return self.cache(seer.vision, photos, seer.look) if photos else None

    def embed(self, ids: Tensor, seen: Tensor | None) -> Tensor:
        """[B, L, D] embeddings of words, with H^v = Q-Former(Q, H̃^v) for photos (Eq. 3)."""
        return self.place(ids, None if seen is None else self.perceptron(seen))

    def place(self, ids: Tensor, visual: Tensor | None) -> Tensor:
        """[..., L, D] embeddings of words, with H^v [P, Q, D] of photos in their places."""
        words = self.llm.embed(ids)
        if visual is None:
            return words
        return in_place(words, ids == token_id(self.llm.tokenizer, PHOTO), visual)

    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        return Captioner(self.perceptron, self.llm).likelihoods(captions, photos)

    def prompts(self, questions: Sequence[Question], max_length: int) -> list[Prompt]:
        """What the LLM reads of each dialogue, its photos seen: each once, however often read."""
        template = self.template(max_length)
        packed = [template.prompt(q.responses, q.speaker) for q in questions]
        photos = {id(photo): photo for p in packed for photo in p.photos}
        row = {photo: n for n, photo in enumerate(photos)}
        prompts = []
        with torch.no_grad():
            seen = self.look(list(photos.values()))
            visual = None if seen is None else self.perceptron(seen)
            for p in packed:
                rows = [row[id(photo)] for photo in p.photos]
                shown = visual[rows] if visual is not None and rows else None
                prompts.append(Prompt(self.place(self.llm.ids(p.ids), shown), p.dropped))
        return prompts
