"""Text-to-image GANs in JAX: prepare, train, resume exactly, measure, sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from input_pipeline.text.sentence_encoders import Encode
    from t2igan.sampling.run import Run

__version__ = "0.1.0"


def load(
    workdir: str | Path, step: int | str = "latest", sentence_encoder: str | Encode | None = None
) -> Run:
    """Returns a trained run's generator: `t2igan.load(RUN).sample(["a dog"], num=8, seed=0)`.

    Args:
      workdir: folder of the run.
      step: of the checkpoint, "latest" or "best".
      sentence_encoder: of a run that was trained with one of your own.
    """
    from t2igan.sampling import (
        run as sampling,  # jax takes a second to import; `t2igan --help` is to be instant
    )

    return sampling.load(workdir, step, sentence_encoder)


def load_pretrained(name: str) -> Run:
    """Returns a generator that ships with the package, as `load` does.

    Args:
      name: "shapes", which draws captions such as "a small red star on the left".
    """
    from t2igan.sampling import run as sampling

    return sampling.load_pretrained(name)
