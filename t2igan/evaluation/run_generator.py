"""A run as what an evaluation draws with, and what it says of itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.dataset.open import Dataset, open_dataset
from input_pipeline.errors import UserError
from input_pipeline.files import read_lines
from input_pipeline.text.vocabulary import NULL, UNK, Vocabulary
from t2igan.config.length import run_length
from t2igan.metrics.engine.image_sets import Generate, Text
from t2igan.runtime import paths
from t2igan.sampling.run import Run
from t2igan.workdir.checkpoint_dir import best_step, list_steps
from t2igan.workdir.folder import read_config

BATCH_SIZE = 64


def generate_fn(run: Run, dataset: Dataset, seed: int, truncation: float = 1.0) -> Generate:
    """Returns the run's generator for captions of a data set.

    Args:
      run: from `sampling.load`.
      dataset: whose codes will be given; words that the run never learned become `x_UNK_`.
      seed: of the noise.
      truncation: scale of the noise.

    Raises:
      UserError: the run reads other sentence embeddings than the data set has.
    """
    run.meta.check_sentences(str(run.workdir), dataset)
    inputs = ("codes", "sentence") if run.meta.sentence_encoder else ("codes",)
    table = recoding(dataset.vocabulary, run.vocabulary)

    def generate(text: Text, indices: np.ndarray) -> np.ndarray:
        text = {name: text[name] for name in inputs}
        text["codes"] = fitted(table[text["codes"]], run.caption_length)
        return run.generate(text, indices, seed, truncation=truncation, batch_size=BATCH_SIZE)

    return generate


def recoding(theirs: Vocabulary, mine: Vocabulary) -> np.ndarray:
    """Returns int32 [V] my code of each of their words."""
    codes = {word: code for code, word in enumerate(mine.words)}
    return np.array([codes.get(word, UNK) for word in theirs.words], np.int32)


def fitted(codes: np.ndarray, length: int) -> np.ndarray:
    """Returns int32 [B, length] captions, cut or padded."""
    if codes.shape[1] >= length:
        return codes[:, :length]
    return np.pad(codes, ((0, 0), (0, length - codes.shape[1])), constant_values=NULL)


def about(run: Run, truncation: float) -> dict[str, Any]:
    """For the provenance of every result."""
    return {
        "workdir": paths.shown(str(run.workdir)),
        "step": run.step,
        "recipe": run.config.recipe,
        "trained_on": run.meta.dataset_hash,
        "truncation": truncation,
        "training_seconds": training_seconds(run.workdir, run.step),
    }


def training_seconds(workdir: str | Path, step: int) -> float | None:
    """Seconds that a run's steps took, without compiling and all that is done beside training."""
    total, before = 0.0, 0
    for line in read_lines(Path(workdir) / "metrics.jsonl"):
        if "seconds/step" in line and line["step"] <= step:
            total += (line["step"] - before) * line["seconds/step"]
        if "loss/d" in line:
            before = line["step"]
    return round(total, 1) if total else None


def load_if_there(load: Callable[..., Run], workdir: str, step: int) -> Run | None:
    """Returns the run at a step, or None, and a word about it, where the step has gone or is
    damaged.
    """
    try:
        return load(workdir, step)
    except (UserError, OSError) as error:
        print(f"step {step} is passed over: {error}", file=sys.stderr)
        return None


def last_step(workdir: str) -> float:
    """Returns the step that ends the run, as its config tells; infinity where there is none yet."""
    config = read_config(Path(workdir))
    if config is None:
        return float("inf")
    if config.train.steps:
        return config.train.steps
    return run_length(
        config, len(open_dataset(paths.local(config.data.dir)).source(config.data.train_split))
    )


def test_split(workdir: Path) -> str | None:
    """Returns the split that a finished run is to be measured on by itself, or None, and a word why
    not.
    """
    config = read_config(workdir)
    if config is None or not is_wanted(config) or not config.evaluate.on_test:
        return None
    split = config.data.test_split
    if split and split.partition("[")[0] in open_dataset(paths.local(config.data.dir)).splits:
        return split
    print(f"not measured on test: the data set has no split {split!r}", file=sys.stderr)
    return None


def best_or_latest(workdir: Path) -> int:
    """Returns the step that is best by what the run ranks checkpoints by, the latest where none has
    it.
    """
    try:
        return best_step(workdir)
    except UserError as error:
        print(f"{error}", file=sys.stderr)
        return list_steps(workdir)[-1]


def is_wanted(config: Mapping[str, Any]) -> bool:
    """Returns whether a config asks for metrics; runs of older versions have no such field."""
    return bool("evaluate" in config and config["evaluate"]["metrics"])
