"""Time and peak memory of the bridge against the paper's construction, as ratios in one run.

    python benchmarks/bridge.py                  # on the CPU
    python benchmarks/bridge.py --device cuda

Llama 2's 32,000 tokens, CLIP's 49,408 and 77 positions, Stable Diffusion 2's width of 1,024. Forms
take turns, each in a process of its own, forward and backward, to the logits and no further:

- ours: `dvtm`; the bridge alone begins at the Gumbel-softmax probabilities.
- sparse: Eqs. 7 and 9-11 as written, caption by caption, M as a torch.sparse tensor; what the text
  encoder reads is R^SD E.
- dense: the same with M as a dense tensor, for one caption.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from pscli.components.bridge import Captions, dvtm, gumbel_argmax, sentence

V, W, N, D = 32_000, 49_408, 77, 1_024
TAU = 0.5


def example(batch: int, length: int, device: str) -> tuple[Captions, Tensor]:
    """Random captions of `length` tokens on both sides."""
    torch.manual_seed(0)
    logits = torch.randn(batch, length, V, device=device)
    noise = -torch.rand(batch, length, V, device=device).clamp(1e-9, 1 - 1e-7).log_().neg_().log_()
    every = torch.ones(batch, length, dtype=torch.bool, device=device)
    read = (torch.arange(N, device=device) < length).expand(batch, -1)
    captions = Captions(
        logits=logits, noise=noise, llm_ids=gumbel_argmax(logits, noise), llm_mask=every,
        llm_words=every, clip_ids=torch.randint(W - 2, (batch, N), device=device), clip_words=read,
        words=lambda: (every.long(), read.long()), pairs=lambda: torch.empty(0, 2),
    )  # fmt: skip
    return captions, torch.randn(W, D, device=device)


def ours(captions: Captions, e: Tensor, bridge_only: bool) -> Callable[[int], None]:
    upstream = torch.ones(len(captions.clip_ids), N, D, device=e.device)
    if bridge_only:
        shape = (*captions.llm_ids.shape, captions.llm_ids.shape[1])
        p = torch.rand(shape, device=e.device, requires_grad=True)
        p.grad = torch.zeros_like(p)

        def step(rows: int) -> None:
            sentence(p, captions, e).backward(upstream)

        return step
    captions.logits.requires_grad_()

    def whole(rows: int) -> None:
        residual = dvtm(captions, e, TAU)
        assert residual is not None
        residual.backward(upstream)

    return whole


def literal(captions: Captions, e: Tensor, bridge_only: bool, dense: bool) -> Callable[[int], None]:
    upstream = torch.ones(N, D, device=e.device)
    if not bridge_only:
        captions.logits.requires_grad_()
    given = torch.rand(captions.logits.shape[1:], device=e.device, requires_grad=True)
    given.grad = torch.zeros_like(given)

    def one(row: int) -> Tensor:
        if bridge_only:
            r = given
        else:
            # Eq. 6, with /τ inside
            p_gs = torch.softmax((captions.logits[row] + captions.noise[row]) / TAU, dim=-1)
            r_hard = F.one_hot(captions.llm_ids[row], V).to(p_gs.dtype)
            r = r_hard - p_gs.detach() + p_gs  # Eq. 7
        t_llm = captions.llm_ids[row].unique()
        t_sd = captions.clip_ids[row][captions.clip_words[row]].unique()
        index = torch.cartesian_prod(t_llm, t_sd).T  # Eq. 10
        ones = torch.ones(index.shape[1], device=e.device)
        matrix = torch.sparse_coo_tensor(index, ones, (V, W)).coalesce()
        # Eq. 9
        converted = r @ matrix.to_dense() if dense else torch.sparse.mm(matrix.t(), r.t()).t()
        pooled = converted.mean(dim=0)
        r_sd_hard = F.one_hot(captions.clip_ids[row], W).to(r.dtype)
        r_sd = r_sd_hard - pooled.detach() + pooled  # Eq. 11
        return r_sd @ e

    def step(rows: int) -> None:
        torch.stack([one(row) for row in range(rows)]).backward(upstream.expand(rows, N, D))

    return step


def measure(form: str, part: str, batch: int, length: int, device: str) -> dict[str, float]:
    """Median seconds of a step, and the peak of the memory [bytes] that it adds.

    The median is of 9 steps for ours; the others take one.
    """
    captions, e = example(batch, length, device)
    only = part == "bridge"
    step = (
        ours(captions, e, only) if form == "ours" else literal(captions, e, only, form == "dense")
    )
    cuda = device != "cpu"
    # The gradient of what a form begins with is an output of each, so it is made beforehand.
    if captions.logits.requires_grad:
        captions.logits.grad = torch.zeros_like(captions.logits)
    step(1)  # what is made once: kernels, threads
    before = watch(cuda)
    seconds = []
    for _ in range(9 if form == "ours" else 1):
        began = time.perf_counter()
        step(1 if form == "dense" else batch)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() if cuda else resident("VmHWM")
    peak -= before
    return {"seconds": statistics.median(seconds), "bytes": float(peak)}


def watch(cuda: bool) -> int:
    """Memory in use [bytes]; the peak is counted from here."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def resident(field: str) -> int:
    """A line of Linux's account of this process [bytes]."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 20, 60])
    parser.add_argument("--dense", action="store_true", help="also the dense form, one caption")
    parser.add_argument("--one", nargs=3, metavar=("FORM", "PART", "LENGTH"), help="used inside")
    options = parser.parse_args()
    if options.one:
        form, part, length = options.one
        print(json.dumps(measure(form, part, options.batch, int(length), options.device)))
        return
    gigabytes = 4 * V * W / 1e9
    print(f"dense M: {gigabytes:.1f} GB a caption, {options.batch * gigabytes:.0f} GB a batch,")
    print("as much again for its gradient where it is asked for; float32")
    forms = ["ours", "sparse", *(["dense"] if options.dense else [])]
    print("tokens  part    form     seconds      MB   times ours: seconds  memory")
    for length in options.lengths:
        for part in ("bridge", "whole"):
            base: dict[str, float] = {}
            for form in forms:
                arguments = ["--device", options.device, "--batch", str(options.batch)]
                done = subprocess.run(
                    [sys.executable, __file__, *arguments, "--one", form, part, str(length)],
                    capture_output=True, text=True,
                    # Tensors come from the system and go back to it, so that the peak is theirs.
                    env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
                )  # fmt: skip
                if done.returncode:
                    print(f"{length:6}  {part:6}  {form:6}   did not fit or failed")
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                base = base or found
                print(
                    f"{length:6}  {part:6}  {form:6} {found['seconds']:9.4f}"
                    f" {found['bytes'] / 1e6:7.1f}"
                    f"  {found['seconds'] / base['seconds']:18.0f}"
                    f"  {found['bytes'] / max(base['bytes'], 1e5):6.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
