"""`pscli caption`: a copy of a dataset with a captioner's words, whatever is wrong with a photo."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from pscli.cli import app, caption
from pscli.console import progress
from pscli.datasets import captions
from pscli.datasets.base import load, named
from pscli.datasets.captions import rewrite
from pscli.datasets.manifest import JOURNAL, Entry, read_manifest, write_manifest
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import DataError
from pscli.photoworld.dataset import Photoworld

COLOURS = ("red", "green", "blue", "white", "black", "yellow", "pink")


def describe(photos: Sequence[Photo]) -> list[str]:
    """Names the first pixel."""
    return ["pixel {} {} {}".format(*photo.open().getpixel((0, 0))) for photo in photos]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A jsonl dataset: of its photos one is sent twice, one is no photo, one is gone, one grey was
    filled in, and one nobody can describe."""
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path))
    folder = tmp_path / "jsonl"
    (folder / "photos").mkdir(parents=True)
    for name in COLOURS:
        Image.new("RGB", (4, 4), name).save(folder / f"photos/{name}.jpg", quality=95)
    (folder / "photos/torn.jpg").write_bytes(b"no photo")
    Image.new("RGB", (4, 4), "grey").save(folder / "photos/grey.png")
    for n, names in enumerate(
        (["red", "torn", "green"], ["red", "gone"], ["grey.png", "blue"], ["black", "white"])
    ):
        turns: list[dict[str, Any]] = []
        for name in names:
            path = f"photos/{name}" if "." in name else f"photos/{name}.jpg"
            turns += [
                {"speaker": "A", "text": f"My {name}", "photo": {"path": path, "caption": name}}
            ]
            turns += [{"speaker": "B", "text": "Oh!", "truth": {"kind": "chat"}}]
        with (folder / "train.jsonl").open("a") as file:
            file.write(json.dumps({"id": f"d{n}", "turns": turns}) + "\n")
    write_manifest(
        folder,
        {
            "photos/grey.png": Entry(
                "photos/grey.png", "placeholder", "HTTP 404", "synthetic:placeholder"
            ),
            "photos/red.jpg": Entry("photos/red.jpg", "ok", "", "original", "https://a.org/r.jpg"),
        },
    )
    return folder


def copy(out: Path, describer: Any = describe, who: str = "tester", **options: Any) -> Any:
    return rewrite(named("jsonl"), out, ["train"], describer, who, progress, **options)


def test_every_photo_that_can_be_seen_gets_new_words_and_no_other(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shy(photos: Sequence[Photo]) -> list[str]:
        words = describe(photos)
        if any(word == "pixel 0 0 0" for word in words):
            raise ValueError("black is too dark")
        return ["" if word == "pixel 255 255 255" else word for word in words]

    out = tmp_path / "new" / "jsonl"
    found = copy(out, shy)
    assert (found.dialogues, found.written) == ({"train": 4}, 3)
    assert {why.partition(" (")[0][:40] for why in found.kept.values()} >= {
        "HTTP 404", "the captioner says nothing", "the captioner fails at it: black is too ",
    }  # fmt: skip
    assert len(found.kept) == 5
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path / "new"))
    told = [[p.caption for p in d.photos] for d in named("jsonl").load("train")]
    red, green, blue = "pixel 254 0 0", "pixel 0 128 1", "pixel 0 0 254"
    assert told == [[red, "torn", green], [red, "gone"], ["grey.png", blue], ["black", "white"]]

    entries = read_manifest(out)
    assert {e.status for e in entries.values()} == {"ok", "missing", "placeholder"}
    first = entries["photos/train/00000-0.jpg"]
    assert (first.captioner, first.caption) == ("tester", red)
    assert (first.provenance, first.source) == ("original", "https://a.org/r.jpg")
    bytes_ = (data / "photos/red.jpg").read_bytes()
    assert (out / first.path).read_bytes() == bytes_
    assert first.sha256 == hashlib.sha256(bytes_).hexdigest()
    grey = entries["photos/train/00002-0.png"]
    assert (grey.status, grey.captioner, grey.caption) == ("placeholder", "", "")
    assert (out / grey.path).read_bytes() == (data / "photos/grey.png").read_bytes()


def test_talk_and_truth_stay(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    copy(out)
    for line, other in zip(
        (data / "train.jsonl").read_text().splitlines(),
        (out / "train.jsonl").read_text().splitlines(),
        strict=True,
    ):
        for old, new in zip(json.loads(line)["turns"], json.loads(other)["turns"], strict=True):
            assert {**old, "photo": 0} == {**new, "photo": 0}


def test_a_copy_that_was_stopped_goes_on_and_ends_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "TOGETHER", 3)
    whole, asked = tmp_path / "whole", []
    copy(whole)

    def until(calls: int) -> Any:
        def stopped(photos: Sequence[Photo]) -> list[str]:
            asked.append(len(photos))
            if len(asked) > calls:
                raise KeyboardInterrupt
            return describe(photos)

        return stopped

    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        copy(out, until(1))
    assert not (out / "train.jsonl").exists()
    assert len(read_manifest(out)) == 3
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        copy(out, until(1))
    assert asked == [1, 2]  # photos that can be seen, of the second and third batch of three
    journal = out / JOURNAL
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:2]))
    asked.clear()
    copy(out, until(99))
    assert asked == [2, 1, 2]  # a batch of which a line is lost is described as a whole
    names = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert all((whole / name).read_bytes() == (out / name).read_bytes() for name in names)
    asked.clear()
    copy(out, until(0))
    assert not asked


def test_another_captioner_or_anything_else_is_not_written_over(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    copy(out)
    with pytest.raises(DataError, match="or captions by another captioner"):
        copy(out, who="other")
    copy(out, who="other", overwrite=True)
    assert {e.captioner for e in read_manifest(out).values()} == {"other", ""}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(DataError, match="exists already"):
        copy(mine)
    with pytest.raises(DataError, match="it may hold something else"):
        copy(mine, overwrite=True)


def test_a_copy_that_replaces_another_goes_on_without_overwrite(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "TOGETHER", 3)
    asked: list[int] = []

    def once(photos: Sequence[Photo]) -> list[str]:
        asked.append(len(photos))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return describe(photos)

    out = tmp_path / "copy"
    args = ["caption", "jsonl", "--split", "train", "--out", str(out)]
    hint = "Stopped. Give the same command again, without --overwrite, to go on.\n"
    copy(out, who="other")
    monkeypatch.setattr(caption, "captioner", lambda *options: ("tester", once))
    stopped = CliRunner().invoke(app, [*args, "--overwrite"])
    assert stopped.exit_code == 130 and hint in stopped.stderr
    assert CliRunner().invoke(app, args).exit_code == 0
    assert asked == [2, 1, 1, 2]  # the batch that was done is not described again
    copy(tmp_path / "whole")
    assert (out / "manifest.jsonl").read_bytes() == (tmp_path / "whole/manifest.jsonl").read_bytes()


def test_a_copy_that_is_stopped_while_it_replaces_another_can_be_given_up(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is deleted first: what is left is ours."""
    out = tmp_path / "copy"
    copy(out, who="other")

    def stopped(folder: Path, **named: Any) -> None:
        (Path(folder) / "dataset.json").unlink(missing_ok=True)
        if Path(folder).exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            copy(out, overwrite=True)
    copy(out, overwrite=True)
    assert {e.captioner for e in read_manifest(out).values()} == {"tester", ""}


def test_a_copy_has_the_photos_that_the_dataset_has_now(data: Path, tmp_path: Path) -> None:
    """One was replaced, one is back, and the copy of one is gone: as if it was copied anew."""
    out = tmp_path / "copy"
    copy(out)
    Image.new("RGB", (4, 4), "pink").save(data / "photos/green.jpg")
    Image.new("RGB", (4, 4), "pink").save(data / "photos/gone.jpg")
    (out / "photos/train/00002-1.jpg").unlink()
    copy(out)
    copy(tmp_path / "anew")
    names = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert names == sorted(
        p.relative_to(tmp_path / "anew") for p in (tmp_path / "anew").rglob("*") if p.is_file()
    )
    assert all((out / n).read_bytes() == (tmp_path / "anew" / n).read_bytes() for n in names)


@pytest.mark.parametrize("place", ["jsonl", "."])
def test_a_dataset_is_not_written_over_by_its_own_copy(
    data: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / place / "dataset.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    for overwrite in (False, True):
        with pytest.raises(DataError, match="is where jsonl lies"):
            copy(tmp_path / place, overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before


def test_photos_of_one_s_own_dataset_are_not_deleted_either(tmp_path: Path) -> None:
    class Mine:
        name, licence, citation, splits = "mine", "", "", ("train",)

        def load(self, split: str, count: int | None = None) -> list[Dialogue]:
            photo = Photo(tmp_path / "out/photos/a.png", "a")
            return [Dialogue((Turn("A", "Hi"), Turn("B", "", photo)), "d")]

    (tmp_path / "out/photos").mkdir(parents=True)
    (tmp_path / "out/dataset.json").write_text("{}")
    Image.new("RGB", (4, 4)).save(tmp_path / "out/photos/a.png")
    with pytest.raises(DataError, match="is where mine lies"):
        rewrite(Mine(), tmp_path / "out", ["train"], describe, "tester", progress, overwrite=True)
    assert (tmp_path / "out/photos/a.png").is_file()


def test_what_is_drawn_in_the_place_of_other_photos_has_no_copy(tmp_path: Path) -> None:
    """A file holds the photo that is shown alone, and so no control."""
    control = ["photoworld-shuffled-photos", "--split", "train", "--count", "2"]
    with pytest.raises(DataError, match="not those that are to be drawn"):
        rewrite(named(control[0]), tmp_path / "a", ["train"], describe, "tester", progress, count=2)
    done = CliRunner().invoke(app, ["fetch", *control, "--out", str(tmp_path / "b")])
    assert done.exit_code == 2 and "not those that are to be drawn" in done.stderr
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_scenes_are_drawn_to_the_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Photoworld()
    rewrite(world, tmp_path / "a/jsonl", ["train", "dev"], describe, "tester", progress, count=4)
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path / "a"))
    for split in ("train", "dev"):
        for one, other in zip(load(named("jsonl"), split), world.load(split, 4), strict=True):
            assert [t.truth for t in one.turns] == [t.truth for t in other.turns]
            for new, old in zip(one.photos, other.photos, strict=True):
                assert new.open().tobytes() == old.open().tobytes()
                assert new.caption == describe([old])[0]


def test_the_command_writes_what_the_bundled_captioner_sees(tmp_path: Path) -> None:
    """Its captions name the things that are there, though the dataset's name other colours."""
    out = tmp_path / "jsonl"
    args = ["caption", "photoworld-next-colour-100", "--split", "train", "--count", "4"]
    done = CliRunner().invoke(app, [*args, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"{out}: 4 dialogues of train\n" in done.stdout
    assert f"It is the dataset jsonl where PSCLI_DATA is {tmp_path}." in done.stdout
    true = [p.caption for d in Photoworld().load("train", 4) for p in d.photos]
    entries = read_manifest(out)
    assert all(e.captioner.startswith("bundled:") for e in entries.values())
    words = [set((c or "").lower().strip(".").split()) for c in true]
    told = [set(entries[name].caption.lower().strip(".").split()) for name in sorted(entries)]
    same = [a <= b or b <= a for a, b in zip(words, told, strict=True)]  # the light comes on top
    assert sum(same) >= len(true) - 1


def test_unseen_photos_are_told_on_the_command_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption, "captioner", lambda *options: ("tester:1", describe))
    out = tmp_path / "copy"
    done = CliRunner().invoke(app, ["caption", "jsonl", "--split", "train", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "captions: 5 by tester:1, 3 of the dataset's own\n" in done.stdout
    assert "photos/train/00002-0.png: HTTP 404\n" in done.stdout
    refused = CliRunner().invoke(app, ["caption", "jsonl", "--split", "x", "--out", str(out)])
    assert refused.exit_code == 2


def test_all_splits_that_are_there_are_copied_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jsonl may have three, of which one lies here; photoworld's have one more than jsonl reads."""
    monkeypatch.setattr(caption, "captioner", lambda *options: ("tester:1", describe))
    for n, splits in enumerate(([], ["--split", "train", "--split", "train"])):
        out = tmp_path / str(n)
        done = CliRunner().invoke(app, ["caption", "jsonl", *splits, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert "captions: 5 by tester:1, 3 of" in done.stdout
    args = ["caption", "photoworld", "--count", "1", "--out", str(tmp_path / "new/jsonl")]
    done = CliRunner().invoke(app, args)
    assert f"where PSCLI_DATA is {tmp_path}/new, but for unseen: no split of jsonl." in done.stdout
