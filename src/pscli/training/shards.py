"""Weights shared out over processes (FSDP 2), as accelerate and torch do it.

Trained weights, their gradients and moments are. Each layer of the LLM is gathered when its turn
comes; all else at the beginning of a step, as processes without a photo do not run it: gathering
takes everybody. What a system says does not train, such as vision encoder and VAE, is whole in
every process, since each one looks at photos of its own.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping

import torch
from accelerate import Accelerator
from accelerate.parallelism_config import ParallelismConfig
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    parse_flag_from_env,
)
from torch import Tensor, nn
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor

from pscli.dialogue.batch import Batch
from pscli.errors import ConfigError
from pscli.processes import asked
from pscli.systems.base import Losses, System

KNOWN = (
    DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU,
    DistributedType.MULTI_XPU, DistributedType.FSDP,
)  # fmt: skip


def share_out(accelerator: Accelerator, system: System) -> System | None:
    """To be called before `accelerator.prepare`, which shares the weights out if it is launched so.

    Returns:
        An empty copy for `entire`; None where the weights stay whole.

    Raises:
        ConfigError: if it is launched in a way that is not supported.
    """
    plugin = _plugin(accelerator)
    if plugin is None:
        return None
    if not system.speaks:
        raise ConfigError(
            "The weights of a system without an LLM are not shared out.",
            "Launch it with --multi_gpu.",
        )
    whole = _whole(system)
    # Processes load all weights themselves, and only what we know how to share out is.
    plugin.cpu_ram_efficient_loading = plugin.activation_checkpointing = False
    plugin.mixed_precision_policy = None  # the loop's autocast does it, with float32 weights
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    plugin.transformer_cls_names_to_wrap = _layers(system.llm)
    for weight in whole:
        weight.data = weight.data.to(accelerator.device)
    plugin.ignored_modules = [nn.ParameterList(whole)]
    # Weights that are shared out have no memory of their own here.
    empty = {
        id(weight): nn.Parameter(_no_memory(weight), weight.requires_grad)
        for weight in system.parameters()
    }
    kept = {id(tensor): tensor for tensor in (*whole, *system.buffers())}
    copied = copy.deepcopy(system, empty | kept)
    _touch_alike(system)
    return copied


@contextlib.contextmanager
def entire(system: System, copied: System | None) -> Iterator[System]:
    """The system with whole weights in every process, which may then run it at its own pace.

    Replies take other numbers of forward passes in each process; gathering layer by layer would
    wait for ever. All processes must enter it.

    Args:
        copied: What `share_out` returned.
    """
    if copied is None:
        yield system
        return
    weights = dict(system.named_parameters())
    _put(
        copied,
        {n: p.full_tensor().detach() if isinstance(p, DTensor) else p for n, p in weights.items()},
    )
    copied.cache = system.cache
    copied.train(system.training)
    try:
        yield copied
    finally:
        _put(copied, {n: _no_memory(p) for n, p in weights.items() if isinstance(p, DTensor)})


def _put(system: System, tensors: Mapping[str, Tensor]) -> None:
    """Puts tensors in the places of weights; what was tied stays tied."""
    now = dict(system.named_parameters())
    new = {
        id(now[name]): t
        if isinstance(t, nn.Parameter)
        else nn.Parameter(t, now[name].requires_grad)
        for name, t in tensors.items()
    }
    for module in system.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, new.get(id(weight), weight))


def _no_memory(weight: Tensor) -> Tensor:
    """A tensor of the same shape that holds nothing."""
    return torch.empty(weight.shape, dtype=weight.dtype, device="meta")


def _plugin(accelerator: Accelerator) -> FullyShardedDataParallelPlugin | None:
    """How accelerate was told to share weights out, if it was."""
    state = accelerator.state
    wanted = parse_flag_from_env("ACCELERATE_USE_FSDP")
    if wanted and state.distributed_type == DistributedType.MULTI_CPU:
        # accelerate shares out on accelerators alone; what it calls for that runs on CPUs, too.
        state.distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
        state.parallelism_config = ParallelismConfig(dp_shard_size=state.num_processes)
        state.device_mesh = state.parallelism_config.get_device_mesh("cpu")
    if state.distributed_type not in KNOWN:
        raise ConfigError(
            f"It was launched for {state.distributed_type.value}, which is not supported.",
            "Launch it with --multi_gpu, or with --use_fsdp --fsdp_version 2.",
        )
    if state.distributed_type != DistributedType.FSDP:
        return None
    if state.fsdp_plugin.fsdp_version != 2:
        raise ConfigError("FSDP 1 is not supported.", "Launch it with --fsdp_version 2.")
    return state.fsdp_plugin


def _whole(system: System) -> list[nn.Parameter]:
    """Weights that a system says do not train."""
    parts = system.parts().items()
    prefixes = tuple(f"{name}.{prefix}" for name, part in parts for prefix in part.frozen)
    found = {name: p for name, p in system.named_parameters() if name.startswith(prefixes)}
    training = [name for name, weight in found.items() if weight.requires_grad]
    if training:
        raise ConfigError(
            f"{training[0]} and {len(training) - 1} other weights that are kept whole in every "
            "process are to train.",
            "Leave them frozen (model.frozen), or launch it with --multi_gpu.",
        )
    return list(found.values())


def _touch_alike(system: System) -> None:
    """Lets losses reach in every process what they reach in any, with gradients of 0.

    torch reduces the gradients that it finds, and must find the same ones everywhere, also where
    a micro-batch has no photo.
    """
    forward = system.forward

    def touching(batch: Batch, tau: float, seed: str) -> Losses:
        losses = forward(batch, tau, seed)
        # Layers of the LLM, which all processes run, are shared out again by now.
        weights = [p for p in system.parameters() if p.requires_grad and not isinstance(p, DTensor)]
        mine = _reached(losses)
        anyone = asked(*(id(weight) in mine for weight in weights))
        lacking = [
            weight
            for weight, reached in zip(weights, anyone, strict=True)
            if reached and id(weight) not in mine
        ]
        nothing = sum(weight.sum().float() * 0 for weight in lacking)
        return losses._replace(text=losses.text + nothing)

    system.forward = touching  # type: ignore[method-assign]


def _reached(losses: Losses) -> set[int]:
    """Ids of the weights that a backward pass comes to."""
    waiting = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        following = {node for node, _ in waiting.pop().next_functions if node is not None} - seen
        seen |= following
        waiting += following
    return {id(node.variable) for node in seen if hasattr(node, "variable")}


def _layers(llm: nn.Module) -> list[str]:
    """Names of the classes of an LLM's layers, as transformers knows them."""
    known = {type(module).__name__ for module in llm.modules()}
    named = {n for m in llm.modules() for n in getattr(m, "_no_split_modules", None) or ()}
    return sorted(known & named)
