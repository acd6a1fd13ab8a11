"""Versions of what the results depend on, read without loading any of it."""

from __future__ import annotations

import platform

from pscli import __version__

LIBRARIES = (
    "torch", "torchvision", "transformers", "diffusers", "accelerate", "tokenizers", "safetensors",
    "huggingface_hub", "numpy", "pillow",
)  # fmt: skip


def versions() -> dict[str, str]:
    """By name, this package first; "missing" where there is none."""
    ours = {"pscli": __version__, "python": platform.python_version()}
    return ours | {name: installed(name) or "missing" for name in LIBRARIES}


def installed(package: str) -> str:
    """Version of an installed package; empty if it is not there."""
    from importlib.metadata import PackageNotFoundError, version  # late: --help is to be quick

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
