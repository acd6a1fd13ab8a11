"""`caption`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pscli import console
from pscli.cli.app import Device, Overwrite, UseParts, app, refuse_idle
from pscli.cli.data import Name, going_on
from pscli.errors import ConfigError, DataError
from pscli.files import refuse_fixed

if TYPE_CHECKING:
    from pscli.datasets.captions import Describe

SHOWN = 10  # photos that are named


@app.command()
def caption(
    ctx: typer.Context,
    name: Name,
    out: Annotated[Path, typer.Option(help="Folder to write.", show_default=False)],
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this split; repeatable.", show_default="all that are there"
        ),
    ] = None,
    agent: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an agent or run, or a hub id, whose captioner writes.",
            show_default="the bundled parts",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Dialogues of each split.", show_default="all"),
    ] = None,
    overwrite: Overwrite = False,
    use: UseParts = None,
    device: Device = "auto",
) -> None:
    """Copy a dataset with captions that a captioner writes, in place of the dataset's own.

    An interrupted copy goes on when the same command is given again, without --overwrite.
    """
    from pscli.datasets.base import Published, check_split, data_folder, named
    from pscli.datasets.captions import rewrite

    if agent is None:
        refuse_idle(ctx, ("use",), "the bundled captioner")
    dataset = named(name)
    every = split or [*dataset.splits]
    if not split and isinstance(dataset, Published):
        every = dataset.splits_in(data_folder(dataset.name))
    splits = [check_split(dataset, one) for one in dict.fromkeys(every)]
    if overwrite:
        refuse_fixed(out, DataError)
    console.quiet_libraries()
    who, describe = captioner(agent, device, [*(use or []), name])
    with going_on(out, overwrite):
        found = rewrite(dataset, out, splits, describe, who, console.progress, count, overwrite)
    for one, number in found.dialogues.items():
        console.result(f"{out}: {number:,} dialogues of {one}")
    console.result(
        f"captions: {found.written:,} by {who}, {len(found.kept):,} of the dataset's own"
    )
    for path, why in list(found.kept.items())[:SHOWN]:
        console.result(f"  {path}: {why}")
    if len(found.kept) > SHOWN:
        console.result("The others are in manifest.jsonl: those without a captioner.")
    if out.name == "jsonl":
        others = [one for one in found.dialogues if one not in named("jsonl").splits]
        rest = f", but for {', '.join(others)}: no split of jsonl" if others else ""
        console.result(f"It is the dataset jsonl where PSCLI_DATA is {out.parent}{rest}.")


def captioner(agent: Path | None, device: str, use: list[str]) -> tuple[str, Describe]:
    """Name and words of an agent's captioner; of the bundled parts without one.

    A pipeline has a captioner; of an end-to-end agent its perceptron and LLM are asked, which have
    learnt captioning before they learnt dialogue.

    Raises:
        ConfigError: if the agent has none of them.
    """
    from pscli.components.device import device_named
    from pscli.components.load import Load, located
    from pscli.config import ModelConfig
    from pscli.predictions.generate import fingerprint
    from pscli.systems.agent import Agent
    from pscli.systems.captioner import Captioner, load_captioner
    from pscli.systems.place import agent_folder

    if agent is None:
        config = ModelConfig()
        place = Path(located(config.perceptron.weights, "perceptron")).parent
        loaded = load_captioner(config, Load(config)).eval().to(device_named(device))
        return f"bundled:{fingerprint(place)}", loaded.describe
    folder = agent_folder(agent)
    whole = Agent.from_pretrained(folder, device=device, use=use)
    parts = whole.system.parts()
    if "captioner" in parts:
        found = parts["captioner"].module
    elif "perceptron" in parts:
        llm = whole.system.llm
        found = Captioner(parts["perceptron"].module, llm, whole.config.model.captions)
    else:
        raise ConfigError(
            f"The agent {agent} has neither a captioner nor a perceptron.",
            "Leave out --agent: the bundled parts can write captions.",
        )
    return f"{agent}:{fingerprint(folder)}", found.describe
