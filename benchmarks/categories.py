"""Figure 5 of Sun et al. (2023): `make categories PREDS=preds/e2e`.

    python benchmarks/categories.py preds/e2e --extractor inception

FID and IS of drawn photos by what the real photo shows: 50 each of people, food and animals, told
by the words of its caption. A photo that shows two of them counts for the first.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

from arguments import positive

from pscli import console
from pscli.metrics.base import made
from pscli.metrics.score import METHODS
from pscli.predictions.folder import Prediction, read_predictions

# Words of PhotoChat's descriptions, whose labels are Open Images', and of photoworld's captions.
CATEGORIES = {
    "people": "person people man men woman women boy boys girl girls child children face head",
    "food": "food cake pastry dessert snack salad pizza sandwich fruit vegetable drink wine beer "
    "coffee bread cheese meat goods apple apples cakes mushroom mushrooms",
    "animals": "animal dog dogs cat cats bird birds fish horse horses cattle elephant rabbit duck "
    "ducks rabbits snail snails turtle turtles butterfly butterflies owl squirrel monkey bear",
}


def category(prediction: Prediction) -> str | None:
    """What the first photo of the reference shows; None if it is none of them."""
    words = set(re.findall("[a-z]+", " ".join(prediction.reference.captions).lower()))
    return next((name for name, known in CATEGORIES.items() if words & set(known.split())), None)


def chosen(predictions: list[Prediction], count: int, seed: int) -> dict[str, list[Prediction]]:
    """At most `count` predictions of each category, all with a photo on both sides."""
    rng = random.Random(seed)
    found: dict[str, list[Prediction]] = {name: [] for name in CATEGORIES}
    for prediction in predictions:
        both = prediction.prediction.photos and prediction.reference.photos
        if both and (name := category(prediction)):
            found[name].append(prediction)
    return {name: rng.sample(some, min(count, len(some))) for name, some in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=positive, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--extractor", default="inception")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    metric = made("metric", "images", METHODS, [args.extractor], args.device)
    print("| category | photos | IS | FID |\n|---|---|---|---|")
    for name, some in chosen(read_predictions(args.folder), args.count, args.seed).items():
        values = [value for value in metric.values(some) if value is not None]
        scores = {s.name.partition("-")[0]: s.value for s in metric.scores(values).scores}
        cells = [f"{scores[kind]:.2f}" if kind in scores else "–" for kind in ("IS", "FID")]
        print(f"| {name} | {len(some)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    console.script(main)
