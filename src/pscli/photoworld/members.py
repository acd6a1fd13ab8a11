"""Members of other families that the package does not ship: a command makes each of them."""

from __future__ import annotations

from pathlib import Path

from pscli.errors import CheckpointError

MADE = Path("runs/foundations")  # below the current folder, as runs are
SIGNS = {"llm": "config.json", "generator": "model_index.json"}  # that a part is there


def uvit(part: str) -> Path:
    """Folder of photoworld's U-ViT, a generator.

    Raises:
        CheckpointError: if it was not made yet.
    """
    return _made("uvit", part, ("generator",))


def unidiffuser(part: str) -> Path:
    """Folder of photoworld's UniDiffuser, a generator.

    Raises:
        CheckpointError: if it was not made yet.
    """
    return _made("unidiffuser", part, ("generator",))


def divter(part: str) -> Path:
    """Folder of photoworld's members for Divter: an LLM of DialoGPT's kind, a generator of
    DALL·E's.

    Raises:
        CheckpointError: if it was not made yet.
    """
    return _made("divter", part, ("llm", "generator"))


def _made(family: str, part: str, parts: tuple[str, ...]) -> Path:
    folder = MADE / family / part
    if part in parts and (folder / SIGNS[part]).is_file():
        return folder
    raise CheckpointError(
        f"photoworld's {part} for {family} is not shipped, and not in {folder}.",
        f"Make it, in some hours on two cores: python -m pscli.photoworld.foundations.{family}",
    )
