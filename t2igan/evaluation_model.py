"""A run as what an evaluation draws with, and what it says of itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.dataset import DataSet
from input_pipeline.errors import UserError
from input_pipeline.vocabulary import NULL, UNK, Vocabulary
from t2igan.metrics.populations import Generate, Text
from t2igan.run_lines import read_lines
from t2igan.sampling import Run
from t2igan.training.first_stage import check_sentences
from t2igan.training.run_folder import read_config

BATCH_SIZE = 64


def generate_fn(run: Run, dataset: DataSet, seed: int, truncation: float = 1.0) -> Generate:
    """The run's generator for captions of a data set.

    Args:
      run: from `sampling.load`.
      dataset: whose codes will be given; words that the run never learned become `x_UNK_`.
      seed: of the noise.
      truncation: scale of the noise.

    Raises:
      UserError: the run reads other sentence embeddings than the data set has.
    """
    check_sentences(str(run.workdir), run.meta, dataset)
    inputs = ("codes", "sentence") if run.meta.get("sentence_encoder") else ("codes",)
    table = recoding(dataset.vocabulary, run.vocabulary)

    def generate(text: Text, indices: np.ndarray) -> np.ndarray:
        text = {name: text[name] for name in inputs}
        text["codes"] = fitted(table[text["codes"]], run.caption_length)
        return run.generate(text, indices, seed, truncation=truncation, batch_size=BATCH_SIZE)

    return generate


def recoding(theirs: Vocabulary, mine: Vocabulary) -> np.ndarray:
    """int32 [V] my code of each of their words."""
    codes = {word: code for code, word in enumerate(mine.words)}
    return np.array([codes.get(word, UNK) for word in theirs.words], np.int32)


def fitted(codes: np.ndarray, length: int) -> np.ndarray:
    """int32 [B, length] captions, cut or padded."""
    if codes.shape[1] >= length:
        return codes[:, :length]
    return np.pad(codes, ((0, 0), (0, length - codes.shape[1])), constant_values=NULL)


def about(run: Run, truncation: float) -> dict[str, Any]:
    """For the provenance of every result."""
    return {
        "workdir": str(run.workdir),
        "step": run.step,
        "recipe": run.config.recipe,
        "trained_on": run.meta.get("fingerprint"),
        "truncation": truncation,
    }


def load_if_there(load: Callable[..., Run], workdir: str, step: int) -> Run | None:
    """The run at a step, or None, and a word about it, where the step has gone or is damaged."""
    try:
        return load(workdir, step)
    except (UserError, OSError) as error:
        print(f"step {step} is passed over: {error}", file=sys.stderr)
        return None


def last_step(workdir: str) -> float:
    """The step that ends the run, as its newest lines or its config tell; infinity if neither."""
    config = read_config(Path(workdir))
    if config is not None and config.train.steps:
        return config.train.steps
    told = [
        line["num_steps"]
        for line in read_lines(Path(workdir) / "metrics.jsonl")
        if "num_steps" in line
    ]
    return told[-1] if told else float("inf")
