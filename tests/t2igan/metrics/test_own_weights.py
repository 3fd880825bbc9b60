"""FD-DINOv2, CMMD and CLIPScore on made-up weights: NumPy's numbers from the networks' rows."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from input_pipeline.errors import UserError
from t2igan.backbones import clip, dinov2
from t2igan.backbones.weight_files import WeightFile
from t2igan.cli import main as cli
from t2igan.metrics.features import network as feature_network
from t2igan.metrics.statistics.gaussian_discrepancy import discrepancy, discrepancy_resamples

from ..made_up_weights import layer_shapes, write

COUNT, SIZE = 8, 16
COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set of captions as they were written, and a folder of images with captions."""
    folder = tmp_path_factory.mktemp("world")
    for name, seed in (("real", 0), ("fake", 1)):
        random = np.random.default_rng(seed)
        (folder / name).mkdir()
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "caption"])
            for i in range(COUNT):
                pixels = random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{i}.png")
                rows.writerow([f"{i}.png", f"A {COLORS[i % 3]} thing, number {i}"])
    data = ["--validation_fraction=0", "--test_fraction=0", "--workers=1", "--image_size=16"]
    source = [f"--images={folder}/real", f"--captions={folder}/real.csv", "--source=folder"]
    assert cli.main(["prepare", *source, *data, f"--out={folder}/data"]) == 0
    return folder


@pytest.fixture
def evaluate(world, tmp_path, capsys):
    def run(*flags, captions=True):
        out = tmp_path / "lines.jsonl"
        flags = [*flags, f"--dataset={world}/data", "--split=train", "--resamples=3"]
        if captions:
            flags.append(f"--captions={world}/fake.csv")
        code = cli.main(["evaluate", f"--images={world}/fake", f"--out={out}", *flags])
        if code:
            return capsys.readouterr().err
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        return {line["metric"]: line for line in lines}

    return run


def pixels(world, name, size):
    """As the networks get them: resized by Pillow's bicubic filter."""
    images = [Image.open(world / name / f"{i}.png") for i in range(COUNT)]
    rows = [np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)) for image in images]
    return np.stack(rows)


def embedded(world, name, file, size, heads):
    params = clip.image_params(WeightFile.named(file).read()[0])
    geometry = clip.Geometry(heads, "quick_gelu")
    rows = np.asarray(clip.image_features(params, pixels(world, name, size), geometry), np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_cmmd_is_its_formula(world, evaluate, clip_l336):
    found = evaluate("--metrics=cmmd", f"--weights={clip_l336}")
    x, y = (embedded(world, name, clip_l336, 336, 16) for name in ("real", "fake"))

    def mean(a, b):
        return np.mean([[np.exp(-np.sum((p - q) ** 2) / 200) for q in b] for p in a])

    expected = 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))
    line = found["cmmd"]
    assert line["estimate"]["value"] == pytest.approx(expected, rel=1e-3)
    assert line["better"] == "lower"
    assert line["provenance"]["network"] == "clip_vitl14_336"
    assert line["provenance"]["resize"] == "bicubic 336 of Pillow"


def test_clip_score_and_r_precision_are_their_formulas(world, evaluate, clip_b32):
    found = evaluate("--metrics=clip_score", f"--weights={clip_b32}")
    images = embedded(world, "fake", clip_b32, 224, 12)
    network = feature_network.load("clip_vitb32", clip_b32)
    texts = [f"A photo depicts A {COLORS[i % 3]} thing, number {i}" for i in range(COUNT)]
    rows = network.texts(texts).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = images @ rows.T
    score = found["clip_score"]
    expected = np.mean(2.5 * np.maximum(np.diag(likeness), 0))
    assert score["estimate"]["value"] == pytest.approx(expected, rel=1e-3)
    assert set(score["references"]) == {"real", "blurred", "shuffled"}
    # Captions of one color and another number are one text to this tokenizer: ties are shared.
    hits = [
        1 / np.sum(np.isclose(row, row[i])) * (row[i] >= row.max() - 1e-9)
        for i, row in enumerate(likeness)
    ]
    assert found["clip_r_precision"]["estimate"]["value"] == pytest.approx(np.mean(hits), abs=1e-6)
    assert found["clip_r_precision"]["references"]["chance"]["value"] == 0.01


def test_fd_dinov2_and_any_metric_by_its_features(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(dinov2, "NAMES", {(64, 1): "dinov2_vitl14", (128, 1): "dinov2_vitb14"})
    files = [dinov2_file(tmp_path / str(width), width) for width in (64, 128)]
    weights = f"--weights={files[0]},{files[1]}"
    found = evaluate("--metrics=fd_dinov2", weights)
    again = evaluate("--metrics=frechet", "--features=dinov2_vitl14", weights)
    value = found["fd_dinov2"]["estimate"]["value"]
    assert value > 0
    assert again["frechet_dinov2_vitl14"]["estimate"]["value"] == pytest.approx(value)
    other = evaluate("--metrics=frechet", "--features=dinov2_vitb14", weights)
    assert other["frechet_dinov2_vitb14"]["provenance"]["network"] == "dinov2_vitb14"


def dinov2_file(folder, width):
    names = {f"attention.attention.{part}": (width, width) for part in ("query", "key", "value")}
    names |= {"attention.output.dense": (width, width), "norm1": (width,), "norm2": (width,)}
    names |= {"mlp.fc1": (32, width), "mlp.fc2": (width, 32)}
    patches = "embeddings.patch_embeddings.projection"
    return write(
        folder,
        {
            "embeddings.cls_token": (1, 1, width),
            "embeddings.position_embeddings": (1, 37 * 37 + 1, width),
            f"{patches}.weight": (width, 3, 14, 14),
            f"{patches}.bias": (width,),
            "layernorm.weight": (width,),
            "layernorm.bias": (width,),
            **{f"encoder.layer.0.layer_scale{i}.lambda1": (width,) for i in (1, 2)},
            **layer_shapes("encoder.layer", width, 1, names),
        },
    )


def test_what_is_missing_is_said(evaluate, clip_b32, t5_file):
    assert "needs its weights: --weights=FILE" in evaluate("--metrics=cmmd")
    assert "openai/clip-vit-base-patch32" in evaluate("--metrics=clip_score")
    assert "not the weights of one of" in evaluate("--metrics=cmmd", f"--weights={t5_file}")
    wrong = f"--weights={clip_b32}@{'0' * 64}"
    assert "SHA-256" in evaluate("--metrics=clip_score", wrong)
    weights = f"--weights={clip_b32}"
    assert "no captions" in evaluate("--metrics=clip_score", weights, captions=False)


def test_a_data_set_of_codes_alone_is_said(dataset, network):
    from t2igan.metrics.engine.image_sets import of_split

    class Codes(type(dataset.source("test"))):
        def written(self, indices):
            return [()] * len(indices)

    dataset.source = lambda split, sentences=False: Codes(50, 1, dataset)
    with pytest.raises(UserError, match="as codes alone"):
        of_split(dataset, "test", "fake").texts(np.arange(3))


def test_the_discrepancy_in_blocks_is_the_one_of_the_whole(monkeypatch):
    random = np.random.default_rng(3)
    x, y = random.normal(size=(50, 4)), random.normal(size=(70, 4)) + 0.5
    whole = discrepancy(x, y, 2.0)
    resamples = discrepancy_resamples(x, y, 2.0, 5, seed=0)
    from t2igan.metrics.statistics import gaussian_discrepancy

    monkeypatch.setattr(gaussian_discrepancy, "_ROWS", 16)
    assert discrepancy(x, y, 2.0) == pytest.approx(whole)
    np.testing.assert_allclose(discrepancy_resamples(x, y, 2.0, 5, seed=0), resamples)
    drawn = np.random.default_rng(0)
    first = x[drawn.integers(0, 50, 50)], y[np.random.default_rng(1).integers(0, 70, 70)]
    assert resamples[0] == pytest.approx(discrepancy(*first, 2.0))
