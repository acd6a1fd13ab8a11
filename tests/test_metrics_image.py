"""IS and FID through torch-fidelity against their definitions, with a random small extractor."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pscli.errors import ConfigError, DataError
from pscli.metrics.image import image_scores, pixels


class Stranger(nn.Module):
    """A random network with the extractor's outputs: 5 features, 7 scene logits."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(3 * 16, 5, generator=generator))
        self.v = nn.Parameter(torch.randn(5, 7, generator=generator) * 3)

    def forward(self, images: Tensor) -> SimpleNamespace:
        assert images.shape[1:] == (3, 64, 64) and images.min() >= -1 and images.max() <= 1
        pooled = nn.functional.avg_pool2d(images, 16).flatten(1)
        features = torch.tanh(pooled @ self.w)
        return SimpleNamespace(features=features, scene_logits=features @ self.v)


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


def outputs(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    images = torch.stack([pixels(Image.open(path), 64) for path in paths])
    with torch.no_grad():
        output = Stranger()(images.float() / 127.5 - 1)
    return output.features.double().numpy(), output.scene_logits.double().numpy()


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


def test_fid_is_the_frechet_distance_of_the_features(tmp_path: Path) -> None:
    drawn, gold = draw(tmp_path, 24, seed=1, shift=40), draw(tmp_path, 30, seed=2)
    scored = image_scores(drawn, gold, network=Stranger())
    expected = frechet(outputs(drawn)[0], outputs(gold)[0])
    assert expected > 0.1
    assert scored["FID-photoworld"].value == pytest.approx(expected, rel=1e-4)
    assert scored["FID-photoworld"].n == 24
    same = image_scores(drawn, drawn, network=Stranger())
    assert same["FID-photoworld"].value == pytest.approx(0, abs=1e-4)


def test_is_is_its_formula_on_the_scene_logits(tmp_path: Path) -> None:
    drawn = draw(tmp_path, 3, seed=3)  # too few for two splits, so that one split is the set
    score = image_scores(drawn, drawn, network=Stranger())["IS-photoworld"]
    expected = inception_score(outputs(drawn)[1])
    assert expected > 1.1
    assert score.value == pytest.approx(expected, rel=1e-5)
    assert score.deviation == 0
    assert score.signature.startswith("splits:1-of-10|extractor:photoworld|n:3/3|resize:64-bicubic")


def test_is_splits_as_the_definition_does(tmp_path: Path) -> None:
    drawn = draw(tmp_path, 25, seed=4)
    score = image_scores(drawn, drawn, network=Stranger())["IS-photoworld"]
    logits = outputs(drawn)[1][np.random.RandomState(2020).permutation(25)]
    parts = [inception_score(logits[i * 25 // 10 : (i + 1) * 25 // 10]) for i in range(10)]
    assert score.value == pytest.approx(np.mean(parts), rel=1e-5)
    assert score.deviation == pytest.approx(np.std(parts), rel=1e-4)
    assert score.signature.startswith("splits:10|")


@pytest.mark.parametrize(
    ("drawn", "gold", "left_out"),
    [(0, 3, {"IS", "FID"}), (1, 3, {"IS", "FID"}), (3, 1, {"FID"}), (2, 2, set())],
)
def test_too_few_photos_are_left_out_with_a_reason(
    tmp_path: Path, drawn: int, gold: int, left_out: set[str]
) -> None:
    files = draw(tmp_path, 3, seed=5)
    scored = image_scores(files[:drawn], files[:gold], network=Stranger())
    names = {"IS-photoworld", "FID-photoworld"}
    expected = {f"{name}-photoworld" for name in left_out}
    assert set(scored.reasons) == expected
    assert {score.name for score in scored.scores} == names - expected
    assert all("needs 2" in reason for reason in scored.reasons.values())


def test_inception_without_weights_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    files = draw(tmp_path, 2, seed=6)
    with pytest.raises(ConfigError, match=r"inception .*no network.*`--extractor photoworld`"):
        image_scores(files, files, extractor="inception")


def test_inception_is_asked_for_at_299(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict = {}

    def measure(**options: object) -> dict[str, float]:
        asked.update(options)
        return {
            "inception_score_mean": 2.0,
            "inception_score_std": 0.5,
            "frechet_inception_distance": 3.0,
        }

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: {})
    monkeypatch.setattr("torch_fidelity.calculate_metrics", measure)
    files = draw(tmp_path, 4, seed=7)
    scored = image_scores(files, files[:3], extractor="inception")
    assert asked["feature_extractor"] == "inception-v3-compat"
    assert (asked["cuda"], asked["cache"], asked["verbose"]) == (False, False, False)
    assert asked["input1"][0].shape == (3, 299, 299) and asked["input1"][0].dtype == torch.uint8
    assert (len(asked["input1"]), len(asked["input2"])) == (4, 3)
    assert (scored["IS"].value, scored["IS"].deviation, scored["FID"].value) == (2.0, 0.5, 3.0)
    assert scored["FID"].signature.startswith("extractor:inception-v3-compat|n:4/3|resize:299-")


def test_an_unknown_extractor_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown extractor 'photoword'\. Did you mean 'photow"):
        image_scores([], [], extractor="photoword")
    with pytest.raises(ConfigError, match="Choose from photoworld, inception"):
        image_scores([], [], extractor="zzz")


def test_a_photo_that_breaks_off_is_a_data_error(tmp_path: Path) -> None:
    files = draw(tmp_path, 2, seed=8)
    files[0].write_bytes(files[0].read_bytes()[:60])
    with pytest.raises(DataError, match="not an image that can be decoded"):
        image_scores(files, files, network=Stranger())


def test_pixels_average_when_they_scale_down() -> None:
    """A checkerboard of single pixels turns grey; without antialiasing it would stay black."""
    board = np.indices((128, 128)).sum(0) % 2 * 255
    grey = pixels(Image.fromarray(board.astype(np.uint8)).convert("RGB"), 64)[:, 4:-4, 4:-4]
    assert grey.float().mean() == pytest.approx(127.5, abs=1)
    assert grey.float().std() < 2
