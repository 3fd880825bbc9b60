"""How many files a value passes through while a command runs.

Counted are the files of which a function is called with the value, alone or within an argument, or
returns it.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import t2igan
from input_pipeline.dataset.records import Record
from t2igan.cli import main as cli
from t2igan.metrics.engine.result import Result
from t2igan.recipes.base import Batch

ROOT = Path(t2igan.__file__).resolve().parents[1]
CAPTION = "a red circle on the left"


def _parts(value: Any) -> Iterator[Any]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield getattr(value, field.name, None)
    elif isinstance(value, dict):
        yield from [*value, *value.values()]
    elif isinstance(value, tuple | list):
        yield from value[:32]


def _holds(value: Any, wanted: Callable[[Any], bool], depth: int = 3) -> bool:
    if wanted(value):
        return True
    return depth > 0 and any(_holds(part, wanted, depth - 1) for part in _parts(value))


def _files_entered(
    wanted: Callable[[Any], bool], words: list[str], times: int = 1
) -> dict[str, set[str]]:
    """Returns, by file, the functions that had the value `times` times or more."""
    calls: collections.Counter[tuple[str, str]] = collections.Counter()

    def look(frame: Any, event: str, returned: Any) -> None:
        file = frame.f_code.co_filename
        if event not in ("call", "return") or not file.startswith(
            (f"{ROOT}/t2igan/", f"{ROOT}/input_pipeline/")
        ):
            return
        values = [returned] if event == "return" else list(frame.f_locals.values())
        if any(_holds(value, wanted) for value in values):
            calls[file.removeprefix(f"{ROOT}/"), frame.f_code.co_name] += 1

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        assert cli.main(words) == 0
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    entered: dict[str, set[str]] = collections.defaultdict(set)
    for (file, function), number in calls.items():
        if number >= times:
            entered[file].add(function)
    return dict(entered)


def _is_image(value: Any) -> bool:
    if isinstance(value, str | Path):
        return str(value).endswith(".jpg")
    if isinstance(value, np.ndarray):
        return value.dtype == np.uint8 and value.ndim == 3
    return isinstance(value, Image.Image) or (isinstance(value, bytes) and value[:2] == b"\xff\xd8")


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "caption"))
        for index in range(20):
            pixels = rng.integers(0, 256, (24, 24, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/{index}.jpg")
            writer.writerow((f"{index}.jpg", CAPTION))
    return [f"--images={tmp_path / 'images'}", f"--captions={tmp_path / 'captions.csv'}"]


def test_an_image_from_prepare_to_its_shard(images, tmp_path):
    flags = ["--image_size=8", "--workers=1", f"--out={tmp_path / 'data'}"]
    entered = _files_entered(_is_image, ["prepare", "--source=folder", *images, *flags], 20)
    # The captions' own two passes, one over the table and one for the vocabulary, go by its name.
    for name in ("caption_groups", "captions_file", "table_captions", "text_files"):
        entered.pop(f"input_pipeline/readers/{name}.py", None)
    entered.pop("input_pipeline/prepare/options.py", None)
    assert {"input_pipeline/images/decode.py", "input_pipeline/prepare/shards.py"} <= set(entered)
    assert len(entered) <= 10, entered


def test_a_batch_from_its_shard_to_the_loss(dataset_path, tmp_path):
    def is_batch(value: Any) -> bool:
        if isinstance(value, dict):
            return "image" in value
        if isinstance(value, np.ndarray | jax.Array):  # real images alone are of bytes
            return value.dtype == np.uint8 and value.shape[-3:] == (8, 8, 3)
        return isinstance(value, Batch | Record)

    flags = [f"--workdir={tmp_path / 'run'}", f"--config.data.dir={dataset_path}"]
    steps = [f"--config.train.{name}=1" for name in ("steps", "checkpoint_every")]
    entered = _files_entered(is_batch, ["train", "--config=configs/tiny.py", *flags, *steps])
    # What else is done with held-out batches and the images of the grid.
    aside = ("/hooks/", "/sampling/")
    entered = {file: names for file, names in entered.items() if not any(a in file for a in aside)}
    assert "input_pipeline/dataset/reader.py" in entered
    assert {"t2igan/training/step.py", "t2igan/recipes/stackgan.py"} <= set(entered)
    assert len(entered) <= 12, entered


def test_a_metric_from_its_flag_to_the_table(whole_run, tmp_path, stub_network):
    def is_metric(value: Any) -> bool:
        if isinstance(value, str):
            return value in ("--metrics=frechet", "frechet", "frechet_lite0")
        return isinstance(value, Result) and value.metric == "frechet_lite0"

    words = [f"--workdir={whole_run}", "--metrics=frechet", "--num=4", f"--out={tmp_path / 'o'}"]
    entered = _files_entered(is_metric, ["evaluate", *words])
    assert "t2igan/evaluation/results.py" in entered
    assert len(entered) <= 15, entered


def test_a_caption_from_the_command_line_to_its_image(whole_run, tmp_path):
    words = [f"--workdir={whole_run}", f"--caption={CAPTION}", f"--out={tmp_path / 'a.png'}"]
    entered = _files_entered(
        lambda value: isinstance(value, str) and CAPTION in value, ["sample", *words]
    )
    assert "t2igan/sampling/grid.py" in entered
    assert len(entered) <= 7, entered
