"""A system of one's own says how it is built, which parts it has, what it learns and what it reads.

pscli train own_system:Blind
"""

from pscli.components.noise import seeded
from pscli.dialogue.sequence import Template, told
from pscli.systems.base import Losses, Part, Prompt, System, text_loss


class Blind(System):
    """Is told that a photo was sent, and nothing of it; talks, and draws from its own captions."""

    def __init__(self, llm, generator):
        super().__init__()
        self.llm, self.generator = llm, generator

    @classmethod
    def build(cls, config, load):
        return cls(load("llm"), load("generator"))

    def parts(self):
        return {"llm": Part(self.llm), "generator": Part(self.generator, frozen=("vae.",))}

    def template(self, max_length):
        return Template(self.llm.tokenizer, told(self.llm.tokenizer, lambda p: "?"), max_length)

    def forward(self, batch, tau, seed):
        hidden = self.llm.hidden(self.llm.embed(batch.ids), batch.mask, batch.positions)
        text, image = text_loss(self.llm, hidden, batch), hidden.new_zeros(())
        if batch.captions:
            ids, _ = self.generator.tokenize([span.photo.caption for _, span in batch.captions])
            noise = self.generator.draw_noise([seeded(seed, s.key) for _, s in batch.captions])
            image = self.generator.losses(ids, batch.drawn, noise).sum()
        return Losses(text, image)

    def prompts(self, questions, max_length):
        packed = [self.template(max_length).prompt(q.responses, q.speaker) for q in questions]
        return [Prompt(self.llm.embed(self.llm.ids(p.ids)), p.dropped) for p in packed]
