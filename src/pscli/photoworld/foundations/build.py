"""Remakes the foundations: every stage seeded, resumable, and scored on the dev split."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn
from transformers import Blip2VisionModel, CLIPTokenizer

from pscli.components.generator import StableDiffusion
from pscli.components.llm import LanguageModel
from pscli.components.noise import seeded
from pscli.components.perceptron import QFormerPerceptron
from pscli.console import stderr
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import ConfigError
from pscli.files import locked, new_folder, read_json, write_text
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.details import load_details
from pscli.photoworld.foundations import counting, drawing, seeing, speaking
from pscli.photoworld.foundations.pool import Pool, global_labels, kind_labels, load_pool
from pscli.photoworld.judge import Extractor, load_extractor
from pscli.photoworld.members import MADE, begun
from pscli.photoworld.talk import drill, questions, quiz
from pscli.systems.captioner import DESCRIBE, Captioner


@dataclass(frozen=True)
class Recipe:
    """Scenes, questions and drawings of the training split, optimiser steps per stage, and the one
    seed."""

    seed: int = 0
    scenes: int = 40_000
    extractor: int = 5000
    details: int = 3000
    vision: int = 12_000
    llm: int = 5000
    qformer: int = 3600
    questions: int = 20_000
    talking: int = 3000
    drills: int = 6000
    vae: int = 12_000
    text: int = 1000
    drawings: int = 60_000
    generator: int = 18_000
    refine: int = 8200


DETAILS = 24_000  # scenes that the judge's second look needs
STAGES = (
    "extractor",
    "details",
    "vision",
    "llm",
    "qformer",
    "talking",
    "vae",
    "generator",
    "refine",
)


class Build:
    """Work in progress below `work`, finished parts below `out`."""

    def __init__(self, work: Path, out: Path, recipe: Recipe) -> None:
        self.work, self.out, self.recipe = work, out, recipe
        self.scores: dict[str, Any] = {}
        if (out / "scores.json").is_file():
            self.scores = read_json(out / "scores.json")

    @cached_property
    def dialogues(self) -> list[Dialogue]:
        """What the LLM reads: the training split, and as many quizzes."""
        return with_quizzes()

    @cached_property
    def asked(self) -> list[Dialogue]:
        return practised(questions, self.recipe.questions)

    @cached_property
    def pool(self) -> Pool:
        return load_pool(self.work, "train", self.recipe.scenes, self.recipe.seed)

    @cached_property
    def drawings(self) -> Pool:
        """What the generator learns from: more photos of two things, which are hardest to draw."""
        return load_pool(self.work, "train", self.recipe.drawings, self.recipe.seed, two=0.6)

    @cached_property
    def dev(self) -> Pool:
        return load_pool(self.work, "dev", 2000, self.recipe.seed)

    def note(self, stage: str, scores: dict[str, float]) -> None:
        self.scores[stage] = {k: round(v, 4) for k, v in scores.items()}
        stderr.print(f"{stage}: {self.scores[stage]}")
        text = json.dumps({**self.scores, "recipe": asdict(self.recipe)}, indent=1, sort_keys=True)
        write_text(self.out / "scores.json", text + "\n")

    # -- stages, in the order of STAGES --------------------------------------------------------

    def extractor(self) -> None:
        steps = self.recipe.extractor
        model = seeing.train_extractor(self.pool, self.work / "extractor", steps=steps)
        folder = self.keep("extractor", model)
        self.note("extractor", seeing.judge(load_extractor(folder), self.dev))

    def details(self) -> None:
        work, judge = self.work / "details", load_extractor(self.out / "extractor")
        count = min(self.recipe.scenes, DETAILS)
        pool = counting.load_scenes(work, "train", count, self.recipe.seed)
        model = counting.train_details(judge, pool, work, steps=self.recipe.details)
        kept = load_details(self.keep("details", model))
        dev = counting.load_scenes(work, "dev", 2000, self.recipe.seed)
        self.note("details", counting.detail_accuracy(judge, kept, dev))

    def keep(self, name: str, model: nn.Module) -> Path:
        """Saves weights of a judge, in half precision, and returns their folder."""
        folder = self.out / name
        with new_folder(folder) as new:
            weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
            save_file(weights, new / "model.safetensors")
        return folder

    def vision(self) -> None:
        model = seeing.train_vision(self.pool, self.work / "vision", steps=self.recipe.vision)
        self.note("vision", seeing.probe(model.eval(), self.dev))
        model.vision.save_pretrained(self.work / "vision" / "model")

    def llm(self) -> None:
        tokenizer = speaking.train_llm_tokenizer(speaking.texts(self.dialogues))
        model = speaking.train_llm(
            tokenizer, self.dialogues, self.work / "llm", steps=self.recipe.llm
        )
        self.note("llm", reading_scores(model))
        model.save_pretrained(self.work / "llm" / "model")

    def qformer(self) -> None:
        vision = Blip2VisionModel.from_pretrained(self.work / "vision" / "model")
        llm = LanguageModel.from_pretrained(self.work / "llm" / "model")
        lessons = speaking.Lessons(
            speaking.untrained(vision, llm), self.pool, self.dialogues, self.asked,
            shares=(16, 6, 2),
        )  # fmt: skip
        work, steps = self.work / "qformer", self.recipe.qformer
        captioner = speaking.train_captioner(lessons, work, steps=steps)
        self.keep_captioner("qformer", captioner)

    def talking(self) -> None:
        read = self.dialogues + practised(drill, self.recipe.drills)
        captioner = load_captioner(self.out)
        lessons = speaking.Lessons(captioner, self.pool, read, self.asked, shares=(8, 4, 4), seed=1)
        work, steps = self.work / "talking", self.recipe.talking
        captioner = speaking.train_captioner(lessons, work, steps=steps)
        self.keep_captioner("talking", captioner)

    def keep_captioner(self, stage: str, captioner: Captioner) -> None:
        save_captioner(captioner, self.out)
        scores = caption_accuracy(captioner.float().eval(), self.dev)
        self.note(stage, scores | reading_scores(captioner.llm))

    def vae(self) -> None:
        model = drawing.train_autoencoder(self.pool, self.work / "vae", steps=self.recipe.vae)
        images = self.dev.batch(range(500))
        self.note("vae", {"psnr": drawing.psnr(model.eval(), images)})
        model.save_pretrained(self.work / "vae" / "model")

    def clip_tokenizer(self, folder: Path, pool: Pool) -> CLIPTokenizer:
        """Kept for a stage that goes on: its trainer numbers tokens anew in every process."""
        if not folder.is_dir():
            words = [w for s in pool.scenes for w in (s.caption(), s.description())]
            with new_folder(folder) as new:
                speaking.train_clip_tokenizer(words).save_pretrained(new)
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
        return tokenizer

    def generator(self) -> None:
        vae = AutoencoderKL.from_pretrained(self.work / "vae" / "model").eval()
        pool = self.drawings
        clip = self.clip_tokenizer(self.work / "tokenizer", pool)
        vision = Blip2VisionModel.from_pretrained(self.work / "vision" / "model").eval()
        text = drawing.train_text_encoder(
            vision, clip, pool, self.work / "text", steps=self.recipe.text
        )
        model = drawing.train_generator(
            vae, text, clip, pool, self.work / "generator", steps=self.recipe.generator
        )  # fmt: skip
        self.keep_generator("generator", model)

    def refine(self) -> None:
        folder, work = self.out / "generator", self.work / "refine"
        model = drawing.refine_generator(folder, self.drawings, work, steps=self.recipe.refine)
        self.keep_generator("refine", model)

    def keep_generator(self, stage: str, model: StableDiffusion) -> None:
        with new_folder(self.out / "generator") as new:
            model.half().save_pretrained(new)
        again = StableDiffusion.from_pretrained(self.out / "generator", guidance=3.0)
        self.note(stage, drawing_accuracy(again, load_extractor(self.out / "extractor"), self.dev))


def build_all(
    work: Path | None = None, out: Path | None = None, only: str | None = None,
    recipe: Recipe | None = None,
) -> Path:  # fmt: skip
    """Runs all stages, or one; each resumes where it stopped.

    Args:
        work: Folder of what is unfinished; `runs/foundations` by default.
        out: Folder of the finished parts, which is returned; `runs/foundations/photoworld` by
            default.

    Raises:
        ConfigError: if there is no such stage.
        CheckpointError: if another process works there, or another recipe was begun.
    """
    if only and only not in STAGES:
        raise ConfigError(f"Unknown stage '{only}'.", f"Known: {', '.join(STAGES)}.")
    build = Build(work or MADE, out or MADE / "photoworld", recipe or Recipe())
    stages: dict[str, Callable[[], None]] = {name: getattr(build, name) for name in STAGES}
    with locked(build.work, "making foundations"):
        begun(build.work, build.recipe)
        build.out.mkdir(parents=True, exist_ok=True)  # before hours of work for nothing
        for name, stage in stages.items():
            if only in (None, name):
                stage()
    return build.out


def practised(write: Callable[[str, int], Dialogue], count: int) -> list[Dialogue]:
    """The first `count` training dialogues of a kind of practice."""
    return [write("train", index) for index in range(count)]


def with_quizzes(count: int | None = None) -> list[Dialogue]:
    """What an LLM reads: the first dialogues of the training split, or all, and as many quizzes."""
    split = Photoworld().load("train", count)
    return split + practised(quiz, len(split))


def load_captioner(folder: Path) -> Captioner:
    """The LLM and the perceptron of a folder; the ViT stays as it is."""
    captioner = Captioner(
        QFormerPerceptron.from_pretrained(folder / "perceptron"),
        LanguageModel.from_pretrained(folder / "llm"),
    )
    captioner.perceptron.vision.requires_grad_(False)
    return captioner


def save_captioner(captioner: Captioner, folder: Path) -> None:
    """Keeps both in half precision, in which the captioner is left."""
    captioner.half()
    for name in ("perceptron", "llm"):
        with new_folder(folder / name) as new:
            getattr(captioner, name).save_pretrained(new)


def reading_scores(llm: LanguageModel) -> dict[str, float]:
    """What an LLM makes of dev dialogues, told of their photos by descriptions."""
    dev = Photoworld().load("dev")
    return {
        "dev_perplexity": speaking.perplexity(llm, dev),
        "settings": speaking.settings_said_again(llm, dev[:150]),
    }


@torch.no_grad()
def caption_accuracy(captioner: Captioner, pool: Pool, count: int = 500) -> dict[str, float]:
    """Captions and full descriptions that are right to the letter."""
    photos = [Photo(scene) for scene in pool.scenes[:count]]
    captions = captioner.describe(photos)
    full = captioner.describe(photos, DESCRIBE)
    scenes = pool.scenes[:count]
    right = [c == s.caption() for c, s in zip(captions, scenes, strict=True)]
    exact = [f == s.description() for f, s in zip(full, scenes, strict=True)]
    return {"captions": sum(right) / count, "descriptions": sum(exact) / count}


@torch.no_grad()
def drawing_accuracy(
    generator: StableDiffusion, judge: Extractor, pool: Pool, count: int = 320, like: bool = False
) -> dict[str, float]:
    """Photos drawn from captions that show all things in their colours, and the setting.

    Args:
        like: Whether captions name number and light, too; then `light` is judged with the rest.
    """
    rows = random.Random(0).sample(range(len(pool.scenes)), count)
    scenes = [pool.scenes[i] for i in rows]
    drawn = []
    for start in range(0, count, 64):
        part = scenes[start : start + 64]
        seeds = [seeded("drawing", start + i) for i in range(len(part))]
        drawn += generator.draw([s.caption(like=like) for s in part], seeds)
    pixels = torch.stack([seeing.as_pixels(image) for image in drawn])
    output, labels = judge(pixels), global_labels(scenes)
    right = output.kinds.argmax(-1) == kind_labels(scenes)
    kinds = (output.kinds.argmax(-1) > 0) == (kind_labels(scenes) > 0)
    hits = {
        "things": right.all(1),
        "kinds": kinds.all(1),
        "setting": output.settings.argmax(-1) == labels["setting"],
    }
    if like:
        hits["light"] = output.lights.argmax(-1) == labels["light"]
    return {name: float(hit.float().mean()) for name, hit in hits.items()}


def drawing_scores(generator: StableDiffusion, pool: Pool, count: int) -> dict[str, float]:
    """The same by the shipped judge; the light, from captions that name it."""
    judge = load_extractor()
    named = drawing_accuracy(generator, judge, pool, count, like=True)
    return drawing_accuracy(generator, judge, pool, count) | {"light": named["light"]}
