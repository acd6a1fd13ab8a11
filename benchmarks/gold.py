"""How often a gold caption is not what the LLM samples in its place: `caption_source=gold`.

    python benchmarks/gold.py [--dialogues 400]

The LLM of the shipped foundations reads photoworld's training dialogues, teacher-forced; each token
of their gold captions is compared with r̃ = argmax(o + g) (Eq. 7).
"""

from __future__ import annotations

import argparse

import torch
from arguments import positive

from pscli import config, console
from pscli.components.bridge import gumbel_argmax
from pscli.dialogue.batch import collate
from pscli.photoworld.dataset import Photoworld
from pscli.systems.agent import build


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dialogues", type=positive, default=400)
    settings = config.tiny()
    system = build("e2e", settings.model)
    system.caption_source = "gold"
    template = system.template(settings.sequence.max_length)
    captions = tokens = apart = wrong = 0
    for dialogue in Photoworld().load("train", parser.parse_args().dialogues):
        for sequence in template.pack(dialogue):
            batch = system.prepare(collate([sequence], template.tokenizer.pad_token_id))
            if batch.captions:
                read = system.embed(batch.ids, batch.seen)
                hidden = system.llm.hidden(read, batch.mask, batch.positions)
                gold = system.write(hidden, batch, "0/0")
                differ = (gumbel_argmax(gold.logits, gold.noise) != gold.llm_ids) & gold.llm_mask
                captions, tokens = captions + len(differ), tokens + int(gold.llm_mask.sum())
                apart, wrong = apart + int(differ.sum()), wrong + int(differ.any(dim=1).sum())
    print(f"{apart} of {tokens} tokens differ, in {wrong} of {captions} captions.")


if __name__ == "__main__":
    console.script(main)
