"""Contexts with drawn photos, and rollouts, with agents that know what is right or say nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pscli.cli import app
from pscli.components.noise import seeded
from pscli.dialogue.reply import Caption, recaptioned
from pscli.dialogue.schema import Dialogue, Photo, Reply, Response, Turn
from pscli.errors import ConfigError, DataError
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.shipped import AGENT
from pscli.predictions.folder import Prediction, Side, read_predictions
from pscli.predictions.generate import Instance, instances
from pscli.predictions.history import parts, predict_after
from pscli.predictions.settings import Settings
from pscli.predictions.writer import writing
from pscli.systems.agent import Agent
from pscli.systems.base import Question

bundled = pytest.mark.skipif(
    not (AGENT / "agent_config.json").is_file(), reason="the bundled agent is not there"
)
SETTINGS = Settings("stub", "", "photoworld", "test", 0, 0.0)
WORK = instances(Photoworld().load("test", 4))


class Knowing:
    """Says and sends what was really said and sent, and remembers what it was asked."""

    def __init__(self, work: Sequence[Instance] = WORK) -> None:
        self.gold = {instance.question.key: instance.gold for instance in work}
        self.asked: dict[str, Sequence[Response]] = {}
        self.drawn: list[tuple[str, tuple[str, int], int]] = []
        self.best_of: set[int] = set()
        self.captions: dict[str, Sequence[str]] = {}

    def respond_all(
        self,
        questions: Sequence[Question],
        *,
        seed: int = 0,
        temperature: float = 0.0,
        captions: Sequence[Sequence[str]] | None = None,
        best_of: int = 1,
    ) -> list[Reply]:
        self.asked |= {q.key: q.responses for q in questions}
        if captions is not None:
            self.captions |= dict(zip([q.key for q in questions], captions, strict=True))
        return [self.reply(q) for q in questions]

    def reply(self, question: Question) -> Reply:
        gold = self.gold[question.key]
        return Reply(
            tuple(p if isinstance(p, str) else Photo(p.open(), p.caption) for p in gold.parts)
        )

    def draw(
        self,
        captions: Sequence[str],
        keys: Sequence[tuple[str, int]],
        *,
        seed: int = 0,
        best_of: int = 1,
    ) -> list[Photo]:
        self.best_of.add(best_of)
        self.drawn += [(c, k, seed) for c, k in zip(captions, keys, strict=True)]
        return [Photo(Image.new("RGB", (8, 8), (len(c), 0, 0)), c) for c in captions]


class Silent(Knowing):
    def reply(self, question: Question) -> Reply:
        return Reply(())


def generate(
    agent: Knowing, folder: Path, work: Sequence[Instance] = WORK, **how: Any
) -> list[Prediction]:
    with writing(folder, replace(SETTINGS, **how)) as writer:
        predict_after(agent, work, writer, lambda done: None, size=5)
    return read_predictions(folder)


def seen(responses: Sequence[Response]) -> list[Any]:
    """Speakers, texts and pixels."""
    return [
        (r.speaker, [p if isinstance(p, str) else np.asarray(p.open()).tolist() for p in r.parts])
        for r in responses
    ]


def test_a_perfect_agent_sees_the_gold_history_in_its_rollouts(tmp_path: Path) -> None:
    """Oracle: the same instances after the gold history."""
    agent, teacher = Knowing(), Knowing()
    own = generate(agent, tmp_path / "own", history="own")
    gold = generate(teacher, tmp_path / "gold")
    assert agent.asked.keys() == teacher.asked.keys() == {i.question.key for i in WORK}
    for key, context in teacher.asked.items():
        assert seen(agent.asked[key]) == seen(context)
    left, right = ({p.id: p for p in some} for some in (own, gold))
    for id, p in right.items():
        mine = left[id]
        assert (mine.prediction.told, mine.reference.told) == (p.prediction.told, p.reference.told)
        assert mine.truth == p.truth and p.history == {}


def test_a_rollout_says_which_responses_of_its_context_were_its_own(tmp_path: Path) -> None:
    found = {p.id: p for p in generate(Knowing(), tmp_path, history="own")}
    sent = 0
    for instance in WORK:
        dialogue, _, number = instance.question.key.rpartition("/")
        mine = {
            k
            for k, r in enumerate(instance.question.responses)
            if k and r.speaker == instance.question.speaker
        }
        history = found[f"{dialogue}/{number}"].history
        assert history == {k: found[f"{dialogue}/{k}"].prediction.photos for k in mine}
        sent += any(history.values())
    assert sent


def test_the_partner_goes_on_when_the_agent_says_nothing(tmp_path: Path) -> None:
    agent = Silent()
    found = {p.id: p for p in generate(agent, tmp_path, history="own")}
    instance = max(WORK, key=lambda i: len(i.question.responses))
    heard = agent.asked[instance.question.key]
    others = [
        r for k, r in enumerate(instance.question.responses)
        if not k or r.speaker != instance.question.speaker
    ]  # fmt: skip
    turns = tuple(turn for r in others for turn in r.turns)
    assert seen(heard) == seen(Dialogue(turns).responses)
    mine = [k for k, r in enumerate(instance.question.responses)
            if k and r.speaker == instance.question.speaker]  # fmt: skip
    assert found[instance.question.key].history == dict.fromkeys(mine, ())


def test_an_interrupted_rollout_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    class Tired(Knowing):
        def reply(self, question: Question) -> Reply:
            if question.key.endswith("/4"):
                raise KeyboardInterrupt
            return super().reply(question)

    whole = generate(Knowing(), tmp_path / "whole", history="own")
    with pytest.raises(KeyboardInterrupt):
        generate(Tired(), tmp_path / "cut", history="own")
    assert 0 < len(read_predictions(tmp_path / "cut")) < len(WORK)
    agent = Knowing()
    again = generate(agent, tmp_path / "cut", history="own")
    assert [(p.id, p.prediction.told, p.history.keys()) for p in again] == [
        (p.id, p.prediction.told, p.history.keys()) for p in whole
    ]
    assert not any(key.endswith(("/1", "/2", "/3")) for key in agent.asked)
    teacher = Knowing()
    generate(teacher, tmp_path / "gold")
    for key, context in agent.asked.items():
        assert seen(context) == seen(teacher.asked[key])


def test_a_drawn_history_keeps_the_words_and_draws_each_photo_once(tmp_path: Path) -> None:
    agent = Knowing()
    found = {p.id: p for p in generate(agent, tmp_path, history="drawn")}
    sent = {
        (i.question.key.rpartition("/")[0], k): r
        for i in WORK
        for k, r in enumerate(i.question.responses)
        if r.photos
    }
    # The key of the reply to the instance, and where the photo stands in it: its own noise.
    assert sorted(agent.drawn) == sorted(
        (p.caption, (f"{dialogue}/{k}", at), 0)
        for (dialogue, k), r in sent.items()
        for at, p in enumerate(r.parts)
        if isinstance(p, Photo)
    )
    for instance in WORK:
        key, context = instance.question.key, instance.question.responses
        heard = agent.asked[key]
        assert [r.text for r in heard] == [r.text for r in context]
        for before, now in zip(context, heard, strict=True):
            for gold, drawn in zip(before.photos, now.photos, strict=True):
                assert drawn.caption == gold.caption
                assert drawn.open().getpixel((0, 0)) == (len(gold.caption or ""), 0, 0)
        assert list(found[key].history) == [k for k, r in enumerate(context) if r.photos]
    again = Knowing()
    generate(again, tmp_path, history="drawn")
    assert again.drawn == [] and again.asked == {} and agent.best_of == {1}


def test_what_is_left_of_a_batch_is_drawn_with_all_of_it(tmp_path: Path) -> None:
    agent = Knowing()
    generate(agent, tmp_path, history="drawn")
    known = sorted((tmp_path / "context").iterdir())
    kept, lost = known[0], known[1]
    white = Image.new("RGB", (8, 8), "white")
    white.save(kept)
    lost.unlink()
    (tmp_path / "predictions.jsonl").write_bytes(b"")
    again = Knowing()
    generate(again, tmp_path, history="drawn")
    assert len(again.drawn) == 5 < len(agent.drawn) and lost.is_file()
    assert {tuple(drawn) for drawn in again.drawn} <= {tuple(drawn) for drawn in agent.drawn}
    assert Image.open(kept).getpixel((0, 0)) == (255, 255, 255)  # what is there stays


def test_a_folder_that_is_replaced_has_its_context_drawn_anew(tmp_path: Path) -> None:
    generate(Knowing(), tmp_path, history="drawn")
    for path in (tmp_path / "context").iterdir():
        Image.new("RGB", (8, 8), "white").save(path)  # another agent's
    again = Knowing()
    with writing(tmp_path, replace(SETTINGS, history="drawn"), overwrite=True) as writer:
        predict_after(again, WORK, writer, lambda done: None, size=5)
    found = read_predictions(tmp_path)
    assert len(found) == len(WORK)
    shown = [p for responses in again.asked.values() for r in responses for p in r.photos]
    assert shown and all(p.open().getpixel((0, 0)) != (255, 255, 255) for p in shown)


def test_what_no_score_reads_stays_in_a_rollout(tmp_path: Path) -> None:
    long = "x" * 20_001
    turns = (Turn("A", "Hi"), Turn("B", long), Turn("A", "Oh"), Turn("B", "Well"))
    work = instances([Dialogue(turns, "d")])
    agent = Knowing(work)
    generate(agent, tmp_path, work, history="own")
    assert [r.text for r in agent.asked["d/3"]] == ["Hi", long, "Oh"]


def test_a_rollout_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    whole = generate(Knowing(), tmp_path, history="own")
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert generate(Knowing(), tmp_path, history="own") == whole


def test_the_drawing_that_was_chosen_is_what_stands_in_the_context(tmp_path: Path) -> None:
    """What the agent's `draw` gives, which is told how many to choose from."""
    agent = Knowing()
    generate(agent, tmp_path, history="drawn", best_of=4)
    assert agent.best_of == {4}
    for instance in WORK:
        for before, now in zip(
            instance.question.responses, agent.asked[instance.question.key], strict=True
        ):
            shown = [(len(p.caption or ""), 0, 0) for p in before.photos]
            assert [p.open().getpixel((0, 0)) for p in now.photos] == shown


def test_nothing_is_begun_by_an_agent_that_cannot_choose(tmp_path: Path) -> None:
    class Blind(Knowing):
        def draw(self, *args: Any, **how: Any) -> list[Photo]:
            raise ConfigError("sees no photos", "")

    with pytest.raises(ConfigError, match="sees no photos"):
        generate(Blind(), tmp_path / "new", history="drawn", best_of=4)
    assert not (tmp_path / "new").exists()


def test_gold_captions_are_asked_for_where_a_photo_is_due(tmp_path: Path) -> None:
    agent = Knowing()
    generate(agent, tmp_path, captions="gold")
    for instance in WORK:
        gold = [photo.caption for photo in instance.gold.photos]
        assert agent.captions[instance.question.key] == gold
    assert asdict(SETTINGS)["captions"] == "predicted"  # then none is asked for
    plain = Knowing()
    generate(plain, tmp_path / "plain")
    assert plain.captions == {}


@pytest.mark.parametrize("how", [{"captions": "gold"}, {"history": "drawn"}])
def test_a_photo_without_a_caption_cannot_be_drawn(tmp_path: Path, how: dict[str, str]) -> None:
    photo = Photo(Image.new("RGB", (8, 8)))
    turns = (Turn("A", "Hi"), Turn("B", "", photo), Turn("A", "Nice"))
    work = instances([Dialogue(turns, "d")])
    with pytest.raises(DataError, match="Instance 'd/1': a photo of the dataset has no caption"):
        generate(Knowing(work), tmp_path, work, **how)


def test_gold_captions_stand_where_predicted_ones_stood() -> None:
    a, b = Caption("a"), Caption("b")
    assert recaptioned(["x", a, "y"], ["g"]) == ["x", Caption("g"), "y"]
    assert recaptioned(["x", a, b], ["g"]) == ["x", Caption("g")]
    assert recaptioned(["x"], ["g", "h"]) == ["x", Caption("g"), Caption("h")]
    assert recaptioned([a, "x"], []) == ["x"]
    assert recaptioned([a, "x", b], ["", "g", " ", "h"]) == ["x", Caption("g"), Caption("h")]


def test_parts_of_a_prediction_come_in_order() -> None:
    one, two = Path("1.png"), Path("2.png")
    side = Side(
        "Hi there",
        ("A car.", "A [b]"),
        (one, two),
        told="Hi [img] A car. [/img] there [img] A [b] [/img]",
    )
    assert parts(side) == ["Hi", Photo(one, "A car."), "there", Photo(two, "A [b]")]
    assert parts(Side("Hi", ("c",), (one,))) == ["Hi", Photo(one, "c")]
    assert parts(Side()) == []


@bundled
def test_the_bundled_agent_draws_the_captions_that_it_is_told() -> None:
    agent = Agent.from_pretrained(device="cpu")
    question = WORK[0].question
    caption = "Red car at the beach."
    (reply,) = agent.respond_all([question], seed=3, captions=[[caption]])
    (words,) = agent.respond_all([question], seed=3)
    assert reply.captions == [caption] and reply.text == words.text
    at = next(i for i, part in enumerate(reply.parts) if isinstance(part, Photo))
    (drawn,) = agent.draw([caption], [(question.key, at)], seed=3)
    assert drawn.caption == caption and seeded(3, question.key, at) is not None
    assert np.array_equal(np.asarray(drawn.open()), np.asarray(reply.photos[0]))


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [("captions", "golden", "predicted, gold"), ("history", "mine", "gold, drawn, own")],
)
def test_unknown_ways_are_refused(option: str, value: str, known: str) -> None:
    result = CliRunner().invoke(
        app, ["generate", "--dataset", "photoworld", "--count", "1", f"--{option}", value]
    )
    assert result.exit_code == 2 and result.stdout == ""
    assert f"--{option} is '{value}'." in result.stderr and f"Known: {known}." in result.stderr


@pytest.mark.parametrize(
    "history", [[], {"x": []}, {"1": "images/1.png"}, {"-1": []}, {"1": ["images/none.png"]}]
)
def test_a_broken_history_is_named(tmp_path: Path, history: Any) -> None:
    side = {"text": "", "captions": [], "photos": []}
    record = {"id": "x/2", "reference": side, "prediction": side, "history": history}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match=r"predictions\.jsonl, line 1.*history"):
        read_predictions(tmp_path)
