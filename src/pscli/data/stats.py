"""Figures of a dataset: Table 1 of Guo et al. (2024), and what photoworld knows besides."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pscli.data.schema import Dialogue
from pscli.data.store import identity

if TYPE_CHECKING:
    from rich.table import Table

_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Stats:
    """Figures of some dialogues.

    Args:
        dialogues: How many there are (#Dial).
        utterances: Messages with words; photos do not count (#Utter).
        merged: Utterances after those of one speaker in a row are joined, within each dialogue
            (#CUtter).
        responses: Likewise with the photos: a photo alone is a response, and stands between two
            speakers' utterances.
        instances: Responses after the first of each dialogue: what is predicted.
        photos: Photos sent (#Img).
        distinct_photos: Different ones among them (#DImg).
        word_types: Different words, in lower case.
        kinds: Instances of each type, where the dataset knows it.
    """

    dialogues: int = 0
    utterances: int = 0
    merged: int = 0
    responses: int = 0
    instances: int = 0
    photos: int = 0
    distinct_photos: int = 0
    word_types: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    @property
    def merged_per_dialogue(self) -> float:
        """U/D of Table 1; 0 without dialogues."""
        return self.merged / self.dialogues if self.dialogues else 0.0

    @property
    def photos_per_dialogue(self) -> float:
        return self.photos / self.dialogues if self.dialogues else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "dialogues": self.dialogues,
            "utterances": self.utterances,
            "merged_utterances": self.merged,
            "utterances_per_dialogue": self.merged_per_dialogue,
            "responses": self.responses,
            "instances": self.instances,
            "instance_types": self.kinds,
            "photos": self.photos,
            "distinct_photos": self.distinct_photos,
            "photos_per_dialogue": self.photos_per_dialogue,
            "word_types": self.word_types,
        }


def count(dialogues: Iterable[Dialogue]) -> Stats:
    """Figures of some dialogues. No photo is opened.

    Deviation from Table 1: there, the speaker before the first utterance of a dialogue is the last
    one of the dialogue before, so that some utterances are merged across dialogues; here never.
    """
    totals: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    distinct: set[Hashable] = set()
    words: set[str] = set()
    for dialogue in dialogues:
        spoken = [turn for turn in dialogue.turns if turn.text.strip()]
        speakers = [turn.speaker for turn in spoken]
        changes = sum(a != b for a, b in itertools.pairwise(speakers))
        responses = dialogue.responses
        totals.update(
            dialogues=1,
            utterances=len(spoken),
            merged=changes + bool(spoken),
            responses=len(responses),
            instances=max(0, len(responses) - 1),
            photos=len(dialogue.photos),
        )
        kinds.update(r.truth.kind for r in responses[1:] if r.truth)
        distinct.update(identity(photo) for photo in dialogue.photos)
        for turn in spoken:
            words.update(_WORD.findall(turn.text.lower()))
    return Stats(
        **totals,
        distinct_photos=len(distinct),
        word_types=len(words),
        kinds=dict(sorted(kinds.items())),
    )


def table(name: str, columns: dict[str, Stats]) -> Table:
    """Figures side by side: a row per figure, a column per split."""
    from rich import box
    from rich.table import Table

    result = Table(box=box.SIMPLE_HEAD, title=name, title_style="bold", title_justify="left")
    result.add_column("")
    for split in columns:
        result.add_column(split, justify="right")
    stats = list(columns.values())
    rows = {
        "dialogues": [f"{s.dialogues:,}" for s in stats],
        "utterances": [f"{s.utterances:,}" for s in stats],
        "utterances, merged": [f"{s.merged:,}" for s in stats],
        "  per dialogue (U/D)": [f"{s.merged_per_dialogue:.2f}" for s in stats],
        "responses": [f"{s.responses:,}" for s in stats],
        "instances": [f"{s.instances:,}" for s in stats],
        **{
            f"  {kind}": [f"{s.kinds.get(kind, 0):,}" for s in stats]
            for kind in dict.fromkeys(kind for s in stats for kind in s.kinds)
        },
        "photos": [f"{s.photos:,}" for s in stats],
        "  distinct": [f"{s.distinct_photos:,}" for s in stats],
        "  per dialogue": [f"{s.photos_per_dialogue:.2f}" for s in stats],
        "word types": [f"{s.word_types:,}" for s in stats],
    }
    for label, cells in rows.items():
        result.add_row(label, *cells)
    return result
