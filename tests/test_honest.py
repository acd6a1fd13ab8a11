"""Photos unlike those of the training are flagged, those like them are not, in every interface."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from pscli.cli import app
from pscli.components.familiar import Familiar
from pscli.config import changed, tiny
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import CheckpointError, DataError
from pscli.files import write_json
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.shipped import AGENT
from pscli.systems.agent import INDEX, Agent, checksums, verify
from pscli.systems.card import card
from pscli.systems.honest import FAMILIAR, PHOTOS, acquainted, some_of
from pscli.training.acquaint import acquaint

EXAMPLES = Path(__file__).parents[1] / "examples"
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
STAMPS = Path("/usr/share/tuxpaint/stamps")  # Debian's tuxpaint-stamps-default


def drawn(count: int, width: int = 70, scale: float = 3.0) -> torch.Tensor:
    """[count, width] draws from a Gaussian whose variances fall."""
    generator = torch.Generator().manual_seed(5)
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    stretch = scale / torch.arange(1, width + 1)
    return torch.randn(count, width, generator=generator) * stretch @ turn + 4


# ------------------------------------------------------------------------------- the distance


def test_the_distance_is_that_of_the_dense_covariance() -> None:
    """Oracle: the covariance of Tipping & Bishop's Eqs. 7 and 8, built and inverted."""
    x = drawn(400)
    familiar = Familiar.fit(x)
    assert familiar is not None
    rows = x.double().numpy()
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    kept = 400 // 8
    rest = values[:-kept].mean()
    w = vectors[:, -kept:] @ np.diag(np.sqrt(values[-kept:] - rest))
    precise = np.linalg.inv(w @ w.T + rest * np.eye(70))
    other = np.concatenate([rows[:5], rows[:5] + 1, -rows[:5]]) - rows.mean(0)
    expected = np.sqrt(np.einsum("pd,de,pe->p", other, precise, other))
    found = familiar.distances(torch.from_numpy(other + rows.mean(0)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-3)  # directions are of 16 bits


def test_the_limit_is_that_of_photos_which_took_no_part() -> None:
    """Of new draws, as many are beyond it as were meant to be; measured by itself, a fit would
    find its own draws nearer."""
    everything = drawn(21_000)
    familiar = Familiar.fit(everything[:1000])
    assert familiar is not None
    beyond = np.mean(familiar.unlike(everything[1000:]))
    # 5 of 1,000 are beyond the limit: a relative standard error of 1/sqrt(5), twice
    assert beyond == pytest.approx(0.005, abs=0.005)
    own = familiar.distances(everything[:1000]).quantile(0.995)
    assert familiar.limit > float(own) * 1.01


@pytest.mark.parametrize("features", [drawn(99), torch.ones(200, 8)])
def test_of_few_photos_or_one_photo_nothing_is_said(features: torch.Tensor) -> None:
    assert Familiar.fit(features) is None


def test_what_is_kept_is_what_was_found(tmp_path: Path) -> None:
    familiar = Familiar.fit(drawn(150))
    assert familiar is not None
    (tmp_path / "f").write_bytes(familiar.to_bytes())
    again = Familiar.from_file(tmp_path / "f")
    assert (again.rest, again.limit) == (familiar.rest, familiar.limit)
    assert torch.equal(again.distances(drawn(9)), familiar.distances(drawn(9)))


# -------------------------------------------------------------------------- the bundled agent

bundled = pytest.mark.skipif(not (AGENT / FAMILIAR).is_file(), reason="no bundled agent")


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent.from_pretrained(device="cpu", words_first=True)


def share(agent: Agent, images: Sequence[Image.Image]) -> float:
    """How many photos are flagged, of 1."""
    return len(agent.unlike([Photo(image) for image in images])) / len(images)


@pytest.fixture(scope="module")
def cartoons() -> list[Image.Image]:
    return [p.open() for dialogue in Photoworld().load("test", 150) for p in dialogue.photos][:200]


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


@bundled
def test_cartoons_are_not_flagged_however_they_were_sent(
    agent: Agent, cartoons: list[Image.Image]
) -> None:
    assert len(cartoons) == 200
    assert share(agent, cartoons) <= 0.02
    some = cartoons[:60]
    assert share(agent, [image.resize((300, 300)) for image in some]) <= 0.04
    assert share(agent, [image.resize((32, 32)) for image in some]) <= 0.04
    for quality in (90, 50, 30):
        assert share(agent, [as_jpeg(image, quality) for image in some]) <= 0.04


@bundled
def test_what_the_agent_draws_is_not_flagged(agent: Agent) -> None:
    shared = [p for d in Photoworld().load("test", 20) for p in d.photos][:16]
    keys = [("", number) for number in range(16)]
    sent = agent.draw([str(photo.caption) for photo in shared], keys)
    assert len(agent.unlike(sent)) <= 1


@bundled
def test_what_is_no_cartoon_of_photoworld_is_flagged(agent: Agent) -> None:
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(20)]
    plain = [Image.new("RGB", (9, 9), tuple(rng.integers(0, 256, 3).tolist())) for _ in range(20)]
    assert share(agent, noise) >= 0.95
    assert share(agent, plain) >= 0.95
    hopper = Photo(HOPPER).open()
    parts = [hopper.crop((x, y, x + 250, y + 250)) for x in (0, 130, 260) for y in (0, 170, 350)]
    seen = [hopper, hopper.convert("L"), *parts]
    assert share(agent, seen) == 1
    page = Image.open(EXAMPLES.parent / "docs" / "images" / "loss.png")
    assert share(agent, [page]) == 1


@bundled
def test_photos_of_the_real_world_are_flagged(agent: Agent) -> None:
    """scikit-image's own and Debian's stamps, where they are installed."""
    data = pytest.importorskip("skimage.data")
    folder = Path(data.__file__).parent
    there = [p for p in sorted(folder.iterdir()) if p.suffix in (".png", ".jpg", ".gif")]
    assert len(there) > 20
    assert share(agent, [Photo(path).open() for path in there]) >= 0.95


@bundled
@pytest.mark.skipif(not STAMPS.is_dir(), reason="tuxpaint-stamps-default is not installed")
def test_stamps_are_flagged(agent: Agent) -> None:
    assert share(agent, [Photo(path).open() for path in sorted(STAMPS.rglob("*.png"))]) >= 0.95


@bundled
def test_in_16_bits_it_sees_the_same(agent: Agent, cartoons: list[Image.Image]) -> None:
    rounded = Agent.from_pretrained(device="cpu", dtype="bfloat16", words_first=True)
    assert share(rounded, cartoons) <= 0.03
    assert share(rounded, [Photo(HOPPER).open()]) == 1


@bundled
def test_the_bundled_agent_has_its_card(agent: Agent) -> None:
    text = (AGENT / "README.md").read_text(encoding="utf-8")
    for told in ("license: apache-2.0", "Trained on `photoworld`", "shows: cartoons", "guesses"):
        assert told in text
    assert (AGENT / FAMILIAR).stat().st_size < 200_000


# ------------------------------------------------------------------------------- interfaces


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One photo of the world shown, and one cartoon."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(HOPPER, "hopper.jpg")
    shutil.copy(EXAMPLES / "kites.png", "kites.png")
    turns = [
        {"speaker": "A", "text": "Look at her!", "photo": "hopper.jpg"},
        {"speaker": "A", "text": "And at these.", "photo": "kites.png"},
    ]
    Path("talk.json").write_text(json.dumps({"turns": turns}))
    return tmp_path


@bundled
def test_generate_flags_them(talk: Path) -> None:
    done = CliRunner().invoke(app, ["generate", "--context", "talk.json"])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("is unlike the photos") == 1
    told = " ".join(done.stderr.split())
    assert (
        "Note: hopper.jpg is unlike the photos that this agent was trained on (photoworld's "
        "cartoons): its answers about it are guesses." in told
    )
    assert "train-e2e --dataset photochat" in told
    assert "unlike" not in done.stdout
    done = CliRunner().invoke(app, ["generate", "--context", "talk.json", "--json"])
    found = json.loads(done.stdout)
    assert found["unlike"] == [str(talk / "hopper.jpg")]
    assert "hopper.jpg is unlike" in found["notes"][-1]


@bundled
def test_chat_flags_each_once_when_it_is_shown(talk: Path) -> None:
    lines = "/photo hopper.jpg\nLook at her!\n/photo kites.png\nHow many?\nSure?\n"
    done = CliRunner().invoke(app, ["chat", "--json"], input=lines)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("hopper.jpg is unlike the photos") == 1
    assert done.stderr.count("is unlike") == 1
    assert done.stderr.index("is unlike") < done.stderr.index("It goes with")
    assert json.loads(done.stdout)["unlike"] == [str(talk / "hopper.jpg")]


@bundled
def test_in_python_a_reply_tells_of_them_once_a_talk(agent: Agent) -> None:
    hopper, words = Photo(HOPPER), Turn("B", "Nice.")
    shown = Dialogue((Turn("A", "Look!", hopper),))
    reply = agent.respond(shown)
    assert reply.unlike == (hopper,)
    assert "grace_hopper.jpg is unlike" in reply.notes[-1]
    # What the agent itself has sent is not for it to be flagged.
    assert agent.respond(replace(shown, turns=(*shown.turns, words)), "A").unlike == ()
    chat = agent.chat(shown)
    assert chat.answer().unlike == (hopper,)
    assert chat.say("Who is it?").unlike == ()
    assert chat.unlike == [hopper]
    chat.go_on(Dialogue(()))
    assert chat.unlike == []


def test_an_agent_that_does_not_know_says_nothing(talk: Path, tmp_path: Path) -> None:
    shutil.copytree(AGENT, "mute")
    Path("mute", FAMILIAR).unlink(missing_ok=True)
    Path("mute", INDEX).unlink()
    mute = Agent.from_pretrained("mute", device="cpu", words_first=True)
    assert mute.unlike([Photo(HOPPER)]) == []
    reply = mute.respond(Dialogue((Turn("A", "Look!", Photo(HOPPER)),)))
    assert reply.unlike == () and not any("unlike" in note for note in reply.notes)
    # By one command it knows, as one does that was just trained.
    settings = json.loads(Path("mute/agent_config.json").read_text())
    settings["train"]["dialogues"] = 150
    Path("mute/agent_config.json").write_text(json.dumps(settings))
    Path("mute/README.md").unlink(missing_ok=True)
    assert acquaint("mute") == Path("mute", FAMILIAR)
    knowing = Agent.from_pretrained("mute", device="cpu", words_first=True)
    assert len(knowing.unlike([Photo(HOPPER)])) == 1
    assert Path("mute/README.md").read_text() == card(knowing.config)
    save_file({"other": torch.ones(1)}, Path("mute", FAMILIAR))
    Path("mute", INDEX).unlink()
    with pytest.raises(CheckpointError, match=r"familiar.safetensors cannot be read") as caught:
        Agent.from_pretrained("mute", device="cpu", words_first=True)
    assert "Delete it" in caught.value.hint


def test_an_agent_that_was_not_told_to_the_end_still_answers(
    talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(AGENT, "mute")
    Path("mute", FAMILIAR).unlink(missing_ok=True)
    settings = json.loads(Path("mute/agent_config.json").read_text())
    settings["train"]["dialogues"] = 150
    Path("mute/agent_config.json").write_text(json.dumps(settings))
    write_json(Path("mute", INDEX), {"sha256": checksums(Path("mute"))})

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pscli.training.acquaint.checksums", killed)
    with pytest.raises(KeyboardInterrupt):
        acquaint("mute")
    monkeypatch.setattr("pscli.training.acquaint.checksums", checksums)
    assert Agent.from_pretrained("mute", device="cpu", words_first=True).familiar
    acquaint("mute")
    assert verify(Path("mute"))


def test_without_photos_there_is_nothing_to_know(talk: Path) -> None:
    shutil.copytree(AGENT, "few")
    settings = json.loads(Path("few/agent_config.json").read_text())
    settings["train"]["dialogues"] = 5
    Path("few/agent_config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="has fewer than 100"):
        acquaint("few")


@pytest.mark.parametrize("name", ["end_to_end", "pipeline"])
def test_an_agent_keeps_what_it_knows(
    build: SimpleNamespace, random_photo: Any, tmp_path: Path, name: str
) -> None:
    rng = random.Random(0)
    photos = [random_photo(rng) for _ in range(120)]
    config = changed(tiny("e2e"), "dataset", "photoworld")
    agent = Agent(getattr(build, name)(), config)
    agent.acquaint(photos)
    assert agent.familiar is not None and not math.isinf(agent.familiar.limit)
    agent.save_pretrained(tmp_path / "agent")
    kept = Familiar.from_file(tmp_path / "agent" / FAMILIAR)
    assert kept.limit == agent.familiar.limit
    agent.acquaint(photos[:20])
    assert agent.familiar is None


def test_a_vision_encoder_that_trains_sees_some_photos_at_a_time(
    build: SimpleNamespace, random_photo: Any
) -> None:
    """Oracle: one that is frozen, which sees each alone."""
    rng = random.Random(0)
    photos = [random_photo(rng) for _ in range(100)]
    trained, frozen = build.end_to_end(), build.end_to_end().freeze()
    sizes: list[int] = []
    trained.perceptron.vision.register_forward_pre_hook(
        lambda module, pixels: sizes.append(len(*pixels))
    )
    found, expected = acquainted(trained, photos), acquainted(frozen, photos)
    assert found is not None and expected is not None
    assert max(sizes) <= 32 and sum(sizes) == 100
    torch.testing.assert_close(found.mean, expected.mean)
    assert found.limit == pytest.approx(expected.limit, rel=1e-3)


def test_photos_of_training_are_the_same_each_time_and_real() -> None:
    photos = [Photo(Image.new("RGB", (1, 1)), str(n), filled="x" * (n % 2)) for n in range(2400)]
    photos[0] = replace(photos[0], missing=True)
    dialogues = [Dialogue((Turn("A", "", photo),)) for photo in photos]
    some = some_of(dialogues)
    assert len(some) == len(set(map(id, some))) == PHOTOS
    assert not any(photo.filled or photo.missing for photo in some)
    assert list(map(id, some)) == list(map(id, some_of(dialogues)))
    assert some_of(dialogues[:3]) == [photos[2]]


@pytest.mark.slow
def test_a_run_leaves_an_agent_that_knows(tmp_path: Path) -> None:
    sets = {"train.dialogues": 150, "train.eval_dialogues": 2, "train.epochs": 1}
    words = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    run = tmp_path / "run"
    command = ["train-e2e", "--preset", "demo", "--run", str(run), *words]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    knowing = Agent.from_pretrained(run, device="cpu", words_first=True)
    assert len(knowing.unlike([Photo(HOPPER), Photo(EXAMPLES / "kites.png")])) == 1
