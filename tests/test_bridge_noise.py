"""`make bridge-noise`: what a cell measures, the rule, the grid, and intervals."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bridge_noise
import noise_cell
import noise_table
import numpy as np
import pytest
import torch
from bridge_noise import CHOICE, KINDS, NOISES, Study, choosing, plan, stages
from noise_cell import FIGURES, Cell, Scale, colour_hits, due, image_losses, talk, with_every_colour
from noise_table import estimate, figure, side_by_side, tables

from pscli import console
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue, Turn
from pscli.dialogue.sequence import Packed
from pscli.files import locked, write_json
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.noise import colours, next_colour, recoloured, with_photos
from pscli.photoworld.scene import COLOURS
from pscli.systems.base import text_loss

MAKEFILE = Path(bridge_noise.__file__).parents[1] / "Makefile"
SMALL = Scale(2, 2, 2)


# -- cells -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_cells(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The whole of it: two steps, two dialogues to measure with; then the first one again."""
    threads = torch.get_num_threads()
    noise_cell.alone()
    one, other = Cell("next-colour-100", "vtm", 0, 100.0), Cell("next-colour-100", "none", 0)
    where = [tmp_path_factory.mktemp("cells") / f"{n}.json" for n in range(3)]
    for cell, out in zip((one, other, one), where, strict=True):
        noise_cell.keep(cell, SMALL, out, out)
    torch.set_num_threads(threads)
    *found, again = (json.loads(out.read_text()) for out in where)
    times = {"seconds", "trained"}
    assert {k: v for k, v in again.items() if k not in times} == {
        k: v for k, v in found[0].items() if k not in times
    }  # what a process has done before does not matter
    return found


def test_cells_train_and_are_measured_on_the_same_answers(two_cells: list[dict[str, Any]]) -> None:
    dev, test = (Photoworld().load(split, 2) for split in ("dev", "test"))
    words = {d.id: sum(len(colours(p.caption or "")) for r in d.responses[1:] for p in r.photos[:1])
             for d in dev}  # fmt: skip
    for found in two_cells:
        assert found["steps"] == 2
        assert {id: n for id, (_, n) in found["true colour first"].items()} == words
        assert len(found["image loss"]) == len(due(dev))
        for name in ("caption faithfulness", "photo faithfulness"):
            assert sum(n for _, n in found[name].values()) == len(due(test))
        assert found["talk"] > 0
    assert two_cells[0]["talk"] != two_cells[1]["talk"]
    report = tables(two_cells, "vtm")
    assert "### photo faithfulness, %" in report
    assert "next-colour-100, frozen" in report


def test_the_figure_is_drawn(two_cells: list[dict[str, Any]], tmp_path: Path) -> None:
    figure(two_cells, "vtm", tmp_path / "images" / "f.png")
    assert (tmp_path / "images" / "f.png").stat().st_size > 10_000


def test_settings_of_a_cell() -> None:
    config = noise_cell.settings(Cell("no-colour-60", "vtm", 3, 100.0, 0.5, control=True), Scale())
    train = config.train
    assert config.dataset == "photoworld-no-colour-60-shuffled-photos"
    assert (train.alpha, train.tau_start, train.tau_end, config.seed) == (100.0, 0.5, 0.5, 3)
    assert (train.dialogues, train.batch, train.epochs) == (480, 8, 1.0)
    assert (config.model.bridge, config.model.caption_source) == ("vtm", "sampled")
    assert config.model.frozen == ("perceptron.vision.", "generator.")
    trains = noise_cell.settings(Cell("recaptioned", "none", 0, trains=True), Scale())
    assert (trains.dataset, trains.model.frozen) == ("photoworld", None)
    alone = Cell("", "score-function", 0, trains=True, reference=False)
    assert (
        trains.model.bridge_reference
        and not noise_cell.settings(alone, Scale()).model.bridge_reference
    )
    assert alone.name == "true_score-function_a30_t1_trains_self-judged_s0"


def test_colours_come_first_as_in_one_sequence_each(build: SimpleNamespace) -> None:
    """Oracle: every colour in a sequence of its own, without hidden targets."""
    system = build.end_to_end().eval()
    template = system.template(512)
    dialogue = next(d for d in Photoworld().load("dev", 30) if len(d.photos) > 1)
    packed, asked = with_every_colour(template, dialogue)
    with torch.no_grad():
        log_p = noise_cell.log_probabilities(system, packed, template.tokenizer.pad_token_id)
        hits = colour_hits(system, template, dialogue)
    names = template.names(r.speaker for r in dialogue.responses)
    literal, right = [], 0
    for number, response in enumerate(dialogue.responses):
        true = colours(response.photos[0].caption or "") if response.photos and number else []
        for place in range(len(true)):
            sums = []
            for colour in COLOURS:
                words = [*true[:place], colour, *true[place + 1 :]]
                caption = recoloured(response.photos[0].caption or "", words)
                upto = caption[: list(re.finditer("|".join(words), caption, re.I))[place].end()]
                photo = dataclasses.replace(response.photos[0], caption=upto)
                said = with_photos(Dialogue(response.turns), [photo]).responses[0]
                ids, (span,) = template.target(said, names[response.speaker], "")
                alone = Packed()
                alone.append([template.tokenizer.bos_token_id], [False], 0)
                for before in dialogue.responses[:number]:
                    context, photos = template.context(before, names[before.speaker])
                    alone.append(context, [False] * len(context), 0)
                    alone.photos += photos
                start = len(alone)
                alone.append(ids, [True] * len(ids), 0)
                with torch.no_grad():
                    p = noise_cell.log_probabilities(system, alone, 0)
                sums.append(float(p[start + span.start : start + span.end].sum()))
            literal.append(sums)
            right += sums[list(COLOURS).index(true[place])] == max(sums)
    found = [[float(log_p[a:b].sum()) for a, b in spans] for _, spans in asked]
    assert np.allclose(found, literal, atol=1e-4)
    assert [true for true, _ in asked] == [
        c for r in dialogue.responses[1:] if r.photos for c in colours(r.photos[0].caption or "")
    ]
    assert hits == [right, len(literal)]


def test_talk_is_the_text_loss_where_nothing_is_drawn(build: SimpleNamespace) -> None:
    system = build.end_to_end().eval()
    template = system.template(512)
    some = [Dialogue((Turn("A", "Hi"), Turn("B", "Look at my dog"), Turn("A", "Yes")), "d")]
    (packed,) = template.pack(some[0])
    batch = system.prepare(collate([packed], 0))
    with torch.no_grad():
        hidden = system.llm.hidden(system.embed(batch.ids, None), batch.mask, batch.positions)
        loss = float(text_loss(system.llm, hidden, batch)) / batch.tokens
        assert talk(system, template, some) == pytest.approx(loss, rel=1e-5)


def test_a_colour_is_right_where_it_is_the_likeliest_of_all(
    build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: the true colour is the likeliest at the first place, and the least likely later."""
    system = build.end_to_end()
    template = system.template(512)
    dialogue = next(d for d in Photoworld().load("dev", 30) if len(d.photos) > 1)
    packed, asked = with_every_colour(template, dialogue)
    log_p = torch.full((len(packed),), -1.0)
    for number, (true, spans) in enumerate(asked):
        start, end = spans[list(COLOURS).index(true)]
        log_p[start:end] = -9.0 if number else -0.1
    monkeypatch.setattr(noise_cell, "log_probabilities", lambda *_: log_p)
    assert colour_hits(system, template, dialogue) == [1, len(asked)]


def test_captions_are_left_out_of_the_talk(
    build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = build.end_to_end()
    some = next(d for d in Photoworld().load("dev", 30) if len(d.photos) > 1)

    def log_p(_: Any, packed: Packed, pad: int) -> torch.Tensor:
        found = torch.full((len(packed),), -2.0)
        for span in packed.captions:
            found[span.start : span.end] = -50.0
        return found

    monkeypatch.setattr(noise_cell, "log_probabilities", log_p)
    assert talk(system, system.template(512), [some]) == pytest.approx(2.0)


def test_the_image_loss_tells_true_captions_from_wrong_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the rule stands on: the shipped generator, true talk, and no caption of dev."""
    config = noise_cell.settings(Cell("", "none", 0), Scale())
    system = noise_cell.build("e2e", config.model).eval()
    work = due(Photoworld().load("dev", 6))
    true = [instance.gold.photos[0].caption or "" for instance in work]
    losses = {}
    for name, said in {
        "true": true,
        "again": true,
        "wrong": [next_colour(c, None) for c in true],
    }.items():  # type: ignore[arg-type]
        monkeypatch.setattr(noise_cell, "written", lambda *_, said=said: said)
        with torch.no_grad():
            losses[name] = image_losses(system, config, system.generator, work)
    assert losses["true"] == losses["again"]
    lower = [a < b for a, b in zip(losses["true"], losses["wrong"], strict=True)]
    assert sum(lower) >= 0.8 * len(lower)


# -- the grid ----------------------------------------------------------------------------------


def fake(cell: Cell, scale: Scale, out: Path, captions: Path) -> None:
    """Stands in for a cell: notes what was asked, fails at one."""
    if cell.bridge == "broken":
        raise ValueError("no such bridge")
    about = {"cell": dataclasses.asdict(cell), "scale": dataclasses.asdict(scale)}
    write_json(out, about | {"seconds": 7.0, "process": os.getpid()})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "study", SMALL, work=fake)


def test_finished_cells_are_not_run_again_and_failed_ones_keep_none_from_running(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [Cell(noise, "none", seed) for noise in NOISES[:2] for seed in (0, CHOICE)]
    with pytest.raises(SystemExit, match=r"1 cells failed: true_broken_a30_t1_frozen_s0\. Run"):
        study.run([Cell("", "broken", 0), *good])
    assert "ValueError: no such bridge" in capsys.readouterr().err
    told = [study.found(cell) for cell in good]
    assert [t["scale"]["test"] for t in told if t] == [2, 0, 2, 0]  # those that choose draw nothing
    assert {t["process"] for t in told if t}.isdisjoint({os.getpid()})
    before = [study.path(cell).stat().st_mtime_ns for cell in good]
    study.run(good)
    assert [study.path(cell).stat().st_mtime_ns for cell in good] == before
    assert Study(study.out, Scale(3, 2, 2)).found(good[0]) is None  # of another scale
    older = json.loads(study.path(good[0]).read_text())
    del older["cell"]["reference"]  # by a version that had no such setting
    study.path(good[0]).write_text(json.dumps(older))
    assert study.found(good[0]) is None


def endless(cell: Cell, scale: Scale, out: Path, captions: Path | None = None) -> None:
    write_json(out, {"process": os.getpid()})
    time.sleep(600)


STUDY = """
from pathlib import Path
from test_bridge_noise import Cell, NOISES, Scale, Study, endless
if __name__ == "__main__":
    Study(Path("study"), Scale(1, 1, 1), 1, endless).run([Cell(NOISES[0], "none", 0)])
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks Linux which processes there are")
def test_no_cell_goes_on_when_the_study_is_killed(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(STUDY)
    paths = os.pathsep.join(map(str, (Path(__file__).parent, *filter(None, sys.path))))
    told = Study(tmp_path / "study", Scale(1, 1, 1)).path(Cell(NOISES[0], "none", 0))
    with subprocess.Popen(
        [sys.executable, "run.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}
    ) as study:
        try:
            until(told.is_file)
        finally:
            study.kill()
    (worker,) = json.loads(told.read_text()).values()
    until(lambda: ended(worker))


def ended(process: int) -> bool:
    """Whether it is gone, or waits for nothing but to be noticed."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"scale": 3}', "\udcff"])
def test_a_file_that_holds_something_else_is_no_cell(study: Study, text: str) -> None:
    cell = Cell(NOISES[0], "none", 0)
    study.path(cell).parent.mkdir(parents=True)
    study.path(cell).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert study.found(cell) is None


def asked(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """What the command ends with."""
    monkeypatch.setattr(sys, "argv", ["bridge_noise.py", *args])
    with pytest.raises(SystemExit) as ended:
        console.script(bridge_noise.main)
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--bridges", "none"], "none that could be chosen"),
        (["--bridges", "none", "vmt"], "Did you mean 'vtm'?"),
        (["--seeds", "0", "1000"], "seed 1000 is that of the cells that choose"),
        (["--dev", "0"], "a whole number of 1 at least"),
        (["--brief", "--plot", "x.png"], "--brief is a part of it"),
        (["--jobs", "0"], "a whole number of 1 at least"),
        (["--steps", "-1"], "a whole number of 1 at least"),
        (["--alphas", "10", "nan"], "a number above zero"),
        (["--alphas", "-10"], "a number above zero"),
    ],
)
def test_what_cannot_be_run_is_refused_before_any_cell(
    args: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "study"
    assert asked(monkeypatch, "--out", str(out), *args) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_two_studies_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path / "study", "running the study"):
        assert asked(monkeypatch, "--out", str(tmp_path / "study")) == 2
    assert "Another process is running the study in" in capsys.readouterr().err


def test_a_captioner_that_fails_ends_the_study_as_it_ended(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = SimpleNamespace(returncode=2)
    monkeypatch.setattr(bridge_noise.subprocess, "run", lambda *_: ended)
    with pytest.raises(SystemExit, match="2"):
        study.run([Cell("recaptioned", "none", 0)])


def test_the_grid_by_hand(study: Study) -> None:
    bridges, seeds = ["none", "dvtm", "vtm", "soft"], [0, 1]
    put(study, {("vtm", 30.0, 1.0): 1.0})
    sizes = [len(set(stage)) for stage in stages(study, bridges, seeds)]
    assert sizes[:2] == [3 * 2 * 3, 3 * 2 * 3]  # bridges, settings, kinds
    assert (
        sizes[2] == 6 * 2 * 2 * 4
    )  # noises, seeds, frozen or not; none, dvtm, vtm and its control
    assert sizes[3:] == [2 * 2 * 2 + 2 * 2 + 1, 6]
    assert "| headline | 96 | 96 | " in plan(study, bridges, seeds)
    assert study.best(["dvtm", "vtm", "soft"]) == "vtm"
    *_, last = brief = [set(stage) for stage in stages(study, bridges, seeds, brief=True)]
    assert [len(stage) for stage in brief] == [18, 18, 6 * (4 + 1) * 2]
    assert {cell.seed for cell in last} == {0, 1} and not any(cell.trains for cell in last)
    assert {cell.bridge for cell in last if cell.control} == {"vtm"}
    assert "| generator frozen | 60 | 60 | " in plan(study, bridges, seeds, brief=True)


def test_every_bridge_side_by_side_by_hand() -> None:
    def result(noise: str, bridge: str, hits: list[list[int]], **more: Any) -> dict[str, Any]:
        cell = dataclasses.asdict(Cell(noise, bridge, **({"seed": 0} | more)))
        by_dialogue = {str(n): hit for n, hit in enumerate(hits)}
        return {"cell": cell} | dict.fromkeys(FIGURES[1:], by_dialogue)

    text = side_by_side(
        [
            result("a-60", "vtm", [[1, 2], [1, 1]]), result("b-60", "vtm", [[0, 1], [0, 0]]),
            result("a-60", "soft", [[0, 2], [0, 1]]), result("b-60", "soft", [[0, 1], [0, 0]]),
            result("a-60", "none", [[0, 4], [0, 1]]),
            result("b-60", "vtm", [[1, 1], [0, 0]], trains=True), result("", "vtm", [[1, 1]]),
            result("b-60", "vtm", [[1, 1], [1, 1]], control=True),
            result("recaptioned", "none", [[1, 1]]), result("", "untrained", [[1, 1]]),
        ],
        "vtm",
    )  # fmt: skip
    assert text.count("| bridge | a-60 | b-60 | all |") == 2
    rows = {line.split(" | ")[0]: line for line in text.splitlines()}
    vtm, soft, none = (rows[f"| {name}"].split(" | ")[1:] for name in ("vtm", "soft", "none"))
    assert [cell.split()[0] for cell in vtm] == ["67", "0", "50"]  # 2 of 3; 0 of 1; 2 of 4
    assert not any(";" in cell for cell in vtm)  # it is compared with nothing
    assert [cell.split("; ")[1].split()[0] for cell in soft] == ["-67", "+0", "-50"]
    assert none[0].startswith("0 ") and none[1] == "–" and none[2].startswith("–")
    control = rows["| vtm, photos shuffled"].split(" | ")[1:]
    assert control[0] == "–" and control[1].split("; ")[1].split()[0] == "+100"
    assert "untrained" not in text


def put(study: Study, means: dict[tuple[str, float, float], float], spread: float = 0.1) -> None:
    """Finished cells that choose, whose L^v has these means over a photo's two values."""
    for (bridge, alpha, tau), mean in means.items():
        for n, cell in enumerate(choosing(bridge, alpha, tau)):
            losses = [mean - spread * (n + 1) / 2, mean + spread * (n + 1) / 2]
            about = {"cell": dataclasses.asdict(cell), "seconds": 1.0, "image loss": losses}
            study.path(cell).parent.mkdir(parents=True, exist_ok=True)
            scale = dataclasses.asdict(study.untested)
            study.path(cell).write_text(json.dumps(about | {"scale": scale}))


def test_the_rule_asks_for_more_than_a_standard_error(study: Study) -> None:
    put(study, {("vtm", 30.0, 1.0): 1.0})
    assert study.chosen("vtm") == (30.0, 1.0)  # while nothing else is finished
    put(study, {("vtm", 100.0, 1.0): 0.9})
    assert study.chosen("vtm") == (100.0, 1.0)
    put(study, {("vtm", 100.0, 0.5): 0.89}, spread=0.3)  # lower, by less than its error
    assert study.chosen("vtm") == (100.0, 1.0)
    put(study, {("vtm", 100.0, 0.5): 0.5}, spread=0.3)
    assert study.chosen("vtm") == (100.0, 0.5)
    put(study, {("dvtm", 30.0, 1.0): 0.4})
    assert study.best(["vtm", "dvtm"]) == "dvtm"


def test_the_first_alpha_stays_and_is_that_of_no_bridge(study: Study) -> None:
    study.alphas = [10.0, 30.0, 100.0]
    put(study, {("vtm", 10.0, 1.0): 1.0})
    put(study, {("vtm", 30.0, 1.0): 0.99}, spread=0.3)
    assert study.chosen("vtm") == (10.0, 1.0)  # 30 is lower, by less than its error
    put(study, {("vtm", 100.0, 1.0): 0.8})
    assert study.chosen("vtm") == (100.0, 1.0)
    alphas, _, headline, *_ = (list(stage) for stage in stages(study, ["none", "vtm"], [0]))
    assert [cell.alpha for cell in alphas] == [10.0] * 3 + [30.0] * 3 + [100.0] * 3
    assert {(c.bridge, c.alpha) for c in headline} == {("none", 10.0), ("vtm", 100.0)}


def test_the_makefile_calls_it_with_options_that_it_has() -> None:
    (recipe,) = re.findall(r"^bridge-noise:.*\n((?:\t.*\n)+)", MAKEFILE.read_text(), re.MULTILINE)
    source = Path(bridge_noise.__file__).read_text()
    options = set(re.findall(r"--[a-z]+", recipe))
    assert options and all(f'"{option}"' in source for option in options)
    assert len(NOISES) == 2 * len(KINDS)


# -- intervals ---------------------------------------------------------------------------------


def side(hits: list[list[int]], n: int = 10) -> noise_table.Seeds:
    """Cells by seed, whose dialogues had these hits of n."""
    return {s: {"f": {f"d{d}": [h, n] for d, h in enumerate(row)}} for s, row in enumerate(hits)}


def test_where_dialogues_are_alike_the_interval_is_students_over_seeds() -> None:
    """Closed form: the paired t interval of the seeds' differences."""
    rates, base = np.array([5, 7, 4, 8, 6]), np.array([2, 2, 1, 3, 1])
    found = estimate([side([[r] * 30 for r in rates]), side([[r] * 30 for r in base])], "f")
    apart = 10.0 * (rates - base)
    half = 2.7764 * apart.std(ddof=1) / 5**0.5
    assert found.value == pytest.approx(apart.mean())
    assert found.high - found.value == pytest.approx(half, rel=1e-3)
    assert (found.seeds, found.n) == (5, 1500)
    assert found.clear
    assert not estimate([side([[5]] * 5), side([[5]] * 5)], "f").clear


def test_with_one_seed_the_interval_is_over_dialogues() -> None:
    """Closed form: the normal interval of a mean of dialogues of one size."""
    hits = np.random.default_rng(0).integers(0, 11, 200)
    found = estimate([side([hits.tolist()])], "f")
    assert found.value == pytest.approx(10 * hits.mean())
    half = 1.972 * 10 * hits.std(ddof=1) / 200**0.5
    assert found.high - found.value == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])  # of seeds; that of dialogues is 3
def test_nineteen_of_twenty_intervals_hold_the_truth(seeds: int, spread: float) -> None:
    """By simulation: seeds, dialogues and their answers vary around a share of 50 %."""
    rng = np.random.default_rng(2)

    def holds() -> bool:
        shape = (seeds, 40)
        of_seeds, of_dialogues = rng.normal(size=(seeds, 1)), rng.normal(size=(1, 40))
        found = estimate(
            [
                side(
                    (5 + spread * of_seeds + 3 * of_dialogues + 3 * rng.normal(size=shape)).tolist()
                )
            ],
            "f",
        )
        return found.low < 50 < found.high

    assert 0.92 < np.mean([holds() for _ in range(400)]) < 0.99


def test_sides_are_paired_by_seed_and_dialogue() -> None:
    """What both share cancels: the interval is that of the difference alone."""
    rng = np.random.default_rng(1)
    shared = rng.integers(0, 9, (5, 40))
    found = estimate([side((shared + 1).tolist()), side(shared.tolist())], "f")
    assert (found.value, found.low) == (pytest.approx(10), pytest.approx(10))
    one, two = side([[1, 9]]), side([[9, 1]])
    one[7] = two[8] = {"f": {"d0": [0, 10], "d1": [0, 10]}}  # seeds that only one side has
    assert (estimate([one, two], "f").value, estimate([one, two], "f").n) == (0, 20)
