"""The most memory that a short run takes, in a process of its own, beside what is planned.

`python tests/peak.py tiny FOLDER [a.b=v …]` plans a run on photoworld, and `python tests/peak.py
run FOLDER` trains it; `small` needs weights that cannot be had here, and gets random ones of the
published shapes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from pscli.config import Config, changed
from pscli.datasets.base import load, named
from pscli.plan import files
from pscli.plan.estimate import estimate
from pscli.plan.parts import stand_in
from pscli.registry import find
from pscli.runs import Run


def random_folders(model: Any, folder: Path) -> None:
    """Writes folders of random weights in the published shapes of the parts."""
    from diffusers import (
        AutoencoderKL,
        DDPMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        CLIPTextConfig,
        CLIPTextModel,
        SiglipVisionConfig,
        SiglipVisionModel,
    )

    torch.set_default_dtype(torch.float16)
    configs = {part: files.published()[getattr(model, part).weights] for part in PARTS}
    pairs = dict(configs["llm"]["config.json"])
    llm = AutoModelForCausalLM.from_config(AutoConfig.for_model(pairs.pop("model_type"), **pairs))
    llm.save_pretrained(folder / "llm")
    stand_in().save_pretrained(folder / "llm")
    vision = SiglipVisionConfig(**configs["perceptron"]["config.json"]["vision_config"])
    SiglipVisionModel(vision).save_pretrained(folder / "perceptron")
    of = configs["generator"]
    text = CLIPTextConfig(**of["text_encoder/config.json"])
    StableDiffusionPipeline(
        vae=AutoencoderKL.from_config(of["vae/config.json"]), text_encoder=CLIPTextModel(text),
        unet=UNet2DConditionModel.from_config(of["unet/config.json"]),
        tokenizer=stand_in(text.max_position_embeddings),
        scheduler=DDPMScheduler.from_config(of["scheduler/scheduler_config.json"]),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder / "generator")  # fmt: skip


PARTS = ("llm", "perceptron", "generator")
SMALL = {
    "train.batch": 2, "train.micro_batch": 1, "train.precision": "no", "sequence.max_length": 512,
    "train.dialogues": 2, "train.epochs": 2.0,
}  # fmt: skip


def main(preset: str, folder: Path, *more: str) -> None:
    torch.set_num_threads(1)
    config: Config = find("preset", preset)("e2e")
    settings: dict[str, Any] = {"train.dialogues": 96} if preset == "tiny" else dict(SMALL)
    if preset == "small":
        # In a process of its own: what it leaves behind would count as the program's.
        subprocess.run([sys.executable, __file__, "weights", preset, str(folder)], check=True)
        settings |= {f"model.{part}.weights": str(folder / part) for part in PARTS}
    settings |= dict(setting.split("=", 1) for setting in more)
    for name, value in settings.items():
        config = changed(config, name, value)
    dialogues = load(named("photoworld"), "train", config.train.dialogues)
    planned = estimate(config, dialogues)
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    print(json.dumps(planned.to_json()))


def run(folder: Path) -> None:
    """Trains, and prints the most memory that the process has had."""
    from pscli.systems.agent import build
    from pscli.training import loop

    torch.set_num_threads(1)
    config = Config.from_json(json.loads((folder / "config.json").read_text()))
    dialogues = load(named("photoworld"), "train", config.train.dialogues)
    loop.save_checkpoint = lambda *_: folder  # type: ignore[assignment]
    system = build(config.system, config.model)
    loop.train(system, dialogues, config, Run(folder / "run"), lambda *_: {})
    # ru_maxrss would be the parent's, which may have had more before this process began.
    status = Path("/proc/self/status").read_text()
    print(1024 * int(status.split("VmHWM:")[1].split()[0]))


if __name__ == "__main__":
    if sys.argv[1] == "weights":
        random_folders(find("preset", sys.argv[2])("e2e").model, Path(sys.argv[3]))
    elif sys.argv[1] == "run":
        run(Path(sys.argv[2]))
    else:
        main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
