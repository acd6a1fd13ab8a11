"""Contexts that an agent has a share in: drawn photos, or all of its own words and photos.

Guo et al. (2024), §1, hold against pipelines that errors propagate. Here the context of an instance
is changed step by step, so that scores tell by how much.

`drawn`: gold words; each photo is drawn by the agent from its gold caption.

`own`: a rollout. The agent plays one of the two speakers for a whole dialogue, and then the other
one, so that each instance is answered once; what it has said and drawn before takes the place of
what that speaker really did. The partner follows the script: it says what it really said, and
sends what it really sent, whatever the agent does. So it cannot miss a photo that did not come,
nor answer a question that the agent made up. The first response of a dialogue is nobody's
prediction, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from pscli.dialogue.schema import Dialogue, Photo, Response, Turn
from pscli.predictions.folder import Prediction, Side, marked, read_predictions
from pscli.predictions.generate import Answerer, Instance, described, drawing
from pscli.predictions.names import CONTEXT, file_stem
from pscli.predictions.together import predict_together
from pscli.predictions.writer import Writer
from pscli.processes import first, here, number


def predict_after(
    agent: Answerer,
    work: Sequence[Instance],
    writer: Writer,
    progress: Callable[[int], None],
    size: int = 64,
) -> None:
    """`predict_together`, with the history that the folder's settings ask for.

    Raises:
        DataError: if a photo is to be drawn and has no caption.
    """
    history = writer.settings.history
    predict = partial(predict_together, agent, writer=writer, progress=progress, size=size)
    if history == "own":
        roll(predict, work, writer.folder)
    else:
        predict(redrawn(agent, work, writer, size) if history == "drawn" else work)


# -- drawn photos ----------------------------------------------------------------------------


def redrawn(
    agent: Answerer, work: Sequence[Instance], writer: Writer, size: int = 64
) -> list[Instance]:
    """The work, with the photos of its contexts drawn from their captions.

    They are drawn as replies to the same instances would be. Those that the folder has are kept;
    a batch is drawn whole, as its size decides about their last bits.
    """
    changed: list[Instance] = []
    wanted: dict[str, tuple[Photo, tuple[str, int]]] = {}
    for instance in work:
        dialogue = instance.dialogue
        responses, history = [], {}
        for k, response in enumerate(instance.question.responses):
            found = _drawings(response, f"{dialogue}/{k}")
            photos = {
                part: replace(photo, source=writer.folder / name)
                for part, (name, photo) in found.items()
            }
            responses.append(_with(response, photos))
            wanted |= {name: (p, (f"{dialogue}/{k}", at)) for at, (name, p) in found.items()}
            if found:
                history[k] = [name for name, _ in found.values()]
        question = replace(instance.question, responses=responses)
        changed.append(replace(instance, question=question, history=history))
    if first():
        every = [*wanted]
        for start in range(0, len(every), size):
            names = every[start : start + size]
            left = {name for name in names if not writer.has(name)}
            if not left:
                continue
            captions = [described(wanted[name][0], wanted[name][1][0]) for name in names]
            keys = [wanted[name][1] for name in names]
            drawn = agent.draw(captions, keys, **drawing(writer.settings))
            writer.begin()
            for name, photo in zip(names, drawn, strict=True):
                if name in left:
                    writer.save(name, photo.open())
    _wait()
    return changed


def _drawings(response: Response, id: str) -> dict[int, tuple[str, Photo]]:
    """File and photo of each part of a response that is to be drawn; not of those that nobody has
    ever seen, which are told by their captions."""
    photos = ((at, p) for at, p in enumerate(response.parts) if isinstance(p, Photo))
    return {
        at: (f"{CONTEXT}/{file_stem(id)}-{number}.png", photo)
        for number, (at, photo) in enumerate(photos)
        if not photo.missing
    }


def _with(response: Response, photos: Mapping[int, Photo]) -> Response:
    parts = [photos.get(at, part) for at, part in enumerate(response.parts)]
    return Response.of(response.speaker, parts)


# -- rollouts --------------------------------------------------------------------------------


def roll(
    predict: Callable[[Sequence[Instance]], None], work: Sequence[Instance], folder: Path
) -> None:
    """Whole dialogues with a partner that follows the script: all their first replies together,
    then all second ones, and so on.

    The folder is the memory, so that an interrupted rollout goes on as if it had not been.

    Args:
        predict: Answers instances, and adds them to the folder.
    """
    said: dict[str, Prediction] = {}
    for _, turn in groupby(sorted(work, key=_number), key=_number):
        now = [in_own_words(instance, said) for instance in turn]
        predict(now)
        _wait()
        said = {prediction.id: prediction for prediction in read_predictions(folder)}


def in_own_words(instance: Instance, said: Mapping[str, Prediction]) -> Instance:
    """An instance after what its speaker has predicted so far, in place of what it really said.

    Args:
        said: By id; what is not there, as it was no instance, stays.
    """
    question = instance.question
    turns: list[Turn] = []
    history: dict[int, list[str]] = {}
    for k, response in enumerate(question.responses):
        found = said.get(f"{instance.dialogue}/{k}")
        if not found or response.speaker != question.speaker:
            turns += response.turns
            continue
        own = found.prediction
        turns += Response.of(question.speaker, parts(own)).turns
        history[k] = [f"{path.parent.name}/{path.name}" for path in own.photos]
    responses = Dialogue(tuple(turns)).responses  # a reply without anything is none
    return replace(instance, question=replace(question, responses=responses), history=history)


def parts(side: Side) -> list[str | Photo]:
    """Texts and photos of a prediction, in order."""
    found: list[str | Photo] = []
    rest = side.line
    for caption, path in zip(side.captions, side.photos, strict=False):
        before, _, rest = rest.partition(marked(caption))
        found += [before.strip(), Photo(path, caption)]
    return [part for part in [*found, rest.strip()] if part]


def _number(instance: Instance) -> int:
    return int(re.sub(r".*/", "", instance.question.key))


def _wait() -> None:
    """Until every process is here, and so has written."""
    if number() > 1:
        here().wait_for_everyone()
