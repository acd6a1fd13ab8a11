"""CLIP-I, CLIPScore, MM-Relevance and the zero-shot judge: transformers' CLIPModel, by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pscli.dialogue.schema import Truth
from pscli.errors import ConfigError
from pscli.metrics import clip, image
from pscli.metrics.clip import NAMES, WHY, ClipScores, elements
from pscli.metrics.score import metrics
from pscli.photoworld.outside import PROMPT, ZeroShot
from pscli.photoworld.scene import COLOURS, KINDS
from pscli.predictions.folder import Prediction, Side


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, clip_tokenizer: Any) -> Path:
    """A tiny random CLIP in the published layout."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("clips") / "tiny-clip"
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2, "initializer_range": 0.5}  # fmt: skip
    ends = {key: getattr(clip_tokenizer, key) for key in ("bos_token_id", "eos_token_id")}
    text = small | ends | {
        "vocab_size": len(clip_tokenizer), "max_position_embeddings": 16,
        "pad_token_id": clip_tokenizer.pad_token_id,
    }  # fmt: skip
    vision = small | {"image_size": 32, "patch_size": 16}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    clip_tokenizer.save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def by_hand(place: Path) -> Any:
    """Cosine of two texts or photos, each computed alone."""
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    model = CLIPModel.from_pretrained(place).eval()
    tokenizer, processor = (
        kind.from_pretrained(place) for kind in (AutoTokenizer, CLIPImageProcessor)
    )

    def embedded(element: str | Path) -> torch.Tensor:
        with torch.no_grad():
            if isinstance(element, Path):
                pixels = processor(images=Image.open(element).convert("RGB"), return_tensors="pt")
                row = model.visual_projection(model.vision_model(**pixels).pooler_output)[0]
            else:
                tokens = tokenizer([element], truncation=True, max_length=16, return_tensors="pt")
                row = model.text_projection(model.text_model(**tokens).pooler_output)[0]
        return row.double() / row.double().norm()

    return lambda a, b: float(embedded(a) @ embedded(b))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    found = [tmp_path / f"{n}.png" for n in range(6)]
    for path in found:
        Image.fromarray(rng.integers(0, 255, (5, 4, 3), np.uint8)).resize((48, 40)).save(path)
    return found


def scored(place: Path, some: list[Prediction]) -> Any:
    metric = ClipScores(str(place))
    return metric.scores([v for v in metric.values(some) if v is not None])


def test_figures_are_those_of_clip_by_hand(place: Path, by_hand: Any, paths: list[Path]) -> None:
    a, b, c, d, e, f = paths
    red, boat = "A red dog", "a blue boat at the beach"
    some = [
        Prediction("d/0", None, Side("Look", (red,), (a,)), Side("Yes", (boat,), (b,))),
        Prediction(
            "d/1", None,
            Side("Oh mine", (red, boat), (c, d), told="[img] a [/img] Oh mine [img] b [/img]"),
            Side("Yes", (boat, ""), (e, f)),
        ),
        Prediction("d/2", None, Side("Really"), Side("")),
    ]  # fmt: skip
    found = scored(place, some)
    pairs = [(b, a), (e, c), (f, d)]
    assert found["CLIP-I"].value == pytest.approx(100 * np.mean([by_hand(*p) for p in pairs]))

    def score(pairs: list[tuple[Path, str]]) -> float:
        fits = [by_hand(photo, f"A photo depicts {text}") for photo, text in pairs]
        assert min(fits) < 0.9 and len({round(fit, 6) for fit in fits}) > 1
        return float(np.mean([2.5 * max(fit, 0) for fit in fits]))

    own, gold = [(b, boat), (e, boat)], [(b, red), (e, red), (f, boat)]
    assert found["CLIPScore"].value == pytest.approx(score(own), rel=1e-6)
    assert found["CLIPScore (gold captions)"].value == pytest.approx(score(gold), rel=1e-6)

    sums = [
        by_hand("Yes", "Look") + by_hand(b, a),
        by_hand("Yes", c) + by_hand(e, "Oh mine") + by_hand(f, d),
        0.0,
    ]
    drawn, due = [2, 3, 1], [2, 3, 1]  # an empty response is of length 0, and has no similarity
    precision = [s / n for s, n in zip(sums, drawn, strict=True)]
    recall = [s / n for s, n in zip(sums, due, strict=True)]
    f1 = [2 * s / (n + m) for s, n, m in zip(sums, drawn, due, strict=True)]
    for name, values in zip(NAMES[3:], (precision, recall, f1), strict=True):
        assert found[name].value == pytest.approx(100 * np.mean(values), rel=1e-5), name
    assert [found[name].n for name in NAMES] == [3, 2, 3, 3, 3, 3]
    assert [found[name].count for name in NAMES] == ["3/3", "2/3", "3/3", "3", "3", "3"]
    assert not found.reasons


def test_precision_and_recall_count_the_elements_of_a_side(
    place: Path, by_hand: Any, paths: list[Path]
) -> None:
    some = [Prediction("d/0", None, Side("Look"), Side("Yes", (), (paths[0],)))]
    found = scored(place, some)
    fit = 100 * by_hand("Yes", "Look")
    values = [found[name].value for name in NAMES[3:]]
    assert values == pytest.approx([fit / 2, fit, 2 * fit / 3], rel=1e-5)
    assert set(found.reasons.items()) == {(name, WHY[name]) for name in NAMES[:3]}


def test_a_likeness_below_zero_is_none() -> None:
    photo, row = Path("1.png"), np.array([0.6, 0.8])
    seen: dict[str | Path, Any] = {photo: row, "A photo depicts a": -row, "A photo depicts b": row}
    fits = clip._clip_scores(seen, [photo, photo], ["a", "b"])
    assert fits == [0.0, pytest.approx(2.5)]


def test_figures_say_what_they_depend_on(place: Path, paths: list[Path]) -> None:
    some = [
        Prediction("d/0", None, Side("Look", ("a",), (paths[0],)), Side("", ("b",), (paths[1],)))
    ]
    found = scored(place, some)
    seen = found["CLIP-I"].how.removeprefix("scale:100|")
    assert seen.startswith(f"extractor:clip({place})|weights:blake2b:")
    assert seen.endswith("|resize:32-bicubic-antialias,crop:32|colour:rgb8,alpha-on-white")
    words = "text:16-tokens"
    assert found["CLIPScore"].how == f"w:2.5|max(cos,0)|prefix:A photo depicts|{words}|{seen}"
    order = "elements-aligned-from-left|mean-of-instances|scale:100"
    assert found["MM-Relevance"].how == f"{order}|{words}|{seen}"
    assert all(score.better == "higher" for score in found.scores)


@pytest.mark.parametrize("side", ["reference", "prediction"])
def test_a_response_of_which_a_photo_is_missing_has_no_relevance(place: Path, side: str) -> None:
    gone = Side("Look", ("a",), missing=1)
    sides = {"reference": Side("Look"), "prediction": Side("Yes"), side: gone}
    found = scored(place, [Prediction("d/0", None, **sides)])
    assert "MM-Relevance" not in found and found.reasons["MM-Relevance"] == WHY["MM-Relevance"]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (Side("a b", ("x",), (Path("1"),)), ["a b", Path("1")]),
        (Side("", ("x",), (Path("1"),)), [Path("1")]),
        (Side("a b", ("x",), (Path("1"),), told="[img] x [/img] a b"), [Path("1"), "a b"]),
        (
            Side(
                "a b", ("x", "y"), (Path("1"), Path("2")), told="a [img] x [/img] b [img] y [/img]"
            ),
            ["a", Path("1"), "b", Path("2")],
        ),
        # Marks that are no photos' say nothing about the order.
        (Side("a [img] x [/img]", (), (), told="a [img] x [/img]"), ["a [img] x [/img]"]),
        (Side(" ", ()), []),
    ],
)
def test_elements_are_in_the_order_that_is_told(side: Side, expected: list[Any]) -> None:
    assert elements(side) == expected


def test_without_a_place_nothing_is_said() -> None:
    some = [Prediction("d/0", None, Side("a"), Side("b"))]
    for metric in (ClipScores(), ZeroShot()):
        assert metric.values(some) == [None] and metric.scores([]).scores == ()
        assert not metric.scores([]).reasons
    assert "clip" in metrics() and "zero-shot" in metrics()


def test_sums_of_resamples_are_the_figures(place: Path, paths: list[Path]) -> None:
    """Oracle: the scores of repeated values."""
    some = [
        Prediction(f"d/{n}", None, Side("Look dog", ("a",), (a,)), Side("Yes boat", ("b",), (b,)))
        for n, (a, b) in enumerate(itertools.pairwise(paths))
    ]
    metric = ClipScores(str(place))
    values = [v for v in metric.values(some) if v is not None]
    drawn = metric.figures(np.array([[2.0, 0, 1, 1, 1]]) @ metric.sums(values))
    repeated = metric.scores([values[0], values[0], *values[2:]])
    assert {name: float(row[0]) for name, row in drawn.items()} == pytest.approx(
        {score.name: score.value for score in repeated.scores}
    )


def test_several_extractors_are_one_metric(place: Path, paths: list[Path]) -> None:
    some = [
        Prediction(f"d/{n}", None, Side("", ("a",), (a,)), Side("", ("b",), (b,)))
        for n, (a, b) in enumerate(itertools.pairwise(paths))
    ] + [Prediction("d/9", None, Side("a"), Side("b"))]
    name = f"clip:{place}"
    both = image.images(["photoworld", name, name])
    values = both.values(some)
    assert values[-1] is None
    kept = [value for value in values if value is not None]
    alone = [image.Images(one) for one in ("photoworld", name)]
    expected = [m.scores([v for v in m.values(some) if v is not None]) for m in alone]
    found = both.scores(kept)
    assert found.scores == expected[0].scores + expected[1].scores
    assert found.reasons == expected[0].reasons | expected[1].reasons
    assert "CMMD-tiny-clip" in found and "IS-tiny-clip" in found.reasons
    counts = np.ones((3, len(kept)))
    drawn = both.resampled(kept, counts)
    assert drawn["CMMD-tiny-clip"] == pytest.approx([found["CMMD-tiny-clip"].value] * 3, rel=1e-6)
    assert isinstance(image.images("photoworld"), image.Images)


def test_extractors_whose_scores_have_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"of 'clip:a/x' and 'dinov2:b/x' would have the same n"):
        image.images(["photoworld", "clip:a/x", "dinov2:b/x"])


# -- the judge that is not ours ----------------------------------------------------------------


def test_the_zero_shot_judge_compares_with_every_rival(
    place: Path, by_hand: Any, paths: list[Path]
) -> None:
    """Oracle: cosines by hand, each thing against all that differ in colour or in kind alone."""
    colours, kinds = list(COLOURS), list(KINDS)

    def best(path: Path) -> tuple[str, str]:
        """The thing that fits a photo better than all others: so better than its rivals."""
        fits = {(c, k): by_hand(path, PROMPT.format(c, k)) for c in colours for k in kinds}
        return max(fits, key=lambda thing: fits[thing])

    right = best(paths[0])
    other = (next(c for c in colours if c != right[0]), right[1])
    some = [
        Prediction("d/0", None, Side("", ("",), (paths[1],)), Side("", ("",), (paths[0],)),
                   Truth("share", True, (right,))),
        Prediction("d/1", None, Side("", ("",), (paths[0],)), Side("", ("",), (paths[0],)),
                   Truth("share", True, (other,))),
        # The better one is fixed as well, and so no rival.
        Prediction("d/2", None, Side("", ("",), (paths[0],)), Side(""),
                   Truth("share", True, (right, other))),
        Prediction("d/3", None, Side("a"), Side("b"), Truth("chat")),
        Prediction("d/4", None, Side("a"), Side("b"), Truth("share", True, (("odd", "thing"),))),
    ]  # fmt: skip
    metric = ZeroShot(str(place))
    values = metric.values(some)
    assert values[3] is None and values[4] is None
    found = metric.scores([v for v in values if v is not None])
    assert found["zero-shot faithfulness (sent)"].value == 50
    assert found["zero-shot faithfulness (sent)"].n == 2
    fits = {(c, k): by_hand(paths[0], PROMPT.format(c, k)) for c in colours for k in kinds}
    second = all(
        fits[other] > fits[t] for t in fits
        if ((t[0] == other[0]) != (t[1] == other[1])) and t != right
    )  # fmt: skip
    first = best(paths[1]) == right or all(
        by_hand(paths[1], PROMPT.format(*right)) > by_hand(paths[1], PROMPT.format(*t))
        for t in fits if (t[0] == right[0]) != (t[1] == right[1])
    )  # fmt: skip
    gold = found["zero-shot faithfulness of gold photos"]
    assert gold.value == pytest.approx(100 * (first + second) / 3) and gold.n == 3
    rivals = len(colours) + len(kinds) - 2
    chance = (2 / (1 + rivals) + 1 / rivals**2) / 3
    assert found["zero-shot chance"].value == pytest.approx(100 * chance)
    assert gold.how.startswith("colour-and-kind|prompt:a drawing of a COLOUR KIND|extractor:clip(")
