"""UniDiffuser as a generator: one transformer for the noise in photos and in words.

Sun et al. (2023), §2.2, Eq. 1, Algorithms 1 and 2, after Bao et al. (2023), *One Transformer Fits
All Distributions in Multi-Modal Diffusion at Scale*. The models are diffusers' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UniDiffuserModel,
    UniDiffuserTextDecoder,
)
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from PIL.Image import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    GPT2Tokenizer,
)

from pscli.components.generator import StableDiffusion, added_to_token_embedding
from pscli.components.vision import Pixels
from pscli.components.weights import forget_places, refuse_lacking, whole
from pscli.errors import ConfigError
from pscli.files import write_json

# B photos, C×H×W latents, E width of a photo's CLIP embedding, X = C·H·W + E numbers of a photo,
# N tokens, Y width of their embeddings

FIRST = 1  # noise level that schedulers call 0: at level 0 nothing is noisy
OWN_DATA = 1  # `data_type` of UniDiffuser-v1: the weights from its own, cleaner photos


@dataclass(frozen=True)
class JointNoise:
    """What the joint diffusion of B photos and their words draws at random.

    Args:
        photos: [B, X] standard normal, ε^x.
        words: [B, N, Y] likewise, ε^y.
        photo_levels, word_levels: [B] t^x and t^y, uniform over 1 … T, apart from each other.
    """

    photos: Tensor
    words: Tensor
    photo_levels: Tensor
    word_levels: Tensor


class UniDiffuser(StableDiffusion):
    """Draws photos from words, and learns from both together.

    A photo is x = [x^AE, x^CLIP]: latents of the autoencoder and CLIP's embedding of it. Words are
    y: the text encoder's output, made narrower by the first layer of the text decoder.

    Args:
        parts: Those of diffusers' pipeline, by their names in its folder.
        guidance: Scale of classifier-free guidance when drawing; words that are nothing but noise
            stand for none. Bao et al. count it from 0, this one from 1.
        steps: Denoising steps when drawing (DPM-Solver++).

    Raises:
        ConfigError: if steps are to be weighed by `snr_gamma`: Eq. 1 weighs them alike.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        *,
        snr_gamma: float | None = None,
        guidance: float = 8.0,
        steps: int = 50,
    ) -> None:
        nn.Module.__init__(self)
        if snr_gamma is not None:
            raise ConfigError(
                "UniDiffuser's joint loss (Eq. 1) weighs all noise levels alike.",
                "Train it with --set model.snr_gamma=null.",
            )
        self.tokenizer = parts["clip_tokenizer"]
        self.text_encoder, self.text_decoder = parts["text_encoder"], parts["text_decoder"]
        self.vae, self.image_encoder = parts["vae"], parts["image_encoder"]
        self.unet = parts["unet"]
        self.scheduler = DDPMScheduler.from_config(parts["scheduler"].config)
        self.guidance, self.steps = guidance, steps
        self.pixels = Pixels(0, parts["clip_image_processor"])
        self.writing = parts["text_tokenizer"]  # kept for its folder
        # In a tuple, as torch would count its weights twice.
        self._encoder = (nn.ModuleList([self.vae, self.image_encoder]),)

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        *,
        variant: str | None = None,
        dtype: str = "float32",
        **options: Any,
    ) -> Self:
        """Loads a folder or hub id in the layout of diffusers' pipeline.

        Args:
            dtype: Of what does not train; all of it is float32.
        """
        at: dict[str, Any] = {"revision": revision}
        parts: dict[str, Any] = {
            name: whole(kind, place, subfolder=name, variant=variant, dtype=torch.float32, **at)
            for name, kind in MODELS.items()
            if name != "text_decoder"
        }
        parts["text_decoder"] = decoder(place, variant=variant, **at)
        parts |= {
            name: kind.from_pretrained(str(place), subfolder=name, **at)
            for name, kind in OTHERS.items()
        }
        return cls(parts, **options)

    def save_pretrained(self, folder: Path) -> None:
        """Writes a folder in the layout of diffusers' pipeline, without the paths that its parts
        were loaded from."""
        parts = self.parts()
        for name, part in parts.items():
            if name != "text_decoder":
                part.save_pretrained(folder / name)
        # Two of its weights are one, of which safetensors need two, and diffusers wants both.
        self.text_decoder.save_config(folder / "text_decoder")
        weights = {name: w.clone() for name, w in self.text_decoder.state_dict().items()}
        save_file(weights, folder / "text_decoder" / SAFETENSORS_WEIGHTS_NAME)
        forget_places(folder, ("vae", "text_decoder", "unet"))
        index: dict[str, Any] = {
            name: [type(part).__module__.partition(".")[0], type(part).__name__]
            for name, part in parts.items()
        }
        write_json(folder / "model_index.json", {"_class_name": "UniDiffuserPipeline", **index})

    def parts(self) -> dict[str, Any]:
        """Those of diffusers' pipeline, by name."""
        return {name: getattr(self, name) for name in MODELS} | {
            "clip_image_processor": self.pixels.processor,
            "clip_tokenizer": self.tokenizer,
            "text_tokenizer": self.writing,
            "scheduler": DPMSolverMultistepScheduler.from_config(self.scheduler.config),
        }

    @property
    def encoder(self) -> nn.Module:
        """Autoencoder and CLIP's image encoder."""
        return self._encoder[0]

    # -- training ----------------------------------------------------------------------------

    @property
    def reads(self) -> None:
        """Its loss is of words, too."""

    @torch.no_grad()
    def latents(self, photos: Sequence[Image]) -> Tensor:
        """[B, X] photos as x_0."""
        pixels = self.pixels(photos).to(self.device, self.image_encoder.dtype)
        seen: Tensor = self.image_encoder(pixels).image_embeds
        return torch.cat([super().latents(photos).flatten(1), seen.float()], dim=1)

    def words(self, ids: Tensor) -> Tensor:
        """[B, N, Y] ids as y_0."""
        found: Tensor = self.text_decoder.encode(self.text_encoder(ids)[0])
        return found

    def draw_noise(  # type: ignore[override]
        self, generators: Sequence[torch.Generator]
    ) -> JointNoise:
        """The noise of one training step, one seeded generator a photo (Algorithm 1, lines 3-4)."""
        levels = self.scheduler.config.num_train_timesteps
        drawn = [
            (
                torch.randn(self._numbers, generator=g),
                torch.randn(self.unet.num_text_tokens, self.unet.config.text_dim, generator=g),
                torch.randint(1, levels + 1, (), generator=g),
                torch.randint(1, levels + 1, (), generator=g),
            )
            for g in generators
        ]
        return JointNoise(*(torch.stack(x).to(self.device) for x in zip(*drawn, strict=True)))

    def losses(  # type: ignore[override]
        self, ids: Tensor, latents: Tensor, noise: JointNoise, residual: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """[B] Eq. 1, a mean over the numbers of a photo and its words.

        Args:
            ids: [B, N] CLIP ids.
            latents: [B, X] gold photos.
            residual: [B, N, D] added to the input embeddings of the text encoder.
            weights: Of places of a photo; there are none here.

        Raises:
            ConfigError: if places are to be weighed.
        """
        if weights is not None:
            raise ConfigError("UniDiffuser's joint loss weighs all places of a photo alike.")
        with added_to_token_embedding(self.text_encoder, residual):
            words = self.words(ids)
        photos = self._noisy(latents, noise.photos, noise.photo_levels)
        noisy_words = self._noisy(words, noise.words, noise.word_levels)
        found, told = self.predict(photos, noisy_words, noise.photo_levels, noise.word_levels)
        errors = [(found - noise.photos), (told - noise.words).flatten(1)]
        return torch.cat(errors, dim=1).pow(2).mean(1)

    def _noisy(self, clean: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε (Algorithm 1, lines 5-6)."""
        noisy: Tensor = self.scheduler.add_noise(clean, noise, levels - FIRST)
        return noisy

    def predict(
        self, photos: Tensor, words: Tensor, photo_levels: Tensor | int, word_levels: Tensor | int
    ) -> tuple[Tensor, Tensor]:
        """ε_θ(x, y, t^x, t^y): [B, X] of noisy photos, and [B, N, Y] of noisy words."""
        c = self.unet.config
        latents, seen = photos.split([self._numbers - c.clip_img_dim, c.clip_img_dim], dim=1)
        latents = latents.unflatten(1, (c.in_channels, c.sample_size, c.sample_size))
        drawn, embedded, told = self.unet(
            latents, seen[:, None], words, timestep_img=photo_levels, timestep_text=word_levels,
            data_type=OWN_DATA,
        )  # fmt: skip
        return torch.cat([drawn.flatten(1), embedded.flatten(1)], dim=1).float(), told.float()

    @property
    def _numbers(self) -> int:
        c = self.unet.config
        return int(c.in_channels * c.sample_size**2 + c.clip_img_dim)

    # -- drawing -----------------------------------------------------------------------------

    @torch.no_grad()
    def draw(  # type: ignore[override]
        self, captions: Sequence[str], generators: Sequence[torch.Generator]
    ) -> list[Image]:
        """One photo a caption, as many together as fit; seeded by one generator a photo."""
        solver = DPMSolverMultistepScheduler.from_config(self.scheduler.config)
        drawn: list[Image] = []
        for start in range(0, len(captions), self.together):
            some = slice(start, start + self.together)
            words = self.words(self.tokenize(captions[some])[0])
            photos = self.sample(words, generators[some], solver)
            c = self.unet.config
            latents = photos[:, : -c.clip_img_dim].unflatten(1, (-1, *[c.sample_size] * 2))
            scaled = latents.to(self.vae.dtype) / self.vae.config.scaling_factor
            pixels = self.vae.decode(scaled).sample
            drawn += VaeImageProcessor().postprocess(pixels)
        return drawn

    @torch.no_grad()
    def sample(self, words: Tensor, generators: Sequence[torch.Generator], solver: Any) -> Tensor:
        """[B, X] photos x_0 given words y_0, for which t^y = 0 (Algorithm 2).

        Args:
            words: [B, N, Y].
            generators: One a photo, for all that is random.
            solver: A scheduler of diffusers, for what comes after ε^x. The ancestral one is
                Algorithm 2 to the letter; DPM-Solver is what §3.3 draws with.
        """
        solver.set_timesteps(self.steps, device=self.device)
        c = self.unet.config
        shapes = (c.in_channels, c.sample_size, c.sample_size), (1, c.clip_img_dim)
        parts = [torch.stack([torch.randn(s, generator=g) for g in generators]) for s in shapes]
        photos = torch.cat([part.flatten(1) for part in parts], dim=1).to(self.device)
        photos = photos * solver.init_noise_sigma
        ancestral = isinstance(solver, DDPMScheduler)
        for step in solver.timesteps:
            noise, _ = self.predict(photos, words, step + FIRST, 0)
            if self.guidance > 1:
                nothing = torch.stack(
                    [torch.randn(words.shape[1:], generator=g) for g in generators]
                )
                levels = self.scheduler.config.num_train_timesteps
                alone, _ = self.predict(photos, nothing.to(words), step + FIRST, levels)
                noise = self.guidance * noise + (1 - self.guidance) * alone
            more = {"generator": list(generators)} if ancestral else {}
            photos = solver.step(noise, step, photos, **more).prev_sample
        clean: Tensor = photos
        return clean


def decoder(place: str | Path, **at: Any) -> UniDiffuserTextDecoder:
    """The text decoder. Its first and last layer share weights, of which folders hold one or both.

    Raises:
        ValueError: if others are missing.
    """
    model, found = UniDiffuserTextDecoder.from_pretrained(
        str(place), subfolder="text_decoder", use_safetensors=True, output_loading_info=True, **at
    )
    first, last = model.transformer.get_input_embeddings(), model.transformer.lm_head
    tied = {"transformer.transformer.wte.weight": last, "transformer.lm_head.weight": first}
    missing = set(found["missing_keys"])
    both = missing >= set(tied)
    refuse_lacking({*missing, *found.get("mismatched_keys", ())} - (set() if both else set(tied)))
    kept = next((layer for name, layer in tied.items() if name in missing), first)
    first.weight = last.weight = kept.weight
    return model


MODELS: dict[str, Any] = {
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "image_encoder": CLIPVisionModelWithProjection,
    "text_decoder": UniDiffuserTextDecoder,
    "unet": UniDiffuserModel,
}
OTHERS: dict[str, Any] = {
    "clip_image_processor": CLIPImageProcessor,
    "clip_tokenizer": CLIPTokenizer,
    "text_tokenizer": GPT2Tokenizer,
    "scheduler": DPMSolverMultistepScheduler,
}
