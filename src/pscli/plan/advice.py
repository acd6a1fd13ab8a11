"""The cheapest change that makes a run fit, and the guard that asks for one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pscli import console
from pscli.config import Config, changed, flat
from pscli.dialogue.schema import Dialogue
from pscli.errors import ConfigError
from pscli.plan.estimate import Estimate, estimate
from pscli.plan.machine import Machine, machine
from pscli.registry import find

# From what costs nothing but time to what trains another model.
CHANGES = (
    ("train.checkpointing", True),
    ("model.perceptron.dtype", "bfloat16"),
    ("train.optimizer", "adamw-8bit"),
)
UNSAID = ("dataset", "preset", "system", "train.memory_gb")  # in settings of a command
PRESETS = ("lora-24gb", "small", "tiny")


@dataclass(frozen=True)
class Advice:
    """A configuration that fits, and what it takes."""

    config: Config
    estimate: Estimate


def cheapest(
    config: Config, now: Estimate, there: Machine, dialogues: Sequence[Dialogue] = ()
) -> Advice | None:
    """The first change that fits: each is tried together with those before it.

    Args:
        now: What the configuration takes, which is more than there is.
    """
    for candidate in candidates(config, now, there):
        found = estimate(
            candidate, dialogues, device=there.kind, devices=there.sharing, limit=there.memory
        )
        if found.peak <= there.memory:
            return Advice(candidate, found)
    return None


def candidates(config: Config, now: Estimate, there: Machine) -> Iterator[Config]:
    uses = find("system", config.system).uses
    size = min(config.train.micro_batch, config.train.batch)
    room = there.memory - now.fixed
    if size > 1 and now.activations and room > 0:  # grow with it, or a little less
        fewer = max(1, int(size * room / now.activations))
        yield changed(config, "train.micro_batch", 1 << (min(size - 1, fewer).bit_length() - 1))
    for name, value in (("train.micro_batch", 1), *CHANGES):
        if name.startswith("model.") and name.split(".")[1] not in uses:
            continue
        before, config = config, changed(config, name, value)
        if config != before:
            yield config
    for name in PRESETS:
        preset: Config = find("preset", name)(config.system)
        if name == "tiny":
            fits = config.dataset == "photoworld"
        else:  # with another kind of generator it would be another system
            fits = preset.model.generator.kind == config.model.generator.kind
        if name != config.preset and fits:
            train = replace(preset.train, dialogues=config.train.dialogues)
            yield replace(
                preset, dataset=config.dataset, photos=config.photos, seed=config.seed, train=train
            )


def command(config: Config) -> str:
    """What is typed to train by this configuration."""
    names = {"e2e": ["train-e2e"], "pipeline": ["train-pipeline"]}
    words = ["pscli", *names.get(config.system, ["train", config.system])]
    words += ["--dataset", config.dataset, "--preset", config.preset]
    preset = flat(find("preset", config.preset)(config.system).to_json())
    for name, value in flat(config.to_json()).items():
        if value != preset[name] and name not in UNSAID:
            words += ["--set", f"{name}={written(value)}"]
    return shlex.join(words)


def written(value: Any) -> str:
    """A setting's value as `--set` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "null" if value is None else str(value).lower() if value in (True, False) else str(value)


def gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"


def refuse_too_large(config: Config, dialogues: Sequence[Dialogue]) -> None:
    """Raises ConfigError, with what would fit, if a run takes more memory than there is.

    A run that nobody can plan, as its parts are not ours, may begin.
    """
    there = machine(config)
    try:
        found = estimate(
            config, dialogues, device=there.kind, devices=there.sharing, limit=there.memory,
            roughly=True,
        )  # fmt: skip
    except ConfigError as error:
        console.note(f"The memory that this takes is not known: {error.message}")
        return
    if found.peak <= there.memory:
        return
    raise ConfigError(
        f"Preset '{config.preset}' takes {needs(found)} of memory, and {there.name} has "
        f"{gigabytes(there.memory)}.",
        f"{remedy(config, found, there, dialogues)} `pscli plan` shows the sum; to begin all the "
        "same, say by --set train.memory_gb=… how much there is.",
    )


def needs(found: Estimate) -> str:
    """The peak; what was not traced takes more."""
    return f"{'' if found.activations else 'more than '}{gigabytes(found.peak)}"


def remedy(
    config: Config, found: Estimate, there: Machine, dialogues: Sequence[Dialogue] = ()
) -> str:
    """A sentence with the command of what fits."""
    advice = cheapest(config, found, there, dialogues)
    if advice is None:
        return "Nothing that we know makes it fit."
    return f"This fits, with {gigabytes(advice.estimate.peak)}: `{command(advice.config)}`."
