"""Members of other families that the package does not ship: a command makes each of them."""

from __future__ import annotations

from pathlib import Path

from pscli.errors import CheckpointError

MADE = Path("runs/foundations")  # below the current folder, as runs are


def uvit(part: str) -> Path:
    """Folder of photoworld's U-ViT, a generator.

    Raises:
        CheckpointError: if it was not made yet.
    """
    folder = MADE / "uvit" / "generator"
    if part == "generator" and (folder / "model_index.json").is_file():
        return folder
    raise CheckpointError(
        f"photoworld's U-ViT is not shipped, and not in {folder}.",
        "Make it, in some hours on two cores: python -m pscli.photoworld.foundations.uvit",
    )


def divter(part: str) -> Path:
    """Folder of photoworld's members for Divter: an LLM of DialoGPT's kind, a generator of
    DALL·E's.

    Raises:
        CheckpointError: if it was not made yet.
    """
    folder, index = MADE / "divter" / part, {"llm": "config.json", "generator": "model_index.json"}
    if part in index and (folder / index[part]).is_file():
        return folder
    raise CheckpointError(
        f"photoworld's {part} for divter is not shipped, and not in {folder}.",
        "Make it, in some hours on two cores: python -m pscli.photoworld.foundations.divter",
    )
