"""Where agents are found: a folder, a run, or an id on the hub; and how one gets there."""

from __future__ import annotations

import re
from pathlib import Path

from pscli.components.hub import fetched
from pscli.errors import CheckpointError, PscliError
from pscli.files import read_json
from pscli.registry import find
from pscli.runs import agent_in
from pscli.systems.card import is_path

CONFIG = "agent_config.json"
ID = re.compile(r"[\w.-]+/[\w.-]+")
FILES = ["*.safetensors", "*.json", "*.txt", "*.md", "*.jinja"]  # nothing that could be run


def agent_folder(name: str | Path | None, revision: str | None = None) -> Path:
    """Folder of an agent, that of a run, or one that is fetched by id; of the bundled one if None.

    Raises:
        CheckpointError: if there is none.
    """
    if name is None:
        bundled: Path = find("agent", "bundled")()
        return bundled
    if Path(name).exists() or not ID.fullmatch(str(name)):
        return agent_in(Path(name))
    from huggingface_hub import snapshot_download

    id, wrong = str(name), f"There is no folder {name}, and no agent of that id can be had"
    hint = "Name a folder that `pscli train-e2e` wrote, or an id of the hub."
    try:
        if fetched(id, CONFIG, revision) is None:
            raise CheckpointError(f"It has no {CONFIG}.")
        return Path(snapshot_download(id, revision=revision, allow_patterns=FILES))
    except CheckpointError as error:
        raise CheckpointError(f"{wrong}. {error.message}", hint) from error
    except Exception as error:  # of whichever library the hub's client calls the network by
        raise CheckpointError(f"{wrong}: {str(error).splitlines()[0]}", hint) from error


def beside(folder: Path) -> list[str]:
    """Paths of weights that an agent refers to, and does not hold.

    Raises:
        CheckpointError: if the folder holds no agent.
    """
    try:
        pairs = read_json(folder / CONFIG)
        model = {name: pairs["model"][name] for name in ("perceptron", "llm", "generator")}
        paths = {name: part["weights"] for name, part in model.items()}
        needed = {name for name in paths if model[name].get("lora")}
        needed |= {"perceptron"} if not (folder / "perceptron").is_dir() else set()
    except (PscliError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} holds no agent.", "Name a run, or the agent in it: pscli push runs/e2e ID."
        ) from error
    return [paths[name] for name in sorted(needed) if is_path(paths[name])]


def push(agent: Path, id: str, *, private: bool = False, revision: str | None = None) -> str:
    """Sends an agent's folder to the hub, as one commit; returns its address.

    Raises:
        CheckpointError: if that is no agent, the hub refuses it, or it is to be private and what
            is there already is not.
    """
    from huggingface_hub import HfApi

    folder = agent_in(agent)
    elsewhere = beside(folder)
    if elsewhere:
        raise CheckpointError(
            f"The agent needs {', '.join(elsewhere)}, which lies on this machine alone.",
            "Train from a hub id, or without adapters, so that the folder holds all of it.",
        )
    api = HfApi()
    try:
        place = api.create_repo(id, private=private, exist_ok=True)
        if private and not api.repo_info(place.repo_id).private:
            raise CheckpointError(
                f"{id} is there already, and public.",
                "Make it private on the hub, choose another name, or leave out --private.",
            )
        api.upload_folder(
            repo_id=place.repo_id, folder_path=folder, revision=revision, allow_patterns=FILES,
            commit_message="An agent of pscli",
        )  # fmt: skip
    except CheckpointError:
        raise
    except Exception as error:  # of whichever library the hub's client calls the network by
        raise CheckpointError(
            f"{id} could not be sent: {str(error).splitlines()[0]}",
            "Log in with `hf auth login`, with a token that may write.",
        ) from error
    return str(place)
