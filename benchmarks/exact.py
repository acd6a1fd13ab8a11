"""How good a bridge's gradient is, where the exact one can be computed.

On a vocabulary small enough to enumerate all captions c, the expected loss is Σ_c P(c) L(c), and
its gradient with respect to the LLM's logits o is known. A bridge estimates it from one sampled
caption (Guo et al. 2024, Eqs. 4-11).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product

import torch
from torch import Tensor, nn

from pscli.components.alignment import number_words
from pscli.components.bridge import Bridge, Captions, gumbel_argmax
from pscli.components.noise import gumbel

# C captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width

# Two vocabularies that cut some words alike, and some only one of them or both differently.
LLM_VOCABULARY = (" red", " blue", " dog", " bo", "at", " beach")
CLIP_VOCABULARY = ("red", "blue", "do", "g", "boat", "bo", "at", "be", "ach", "<end>")


@dataclass(frozen=True)
class World:
    """An LLM's logits for one caption, and an image loss of what the text encoder reads.

    Args:
        logits: [M, V] of the LLM, one row for each token of the caption.
        captions: All C = V^M captions in the order of their ids as digits; their `logits` and
            `noise` are empty.
        embeddings: [W, D] of the text encoder.
        loss: Input embeddings [C, N, D] to L^v [C].
    """

    logits: Tensor
    captions: Captions
    embeddings: Tensor
    loss: Callable[[Tensor], Tensor]

    @cached_property
    def slopes(self) -> Tensor:
        """[C, N, D] gradient of the loss of each caption with respect to what is read."""
        return slope(self, self.embeddings[self.captions.clip_ids])


@dataclass(frozen=True)
class Quality:
    """A bridge's estimate g of the exact gradient G, over samples.

    Args:
        cosine: Of E[g] with G.
        single: E of the cosine of g with G.
        bias: ‖E[g] - G‖ / ‖G‖.
        variance: E‖g - E[g]‖² / ‖G‖².
        size: ‖E[g]‖ / ‖G‖.
    """

    cosine: float
    single: float
    bias: float
    variance: float
    size: float


def world(seed: int, length: int = 4, width: int = 16) -> World:
    """A random world: logits, a small transformer as text encoder and generator, a gold photo.

    The photo is what the generator draws from a random gold caption, with noise; the loss is the
    squared error of what it draws from the caption that the encoder reads (Eq. 12).
    """
    random = torch.Generator().manual_seed(seed)
    captions = every_caption(length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
        head = nn.Linear(width, 12)
    for part in (layer, head):
        part.double().eval().requires_grad_(False)
    n = captions.clip_ids.shape[1]
    places = 0.5 * torch.randn(n, width, generator=random, dtype=torch.float64)
    table = torch.randn(len(CLIP_VOCABULARY), width, generator=random, dtype=torch.float64)

    def draw(read: Tensor) -> Tensor:
        drawn: Tensor = head(layer(read + places).mean(dim=1))
        return drawn

    gold = torch.randint(len(captions.llm_ids), (1,), generator=random)
    photo = draw(table[captions.clip_ids[gold]])
    photo = photo + 0.1 * torch.randn(photo.shape, generator=random, dtype=torch.float64)
    logits = torch.randn(length, len(LLM_VOCABULARY), generator=random, dtype=torch.float64)
    return World(logits, captions, table, lambda read: (draw(read) - photo).square().sum(dim=1))


@lru_cache
def every_caption(length: int) -> Captions:
    """All captions of `length` LLM tokens, read by the longest CLIP tokens that fit."""
    size = len(LLM_VOCABULARY)
    ids = list(product(range(size), repeat=length))
    rows = [_aligned(row) for row in ids]
    longest = max(len(row[1]) for row in rows)
    end = len(CLIP_VOCABULARY) - 1
    clip = torch.tensor([[*row[1], *[end] * (longest - len(row[1]))] for row in rows])
    clip_word = torch.tensor([[*row[2], *[-1] * (longest - len(row[2]))] for row in rows])
    llm_word = torch.tensor([row[0] for row in rows])
    texts = [token.strip() for token in LLM_VOCABULARY]
    pairs = [(i, CLIP_VOCABULARY.index(t)) for i, t in enumerate(texts) if t in CLIP_VOCABULARY]
    full = torch.ones(llm_word.shape, dtype=torch.bool)
    return Captions(
        logits=torch.empty(0), noise=torch.empty(0), llm_ids=torch.tensor(ids), llm_mask=full,
        llm_words=full, clip_ids=clip, clip_words=clip_word >= 0,
        words=lambda: (llm_word, clip_word), pairs=lambda: torch.tensor(pairs),
    )  # fmt: skip


def _aligned(ids: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
    """Words of the LLM's tokens, CLIP's tokens, and their words."""
    ours, text = [], ""
    for i in ids:
        ours.append((len(text), len(text) + len(LLM_VOCABULARY[i])))
        text += LLM_VOCABULARY[i]
    clip, theirs, at = [], [], 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        token = max((t for t in CLIP_VOCABULARY if text.startswith(t, at)), key=len)
        clip.append(CLIP_VOCABULARY.index(token))
        theirs.append((at, at + len(token)))
        at += len(token)
    llm_word, clip_word = number_words(len(text), ours, theirs)
    return llm_word, clip, clip_word


def exact_gradient(world: World) -> Tensor:
    """[M, V] gradient of Σ_c P(c) L(c) with respect to the logits."""
    logits = world.logits.clone().requires_grad_()
    ids = world.captions.llm_ids
    logs = logits.log_softmax(dim=1)[torch.arange(ids.shape[1]), ids].sum(dim=1)  # log P(c)
    losses = world.loss(world.embeddings[world.captions.clip_ids])
    return torch.autograd.grad((logs.exp() * losses).sum(), logits)[0]


def estimates(world: World, bridge: Bridge, tau: float, noise: Tensor) -> Tensor:
    """[S, M, V] the bridge's gradient at each of S sampled captions.

    Args:
        noise: [S, M, V] Gumbel noise.
    """
    logits = world.logits.expand(noise.shape).clone().requires_grad_()
    ids = gumbel_argmax(logits.detach(), noise)
    places = len(LLM_VOCABULARY) ** torch.arange(ids.shape[1] - 1, -1, -1)
    rows = (ids * places).sum(dim=1)
    every = world.captions
    llm, clip = (side[rows] for side in every.words())
    captions = replace(
        every, logits=logits, noise=noise, llm_ids=ids, llm_mask=every.llm_mask[rows],
        llm_words=every.llm_words[rows], clip_ids=every.clip_ids[rows],
        clip_words=every.clip_words[rows], words=lambda: (llm, clip),
    )  # fmt: skip
    residual = bridge(captions, world.embeddings, tau)
    if residual is None:
        return torch.zeros_like(logits)
    # A straight-through residual is zero: what the encoder reads is one of the C captions.
    moved = residual.detach().any()
    read = world.embeddings[captions.clip_ids] + residual.detach()
    upstream = slope(world, read) if moved else world.slopes[rows]
    return torch.autograd.grad(residual, logits, upstream)[0]


def slope(world: World, read: Tensor) -> Tensor:
    """[S, N, D] gradient of the loss with respect to input embeddings [S, N, D]."""
    read = read.detach().requires_grad_()
    return torch.autograd.grad(world.loss(read).sum(), read)[0]


def quality(exact: Tensor, found: Tensor) -> Quality:
    """What S estimates [S, M, V] are worth beside the exact gradient [M, V].

    ‖E[g]‖² is estimated without bias, as the mean product of two different samples.
    """
    g, truth = found.flatten(1), exact.flatten()
    mean, norm = g.mean(dim=0), truth.norm()
    variance = (g - mean).square().sum() / max(1, len(g) - 1)
    squared = (mean.square().sum() - variance / len(g)).clamp(min=0)
    along = mean @ truth
    lengths = g.norm(dim=1).clamp(min=1e-30)
    return Quality(
        cosine=float(along / (norm * squared.sqrt().clamp(min=1e-30))) if squared > 0 else 0.0,
        single=float((g @ truth / (lengths * norm)).mean()),
        bias=float((squared - 2 * along + norm.square()).clamp(min=0).sqrt() / norm),
        variance=float(variance / norm.square()),
        size=float(squared.sqrt() / norm),
    )


def measure(world: World, bridge: Bridge, tau: float, samples: int, seed: int = 0) -> Quality:
    """Quality of a bridge in a world; bridges measured with one seed see the same noise."""
    random = torch.Generator().manual_seed(seed)
    noise = gumbel((samples, *world.logits.shape), random).double()
    return quality(exact_gradient(world), estimates(world, bridge, tau, noise))
