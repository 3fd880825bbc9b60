"""The finished run that a second stage builds on: read once, then kept in every checkpoint.

A second stage's checkpoints hold the first stage's generator too, so that the run resumes and
samples where the first stage's folder is not.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.open import DataSet
from input_pipeline.errors import UserError
from t2igan.models.text import FROZEN, STAGE1
from t2igan.recipes.base import Recipe, Variables
from t2igan.recipes.registry import recipe_of
from t2igan.workdir.checkpoint_dir import list_steps
from t2igan.workdir.checkpoints import restore_item
from t2igan.workdir.meta import check_sentences


@dataclasses.dataclass(frozen=True, eq=False)
class FirstStage:
    """A frozen generator.

    Attributes:
      recipe: its networks.
      variables: as `frozen_variables` takes them: no word vectors, both stages share those.
      description: what its checkpoint said of itself, and where that was.
    """

    recipe: Recipe
    variables: Variables
    description: dict[str, Any]


def find(config: ConfigDict, dataset: DataSet, workdir: Path | None = None) -> FirstStage | None:
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
    return _open(Path(config.stage1), dataset)


def _from_second(workdir: Path) -> FirstStage:
    step, variables = restore_item(workdir, "latest", "generator")
    _, meta = restore_item(workdir, step, "meta")
    description = meta[STAGE1]
    return FirstStage(recipe_of(description), _kept(variables[FROZEN][STAGE1]), description)


def _open(workdir: Path, dataset: DataSet) -> FirstStage:
    if not workdir.is_dir():
        raise UserError(
            f"config.stage1={workdir} is not a run's folder; give one that t2igan train has made"
        )
    step, variables = restore_item(workdir, "latest", "generator")
    _, meta = restore_item(workdir, step, "meta")
    _check_words(workdir, meta, variables[FROZEN]["words"]["table"], dataset)
    check_sentences(f"config.stage1={workdir}", meta, dataset)
    description = {name: value for name, value in meta.items() if name != "vocabulary"}
    description |= {"workdir": str(workdir), "step": step}
    return FirstStage(recipe_of(meta), _kept(variables), description)


def _kept(variables: Variables) -> dict[str, Any]:
    """A generator's variables without the word vectors; checkpoints leave empty groups out."""
    frozen = variables.get(FROZEN, {})
    return {
        "params": variables["params"],
        "batch_stats": variables.get("batch_stats", {}),
        FROZEN: {name: _kept(stored) for name, stored in frozen.items() if name == STAGE1},
    }


def _check_words(
    workdir: Path, meta: dict[str, Any], word_vectors: np.ndarray, dataset: DataSet
) -> None:
    """Refuses a first stage to which the codes of the second's captions mean something else."""
    same = {
        "vocabulary": tuple(meta["vocabulary"]) == dataset.vocabulary.words,
        "caption length": meta["caption_length"] == dataset.caption_length,
        "table of word vectors": np.array_equal(word_vectors, dataset.word_vectors),
    }
    for what, is_same in same.items():
        if not is_same:
            raise UserError(
                f"config.stage1={workdir} was trained with another {what} than {dataset.path} "
                "has: prepare both data sets alike but for --image_size"
            )
