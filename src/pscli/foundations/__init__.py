"""photoworld's foundations: small pre-trained members of the paper's architectures.

`weights/` holds them as the libraries' own folders (safetensors, fp16): `llm/`, `perceptron/`,
`generator/` (a diffusers pipeline folder) and `extractor/` (the classifier that judges drawn
photos), with `scores.json` beside them. `pscli foundations` remakes them.
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
