"""Checkpoints: a resumed run is the uninterrupted one, bit for bit, and none is ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from pscli.dialogue.schema import Photo
from pscli.dialogue.sequence import CaptionSpan, Packed
from pscli.errors import CheckpointError
from pscli.training import checkpoint
from pscli.training.checkpoint import (
    data_digest,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


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
    (tmp_path / ".step-00000001.tmp").mkdir()  # left by runs that were killed
    (tmp_path / ".step-00000007.old").mkdir()
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
        with pytest.raises(CheckpointError) as caught:
            save_checkpoint(tmp_path, net, optimizer, {"step": step})
    assert str(caught.value) == (
        f"Checkpoint {tmp_path / f'step-{step:08d}'} could not be written: No space left on "
        "device. Make room; --resume goes on from the checkpoint before."
    )
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
            assert ignore_errors  # an old one that cannot be removed ends no run
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


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    net, other = Net(), Net()
    before = contents(other, adamw(other))
    with torch.no_grad():
        net.table.weight[3, 2] = value
    saved = save_checkpoint(tmp_path, net, adamw(net), {"step": 1})
    with pytest.raises(CheckpointError, match=r"run: table\.weight has values that are no numbers"):
        load_checkpoint(saved, other, adamw(other))
    assert same(contents(other, adamw(other)), before)


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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not valid JSON: Expecting property name enclosed in double quotes at line 1, "
              "column 2."),
        ("[]", "state.json has no counters."),
        ("{}", "state.json has no counters."),
        ('{"step": "1"}', "state.json has no counters."),
        ('{"step": 1, "history": {}}', "state.json has no counters."),
        ('{"step": "1", "history": {}}', "state.json has no counters."),
        ('{"step": 1, "history": [3]}', "state.json has no counters."),
        ('{"step": 1, "history": [{"FID": 1.5, "BLEU-2": null}]}', "state.json has no counters."),
        ('{"step": 2}', "state.json is of step 2."),
        ('{"step": -1}', "state.json is of step -1."),
    ],
)  # fmt: skip
def test_counters_that_are_none_are_refused(tmp_path: Path, text: str, why: str) -> None:
    saved = save_checkpoint(tmp_path, Net(), adamw(Net()), {"step": 1})
    (saved / "state.json").write_text(text)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved, Net(), adamw(Net()))
    why = f"{saved / 'state.json'} {why}" if "JSON:" in why else why  # and not its hint
    assert caught.value.message == f"Checkpoint {saved} does not fit this run: {why}"


def test_a_run_goes_on_with_its_own_data_alone(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, Net(), adamw(Net()), {"step": 1, "data": "a"})
    for data in ("a", None):
        assert load_checkpoint(saved, Net(), adamw(Net()), data)["data"] == "a"
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved, Net(), adamw(Net()), "b")
    assert caught.value.message.endswith("run: it was trained on other dialogues.")
    unknown = save_checkpoint(tmp_path, Net(), adamw(Net()), {"step": 2})
    assert load_checkpoint(unknown, Net(), adamw(Net()), "b") == {"step": 2}


@pytest.mark.parametrize(
    ("key", "shape", "refused"),
    [
        ("conv.bias|exp_avg", (3,), False),
        ("conv.bias|exp_avg", (1,), True),
        ("conv.bias|step", (), False),
        ("bias|exp_avg", (3,), True),
        ("bias|step", (), True),
        ("frozen.bias|step", (), True),
    ],
)
def test_moments_of_another_parameter_are_refused(
    tmp_path: Path, key: str, shape: tuple[int, ...], refused: bool
) -> None:
    saved = save_checkpoint(tmp_path, Net(), adamw(Net()), {"step": 1})
    checkpoint.save_file({key: torch.zeros(shape)}, saved / "moments.safetensors")
    if not refused:
        assert load_checkpoint(saved, Net(), adamw(Net())) == {"step": 1}
        return
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved, Net(), adamw(Net()))
    assert caught.value.message.endswith(f"run: the moment {key} is of another parameter.")


def test_names_may_have_bars(tmp_path: Path) -> None:
    """The last one parts a parameter from its moment."""
    nets = [nn.ModuleDict({"a|b": nn.Linear(1, 1)}) for _ in range(2)]
    first, second = (adamw(net) for net in nets)
    nets[0]["a|b"](torch.ones(1)).backward()
    first.step()
    load_checkpoint(save_checkpoint(tmp_path, nets[0], first, {"step": 1}), nets[1], second)
    assert same(contents(nets[0], first), contents(nets[1], second))
    assert len(contents(nets[1], second)) == 2 + 2 * 3


def test_moments_lie_beside_their_parameter_but_steps_on_the_cpu(tmp_path: Path) -> None:
    """On the device "meta", which holds no numbers, for want of an accelerator."""
    net = Net()
    optimizer = adamw(net)
    steps(net, optimizer, 0, 1)
    saved = save_checkpoint(tmp_path, net, optimizer, {"step": 1})
    there = Net().to("meta")
    there.head.weight = there.table.weight
    moved = adamw(there)
    load_checkpoint(saved, there, moved)
    devices = {(kind, v.device.type) for s in moved.state.values() for kind, v in s.items()}
    assert devices == {("step", "cpu"), ("exp_avg", "meta"), ("exp_avg_sq", "meta")}


def test_only_the_chief_writes(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, Net(), adamw(Net()), {"step": 3}, chief=False)
    assert folder == tmp_path / "step-00000003" and not list(tmp_path.iterdir())


def test_shared_out_weights_are_stored_whole_and_shared_out_again(tmp_path: Path) -> None:
    """By one process that is all of its group."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        whole, net, again = Net(), Net(), Net()
        for parts in (net, again):
            shared = distribute_tensor(parts.table.weight.detach(), mesh, [Shard(1)])
            parts.table.weight = parts.head.weight = nn.Parameter(shared)
        optimizer, other = adamw(net), adamw(again)
        net.table.weight.grad = torch.ones_like(net.table.weight)
        optimizer.step()
        saved = save_checkpoint(tmp_path, net, optimizer, {"step": 1})
        load_checkpoint(saved, again, other)
        for found in (again.table.weight, other.state[again.table.weight]["exp_avg"]):
            assert isinstance(found, DTensor)
            assert found.placements == (Shard(1),) and found.device_mesh == mesh
        assert torch.equal(again.table.weight.full_tensor(), net.table.weight.full_tensor())
        plain = adamw(whole)
        load_checkpoint(saved, whole, plain)
        assert torch.equal(whole.table.weight, net.table.weight.full_tensor())
        assert torch.equal(plain.state[whole.table.weight]["exp_avg"], torch.full((5, 6), 0.1))
    finally:
        dist.destroy_process_group()


def test_data_have_a_digest_of_what_is_learnt() -> None:
    """`printf "([1, 2], [-100, 2], ['d/0'])([3], [3], [])" | b2sum -l 64`."""
    span = CaptionSpan(Photo(Image.new("RGB", (1, 1))), 0, 1, "d/0")
    first = Packed([1, 2], [-100, 2], captions=[span])
    assert data_digest([first, Packed([3], [3])]) == "2d3396956b8714f9"
    assert data_digest([first]) == "359a75151d990680"
