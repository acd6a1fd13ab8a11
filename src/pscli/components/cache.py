"""What frozen parts make of photos, computed once: vision features and VAE latents.

A value is found by the content of its photo and the weights that made it. Each photo is computed
alone, so that its value does not depend on who was beside it in a batch, and a resumed run, or one
with other micro-batches, sees the same bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from pscli.dialogue.schema import Photo
from pscli.rows import Rows

Compute = Callable[[Sequence[Image]], Tensor]


class Cache:
    """Values of photos: in memory, or in a folder for runs that outlive memory.

    Args:
        folder: Where values are kept; in memory if None.
        limit: Bytes that it may hold; what exceeds them is computed each time.
    """

    def __init__(self, folder: Path | None = None, limit: float = 1 << 30) -> None:
        self.folder, self.limit = folder, limit
        self._tables: dict[str, _Table] = {}
        self._weights: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
        self._photos: dict[object, bytes] = {}

    def __call__(self, module: nn.Module, photos: Sequence[Photo], compute: Compute) -> Tensor:
        """[P, …] what `compute` makes of P >= 1 photos; kept if `module`, which it uses, is frozen.

        Args:
            compute: From decoded photos; called with one at a time.
        """
        if any(p.requires_grad for p in module.parameters()):
            return compute([photo.open() for photo in photos])
        table = self._table(module, compute)
        found = []
        for photo in photos:
            key = self._key(photo)
            value = table.get(key)
            if value is None:
                with torch.no_grad():
                    value = compute([photo.open()])[0].cpu()
                if sum(t.size for t in self._tables.values()) < self.limit:
                    table.put(key, value)
            found.append(value)
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        return torch.stack(found).to(device)

    def _table(self, module: nn.Module, compute: Compute) -> _Table:
        if module not in self._weights:
            self._weights[module] = fingerprint(module)
        name = f"{getattr(compute, '__qualname__', 'values')}-{self._weights[module]}"
        if name not in self._tables:
            self._tables[name] = _Table(self.folder / name if self.folder else None)
        return self._tables[name]

    def _key(self, photo: Photo) -> bytes:
        """Digest of a photo's content; a file that has not changed is read but once."""
        source = photo.source
        known: object = source
        if isinstance(source, Path):
            if not source.is_file():
                photo.open()  # says what is wrong with it
            stat = source.stat()
            known = (source, stat.st_size, stat.st_mtime_ns)
        elif isinstance(source, Image):
            seen = photo.open()  # with the colours of a palette
            return digest(str(seen.size).encode(), seen.tobytes())
        if known not in self._photos:
            self._photos[known] = digest(_content(source))
        return self._photos[known]

    def __deepcopy__(self, memo: dict[int, Any]) -> Cache:
        return Cache()  # a copied system has other weights


def _content(source: Any) -> bytes:
    if isinstance(source, Path):
        return source.read_bytes()
    if dataclasses.is_dataclass(source):  # says itself what it would draw
        return repr(source).encode()
    return bytes(source.draw().tobytes())


class _Table:
    """Tensors of one shape by key."""

    def __init__(self, path: Path | None) -> None:
        self._memory: dict[bytes, Tensor] = {}
        self._rows = Rows(path) if path else None
        self.size = self._rows.size if self._rows else 0

    def get(self, key: bytes) -> Tensor | None:
        if self._rows is None:
            return self._memory.get(key)
        data = self._rows.get(key)
        if data is None:
            return None
        kind, *shape = self._rows.note.split(",")
        flat = torch.frombuffer(bytearray(data), dtype=getattr(torch, kind))
        return flat.view([int(n) for n in shape])

    def put(self, key: bytes, value: Tensor) -> None:
        if self._rows is None:
            self._memory[key] = value
        else:
            data = value.contiguous().view(torch.uint8).numpy().tobytes()
            kind = str(value.dtype).removeprefix("torch.")
            self._rows.put(key, data, ",".join([kind, *map(str, value.shape)]))
        self.size += value.nbytes


def digest(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.digest()


def fingerprint(module: nn.Module) -> str:
    """A short text that changes when a weight of a module does."""
    found = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(module.state_dict().items()):
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        found.update(np.asarray(raw).data)
    return found.hexdigest()
