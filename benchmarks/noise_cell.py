"""One cell of the study of wrong captions: a short training, and what the captions are worth after.

    cell='{"cell": {"noise": "next-colour-100", "bridge": "vtm", "seed": 0}, "scale": {}}'
    python benchmarks/noise_cell.py "$cell" out.json

The end-to-end system is trained from the shipped foundations by the package's own loop, with
sampled captions and a constant τ, on photoworld's first training dialogues. Then it is measured on
dev and test, whose captions and talk are true (see `measure`).
"""

from __future__ import annotations

import copy
import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pscli.components.cache import Cache
from pscli.components.generator import Generator
from pscli.components.noise import seeded
from pscli.config import Config, changed, tiny
from pscli.datasets.base import load, named
from pscli.datasets.folder import read_split
from pscli.dialogue.batch import collate
from pscli.dialogue.reply import Caption, parse
from pscli.dialogue.schema import Dialogue, Response
from pscli.dialogue.sequence import Packed, Template
from pscli.files import write_json
from pscli.photoworld.metrics import Faithfulness
from pscli.photoworld.noise import colours, recoloured, with_photos
from pscli.photoworld.scene import COLOURS
from pscli.predictions.folder import read_predictions
from pscli.predictions.generate import Instance, instances, predict
from pscli.predictions.settings import Settings
from pscli.predictions.writer import writing
from pscli.runs import Run
from pscli.systems.agent import Agent, build
from pscli.systems.base import System
from pscli.training.loop import train

BATCH = 8  # dialogues a step
DRAWS = 4  # of the noise behind a photo's L^v
FROZEN = ("perceptron.vision.", "generator.")
RECAPTIONED, UNTRAINED = "recaptioned", "untrained"
FIGURES = ("true colour first", "caption faithfulness", "photo faithfulness")
Hits = dict[str, list[int]]  # id of a dialogue → how many were right, of how many


@dataclass(frozen=True)
class Cell:
    """What one training differs in.

    Args:
        noise: A name of the registry without "photoworld-", such as `next-colour-60`; "" for true
            captions, `recaptioned` for those of the bundled captioner.
        bridge: A name of the registry; `untrained` for the foundations as they are.
        trains: Whether the generator trains, too.
        control: Whether what is to be drawn is shuffled.
        reference: Whether captions are compared by the generator as it was before training.
    """

    noise: str
    bridge: str
    seed: int
    alpha: float = 30.0
    tau: float = 1.0
    trains: bool = False
    control: bool = False
    reference: bool = True

    @property
    def name(self) -> str:
        parts = [self.noise or "true", self.bridge.replace(":", "."), f"a{self.alpha:g}"]
        parts += [f"t{self.tau:g}", "trains" if self.trains else "frozen"]
        parts += ["control"] * self.control + ["self-judged"] * (not self.reference)
        return "_".join([*parts, f"s{self.seed}"])

    @property
    def dataset(self) -> str:
        noise = "" if self.noise == RECAPTIONED else self.noise
        return "-".join(filter(None, ["photoworld", noise, "shuffled-photos" * self.control]))


@dataclass(frozen=True)
class Scale:
    """How much of everything: training steps, and dialogues to measure with; 0 leaves a figure out.

    Args:
        dev: For the true colour, the talk and L^v.
        test: For captions and photos of the agent's own.
    """

    steps: int = 60
    dev: int = 40
    test: int = 40


def settings(cell: Cell, scale: Scale) -> Config:
    """`tiny`, with what the study fixes: rate 5e-4, a warm-up of 15 steps, then down to zero."""
    config = dataclasses.replace(tiny("e2e"), dataset=cell.dataset, seed=cell.seed)
    wanted: dict[str, Any] = {
        "model.bridge": "none" if cell.bridge == UNTRAINED else cell.bridge,
        "model.bridge_reference": cell.reference,
        "model.caption_source": "sampled", "model.snr_gamma": 5.0,
        "train.alpha": cell.alpha, "train.tau_start": cell.tau, "train.tau_end": cell.tau,
        "train.dialogues": BATCH * scale.steps, "train.batch": BATCH, "train.micro_batch": BATCH,
        "train.save_minutes": 60.0,
    }  # fmt: skip
    if not cell.trains:
        wanted["model.frozen"] = FROZEN
    for name, value in wanted.items():
        config = changed(config, name, value)
    return config


def run(
    cell: Cell, scale: Scale, captions: Path | None = None, cache: Cache | None = None
) -> dict[str, Any]:
    """Trains and measures a cell.

    Args:
        captions: Folder of photoworld with the captioner's captions, for `recaptioned`.
        cache: What frozen parts have made of photos.
    """
    config, began = settings(cell, scale), time.monotonic()
    system = build("e2e", config.model)
    system.cache = cache or Cache()
    judge = copy.deepcopy(system.generator).eval()  # as it was shipped
    dialogues = load(named(cell.dataset), "train", config.train.dialogues)
    if cell.noise == RECAPTIONED:
        assert captions is not None
        dialogues = read_split(captions, "train")[: len(dialogues)]
    found: dict[str, Any] = {}

    def evaluate(trained: System, step: int) -> Mapping[str, float]:
        trained.eval()
        found.update(steps=step, trained=time.monotonic() - began)
        found.update(measure(trained, config, scale, judge))
        return {}

    folder = Path(tempfile.mkdtemp(prefix="bridge-noise-"))
    try:
        if cell.bridge == UNTRAINED:
            evaluate(system, 0)
        else:
            train(system, dialogues, config, Run.start(folder / "run", config), evaluate)
    finally:
        shutil.rmtree(folder)
    about = {"cell": dataclasses.asdict(cell), "scale": dataclasses.asdict(scale)}
    return about | found | {"seconds": time.monotonic() - began}


# -- what is measured --------------------------------------------------------------------------


@torch.no_grad()
def measure(system: System, config: Config, scale: Scale, judge: Generator) -> dict[str, Any]:
    """Figures of a system, in hits by dialogue, and what a user could know without the truth.

    - true colour first (dev): teacher-forced up to each colour word of a true caption, whether its
      colour is the likeliest of the eight, with the article that it needs.
    - caption and photo faithfulness (test): `pscli score`'s, of the agent's own replies wherever a
      photo is due, after the dialogue's true history.
    - image loss (dev): L^v of the photos due, as the shipped generator reads the agent's own
      captions, the empty one where it sends no photo; under noise that all cells have in common.
    - talk (dev): mean -log P of a token of the talk, captions left out.
    """
    found: dict[str, Any] = {}
    if scale.dev:
        dev = load(named("photoworld"), "dev", scale.dev)
        template = system.template(config.sequence.max_length)
        found[FIGURES[0]] = {d.id: colour_hits(system, template, d) for d in dev}
        found["talk"] = talk(system, template, dev)
        found["image loss"] = image_losses(system, config, judge, due(dev))
    if scale.test:
        work = due(load(named("photoworld"), "test", scale.test))
        found |= dict(zip(FIGURES[1:], faithful(system, config, work), strict=True))
    return found


def due(dialogues: Sequence[Dialogue]) -> list[Instance]:
    """The instances in which a photo is due."""
    found = instances(dialogues)
    return [one for one in found if one.gold.truth is not None and one.gold.truth.share]


def faithful(system: System, config: Config, work: Sequence[Instance]) -> tuple[Hits, Hits]:
    """Hits of captions and of drawn photos."""
    metric, folder = Faithfulness(), Path(tempfile.mkdtemp(prefix="bridge-noise-"))
    try:
        how = Settings("study", "", "photoworld", "test", 0, 0.0)
        with writing(folder / "preds", how) as writer:
            predict(Agent(system, config), work, writer, lambda done: None)
        predictions = read_predictions(folder / "preds")
        values = metric.values(predictions)
    finally:
        shutil.rmtree(folder)
    hits: tuple[Hits, Hits] = {}, {}
    for prediction, value in zip(predictions, values, strict=True):
        assert value is not None
        for found, right in zip(hits, (value.caption, value.photo), strict=True):
            one = found.setdefault(prediction.id.rpartition("/")[0], [0, 0])
            one[0], one[1] = one[0] + right, one[1] + 1
    return hits


def image_losses(
    system: System, config: Config, judge: Generator, work: Sequence[Instance]
) -> list[float]:
    """L^v of each instance's photo, a mean over `DRAWS` draws of noise."""
    said = written(system, config, work)
    losses = []
    for instance, caption in zip(work, said, strict=True):
        photo = instance.gold.photos[0]
        latents = system.cache(judge.encoder, [photo], judge.latents).expand(DRAWS, -1, -1, -1)
        key = instance.question.key
        noise = judge.draw_noise([seeded("study", key, draw) for draw in range(DRAWS)])
        noise = dataclasses.replace(noise, dropped=torch.zeros_like(noise.dropped))
        ids, _ = judge.tokenize([caption] * DRAWS)
        losses.append(float(judge.losses(ids, latents, noise).mean()))
    return losses


def written(system: System, config: Config, work: Sequence[Instance]) -> list[str]:
    """The first caption of each reply; empty where it has none. Nothing is drawn."""
    questions, how = [instance.question for instance in work], config.sequence
    prompts = [p.embeddings for p in system.prompts(questions, how.max_length)]
    replies = system.llm.respond(prompts, max_new_tokens=how.max_new_tokens)
    parts = (parse(ids, system.llm.tokenizer)[0] for ids in replies)
    return [next((p.words for p in some if isinstance(p, Caption)), "") for some in parts]


def talk(system: System, template: Template, dialogues: Sequence[Dialogue]) -> float:
    """Mean -log P of the tokens of talk in all replies."""
    loss, count = 0.0, 0
    for dialogue in dialogues:
        for packed in template.pack(dialogue):
            marks = {k for span in packed.captions for k in range(span.start, span.end)}
            wanted = [k for k, label in enumerate(packed.labels) if label >= 0 and k not in marks]
            log_p = log_probabilities(system, packed, template.tokenizer.pad_token_id)
            loss, count = loss - float(log_p[wanted].sum()), count + len(wanted)
    return loss / count


def log_probabilities(system: System, packed: Packed, pad: int) -> Tensor:
    """[L] log P of each token of a sequence after those that it sees; of hidden targets' own after
    the context and their own part."""
    batch = system.prepare(collate([dataclasses.replace(packed, captions=[])], pad))
    hidden = system.llm.hidden(system.embed(batch.ids, batch.seen), batch.mask, batch.positions)
    log_p = system.llm.logits(hidden[0, :-1]).float().log_softmax(-1)
    found = log_p.gather(1, batch.ids[0, 1:, None])[:, 0]
    return torch.cat([found.new_zeros(1), found])


# -- the true colour ---------------------------------------------------------------------------


def colour_hits(system: System, template: Template, dialogue: Dialogue) -> list[int]:
    """How many colour words of its true captions come first, and how many there are."""
    packed, asked = with_every_colour(template, dialogue)
    log_p = log_probabilities(system, packed, template.tokenizer.pad_token_id)
    names, right = list(COLOURS), 0
    for true, spans in asked:
        sums = [float(log_p[start:end].sum()) for start, end in spans]
        right += sums.index(max(sums)) == names.index(true)
    return [right, len(asked)]


def with_every_colour(
    template: Template, dialogue: Dialogue
) -> tuple[Packed, list[tuple[str, list[tuple[int, int]]]]]:
    """A sequence that holds, for each colour word of a caption, eight hidden targets: the response
    up to that word, with each colour in its place.

    Returns:
        With each true colour, where the eight captions stand: start, and end after the colour.
    """
    packed, segments = template.begin(), 0
    asked: list[tuple[str, list[tuple[int, int]]]] = []
    names = template.names(response.speaker for response in dialogue.responses)
    for number, response in enumerate(dialogue.responses):
        name = names[response.speaker]
        true = colours(response.photos[0].caption or "") if response.photos and number else []
        for place, colour in enumerate(true):
            spans = []
            for other in COLOURS:
                ids, start = _up_to(template, response, name, true, place, other)
                segments += 1
                spans.append((len(packed) + start, len(packed) + len(ids)))
                packed.append(ids, [False] * len(ids), segments)
            asked.append((colour, spans))
        context, photos = template.context(response, name)
        packed.append(context, [False] * len(context), 0)
        packed.photos += photos
    return packed, asked


def _up_to(
    template: Template, response: Response, name: list[int], true: list[str], place: int, other: str
) -> tuple[list[int], int]:
    """The target up to colour word `place`, which is `other`, and where its caption starts."""
    words = [*true[:place], other, *true[place + 1 :]]
    caption = recoloured(response.photos[0].caption or "", words)
    ends = [m.end() for m in re.finditer(rf"\b({'|'.join(COLOURS)})\b", caption, re.IGNORECASE)]
    photo = dataclasses.replace(response.photos[0], caption=caption)
    changed = with_photos(Dialogue(response.turns), [photo, *response.photos[1:]]).responses[0]
    ids, spans = template.target(changed, name, "")
    until = spans[0].start + len(template.tokens(caption[: ends[place]]))
    assert ids[spans[0].start : until] == template.tokens(caption[: ends[place]])
    return ids[:until], spans[0].start


# -- many cells in one process -----------------------------------------------------------------

CACHE = Cache(limit=2e9)  # of frozen parts, which all cells have in common


def alone() -> None:
    """One thread, as other processes have theirs; it ends when the study ends, however that is."""
    torch.set_num_threads(1)
    study = multiprocessing.parent_process()
    if study:
        threading.Thread(target=_end_with, args=(study,), daemon=True).start()


def _end_with(process: Any) -> None:
    process.join()
    os._exit(1)  # at once: the cell is not written, and its temporary folder stays


def keep(cell: Cell, scale: Scale, out: Path, captions: Path | None = None) -> None:
    """Runs a cell and writes what was found."""
    write_json(out, run(cell, scale, captions, CACHE))


if __name__ == "__main__":
    alone()
    task = json.loads(sys.argv[1])
    keep(Cell(**task["cell"]), Scale(**task["scale"]), Path(sys.argv[2]))
