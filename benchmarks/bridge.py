"""Time and peak memory of the bridge beside the best forms of Eq. 10 that build M, in one run.

    python benchmarks/bridge.py

Llama 2's 32,000 tokens, CLIP's 49,408 and 77 positions, Stable Diffusion 2's width 1,024; float32
and one thread. Every form starts from the same logits and noise, adds its residual to the same
embeddings, looked up, and ends at the gradient with respect to the logits. The one-hot terms of
Eqs. 7 and 11 are constants without a gradient, so no form builds them.

- ours: `dvtm`.
- softmax: our Gumbel-softmax at the caption's tokens and no bridge: what every form needs.
- submatrix: the same softmax, and M on the tokens of each caption alone.
- torch-softmax: the same submatrix after torch.softmax over the vocabulary.
- sparse: torch.softmax, then its average times one block-diagonal torch.sparse M for the batch,
  without the columns that no caption uses.
- written: torch.softmax, times a torch.sparse M of both vocabularies for each caption, and then the
  average, in the order of Eqs. 9-11.

Forms take turns, in another order each round. Times are of the processor. Memory is the most that a
step has allocated at once, the gradient included.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, product

import torch
from arguments import positive
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from pscli import console
from pscli.components.bridge import Captions, distinct, dvtm, gumbel_argmax, gumbel_softmax_at
from pscli.components.noise import gumbel, seeded

# B captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width
V, W, N, D = 32_000, 49_408, 77, 1_024
TAU = 0.5
Form = Callable[[Captions, Tensor], Tensor]  # captions, embeddings [W, D] to a residual [B, N, D]


def ours(c: Captions, e: Tensor) -> Tensor:
    residual = dvtm(c, e, TAU)
    assert residual is not None
    return residual


def softmax(c: Captions, e: Tensor) -> Tensor:
    return through(gumbel_softmax_at(c.logits, c.noise, TAU, c.llm_ids).sum(dim=(1, 2))[:, None])


def submatrix(c: Captions, e: Tensor) -> Tensor:
    return by_submatrix(gumbel_softmax_at(c.logits, c.noise, TAU, c.llm_ids), c, e)


def torch_softmax(c: Captions, e: Tensor) -> Tensor:
    at = c.llm_ids[:, None, :].expand(-1, c.llm_ids.shape[1], -1)
    return by_submatrix(torch.softmax((c.logits + c.noise) / TAU, dim=-1).gather(2, at), c, e)


def by_submatrix(p: Tensor, c: Captions, e: Tensor) -> Tensor:
    t_llm = distinct(c.llm_ids, c.llm_words.long() - 1).to(p.dtype)
    t_sd = distinct(c.clip_ids, c.clip_words.long() - 1).to(p.dtype)
    matrix = t_llm[:, :, None] * t_sd[:, None, :]  # [B, T, N]
    return through(torch.einsum("bn,bnd->bd", (p @ matrix).mean(dim=1), e[c.clip_ids]))


def sparse(c: Captions, e: Tensor) -> Tensor:
    pooled = torch.softmax((c.logits + c.noise) / TAU, dim=-1).mean(dim=1)  # avg(R M) = avg(R) M
    used, column = c.clip_ids.unique(return_inverse=True)
    captions = enumerate(zip(c.llm_ids, column, c.clip_words, strict=True))
    pairs = [
        torch.cartesian_prod(j[read].unique() + n * len(used), i.unique() + n * V)
        for n, (i, j, read) in captions
    ]
    matrix = ones_at(torch.cat(pairs), len(pooled) * len(used), len(pooled) * V)
    converted = torch.sparse.mm(matrix, pooled.reshape(-1, 1)).view(len(pooled), len(used))
    return through(converted @ e[used])


def written(c: Captions, e: Tensor) -> Tensor:
    columns = (c.logits.unbind(), c.noise, c.llm_ids, c.clip_ids, c.clip_words)
    pooled = []
    for o, g, i, j, read in zip(*columns, strict=True):
        r = torch.softmax((o + g) / TAU, dim=-1)
        matrix = ones_at(torch.cartesian_prod(j[read].unique(), i.unique()), W, V)  # Eq. 10, Mᵀ
        pooled.append(torch.sparse.mm(matrix, r.t()).mean(dim=1))  # Eq. 9
    return through(torch.stack(pooled) @ e)


def ones_at(pairs: Tensor, *shape: int) -> Tensor:
    ones = torch.ones(len(pairs))
    return torch.sparse_coo_tensor(pairs.T, ones, shape, check_invariants=True, is_coalesced=True)


def through(pooled: Tensor) -> Tensor:
    """What Eq. 11 adds to all N rows, [B, N, D] from [B, D]."""
    return (pooled - pooled.detach())[:, None, :].expand(-1, N, -1)


FORMS: dict[str, Form] = {
    "ours": ours, "softmax": softmax, "submatrix": submatrix, "torch-softmax": torch_softmax,
    "sparse": sparse, "written": written,
}  # fmt: skip


def example(batch: int, length: int) -> tuple[Captions, Tensor, Tensor]:
    """Random captions of `length` tokens on both sides, embeddings, and the gradient at the sum."""
    draw = seeded("bridge", batch, length)
    logits = torch.randn(batch, length, V, generator=draw).requires_grad_()
    noise = gumbel((batch, length, V), draw)
    every = torch.ones(batch, length, dtype=torch.bool)
    captions = Captions(
        logits=logits, noise=noise, llm_ids=gumbel_argmax(logits, noise), llm_mask=every,
        llm_words=every, clip_ids=torch.randint(W - 2, (batch, N), generator=draw),
        clip_words=(torch.arange(N) < length).expand(batch, -1),
        words=lambda: (torch.empty(0), torch.empty(0)), pairs=lambda: torch.empty(0, 2),
        pieces=lambda: torch.empty(0, 2), draws=(),
    )  # fmt: skip
    embeddings = torch.randn(W, D, generator=draw)
    return captions, embeddings, torch.randn(batch, N, D, generator=draw)


def in_turn(
    batch: int, length: int, rounds: int, watch: Callable[[Callable[[], Tensor]], float]
) -> dict[str, list[float]]:
    """What `watch` finds of each form, round by round, once all are known to agree."""
    captions, e, upstream = example(batch, length)

    def step(form: Form) -> Tensor:
        read = F.embedding(captions.clip_ids, e) + form(captions, e)
        return torch.autograd.grad(read, captions.logits, upstream)[0]

    exact = step(ours)
    for name, form in FORMS.items():
        off = float((step(form) - exact).norm() / exact.norm())
        assert off < 1e-4 or name == "softmax", f"{name} has another gradient: {off}"
    del exact
    found: dict[str, list[float]] = {name: [] for name in FORMS}
    for turn in range(rounds):
        for name in random.Random(turn).sample(list(FORMS), len(FORMS)):
            found[name].append(watch(lambda form=FORMS[name]: step(form)))
    return found


def milliseconds(run: Callable[[], Tensor]) -> float:
    """Of the processor, so that others on it count less."""
    began = time.process_time()
    run()
    return 1e3 * (time.process_time() - began)


def megabytes(run: Callable[[], Tensor]) -> float:
    """The most that a step has allocated at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    events = sorted(found.profiler.kineto_results.events(), key=lambda e: e.start_ns())
    return max(accumulate(e.nbytes() for e in events if e.name() == "[memory]")) / 1e6


def middle(values: Sequence[float], digits: int) -> str:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=positive, nargs="+", default=[32, 4])
    parser.add_argument("--lengths", type=positive, nargs="+", default=[8, 20, 60])
    parser.add_argument("--rounds", type=positive, default=11)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = list(product(options.batches, options.lengths))
    times = {size: in_turn(*size, options.rounds, milliseconds) for size in sizes}
    peaks = {size: in_turn(*size, 1, megabytes) for size in sizes}
    print("Median [quartiles] over the rounds; ratios are within a round.\n")
    print("| captions × tokens | form | ms | times ours | MB | times ours |")
    print("|---|---|---|---|---|---|")
    for size, name in product(sizes, FORMS):
        spent, taken = times[size], peaks[size]
        slower = [a / b for a, b in zip(spent[name], spent["ours"], strict=True)]
        larger = taken[name][0] / taken["ours"][0]
        print(
            f"| {size[0]} × {size[1]} | {name} | {middle(spent[name], 1)} | {middle(slower, 2)}"
            f" | {taken[name][0]:.1f} | {larger:.2f} |"
        )


if __name__ == "__main__":
    console.script(main)
