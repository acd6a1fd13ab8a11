"""What frozen parts make of photos: computed once, found again, and never another's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.Image import Palette
from torch import Tensor, nn

from pscli.components.cache import Cache, fingerprint
from pscli.config import Config, SequenceConfig, TrainConfig
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.rows import Rows
from pscli.runs import Run
from pscli.training.loop import train


class Mean(nn.Module):
    """Counts how often it looks."""

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale), requires_grad=False)
        self.calls = 0

    def look(self, photos: Any) -> Tensor:
        self.calls += len(photos)
        values = [[c / 255 for c in p.resize((1, 1)).getpixel((0, 0))] for p in photos]
        return self.scale.detach() * torch.tensor(values)


@pytest.fixture(params=["memory", "disk"])
def cache(request: Any, tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache" if request.param == "disk" else None)


def photos(folder: Path, *colours: str) -> list[Photo]:
    for colour in colours:
        Image.new("RGB", (4, 4), colour).save(folder / f"{colour}.png")
    return [Photo(folder / f"{colour}.png") for colour in colours]


def test_each_photo_is_computed_once(cache: Cache, tmp_path: Path) -> None:
    """Oracle: the module itself."""
    mean, some = Mean(), photos(tmp_path, "red", "blue", "green")
    expected = mean.look([p.open() for p in some])
    mean.calls = 0
    assert torch.equal(cache(mean, some[:2], mean.look), expected[:2])
    assert torch.equal(cache(mean, [some[2], some[0]], mean.look), expected[[2, 0]])
    assert torch.equal(cache(mean, some, mean.look), expected)
    assert mean.calls == 3


def test_a_photo_is_told_by_its_content_and_the_weights(cache: Cache, tmp_path: Path) -> None:
    mean, (red,) = Mean(), photos(tmp_path, "red")
    first = cache(mean, [red], mean.look)
    Image.new("RGB", (5, 5), "blue").save(tmp_path / "red.png")  # the same name, another photo
    assert not torch.equal(cache(mean, [red], mean.look), first)
    copy = Photo(tmp_path / "copy.png")
    Image.new("RGB", (5, 5), "blue").save(tmp_path / "copy.png")
    cache(mean, [copy], mean.look)
    assert mean.calls == 2  # the copy was known
    other = Mean(3.0)
    cache(other, [copy], other.look)
    assert other.calls == 1
    assert fingerprint(Mean(2.0)) == fingerprint(mean) != fingerprint(other)


def test_what_trains_is_not_kept(cache: Cache, tmp_path: Path) -> None:
    mean, some = Mean(), photos(tmp_path, "red")
    mean.scale.requires_grad_(True)
    for _ in range(2):
        cache(mean, some, mean.look)
    assert mean.calls == 2


def test_photos_in_memory_are_told_apart(cache: Cache) -> None:
    mean = Mean()
    some = [Photo(Image.new("RGB", (4, 4), colour)) for colour in ("red", "blue")]
    assert not torch.equal(*cache(mean, some, mean.look))
    few = [photo.source.convert("P", palette=Palette.ADAPTIVE) for photo in some]
    assert few[0].tobytes() == few[1].tobytes()  # each has one colour, which its palette names
    assert not torch.equal(*cache(mean, [Photo(photo) for photo in few], mean.look))


def test_a_full_cache_still_answers(tmp_path: Path) -> None:
    mean, some = Mean(), photos(tmp_path, "red", "blue")
    small = Cache(tmp_path / "cache", limit=1)  # room for the first alone
    for _ in range(2):
        small(mean, some, mean.look)
    assert mean.calls == 3


def test_another_process_finds_what_one_has_kept(tmp_path: Path) -> None:
    mean, some = Mean(), photos(tmp_path, "red", "blue")
    before = Cache(tmp_path / "cache")(mean, some, mean.look)
    (rows,) = (tmp_path / "cache").glob("*.rows")
    rows.write_bytes(rows.read_bytes()[:-1])  # the last one was being written when it was killed
    again = Mean()
    assert torch.equal(Cache(tmp_path / "cache")(again, some, again.look), before)
    assert again.calls == 1


def test_rows_of_another_length_are_refused(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "r")
    rows.put(b"a" * 16, b"12", "note")
    with pytest.raises(ValueError, match="a row of 3 bytes, not 2"):
        rows.put(b"b" * 16, b"123", "note")
    again = Rows(tmp_path / "r")
    assert (again.get(b"a" * 16), again.get(b"b" * 16), again.note) == (b"12", None, "note")


@pytest.mark.parametrize("system", ["end_to_end", "pipeline"])
def test_the_second_epoch_opens_no_photo_and_runs_no_vae(
    build: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    shown = photos(tmp_path, "red", "blue", "green")
    dialogues = [
        Dialogue(
            (Turn("A", "Hi"), Turn("B", "Look", Photo(p.source, "A dog")), Turn("A", "Nice")),
            str(i),
        )
        for i, p in enumerate(shown)
    ]
    trained = getattr(build, system)().freeze()
    opened: list[tuple[int, Path]] = []
    encoded: list[int] = []
    step = 0
    whole, encode = Photo.open, trained.generator.vae.encode

    def watch_open(photo: Photo) -> Image.Image:
        opened.append((step, photo.source))
        return whole(photo)

    def watch_encode(*args: Any, **options: Any) -> Any:
        encoded.append(step)
        return encode(*args, **options)

    monkeypatch.setattr(Photo, "open", watch_open)
    monkeypatch.setattr(trained.generator.vae, "encode", watch_encode)

    def evaluate(system: Any, now: int) -> dict[str, float]:
        nonlocal step
        step = now
        return {}

    recipe = TrainConfig(batch=2, micro_batch=2, epochs=2.0, warmup=0, patience=0)
    config = Config(sequence=SequenceConfig(max_length=120), train=recipe)
    trained.cache = Cache(tmp_path / "cache")
    train(trained, dialogues, config, Run(tmp_path / "run"), evaluate)
    assert step == 4  # two epochs of two steps
    assert len(encoded) == 3 and set(encoded) == {0}
    assert {number for number, _ in opened} == {0}
