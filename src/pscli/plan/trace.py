"""What a step holds in memory and computes, seen while it runs in fake tensors."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten
INDEXED = (
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._index_put_impl_.default,
)  # fmt: skip


def _attention(query: Any, key: Any, value: Any, *rest: Any, out_val: Any, **options: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(
    grad: Any, query: Any, key: Any, value: Any, *rest: Any, out_val: Any, **options: Any
) -> int:
    return int(sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape))


FORMULAS: dict[Any, Any] = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Trace(TorchDispatchMode):
    """Follows the storages that operations make, until they are let go.

    Shapes that depend on values are made real where we know the values: masks are, and the token
    that is likeliest is taken to be the first.

    Args:
        vocabulary: Last dimension of what counts as logits.
    """

    def __init__(self, vocabulary: int = -1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vocabulary = vocabulary
        self.flops = 0  # of multiplications and additions alike
        self.live = {"activations": 0, "logits": 0}  # bytes
        self.peak = dict(self.live)
        self.logits = 0  # bytes, at their highest
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in INDEXED:
            args = (args[0], _places(args[1]), *args[2:])
        found = func(*args, **(kwargs or {}))
        if formula := FORMULAS.get(func._overloadpacket):
            self.flops += int(formula(*args, **(kwargs or {}), out_val=found))
        if func is aten.argmax.default and isinstance(found, FakeTensor):
            return torch.zeros(found.shape, dtype=torch.long)
        for tensor in tree_leaves(found):
            if isinstance(tensor, FakeTensor):
                self._follow(tensor)
        return found

    def know(self, tensor: Tensor) -> None:
        """Leaves out what is counted elsewhere, such as a weight."""
        self._known.add(tensor.untyped_storage())

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        wide = tensor.dim() > 1 and tensor.shape[-1] == self.vocabulary
        kind, size = "logits" if wide else "activations", storage.nbytes()
        self.live[kind] += size
        weakref.finalize(storage, self._let_go, kind, size)
        self.logits = max(self.logits, self.live["logits"])
        if sum(self.live.values()) > sum(self.peak.values()):
            self.peak = dict(self.live)

    def _let_go(self, kind: str, size: int) -> None:
        self.live[kind] -= size


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Indices with the places where a real mask is true instead of the mask."""
    places: list[Tensor | None] = []
    for index in indices:
        mask = index is not None and index.dtype == torch.bool and type(index) is Tensor
        places += index.nonzero().unbind(1) if mask and index is not None else [index]
    return places
