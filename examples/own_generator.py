"""A generator of one's own, for `pscli train-e2e --generator own_generator:Plain`."""

from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_model, save_model
from torch.nn import Embedding, Identity, Linear, Sequential
from torchvision.transforms.functional import to_tensor
from transformers import CLIPTokenizer


class Plain(Sequential):  # word embeddings, then the one colour to paint in
    encoder = Identity()  # a photo's mean colour needs no weights
    embeddings = property(lambda self: self[0].weight)
    latents = staticmethod(lambda photos: torch.stack([to_tensor(p).mean((1, 2)) for p in photos]))
    draw_noise = staticmethod(lambda generators: None)

    @classmethod
    def from_pretrained(cls, place, revision=None, **options):
        plain = cls(Embedding(1000, 16), Linear(16, 3))
        plain.tokenizer = CLIPTokenizer.from_pretrained(place, subfolder="tokenizer")
        if Path(place, "plain.safetensors").is_file():
            load_model(plain, Path(place, "plain.safetensors"))
        return plain

    def save_pretrained(self, folder):
        self.tokenizer.save_pretrained(folder / "tokenizer")
        save_model(self, folder / "plain.safetensors")

    def tokenize(self, captions):
        tokens = self.tokenizer(captions, padding="max_length", return_tensors="pt")
        return tokens.input_ids, tokens.attention_mask.bool()

    def losses(self, ids, latents, noise, residual=0):
        return (self[1]((self[0](ids) + residual).mean(1)) - latents).pow(2).mean(1)

    def draw(self, captions, generators):
        rows = [self[1](self[0](self.tokenize([c])[0]).mean(1))[0].sigmoid() for c in captions]
        return [Image.new("RGB", (64, 64), tuple((255 * r).int().tolist())) for r in rows]
