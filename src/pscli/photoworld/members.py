"""Members of other families that the package does not ship: a command makes each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pscli.errors import CheckpointError, ConfigError
from pscli.files import locked, read_json, write_json

MADE = Path("runs/foundations")  # below the current folder, as runs are
Fill = Callable[[Path, Path, Any], None]  # work, out, recipe
SIGNS = {
    "llm": "config.json",
    "generator": "model_index.json",
    "perceptron": "config.json",
}  # that a part is there


def uvit(part: str) -> Path:
    """Folder of photoworld's U-ViT, a generator.

    Raises:
        CheckpointError: if it was not made yet.
    """
    return _made("uvit", part, ("generator",), "1½ hours")


def unidiffuser(part: str) -> Path:
    """Folder of photoworld's UniDiffuser, a generator.

    Raises:
        CheckpointError: if it was not made yet.
    """
    return _made("unidiffuser", part, ("generator",), "2½ hours")


def looking(part: str) -> Path:
    """Folder of photoworld's LLM or perceptron once they have practised looking things up.

    Raises:
        CheckpointError: if they were not made yet.
    """
    return _made("looking", part, ("llm", "perceptron"), "an hour")


def composing(part: str) -> Path:
    """Folder of photoworld's generator once it has practised to draw what it was never shown
    together.

    Raises:
        CheckpointError: if it was not made yet.
    """
    return _made("composing", part, ("generator",), "an hour")


def divter(part: str) -> Path:
    """Folder of photoworld's members for Divter: an LLM of DialoGPT's kind, a generator of
    DALL·E's.

    Raises:
        CheckpointError: if it was not made yet.
    """
    return _made("divter", part, ("llm", "generator"), "an hour")


def _made(family: str, part: str, parts: tuple[str, ...], takes: str) -> Path:
    folder = MADE / family / part
    if part in parts and (folder / SIGNS[part]).is_file():
        return folder
    raise CheckpointError(
        f"photoworld's {part} for {family} is not shipped, and not in {folder}.",
        f"Make it, in about {takes} of one core: pscli foundations {family}",
    )


def begun(work: Path, recipe: Any) -> None:
    """Notes by which recipe work is done.

    Raises:
        CheckpointError: if it was begun by another: what is there would be taken for this one's.
    """
    noted, wanted = work / "recipe.json", asdict(recipe)
    if noted.is_file() and read_json(noted) != wanted:
        raise CheckpointError(
            f"{work} was begun by another recipe.", "Delete it, or name another folder: --work."
        )
    write_json(noted, wanted)


def whole(family: str, usual: Callable[[], Any]) -> Callable[[Fill], Callable[..., Path]]:
    """Makes of a function that fills two folders by a recipe what `pscli foundations` calls.

    That one takes the folders of what is unfinished and of what is finished, a stage, and a recipe
    other than the usual one, all optional, and returns the second folder.

    Raises:
        ConfigError: if a single stage is asked for.
        CheckpointError: if another process works there, or another recipe was begun.
    """

    def decorated(fill: Fill) -> Callable[..., Path]:
        def make(
            work: Path | None = None, out: Path | None = None, only: str | None = None,
            recipe: Any = None,
        ) -> Path:  # fmt: skip
            if only:
                raise ConfigError(f"{family} is made as a whole.", "Leave out --only.")
            out, recipe = out or MADE / family, recipe or usual()
            work = work or out / "work"
            with locked(out, "making foundations"):
                out.mkdir(parents=True, exist_ok=True)  # before hours of work for nothing
                begun(work, recipe)
                fill(work, out, recipe)
            return out

        return make

    return decorated
