"""Fréchet distances of resamples: derivatives, and what the interval covers."""

from __future__ import annotations

import numpy as np
import pytest

from pscli.metrics.frechet import frechet_resampled, influence
from pscli.metrics.resample import Array, drawn, interval

R = np.random.default_rng


def literal(x: Array, y: Array, a: Array, b: Array) -> float:
    """The weighted squared distance from means and covariances as they are defined."""
    from scipy.linalg import sqrtm

    def moments(rows: Array, weights: Array) -> tuple[Array, Array]:
        mean = weights @ rows / weights.sum()
        moved = rows - mean
        return mean, (moved * weights[:, None]).T @ moved / (weights.sum() - 1)

    (m, s), (n, t) = moments(x, a), moments(y, b)
    root = sqrtm(sqrtm(s).real @ t @ sqrtm(s).real).real
    return float(((m - n) ** 2).sum() + np.trace(s + t - 2 * root))


@pytest.mark.parametrize(("n", "m"), [(25, 30), (30, 25), (40, 8), (8, 40)])
def test_influence_is_the_derivative(n: int, m: int) -> None:
    """Oracle: central differences of the distance as it is defined. Above and below F = 6, where
    the rank of the covariances is no less than F; below it the next test."""
    generator = R(0)
    x, y = generator.normal(size=(n, 6)), 2 * generator.normal(size=(m, 6)) + 1
    ours, theirs = influence(x, y)
    step = 1e-4
    one, other = np.ones(n), np.ones(m)
    for i in range(5):
        e, f = step * np.eye(n)[i], step * np.eye(m)[i]
        slope = literal(x, y, one + e, other) - literal(x, y, one - e, other)
        assert ours[i] == pytest.approx(slope / (2 * step), rel=1e-4, abs=1e-6)
        slope = literal(x, y, one, other + f) - literal(x, y, one, other - f)
        assert theirs[i] == pytest.approx(slope / (2 * step), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(12, 15), (15, 12), (12, 60)])
def test_both_forms_are_the_derivative_below_the_dimension(n: int, m: int) -> None:
    """Oracle: central differences with the singular values of the cross-Gram matrix."""
    generator = R(1)
    x, y = generator.normal(size=(n, 40)), 2 * generator.normal(size=(m, 40)) + 1

    def distance(a: Array, b: Array) -> float:
        m, n = a @ x / a.sum(), b @ y / b.sum()
        p, q = (x - m) * np.sqrt(a)[:, None], (y - n) * np.sqrt(b)[:, None]
        s, t = a.sum() - 1, b.sum() - 1
        roots = np.linalg.svd(p @ q.T, compute_uv=False).sum() / np.sqrt(s * t)
        return float(((m - n) ** 2).sum() + (p**2).sum() / s + (q**2).sum() / t - 2 * roots)

    ours, theirs = influence(x, y)
    from pscli.metrics import frechet

    shares = frechet._by_covariance(x - x.mean(0), y - y.mean(0))
    for found, other in zip(frechet._by_gram(x - x.mean(0), y - y.mean(0)), shares, strict=True):
        assert found == pytest.approx(other, rel=1e-5)
    step = 1e-5
    for i in range(5):
        e, f = step * np.eye(n)[i], step * np.eye(m)[i]
        slope = distance(1 + e, np.ones(m)) - distance(1 - e, np.ones(m))
        assert ours[i] == pytest.approx(slope / (2 * step), rel=1e-5)
        slope = distance(np.ones(n), 1 + f) - distance(np.ones(n), 1 - f)
        assert theirs[i] == pytest.approx(slope / (2 * step), rel=1e-5)


def test_a_feature_that_is_always_zero_changes_nothing() -> None:
    generator = R(2)
    x, y = generator.normal(size=(30, 5)), generator.normal(size=(40, 5))
    wide = [np.hstack([rows, np.zeros((len(rows), 2))]) for rows in (x, y)]
    for found, other in zip(influence(x, y), influence(*wide), strict=True):
        assert found == pytest.approx(other, abs=1e-9)


def test_resamples_keep_positive_and_about_the_value() -> None:
    x, y = R(3).normal(size=(20, 3)), R(4).normal(size=(20, 3))
    counts = next(drawn(20, 500))
    found = frechet_resampled(0.5, x, y, counts, counts)
    assert found.shape == (500,) and found.min() > 0
    assert np.median(found) == pytest.approx(0.5, rel=0.1)
    assert (frechet_resampled(0.0, x, x, counts, counts) == 0).all()


def fid(x: Array, y: Array) -> float:
    """The distance by singular values, which take no root of a matrix."""
    a, b = x - x.mean(0), y - y.mean(0)
    spread = ((a**2).sum() + (b**2).sum()) / (len(x) - 1)
    if len(x) > x.shape[1]:
        a, b = np.linalg.qr(a).R, np.linalg.qr(b).R
    roots = np.linalg.svd(a @ b.T, compute_uv=False).sum() / (len(x) - 1)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + spread - 2 * roots)


def covered(n: int, features: int, shift: float, times: int) -> tuple[float, float]:
    """How often the interval of simulated photos holds the distance that n of them give on
    average, and that of endless ones: of normal features it has a closed form."""
    generator = R(5)
    scale = np.linspace(0.5, 1.5, features)

    def draw() -> tuple[Array, Array]:
        x, y = generator.normal(size=(2, n, features))
        return x * scale + shift / np.sqrt(features), y

    here = np.mean([fid(*draw()) for _ in range(max(300, times))])
    endless = shift**2 + ((scale - 1) ** 2).sum()
    hits = []
    for _ in range(times):
        x, y = draw()
        value = fid(x, y)
        counts = next(drawn(n, 400, seed=int(generator.integers(1 << 32))))
        found = interval(value, frechet_resampled(value, x, y, counts, counts), n)
        assert found is not None
        hits.append([found[0] <= truth <= found[1] for truth in (here, endless)])
    ours, theirs = np.mean(hits, axis=0)
    return float(ours), float(theirs)


def test_the_interval_covers_what_it_says() -> None:
    """Oracles: the closed form, where its bias is small (n = 400, F = 4), and the mean over
    simulated sets."""
    ours, endless = covered(400, 4, 1.0, 250)
    assert 0.92 <= ours <= 0.98 and 0.92 <= endless <= 0.98


def test_the_interval_covers_below_the_dimension() -> None:
    assert 0.92 <= covered(40, 200, 4.0, 200)[0] <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "features", "shift"),
    [(400, 4, 1.0), (1000, 8, 2.0), (100, 16, 1.0), (60, 128, 1.0), (60, 128, 4.0)],
)
def test_coverage_at_length(n: int, features: int, shift: float) -> None:
    ours, endless = covered(n, features, shift, 1000)
    assert 0.92 <= ours <= 0.98
    if n > 6 * features**2:
        assert 0.92 <= endless <= 0.98
