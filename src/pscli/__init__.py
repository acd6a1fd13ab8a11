"""Photo-sharing dialogue end to end, after Guo et al. (2024).

```python
agent = pscli.Agent.from_pretrained("runs/e2e/agent")
reply = agent.respond(pscli.Dialogue([pscli.Turn("A", "Look!", photo="dog.jpg")]), seed=0)
reply.text, reply.captions, reply.photos
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pscli.dialogue.schema import Dialogue, Photo, Reply, Turn
    from pscli.systems.agent import Agent

__version__ = "0.3.0.dev0"
__all__ = ["Agent", "Dialogue", "Photo", "Reply", "Turn", "__version__"]

_HOMES = {
    "Agent": "pscli.systems.agent",
    "Dialogue": "pscli.dialogue.schema",
    "Photo": "pscli.dialogue.schema",
    "Reply": "pscli.dialogue.schema",
    "Turn": "pscli.dialogue.schema",
}


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for, so that `import pscli` loads neither torch nor Pillow.
    if name not in _HOMES:
        raise AttributeError(f"module 'pscli' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
