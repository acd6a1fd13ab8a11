"""Distances of photos: torch-fidelity's own runs over folders, and formulas written out."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image

from pscli.metrics import distances, photos
from pscli.metrics.image import Images
from pscli.predictions.folder import Prediction, Side


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of Inception, of which features differ between photos."""
    theirs = torch_fidelity.feature_extractor_inceptionv3
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        state = theirs.FeatureExtractorInceptionV3("x", ["2048"]).state_dict()
    for name, tensor in state.items():
        if name.endswith("conv.weight"):
            tensor.mul_(6**0.5)  # so that layers do not fade
    torch.save(state, path)
    return path


def draw(folder: Path, count: int, seed: int, side: int = 80) -> list[Path]:
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{n:03}.png" for n in range(count)]
    for path in paths:
        coarse = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((side, side)).save(path)
    return paths


def instances(drawn: list[Path], gold: list[Path]) -> list[Prediction]:
    pairs = itertools.zip_longest(drawn, gold)
    sides = [[Side(photos=(path,) if path else ()) for path in pair] for pair in pairs]
    return [Prediction(f"d/{n}", None, theirs, ours) for n, (ours, theirs) in enumerate(sides)]


def test_inceptions_figures_are_those_of_torch_fidelity_over_folders(
    tmp_path: Path, weights: Path
) -> None:
    """Oracle: `calculate_metrics` over both folders, by the same file of weights."""
    drawn, gold = draw(tmp_path / "a", 9, 1), draw(tmp_path / "b", 8, 2)
    theirs = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "a"), input2=str(tmp_path / "b"), isc=True, fid=True, kid=True,
        prc=True, feature_extractor="inception-v3-compat", isc_splits=4, kid_subset_size=8,
        kid_subsets=12, feature_extractor_weights_path=str(weights), cuda=False, cache=False,
        verbose=False,
    )  # fmt: skip
    metric = Images(f"inception:{weights}")
    found = metric.scores([v for v in metric.values(instances(drawn, gold)) if v is not None])
    expected = {
        "IS": theirs["inception_score_mean"],
        "FID": theirs["frechet_inception_distance"],
        "KID×1000": 1000 * theirs["kernel_inception_distance_mean"],
        "photo precision": 100 * theirs["precision"],
        "photo recall": 100 * theirs["recall"],
    }
    assert expected["FID"] > 1e-3 and abs(expected["KID×1000"]) > 1e-6
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-6, abs=1e-6), name
    spread = 1000 * theirs["kernel_inception_distance_std"]
    assert found["KID×1000"].deviation == pytest.approx(spread, rel=1e-6)
    assert found["KID×1000"].how.startswith("kernel:poly3|unbiased|subsets:12x8|")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    assert f"weights:sha256:{digest}|resize:299-bilinear-tf1-no-antialias" in found["FID"].how


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 3), (40, 31)])
def test_cmmd_is_a_double_loop(n: int, m: int) -> None:
    """Oracle: the sums of the unbiased estimator, pair by pair, of normalised features."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 6)), rng.standard_normal((m, 6)) + 0.5
    x32, y32 = (torch.tensor(some, dtype=torch.float32) for some in (x, y))

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        a, b = a.double() / a.double().norm(), b.double() / b.double().norm()
        return float(torch.exp(-((a - b) ** 2).sum() / (2 * 10**2)))

    within_x = sum(kernel(x32[i], x32[j]) for i in range(n) for j in range(n) if i != j)
    within_y = sum(kernel(y32[i], y32[j]) for i in range(m) for j in range(m) if i != j)
    between = sum(kernel(a, b) for a in x32 for b in y32)
    expected = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)
    some = made(x32, y32)
    assert photos.maximum_mean(some)["CMMD"].value == pytest.approx(1000 * expected, abs=1e-9)
    weighted = photos.resampled(some, np.ones((1, max(n, m))))["CMMD"][0]
    assert weighted == pytest.approx(1000 * expected, abs=1e-9)


def made(drawn: torch.Tensor, gold: torch.Tensor, logits: bool = False) -> photos.Photos:
    """One instance a photo."""
    pairs = list(range(min(len(drawn), len(gold))))
    return photos.Photos(
        drawn, gold, drawn * 2 if logits else torch.zeros(0, 0), np.arange(len(drawn)),
        np.arange(len(gold)), (pairs, pairs),
    )  # fmt: skip


def test_kernels_are_summed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((11, 4)), rng.standard_normal((9, 4))
    whole = distances.mmd2(distances.polynomial, x, y)
    monkeypatch.setattr(distances, "BLOCK", 4)
    assert distances.mmd2(distances.polynomial, x, y) == pytest.approx(whole, rel=1e-12)


def test_resamples_that_draw_each_photo_once_are_the_figures() -> None:
    """Oracle: the figures themselves; and where a photo is left out, those of the others."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 5, generator=generator), torch.randn(24, 5, generator=generator) + 1
    some, fewer = made(x, y, logits=True), made(x[2:], y[2:], logits=True)
    counts = np.ones((2, 24))
    counts[1, :2] = 0
    found = photos.resampled(some, counts)
    assert set(found) == {"IS", "FID", "KID×1000", "CMMD", *photos.COSINES}
    whole, part = figures(some), figures(fewer)
    for name, (all_drawn, some_drawn) in found.items():
        assert all_drawn == pytest.approx(whole[name], rel=1e-4), name
        if name not in ("IS", "FID"):  # IS keeps its splits; FID's resamples are of first order
            assert some_drawn == pytest.approx(part[name], rel=1e-4), name
    order = np.random.RandomState(2020).permutation(24)
    splits = [
        [row for row in order[k * 24 // 10 : (k + 1) * 24 // 10] if row > 1] for k in range(10)
    ]
    p = (x * 2).double().softmax(1).numpy()
    scores = [
        np.exp((p[rows] * np.log(p[rows] / p[rows].mean(0))).sum(1).mean())
        for rows in splits
        if rows
    ]
    assert found["IS"][1] == pytest.approx(np.mean(scores), rel=1e-9)


def figures(some: photos.Photos) -> dict[str, float]:
    scored = [photos.inception_score(some, ""), photos.frechet(some), photos.kernel(some),
              photos.maximum_mean(some), photos.cosines(some)]  # fmt: skip
    return {score.name: score.value for one in scored for score in one.scores}


def test_a_photo_that_is_drawn_twice_is_not_compared_with_itself() -> None:
    """Oracle: pairs of different photos, each as often as the product of their counts."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((4, 3))
    a, b = np.array([2.0, 0, 1, 3, 1]), np.array([1.0, 2, 0, 1])
    k = distances.polynomial

    def mean(rows: np.ndarray, counts: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        total = sum(counts[i] * counts[j] for i, j in pairs)
        values = k(rows, rows)
        return sum(counts[i] * counts[j] * values[i, j] for i, j in pairs) / total

    between = (a @ k(x, y) @ b) / (a.sum() * b.sum())
    expected = mean(x, a) + mean(y, b) - 2 * between
    found = distances.weighted_mmd2(distances.Kernels.of(k, x, y), a[None], b[None])
    assert found[0] == pytest.approx(expected, rel=1e-12)
    alone = distances.weighted_mmd2(distances.Kernels.of(k, x, y), np.eye(5)[:1], b[None])
    assert np.isnan(alone[0])


@pytest.mark.parametrize(
    ("drawn", "gold", "expected"),
    [
        (2, 2, (1, 2)), (1000, 1000, (1, 1000)), (968, 1000, (11, 968)), (1000, 968, (11, 968)),
        (3, 1000, (100, 3)), (1001, 1001, (11, 1000)), (50_000, 50_000, (100, 1000)),
    ],
)  # fmt: skip
def test_subsets_of_kid_fit_the_photos(drawn: int, gold: int, expected: tuple[int, int]) -> None:
    assert distances.subsets(drawn, gold) == expected


def test_cosines_are_of_own_and_of_other_photos() -> None:
    """Oracle: all pairs, one by one."""
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(6, 4, generator=generator), torch.randn(5, 4, generator=generator)
    table = torch.nn.functional.cosine_similarity(x.double()[:5, None], y.double()[None], dim=2)
    own, others = photos.cosines(made(x, y)).scores
    assert own.value == pytest.approx(100 * float(table.diagonal().mean()), rel=1e-9)
    rest = (float(table.sum()) - float(table.diagonal().sum())) / 20
    assert others.value == pytest.approx(100 * rest, rel=1e-9)
    assert (own.n, others.better) == (5, None)


def test_photos_of_one_place_in_an_instance_are_pairs() -> None:
    class Some:
        def __init__(self, drawn: int, gold: int) -> None:
            self.drawn, self.gold = [torch.zeros(2)] * drawn, [torch.zeros(2)] * gold
            self.logits: list[torch.Tensor] = []

    found = photos.Photos.of([Some(2, 1), Some(0, 2), Some(1, 3)])
    assert found.pairs == ([0, 2], [0, 3])
    assert found.drawn_of.tolist() == [0, 0, 2]
    assert found.gold_of.tolist() == [0, 1, 1, 2, 2, 2]


def test_many_photos_have_no_kernels_for_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    some = made(torch.rand(5, 3), torch.rand(4, 3))
    monkeypatch.setattr(photos, "MOST", 4)
    found = photos.resampled(some, np.ones((1, 5)))
    assert "CMMD" not in found and "KID×1000" not in found
