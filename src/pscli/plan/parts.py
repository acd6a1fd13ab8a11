"""Systems without their weights: built from configuration files on the `meta` device, and then in
fake tensors.

Both have shapes and types, and no memory; fake tensors also say that they are on the CPU, so that a
system of them runs forward and backward as the real one does, in seconds at any size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniDiffuserModel,
    UniDiffuserTextDecoder,
    VQModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2QFormerModel,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights

from pscli.components.adapters import adapt, adapt_attention
from pscli.components.dalle import Dalle, side_of
from pscli.components.generator import StableDiffusion
from pscli.components.llm import LanguageModel
from pscli.components.load import Load, loading, located, refuse_unread
from pscli.components.perceptron import LinearPerceptron, QFormerPerceptron
from pscli.components.unidiffuser import UniDiffuser
from pscli.components.uvit import UViT, UViTGenerator
from pscli.components.vision import TOWERS
from pscli.components.weights import DTYPES, other_kind
from pscli.config import ModelConfig, PartConfig
from pscli.dialogue.sequence import END_IMG, IMG, PHOTO
from pscli.errors import ConfigError
from pscli.plan.files import published, settings
from pscli.registry import TABLES, find
from pscli.systems.base import System
from pscli.systems.captioner import Blip2Captioner, Captioner, learnt_together
from pscli.systems.pipeline import Pipeline

MARKS = (IMG, END_IMG, PHOTO)
UVITS = ("uvit", "uvit-small", "uvit-small-deep")
DALLES = ("dalle", "dalle-12b")
KINDS = ("causal", "qformer", "linear", "stable-diffusion", *UVITS, "unidiffuser-v1", *DALLES)


def by_name(part: PartConfig) -> bool:
    """Whether a part's size is that of its kind: the registry names some, whose weights nobody
    needs to know it."""
    return part.weights in TABLES["weights"] and part.kind in published()


def imagined(name: str, model: ModelConfig) -> System:
    """A system in fake tensors, frozen as it will be.

    Raises:
        ConfigError: if a part is not one of ours, so that nobody knows how large it is.
        CheckpointError: if a part's configuration files are not within reach.
    """
    load = Imagined(model)
    with torch.device("meta"), no_init_weights(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of what the libraries call themselves
        kind = find("system", name)
        refuse_unread(model, kind.uses)
        if issubclass(kind, Pipeline):
            system: System = kind.around(load.captioner(), load)
        else:
            system = kind.build(model, load)
        system.freeze(model.frozen).before_training()
    return faked(system).train()


def faked(system: System) -> System:
    """The system with fake tensors instead of those on `meta`; tied ones stay tied."""
    known: dict[int, Any] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in system.modules():
            for kept in (module._parameters, module._buffers):
                for name, old in kept.items():
                    if old is not None and old.is_meta:
                        kept[name] = known.setdefault(id(old), _faked(old))
    return system


def _faked(old: Tensor) -> Tensor:
    new = torch.empty_strided(old.shape, old.stride(), dtype=old.dtype, device="cpu")
    return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new


class Imagined(Load):
    """Gives a system its parts on the `meta` device."""

    def __call__(self, part: str, **options: Any) -> Any:
        named: PartConfig = getattr(self.config, part)
        if named.kind not in KINDS:
            raise ConfigError(
                f"Nobody knows how large the {part} '{named.kind}' is.",
                "Only parts of the package can be planned.",
            )
        kinds: dict[str, Any] = {
            "llm": language_model, "perceptron": perceptron, "generator": generator,
        }  # fmt: skip
        place = named.kind if by_name(named) else located(named.weights, part)
        more = options if part == "llm" else {}
        with loading(part, place):
            made: Any = kinds[part](self.config, named, place, **more)
        return made

    def pretrained(self, part: str, **options: Any) -> Any:
        return self(part)

    def captioner(self) -> Captioner | Blip2Captioner:
        """As `load_captioner` gives it to a pipeline."""
        named = self.config.perceptron
        pairs = settings(located(named.weights, "perceptron"), "config.json", named.revision)
        if pairs.get("model_type") == "blip-2":
            whole: Any = Blip2ForConditionalGeneration(Blip2Config(**pairs))
            whole.tie_weights()
            return Blip2Captioner(whole.to(DTYPES[named.dtype]), None)
        load = replace(self, config=learnt_together(self.config))
        return Captioner(load("perceptron"), load("llm"), self.config.captions)


def language_model(
    model: ModelConfig, part: PartConfig, place: str, marks: Sequence[str] = ()
) -> LanguageModel:
    """The LLM with rows for the marks of our template, and more of them."""
    config = llm_config(part, place)
    text = config.get_text_config()
    tokenizer: Any = stand_in()
    if (Path(place) / "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(place)
        padding = [] if tokenizer.pad_token else ["<pad>"]
        new = {*MARKS, *marks, *padding} - set(tokenizer.get_vocab())
        text.vocab_size = max(text.vocab_size, len(tokenizer) + len(new))
    else:
        text.vocab_size += len(MARKS) + len(marks) + lacks_padding(part, place)
    made = AutoModelForCausalLM.from_config(config, dtype=DTYPES[part.dtype])
    made.tie_weights()  # no_init_weights leaves that out
    llm = LanguageModel(made, tokenizer, marks)
    llm.learn_marks()  # the rows are there
    if part.lora:
        llm._adapters = [adapt(made, part.lora, llm.new_rows())]
    return llm


def llm_config(part: PartConfig, place: str) -> Any:
    """The configuration of an LLM in a folder, a GGUF file, or under an id."""
    if Path(place).suffix == ".gguf":
        return AutoConfig.from_pretrained(str(Path(place).parent), gguf_file=Path(place).name)
    pairs = settings(place, "config.json", part.revision)
    return AutoConfig.for_model(pairs.pop("model_type"), **pairs)


def lacks_padding(part: PartConfig, place: str) -> bool:
    """Whether the tokenizer under an id needs a token for padding. GGUF files have one."""
    if Path(place).suffix == ".gguf":
        return False
    return settings(place, "tokenizer_config.json", part.revision).get("pad_token") is None


def perceptron(
    model: ModelConfig, part: PartConfig, place: str
) -> QFormerPerceptron | LinearPerceptron:
    """The perceptron, as wide as the LLM."""
    llm = located(model.llm.weights, "llm")
    width = int(llm_config(model.llm, llm).get_text_config().hidden_size)
    pairs = settings(place, "config.json", part.revision)
    own = "perceptron" in pairs  # a folder that we wrote
    vision = tower(settings(place, "vision/config.json") if own else pairs, part.dtype)
    if part.kind == "linear":
        return LinearPerceptron(vision, width)
    seer = settings(place, "qformer/config.json") if own else pairs.get("qformer_config", {})
    qformer = Blip2QFormerModel(Blip2QFormerConfig(**seer))
    return QFormerPerceptron(
        vision, qformer, int(pairs["length"] if own else pairs["num_query_tokens"]), width
    )


def tower(pairs: dict[str, Any], dtype: str) -> Any:
    """A vision model from its own configuration, or from that of a model that has one."""
    family = pairs.get("model_type", "")
    if family != "blip-2" and family not in TOWERS:
        raise ConfigError(f"A '{family}' is no vision model.", f"Known: {', '.join(TOWERS)}.")
    kind: Any = getattr(transformers, TOWERS.get(family, "Blip2VisionModel"))
    config = kind.config_class(**pairs.get("vision_config", pairs))
    return kind(config).to(DTYPES[dtype])


def generator(model: ModelConfig, part: PartConfig, place: str) -> StableDiffusion | Dalle:
    """A Stable Diffusion pipeline, one with a U-ViT, UniDiffuser, or one of DALL·E's kind."""
    uvit = part.kind in UVITS
    kind: Any = UViTGenerator if uvit else StableDiffusion
    denoiser: Any = UViT if uvit else UNet2DConditionModel

    def of(name: str) -> dict[str, Any]:
        file = "scheduler_config" if name == "scheduler" else "config"
        return settings(place, f"{name}/{file}.json", part.revision)

    if part.kind == "unidiffuser-v1":
        return unidiffuser(model, of)
    if part.kind in DALLES:
        return dalle(model, of)
    predictor = of("unet")
    if uvit:
        find("generator", part.kind).expect(predictor)
    elif (found := predictor.get("_class_name", denoiser.__name__)) != denoiser.__name__:
        raise other_kind(f"Its unet is a {found} and no {denoiser.__name__}.")
    text = CLIPTextConfig(**of("text_encoder"))
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_config(of("vae")).eval(),
        text_encoder=CLIPTextModel(text),
        tokenizer=stand_in(text.max_position_embeddings),
        unet=denoiser.from_config(predictor),
        scheduler=DDPMScheduler.from_config(of("scheduler")),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    with torch.device("cpu"):  # where its scheduler's tables are
        made: StableDiffusion = kind(pipeline, snr_gamma=model.snr_gamma, steps=model.draw_steps)
    if part.lora:
        adapt_attention(made.to(DTYPES[part.dtype]).unet, part.lora)
    return made


def unidiffuser(model: ModelConfig, of: Callable[[str], dict[str, Any]]) -> UniDiffuser:
    """UniDiffuser. Args: of: Gives the configuration of a part."""
    text = CLIPTextConfig(**of("text_encoder"))
    seer = CLIPVisionConfig(**of("image_encoder"))
    decoder = UniDiffuserTextDecoder.from_config(of("text_decoder"))
    decoder.transformer.tie_weights()  # no_init_weights leaves that out
    parts = {
        "vae": AutoencoderKL.from_config(of("vae")).eval(),
        "text_encoder": CLIPTextModel(text),
        "image_encoder": CLIPVisionModelWithProjection(seer),
        "clip_image_processor": CLIPImageProcessor(size=seer.image_size, crop_size=seer.image_size),
        "clip_tokenizer": stand_in(text.max_position_embeddings),
        "text_decoder": decoder,
        "text_tokenizer": stand_in(),
        "unet": UniDiffuserModel.from_config(of("unet")),
        "scheduler": DDPMScheduler.from_config(of("scheduler")),
    }
    with torch.device("cpu"):  # where its scheduler's tables are
        return UniDiffuser(parts, snr_gamma=model.snr_gamma, steps=model.draw_steps)


def dalle(model: ModelConfig, of: Callable[[str], dict[str, Any]]) -> Dalle:
    """A generator of DALL·E's kind. Args: of: Gives the configuration of a part."""
    vae = VQModel.from_config(of("vae")).eval()
    transformer = GPT2LMHeadModel(GPT2Config(**of("transformer")))
    transformer.tie_weights()  # no_init_weights leaves that out
    words = transformer.config.n_positions + 1 - side_of(vae) ** 2
    return Dalle(vae, transformer, stand_in(words), guidance=model.guidance)


def stand_in(length: int = 1_000_000) -> PreTrainedTokenizerFast:
    """A tokenizer of words, for what only asks how many tokens there are."""
    known = ["<unk>", "<s>", "</s>", "<pad>", *MARKS]
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>", additional_special_tokens=list(MARKS), model_max_length=length,
    )  # fmt: skip


def stands_in(tokenizer: Any) -> bool:
    """Whether a tokenizer is not the LLM's own."""
    return int(tokenizer.vocab_size) <= 4 + len(MARKS)  # without what it was taught
