"""What `inspect` and `doctor` say, against counts by hand and the files that they speak of."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import pscli
from hub import serving
from pscli.cli import app
from pscli.cli.doctor import EXTRAS
from pscli.config import changed, tiny
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.dialogue.sequence import IGNORE
from pscli.photoworld.dataset import Photoworld
from pscli.plan.tokens import Reader


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(tiny())


def run(*args: str | Path) -> Any:
    return CliRunner().invoke(app, list(map(str, args)))


def test_pieces_of_a_sequence_are_the_sequence(reader: Reader) -> None:
    """Oracle: labels, segments and photos, token by token."""
    kinds, dialogues = set(), Photoworld().load("dev", 12)
    assert reader.count(dialogues).responses == sum(len(d.responses) - 1 for d in dialogues)
    for dialogue in dialogues:
        for packed in reader.template.pack(dialogue):
            runs = list(reader.runs(packed))
            assert sum(run.tokens for run in runs) == len(packed)
            start = 0
            for run in runs:
                places = range(start, start + run.tokens)
                assert {packed.labels[n] != IGNORE for n in places} == {"supervised" in run.kind}
                assert {packed.segments[n] > 0 for n in places} == {"hidden" in run.kind}
                start += run.tokens
            photos = [run.tokens for run in runs if run.kind == "photo"]
            assert photos == [len(reader.template.see(photo)) for photo in packed.photos]
            kinds |= {run.kind for run in runs}
    assert kinds == {"context", "supervised", "hidden", "hidden, supervised", "photo"}


def test_what_is_cut_is_counted(random_dialogue: Callable[..., Dialogue]) -> None:
    """By hand: six messages of which two fit, and a caption that is too long for the encoder."""
    reader = Reader(changed(tiny(), "sequence.max_length", 40))
    words = "A red car at the beach " * 30
    turns = [Turn("AB"[n % 2], "one two three four five six") for n in range(6)]
    image = Image.new("RGB", (8, 8))
    plain = Dialogue(tuple(turns), "plain")
    # A name and an end.
    name = len(reader.template.letters[0])
    sizes = [name + len(reader.template.tokens(turn.text)) + 1 for turn in turns]
    assert len(set(sizes)) == 1
    fit = 39 // sizes[0]  # and one for the beginning
    cuts = reader.count([plain])
    assert (cuts.dialogues, cuts.responses) == (1, 5)
    assert cuts.shortened == 6 - fit
    assert cuts.missed == sizes[0] * sum(range(1, 7 - fit))

    wide = Reader(tiny())
    drawn = Dialogue(
        (turns[0], Turn("B", "", Photo(image, words)), Turn("A", "", Photo(image, "A car")))
    )
    cuts = wide.count([drawn])
    asked = wide.clip(words, truncation=False).input_ids
    assert (cuts.captions, cuts.long) == (2, 1)
    assert cuts.unread == len(asked) - wide.clip_length > 0
    read = wide.clip(words, truncation=True, max_length=wide.clip_length).input_ids
    whole = wide.clip.decode(read, skip_special_tokens=True) + wide.unread(words).text
    assert "".join(whole.split()) == "".join(words.lower().split())
    long = Dialogue((turns[0], Turn("B", "word " * 500)), "long")
    assert "longer than max_length" in reader.count([long]).dropped.lines()[0]


def test_inspect_shows_a_dialogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("inspect", "photoworld", "--split", "dev", "--index", 3, "--count", 5)
    assert done.exit_code == 0, done.output
    dialogue = Photoworld().load("dev", 4)[3]
    assert done.stdout.startswith(f"dialogue {dialogue.id} in 1 sequences")
    shown = " ".join(done.stdout.split())
    assert dialogue.responses[1].text in re.sub(
        r"\b(hidden|supervised|context)\b[, \d]*", "", shown
    )
    assert "5 dialogues: " in shown and "captions to draw: 0 are longer than" in shown
    assert "\x1b" not in done.output
    refused = run("inspect", "photoworld", "--split", "dev", "--index", 6000)
    assert refused.exit_code == 2 and "no number 6000" in refused.stderr


def test_doctor_looks_at_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path / "there" / "data"))
    (tmp_path / "runs").write_text("no folder")
    found = {x["name"]: x for x in json.loads(run("doctor", "--no-hub", "--json").stdout)}
    assert found["pscli"]["what"] == pscli.__version__
    assert "hub" not in found
    assert "not there yet" in found["datasets"]["what"] and not found["datasets"]["advice"]
    assert found["runs"]["advice"] == "runs cannot be written."
    assert re.fullmatch(r"\d+ threads", found["cpu"]["what"])
    assert re.fullmatch(r"[\d.,]+ GB", found["memory"]["what"])
    monkeypatch.setitem(EXTRAS, "chat", (("no-such-package",), "photos"))
    shown = run("doctor", "--no-hub")
    assert shown.exit_code == 0
    assert "For photos: pip install 'pscli[chat]'" in shown.stdout


def test_doctor_asks_the_hub_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    from pscli.cli.doctor import reach

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "not asked" in reach().what
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving(tmp_path, []) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert reach().what.startswith(f"{address} answers ")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert "cannot be reached" in reach().what
    assert reach().advice


def test_extras_are_those_of_the_package() -> None:
    pairs = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    known = pairs["project"]["optional-dependencies"]
    named = {x: {re.split(r"[>=<; ]", package)[0] for package in known[x]} for x in EXTRAS}
    assert named == {name: set(packages) for name, (packages, _) in EXTRAS.items()}
    assert set(known) - set(EXTRAS) == {"dev", "docs", "tokenizers"}
