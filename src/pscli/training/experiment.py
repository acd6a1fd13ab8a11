"""A run: the loop wired to its dataset, its evaluation on the dev split, and its folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pscli import console
from pscli.components.cache import Cache
from pscli.components.hub import reachable
from pscli.components.load import refuse_unread
from pscli.config import Config
from pscli.datasets.base import load, named
from pscli.dialogue.schema import Dialogue, Photo
from pscli.dialogue.sequence import learnable
from pscli.errors import ConfigError, DataError
from pscli.files import write_png
from pscli.metrics import extractor
from pscli.metrics.score import score_folder
from pscli.plan.advice import refuse_too_large
from pscli.predictions.generate import Instance, due, instances
from pscli.predictions.settings import Settings
from pscli.predictions.together import predict_together, writing_together
from pscli.processes import first, here
from pscli.registry import find
from pscli.report.sheet import curves, sheet
from pscli.runs import Run
from pscli.systems.agent import Agent, build
from pscli.systems.base import System
from pscli.systems.honest import some_of
from pscli.training.loop import train
from pscli.training.schedules import is_best
from pscli.training.trackers import check

SHOWN = ("sharing F1", "answer accuracy", "photo faithfulness")  # beside what is monitored
SAMPLES = 5  # conversations of a sheet


def run_training(
    config: Config,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tracker: str | None = None,
) -> Run:
    """Trains a system and leaves a run's folder, with the agent that has the best score so far.

    Data are looked for first, then memory, ids of the hub and what scores the dev split; then the
    models are loaded, and all that the loop needs is made, and then the folder: a run that never
    began leaves nothing, and of one that it would have replaced all.

    Args:
        tracker: `tensorboard` or `wandb`, which gets every figure of metrics.jsonl as well.

    Raises:
        DataError: if there is nothing to learn, or nothing to test with.
        ConfigError: if it takes more memory than there is, or the extractor or the tracker's
            package cannot be had.
        CheckpointError: if a part cannot be had.
    """
    check(tracker)
    dataset, kind = named(config.dataset), find("system", config.system)
    dialogues = load(dataset, "train", config.train.dialogues, config.photos)
    refuse_unlearnable(dialogues, config.dataset, kind.speaks)
    held_out = load(dataset, "dev", config.train.eval_dialogues, config.photos)
    run = Run(folder)
    evaluation = Evaluation(run, config, held_out, some_of(dialogues))
    refuse_unanswerable(evaluation.work, config.dataset, kind)
    if first():
        console.note(f"Licence of {dataset.name}: {dataset.licence}.")
    refuse_unread(config.model, kind.uses)
    refuse_too_large(config, dialogues)
    reachable(config.model, kind.uses)
    extractor.load(config.train.extractor, torch.device("cpu"))
    system = build(config.system, config.model)
    refuse_untrainable(system, config.system, config.model.frozen)
    process = here()
    with run.lock(process.process_index):
        cache = folder / "cache" / str(process.process_index)
        # Each process keeps what it makes of its own share of photos.
        system.cache = Cache(cache, config.train.cache_gb * 1e9 / process.num_processes)
        history = train(
            system, dialogues, config, run, evaluation, resume=resume, tracker=tracker,
            begin=partial(Run.start, folder, config, overwrite),
        )  # fmt: skip
    process.wait_for_everyone()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    console.note(f"{len(history)} evaluations; the agent is in {run.agent}.")
    return run


def refuse_unlearnable(dialogues: Sequence[Dialogue], name: str, speaks: bool = True) -> None:
    """Says how many responses teach nothing; raises DataError if none teaches anything.

    Args:
        speaks: Whether a system learns words; one that only draws needs no captions.
    """
    responses = [response for dialogue in dialogues for response in dialogue.responses[1:]]
    mute = sum(speaks and not learnable(response) for response in responses)
    if mute == len(responses):
        why = "its photos have no captions" if mute else "no dialogue has a second response"
        raise DataError(
            f"There is nothing to learn from {name}: {why}.",
            "An agent learns to answer what came before, in words or by captioned photos.",
        )
    if mute:
        console.note(f"{mute:,} responses have a photo without a caption: context only.")


def refuse_unanswerable(work: Sequence[Instance], name: str, kind: Any) -> None:
    """Raises DataError if a dev split asks a kind of system nothing, and tells no agent apart."""
    if due(kind, work):
        return
    only_draws = "no photo is shared there, and this system only draws"
    raise DataError(
        f"There is nothing to answer in {name} dev: "
        f"{'no dialogue has a second response' if kind.speaks else only_draws}.",
        "Training keeps the agent that answers it best. Read more of it: train.eval_dialogues.",
    )


def refuse_untrainable(system: System, name: str, frozen: Sequence[str] | None = None) -> None:
    """Raises ConfigError if nothing of a system trains, or what is to stay is no part of it."""
    names = [parameter for parameter, _ in system.named_parameters()]
    for prefix in frozen or ():
        if not any(parameter.startswith(prefix) for parameter in names):
            raise ConfigError(
                f"model.frozen names '{prefix}', and no parameter of '{name}' begins so.",
                f"Its parts: {', '.join(dict.fromkeys(n.partition('.')[0] for n in names))}.",
            )
    if not any(parameter.requires_grad for parameter in system.parameters()):
        raise ConfigError(
            f"Nothing of '{name}' is to train.",
            f"It answers as it is: pscli generate --system {name} --dataset …",
        )


class Evaluation:
    """Answers the dev split, scores it, draws a sheet, and keeps the best agent.

    All processes answer; the first one does the rest.

    Args:
        photos: Of training: the agent remembers what they are like.
    """

    def __init__(
        self,
        run: Run,
        config: Config,
        dialogues: Sequence[Dialogue],
        photos: Sequence[Photo] = (),
    ) -> None:
        self.run, self.config, self.photos = run, config, photos
        self.dialogues = dialogues
        self.work = instances(dialogues)

    def __call__(self, system: System, step: int) -> dict[str, float]:
        system.eval()
        run, config = self.run, self.config
        agent = Agent(system, config)
        folder = run.samples(step)
        settings = Settings(
            str(run.folder), f"step {step}", config.dataset, "dev", 0, 0.0, config.photos
        )
        with writing_together(folder, settings, overwrite=True) as writer:
            predict_together(agent, due(agent, self.work), writer, lambda count: None)
        if not first():
            return {}
        found = score_folder(folder, config.train.extractor, by_kind=False).overall
        scores = {score.name: score.value for score in found.scores}
        conversations = sheet([folder], count=SAMPLES, dialogues=self.dialogues)
        write_png(folder / "conversations.png", conversations)
        curves(run.folder, run.folder / "loss.png")
        if is_best(scores, run.metrics, config.train.monitor) or not run.agent.is_dir():
            agent.acquaint(self.photos)
            agent.save_pretrained(run.agent, scores=scores)
        monitored = [name.removeprefix("-") for name in config.train.monitor]
        unknown = [name for name in monitored if name not in {*scores, *found.reasons}]
        if unknown:
            console.note(f"No dev score is called {' or '.join(unknown)}: {', '.join(scores)} are.")
        shown = [name for name in (*monitored, *SHOWN) if name in scores]
        told = "  ".join(f"{name} {scores[name]:.2f}" for name in shown)
        console.note(f"dev after step {step}: {told}")
        return scores
