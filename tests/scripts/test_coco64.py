"""COCO from files to a table: a stand-in of 25 images, by the script's one command."""

import json

import coco64
import numpy as np
import pytest
from PIL import Image

from t2igan.backbones import inception_weights
from t2igan.metrics.features import network as feature_network

COUNTS = {"train2014": 20, "val2014": 5}


@pytest.fixture
def coco(tmp_path):
    """Folders and captions as COCO has them."""
    random = np.random.default_rng(0)
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    for year, count in COUNTS.items():
        (folder / year).mkdir()
        images, annotations = [], []
        for index in range(count):
            name = f"COCO_{year}_{index:012}.jpg"
            Image.fromarray(random.integers(0, 256, (70, 90, 3), np.uint8)).save(
                folder / year / name
            )
            images.append({"id": index, "file_name": name})
            text = f"a thing of color {index}"
            annotations.append({"image_id": index, "id": index, "caption": text})
        listing = {"images": images, "annotations": annotations}
        (folder / "annotations" / f"captions_{year}.json").write_text(json.dumps(listing))
    return folder


@pytest.fixture
def root(tmp_path):
    """A project whose page has the table's marks."""
    start, end = coco64.results.marks("coco64")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "evaluation.md").write_text(f"before\n\n{start}\nold\n{end}\nafter\n")
    (tmp_path / "README.md").write_text(
        "\n".join("\n".join(coco64.results.marks(name)) for name in coco64.results.TABLES)
    )
    return tmp_path


def test_one_command_prepares_trains_measures_and_fills_the_table(
    coco, root, tmp_path, monkeypatch, request, capsys
):
    monkeypatch.setattr(inception_weights, "usual_places", list)
    monkeypatch.delenv(inception_weights.VARIABLE, raising=False)
    monkeypatch.setattr(feature_network, "load", lambda name, weights=None: _colors(name))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "words_of_a_test.py").write_text(
        "import numpy as np\n"
        "def encode(texts):\n"
        "    return np.array([[len(text), len(set(text)), 1.0] for text in texts])\n"
    )
    tiny = ["model.gf_dim=4", "model.df_dim=4", "model.text_dim=8", "train.steps=2"]
    tiny += ["train.batch_size=16", "recipe=contrastive", "health.every=0"]
    command = [
        f"--coco={coco}",
        f"--out={tmp_path / 'out'}",
        f"--root={root}",
        "--num=5",
        "--sentence_encoder=words_of_a_test:encode",
        "--metrics=frechet",
        *(f"--config.{word}" for word in tiny),
    ]
    assert coco64.main(command) == 0
    report = json.loads((tmp_path / "out" / "data" / "report.json").read_text())
    assert (report["resize"], report["resampling"]) == ("center_crop", "lanczos")
    assert report["splits"]["test"]["examples"] == COUNTS["val2014"]
    page = (root / "docs" / "evaluation.md").read_text()
    assert page.startswith("before")
    assert "| `coco64`, words_of_a_test | `frechet_lite0`, test |" in page
    checkpoint = tmp_path / "out" / "run" / "checkpoints"
    written = {path: path.stat().st_mtime_ns for path in checkpoint.rglob("*") if path.is_file()}

    assert coco64.main(command) == 0  # again: nothing is done twice
    assert (root / "docs" / "evaluation.md").read_text() == page
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert coco64.main(["--check", f"--root={root}"]) == 0
    (root / "docs" / "evaluation.md").write_text(page.replace("words_of_a_test", "others"))
    assert coco64.main(["--check", f"--root={root}"]) == 1


def _colors(name):
    from t2igan.metrics.features.network import FeatureNetwork

    def apply(params, images):
        return images.astype("float32").mean((1, 2))

    return FeatureNetwork(name, 3, {}, apply, None, {"network": "test"})


def test_what_cannot_be_measured_is_said_before_anything_is_done(capsys, monkeypatch):
    monkeypatch.setattr(inception_weights, "usual_places", list)
    monkeypatch.delenv(inception_weights.VARIABLE, raising=False)
    monkeypatch.setattr(inception_weights, "find", _absent)
    chosen = coco64._metrics(None)
    told = capsys.readouterr().out
    assert "frechet" in chosen
    assert "fid30k_coco64" not in chosen
    for name in ("fd_dinov2", "cmmd", "clip_score", "fid30k_coco64"):
        assert f"without {name}" in told


def _absent():
    raise coco64.UserError("no Inception weights")


def test_the_projects_own_table_is_up_to_date():
    assert coco64.main(["--check"]) == 0
