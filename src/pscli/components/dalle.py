"""DALL·E's kind of generator: a transformer writes a photo as tokens, an autoencoder decodes them.

Ramesh et al. (2021), *Zero-Shot Text-to-Image Generation*. Both parts are the libraries' own: a
VQ autoencoder of diffusers (van den Oord et al. 2017) and a GPT-2 of transformers, whose
vocabulary holds the words first and the codes of the autoencoder after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import VQModel
from diffusers.image_processor import VaeImageProcessor
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer, DynamicCache, GPT2LMHeadModel

from pscli.components.decoding import cache_name
from pscli.components.device import spare
from pscli.components.generator import DECODING, DRAWING
from pscli.components.noise import gumbel
from pscli.components.vision import scaled
from pscli.components.weights import forget_places, other_kind, whole
from pscli.files import write_json

# B photos, N tokens of words, T = H·W tokens of a photo, K codes, W words, D width

KEPT = 0.5  # of the codes, the likeliest, so many may be drawn; DALLE-pytorch's own


class Dalle(nn.Module):
    """Draws photos token by token, row by row, after the tokens of a caption.

    There is no mark between the two: the last of the N places of words predicts the first token
    of the photo.

    Args:
        vae: Photos ↔ codes; its `sample_size` is the side of a photo.
        transformer: Of W + K tokens and at least N + T - 1 positions.
        tokenizer: Cuts captions into N = `model_max_length` tokens.
        guidance: Scale of classifier-free guidance (Gafni et al. 2022); none at 1 and below.
        temperature: Of what is drawn.
        caption_dropout: How often a caption is left out in training, for the guidance.

    Raises:
        ValueError: if the three do not fit one another.
    """

    depth: int | None = None  # that is expected

    def __init__(
        self,
        vae: VQModel,
        transformer: GPT2LMHeadModel,
        tokenizer: Any,
        *,
        guidance: float = 1.0,
        temperature: float = 1.0,
        caption_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.vae, self.transformer, self.tokenizer = vae, transformer, tokenizer
        self.guidance, self.temperature = guidance, temperature
        self.caption_dropout = caption_dropout
        needed, there = self.words + self.tokens - 1, int(transformer.config.n_positions)
        if needed > there:
            raise ValueError(
                f"its transformer has {there} positions, and {self.words} tokens of words with "
                f"{self.tokens} of a photo take {needed}."
            )
        if len(tokenizer) > self.vocabulary:
            raise ValueError(
                f"its tokenizer knows {len(tokenizer)} tokens, its transformer {self.vocabulary} "
                f"beside the {self.codes} codes."
            )

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        *,
        guidance: float = 1.0,
        variant: str | None = None,
        **unused: Any,
    ) -> Self:
        """Loads a folder or hub id.

        Args:
            unused: What only concerns diffusion: `steps`, `snr_gamma`; and `dtype`, since all but
                the autoencoder trains.

        Raises:
            CheckpointError: if it holds another kind of generator, or one of another size.
        """
        at: dict[str, Any] = {"revision": revision}
        found = VQModel.load_config(str(place), subfolder="vae", **at).get("_class_name")
        if found != VQModel.__name__:
            raise other_kind(
                f"Its vae is a {found} and no VQModel (docs/systems.md tells how to get one)."
            )
        parts = {
            name: whole(kind, place, subfolder=name, variant=variant, dtype=torch.float32, **at)
            for name, kind in (("vae", VQModel), ("transformer", GPT2LMHeadModel))
        }
        depth = parts["transformer"].config.n_layer
        if cls.depth not in (None, depth):
            raise other_kind(f"Its transformer has {depth} layers, not {cls.depth}.")
        tokenizer = CLIPTokenizer.from_pretrained(str(place), subfolder="tokenizer", **at)
        return cls(**parts, tokenizer=tokenizer, guidance=guidance)

    def save_pretrained(self, folder: Path) -> None:
        """Writes `vae/`, `transformer/` and `tokenizer/`, without the paths that they were loaded
        from."""
        for name in ("vae", "transformer", "tokenizer"):
            getattr(self, name).save_pretrained(folder / name)
        forget_places(folder, ("vae", "transformer"))
        write_json(folder / "model_index.json", {"_class_name": Dalle.__name__})

    # -- sizes -------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Side of a photo in pixels."""
        return int(self.vae.config.sample_size)

    @property
    def side(self) -> int:
        """Tokens in a row of a photo."""
        return side_of(self.vae)

    @property
    def tokens(self) -> int:
        """T of a photo."""
        return self.side**2

    @property
    def words(self) -> int:
        """N, the places of words."""
        return int(self.tokenizer.model_max_length)

    @property
    def codes(self) -> int:
        """K of the autoencoder."""
        return int(self.vae.config.num_vq_embeddings)

    @property
    def vocabulary(self) -> int:
        """W, the rows of words."""
        return int(self.transformer.config.vocab_size) - self.codes

    @property
    def device(self) -> torch.device:
        device: torch.device = self.transformer.device
        return device

    @property
    def encoder(self) -> nn.Module:
        vae: nn.Module = self.vae
        return vae

    @property
    def embeddings(self) -> Tensor:
        """[W, D] token embeddings of words."""
        rows: Any = self.transformer.get_input_embeddings()
        weight: Tensor = rows.weight[: self.vocabulary]
        return weight

    # -- training ----------------------------------------------------------------------------

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids padded and cut to N, and where they are words. Both [B, N]."""
        found = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.words,
            return_tensors="pt",
        ).to(self.device)  # fmt: skip
        ids = found.input_ids
        marks = (ids == self.tokenizer.bos_token_id) | (ids == self.tokenizer.eos_token_id)
        return ids, found.attention_mask.bool() & ~marks

    @torch.no_grad()
    def latents(self, photos: Sequence[Image]) -> Tensor:
        """[B, T] codes of photos, row by row."""
        return codes_of(self.vae, scaled(photos, self.size).to(self.device, self.vae.dtype))

    def draw_noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """[B] whether the caption is left out of a training step, one seeded generator a photo."""
        dropped = [torch.rand((), generator=g) < self.caption_dropout for g in generators]
        return torch.stack(dropped).to(self.device)

    def losses(
        self, ids: Tensor, latents: Tensor, noise: Tensor, residual: Tensor | None = None
    ) -> Tensor:
        """[B] L^v = -1/T Σ_t log p(z_t | caption, z_<t) in nats, of T codes among K.

        Args:
            ids: [B, N] of the captions.
            latents: [B, T] codes z of the gold photos.
            noise: [B] whose captions are left out.
            residual: [B, N, D] from the bridge, added to the embeddings of the ids (Eq. 11 of Guo
                et al. 2024).
        """
        empty, _ = self.tokenize([""])
        said = self.embed(torch.where(noise[:, None], empty, ids))
        if residual is not None:
            said = said + (residual * (~noise)[:, None, None]).to(said.dtype)
        states = self.states(torch.cat([said, self.seen(latents[:, :-1])], dim=1))
        logits = self._logits(states[:, self.words - 1 :])
        return F.cross_entropy(logits.transpose(1, 2), latents, reduction="none").mean(dim=1)

    def embed(self, ids: Tensor) -> Tensor:
        """[…, D] of ids of the whole vocabulary."""
        embedded: Tensor = self.transformer.get_input_embeddings()(ids)
        return embedded

    def seen(self, codes: Tensor) -> Tensor:
        """[…, D] of codes, whose rows come after those of the words."""
        return self.embed(codes + self.vocabulary)

    def states(self, embeddings: Tensor, cache: DynamicCache | None = None) -> Tensor:
        """[B, L, D] of the next L places, after those that the cache holds; it grows by these."""
        body: Any = self.transformer.base_model
        earlier = {"use_cache": False} if cache is None else {cache_name(body): cache}
        states: Tensor = body(inputs_embeds=embeddings, **earlier).last_hidden_state
        return states

    def _logits(self, states: Tensor) -> Tensor:
        """[…, K] float32 of the codes alone: a word cannot follow there."""
        rows = self.transformer.get_output_embeddings().weight[self.vocabulary :]
        return F.linear(states, rows).float()

    # -- drawing -----------------------------------------------------------------------------

    def draw(self, captions: Sequence[str], generators: Sequence[torch.Generator]) -> list[Image]:
        """One photo a caption, as many together as fit; seeded by one generator a photo."""
        drawn = []
        for start in range(0, len(captions), self.together):
            some = slice(start, start + self.together)
            ids, _ = self.tokenize(captions[some])
            drawn += self.decode(self.sample(ids, generators[some]))
        return drawn

    @torch.no_grad()
    def sample(self, ids: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """[B, T] codes, drawn one after another from softmax(logits / temperature) over the
        likeliest; argmax(o + g) with Gumbel noise g is such a draw (Eq. 4 of Guo et al. 2024)."""
        if guided := self.guidance > 1:
            empty, _ = self.tokenize([""])
            ids = torch.cat([ids, empty.expand_as(ids)])
        cache, step, drawn = DynamicCache(), self.embed(ids), list[Tensor]()
        for _ in range(self.tokens):
            logits = self._logits(self.states(step, cache)[:, -1])
            if guided:
                told, free = logits.chunk(2)
                logits = free + self.guidance * (told - free)
            noise = torch.stack([gumbel(logits.shape[1:], g) for g in generators])
            drawn.append(chosen(logits / self.temperature, noise.to(logits.device)))
            step = self.seen(drawn[-1])[:, None]
            step = step.repeat(2, 1, 1) if guided else step
        return torch.stack(drawn, dim=1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> list[Image]:
        """Photos of codes [B, T]."""
        pixels = self.vae.decode(self.quantized(codes), force_not_quantize=True).sample
        photos: list[Image] = VaeImageProcessor().postprocess(pixels.float(), output_type="pil")
        return photos

    def quantized(self, codes: Tensor) -> Tensor:
        """[B, C, H, W] of the autoencoder's codebook."""
        rows: Tensor = self.vae.quantize.embedding(codes)
        square = rows.view(len(rows), self.side, self.side, -1)
        return square.permute(0, 3, 1, 2)

    @property
    def together(self) -> int:
        """How many photos are drawn at once, by the memory that their decoding, and keys and
        values of all layers take: 2 GiB, or an eighth of a GPU's."""
        c = self.transformer.config
        place = 2 * c.n_layer * c.n_embd * next(self.transformer.parameters()).element_size()
        kept = place * c.n_positions * (2 if self.guidance > 1 else 1)
        each = DECODING * self.size**2 + 2 * kept  # a cache is copied
        return max(1, int(spare(self.device, DRAWING) // each))


class Dalle12B(Dalle):
    """Of DALL·E's published size."""

    depth = 64


def side_of(vae: VQModel) -> int:
    """Codes in a row of a photo."""
    return int(vae.config.sample_size // 2 ** (len(vae.config.block_out_channels) - 1))


def codes_of(vae: VQModel, pixels: Tensor) -> Tensor:
    """[B, T] codes of photos [B, 3, S, S] in -1 … 1, row by row."""
    numbers: Tensor = vae.quantize(vae.encode(pixels).latents)[2][2]
    return numbers.view(len(pixels), -1)


def chosen(logits: Tensor, noise: Tensor) -> Tensor:
    """[B] argmax of logits + noise [B, K] among the likeliest `KEPT` of K codes, at least one."""
    count = max(1, int(KEPT * logits.shape[-1]))
    least = logits.topk(count).values[:, -1:]
    return (logits.masked_fill(logits < least, -torch.inf) + noise).argmax(dim=-1)
