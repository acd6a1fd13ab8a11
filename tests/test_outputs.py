"""Outputs of other programs, read; what is broken of them is in `test_broken_predictions.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from pscli.cli import app
from pscli.predictions.folder import Prediction, Side, read_predictions


def test_plain_lists_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "hyp.txt").write_bytes("\ufeffa dog\r\n\nc\u2028d".encode())
    (tmp_path / "ref.txt").write_bytes(b"a cat\n b \n\n")
    assert read_predictions(tmp_path) == [
        Prediction("1", None, Side("a cat"), Side("a dog")),
        Prediction("2", None, Side(" b "), Side("")),
        Prediction("3", None, Side(""), Side("c\u2028d")),
    ]


def test_plain_lists_give_the_scores_of_the_same_texts(tmp_path: Path) -> None:
    """The empty reference is left out, the empty prediction counts: n is 2."""
    (tmp_path / "hyp.txt").write_text("the cat sat\n\nnoise\n")
    (tmp_path / "ref.txt").write_text("the cat is here\nyes\n\n")
    result = CliRunner().invoke(app, ["score", "--json", str(tmp_path)])
    assert result.exit_code == 0, result.output
    overall = json.loads(result.stdout)["systems"][str(tmp_path)]["overall"]
    found = {score["name"]: score for score in overall["scores"]}
    assert found["length"]["value"] == pytest.approx(1.5) and found["length"]["n"] == 2
    assert "|predictions-without-text:1" in found["length"]["signature"]
    assert found["BLEU-1"]["value"] == pytest.approx(100 * 2 / 3 * 2.718281828 ** (1 - 5 / 3))
    assert (tmp_path / "scores.json").is_file()


def said(*parts: str) -> dict[str, Any]:
    """A turn; a part that begins with `@` is a photo."""
    turn = [{"__MEDIA__": p[1:]} if p.startswith("@") else {"__TEXT__": p} for p in parts]
    return {"turn": turn}


def dump(folder: Path) -> None:
    real = [said("Hi"), said("See", "@-12", "nice"), said("Oh"), said("@5")]
    ours = [None, said("@-3", "there", "@4"), None, said("Bye")]
    (folder / "ref.json").write_text(json.dumps([{"conversation_id": 7, "conversation": real}]))
    (folder / "hyp.json").write_text(json.dumps({"conversation_id": "7", "conversation": ours}))


def test_conversations_in_the_form_of_mmdialog(tmp_path: Path) -> None:
    dump(tmp_path)
    paths = {}
    for name in ("images/-3.jpg", "images/4.png", "gold/-12.jpg", "gold/5.webp"):
        paths[name] = (tmp_path / name).resolve()
        paths[name].parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(paths[name])
    mark = "[img]  [/img]"
    first, second = read_predictions(tmp_path)
    assert first == Prediction(
        "7/1",
        None,
        Side("See nice", photos=(paths["gold/-12.jpg"],), told=f"See {mark} nice"),
        Side(
            "there",
            photos=(paths["images/-3.jpg"], paths["images/4.png"]),
            told=f"{mark} there {mark}",
        ),
    )
    assert (second.id, second.reference.photos) == ("7/3", (paths["gold/5.webp"],))
    assert second.reference.shares and not second.prediction.shares


def test_photos_that_nobody_has_were_sent_all_the_same(tmp_path: Path) -> None:
    """Without a folder for them, and only then."""
    dump(tmp_path)
    first, second = read_predictions(tmp_path)
    assert (first.reference.missing, first.prediction.missing) == (1, 2)
    assert (second.reference.missing, second.prediction.missing) == (1, 0)
    assert first.reference.photos == () and first.prediction.shares
