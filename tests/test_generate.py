"""Replies to a dialogue and to a split, with an agent that stands in for a trained one."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pscli import console
from pscli.cli import app
from pscli.config import Config
from pscli.dialogue.schema import Dialogue, Photo, Reply, Turn
from pscli.errors import DataError
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.shipped import AGENT
from pscli.predictions.folder import read_predictions
from pscli.predictions.generate import (
    Instance,
    batches,
    fingerprint,
    instances,
    predict,
    save_photos,
)
from pscli.predictions.settings import Settings, read_settings
from pscli.predictions.writer import writing
from pscli.systems.agent import Agent
from pscli.systems.base import Question

bundled = pytest.mark.skipif(
    not (AGENT / "agent_config.json").is_file(), reason="the bundled agent is not there"
)
RED = Image.new("RGB", (4, 4), "red")


class Parrot:
    """Repeats what it hears, and answers a photo with a red one."""

    config = Config()

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.noise: list[tuple[int, float]] = []
        self.best_of: list[int] = []

    def respond(
        self,
        dialogue: Dialogue,
        speaker: str | None = None,
        *,
        seed: int,
        temperature: float,
        best_of: int,
    ) -> Reply:
        question = Question(dialogue.responses, speaker or "B", dialogue.id)
        how = {"seed": seed, "temperature": temperature, "best_of": best_of}
        return self.respond_all([question], **how)[0]  # type: ignore[arg-type]

    def respond_all(
        self,
        questions: Sequence[Question],
        *,
        seed: int = 0,
        temperature: float = 0.0,
        best_of: int = 0,
    ) -> list[Reply]:
        self.asked.append([q.key for q in questions])
        self.best_of.append(best_of)
        self.noise.append((seed, temperature))
        replies = []
        for q in questions:
            last = q.responses[-1]
            drawn = [Photo(RED, "A red [square].")] if last.photos else []
            parts = (f"{q.speaker}: {last.text}", *drawn)
            replies.append(Reply(parts, f"raw {q.key}", ("odd",) if drawn else ()))
        return replies


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Parrot:
    agent = Parrot()
    monkeypatch.setattr(Agent, "from_pretrained", lambda folder=None, **options: agent)
    return agent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["generate", *map(str, args)])


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def write(turns: Any, name: str = "dialog.json") -> Path:
    Path(name).write_text(turns if isinstance(turns, str) else json.dumps({"turns": turns}))
    return Path(name)


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


# ---------------------------------------------------------------------------- one dialogue


def test_a_reply_is_printed_and_its_photo_saved(parrot: Parrot) -> None:
    Path("in").mkdir()
    RED.save("in/dog.jpg")  # relative to the dialogue, not to where we are
    context = write([{"speaker": "A", "text": "Hi [x]", "photo": "dog.jpg"}], "in/d.json")
    result = run("--context", context, "--seed", 7, "--temperature", 0.5)
    assert result.exit_code == 0, result.output
    assert result.stdout == "B: Hi [x]\n[photo] A red [square]. → replies/0001.png\n"
    assert result.stderr == ("Using the bundled agent; --agent names another.\nNote: odd\n")
    assert parrot.noise == [(7, 0.5)]
    with Image.open("replies/0001.png") as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)
    before = Path("replies/0001.png").read_bytes()
    Path("replies/0001.png").write_bytes(before + b"x")
    assert "replies/0002.png" in run("--context", context, "--agent", "a").stdout
    assert Path("replies/0001.png").read_bytes() == before + b"x"


def test_a_reply_as_json(parrot: Parrot) -> None:
    RED.save("dog.png")
    pairs = [{"speaker": "A", "text": "Hi", "photo": {"path": "dog.png", "caption": "A dog."}}]
    context = write(json.dumps([{"turns": pairs}]))  # a list of one
    shown = json.loads(run("--context", context, "--json", "--speaker", "C", "--out", "o").stdout)
    assert shown == {
        "text": "C: Hi",
        "captions": ["A red [square]."],
        "photos": ["o/0001.png"],
        "raw": "raw ",
        "notes": ["odd"],
        "unlike": [],
        "id": "",
        "turns": [
            pairs[0] | {"photo": {"path": str(Path("dog.png").absolute()), "caption": "A dog."}},
            {
                "speaker": "C",
                "text": "C: Hi",
                "photo": {"path": str(Path("o/0001.png").absolute()), "caption": "A red [square]."},
            },
        ],
    }


def test_photos_are_shown_in_a_terminal(parrot: Parrot, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    RED.save("dog.png")
    context = write([{"speaker": "A", "text": "Hi", "photo": "dog.png"}])
    assert "▀" not in run("--context", context).stdout
    with open("shown", "w") as file:
        terminal = Console(file=file, force_terminal=True, width=20, color_system="truecolor")
        monkeypatch.setattr(console, "stdout", terminal)
        assert run("--context", context).exit_code == 0
    assert Path("shown").read_text().count("▀") == 20 * 10


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"turns": [', "dialog.json is not valid JSON: Expecting value at line 1, column 12."),
        ("[]", "dialog.json is a list of 0 values"),
        ('[{"turns": []}, {"turns": []}]', "dialog.json is a list of 2 values"),
        ('{"turns": []}', "dialog.json is empty"),
        ('"hi"', "dialog.json has no list of turns"),
        ("[" * 100_000, "dialog.json is nested too deeply"),
        ('{"turns": [{"speaker": "A", "text": 1}]}', "turn 0: the text is int"),
        ('{"turns": [{"speaker": "A", "text": "x", "truth": {"no": 1}}]}', "the truth has another"),
        ('{"turns": [{"speaker": "A", "photo": "gone.png"}]}', "gone.png does not exist"),
        ('{"turns": [{"speaker": "A", "photo": "text.png"}]}', "text.png is not an image"),
        ('{"turns": [{"speaker": "A", "photo": "cut.png"}]}', "cut.png is not an image"),
        ('{"turns": [{"speaker": "A", "photo": "huge.png"}]}', "huge.png has far too many pixels"),
        ('{"turns": [{"speaker": "A", "photo": "."}]}', "is a folder"),
    ],
)
def test_a_dialogue_that_cannot_be_read(parrot: Parrot, text: str, problem: str) -> None:
    Path("text.png").write_text("I am no photo.")
    Path("huge.png").write_bytes(png(50_000, 50_000))
    Path("cut.png").write_bytes(png(50, 50)[:50])
    refused(run("--context", write(text)), problem)
    assert parrot.asked == []
    assert not Path("replies").exists()


def test_a_context_that_is_missing_or_a_folder(parrot: Parrot) -> None:
    refused(run("--context", "gone.json"), "gone.json does not exist")
    refused(run("--context", "."), "cannot be read")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--context", "a.json", "--split", "dev", "--captions", "x"], "--split, --captions"),
        (["--dataset", "photoworld", "--json", "--speaker", "A"], "--speaker, --json"),
    ],
)
def test_options_of_the_other_way_to_ask_are_refused(words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", " ").split())


def test_an_agent_that_is_none(tmp_path: Path) -> None:
    context = write([{"speaker": "A", "text": "Hi"}])
    refused(run("--context", context, "--agent", tmp_path), "holds no agent", "train-e2e")


def test_numbers_go_on_after_the_highest(tmp_path: Path) -> None:
    for name in ("0007.png", "notes.png", "9.txt"):
        (tmp_path / name).touch()
    two = Reply((Photo(RED), "x", Photo(RED)))
    assert [path.name for path in save_photos(two, tmp_path)] == ["0008.png", "0009.png"]


@bundled
def test_the_bundled_agent_answers(tmp_path: Path) -> None:
    context = write([{"speaker": "A", "text": "Hello! How are you?"}])
    result = run("--context", context)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()


# ---------------------------------------------------------------------------- a split


def talk() -> Dialogue:
    turns = (
        Turn("A", "Hi there, this is long"),
        Turn("B", "Ho", Photo(RED, "red")),
        Turn("B", "!"),
        Turn("A", "Aha"),
    )
    return Dialogue(turns, "d")


def test_every_response_after_the_first_is_an_instance() -> None:
    one, two = instances([talk(), Dialogue((Turn("A", "alone"),), "e")])
    responses = talk().responses
    assert (one.question, one.gold) == (Question(responses[:1], "B", "d/1"), responses[1])
    assert (two.question, two.gold) == (Question(responses[:2], "A", "d/2"), responses[2])


def test_a_response_that_no_score_would_read_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    car = Photo(Image.new("RGB", (8, 8)), "A car.")
    turns = [Turn("A", "Hi"), Turn("B", "x" * 20_001), Turn("A", "Oh"), Turn("B", "x" * 20_000)]
    turns += [Turn("A", "x" * 19_990), Turn("A", photo=car)]
    work = instances([Dialogue(tuple(turns), "d")])
    assert [instance.question.key for instance in work] == ["d/2", "d/3"]
    assert len(work[0].question.responses[1].text) == 20_001  # others see it
    assert "Left out: 2 × a response of more than 20,000 characters." in capsys.readouterr().err


def test_two_dialogues_of_one_id_are_refused() -> None:
    with pytest.raises(DataError, match=r"Two dialogues have the id 'd'\. Rename one"):
        instances([talk(), talk()])


OWN = """
from pscli.dialogue.schema import Dialogue, Turn
class Mine:
    name, licence, citation, splits = "mine", "none", "none", ("test", "mute")
    def load(self, split, count=None):
        turns = (Turn("A", "one"), Turn("B", "two"))
        return [Dialogue(turns[: 2 if split == "test" else 1], "d")]
"""


def test_a_dataset_of_ones_own_is_kept_by_the_name_that_finds_it(parrot: Parrot) -> None:
    Path("own_data.py").write_text(OWN)
    result = run("--dataset", "own_data:Mine", "--out", "preds")
    assert result.exit_code == 0, result.output
    found = read_settings(Path("preds"))
    assert found is not None and found.dataset == "own_data:Mine"
    refused(
        run("--dataset", "own_data:Mine", "--split", "mute"),
        "No dialogue of own_data:Mine mute has two responses.",
    )


def test_folders_are_looked_at_before_an_agent_is_loaded(
    parrot: Parrot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: object = None, **options: object) -> None:
        raise AssertionError("an agent was loaded")

    Path("mine").mkdir()
    Path("mine/thesis.txt").touch()
    monkeypatch.setattr(Agent, "from_pretrained", load)
    refused(run("--dataset", "photoworld", "--count", 1, "--out", "mine"), "mine exists already")
    refused(run("--dataset", "photoworld", "--count", 1, "--out", "."), ". cannot be replaced")
    failed = run("--dataset", "photoworld", "--count", 1, "--out", "new")
    assert isinstance(failed.exception, AssertionError)
    assert not Path("new").exists()  # what never began leaves nothing


def test_batches_hold_everything_once_and_dialogues_together() -> None:
    work = instances(Photoworld().load("test", 12))

    def dialogue(instance: Instance) -> str:
        return instance.question.key.split("/")[0]

    def length(instance: Instance) -> int:
        context = instance.question.responses
        return sum(len(r.text) + 100 * len(r.photos) for r in context)

    cut = batches(work, 20)
    assert all(len(batch) <= 20 for batch in cut)
    assert all(len(a) + len(b) > 20 for a, b in pairwise(cut))  # as few as in this order
    whole = [list(group) for batch in cut for _, group in groupby(batch, dialogue)]
    kept = {dialogue(group[0]): group for group in whole}
    assert kept == {name: list(group) for name, group in groupby(work, dialogue)}
    assert len(whole) == len(kept) == 12
    longest = [length(group[-1]) for group in whole]
    assert longest == sorted(longest)
    # One of more than a batch is cut, in order.
    pieces = batches(whole[0], 3)
    assert [i for piece in pieces for i in piece] == whole[0]
    assert [len(piece) for piece in pieces[:-1]] == [3] * (len(pieces) - 1)


def test_a_split_is_answered_into_a_folder_that_scores(parrot: Parrot) -> None:
    result = run("--dataset", "photoworld", "--count", 2, "--out", "preds", "--batch", 5)
    assert result.exit_code == 0, result.output
    dialogues = Photoworld().load("test", 2)
    golds = {i.question.key: i for i in instances(dialogues)}
    assert result.stdout == f"preds: {len(golds)} instances\n"
    found = read_predictions(Path("preds"))
    assert {p.id for p in found} == set(golds)
    for p in found:
        gold, before = golds[p.id].gold, golds[p.id].question.responses[-1]
        assert p.reference.text == gold.text
        assert p.truth == gold.truth
        assert p.kind == gold.truth.kind
        assert p.prediction.text == f"{gold.speaker}: {before.text}"
        assert len(p.prediction.photos) == bool(before.photos)
        assert [Photo(f).open().tobytes() for f in p.reference.photos] == [
            photo.open().tobytes() for photo in gold.photos
        ]
    assert {f.parent.name for p in found for f in p.reference.photos} == {"gold"}
    assert {f.parent.name for p in found for f in p.prediction.photos} == {"images"}
    settings = json.loads(Path("preds/config.json").read_text())
    assert settings["agent"] == "bundled"
    assert (settings["dataset"], settings["split"], settings["seed"]) == ("photoworld", "test", 0)


def test_an_interrupted_split_goes_on_to_the_same_end(parrot: Parrot) -> None:
    line = ["--dataset", "photoworld", "--count", 1, "--batch", 3, "--out"]
    run(*line, "whole")
    count, asked = len(parrot.asked), parrot.asked.copy()
    calls = parrot.respond_all

    def interrupted(*args: Any, **options: Any) -> list[Reply]:
        if len(parrot.asked) == count + 2:
            raise KeyboardInterrupt
        return calls(*args, **options)

    parrot.respond_all = interrupted  # type: ignore[method-assign]
    result = run(*line, "cut")
    assert result.exit_code == 130
    assert "Give the same command again to go on" in result.stderr
    path = Path("cut/predictions.jsonl")
    assert len(path.read_text().splitlines()) == 6
    path.write_bytes(path.read_bytes()[:-20])  # the last line was being written
    parrot.respond_all = calls  # type: ignore[method-assign]
    parrot.asked.clear()
    result = run(*line, "cut")
    assert result.exit_code == 0, result.output
    assert "5 instances are there already" in result.stderr
    assert parrot.asked == asked[1:]  # batches that had been finished are not asked again
    assert (
        Path("cut/predictions.jsonl").read_bytes() == Path("whole/predictions.jsonl").read_bytes()
    )


def test_a_split_that_replaces_another_goes_on_without_overwrite(parrot: Parrot) -> None:
    line = ["--dataset", "photoworld", "--count", 1, "--batch", 3, "--out", "preds"]
    run(*line)
    whole, calls = Path("preds/predictions.jsonl").read_bytes(), parrot.respond_all
    most = 0

    def interrupted(*args: Any, **options: Any) -> list[Reply]:
        if len(parrot.asked) == most:
            raise KeyboardInterrupt
        return calls(*args, **options)

    parrot.respond_all = interrupted  # type: ignore[method-assign]
    for most, hint in ((0, "again to go on."), (2, "again, without --overwrite, to go on.")):
        parrot.asked.clear()
        result = run(*line, "--overwrite")
        assert result.exit_code == 130
        assert f"Stopped. Give the same command {hint}\n" in result.stderr
        there = Path("preds/predictions.jsonl").read_bytes()
        assert there == whole[: len(there)] and (there == whole) == (most == 0)
    parrot.respond_all = calls  # type: ignore[method-assign]
    result = run(*line)
    assert result.exit_code == 0 and "6 instances are there already" in result.stderr
    assert Path("preds/predictions.jsonl").read_bytes() == whole


def test_what_a_folder_holds_beside_what_is_asked_for_is_told(parrot: Parrot) -> None:
    line = ["--dataset", "photoworld", "--batch", 3, "--out", "preds", "--count"]
    run(*line, 2)
    held = len(Path("preds/predictions.jsonl").read_text("utf-8").splitlines())
    result = run(*line, 1)
    assert result.exit_code == 0 and f"{held - 7} of them are not asked for now" in result.stderr
    assert result.stdout == f"preds: {held} instances\n"


def test_predictions_made_otherwise_are_not_mixed(parrot: Parrot) -> None:
    line = ["--dataset", "photoworld", "--count", 1, "--out", "preds"]
    assert run(*line).exit_code == 0
    refused(run(*line, "--seed", 1), "preds was generated with seed 0, not 1", "--overwrite")
    refused(run(*line, "--split", "dev"), "split 'test', not 'dev'")
    refused(run(*line, "--temperature", 1), "temperature 0.0, not 1.0")
    refused(run(*line, "--best-of", 2), "best_of 1, not 2")
    refused(run(*line, "--dtype", "bfloat16"), "dtype None, not 'bfloat16'")
    assert run(*line, "--seed", 1, "--overwrite").exit_code == 0
    assert json.loads(Path("preds/config.json").read_text())["seed"] == 1
    half = [*line[:-1], "half", "--dtype", "bfloat16"]
    for more in ([], [], ["--overwrite"]):
        assert run(*half, *more).exit_code == 0
        settings = read_settings(Path("half"))
        assert settings and settings.dtype == "bfloat16"
    Path("mine").mkdir()
    Path("mine/thesis.txt").touch()
    others = ["--dataset", "photoworld", "--out", "mine"]
    refused(run(*others), "mine exists already")
    refused(run(*others, "--overwrite"), "no config.json")
    assert Path("mine/thesis.txt").is_file()


def test_how_often_captions_are_drawn_reaches_the_agent(parrot: Parrot) -> None:
    """Left unsaid where it is once: an agent of one's own need not know of it."""
    context = write([{"speaker": "A", "text": "Hi"}])
    assert run("--context", context, "--best-of", 3).exit_code == 0
    line = ["--dataset", "photoworld", "--count", 1, "--batch", 99, "--out"]
    assert run(*line, "once").exit_code == run(*line, "best", "--best-of", 4).exit_code == 0
    assert parrot.best_of == [3, 0, 4]
    found = [read_settings(Path(name)) for name in ("once", "best")]
    assert [settings and settings.best_of for settings in found] == [1, 4]
    for count in (0, -1, 1001, 10**20):
        refused(run("--context", context, "--best-of", count), "--best-of")


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "1e9"])
def test_a_temperature_that_is_none_is_refused_before_a_folder_is_made(
    parrot: Parrot, value: str
) -> None:
    refused(run("--dataset", "photoworld", "--out", "p", "--temperature", value), "--temperature")
    assert not Path("p").exists()


def test_the_folder_is_named_after_the_agent(parrot: Parrot) -> None:
    line = ["--dataset", "photoworld", "--count", 1]
    Path("runs/e2e/agent").mkdir(parents=True)
    for agent in ("runs/e2e", "runs/e2e/agent"):
        result = run(*line, "--agent", agent, "--overwrite")
        assert result.stdout.startswith("preds/e2e: ")
    assert run(*line).stdout.startswith("preds/bundled: ")
    refused(run(*line, "--split", "tst"), "no split 'tst'")


def test_noise_reaches_the_agent(tmp_path: Path) -> None:
    agent = Parrot()
    settings = Settings("a", "w", "jsonl", "test", seed=4, temperature=0.3)
    with writing(tmp_path / "preds", settings) as writer:
        predict(agent, instances([talk()]), writer, lambda n: None, size=1)
    assert agent.noise == [(4, 0.3)] * 2
    assert sorted(agent.asked) == [["d/1"], ["d/2"]]


def test_a_fingerprint_tells_agents_apart(tmp_path: Path) -> None:
    weights = tmp_path / "llm" / "model.safetensors"
    weights.parent.mkdir()
    seen = {fingerprint(tmp_path)}
    for data in (b"", b"a" * 200_000, b"a" * 199_999 + b"b", b"b" + b"a" * 199_999, b"a" * 200_001):
        weights.write_bytes(data)
        seen.add(fingerprint(tmp_path))
        assert fingerprint(tmp_path) in seen
    assert len(seen) == 6
    (tmp_path / "notes.txt").write_text("x")
    assert fingerprint(tmp_path) in seen
