"""Text-to-image GANs in JAX: prepare, train, resume exactly, measure, sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from t2igan.sampling import Run

__version__ = "0.1.0"


def load(workdir: str | Path, step: int | str = "latest") -> Run:
    """Returns a trained run's generator: `t2igan.load(RUN).sample(["a dog"], num=8, seed=0)`.

    Args:
      workdir: folder of the run.
      step: of the checkpoint, "latest" or "best".
    """
    from t2igan import sampling  # jax takes a second to import; `t2igan --help` is to be instant

    return sampling.load(workdir, step)
