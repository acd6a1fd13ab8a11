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
from pscli.components.bridge import Bridge, Captions, Scoring, gumbel_argmax
from pscli.components.estimators import conditional
from pscli.components.noise import gumbel

# C captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width,
# S samples, K further draws of each

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
        gold: [M] the caption that the photo was drawn from.
    """

    logits: Tensor
    captions: Captions
    embeddings: Tensor
    loss: Callable[[Tensor], Tensor]
    gold: Tensor

    @cached_property
    def losses(self) -> Tensor:
        """[C] of each caption."""
        return self.loss(self.embeddings[self.captions.clip_ids])

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
    return World(
        logits, captions, table, lambda read: (draw(read) - photo).square().sum(dim=1),
        captions.llm_ids[gold[0]],
    )  # fmt: skip


def number(ids: Tensor) -> Tensor:
    """[S] places of captions [S, M] among all."""
    return ids @ len(LLM_VOCABULARY) ** torch.arange(ids.shape[1] - 1, -1, -1)


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
    pieces = [(i, j) for i in range(size) for j in _aligned((i,))[1]]
    full = torch.ones(llm_word.shape, dtype=torch.bool)
    return Captions(
        logits=torch.empty(0), noise=torch.empty(0), llm_ids=torch.tensor(ids), llm_mask=full,
        llm_words=full, clip_ids=clip, clip_words=clip_word >= 0,
        words=lambda: (llm_word, clip_word), pairs=lambda: torch.tensor(pairs),
        pieces=lambda: torch.tensor(pieces), draws=(),
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
    return torch.autograd.grad((logs.exp() * world.losses).sum(), logits)[0]


def estimates(world: World, bridge: Bridge, tau: float, noise: Tensor, draws: Tensor) -> Tensor:
    """[S, M, V] the bridge's gradient at each of S sampled captions.

    Args:
        noise: [S, M, V] Gumbel noise.
        draws: [K, S, M, V] more of it, for bridges that want it.
    """
    logits = world.logits.expand(noise.shape).clone().requires_grad_()
    ids = gumbel_argmax(logits.detach(), noise)
    rows = number(ids)
    every = world.captions
    llm, clip = (side[rows] for side in every.words())
    captions = replace(
        every, logits=logits, noise=noise, llm_ids=ids, llm_mask=every.llm_mask[rows],
        llm_words=every.llm_words[rows], clip_ids=every.clip_ids[rows],
        clip_words=every.clip_words[rows], words=lambda: (llm, clip),
        draws=[draw.clone for draw in draws],
    )  # fmt: skip
    if isinstance(bridge, Scoring):
        term = bridge.surrogate(captions, lambda others: world.losses[number(others)])
        return torch.autograd.grad(term.sum(), logits)[0]
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


def measure(
    world: World, bridge: Bridge, tau: float, samples: int, seed: int = 0, draws: int = 4
) -> Quality:
    """Quality of a bridge in a world; bridges measured with one seed see the same noise.

    Args:
        draws: K.
    """
    random = torch.Generator().manual_seed(seed)
    noise = gumbel((samples, *world.logits.shape), random).double()
    more = gumbel((draws, *noise.shape), random).double()
    return quality(exact_gradient(world), estimates(world, bridge, tau, noise, more))


# -- what a gradient says of single words ------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """Whether a gradient knows a wrong word, its place, and the right one. Chance is 0.5.

    The captions are the gold one, and those with one word of it replaced. Followed, a gradient
    makes words less probable where it is positive. Ties count half.

    Args:
        wrong: P(gradient at a wrong word > gradient at the right one, in the gold caption, in the
            same place): an AUC.
        place: P(gradient at a wrong word > gradient at a right word of the same caption).
        right: P(gradient at the right word < gradient at another wrong one), in the place of a
            wrong word.
    """

    wrong: float
    place: float
    right: float


def one_word_off(world: World) -> Tensor:
    """[M, V, M] the gold caption with word v in place i."""
    m, v = world.logits.shape
    captions = world.gold.expand(m, v, m).clone()
    places = torch.arange(m)
    captions[places, :, places] = torch.arange(v)
    return captions


def words_of(found: Tensor, gold: Tensor) -> Words:
    """What gradients say of words.

    Args:
        found: [M, V, S, M, V] S gradients at each caption of `one_word_off`.
        gold: [M].
    """
    wrong, place, right = [], [], []
    for i, word in enumerate(gold.tolist()):
        others = [v for v in range(found.shape[1]) if v != word]
        elsewhere = [j for j in range(len(gold)) if j != i]
        own = found[i, others, :, i, others]  # [V - 1, S] of a wrong word
        kept = found[i, others][:, :, elsewhere, gold[elsewhere]]  # [V - 1, S, M - 1] of right ones
        wrong.append(above(own.flatten()[:, None], found[i, word, :, i, word]))
        place.append(above(own[:, :, None], kept))
        for v in others:
            here = found[i, v, :, i]  # [S, V]
            rest = [other for other in others if other != v]
            right.append(above(here[:, rest], here[:, [word]]))
    return Words(*(float(torch.tensor(x).mean()) for x in (wrong, place, right)))


def above(high: Tensor, low: Tensor) -> float:
    """How often `high` > `low`, ties half, over what the two are broadcast to."""
    return float((torch.sign(high - low) + 1).mean() / 2)


def words(
    world: World, bridge: Bridge, tau: float, samples: int, seed: int = 0, draws: int = 4
) -> Words:
    """What a bridge says of words by one gradient; S of them at each caption are looked at."""
    random = torch.Generator().manual_seed(seed)
    captions = one_word_off(world)
    ids = captions[:, :, None].expand(-1, -1, samples, -1).flatten(0, 2)
    shape = (len(ids), *world.logits.shape)
    fresh, more = gumbel(shape, random).double(), gumbel((draws, *shape), random).double()
    # Noise with which just this caption is sampled.
    noise = conditional(world.logits.expand(shape), fresh, ids) - world.logits
    found = estimates(world, bridge, tau, noise, more)
    return words_of(found.unflatten(0, (*captions.shape[:2], samples)), world.gold)


def exact_words(world: World) -> Words:
    """The same of the exact gradient at each caption, all words but one held fixed in turn."""
    captions = one_word_off(world)
    found = held(world, captions.flatten(0, 1)).unflatten(0, captions.shape[:2])
    return words_of(found[:, :, None], world.gold)


def held(world: World, ids: Tensor) -> Tensor:
    """[S, M, V] at each place of captions [S, M] that of Σ_v p_v L(caption with v there)."""
    m, v = world.logits.shape
    changed = ids[:, None, None, :].expand(-1, m, v, m).clone()
    places = torch.arange(m)
    changed[:, places, :, places] = torch.arange(v)
    losses = world.losses[number(changed.flatten(0, 2))].view(len(ids), m, v)
    p = world.logits.softmax(dim=1)
    return p * (losses - (p * losses).sum(dim=2, keepdim=True))
