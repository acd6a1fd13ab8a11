"""Golden figures of both systems: 20 training steps, 20 test dialogues, photos and all scores.

    python tests/golden/remake.py            # what this code computes, beside what is kept
    python tests/golden/remake.py --write    # keeps it

A move of code must not change a bit of them on one machine; other machines and library versions
may round otherwise (see `test_golden.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("golden.json")
SYSTEMS = ("e2e", "pipeline")
LIBRARIES = (
    "accelerate",
    "diffusers",
    "pillow",
    "sacrebleu",
    "torch",
    "torch-fidelity",
    "transformers",
)
TRAIN = ("dialogues=160", "batch=8", "micro_batch=4", "epochs=1", "eval_dialogues=4")  # 20 steps
DIALOGUES = "20"


def compute(work: Path) -> dict[str, Any]:
    """Curves, predictions and scores by system, and where they were computed.

    Args:
        work: Empty folder for runs and predictions.
    """
    return {"where": where(), "systems": {name: one(name, work / name) for name in SYSTEMS}}


def where() -> dict[str, str]:
    """What the last bits depend on."""
    kernels = os.environ.get("OPENBLAS_CORETYPE", "")  # of NumPy, by which FID and KID are summed
    here = {"machine": processor(), "kernels": kernels}
    return here | {name: version(name) for name in LIBRARIES}


def processor() -> str:
    """Its name and what it can do: virtual machines give several kinds the same name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    told = dict(line.split(":", 1) for line in lines if line.startswith(("model name", "flags")))
    words = {key.strip(): " ".join(sorted(value.split())) for key, value in told.items()}
    flags = hashlib.sha256(words.get("flags", "").encode()).hexdigest()[:8]
    return f"{words['model name']} {flags}" if "model name" in words else platform.machine()


def one(system: str, work: Path) -> dict[str, Any]:
    run, preds = work / "run", work / "preds"
    settings = [word for pair in TRAIN for word in ("--set", f"train.{pair}")]
    pscli(f"train-{system}", "--preset", "demo", "--run", run, *settings)
    pscli(
        "generate", "--dataset", "photoworld", "--count", DIALOGUES, "--agent", run, "--out", preds
    )
    pscli("score", preds, "--draws", "0")
    return {
        "curve": curve(run),
        "weights": digest((run / "agent").rglob("*.safetensors")),
        "predictions": predictions(preds),
        "photos": digest((preds / "images").iterdir()),
        "scores": json.loads((preds / "scores.json").read_text(encoding="utf-8")),
    }


def pscli(*words: object) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums in one order
    command = [sys.executable, "-m", "pscli", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, env=environment)


def curve(run: Path) -> list[dict[str, float]]:
    """Lines of metrics.jsonl, without what depends on the clock."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in pairs]


def predictions(preds: Path) -> dict[str, str]:
    """What was generated for each instance, marks included."""
    lines = (preds / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        p["id"]: p["prediction"]["raw"]
        for p in sorted(map(json.loads, lines), key=lambda p: p["id"])
    }


def digest(files: Any) -> str:
    """One checksum of files and their names."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        now = compute(Path(folder))
    if "--write" in sys.argv:
        GOLDEN.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
        for system, parts in now["systems"].items():
            for part, value in parts.items():
                same = value == kept["systems"][system][part]
                print(system, part, "the same" if same else "DIFFERS")
