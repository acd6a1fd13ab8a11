"""How errors propagate: scores with gold captions, with predicted ones, after drawn photos, and in
rollouts.

    python benchmarks/ladder.py NAME=AGENT ... [--count 100] [--out runs/ladder]

Each agent (a folder, a run, or `bundled`) answers the same test dialogues four times: drawing the
gold captions; drawing its own; after contexts whose photos it has drawn; and in rollouts, where it
plays each speaker in turn and nothing that it said is corrected. Tables of scores by step, and of
rollouts by turn beside the same turns after the gold history, go to stdout as Markdown. When it was
interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from arguments import positive
from paper_table import carry_out

from pscli import console
from pscli.metrics.base import Scored
from pscli.metrics.score import metrics, score
from pscli.predictions.folder import Prediction, read_predictions

STEPS = {  # name → captions, history
    "gold captions": ("gold", "gold"),
    "predicted captions": ("predicted", "gold"),
    "drawn photos before": ("predicted", "drawn"),
    "rollout": ("predicted", "own"),
}
SHOWN = (
    "BLEU-1", "BLEU-2", "ROUGE-L", "IS-photoworld", "FID-photoworld", "sharing F1",
    "caption faithfulness", "photo faithfulness", "number faithfulness", "setting faithfulness",
    "answer accuracy",
)  # fmt: skip
TURNS = {"1–2": (1, 2), "3–4": (3, 4), "5–6": (5, 6), "7–10": (7, 10)}  # responses answered
BY_TURN = ("sharing F1", "photo faithfulness", "answer accuracy", "BLEU-2")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("agents", nargs="+", metavar="NAME=AGENT")
    parser.add_argument("--dataset", default="photoworld")
    parser.add_argument("--count", type=positive, default=100, help="test dialogues")
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"))
    options = parser.parse_args()
    agents = dict(text.partition("=")[::2] for text in options.agents)
    if len(agents) < len(options.agents) or not all(agents.values()):
        parser.error("write NAME=AGENT, each name once; the bundled agent is NAME=bundled.")
    for name, agent in agents.items():
        found = {}
        for step, (captions, history) in STEPS.items():
            folder = options.out / name / f"{captions}-{history}"
            command = ["generate", "--dataset", options.dataset, "--count", options.count]
            command += ["--captions", captions, "--history", history, "--out", folder]
            command += [] if agent == "bundled" else ["--agent", agent]
            carry_out([[str(word) for word in command]])
            found[step] = read_predictions(folder)
        print(f"\n### {name}: {len(next(iter(found.values()))):,} instances\n")
        print(table(SHOWN, {step: scored(some) for step, some in found.items()}))
        print(f"\n### {name}: by number of the response\n")
        gold, own = found["predicted captions"], found["rollout"]
        columns = {}
        parts = {what: by_turn(some) for what, some in (("gold history", gold), ("rollout", own))}
        for turn in TURNS:
            columns |= {f"{turn}, {what}": found[turn] for what, found in parts.items()}
        print(table(BY_TURN, columns))


def scored(predictions: Sequence[Prediction]) -> Scored:
    return score(predictions, metrics(), by_kind=False).overall


def by_turn(predictions: Sequence[Prediction]) -> dict[str, Scored]:
    """Scores of responses by their number in the dialogue, from 0; their values are those of the
    whole folder, as a value may depend on what was said before."""
    found = {turn: Scored() for turn in TURNS}
    numbers = [int(p.id.rpartition("/")[2]) for p in predictions]
    for metric in (m for name, m in metrics().items() if name != "images"):
        values = metric.values(predictions)
        for turn, (first, last) in TURNS.items():
            rows = (v for v, k in zip(values, numbers, strict=True) if first <= k <= last)
            found[turn] += metric.scores([value for value in rows if value is not None])
    return found


def table(names: Sequence[str], columns: dict[str, Scored]) -> str:
    """Markdown: a row a score, a column a step; intervals where there are any."""
    rows = ["| | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
    for name in names:
        cells = [cell(found, name) for found in columns.values()]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def cell(found: Scored, name: str) -> str:
    if name not in found:
        return "–"
    one = found[name]
    spread = f" [{one.interval[0]:.0f}, {one.interval[1]:.0f}]" if one.interval else ""
    return f"{one.value:.1f}{spread} (n={one.count})"


if __name__ == "__main__":
    console.script(main)
