"""The finished run that a second stage builds on.

A second stage's checkpoints hold the first stage's generator too, so that the run resumes and
samples where the first stage's folder is not.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.open import Dataset
from input_pipeline.errors import UserError
from t2igan.models.text import FROZEN, STAGE1
from t2igan.recipes.base import Recipe, Variables
from t2igan.runtime import paths
from t2igan.workdir.checkpoint_dir import list_steps
from t2igan.workdir.checkpoints import restore_item
from t2igan.workdir.meta import CheckpointMeta


@dataclasses.dataclass(frozen=True, eq=False)
class FirstStage:
    """A frozen generator.

    Attributes:
      variables: as `frozen_variables` takes them: no word vectors, both stages share those.
      meta: of its checkpoint, with step and folder and without the vocabulary.
    """

    variables: Variables
    meta: CheckpointMeta

    @property
    def recipe(self) -> Recipe:
        """Its networks."""
        return self.meta.recipe()


def find(config: ConfigDict, dataset: Dataset, workdir: Path | None = None) -> FirstStage | None:
    """Returns the first stage of a run, None where its config names none.

    Args:
      config: of the second stage.
      dataset: of the second stage; both must read the same words.
      workdir: of the second stage; where it has a checkpoint, the first stage is taken from it.

    Raises:
      UserError: no such run, or one of other words.
    """
    if not config.get("stage1"):
        return None
    if workdir is not None and list_steps(workdir):
        return _from_second(workdir)
    return _open(paths.local(config.stage1, skip=paths.TRAINING_ONLY), dataset)


def _from_second(workdir: Path) -> FirstStage:
    step, variables = restore_item(workdir, "latest", "generator")
    meta = CheckpointMeta.from_json(restore_item(workdir, step, "meta")[1])
    assert meta.stage1 is not None  # its config names one
    return FirstStage(_kept(variables[FROZEN][STAGE1]), meta.stage1)


def _open(workdir: Path, dataset: Dataset) -> FirstStage:
    if not workdir.is_dir():
        raise UserError(
            f"config.stage1={workdir} is not a run's folder; give one that t2igan train has made"
        )
    step, variables = restore_item(workdir, "latest", "generator")
    meta = CheckpointMeta.from_json(restore_item(workdir, step, "meta")[1])
    _check_words(workdir, meta, variables[FROZEN]["words"]["table"], dataset)
    meta.check_sentences(f"config.stage1={workdir}", dataset)
    where = paths.shown(str(workdir))
    meta = dataclasses.replace(meta, vocabulary=None, monitor={}, workdir=where, step=step)
    return FirstStage(_kept(variables), meta)


def _kept(variables: Variables) -> dict[str, Any]:
    """A generator's variables without the word vectors; checkpoints leave empty groups out."""
    frozen = variables.get(FROZEN, {})
    return {
        "params": variables["params"],
        "batch_stats": variables.get("batch_stats", {}),
        FROZEN: {name: _kept(stored) for name, stored in frozen.items() if name == STAGE1},
    }


def _check_words(
    workdir: Path, meta: CheckpointMeta, word_vectors: np.ndarray, dataset: Dataset
) -> None:
    """Refuses a first stage to which the codes of the second's captions mean something else."""
    same = {
        "vocabulary": meta.vocabulary == dataset.vocabulary,
        "caption length": meta.caption_length == dataset.caption_length,
        "table of word vectors": np.array_equal(word_vectors, dataset.word_vectors),
    }
    for what, is_same in same.items():
        if not is_same:
            raise UserError(
                f"config.stage1={workdir} was trained with another {what} than {dataset.path} "
                "has: prepare both data sets alike but for --image_size"
            )
