"""Members of other families that the package does not ship: a command makes each of them."""

from __future__ import annotations

from pathlib import Path

from pscli.errors import CheckpointError, ConfigError

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
        f"Make it, in one to two hours of one core: pscli foundations {family}",
    )


def places(family: str, work: Path | None, out: Path | None, only: str | None) -> tuple[Path, Path]:
    """Folders of what is unfinished and of what is finished, as `pscli foundations` is told.

    Raises:
        ConfigError: if a single stage is asked for.
    """
    if only:
        raise ConfigError(f"{family} is made as a whole.", "Leave out --only.")
    out = out or MADE / family
    return work or out / "work", out
