"""Configuration and registry: round trips, casts, and the exact text of errors."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pscli.config import Config, TrainConfig, changed, demo, lora_24gb, paper, small, tiny
from pscli.errors import ConfigError
from pscli.registry import TABLES, check, find


@pytest.mark.parametrize("preset", [paper, lora_24gb, small, tiny, demo])
@pytest.mark.parametrize("system", ["e2e", "pipeline"])
def test_presets_survive_json(preset: Any, system: str) -> None:
    config = preset(system)
    assert (config.system, config.preset) == (system, preset.__name__.replace("_", "-"))
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


@given(
    st.builds(
        TrainConfig,
        lr=st.floats(1e-9, 1),
        batch=st.integers(1, 512),
        epochs=st.floats(0.1, 100),
        dialogues=st.none() | st.integers(1, 10**6),
        decay=st.booleans(),
        tau_end=st.floats(1e-6, 10),
    ),
    st.lists(st.text(max_size=8), max_size=3),
)
def test_any_configuration_survives_json(train: TrainConfig, frozen: list[str]) -> None:
    config = replace(Config(), train=train, model=replace(Config().model, frozen=tuple(frozen)))
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_paper_s_numbers() -> None:
    """§3.1.2: rate 5e-5, decay 0.01, batch 32, warm-up 1,000, patience 4, τ 1 → 0.01, α 1."""
    t = paper().train
    assert (t.lr, t.weight_decay, t.batch, t.warmup, t.patience) == (5e-5, 0.01, 32, 1000, 4)
    assert (t.tau_start, t.tau_end, t.tau_epochs, t.alpha) == (1.0, 0.01, 3.0, 1.0)


def test_a_part_of_the_tree_is_enough() -> None:
    config = Config.from_json({"train": {"lr": 1}, "model": {}, "seed": 3})
    assert config == replace(Config(), seed=3, train=TrainConfig(lr=1.0))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("train.lr", "1e-4", 1e-4),
        ("train.lr", "1", 1.0),
        ("train.lr", 3, 3.0),
        ("train.batch", "8", 8),
        ("train.decay", "true", True),
        ("train.decay", "false", False),
        ("train.dialogues", "null", None),
        ("train.dialogues", "12", 12),
        ("model.snr_gamma", "5", 5.0),
        ("model.snr_gamma", "null", None),
        ("model.llm.weights", "12", "12"),
        ("model.llm.weights", "true", "true"),
        ("model.llm.revision", "main", "main"),
        ("model.llm.revision", None, None),
        ("model.frozen", "null", None),
        ("model.frozen", "llm,generator.vae", ("llm", "generator.vae")),
        ("model.frozen", "llm", ("llm",)),
        ("model.frozen", "", ()),
        ("model.frozen", "[]", ()),
        ("model.frozen", '["llm", "captioner"]', ("llm", "captioner")),
        ("model.frozen", ["llm"], ("llm",)),
        ("seed", "7", 7),
    ],
)
def test_set_reads_strings_as_the_type_of_the_setting(name: str, value: Any, expected: Any) -> None:
    config = changed(Config(), name, value)
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    assert found == expected and type(found) is type(expected)
    assert changed(config, name, expected) == config


EXAMPLE = "Write --set train.lr=1e-4, for example."


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "trian.lr", "1",
            "Unknown setting 'trian'. Did you mean 'train'? "
            "Known: dataset, model, photos, preset, seed, sequence, system, train.",
        ),
        (
            "sequence.max_lenght", "1",
            "Unknown setting 'sequence.max_lenght'. Did you mean 'sequence.max_length'? "
            "Known: end_bias, max_length, max_new_tokens, share_bias.",
        ),
        (
            "sequence.qqq", "1",
            "Unknown setting 'sequence.qqq'. "
            "Known: end_bias, max_length, max_new_tokens, share_bias.",
        ),
        ("train", "1", "'train' does not name a single setting. " + EXAMPLE),
        ("train.", "1", "'train.' does not name a single setting. " + EXAMPLE),
        (
            "seed.x", "1",
            "'seed.x' does not name a single setting. " + EXAMPLE,
        ),
        ("train.lr", "fast", "Setting 'train.lr' is 'fast'. Expected float."),
        ("train.lr", "true", "Setting 'train.lr' is True. Expected float."),
        ("train.batch", "1.5", "Setting 'train.batch' is 1.5. Expected int."),
        ("train.batch", "true", "Setting 'train.batch' is True. Expected int."),
        ("train.batch", "null", "Setting 'train.batch' is None. Expected int."),
        ("train.decay", "1", "Setting 'train.decay' is 1. Expected bool."),
        ("train.dialogues", "all", "Setting 'train.dialogues' is 'all'. Expected int or NoneType."),
        ("model.frozen", "[1]", "Setting 'model.frozen' is [1]. Expected tuple or NoneType."),
        ("model.llm", "x", "'model.llm' does not name a single setting. " + EXAMPLE),
        ("train.batch", "0", "Setting 'train.batch' is 0. Expected 1 to 1,048,576."),
        ("train.epochs", "-1", "Setting 'train.epochs' is -1.0. Expected 1e-06 to 1e+06."),
        ("train.lr", "NaN", "Setting 'train.lr' is nan. Expected 0 to 10."),
        ("model.draw_steps", "1001", "Setting 'model.draw_steps' is 1001. Expected 1 to 1,000."),
        ("train.precision", "fp8", "Setting 'train.precision' is 'fp8'. Known: no, bf16."),
        (
            "model.llm.quantize", "2bit",
            "Setting 'model.llm.quantize' is '2bit'. Known: null, 4bit, 8bit.",
        ),
        ("model.llm.weights", 3, "Setting 'model.llm.weights' is 3. Expected str."),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(Config(), name, value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], 'A configuration cannot be a list. Expected {"system": "e2e", "train": {…}, …}.'),
        (
            {"train": 3},
            "'train' does not name a single setting. " + EXAMPLE,
        ),
        ({"train": {"batch": "x"}}, "Setting 'train.batch' is 'x'. Expected int."),
    ],
)
def test_json_of_another_form_is_refused(pairs: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_json(pairs)
    assert str(caught.value) == message


# -- registry ----------------------------------------------------------------------------------


def test_known_names_and_imports_pass() -> None:
    assert check("bridge", "dvtm") == "dvtm"
    assert check("bridge", "mine:bridge") == "mine:bridge"
    assert find("preset", "tiny") is tiny
    assert find("bridge", "json:dumps") is json.dumps


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("bridge", "dvmt", "Unknown bridge 'dvmt'. Did you mean 'dvtm'? Known: {}."),
        ("system", "pipline", "Unknown system 'pipline'. Did you mean 'pipeline'? Known: {}."),
        ("bridge", "zzz", "Unknown bridge 'zzz'. Known: {}."),
    ],
)
def test_unknown_names_suggest_the_nearest(kind: str, name: str, message: str) -> None:
    for look_up in (check, find):
        with pytest.raises(ConfigError) as caught:
            look_up(kind, name)
        assert str(caught.value) == message.format(", ".join(TABLES[kind]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere_at_all:x", "No module named 'nowhere_at_all'"),
        ("json:nothing", "module 'json' has no attribute 'nothing'"),
        ("json:", "module 'json' has no attribute ''"),
        (":x", "Empty module name"),
    ],
)
def test_what_cannot_be_imported_says_why(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find("bridge", name)
    assert str(caught.value) == (
        f"The bridge '{name}' cannot be loaded: {reason}. "
        "Expected a name from the registry or an importable module:object."
    )


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, table in TABLES.items() for name in table]
)
def test_every_registered_name_leads_somewhere(kind: str, name: str) -> None:
    assert callable(find(kind, name))


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("system", "json:dumps", "is a function without build."),
        ("generator", "json:dumps", "is a function without from_pretrained."),
        ("linearisation", "json:__all__", "is a list without __call__."),
        ("bridge", "os:sep", "is a str without __call__."),
    ],
)
def test_what_cannot_be_of_its_kind_is_refused(kind: str, name: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find(kind, name)
    assert str(caught.value).startswith(f"The {kind} '{name}' {told}")


def test_a_system_says_what_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SimpleNamespace(Own=type("Own", (), {"build": None}))
    monkeypatch.setitem(sys.modules, "own_one", own)
    with pytest.raises(ConfigError, match="is a type without uses"):
        find("system", "own_one:Own")
