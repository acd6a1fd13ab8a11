"""The one registry: names of components, systems and datasets, loaded when they are asked for.

A name picks the same component on the command line, in a configuration file and in code. Anyone
can name an object of their own as `module:object` instead.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from pscli.errors import ConfigError

# photoworld with wrong captions, with other photos to be drawn, and with both.
_WRONG = [
    f"{kind}-{n}" for kind in ("next-colour", "shuffled-captions", "no-colour") for n in (60, 100)
]
NOISE = [*_WRONG, "shuffled-photos", *(f"{name}-shuffled-photos" for name in _WRONG)]
TABLES: dict[str, dict[str, str]] = {
    "perceptron": {
        "qformer": "pscli.components.perceptron:QFormerPerceptron",
        "linear": "pscli.components.perceptron:LinearPerceptron",
    },
    "llm": {"causal": "pscli.components.llm:LanguageModel"},
    "generator": {
        "stable-diffusion": "pscli.components.generator:StableDiffusion",
        "uvit": "pscli.components.uvit:UViTGenerator",
        "uvit-small": "pscli.components.uvit:UViTSmall",
        "uvit-small-deep": "pscli.components.uvit:UViTSmallDeep",
        "unidiffuser-v1": "pscli.components.unidiffuser:UniDiffuser",
        "dalle": "pscli.components.dalle:Dalle",
        "dalle-12b": "pscli.components.dalle:Dalle12B",
    },
    "bridge": {
        "dvtm": "pscli.components.bridge:dvtm",
        "dvtm-word": "pscli.components.bridge:dvtm_word",
        "dvtm-word-position": "pscli.components.bridge:dvtm_word_position",
        "vtm": "pscli.components.bridge:vtm",
        "vtm-all": "pscli.components.estimators:vtm_all",
        "gumbel-rao": "pscli.components.estimators:gumbel_rao",
        "reinmax": "pscli.components.estimators:reinmax",
        "soft": "pscli.components.bridge:soft",
        "soft-decoupled": "pscli.components.bridge:soft_decoupled",
        "score-function": "pscli.components.estimators:score_function",
        "none": "pscli.components.bridge:none",
    },
    "system": {
        "e2e": "pscli.systems.end_to_end:EndToEnd",
        "pipeline": "pscli.systems.pipeline:Pipeline",
        "divter": "pscli.systems.pipeline:Pipeline",
        "tiger": "pscli.systems.tiger:Tiger",
        "voken": "pscli.systems.wordless:Voken",
        "queries": "pscli.systems.wordless:Queries",
        "dialog2image": "pscli.systems.dialog2image:Dialog2Image",
        "zero-shot": "pscli.systems.dialog2image:ZeroShot",
    },
    "linearisation": {
        "hashes": "pscli.components.linearise:hashes",
        "spaces": "pscli.components.linearise:spaces",
        "persons": "pscli.components.linearise:persons",
        "letters": "pscli.components.linearise:letters",
    },
    "dataset": {
        "photoworld": "pscli.photoworld.dataset:Photoworld",
        **{f"photoworld-{name}": f"pscli.photoworld.noise:{name}" for name in NOISE},
        "photochat": "pscli.datasets.photochat:photochat",
        "dialogcc": "pscli.datasets.dialogcc:dialogcc",
        "mmdialog": "pscli.datasets.mmdialog:mmdialog",
        "jsonl": "pscli.datasets.jsonl:jsonl",
    },
    "preset": {
        "demo": "pscli.config:demo",
        "tiny": "pscli.config:tiny",
        "small": "pscli.config:small",
        "lora-24gb": "pscli.config:lora_24gb",
        "paper": "pscli.config:paper",
        "sun2022": "pscli.systems.divter:sun2022",
        "sun2023": "pscli.systems.dialog2image:sun2023",
    },
    "extractor": {
        "photoworld": "pscli.photoworld.judge:load_extractor",
        "inception": "pscli.metrics.extractors.inception:Inception",
        "efficientnet-lite0": "pscli.metrics.extractors.packages:EfficientNetLite0",
        "dinov2-small": "pscli.metrics.extractors.packages:DinoV2Small",
        "clip": "pscli.metrics.extractors.places:Clip",
        "dinov2": "pscli.metrics.extractors.places:DinoV2",
    },
    "metric": {
        "text": "pscli.metrics.text:Text",
        "images": "pscli.metrics.image:images",
        "clip": "pscli.metrics.clip:ClipScores",
        "sharing": "pscli.metrics.sharing:Sharing",
        "answers": "pscli.photoworld.metrics:Answers",
        "faithfulness": "pscli.photoworld.metrics:Faithfulness",
        "zero-shot": "pscli.photoworld.outside:ZeroShot",
    },
    "weights": {
        "photoworld": "pscli.photoworld.shipped:part",
        "photoworld-looking": "pscli.photoworld.members:looking",
        "photoworld-composing": "pscli.photoworld.members:composing",
        "photoworld-uvit": "pscli.photoworld.members:uvit",
        "photoworld-unidiffuser": "pscli.photoworld.members:unidiffuser",
        "photoworld-divter": "pscli.photoworld.members:divter",
    },
    "agent": {"bundled": "pscli.photoworld.shipped:agent"},
    "conversation": {"showcase": "pscli.photoworld.showcase:dialogue"},
    "foundations": {
        "photoworld": "pscli.photoworld.foundations.build:build_all",
        "looking": "pscli.photoworld.foundations.looking:make",
        "composing": "pscli.photoworld.foundations.composing:make",
        "divter": "pscli.photoworld.foundations.divter:make",
        "uvit": "pscli.photoworld.foundations.uvit:make",
        "unidiffuser": "pscli.photoworld.foundations.unidiffuser:make",
    },
}
PARTS = ("perceptron", "llm", "generator")
# What each must have; all others are to be called.
NEEDS = {"system": ("build", "uses", "speaks"), **dict.fromkeys(PARTS, ("from_pretrained",))}


def check(kind: str, name: str) -> str:
    """Returns `name` if it can be looked up.

    Raises:
        ConfigError: if no component of that kind has this name; it suggests the nearest.
    """
    if name in TABLES[kind] or ":" in name:
        return name
    near = difflib.get_close_matches(name, TABLES[kind], n=1, cutoff=0.4)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"Unknown {kind} '{name}'.{guess}", f"Known: {', '.join(TABLES[kind])}.")


def find(kind: str, name: str) -> Any:
    """The object behind a name, or behind `module:object`.

    `module` may lie in the current folder.

    Raises:
        ConfigError: if there is none, or it cannot be one of its kind.
    """
    module, _, attribute = TABLES[kind].get(check(kind, name), name).partition(":")
    try:
        with _current_folder_importable():
            found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"The {kind} '{name}' cannot be loaded: {error}.",
            "Expected a name from the registry or an importable module:object.",
        ) from error
    for need in NEEDS.get(kind, ("__call__",)):
        if not hasattr(found, need):
            raise ConfigError(
                f"The {kind} '{name}' is a {type(found).__name__} without {need}.",
                "docs/extending.md shows what it needs.",
            )
    return found


def plain(name: str) -> str:
    """A name as part of a file name: `own_system:Name` is `own_system-Name`."""
    return name.replace(":", "-").replace("/", "-")


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.append(here)  # last, so that no file there hides a library
    try:
        yield
    finally:
        sys.path.remove(here)
