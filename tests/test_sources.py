"""Readers of other people's formats: good records, odd ones, and broken ones."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from pscli.cli import app
from pscli.datasets import dialogcc, mmdialog, photochat
from pscli.datasets import jsonl as ours
from pscli.datasets.corpus import Corpus, available
from pscli.datasets.records import Dropped, KnownPhoto, clean_id, digest, records, url_of
from pscli.datasets.stats import rounded, survey
from pscli.dialogue.schema import Dialogue
from pscli.errors import DataError, PscliError

ROOT = Path(__file__).parents[1]
PHOTOCHAT = ROOT.parent / "shared" / "data" / "photochat"
HERE = Path("photos")

PHOTOCHAT_ONE = {
    "dialogue": [
        {"message": "Hi", "share_photo": False, "user_id": 1},
        {"message": "", "share_photo": True, "user_id": 0},
        {"message": "Nice", "share_photo": False, "user_id": 1},
    ],
    "dialogue_id": 7,
    "photo_id": "train/0123456789abcdef",
    "photo_description": "Objects in the photo: Dog, Ball",
    "photo_url": "https://example.org/dog.jpg",
}
DIALOGCC_ONE = {
    "dialogue_id": "bst:1",
    "split": "train",
    "dialogue": [
        {"utterance_idx": 0, "utterance": "Hi", "speaker": "Ann", "shared_image": []},
        {
            "utterance_idx": 1,
            "utterance": "",
            "speaker": "Ben",
            "shared_image": [
                {"image_url": "https://example.org/a.jpg", "caption": "a dog"},
                {"image_url": "https://example.org/b.jpg", "caption": "a cat"},
            ],
        },
    ],
}
MMDIALOG_ONE = {
    "conversation_id": 0,
    "conversation": [
        {"turn": [{"__TEXT__": "One"}, {"__TEXT__": "two"}, {"__MEDIA__": "-26"}]},
        {"turn": [{"__MEDIA__": "27"}, {"__TEXT__": "three"}]},
    ],
    "negative_candidate_media_keys": ["1"],
}
OURS_ONE = {
    "id": "d",
    "turns": [
        {"speaker": "A", "text": "Hi"},
        {
            "speaker": "B",
            "photo": {"path": "p/x.png", "caption": "A dog.", "url": "https://example.org/x"},
        },
    ],
}
READERS = {
    "photochat": (photochat, PHOTOCHAT_ONE),
    "dialogcc": (dialogcc, DIALOGCC_ONE),
    "mmdialog": (mmdialog, MMDIALOG_ONE),
    "jsonl": (ours, OURS_ONE),
}


def corpus(name: str) -> Corpus:
    module = READERS[name][0]
    return getattr(module, name)()


def read(name: str, value: Any) -> tuple[Dialogue | None, Dropped]:
    dropped = Dropped()
    return READERS[name][0].parse(value, HERE, "test", "f, record 0", dropped), dropped


def said(dialogue: Dialogue) -> list[tuple[str, str, bool]]:
    return [(turn.speaker, turn.text, turn.photo is not None) for turn in dialogue.turns]


# ---------------------------------------------------------------------------- good records


def test_photochat() -> None:
    dialogue, dropped = read("photochat", PHOTOCHAT_ONE)
    assert dialogue is not None
    assert dialogue.id == "test-7"
    assert said(dialogue) == [("1", "Hi", False), ("0", "", True), ("1", "Nice", False)]
    (photo,) = dialogue.photos
    assert isinstance(photo, KnownPhoto)
    assert photo.source == HERE / "train/0123456789abcdef.jpg"
    assert photo.caption == "Objects in the photo: Dog, Ball"
    assert photo.urls == (
        "https://example.org/dog.jpg",
        "https://open-images-dataset.s3.amazonaws.com/train/0123456789abcdef.jpg",
    )
    assert not dropped.reasons


@pytest.mark.parametrize("photos", [0, 1, 3])
def test_photochat_of_an_older_revision(photos: int) -> None:
    turns = [{"message": "Hi", "share_photo": False, "user_id": 0}]
    turns += [{"message": "", "share_photo": True, "user_id": 1}] * photos
    value = {"dialogue": turns, "dialogue_id": 3, "photo_url": "https://example.org/dog.jpg"}
    dialogue, dropped = read("photochat", value)
    assert dialogue is not None
    assert len(dialogue.photos) == photos
    name = digest("https://example.org/dog.jpg")
    assert {p.source for p in dialogue.photos} <= {HERE / f"by-url/{name}.jpg"}
    assert not dropped.reasons


def test_dialogcc() -> None:
    dialogue, dropped = read("dialogcc", DIALOGCC_ONE)
    assert dialogue is not None
    assert dialogue.id == "bst:1"
    assert said(dialogue) == [("Ann", "Hi", False), ("Ben", "", True)]
    (photo,) = dialogue.photos
    assert isinstance(photo, KnownPhoto)
    assert (photo.caption, photo.urls) == ("a dog", ("https://example.org/a.jpg",))
    assert dict(dropped.reasons) == {
        "another alternative for a shared image (the first is read)": 1
    }


def test_mmdialog() -> None:
    dialogue, dropped = read("mmdialog", MMDIALOG_ONE)
    assert dialogue is not None
    assert said(dialogue) == [("A", "One two", True), ("B", "", True), ("B", "three", False)]
    assert [p.source for p in dialogue.photos] == [HERE / "-26.jpg", HERE / "27.jpg"]
    assert not dropped.reasons


def test_ours() -> None:
    dialogue, dropped = read("jsonl", OURS_ONE)
    assert dialogue is not None
    (photo,) = dialogue.photos
    assert isinstance(photo, KnownPhoto)
    assert (photo.source, photo.urls) == (HERE / "p/x.png", ("https://example.org/x",))
    assert not dropped.reasons


def test_every_file_layout_of_every_dataset(tmp_path: Path) -> None:
    for name, (_, value) in READERS.items():
        texts = {
            "list": json.dumps([value, value]),
            "lines": f"{json.dumps(value)}\n{json.dumps(value)}\n",
            "spread": json.dumps([value, value], indent=2),
            "marked": "\ufeff" + json.dumps([value, value]),
        }
        for kind, text in texts.items():
            for where in ("test.json", "test/conversations.json", "test_00.jsonl"):
                folder = tmp_path / name / kind / where.replace("/", "-")
                (folder / where).parent.mkdir(parents=True)
                (folder / where).write_text(text, encoding="utf-8")
                assert len(list(corpus(name).read("test", folder))) == 2
                assert corpus(name).splits_in(folder) == ["test"]


def test_dev_may_be_called_validation(tmp_path: Path) -> None:
    (tmp_path / "validation" / "images").mkdir(parents=True)
    (tmp_path / "validation" / "conversations.json").write_text(json.dumps([MMDIALOG_ONE]))
    (dialogue,) = corpus("mmdialog").read("dev", tmp_path)
    assert dialogue.photos[0].source == tmp_path / "validation/images/-26.jpg"


@pytest.mark.parametrize("photos", ["described", "strict"])
def test_load_ends_dialogues_before_what_is_not_on_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    photos: str,
) -> None:
    """Nobody said what the photo shows."""
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path))
    folder = tmp_path / "jsonl"
    folder.mkdir()
    turns = [{"speaker": s, "text": s} for s in "ABAB"]
    turns[2] = {"speaker": "A", "text": "look", "photo": "gone.png"}
    text = [{"speaker": s, "text": s} for s in "AB"]
    lines = [{"id": "x", "turns": turns}, {"id": "x", "turns": text}, {"turns": turns[2:]}]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    loaded = corpus("jsonl").load("train", photos=photos)
    # By hand: A | B stay of the first; the photo and the last turn go. The third starts with it.
    assert [(d.id, len(d.turns)) for d in loaded] == [("x", 2), ("x-2", 2)]
    told = " ".join(capsys.readouterr().err.split())
    assert "2 of 2 photos are not on disk, which leaves out 3 of 5 instances" in told
    (folder / "train.jsonl").write_text(json.dumps(lines[2]))
    with pytest.raises(DataError, match="No instance of jsonl train has all its photos"):
        corpus("jsonl").load("train", photos=photos)


def test_ids_that_collide_become_different_instances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pscli.predictions.generate import instances

    monkeypatch.setenv("PSCLI_DATA", str(tmp_path))
    (tmp_path / "jsonl").mkdir()
    said = [{"speaker": s, "text": s} for s in "ABA"]
    lines = [json.dumps({"id": id, "turns": said}) for id in ("d", "d", "d-2", "D")]
    (tmp_path / "jsonl/train.jsonl").write_text("\n".join(lines))
    keys = [instance.question.key for instance in instances(corpus("jsonl").load("train"))]
    assert len({key.casefold() for key in keys}) == len(keys) == 8


@pytest.mark.parametrize(
    ("name", "photos", "left_out"),
    [("k.tif", 1, {}), ("K.AVIF", 1, {}), ("k.heic", 0, {"a photo whose name is no photo's": 1})],
)
def test_a_photo_of_another_format_is_read_or_ends_its_dialogue(
    tmp_path: Path, name: str, photos: int, left_out: dict[str, int]
) -> None:
    said = [{"speaker": s, "text": s} for s in "ABA"]
    said[1] |= {"photo": {"path": name}}
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": "d", "turns": said}))
    Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG" if photos == 0 else None)
    result = CliRunner().invoke(app, ["stats", "jsonl", "--from", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    counted = told["total"]
    assert (counted["photos"], counted["missing_photos"]) == (photos, 0)
    assert counted["utterances"] == (3 if photos else 1)  # what follows it is left out
    found = {reason.partition(",")[0]: number for reason, number in told["dropped"].items()}
    assert found == left_out


def test_available_keeps_a_dialogue_whose_photos_are_there(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    whole = Dialogue.from_json(
        {"turns": [{"speaker": "A", "text": "a", "photo": "x.png"}]}, tmp_path
    )
    assert available(whole, Dropped()) == (whole, 0)


# ---------------------------------------------------------------------------- the real PhotoChat


@pytest.mark.skipif(not PHOTOCHAT.is_dir(), reason="the real files are not here")
def test_table_1_of_the_paper_exactly() -> None:
    """Every PhotoChat cell of Table 1 of Guo et al. (2024), and the right figures beside it."""
    source, dropped = corpus("photochat"), Dropped()
    found = survey(
        "photochat",
        {split: source.read(split, PHOTOCHAT, dropped) for split in source.splits},
        dropped,
    )
    paper = {
        "train": (10286, 130459, 92479, "8.99", 10286, 8889, "1.00"),
        "dev": (1000, 12695, 9045, "9.05", 1000, 1000, "1.00"),
        "test": (1000, 12841, 9089, "9.09", 1000, 1000, "1.00"),
        "total": (12286, 155995, 110613, "9.00", 12286, 10889, "1.00"),
    }
    right = {"train": (97527, 8889), "dev": (9531, 1000), "test": (9582, 1000)}
    columns = found.splits | {"total": found.total}
    for split, figures in paper.items():
        s = columns[split]
        assert figures == (
            s.dialogues, s.paper.utterances, s.paper.merged,
            rounded(s.paper.merged / s.dialogues), s.photos, s.paper.distinct_photos,
            rounded(s.photos_per_dialogue),
        )  # fmt: skip
        assert s.utterances == s.paper.utterances
    assert {k: (s.merged, s.distinct_photos) for k, s in found.splits.items()} == right
    assert found.total.merged == 97527 + 9531 + 9582
    assert found.shared == {("train", "dev"): 12, ("train", "test"): 8, ("dev", "test"): 2}
    assert [s.last for s in found.splits.values()] == [362, 37, 45]
    spreads = found.total.turns.to_json(), found.total.labels.to_json()
    assert [(s["min"], s["max"]) for s in spreads] == [(3, 78), (1, 81)]
    assert rounded(found.total.labels.mean, 1) == "3.7"
    assert not dropped.reasons


# ---------------------------------------------------------------------------- broken files


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("[", "record 0: the file is cut off or broken"),
        ('[{"a": 1}', "record 1: the file is cut off"),
        ('[{"a": 1}, {"a": ', "record 1: the file is cut off or broken"),
        ('[{"a": 1} {"a": 2}]', "record 1: a comma or ] was expected"),
        ('[{"a": 1}] 2', "record 1: something follows the end of the list"),
        ('{"a": 1}\n{"a": \n', "record 1: "),
        ('{"a": "' + "x" * 300 + '", b: 1}' + " " * 300, "record 0: it is not valid JSON"),
        ("[" * 100_000, "record 0: "),
        ('[{"a": ' + "9" * 5000 + "}]", "record 0: Exceeds the limit"),
        (b'[{"a": "\xff"}]', "record 0: it is not UTF-8"),
    ],
)
def test_a_broken_file_is_refused_with_its_record(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    path = tmp_path / "test.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError) as caught:
        list(records(path))
    assert str(path) in caught.value.message
    assert reason in caught.value.message


@given(
    values=st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
        ),
        max_size=6,
    ),
    lines=st.booleans(),
    chunk=st.integers(1, 40),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_records_are_what_json_reads_whatever_the_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[Any], lines: bool, chunk: int
) -> None:
    """Oracle: the standard library's parser on the whole file."""
    from pscli.datasets import records as module

    monkeypatch.setattr(module, "CHUNK", chunk)
    if lines:  # a first line that is a list would be read as the list of all
        values = [{"value": value} for value in values]
    text = "\n".join(map(json.dumps, values)) if lines else json.dumps(values, ensure_ascii=False)
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "replace"))
    if not text:
        return
    data = path.read_text(encoding="utf-8")
    expected = [json.loads(line) for line in data.split("\n")] if lines else json.loads(data)
    assert [value for _, value in records(path)] == expected


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pscli.datasets import records as module

    monkeypatch.setattr(module, "CHUNK", 1 << 14)

    def peak(copies: int) -> int:
        path = tmp_path / f"{copies}.json"
        path.write_text(json.dumps([DIALOGCC_ONE] * copies))
        tracemalloc.start()
        for _ in records(path):
            pass
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    small, large = peak(300), peak(3_000)  # 0.1 and 1 MB
    assert large < 1.1 * small


# ---------------------------------------------------------------------------- broken dialogues


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None), max_size=20)
    | st.sampled_from(["\ud800", "../../etc/passwd", "/etc/passwd", "x" * 5000, "a\0b", 10**300]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> Any:
    """A record in which some keys are missing and some values are something else."""
    if draw(st.integers(0, 9)) == 0:
        return draw(json_values)
    if isinstance(value, dict):
        kept = [key for key in value if draw(st.integers(0, 9))]
        return {key: draw(damaged(value[key])) for key in kept}
    if isinstance(value, list):
        return [draw(damaged(item)) for item in value for _ in range(draw(st.integers(0, 2)))]
    return value


@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_malformed_dialogue_is_read_or_named(tmp_path: Path, name: str, data: Any) -> None:
    """Never a traceback; what is read can be written, counted and stays in its folder."""
    value = data.draw(damaged(READERS[name][1]))
    dialogue, dropped = read(name, value)
    if dialogue is None:
        assert dropped.reasons
    else:
        for turn in dialogue.turns:
            (turn.text + turn.speaker).encode()
            assert turn.text.strip() or turn.photo is not None or name == "jsonl"
        for photo in dialogue.photos:
            assert isinstance(photo.source, Path)
            assert photo.source.is_relative_to(HERE)
            assert ".." not in photo.source.parts
            assert "\0" not in str(photo.source)
            (photo.caption or "").encode()
        assert len(dialogue.id) <= 128
        assert "/" not in dialogue.id
    path = tmp_path / "test.json"
    path.write_text(json.dumps([value, READERS[name][1]]), encoding="utf-8")
    told = Dropped()
    found = survey(name, {"test": corpus(name).read("test", tmp_path, told)}, told)
    assert found.total.dialogues == 1 + (dialogue is not None)
    json.dumps(found.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_by_the_command(
    tmp_path: Path, name: str, data: Any
) -> None:
    """Cut anywhere, or with a byte changed: exit code 0, or 2 with file and record."""
    whole = json.dumps([READERS[name][1]] * 2).encode()
    at = data.draw(st.integers(0, len(whole)))
    if data.draw(st.booleans()):
        whole = whole[:at]
    else:
        whole = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    (tmp_path / "test.json").write_bytes(whole)
    result = CliRunner().invoke(app, ["stats", name, "--from", str(tmp_path), "--json"])
    assert result.exit_code in (0, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if result.exit_code == 2:
        assert "test.json" in result.stderr
        assert "record" in result.stderr or "is empty" in result.stderr


def test_what_was_dropped_is_named_with_its_place(tmp_path: Path) -> None:
    broken = PHOTOCHAT_ONE | {"dialogue": [*PHOTOCHAT_ONE["dialogue"], {"message": 3}]}
    (tmp_path / "test.json").write_text(json.dumps([PHOTOCHAT_ONE, broken]))
    result = CliRunner().invoke(app, ["stats", "photochat", "--from", str(tmp_path)])
    assert result.exit_code == 0
    told = "1 × a turn without a user_id or with a message that is no string, first in "
    assert told + f"{tmp_path / 'test.json'}, record 1." in result.stderr


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://a.example/x.jpg", "https://a.example/x.jpg"),
        ("HTTPS://A.example/X.jpg", "https://A.example/X.jpg"),
        ("http://a.example/a b.jpg", "http://a.example/a%20b.jpg"),
        (" http://a.example/x\n", "http://a.example/x"),
        ("http://a.example/é%20", "http://a.example/é%20"),
        ("http:/a.example/x", None),
        ("http://a b.example/x", None),
        ("http:///x", None),
        ("ftp://a.example/x", None),
        ("javascript:alert(1)", None),
        ("http://a.example/\x1b[2J", None),
        ("http://a.example/a\tb", None),
        ("http://" + "a" * 5000, None),
        (7, None),
        (None, None),
    ],
)
def test_addresses_of_photos(value: Any, url: str | None) -> None:
    dropped = Dropped()
    assert url_of(value, "f", dropped) == url
    assert bool(dropped.reasons) is (url is None)


NOT_A_PHOTO = {
    "photochat": PHOTOCHAT_ONE | {"photo_id": None, "photo_url": "nowhere"},
    "dialogcc": {
        "dialogue_id": "1",
        "dialogue": [
            {"utterance": "Hi", "speaker": "Ann", "shared_image": []},
            {"utterance": "Look", "speaker": "Ben", "shared_image": [{"image_url": 3}]},
            {"utterance": "Nice", "speaker": "Ann", "shared_image": 3},
        ],
    },
    "mmdialog": {
        "conversation": [
            {"turn": [{"__TEXT__": "Hi"}]},
            {"turn": [{"__TEXT__": "Look"}, {"__MEDIA__": "../x"}]},
            {"turn": [{"__MEDIA__": None}, {"__TEXT__": "Nice"}]},
        ]
    },
}


@pytest.mark.parametrize("name", NOT_A_PHOTO)
def test_a_photo_of_which_nothing_is_known_is_still_a_photo(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its turn is no turn without a photo, from which an agent would learn not to share one."""
    dialogue, dropped = read(name, NOT_A_PHOTO[name])
    assert dialogue is not None
    assert dropped.reasons
    assert dialogue.turns[1].photo is not None
    assert dialogue.turns[1].photo.source == HERE / "unknown/test-0.jpg"
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path))
    (tmp_path / name).mkdir()
    values = [NOT_A_PHOTO[name], READERS[name][1]]
    (tmp_path / name / "train.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=f"No instance of {name} train has all its photos"):
        corpus(name).load("train", photos="strict")
    assert "photos are not on disk" in " ".join(capsys.readouterr().err.split())
    told = survey(name, {"train": corpus(name).read("train", tmp_path / name)})
    assert told.total.missing_photos >= 2


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        ("bst:4093", "bst:4093"),
        (12, "12"),
        (None, "9"),
        ({}, "9"),
        (True, "9"),
        ("", "9"),
    ],
)
def test_ids(value: Any, safe: str) -> None:
    assert clean_id(value, 9) == safe


@pytest.mark.parametrize("value", ["../../x", "a/b", ".", "..", "x" * 500, "a\0b", "ä", "\ud800"])
def test_unsafe_ids_stay_apart_and_are_no_paths(value: str) -> None:
    safe = clean_id(value, 0)
    assert "/" not in safe
    assert safe.strip(".")
    assert len(safe) <= 96
    assert safe != clean_id(value + "x", 0)


@pytest.mark.parametrize(
    "path", ["../x.png", "/etc/x.png", "dataset.json", "test.jsonl", "a\0.png", "a" * 300 + ".png"]
)
def test_photos_of_ours_stay_in_their_folder_and_are_photos(path: str) -> None:
    """The response that shares another one is no response without a photo: it ends the dialogue."""
    said = [{"speaker": s, "text": s} for s in "ABBAB"]
    said[2]["photo"] = {"path": path, "url": "http://a/b"}
    dialogue, dropped = read("jsonl", {"turns": said})
    assert dialogue is not None
    assert [(turn.speaker, turn.photo) for turn in dialogue.turns] == [("A", None)]
    (reason,) = dropped.reasons
    assert reason.startswith("a photo ") and reason.endswith("its response and all that follow")
    dialogue, dropped = read("jsonl", {"turns": said[1:]})
    assert dialogue is None and dropped.reasons


# ---------------------------------------------------------------------------- examples


@pytest.mark.parametrize("name", ["photochat", "dialogcc", "mmdialog"])
def test_the_examples_are_dialogues_with_a_photo(name: str) -> None:
    from pscli.predictions.generate import read_dialogue

    dialogue = read_dialogue(ROOT / "examples" / f"{name}.json")
    assert len(dialogue.responses) >= 3
    assert len({turn.speaker for turn in dialogue.turns}) == 2
    (photo,) = dialogue.photos
    assert photo.open().size == (64, 64)


def test_a_context_without_its_photo_is_refused(tmp_path: Path) -> None:
    from pscli.predictions.generate import read_dialogue

    (tmp_path / "x.json").write_text(json.dumps(PHOTOCHAT_ONE))
    with pytest.raises(PscliError, match="does not exist"):
        read_dialogue(tmp_path / "x.json")
