"""Model cards: what an agent is, what it learnt from, how well it does, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pscli.config import Config, PartConfig
from pscli.datasets.base import known
from pscli.registry import find

NAME = "README.md"
TITLES = {"e2e": "end-to-end", "pipeline": "pipeline"}
SPEAKS = "It reads a conversation with its photos, answers, and may send a photo that it draws."
DRAWS = "It draws a photo for a conversation from what was said, and says nothing itself."
# Names of the licences of datasets as hubs write them; what is not here is "other".
LICENCES = {"CC BY 4.0": "cc-by-4.0", "Apache-2.0": "apache-2.0", "MIT": "mit"}


def card(config: Config, scores: Mapping[str, float] | None = None) -> str:
    """The card of an agent, with the header that hubs read.

    Args:
        scores: On the dev split, by name.
    """
    data = known(config.dataset)
    licence, citation = (str(getattr(data, it, "unknown")) for it in ("licence", "citation"))
    shows = getattr(data, "shows", "")
    m, t, kind = config.model, config.train, find("system", config.system)
    parts = {"LLM" if name == "llm" else name: getattr(m, name) for name in kind.uses}
    ids = (id for name, id in LICENCES.items() if licence.startswith(name))
    header = [
        f"license: {next(ids, 'other')}",
        "library_name: pscli",
        "tags: [dialogue, photo-sharing, multimodal, text-to-image]",
    ]
    lines = ["---", *header, "---", f"# A photo-sharing dialogue agent ({_title(config)})", ""]
    lines += [
        SPEAKS if kind.speaks else DRAWS,
        "",
        "```",
        "pip install pscli",
        "pscli generate --context dialog.json --agent FOLDER_OR_ID",
        "```",
        "## Data",
        f"- Trained on `{config.dataset}`; licence: {licence}.",
        f"- Cite: {citation}",
        "## Parts",
    ]
    for name, part in parts.items():
        revision = f", revision {part.revision}" if part.revision else ""
        only = ", adapters alone are here" if part.lora else ""
        lines.append(f"- {name}: `{source(part)}` ({part.kind}{revision}{only})")
    lines += [
        "## Training",
        f"- Rate {t.lr:g}, batches of {t.batch} dialogues, {t.epochs:g} epochs at most, "
        f"α {t.alpha:g}, seed {config.seed}. All settings: `agent_config.json`.",
    ]
    if config.system == "e2e":  # no other has a bridge
        lines.append(
            f"- Guo et al. (2024); bridge `{m.bridge}`, captions {m.caption_source}, "
            f"τ {t.tau_start:g} to {t.tau_end:g}."
        )
    lines.append("## Scores")
    if scores:
        lines += [f"On {t.eval_dialogues} dialogues of the dev split, which chose this agent:", ""]
        lines += ["| score | value |", "|---|---|"]
        lines += [f"| {name} | {value:.2f} |" for name, value in scores.items()]
    else:
        lines.append("None were taken when it was saved.")
    lines += [
        "## Limits",
        f"- It knows what its dataset shows{f': {shows}' if shows else ''}. Answers about other "
        "photos are guesses, however sure they sound; pscli flags photos that are unlike those of "
        "its training, by `familiar.safetensors`.",
        "- What it draws is made up, however real it looks.",
        "- Scores on the split that chose an agent are kinder than those on a test split.",
    ]
    return "\n".join(lines) + "\n"


def source(part: PartConfig) -> str:
    """What a part came from: a name, an id, or the last part of a path."""
    return Path(part.weights).name if is_path(part.weights) else part.weights


def is_path(weights: str) -> bool:
    """Whether weights are named by a path on this machine."""
    return Path(weights).is_absolute() or Path(weights).exists() or weights.startswith(".")


def _title(config: Config) -> str:
    return TITLES.get(config.system, config.system)
