"""The Q-Former's table of positions: what it is for, and that it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pscli.components.perceptron import QFormerPerceptron


@pytest.mark.parametrize("placed", [False, True])
def test_a_q_former_knows_the_order_of_patches_by_its_table_alone(build: Any, placed: bool) -> None:
    """Attention is a sum over patches: without positions it cannot tell one order from another."""
    seer = build.perceptron()
    table = seer.vision.embeddings.position_embedding.detach()[0]
    if placed:
        seer.places = torch.nn.Parameter(torch.randn_like(table))
    patches = torch.randn(2, *table.shape, generator=torch.Generator().manual_seed(0))
    turned = patches.flip(1)
    with torch.no_grad():
        assert torch.allclose(seer(patches), seer(turned), atol=1e-5) is not placed


def test_the_table_is_kept_and_trains(build: Any, tmp_path: Path) -> None:
    plain = build.perceptron()
    table = torch.randn_like(plain.vision.embeddings.position_embedding.detach()[0])
    seer = QFormerPerceptron(
        plain.vision, plain.qformer, plain.length, plain.width, plain.pixels, table
    ).eval()
    seer.save_pretrained(tmp_path)
    again = QFormerPerceptron.from_pretrained(tmp_path).eval()
    assert again.places is not None and torch.equal(again.places, table)
    patches = torch.randn(1, *table.shape)
    assert torch.equal(again(patches), seer(patches))
    again(patches).sum().backward()
    assert again.places.grad is not None and again.places.grad.any()

    plain.save_pretrained(tmp_path / "plain")
    assert QFormerPerceptron.from_pretrained(tmp_path / "plain").places is None
