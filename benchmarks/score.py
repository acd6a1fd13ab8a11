"""Cost of `pscli score` beside sacreBLEU, rouge-score and torch-fidelity called by hand.

    python benchmarks/score.py [--dialogues 1000] [--extractor efficientnet-lite0] [--draws 1000]

All three score the same predictions, which it makes: of each response of photoworld's test split
the one that another dialogue has there, with its photos blurred. By hand: BLEU-1 and BLEU-2, both
cumulative and individual, ROUGE-L; IS, FID, KID, precision and recall in one call, from the same
pixels, with as many subsets. Ours says all that it says by default, with intervals; first with
nothing kept of the photos, then again. Each is a process of its own, which counts from when its
imports are done. Seconds are of the processor, its children's included, and of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from arguments import positive
from PIL import ImageFilter

from pscli import console
from pscli.files import append_line
from pscli.photoworld.dataset import Photoworld

START = """if True:
    import json, resource, sys, time
    from pathlib import Path

    def spent():
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in both)

    def done(found):
        seconds = {"processor": spent() - before, "clock": time.perf_counter() - clock}
        print(json.dumps(seconds | {"found": found}))

    folder, name, draws = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
"""
HAND = (
    START
    + """
    import sacrebleu, torch, torch_fidelity
    from PIL import Image
    from rouge_score.rouge_scorer import RougeScorer
    from torch.utils.data import Dataset
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from pscli.metrics.distances import subsets
    from pscli.metrics.extractor import load, seen_by
    before, clock = spent(), time.perf_counter()
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").open()]
    pairs = [(x["prediction"]["text"], x["reference"]["text"]) for x in lines]
    pairs = [pair for pair in pairs if pair[1].strip()]
    said, right = ([pair[k] for pair in pairs] for k in (0, 1))
    bleu = []
    for tokens, smooth in (("13a", "exp"), ("none", "none")):
        for order in (1, 2):
            metric = sacrebleu.BLEU(tokenize=tokens, smooth_method=smooth, max_ngram_order=order)
            bleu.append(metric.corpus_score(said, [right]).score)
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    rouge = sum(scorer.score(b, a)["rougeL"].fmeasure for a, b in pairs) / len(pairs)
    network = load(name, torch.device("cpu"))

    class Files(Dataset):
        def __init__(self, side):
            self.paths = [folder / path for x in lines for path in x[side]["photos"]]
        def __len__(self):
            return len(self.paths)
        def __getitem__(self, n):
            return seen_by(network, self.paths[n], "")

    class Theirs(FeatureExtractorBase):
        @staticmethod
        def get_provided_features_list():
            return ("features", "logits")
        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "features"
        @staticmethod
        def can_be_compiled():
            return False
        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)
        def forward(self, images):
            features = network.features(images)
            known = {"features": features, "logits": network.logits(features)}
            return tuple(known[name] for name in self.features_list)

    torch_fidelity.register_feature_extractor("theirs", Theirs)
    drawn, gold = Files("prediction"), Files("reference")
    times, size = subsets(len(drawn), len(gold))
    with torch.no_grad():
        found = torch_fidelity.calculate_metrics(
            input1=drawn, input2=gold, isc=True, fid=True, kid=True, prc=True, cuda=False,
            cache=False, verbose=False, feature_extractor="theirs", kid_subsets=times,
            kid_subset_size=size)
    done({"BLEU-1": bleu[0], "BLEU-2": bleu[1], "ROUGE-L": 100 * rouge, "photos": len(drawn),
          "FID": found["frechet_inception_distance"], "IS": found["inception_score_mean"],
          "KID": 1000 * found["kernel_inception_distance_mean"]})
"""
)
OURS = (
    START
    + """
    import numpy, sacrebleu, torch, torch_fidelity
    from rouge_score.rouge_scorer import RougeScorer
    from pscli.metrics.score import metrics, score
    from pscli.predictions.folder import read_predictions
    import pscli.metrics.image, pscli.metrics.text, pscli.photoworld.metrics
    before, clock = spent(), time.perf_counter()
    scores = score(read_predictions(folder), metrics(name), draws=draws)
    values = {s.name.split("-" + name)[0]: s.value for s in scores.overall.scores}
    done({key: values[other] for key, other in {
        "BLEU-1": "BLEU-1", "BLEU-2": "BLEU-2", "ROUGE-L": "ROUGE-L", "FID": "FID", "IS": "IS",
        "KID": "KID×1000"}.items()})
"""
)


def make(folder: Path, count: int) -> Path:
    """Predictions of that many dialogues."""
    dialogues = Photoworld().load("test", count)
    for dialogue, other in zip(dialogues, [*dialogues[1:], dialogues[0]], strict=True):
        pairs = zip(dialogue.responses, other.responses, strict=False)
        for n, (gold, said) in list(enumerate(pairs))[1:]:
            sides = {}
            for name, response in (("reference", gold), ("prediction", said)):
                paths = [f"{name}/{dialogue.id}-{n}-{k}.png" for k in range(len(response.photos))]
                for path, photo in zip(paths, response.photos, strict=True):
                    (folder / name).mkdir(parents=True, exist_ok=True)
                    blur = ImageFilter.GaussianBlur(0.0 if name == "reference" else 0.6)
                    photo.open().filter(blur).save(folder / path)
                sides[name] = {"text": response.text, "photos": paths}
            append_line(folder / "predictions.jsonl", {"id": f"{dialogue.id}/{n}", **sides})
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dialogues", type=positive, default=1000)
    parser.add_argument("--extractor", default="efficientnet-lite0")
    parser.add_argument("--draws", type=positive, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = make(Path(temporary) / "preds", args.dialogues)
        environment = os.environ | {"XDG_CACHE_HOME": str(Path(temporary) / "cache")}
        figures = {}
        for name, code in (("by hand", HAND), ("first", OURS), ("again", OURS)):
            line = [sys.executable, "-c", code, folder, args.extractor, str(args.draws)]
            shown = subprocess.run(line, env=environment, capture_output=True, text=True)
            if shown.returncode:
                raise SystemExit(shown.stderr)
            figures[name] = json.loads(shown.stdout.splitlines()[-1])
            print(f"{name:8} {json.dumps(figures[name])}", flush=True)
    for name in ("first", "again"):
        ratios = {k: figures[name][k] / figures["by hand"][k] for k in ("processor", "clock")}
        print(f"{name}: {ratios['processor']:.2f} × by hand ({ratios['clock']:.2f} by the clock)")


if __name__ == "__main__":
    console.script(main)
