"""Several processes: the curve, replies and scores of one, however many there are."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch import nn

from pscli import console
from pscli.errors import ConfigError
from pscli.processes import asked
from pscli.systems.base import Losses
from pscli.training import shards
from several import job, tools

LOSSES = {"loss", "text", "image"}
NORMS = {"grad_llm", "grad_generator", "grad_llm_from_image"}
SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def launch(clip: Path, work: Path, processes: int, *jobs: dict[str, Any], **extra: str) -> None:
    """Does jobs by several processes on CPU, joined by gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("several.py")
    command = [sys.executable, str(script), str(clip), str(work), json.dumps(jobs)]
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = []
    for rank in range(processes):
        place = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen(
                command, stderr=subprocess.PIPE, text=True, env=os.environ | place | extra
            )
        )
    try:
        said = [process.communicate(timeout=900)[1] for process in started]
        codes = [process.returncode for process in started]
        assert not any(codes), f"exit codes {codes}\n" + "\n".join(said)
    finally:
        for process in started:
            process.kill()


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def same(one: Path, other: Path, tolerance: float) -> None:
    """Asserts that losses, scores and replies are the same: losses within a tolerance, scores
    within the same one of themselves, since photos follow the weights, and texts exactly.

    Norms of gradients are sums of squares in another order: within 1e-4 of themselves.
    """
    assert len(lines(one)) == len(lines(other)) >= 3
    for expected, found in zip(lines(one), lines(other), strict=True):
        assert found.keys() == expected.keys()
        if "loss" not in expected:  # scores of the dev split
            assert found == pytest.approx(expected, rel=tolerance, nan_ok=True)
        for name in expected.keys() & LOSSES:
            assert found[name] == pytest.approx(expected[name], abs=tolerance), name
        for name in expected.keys() & NORMS:
            assert found[name] == pytest.approx(expected[name], rel=1e-4), name
    predictions = sorted(one.glob("samples/*/predictions.jsonl"))
    assert predictions
    for path in predictions:
        assert (other / path.relative_to(one)).read_bytes() == path.read_bytes()


def close(one: Path, other: Path, tolerance: float) -> None:
    """Asserts that the agents of two runs have the same weights within a tolerance."""
    files = sorted((one / "agent").rglob("*.safetensors"))
    assert files
    for file in files:
        found = load_file(other / "agent" / file.relative_to(one / "agent"))
        torch.testing.assert_close(found, load_file(file), atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def clip(clip_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    clip_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def alone(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes: a whole run, and halves for others to go on with."""
    work = tmp_path_factory.mktemp("several")
    for name, epochs in (("whole", 2.0), ("one-two", 1.0)):
        job(name, tools(str(clip)), work, epochs=epochs)
    shutil.copytree(work / "one-two", work / "one-sharded")
    return work


def test_two_processes_make_what_one_does(clip: Path, alone: Path) -> None:
    """Oracle: the run of one process. 7 dialogues, two of which have photos, in batches of 3.

    Halves of runs are gone on with by the other number, 1 → 2 and 2 → 1.
    """
    halves = ({"name": "two-one", "epochs": 1.0}, {"name": "one-two", "resume": True})
    launch(clip, alone, 2, *halves)
    job("two-one", tools(str(clip)), alone, resume=True)
    same(alone / "whole", alone / "one-two", 1e-5)
    same(alone / "whole", alone / "two-one", 1e-5)


@pytest.mark.slow
def test_weights_are_shared_out(clip: Path, alone: Path) -> None:
    """FSDP 2 on two processes: curve, evaluation, agent, checkpoints. Oracle: one process."""
    halves = ({"name": "sharded-one", "epochs": 1.0}, {"name": "one-sharded", "resume": True})
    launch(clip, alone, 2, *halves, **SHARDED)
    job("sharded-one", tools(str(clip)), alone, resume=True)
    same(alone / "whole", alone / "one-sharded", 1e-4)
    close(alone / "whole", alone / "one-sharded", 1e-4)
    same(alone / "whole", alone / "sharded-one", 1e-4)


@pytest.mark.slow
def test_whole_runs_and_more_processes_than_dialogues(clip: Path, alone: Path) -> None:
    """Oracle: the run of one process."""
    launch(clip, alone, 2, {"name": "two"})
    launch(clip, alone, 3, {"name": "three"}, {"name": "single-three", "count": 1})
    launch(clip, alone, 2, {"name": "sharded"}, **SHARDED)
    job("single", tools(str(clip)), alone, count=1)
    same(alone / "single", alone / "single-three", 1e-5)
    for name, tolerance in (("two", 1e-5), ("three", 1e-5), ("sharded", 1e-4)):
        same(alone / "whole", alone / name, tolerance)
        close(alone / "whole", alone / name, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("bridge", ["gumbel-rao", "score-function"])
def test_bridges_that_draw_more(clip: Path, tmp_path: Path, bridge: str) -> None:
    """Oracle: the run of one process; the score function has losses that know no gradient."""
    job("whole", tools(str(clip)), tmp_path, bridge=bridge)
    launch(clip, tmp_path, 2, {"name": "two", "bridge": bridge})
    launch(clip, tmp_path, 2, {"name": "sharded", "bridge": bridge}, **SHARDED)
    for name, tolerance in (("two", 1e-5), ("sharded", 1e-4)):
        same(tmp_path / "whole", tmp_path / name, tolerance)
        close(tmp_path / "whole", tmp_path / name, tolerance)


def test_a_gradient_reaches_the_weights_that_backward_reaches() -> None:
    """Oracle: which weights have a gradient after a backward pass."""
    used, unused, frozen = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False)
    for losses in (
        Losses(used(frozen(torch.ones(3))).sum(), torch.zeros(())),
        Losses(used(torch.ones(3)).sum(), frozen(used(torch.ones(3))).square().mean()),
        Losses(torch.zeros(()), torch.zeros(())),
    ):
        reached = shards._reached(losses)
        for part in (used, unused, frozen):
            part.zero_grad()
        if losses.text.requires_grad:
            (losses.text + losses.image).backward()
        found = {
            id(p) for m in (used, unused, frozen) for p in m.parameters() if p.grad is not None
        }
        assert reached == found


def pretend(kind: DistributedType, version: int = 2) -> Any:
    """What `share_out` reads of an accelerator that was launched in some way."""
    plugin = SimpleNamespace(fsdp_version=version)
    return SimpleNamespace(state=SimpleNamespace(distributed_type=kind, fsdp_plugin=plugin))


def test_ways_to_launch_that_are_not_supported(build: SimpleNamespace) -> None:
    system = build.end_to_end().freeze()
    with pytest.raises(ConfigError, match=r"FSDP 1 is not supported\. Launch it with"):
        shards.share_out(pretend(DistributedType.FSDP, 1), system)
    with pytest.raises(ConfigError, match="launched for DEEPSPEED, which is not supported"):
        shards.share_out(pretend(DistributedType.DEEPSPEED), system)
    system.generator.vae.decoder.conv_in.requires_grad_()
    with pytest.raises(ConfigError, match=r"generator\.vae\.\S* and 1 other weights that are kept"):
        shards.share_out(pretend(DistributedType.FSDP), system)


def test_one_process_shares_out_nothing(build: SimpleNamespace) -> None:
    system = build.end_to_end().freeze()
    assert shards.share_out(Accelerator(cpu=True), system) is None
    with shards.entire(system, None) as whole:
        assert whole is system
    assert asked(True, False) == [True, False]


def test_the_first_process_speaks_but_any_may_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        console.result(f"result {rank}")
        console.note(f"note {rank}")
        with console.progress("Replying", 1) as advance:
            advance(1)
        console.show_error(ConfigError(f"error {rank}.", "Mend it."))
    said = capsys.readouterr()
    assert said.out == "result 0\n"
    assert said.err.splitlines() == [
        "note 0", "Replying: 1 of 1", "Error: error 0.", "Mend it.", "Error: error 1.", "Mend it."
    ]  # fmt: skip


# -- the lines of docs/several-devices.md, as they are typed ---------------------------------------

DOCS = Path(__file__).parents[1] / "docs" / "several-devices.md"
LINES = [line for line in DOCS.read_text().splitlines() if line.startswith("accelerate launch")]
SHORT = (
    "--set train.dialogues=6 --set train.batch=4 --set train.micro_batch=1 "
    "--set train.eval_dialogues=2 --set train.save_minutes=0"
)


def typed(line: str, where: Path) -> subprocess.CompletedProcess[str]:
    """What a command line says, typed in a folder."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        shlex.split(line), cwd=where, env=environment, capture_output=True, text=True, timeout=900
    )


@pytest.mark.slow
def test_the_lines_of_the_docs_do_what_one_process_does(tmp_path: Path) -> None:
    """Oracle: `pscli train-e2e` and `pscli generate` in one process."""
    two, replies, shared = LINES
    one = "python -m pscli train-e2e --preset demo --run runs/one"
    answers = "python -m pscli generate --dataset photoworld --agent runs/one --out preds/one"
    for line in (
        f"{one} {SHORT}",
        f"{two} {SHORT}",
        f"{shared} {SHORT}",
        f"{answers} --count 3 --batch 8",
    ):
        done = typed(line, tmp_path)
        assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs"
    same(runs / "one", runs / "two", 1e-5)
    same(runs / "one", runs / "shared", 1e-4)
    done = typed(f"{replies.replace('runs/two', 'runs/one')} --count 3 --batch 8", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("preds/two: ") and done.stdout.endswith(" instances\n")
    files = sorted(
        p.relative_to(tmp_path / "preds/one") for p in (tmp_path / "preds/one").rglob("*")
    )
    assert len([file for file in files if file.suffix == ".png"]) > 3
    for file in files:
        if (tmp_path / "preds/one" / file).is_file():
            written = (tmp_path / "preds/two" / file).read_bytes()
            assert written == (tmp_path / "preds/one" / file).read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", [*(line.split(" -m ")[0] for line in LINES), "torchrun --nproc-per-node 2"]
)
def test_each_line_starts_two_processes(tmp_path: Path, start: str) -> None:
    """Each process leaves its number, and the words that it was given."""
    told = "import os, sys; open('rank-' + os.environ['RANK'], 'w').write(' '.join(sys.argv[1:]))"
    (tmp_path / "ranks.py").write_text(told)
    typed(f"{start} -m ranks train-e2e --run-folder run", tmp_path)
    ranks = {path.name: path.read_text() for path in tmp_path.glob("rank-*")}
    assert ranks == dict.fromkeys(("rank-0", "rank-1"), "train-e2e --run-folder run")
