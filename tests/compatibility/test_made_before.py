"""What version 0.1 wrote keeps working: data sets, runs, a matcher, evaluations, a sweep.

`made_by_0.1.tar.xz` holds rendered shapes and runs of four steps on them, one a recipe of that
version, made on four CPU devices; `expected.json` and `samples.npz` in it hold what that version
did with them.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

import t2igan
from configs.common import FIELDS
from input_pipeline.dataset.open import open_dataset
from t2igan.cli.main import main
from t2igan.config import record
from t2igan.workdir.checkpoints import restore_item

ARCHIVE = Path(__file__).parent / "made_by_0.1.tar.xz"
CAPTIONS = ["a small red star on the left", "a large blue circle in the centre", "a green ring"]
RUNS = {
    "stackgan": "stackgan",
    "stackgan2": "stackgan_stage2",
    "matching_hinge": "dfgan",
    "relativistic": "r3gan",
    "caption_contrast": "contrastive",
    "projected": "projected_gan",
    "projected2": "projected_gan",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's folder."""
    folder = tmp_path_factory.mktemp("made_before")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the current folder: the runs name their data sets relative to it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_a_run_samples_the_same_images(here: Path, name: str) -> None:
    expected = np.load(here / "samples.npz")[name].astype(int)
    images = t2igan.load(name).sample(CAPTIONS, num=2, seed=3).astype(int)
    # On the processor that made them bit by bit; another rounds its own way, and two may have one
    # name (clouds call several generations "AMD EPYC").
    np.testing.assert_allclose(images, expected, atol=1)
    assert (images != expected).mean() < 1e-3


def test_a_run_knows_its_recipe_under_the_new_name(here: Path) -> None:
    for name, recipe in RUNS.items():
        assert t2igan.load(name).config.recipe == recipe


@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_the_default_of_every_field_that_came_later(here: Path, name: str) -> None:
    config = record.read(here / name / "config.json").to_dict()
    for field, about in FIELDS.items():
        group, _, leaf = field.rpartition(".")
        values = config[group] if group else config
        assert leaf in values, f"{field} needs since= in configs/common.py"
        assert about.since == "0.1" or values[leaf] == about.default


@pytest.mark.parametrize("name", RUNS)
def test_a_run_resumes_as_it_would_have_then(here: Path, name: str) -> None:
    expected = json.loads((here / "expected.json").read_text())["resumed_to_6"][name]
    assert main(["train", f"--workdir={name}", "--config.train.steps=6"]) == 0
    step, state = restore_item(Path(name), "latest", "state")
    assert step == expected["step"] == 6
    for network, total in expected["absolute_sums"].items():
        leaves = [np.abs(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(state[network])]
        assert sum(leaf.sum() for leaf in leaves) == pytest.approx(total, rel=1e-4)


def test_the_dataset_is_the_one_that_the_runs_were_trained_on(here: Path) -> None:
    dataset = open_dataset(here / "dataset")
    _, meta = restore_item(here / "stackgan", "latest", "meta")
    assert dataset.hash == meta["fingerprint"]
    record = dataset.source("train").__getitems__([0])
    assert record["image"].shape == (1, 32, 32, 3)


def test_an_evaluation_gives_the_same_numbers_by_the_same_matcher(here: Path) -> None:
    before = _lines(here / "stackgan/evaluation.jsonl")
    out = here / "again.jsonl"
    flags = ["--workdir=stackgan", "--step=4", "--metrics=text_gap,caption_recall", f"--out={out}"]
    assert main(["evaluate", *flags, "--matcher=matcher.npz"]) == 0
    numbers = {line["metric"]: line["estimate"]["value"] for line in before if "metric" in line}
    again = {line["metric"]: line["estimate"]["value"] for line in _lines(out) if "metric" in line}
    assert again
    for metric, value in again.items():
        assert value == pytest.approx(numbers[metric], abs=1e-6)


def test_what_is_measured_already_is_in_the_report(here: Path) -> None:
    assert main(["report", "--workdir=matching_hinge", "--num=2"]) == 0
    page = (here / "matching_hinge/report.html").read_text()
    for line in _lines(here / "matching_hinge/evaluation.jsonl"):
        if "metric" in line:
            assert line["metric"] in page


def test_a_finished_sweep_is_finished(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = {path: path.stat().st_mtime_ns for path in (here / "sweep").glob("*/finished.json")}
    assert len(finished) == 2
    assert main(["sweep", "--config=sweep_config.py", "--workdir=sweep"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.parametrize(
    "flag",
    [
        "--config.recipe=matching_hinge",
        "--config.loss.wrong_weight=1.0",
        "--config.loss.head_start_steps=3",
        "--config.model.spread_group=2",
        "--config.loss.contrastive_captions=8",
        "--config.loss.penalty_every=2",
    ],
)
def test_old_names_on_the_command_line(here: Path, flag: str) -> None:
    from t2igan.config.override import load

    old = load(["--config=configs/tiny.py", flag])
    assert old != load(["--config=configs/tiny.py"])


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
