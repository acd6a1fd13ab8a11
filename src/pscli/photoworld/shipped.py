"""What the package ships: small pre-trained members of the paper's architectures, and an agent.

`weights/` holds them as the libraries' own folders (safetensors, fp16): `llm/`, `perceptron/`,
`generator/` (a diffusers pipeline folder), `extractor/` and `details/` (the classifiers that judge
drawn photos), with `scores.json` beside them; `pscli foundations` remakes them. `agent/` is the
end-to-end agent that answers when none is named.
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
AGENT = Path(__file__).parent / "agent"


def agent() -> Path:
    """Folder of the bundled agent."""
    return AGENT


def part(name: str) -> Path:
    """Folder of a pre-trained part: `llm`, `perceptron` or `generator`."""
    return WEIGHTS / name
