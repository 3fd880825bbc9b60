"""The `meta` item of a checkpoint: all that sampling needs to know beside the arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from input_pipeline.dataset.open import Dataset
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import Identity
from input_pipeline.text.vocabulary import Vocabulary
from t2igan.config.aliases import upgrade
from t2igan.config.record import locked
from t2igan.recipes.base import Recipe
from t2igan.recipes.registry import build


@dataclasses.dataclass(frozen=True)
class CheckpointMeta:
    """What a generator was trained on and how.

    Attributes:
      config: of the experiment, locked, under today's names.
      image_size: pixels.
      caption_length: L, codes a caption.
      vocabulary: words and their codes; None within a second stage, which has it once.
      dataset_hash: of the data set, see `Dataset.hash`.
      sentence_encoder: whose embeddings the networks read, or None.
      stage1: of the finished run that this one builds on, or None.
      monitor: state of the mode-collapse monitor; {} where the run has none.
      step: of the checkpoint that `stage1` or a pretrained file came from, else 0.
      workdir: where `stage1` was trained, else empty.
    """

    config: ConfigDict
    image_size: int
    caption_length: int
    vocabulary: Vocabulary | None
    dataset_hash: str
    sentence_encoder: Identity | None = None
    stage1: CheckpointMeta | None = None
    monitor: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    step: int = 0
    workdir: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CheckpointMeta:
        """Returns what `to_json` wrote, of this version or an earlier one.

        Raises:
          LookupError, TypeError, ValueError: something is missing or of another kind.
        """
        words, encoder = values.get("vocabulary"), values.get("sentence_encoder")
        first = values.get("stage1")
        return cls(
            config=locked(values["config"]),
            image_size=int(values["image_size"]),
            caption_length=int(values["caption_length"]),
            vocabulary=Vocabulary(tuple(words)) if words is not None else None,
            dataset_hash=values.get("fingerprint") or "",
            sentence_encoder=Identity.from_json(encoder) if encoder else None,
            stage1=cls.from_json(first) if first else None,
            monitor=values.get("watch") or {},
            step=int(values.get("step") or 0),
            workdir=values.get("workdir") or "",
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the values that a checkpoint stores; their keys are those of all versions."""
        values = {
            "recipe": self.config.recipe,
            "config": upgrade(self.config.to_dict()),
            "image_size": self.image_size,
            "caption_length": self.caption_length,
            "fingerprint": self.dataset_hash,
            "stage1": self.stage1 and self.stage1.to_json(),
            "sentence_encoder": self.sentence_encoder and self.sentence_encoder.to_json(),
        }
        if self.vocabulary is not None:
            values["vocabulary"] = list(self.vocabulary.words)
        optional = {"watch": dict(self.monitor), "step": self.step, "workdir": self.workdir}
        return values | {name: value for name, value in optional.items() if value}

    def recipe(self) -> Recipe:
        """Returns the networks and losses, those of the first stage within them.

        Raises:
          UserError: see `recipes.registry.build`.
        """
        return build(self.config, self.image_size, self.stage1.recipe() if self.stage1 else None)

    def check_sentences(self, run: str, dataset: Dataset) -> None:
        """Refuses captions whose sentence embeddings are not those that the run was trained on.

        Args:
          run: as the message calls it.
          dataset: whose captions it is to read.

        Raises:
          UserError: the run reads sentence embeddings, and the data set has others, or none.
        """
        if self.sentence_encoder is None:
            return
        stored = dataset.require_sentences()
        if not stored.is_same(self.sentence_encoder):
            raise UserError(
                f"{run} was trained on sentence embeddings by {self.sentence_encoder}, and "
                f"{dataset.path} has those by {stored}: prepare the data set with that encoder"
            )
