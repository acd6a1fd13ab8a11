"""The gallery of the report's page: instances of all systems side by side, and which are chosen."""

from __future__ import annotations

import base64
import io
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pscli.dialogue.schema import Dialogue, Photo, Truth
from pscli.metrics.base import Metric
from pscli.metrics.score import Valued
from pscli.predictions.folder import Prediction
from pscli.report.page_worst import picked, sunk
from pscli.report.sheet import context_of, parts_of, sharing, stood

PICKS = {
    "random": "drawn at random",
    "best": "best",
    "median": "median",
    "worst": "worst",
    "apart": "systems furthest apart",
}
SIDE = 320  # longest side of an embedded photo, in pixels
EXACT = 96  # photos up to this side are embedded as they are
QUALITY = 82  # of JPEG
OF = "of-"  # and the number of a system: of its worst dialogues
RULE = (
    "A reply’s figure is the mean of its text’s chrF and of the share of its marks that are right; "
    "an instance’s is the mean over the systems. Of each type at most {each} were taken {picks} "
    "(seed {seed}): {shown} of {total} responses. {lowest} of each system’s worst dialogues are "
    "among them."
)

Marks = list[tuple[str, bool]]


@dataclass(frozen=True)
class Choice:
    """Instances of the gallery.

    Args:
        picks: Id of each, in the order of the file, and why it was chosen.
        each: How many of each type and reason, at most.
        worst: How many of each system's worst dialogues, at least.
        total: Instances that all systems share.
    """

    picks: dict[str, list[str]]
    each: int
    worst: int
    total: int


@dataclass
class Album:
    """Photos as data URIs, each once."""

    uris: list[str] = field(default_factory=list)
    _where: dict[str, int] = field(default_factory=dict)

    def add(self, photo: Photo) -> int:
        """The number of a photo, which is made smaller. Raises DataError if it cannot be opened."""
        uri = thumbnail(photo)
        if uri not in self._where:
            self._where[uri] = len(self.uris)
            self.uris.append(uri)
        return self._where[uri]


def thumbnail(photo: Photo) -> str:
    """A photo as a data URI, at most `SIDE` pixels long: written anew, whatever its file holds."""
    image = photo.open()
    file = io.BytesIO()
    if max(image.size) <= EXACT:
        image.save(file, "PNG", optimize=True)
        kind = "png"
    else:
        image.thumbnail((SIDE, SIDE))
        image.save(file, "JPEG", quality=QUALITY)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def marks(values: Valued, metrics: Mapping[str, Metric]) -> dict[str, Marks]:
    """What is right and wrong of each instance: whether a photo was sent as one was due, and what
    a metric's `marks` name.

    Args:
        metrics: Of those with a `marks` {field: label}, the fields of an instance's value that
            are true or false are shown under the label.
    """
    found: dict[str, Marks] = {p.id: list(sharing(p).items()) for p in values.predictions}
    for name, metric in metrics.items():
        labels: Mapping[str, str] = getattr(metric, "marks", {})
        for p, value in zip(values.predictions, values.columns[name], strict=True):
            told = [(label, getattr(value, field, None)) for field, label in labels.items()]
            found[p.id] += [(label, right) for label, right in told if isinstance(right, bool)]
    return found


def figures(predictions: Sequence[Prediction], found: Mapping[str, Marks]) -> dict[str, float]:
    """How good each reply is, 0 to 1: see `RULE`; one of which nothing can be said has 0.5."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()

    def figure(p: Prediction) -> float:
        parts = [float(right) for _, right in found[p.id]]
        parts = [statistics.mean(parts)] if parts else []
        if p.reference.text.strip():
            parts.append(chrf.sentence_score(p.prediction.text, [p.reference.text]).score / 100)
        return statistics.mean(parts) if parts else 0.5

    return {p.id: figure(p) for p in predictions}


def choose(
    shared: Sequence[Prediction], worth: Sequence[Mapping[str, float]], count: int, seed: int
) -> Choice:
    """Instances of every type: best, median, worst, furthest apart and drawn at random; and of
    each system those of its worst dialogues.

    Args:
        shared: Instances that all systems have, in order.
        worth: Of each system, the figure of each instance.
        count: How many at most.
        seed: Of what is drawn, and of the order of equals.
    """
    kinds = dict.fromkeys(p.kind for p in shared)
    reasons = [name for name in PICKS if name != "apart" or len(worth) > 1]
    each = max(1, count // max(1, len(kinds) * (len(reasons) + len(worth))))
    orders: dict[str | None, dict[str, list[str]]] = {}
    for kind in kinds:
        ids = [p.id for p in shared if p.kind == kind]
        random.Random(f"{seed}/{kind}").shuffle(ids)
        mean = {id: statistics.mean(w[id] for w in worth) for id in ids}
        spread = {id: max(w[id] for w in worth) - min(w[id] for w in worth) for id in ids}
        middle = statistics.median(mean.values())
        orders[kind] = {
            "random": ids,
            "best": sorted(ids, key=lambda id: -mean[id]),
            "median": sorted(ids, key=lambda id: abs(mean[id] - middle)),
            "worst": sorted(ids, key=lambda id: mean[id]),
            "apart": [id for id in sorted(ids, key=lambda id: -spread[id]) if spread[id]],
        }
    # Types in turn, as there may be no room for all.
    asked = [(r, id) for r in reasons for kind in kinds for id in orders[kind][r][:each]]
    for number, dialogues in enumerate(sunk(shared, worth)):
        asked += [(f"{OF}{number}", id) for id in picked(dialogues, each * len(kinds))]
    picks: dict[str, list[str]] = {}
    for reason, id in asked:
        if id in picks or len(picks) < count:
            picks.setdefault(id, []).append(reason)
    told = [reason for some in picks.values() for reason in some]
    lowest = min(told.count(f"{OF}{number}") for number in range(len(worth)))
    place = {p.id: number for number, p in enumerate(shared)}
    kept = sorted(picks, key=place.__getitem__) if count < len(shared) else list(place)
    return Choice({id: picks.get(id, []) for id in kept}, each, lowest, len(shared))


def payload(
    systems: Sequence[str],
    predictions: Sequence[Mapping[str, Prediction]],
    found: Sequence[Mapping[str, Marks]],
    choice: Choice,
    dialogues: Mapping[str, Dialogue],
) -> dict[str, Any]:
    """What page.js shows: instances, the dialogues behind them, and photos, each once.

    Args:
        predictions, found: Of each system: predictions and marks by id.
        dialogues: By id; an instance of none of them has no context.
    """
    album = Album()
    first = predictions[0]
    rows: list[dict[str, Any]] = []
    talks: dict[str, list[Any]] = {}
    for id, picks in choice.picks.items():
        p = first[id]
        before, speaker = context_of(dialogues, id)
        before = stood(before, p, first)
        name = id if p.history else id.rpartition("/")[0]  # a rollout has a context of its own
        if before:
            talk = talks.setdefault(name, [])
            talk += [
                {"speaker": response.speaker, "parts": _parts(response.parts, album)}
                for response in before[len(talk) :]
            ]
        rows.append(
            {
                "id": id,
                "kind": p.kind,
                "picks": picks,
                "dialogue": name,
                "before": len(before),
                "speaker": speaker,
                "truth": "" if any(s[id].history for s in predictions) else _told(p.truth),
                "gold": _parts(parts_of(p.reference, id), album),
                "replies": [
                    {
                        "parts": _parts(parts_of(system[id].prediction, id), album),
                        "marks": marks_of[id],
                        "notes": list(system[id].prediction.notes),
                    }
                    for system, marks_of in zip(predictions, found, strict=True)
                ],
            }
        )
    return {
        "systems": list(systems),
        "kinds": [kind for kind in dict.fromkeys(first[id].kind for id in choice.picks) if kind],
        "picks": [
            [name, text]
            for name, text in (PICKS | _of(systems)).items()
            if any(name in row["picks"] for row in rows)
        ],
        "total": choice.total,
        "instances": rows,
        "dialogues": talks,
        "photos": album.uris,
    }


def _of(systems: Sequence[str]) -> dict[str, str]:
    """Reasons for what is of a system's worst dialogues."""
    return {f"{OF}{number}": f"worst dialogues of {name}" for number, name in enumerate(systems)}


def _parts(parts: Sequence[str | Photo], album: Album) -> list[Any]:
    return [
        part
        if isinstance(part, str)
        else {"caption": part.caption or ""} | ({} if part.missing else {"photo": album.add(part)})
        for part in parts
    ]


def _told(truth: Truth | None) -> str:
    """What is right, in words."""
    if truth is None:
        return ""
    told = [" and ".join(" ".join(thing) for thing in truth.things)] if truth.things else []
    told += [truth.setting] if truth.setting else []
    if truth.about and truth.answer:
        told.append(f"{truth.about}: {truth.answer}")
    return f"right is {', '.join(told)}" if told else ""


def rule(choice: Choice, seed: int) -> str:
    """How the gallery was chosen, in words."""
    reasons = {name for some in choice.picks.values() for name in some}
    told = [text for name, text in PICKS.items() if name in reasons]
    return RULE.format(
        each=choice.each, lowest=choice.worst, picks=", ".join(told), seed=seed,
        shown=f"{len(choice.picks):,}", total=f"{choice.total:,}",
    )  # fmt: skip
