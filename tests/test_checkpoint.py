"""Checkpoints: a resumed run is the uninterrupted one, bit for bit, and none is ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pscli.errors import CheckpointError
from pscli.training import checkpoint
from pscli.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint


class Net(nn.Module):
    """Frozen, tied and channels-last weights: what the systems are made of."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.conv = nn.Conv2d(2, 3, 2).to(memory_format=torch.channels_last)
        self.table = nn.Embedding(5, width)
        self.head = nn.Linear(width, 5, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        images = self.frozen(x).reshape(-1, 2, 2, 1).expand(-1, 2, 2, 2)
        return self.head(self.conv(images).flatten(1).repeat(1, 2)).square().mean()


def adamw(net: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.05)


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        data = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        net(data).backward()
        optimizer.step()


def contents(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = {id(p): n for n, p in net.named_parameters()}
    moments = {
        f"{names[id(p)]}|{key}": value.clone()
        for p, values in optimizer.state.items()
        for key, value in values.items()
    }
    return {n: p.detach().clone() for n, p in net.named_parameters()} | moments


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_resumed_run_is_bit_identical(tmp_path: Path) -> None:
    whole = Net()
    optimizer = adamw(whole)
    steps(whole, optimizer, 0, 7)

    first = Net()
    first_optimizer = adamw(first)
    steps(first, first_optimizer, 0, 3)
    state = {"step": 3, "history": [{"step": 3, "bleu2": 0.1 + 0.2, "fid": 1e300}]}
    saved = save_checkpoint(tmp_path, first, first_optimizer, state)
    assert saved == latest_checkpoint(tmp_path) == tmp_path / "step-00000003"

    resumed = Net()
    resumed_optimizer = adamw(resumed)
    assert load_checkpoint(saved, resumed, resumed_optimizer) == state
    assert same(contents(resumed, resumed_optimizer), contents(first, first_optimizer))
    steps(resumed, resumed_optimizer, 3, 7)
    assert same(contents(resumed, resumed_optimizer), contents(whole, optimizer))
    assert len(contents(whole, optimizer)) == 5 + 3 * 3  # every trainable parameter has moments


def test_without_its_moments_a_run_would_differ(tmp_path: Path) -> None:
    """That the test above can fail: weights alone are not the state."""
    whole, resumed = Net(), Net()
    optimizer = adamw(whole)
    steps(whole, optimizer, 0, 3)
    resumed.load_state_dict(whole.state_dict())
    fresh = adamw(resumed)
    steps(whole, optimizer, 3, 5)
    steps(resumed, fresh, 3, 5)
    assert not torch.equal(whole.head.weight, resumed.head.weight)


def test_frozen_weights_are_not_stored_and_nothing_is_pickled(tmp_path: Path) -> None:
    net = Net()
    optimizer = adamw(net)
    steps(net, optimizer, 0, 1)
    folder = save_checkpoint(tmp_path, net, optimizer, {"step": 1})
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["moments.safetensors", "state.json", "weights.safetensors"]
    from safetensors.torch import load_file

    assert set(load_file(folder / "weights.safetensors")) == {
        "conv.weight", "conv.bias", "table.weight"
    }  # fmt: skip


def test_only_the_newest_is_kept_and_leftovers_are_removed(tmp_path: Path) -> None:
    net = Net()
    optimizer = adamw(net)
    (tmp_path / ".step-00000001.tmp").mkdir()  # left by a run that was killed
    for step in (1, 2, 10, 10):
        save_checkpoint(tmp_path, net, optimizer, {"step": step})
        assert latest_checkpoint(tmp_path) == tmp_path / f"step-{step:08d}"
        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("broken", ["save_file", "replace"])
@pytest.mark.parametrize("step", [5, 6])
def test_a_save_that_breaks_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, step: int
) -> None:
    net = Net()
    optimizer = adamw(net)
    steps(net, optimizer, 0, 2)
    older = contents(net, optimizer)
    save_checkpoint(tmp_path, net, optimizer, {"step": 5})
    steps(net, optimizer, 2, 4)

    def fail(*arguments: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint if broken == "save_file" else os, broken, fail)
        with pytest.raises(CheckpointError, match="No space"):
            save_checkpoint(tmp_path, net, optimizer, {"step": step})
    newest = latest_checkpoint(tmp_path)
    assert newest == tmp_path / "step-00000005"
    loaded = Net()
    loaded_optimizer = adamw(loaded)
    assert load_checkpoint(newest, loaded, loaded_optimizer) == {"step": 5}
    assert same(contents(loaded, loaded_optimizer), older)


def test_older_checkpoints_go_only_when_the_new_one_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    optimizer = adamw(net)
    save_checkpoint(tmp_path, net, optimizer, {"step": 1})
    removed = []
    rmtree = checkpoint.shutil.rmtree

    def watch(path: Path, ignore_errors: bool = False) -> None:
        if path.exists():
            newest = latest_checkpoint(tmp_path)
            assert newest is not None and newest.name == "step-00000002"
            load_checkpoint(newest, Net(), adamw(Net()))
            removed.append(path.name)
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(checkpoint.shutil, "rmtree", watch)
    save_checkpoint(tmp_path, net, optimizer, {"step": 2})
    assert removed == ["step-00000001"]


def test_there_may_be_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "none") is None
    (tmp_path / ".step-00000009.tmp").mkdir()
    assert latest_checkpoint(tmp_path) is None


class Other(Net):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(1, 1, bias=False)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    net = Net()
    optimizer = adamw(net)
    steps(net, optimizer, 0, 1)
    saved = save_checkpoint(tmp_path, net, optimizer, {"step": 1})
    hint = "Resume with the data and configuration it was trained with, or start a new run."
    other = Other()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved, other, adamw(other))
    differ = "1 parameters differ, such as more.weight."
    assert str(caught.value) == f"Checkpoint {saved} does not fit this run: {differ} {hint}"
    wider = Net(width=7)
    before = wider.conv.weight.clone()
    with pytest.raises(CheckpointError, match=r"table\.weight has another shape"):
        load_checkpoint(saved, wider, adamw(wider))
    assert torch.equal(wider.conv.weight, before)


def test_weights_of_one_row_are_not_spread_over_many(tmp_path: Path) -> None:
    narrow, wide = nn.Linear(1, 1), nn.Linear(1, 3)
    saved = save_checkpoint(tmp_path, narrow, adamw(narrow), {"step": 1})
    with pytest.raises(CheckpointError, match="has another shape"):
        load_checkpoint(saved, wide, adamw(wide))


@pytest.mark.parametrize("name", ["weights.safetensors", "moments.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    net = Net()
    optimizer = adamw(net)
    steps(net, optimizer, 0, 1)
    saved = save_checkpoint(tmp_path, net, optimizer, {"step": 1})
    whole = (saved / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", None):
        (saved / name).unlink()
        if damaged is not None:
            (saved / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match="does not fit this run"):
            load_checkpoint(saved, Net(), adamw(Net()))
        (saved / name).write_bytes(b"")
