"""IS and FID of values by instance: their definitions, and torch-fidelity's own run over files."""

from __future__ import annotations

import urllib.error
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_fidelity import registry
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from pscli.errors import ConfigError, DataError
from pscli.metrics import extractor as extractors
from pscli.metrics.base import Score, Scored
from pscli.metrics.extractor import pixels
from pscli.metrics.image import Images
from pscli.metrics.photos import COSINES, PRC
from pscli.predictions.folder import Prediction, Side

STRANGER = f"{__name__}:Stranger"
SETS = ("FID", "KID×1000", "CMMD")  # of two photos on either side
ALL = ("IS", *SETS, *PRC, *COSINES)


class Stranger(nn.Module):
    """A random network: 5 features, and logits of 7 classes from them."""

    name = "stranger"
    side = 64

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(3 * 16, 5, generator=generator))
        self.v = nn.Parameter(torch.randn(5, 7, generator=generator) * 3)

    def features(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (3, 64, 64) and images.dtype == torch.uint8
        pooled = nn.functional.avg_pool2d(images.float() / 127.5 - 1, 16).flatten(1)
        return torch.tanh(pooled @ self.w)

    def logits(self, features: Tensor) -> Tensor:
        return features @ self.v


class Classless:
    """Features alone, of the photos' mean colours."""

    name, side = "colours", 8

    def features(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))


def flat() -> Classless:
    class Flat(Classless):
        def features(self, images: Tensor) -> Tensor:
            return images.float().mean((1, 2, 3))

    return Flat()


def nan() -> Classless:
    class Nan(Classless):
        def features(self, images: Tensor) -> Tensor:
            return images.float().mean((2, 3)) * float("nan")

    return Nan()


def draw(folder: Path, count: int, seed: int, shift: int = 0) -> list[Path]:
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    paths = []
    for i in range(count):
        coarse = rng.integers(0, 200, (4, 4, 3)) + shift
        image = Image.fromarray(coarse.astype(np.uint8)).resize((80, 64))
        paths.append(folder / f"{seed}-{i}.png")
        image.save(paths[-1])
    return paths


def instances(drawn: Sequence[Path], gold: Sequence[Path]) -> list[Prediction]:
    """Photos dealt out to instances of 0 to 3 photos; the first and the last have none."""
    cuts = [0, *np.cumsum([i % 4 for i in range(len(drawn) + len(gold))])]
    sides = [
        (tuple(gold[a:b]), tuple(drawn[a:b])) for a, b in zip(cuts, [*cuts[1:], 10**9], strict=True)
    ]
    return [
        Prediction(f"d/{i}", None, Side(photos=g), Side(photos=d)) for i, (g, d) in enumerate(sides)
    ]


def scored(drawn: Sequence[Path], gold: Sequence[Path], extractor: str = STRANGER) -> Scored:
    images = Images(extractor)
    return images.scores([v for v in images.values(instances(drawn, gold)) if v is not None])


def outputs(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    images = torch.stack([pixels(Image.open(path), 64) for path in paths])
    with torch.no_grad():
        features = Stranger().features(images)
        logits = Stranger().logits(features)
    return features.double().numpy(), logits.double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|μa - μb|² + tr(Σa + Σb - 2 (Σa^½ Σb Σa^½)^½), the roots by symmetric eigenvalues."""

    def root(matrix: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

    sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    middle = root(root(sa) @ sb @ root(sa))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sa + sb - 2 * middle))


def inception_score(logits: np.ndarray) -> float:
    """exp of the mean KL divergence of p(class | photo) from p(class)."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return float(np.exp((p * np.log(p / p.mean(0))).sum(1).mean()))


class Files(Dataset):
    def __init__(self, paths: Sequence[Path], side: int) -> None:
        self.paths, self.side = paths, side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return pixels(Image.open(self.paths[index]).convert("RGB"), self.side)


def by_torch_fidelity(
    drawn: Sequence[Path], gold: Sequence[Path], extractor: str, side: int, splits: int
) -> tuple[float, float, float]:
    """IS, its deviation and FID by `calculate_metrics`."""
    found = torch_fidelity.calculate_metrics(
        input1=Files(drawn, side), input2=Files(gold, side), isc=True, fid=True, isc_splits=splits,
        feature_extractor=extractor, cuda=False, cache=False, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    return (
        found["inception_score_mean"],
        found["inception_score_std"],
        found["frechet_inception_distance"],
    )


class Registered(FeatureExtractorBase):
    """`Stranger` as torch-fidelity wants it."""

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("features", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return {"isc": "logits", "fid": "features"}[metric]

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        self.network = Stranger()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.network.features(images)
        known = {"features": features, "logits": self.network.logits(features)}
        return tuple(known[name] for name in self.features_list)


def test_scores_from_single_instances_are_torch_fidelitys(tmp_path: Path) -> None:
    """Oracle: `calculate_metrics` over the files, to the last bit; more than one batch of them."""
    registry.FEATURE_EXTRACTORS_REGISTRY.pop("stranger", None)  # of an earlier run in this process
    torch_fidelity.register_feature_extractor("stranger", Registered)
    drawn, gold = draw(tmp_path, 70, seed=1, shift=40), draw(tmp_path, 66, seed=2)
    found = scored(drawn, gold)
    mean, deviation, distance = by_torch_fidelity(drawn, gold, "stranger", 64, 10)
    score = found["IS-Stranger"]
    assert (score.value, score.deviation) == (mean, deviation)
    assert found["FID-Stranger"].value == distance
    assert (score.better, found["FID-Stranger"].better) == ("higher", "lower")
    assert found["FID-Stranger"].count == "70/66"


def test_any_instances_are_scored_from_their_values(tmp_path: Path) -> None:
    """Oracle: the same instances scored as if there were no others."""
    drawn, gold = draw(tmp_path, 20, seed=3), draw(tmp_path, 20, seed=4)
    some, images = instances(drawn, gold), Images(STRANGER)
    values = images.values(some)
    assert values[0] is None and values[-1] is None
    rows = [row for row, value in enumerate(values) if value is not None][1:4]
    part = images.scores([values[row] for row in rows if values[row] is not None])
    alone = images.values([some[row] for row in rows])
    expected = images.scores([value for value in alone if value is not None])
    assert [s.name for s in part.scores] == [f"{name}-Stranger" for name in ALL]
    for one, other in zip(part.scores, expected.scores, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-5, abs=1e-4)


def test_fid_is_the_frechet_distance_of_the_features(tmp_path: Path) -> None:
    drawn, gold = draw(tmp_path, 24, seed=1, shift=40), draw(tmp_path, 30, seed=2)
    found = scored(drawn, gold)
    expected = frechet(outputs(drawn)[0], outputs(gold)[0])
    assert expected > 0.1
    assert found["FID-Stranger"].value == pytest.approx(expected, rel=1e-4)
    assert found["FID-Stranger"].n == 24
    same = scored(drawn, drawn)
    assert same["FID-Stranger"].value == pytest.approx(0, abs=1e-4)


def test_is_is_its_formula_on_the_logits(tmp_path: Path) -> None:
    drawn = draw(tmp_path, 3, seed=3)  # too few for two splits, so that one split is the set
    score = scored(drawn, drawn)["IS-Stranger"]
    expected = inception_score(outputs(drawn)[1])
    assert expected > 1.1
    assert score.value == pytest.approx(expected, rel=1e-5)
    assert score.deviation == 0
    assert score.how.startswith("splits:1-of-10|extractor:stranger|resize:64-bicubic-antialias|")
    assert score.signature.endswith("|n:3/3")


def test_is_splits_as_the_definition_does(tmp_path: Path) -> None:
    drawn = draw(tmp_path, 25, seed=4)
    score = scored(drawn, drawn)["IS-Stranger"]
    logits = outputs(drawn)[1][np.random.RandomState(2020).permutation(25)]
    parts = [inception_score(logits[i * 25 // 10 : (i + 1) * 25 // 10]) for i in range(10)]
    assert score.value == pytest.approx(np.mean(parts), rel=1e-5)
    assert score.deviation == pytest.approx(np.std(parts), rel=1e-4)
    assert score.signature.startswith("splits:10|")


@pytest.mark.parametrize(
    ("drawn", "gold", "left_out"),
    [
        (0, 3, ALL),
        (1, 3, ALL),
        (3, 1, (*SETS, *PRC, *COSINES)),
        (3, 0, (*SETS, *PRC, *COSINES)),
        (2, 2, PRC),
        (4, 3, PRC),
        (4, 4, ()),
    ],
)
def test_too_few_photos_are_left_out_with_a_reason(
    tmp_path: Path, drawn: int, gold: int, left_out: Sequence[str]
) -> None:
    files = draw(tmp_path, 4, seed=5)
    found = paired(files[:drawn], files[:gold])
    expected = [f"{name}-Stranger" for name in left_out]
    assert sorted(found.reasons) == sorted(expected)
    assert [s.name for s in found.scores] == [
        name for name in (f"{name}-Stranger" for name in ALL) if name not in expected
    ]
    assert all("needs " in reason for reason in found.reasons.values())


def paired(drawn: Sequence[Path], gold: Sequence[Path]) -> Scored:
    """Scores of instances of one photo on either side, as far as there are any."""
    some = [
        Prediction(f"d/{i}", None, Side(photos=tuple(gold[i : i + 1])),
                   Side(photos=tuple(drawn[i : i + 1])))
        for i in range(max(len(drawn), len(gold)))
    ]  # fmt: skip
    images = Images(STRANGER)
    return images.scores([v for v in images.values(some) if v is not None])


@pytest.mark.parametrize(("drawn", "splits"), [(4, "2-of-10"), (21, "10")])
def test_figures_say_what_they_depend_on(tmp_path: Path, drawn: int, splits: str) -> None:
    """Splits have two photos at least, and are ten at most."""
    files = draw(tmp_path, drawn, seed=11)
    Image.open(files[1]).save(tmp_path / "one.jpg")
    gold = [files[0], tmp_path / "one.jpg", *files[2:4]]
    found = paired(files, gold)
    eyes = "extractor:stranger|resize:64-bicubic-antialias|colour:rgb8,alpha-on-white"
    how = f"{eyes}|files:png/jpeg+png|torch-fidelity:{torch_fidelity.__version__}"
    subsets = "1x4" if drawn == 4 else "53x4"
    hows = {
        "IS": (f"splits:{splits}", "higher"),
        "FID": ("singular:n<=5", "lower"),
        "KID×1000": (f"kernel:poly3|unbiased|subsets:{subsets}", "lower"),
        "CMMD": ("kernel:rbf|sigma:10|scale:1000|normalised|unbiased", "lower"),
        "photo precision": ("neighbours:3", "higher"),
        "photo recall": ("neighbours:3", "higher"),
        "own-photo cosine": ("scale:100|pairs:4", "higher"),
        "other-photo cosine": ("scale:100|pairs:4", None),
    }
    for score, (name, (own, better)) in zip(found.scores, hows.items(), strict=True):
        n = 4 if "cosine" in name else drawn
        assert score == Score(
            f"{name}-Stranger", score.value, n, f"{own}|{how}", better,  # type: ignore[arg-type]
            score.deviation, count=f"{drawn}/4", warning=score.warning,
        )  # fmt: skip
        spread = name == "IS" or (name.startswith("KID") and drawn != 4)
        assert (score.deviation is not None) == spread
    assert not found.reasons


def test_a_covariance_of_too_few_photos_is_told(tmp_path: Path) -> None:
    files = draw(tmp_path, 6, seed=11)
    (few,) = (score for score in paired(files[:5], files).scores if score.warning)
    assert few.name == "FID-Stranger" and few.how.startswith("singular:n<=5|")
    assert few.warning.startswith("5/6 photos are no more than the extractor's 5 features,")
    assert few.warning.endswith("KID and CMMD are unbiased at any n.")
    assert not any(score.warning for score in paired(files, files).scores)
    assert "singular" not in paired(files, files)["FID-Stranger"].how


@pytest.mark.parametrize(("drawn", "gold"), [(0, 0), (1, 0), (0, 3), (1, 1), (3, 1)])
def test_why_a_figure_is_left_out(tmp_path: Path, drawn: int, gold: int) -> None:
    files = draw(tmp_path, 3, seed=5)
    there = f"there are {drawn} and {gold}"
    few = {"IS-Stranger": f"needs 2 drawn photos, there are {drawn}"} if drawn < 2 else {}
    for names, least in ((SETS, 2), (PRC, 4)):
        why = f"needs {least} drawn and {least} gold photos, {there}"
        few |= {f"{name}-Stranger": why for name in names}
    pairs = min(drawn, gold)
    why = f"needs 2 instances with a drawn and a gold photo, there are {pairs}"
    assert paired(files[:drawn], files[:gold]).reasons == few | {
        f"{name}-Stranger": why for name in COSINES
    }


class Watched(Classless):
    """Half precision, and notes how many photos it sees at once."""

    sizes: ClassVar[list[int]] = []

    def features(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        assert not torch.is_grad_enabled()
        return images.float().mean((2, 3)).half()


def test_photos_are_seen_together_and_kept_by_instance(tmp_path: Path) -> None:
    drawn, gold = draw(tmp_path, 65, seed=12), draw(tmp_path, 2, seed=13)
    some = [
        Prediction("a", None, Side(photos=(gold[0],)), Side(photos=tuple(drawn[:64]))),
        Prediction("b", None, Side(), Side()),
        Prediction("c", None, Side(photos=(gold[1],)), Side(photos=(drawn[64],))),
    ]
    images = Images(f"{__name__}:Watched")
    assert images.values(some[1:2]) == [None]  # nothing to see, so nothing is loaded
    assert "extractor" not in vars(images._eyes)
    Watched.sizes.clear()
    first, nothing, last = images.values(some)
    assert sorted(Watched.sizes) == [1, 2, 64] and nothing is None
    assert first is not None and last is not None
    assert [(len(v.drawn), len(v.logits), len(v.gold), v.due) for v in (first, last)] == [
        (64, 0, 1, True), (1, 0, 1, True),
    ]  # fmt: skip
    for path, row in ((drawn[63], first.drawn[63]), (drawn[64], last.drawn[0]),
                      (gold[0], first.gold[0]), (gold[1], last.gold[0])):  # fmt: skip
        mean = pixels(Image.open(path), 8).float().mean((1, 2))
        assert torch.equal(row, mean.half().float()) and row.dtype == torch.float32
    (undue,) = images.values([replace(some[2], reference=Side())])
    assert undue is not None and not undue.due


class Odd(Classless):
    shape: tuple[int, ...] = ()
    value = 1.0

    def features(self, images: Tensor) -> Tensor:
        return torch.full(self.shape, self.value)


@pytest.mark.parametrize(
    ("shape", "value", "problem"),
    [
        ((2,), 1.0, "of shape (2,). Expected [2, F], F >= 2."),
        ((2, 1), 1.0, "of shape (2, 1). Expected [2, F], F >= 2."),
        ((1, 2), 1.0, "of shape (1, 2). Expected [2, F], F >= 2."),
        ((3, 2), 1.0, "of shape (3, 2). Expected [2, F], F >= 2."),
        ((2, 2, 1), 1.0, "of shape (2, 2, 1). Expected [2, F], F >= 2."),
        ((2, 2), torch.inf, "that are no numbers (NaN or ∞). Check its weights."),
        ((2, 2), torch.nan, "that are no numbers (NaN or ∞). Check its weights."),
        ((2, 2), 1.0, ""),
    ],
)
def test_features_that_are_none_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    value: float,
    problem: str,
) -> None:
    monkeypatch.setattr(Odd, "shape", shape)
    monkeypatch.setattr(Odd, "value", value)
    images, name = Images(f"{__name__}:Odd"), f"{__name__}:Odd"
    some = instances(draw(tmp_path, 2, seed=6), [])
    if not problem:
        assert images.values(some)
        return
    with pytest.raises(ConfigError) as caught:
        images.values(some)
    assert str(caught.value) == f"The extractor '{name}' gives features {problem}"


def test_the_default_extractor_is_photoworlds() -> None:
    reasons = Images().scores([]).reasons
    assert set(reasons) == {f"{name}-photoworld" for name in ALL}


def test_where_no_photo_is_due_but_elsewhere_one_is_photos_are_not_judged(tmp_path: Path) -> None:
    files, images = draw(tmp_path, 3, seed=5), Images(STRANGER)
    stray = Prediction("a", None, Side(), Side(photos=tuple(files)))
    due = Prediction("b", None, Side(photos=(files[0],)), Side())
    values = images.values([stray, due])
    assert images.scores([values[0]]) == Scored()  # type: ignore[list-item]
    assert "IS-Stranger" in images.scores(values)  # type: ignore[arg-type]


def test_an_extractor_without_classes_has_no_inception_score(tmp_path: Path) -> None:
    drawn, gold = draw(tmp_path, 6, seed=1), draw(tmp_path, 6, seed=2)
    found = scored(drawn, gold, f"{__name__}:Classless")
    assert [s.name for s in found.scores] == [f"{name}-Classless" for name in ALL if name != "IS"]
    assert found.reasons["IS-Classless"] == f"'{__name__}:Classless' knows no classes"
    features = [
        np.stack([np.asarray(Image.open(p).resize((8, 8), 3)).mean((0, 1)) for p in paths])
        for paths in (drawn, gold)
    ]
    assert found["FID-Classless"].value == pytest.approx(frechet(*features), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("flat", r"features of shape \(2,\)\. Expected \[2, F\]"),
        ("nan", "features that are no numbers"),
        ("draw", "cannot be made"),
        ("frechet", "cannot be made"),
        ("Path", "gives a PosixPath without side, features"),
        ("Nothing", "cannot be loaded"),
    ],
)
def test_what_is_no_extractor_is_told(tmp_path: Path, name: str, problem: str) -> None:
    files = draw(tmp_path, 2, seed=6)
    with pytest.raises(ConfigError, match=problem):
        scored(files, files, f"{__name__}:{name}")


def test_inception_without_weights_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", fail
    )
    files = draw(tmp_path, 2, seed=6)
    with pytest.raises(ConfigError, match=r"inception .*no network.*extractor `photoworld`"):
        scored(files, files, extractor="inception")


def test_inception_is_torch_fidelitys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: its own outputs for FID and IS in one pass, with the same random weights."""
    theirs = torch_fidelity.feature_extractor_inceptionv3
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
    monkeypatch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    torch.manual_seed(0)
    ours = extractors.load("inception", torch.device("cpu"))
    torch.manual_seed(0)
    network = theirs.FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"])
    files = draw(tmp_path, 2, seed=7)
    images = torch.stack([extractors.seen_by(ours, path, "a") for path in files])
    assert images.shape == (2, 3, 64, 80) and images.dtype == torch.uint8  # as they are
    features, logits = network(images)
    assert features.abs().max() > 0
    assert torch.equal(ours.features(images), features)
    assert isinstance(ours, extractors.Classifier)
    assert torch.equal(ours.logits(features), logits)


def test_names_of_scores_follow_the_extractor() -> None:
    names = {
        "inception": "", "inception:/a/b.pth": "", "photoworld": "-photoworld",
        "my.own:Net": "-Net", "clip:openai/clip-vit-base-patch32": "-clip-vit-base-patch32",
        "dinov2:/models/small/": "-small",
    }  # fmt: skip
    assert {name: extractors.suffix(name) for name in names} == names


def test_an_unknown_extractor_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown extractor 'photoword'\. Did you mean 'photow"):
        Images("photoword")
    with pytest.raises(ConfigError, match="Known: photoworld, inception"):
        Images("zzz")


def test_a_photo_that_breaks_off_is_a_data_error(tmp_path: Path) -> None:
    files = draw(tmp_path, 2, seed=8)
    files[0].write_bytes(files[0].read_bytes()[:60])
    with pytest.raises(DataError, match=r"Instance 'd/1': Photo .* is not an image that can be"):
        scored(files, files)


def test_a_photo_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    whole = extractors.open_photo

    def counted(path: Path, id: str) -> Image.Image:
        opened.append(path)
        return whole(path, id)

    monkeypatch.setattr(extractors, "open_photo", counted)
    drawn, gold = draw(tmp_path, 5, seed=9), draw(tmp_path, 5, seed=10)
    for _ in range(2):  # the second time as another metric that sees with 64 pixels
        scored(drawn, gold)
    assert sorted(opened) == sorted(drawn + gold)
    Image.new("RGB", (9, 9)).save(drawn[0])  # another photo of the name is opened
    scored(drawn, gold)
    assert opened.count(drawn[0]) == 2


def test_pixels_average_when_they_scale_down() -> None:
    """A checkerboard of single pixels turns grey; without antialiasing it would stay black."""
    board = np.indices((128, 128)).sum(0) % 2 * 255
    grey = pixels(Image.fromarray(board.astype(np.uint8)).convert("RGB"), 64)[:, 4:-4, 4:-4]
    assert grey.float().mean() == pytest.approx(127.5, abs=1)
    assert grey.float().std() < 2
