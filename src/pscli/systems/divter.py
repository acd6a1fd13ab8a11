"""Divter (Sun et al. 2022, *Multimodal Dialogue Response Generation*) at its published size.

The system itself is our `Pipeline`: a captioner tells of photos in the context, an LLM writes words
and descriptions of photos, a generator draws the descriptions, and none learns from another. Its
parts make it Divter: an LLM of DialoGPT's kind, a generator of DALL·E's.
"""

from __future__ import annotations

from dataclasses import replace

from pscli.config import Config, PartConfig, SequenceConfig, paper


def sun2022(system: str = "divter") -> Config:
    """DialoGPT-medium (Zhang et al. 2020) and a DALL·E of 12 billion parameters, whose weights
    nobody has published; how they train is `paper`'s."""
    base = paper(system)
    model = replace(
        base.model,
        llm=PartConfig("causal", "microsoft/DialoGPT-medium"),
        generator=PartConfig("dalle-12b"),
        guidance=1.0,  # DALL·E has none
    )
    lengths = SequenceConfig(max_length=1024, max_new_tokens=128)  # DialoGPT's positions
    return replace(base, preset="sun2022", model=model, sequence=lengths)
