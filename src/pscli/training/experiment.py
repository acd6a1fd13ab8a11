"""A run: the loop wired to its dataset, its evaluation on the dev split, and its folder."""

from __future__ import annotations

import json
from pathlib import Path

from pscli.config import Config
from pscli.console import stderr
from pscli.dialogue.sequence import learnable
from pscli.metrics.score import score_folder
from pscli.predictions.folder import Settings, writing
from pscli.predictions.generate import instances, predict
from pscli.registry import find
from pscli.report.sheet import curves, sheet
from pscli.runs import Run
from pscli.systems.agent import Agent, build
from pscli.systems.base import System
from pscli.training.loop import train

SHOWN = ("BLEU-2", "FID-photoworld", "FID", "sharing F1", "answer accuracy", "photo faithfulness")


def run_training(config: Config, run: Path, *, resume: bool = False) -> None:
    """Trains a system and leaves a run folder.

    `config.json` (resolved), `metrics.jsonl`, `checkpoints/`, `samples/step-N/` (predictions on
    the dev split with their scores and a sheet of conversations), `loss.png` and `agent/`: the
    agent with the best BLEU-2 so far.
    """
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps(config.to_json(), indent=1), encoding="utf-8")
    dataset = find("dataset", config.dataset)()
    system = build(config.system, config.model)
    dev = instances(dataset.load("dev", config.train.eval_dialogues))
    best = (
        max((line.get("bleu2", 0.0) for line in Run(run).metrics), default=0.0) if resume else 0.0
    )

    def evaluate(system: System, step: int) -> dict[str, float]:
        nonlocal best
        system.eval()
        agent = Agent(system, config)
        folder = run / "samples" / f"step-{step:06d}"
        settings = Settings(str(run), f"step {step}", config.dataset, "dev", 0, 0.0)
        with writing(folder, settings, overwrite=True) as writer:
            predict(agent, dev, writer, lambda count: None)
        scores = {s.name: s.value for s in score_folder(folder, by_kind=False).overall.scores}
        sheet([folder], count=5).save(folder / "conversations.png")
        curves(run, run / "loss.png")
        if scores["BLEU-2"] >= best or not (run / "agent").is_dir():
            best = scores["BLEU-2"]
            agent.save_pretrained(run / "agent")
        system.train()
        shown = (f"{name} {scores[name]:.2f}" for name in SHOWN if name in scores)
        stderr.print(f"dev after step {step}: " + "  ".join(shown))
        fid = next((v for k, v in scores.items() if k.startswith("FID")), float("inf"))
        return {"bleu2": scores["BLEU-2"], "fid": fid}

    dialogues = dataset.load("train", config.train.dialogues)
    mute = sum(not learnable(r) for dialogue in dialogues for r in dialogue.responses[1:])
    if mute:
        stderr.print(f"{mute:,} responses have a photo without a caption: context only.")
    history = train(system, dialogues, config, run, evaluate, resume=resume)
    stderr.print(f"{len(history)} evaluations; the agent is in {run / 'agent'}.")
