"""The `meta` item of a checkpoint: what a generator was trained on and how."""

from __future__ import annotations

from typing import Any

from input_pipeline.dataset.open import DataSet
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import Identity


def check_sentences(run: str, meta: dict[str, Any], dataset: DataSet) -> None:
    """Refuses captions whose sentence embeddings are not those that a run learned from.

    Args:
      run: as the message calls it.
      meta: what its checkpoint says of itself.
      dataset: whose captions it is to read.

    Raises:
      UserError: the run reads sentence embeddings, and the data set has others, or none.
    """
    learned = meta.get("sentence_encoder")
    if learned is None:
        return
    found, learned = dataset.require_sentences(), Identity.from_json(learned)
    if not found.is_same(learned):
        raise UserError(
            f"{run} learned from sentence embeddings by {learned}, and {dataset.path} has those "
            f"by {found}: prepare the data set with that encoder"
        )
