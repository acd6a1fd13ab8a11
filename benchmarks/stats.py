"""Speed and memory of `pscli stats` on a file of DialogCC's size, beside a bare script.

    python benchmarks/stats.py [--dialogues 83370] [--times 1]

Each measurement is a process of its own. The bare script loads the whole file with `json` and
counts entries and images; ours does everything that `pscli stats dialogcc` does. Peak memory is
counted above what the process takes once its imports are done.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from arguments import positive

ENTRIES = (7, 8, 8, 8, 9)  # utterances of a dialogue: 8.125 on average, as DialogCC has
WORDS = [f"word{number}" for number in range(20_000)]

HIGH = """
def high():
    from pathlib import Path
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""

BARE = """if True:
    import json, sys, time
    base = high()
    start = time.perf_counter()
    utterances = images = dialogues = 0
    with open(sys.argv[1] + "/train.json") as file:
        for dialogue in json.load(file):
            dialogues += 1
            for entry in dialogue["dialogue"]:
                utterances += bool(entry["utterance"])
                images += bool(entry["shared_image"])
    seconds = time.perf_counter() - start
    peak = high() - base
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024,
                      "counts": [dialogues, utterances, images]}))
"""

OURS = """if True:
    import json, sys, time
    from pathlib import Path
    import numpy
    from pscli.datasets.dialogcc import dialogcc
    from pscli.datasets.records import Dropped
    from pscli.datasets.stats import survey
    base = high()
    start = time.perf_counter()
    dropped = Dropped()
    total = survey("dialogcc", {"train": dialogcc().read("train", Path(sys.argv[1]), dropped)},
                   dropped).total
    seconds = time.perf_counter() - start
    peak = high() - base
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024,
                      "counts": [total.dialogues, total.utterances, total.photos]}))
"""


def write(path: Path, dialogues: int, utterances: int) -> None:
    """A file in DialogCC's format, with invented words."""
    rng = random.Random(0)
    left = utterances
    with path.open("w") as file:
        file.write("[")
        for number in range(dialogues):
            size = left // (dialogues - number)
            size = min(left, size + (rng.random() < (left / (dialogues - number)) % 1))
            left -= size
            entries = [_entry(rng, i, []) for i in range(size)]
            for _ in range(rng.choice((1, 1, 2))):
                url = f"https://images.example/{rng.randrange(51_435)}.jpg"
                image = [{"image_url": url, "caption": " ".join(rng.choices(WORDS, k=9))}]
                entries.insert(rng.randrange(size + 1), _entry(rng, 0, image))
            pairs = {"dialogue_id": f"bst:{number}", "split": "train", "dialogue": entries}
            file.write(("," if number else "") + "\n" + json.dumps(pairs))
        file.write("]")


def _entry(rng: random.Random, number: int, images: list[dict[str, str]]) -> dict[str, object]:
    return {
        "utterance_idx": number,
        "utterance": "" if images else " ".join(rng.choices(WORDS, k=12)),
        "speaker": "Ann" if number % 2 else "Ben",
        "rationale": "" if not images else " ".join(rng.choices(WORDS, k=15)),
        "description": "",
        "shared_image": images,
    }


def measure(code: str, folder: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", HIGH + code, str(folder)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dialogues", type=positive, default=83_370)
    parser.add_argument("--times", type=positive, default=1, help="a file that many times as large")
    arguments = parser.parse_args()
    dialogues = arguments.dialogues * arguments.times
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "train.json", dialogues, round(dialogues * 677_390 / 83_370))
        size = (folder / "train.json").stat().st_size / 1e6
        bare = {} if arguments.times > 1 else measure(BARE, folder)
        ours = measure(OURS, folder)
        print(json.dumps({"dialogues": dialogues, "file_mb": size, "bare": bare, "ours": ours}))


if __name__ == "__main__":
    main()
