"""Datasets on disk, and their figures."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from pscli.datasets.base import data_folder
from pscli.datasets.folder import read_split, splits_in, write_split
from pscli.datasets.stats import Keys, Paper, Spread, Stats, count, rounded, survey
from pscli.dialogue.schema import Dialogue, Photo, Truth, Turn
from pscli.errors import ConfigError, DataError
from pscli.fetch.dataset import Options, fetch
from pscli.photoworld.dataset import Photoworld
from pscli.report.survey import figure, picture, table

DOG = Photo(Image.new("RGB", (4, 4), "brown"), "A dog.")


def talk() -> Dialogue:
    """Five texts; of B's two in a row, a photo stands between the second and A's next."""
    turns = (
        Turn("A", "Hi there"),
        Turn("A", "Look: my DOG!", DOG),
        Turn("B", "It's lovely", truth=Truth("chat")),
        Turn("B", ""),  # neither text nor photo: not sent
        Turn("A", "", DOG, Truth("share", share=True)),
        Turn("B", "my dog says hi", truth=Truth("chat")),
    )
    return Dialogue(turns, "d")


@contextmanager
def silent(title: str, total: int):
    yield lambda count: None


def test_figures_are_those_counted_by_hand() -> None:
    alone = Dialogue((Turn("A", "dog"),), "e")
    assert count([talk(), alone, alone]) == Stats(
        dialogues=3,
        utterances=6,  # Hi there; Look; It's lovely; my dog says hi; dog; dog
        merged=4,  # A, then B's two (the photo between them is no utterance); dog; dog
        responses=6,  # A, B, A (the photo), B; dog; dog
        instances=3,
        photos=2,
        distinct_photos=1,
        captioned=2,
        repeated_dialogues=1,
        word_types=8,  # hi there look my dog it's lovely says
        kinds={"chat": 2, "share": 1},
        turns=Spread({1: 2, 6: 1}),
        photos_in=Spread({0: 2, 2: 1}),
        where=(0, 1, 0, 0, 0, 0, 1, 0, 0, 0),  # turns 1 and 4 of 6: tenths 1 and 6
        # Without the photo turns: Hi | It's, my | dog, dog. The B before the first dog is not A,
        # but the A before the second one is: the two dialogues leak into one another.
        paper=Paper(utterances=5, merged=3, distinct_photos=1),
    )


def test_labels_missing_photos_and_endings_are_those_counted_by_hand(tmp_path: Path) -> None:
    (tmp_path / "here.png").touch()
    here = Photo(
        tmp_path / "here.png", "The photo has my dog. Objects in the photo: Dog, Ball, Cat"
    )
    gone = Photo(tmp_path / "gone.png", "Objects in the photo: Dog")
    one = Dialogue((Turn("A", "x"), Turn("B", "", gone), Turn("B", "", here)))
    other = Dialogue((Turn("A", "", gone), Turn("B", "y")))
    figures = count([one, other])
    assert figures.labels == Spread({1: 2, 3: 1})
    assert (figures.missing_photos, figures.distinct_photos, figures.last) == (1, 2, 1)


def test_splits_are_added_up_and_what_they_share_is_told() -> None:
    cat = Photo(Image.new("RGB", (4, 4), "grey"))
    dialogue = Dialogue((Turn("A", "x"), Turn("B", "", cat)))
    found = survey("x", {"train": [talk(), dialogue], "dev": [talk()]})
    assert found.shared == {("train", "dev"): 1}
    assert [s.distinct_photos for s in found.splits.values()] == [2, 1]
    assert found.total.distinct_photos == 2
    assert found.total.paper.distinct_photos == 3  # the splits added up
    assert (found.total.dialogues, found.total.repeated_dialogues) == (3, 1)
    assert found.total.word_types == found.splits["train"].word_types == 9


def test_halves_are_rounded_up_as_in_table_1() -> None:
    assert (rounded(9.045), rounded(8.994), rounded(2.5, 0)) == ("9.05", "8.99", "3")


def test_keys_are_counted_exactly_and_shared_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pscli.datasets.stats.FEW", 7)
    one, other = Keys(), Keys()
    for number in range(50):
        one.add(str(number % 20))
        other.add(str(number % 30))
    assert (len(one), len(other)) == (20, 30)
    one.update(other)
    assert len(one) == 30


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    picture(survey("x", {"train": [talk()], "dev": []}), tmp_path / "new" / "x.png")
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert (image.format, image.size) == ("PNG", (1320, 840))


def test_a_panel_is_drawn_of_what_there_is_with_ticks_at_whole_numbers() -> None:
    bare = Dialogue((Turn("A", "x"), Turn("B", "y")))
    (turns, photos) = figure(survey("x", {"train": [bare], "dev": [bare]})).axes
    assert [a.get_xlabel() for a in (turns, photos)] == [
        "turns of a dialogue", "photos of a dialogue"
    ]  # fmt: skip
    assert [line.get_xydata().tolist() for line in turns.lines] == [[[2, 100]], [[2, 100]]]
    for axes in figure(survey("x", {"train": [talk()], "dev": []})).axes:
        assert all(tick == round(tick) for tick in axes.get_xticks())


def test_rates_are_per_dialogue_and_nothing_is_divided_by_zero() -> None:
    figures = count([talk()] * 3 + [Dialogue((Turn("A", "x"),))])
    assert figures.merged_per_dialogue == (3 * 2 + 1) / 4
    assert figures.photos_per_dialogue == 6 / 4
    assert Stats().to_json()["photos_per_dialogue"] == 0


def test_the_table_has_a_column_a_split() -> None:
    shown = table("photoworld", {"dev": count([talk()]), "total": count([talk(), talk()])})
    assert [str(column.header) for column in shown.columns] == ["", "dev", "total"]
    labels, dev, total = (list(map(str, column.cells)) for column in shown.columns)
    assert dict(zip(labels, zip(dev, total, strict=True), strict=True))["instances"] == ("3", "6")


def test_a_split_is_read_back_as_it_was(tmp_path: Path) -> None:
    written = Photoworld().load("test", 3)
    assert len(write_split(tmp_path, "test", written)) == sum(len(d.photos) for d in written)
    read = read_split(tmp_path, "test")
    for before, after in zip(written, read, strict=True):
        assert after.id == before.id
        for a, b in zip(before.turns, after.turns, strict=True):
            assert (a.speaker, a.text, a.truth) == (b.speaker, b.text, b.truth)
        for a, b in zip(before.photos, after.photos, strict=True):
            assert a.caption == b.caption
            assert a.open().tobytes() == b.open().tobytes()
    assert count(read) == count(written)


def test_a_photo_that_is_sent_twice_is_kept_once(tmp_path: Path) -> None:
    assert len(write_split(tmp_path, "dev", [talk(), talk()])) == 1
    assert len(list((tmp_path / "photos").rglob("*.png"))) == 1
    assert count(read_split(tmp_path, "dev")).distinct_photos == 1


def test_two_processes_draw_what_one_does(tmp_path: Path) -> None:
    dialogues = Photoworld().load("test", 2)
    done: list[int] = []
    write_split(tmp_path / "two", "test", dialogues, done.append, workers=2)
    write_split(tmp_path / "one", "test", dialogues)
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*")]
    assert done == [1, 1]
    assert files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "x", "turns": [', r"test\.jsonl:2 is not valid JSON: .* at column \d+"),
        ('{"id": "x"}', r"test\.jsonl:2 has no list of turns"),
        ('{"turns": [{"speaker": {}}]}', r"test\.jsonl:2, turn 0: no speaker"),
        (
            '{"turns": [{"speaker": "A", "text": "x", "truth": {"sort": 1}}]}',
            r"test\.jsonl:2, turn 0: the truth",
        ),
        ("\udcff", r"test\.jsonl:2 "),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    good = json.dumps({"id": "d", "turns": [{"speaker": "A", "text": "Hi"}]})
    data = f"{good}\n{line}\n".encode("utf-8", "surrogateescape")
    (tmp_path / "test.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=problem):
        read_split(tmp_path, "test")


def test_a_folder_without_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no dataset"):
        splits_in(tmp_path)
    with pytest.raises(DataError, match="has no split 'dev'"):
        read_split(tmp_path, "dev")
    for split in ("zero", "test", "train"):
        (tmp_path / f"{split}.jsonl").touch()
    assert splits_in(tmp_path) == ["train", "test", "zero"]


def test_fetch_writes_everything_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Photoworld):
        def load(self, split: str, count: int | None = None) -> list[Dialogue]:
            gone = Photo(tmp_path / "gone.png")
            return [Dialogue((Turn("A", "x", gone),), "d")] if split == "dev" else [talk()]

    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        fetch(Broken(), tmp_path / "p", ["test", "dev"], silent)
    assert [path.name for path in tmp_path.iterdir()] == [".p.lock"]
    fetched = fetch(Broken(), tmp_path / "p", ["test"], silent)
    assert (fetched.dialogues, fetched.statuses) == ({"test": 1}, {"ok": 1})
    assert splits_in(tmp_path / "p") == ["test"]


def test_fetch_overwrites_only_what_it_wrote(tmp_path: Path) -> None:
    source, mine = Photoworld(), tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(DataError, match=r"exists already\. .*--overwrite"):
        fetch(source, mine, ["dev"], silent, Options(count=1))
    with pytest.raises(DataError, match=r"no dataset\.json, so it may hold something else"):
        fetch(source, mine, ["dev"], silent, Options(count=1, overwrite=True))
    assert (mine / "thesis.txt").is_file()
    fetch(source, tmp_path / "p", ["dev", "test"], silent, Options(count=1))
    fetch(source, tmp_path / "p", ["dev"], silent, Options(count=2, overwrite=True))
    assert splits_in(tmp_path / "p") == ["dev"]
    assert len(read_split(tmp_path / "p", "dev")) == 2


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no split 'tests'\. Known: train, dev, test"):
        fetch(Photoworld(), tmp_path / "p", ["tests"], silent)


def test_datasets_live_below_the_environments_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSCLI_DATA", raising=False)
    assert data_folder("photoworld") == Path("data/photoworld")
    monkeypatch.setenv("PSCLI_DATA", "/big")
    assert data_folder("photoworld") == Path("/big/photoworld")
