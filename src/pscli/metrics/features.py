"""Features of photos as an extractor sees them, in batches, and kept on disk by their content."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pscli.errors import ConfigError
from pscli.metrics.extractor import Classifier, Extractor, load, seen_by
from pscli.rows import SharedRows, user_cache

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BATCH = 64  # torch-fidelity's, so that sums are rounded as it rounds them
VALUES = BATCH * 3 * 1024 * 1024  # of the pixels decoded at a time
LIMIT = 1 << 30  # bytes of all features that are kept
Photos = Sequence[tuple[Path, str]]  # files, and the ids of their instances


class Eyes:
    """An extractor that is loaded when it sees its first photo.

    Features of one that has an `identity` are kept in the user's cache, found by the bytes of the
    file and all that they depend on; those of anyone's own network, whose code may change, are not.

    Args:
        name: Of the extractor.
        device: Where it computes: `cpu`, `cuda`, `auto` …
        limit: Bytes of all features that are kept.

    Raises:
        ConfigError: if there is no such device.
    """

    def __init__(self, name: str, device: str = "cpu", limit: int = LIMIT) -> None:
        self.name, self._device, self._limit = name, device, limit
        if device not in ("auto", "cpu"):  # those that are always there need no torch to say so
            _ = self._place

    @functools.cached_property
    def extractor(self) -> Extractor:
        return _shared(self.name, self._place)

    @functools.cached_property
    def _place(self) -> torch.device:
        from pscli.components.device import device_named

        return device_named(self._device)

    def see(self, photos: Photos) -> list[Tensor]:
        """[F] float32 features of each photo, on the CPU. Each content is opened once.

        Raises:
            ConfigError: if the extractor cannot be loaded, or gives what is no features.
            DataError: if a photo cannot be decoded.
        """
        if not photos:
            return []
        kept = self._kept()
        keys = [_content(path) if kept else b"%d" % n for n, (path, _) in enumerate(photos)]
        found = _read(kept, keys)
        new = {key: photo for key, photo in zip(keys, photos, strict=True) if key not in found}
        seen = dict(zip(new, self._computed(list(new.values())), strict=True))
        if kept and seen:
            kept.add({key: row.numpy().tobytes() for key, row in seen.items()})
        found |= seen
        return [found[key] for key in keys]

    def logits(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[K] class logits by features; none if the extractor knows no classes."""
        import torch

        if not features or not isinstance(self.extractor, Classifier):
            return []
        rows = []
        for start in range(0, len(features), BATCH):
            batch = torch.stack(list(features[start : start + BATCH])).to(self._place)
            with torch.no_grad():
                rows += list(self.extractor.logits(batch).float().cpu())
        return rows

    def _computed(self, photos: Photos) -> Iterator[Tensor]:
        import torch

        for window in self._windows(photos):
            rows: dict[int, Tensor] = {}
            for size in dict.fromkeys(x.shape for x in window):
                alike = [n for n, x in enumerate(window) if x.shape == size]
                batch = torch.stack([window[n] for n in alike])
                with torch.no_grad():
                    features = self.extractor.features(batch.to(self._place))
                self._check(features, len(alike))
                rows |= dict(zip(alike, features.float().cpu(), strict=True))
            yield from (rows[n] for n in range(len(window)))

    def _windows(self, photos: Photos) -> Iterator[list[Tensor]]:
        """Photos as the extractor takes them, some at a time; they may differ in size."""
        window: list[Tensor] = []
        for path, id in photos:
            window.append(seen_by(self.extractor, path, id))
            if len(window) == BATCH or sum(x.numel() for x in window) > VALUES:
                yield window
                window = []
        if window:
            yield window

    def _check(self, features: Tensor, count: int) -> None:
        if features.ndim != 2 or len(features) != count or features.shape[1] < 2:
            raise ConfigError(
                f"The extractor '{self.name}' gives features of shape {tuple(features.shape)}.",
                f"Expected [{count}, F], F >= 2.",
            )
        if not features.isfinite().all():
            raise ConfigError(
                f"The extractor '{self.name}' gives features that are no numbers (NaN or ∞).",
                "Check its weights.",
            )

    def _kept(self) -> SharedRows | None:
        import torch

        from pscli import __version__
        from pscli.components.cache import digest

        identity = getattr(self.extractor, "identity", "")
        with contextlib.suppress(RuntimeError):
            folder = user_cache() / "features"
            name = digest("|".join(
                (identity, __version__, torch.__version__, self._place.type)
            ).encode()).hex()  # fmt: skip
            return SharedRows(folder / name, self._limit) if identity else None
        return None


def _shared(name: str, device: torch.device) -> Extractor:
    """The extractor; a CLIP is one for all metrics that ask for it."""
    return _clip(name, device) if name.startswith("clip:") else load(name, device)


@functools.lru_cache(1)
def _clip(name: str, device: torch.device) -> Extractor:
    return load(name, device)


def _read(kept: SharedRows | None, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
    import torch

    found = kept.find(keys) if kept else {}
    rows = {key: torch.frombuffer(bytearray(v), dtype=torch.float32) for key, v in found.items()}
    return {key: row for key, row in rows.items() if row.isfinite().all()}


def _content(path: Path) -> bytes:
    from pscli.components.cache import digest

    return digest(path.read_bytes())


def file_format(path: Path) -> str:
    """Name of the format that a file begins as: `jpeg` moves a FID by more than a system does."""
    with path.open("rb") as file:
        head = file.read(12)
    marks = {b"\x89PNG": "png", b"\xff\xd8": "jpeg", b"RIFF": "webp", b"GIF8": "gif", b"BM": "bmp",
             b"II*\0": "tiff", b"MM\0*": "tiff"}  # fmt: skip
    avif = "avif" if head[4:8] == b"ftyp" else "other"
    return next((name for mark, name in marks.items() if head.startswith(mark)), avif)
