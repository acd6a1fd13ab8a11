"""The one registry: names of components, systems and datasets, loaded when they are asked for.

A name picks the same component on the command line, in a configuration file and in code. Anyone
can name an object of their own as `module:object` instead.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from pscli.errors import ConfigError

TABLES: dict[str, dict[str, str]] = {
    "perceptron": {
        "qformer": "pscli.model.perceptron:QFormerPerceptron",
        "linear": "pscli.model.perceptron:LinearPerceptron",
    },
    "bridge": {
        "dvtm": "pscli.model.bridge:dvtm",
        "dvtm-word": "pscli.model.bridge:dvtm_word",
        "dvtm-word-position": "pscli.model.bridge:dvtm_word_position",
        "vtm": "pscli.model.bridge:vtm",
        "soft": "pscli.model.bridge:soft",
        "none": "pscli.model.bridge:none",
    },
    "system": {
        "e2e": "pscli.model.agent:EndToEnd",
        "pipeline": "pscli.model.pipeline:Pipeline",
    },
    "dataset": {
        "photoworld": "pscli.data.photoworld.source:Photoworld",
        "photochat": "pscli.data.sources.photochat:photochat",
        "dialogcc": "pscli.data.sources.dialogcc:dialogcc",
        "mmdialog": "pscli.data.sources.mmdialog:mmdialog",
        "jsonl": "pscli.data.sources.jsonl:jsonl",
    },
    "preset": {
        "demo": "pscli.config:demo",
        "tiny": "pscli.config:tiny",
        "paper": "pscli.config:paper",
    },
    "extractor": {
        "photoworld": "pscli.foundations.extractor:load_extractor",
        "inception": ("torch_fidelity.feature_extractor_inceptionv3:FeatureExtractorInceptionV3"),
    },
}


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

    Raises:
        ConfigError: if there is none.
    """
    module, _, attribute = TABLES[kind].get(check(kind, name), name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"The {kind} '{name}' cannot be loaded: {error}.",
            "Expected a name from the registry or an importable module:object.",
        ) from error
