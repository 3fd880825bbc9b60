"""The optional writer of Weights & Biases: what metrics.jsonl and samples/ hold, and the config.

`WANDB_MODE=offline` keeps it on disk, in RUN/wandb.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class WandbWriter:
    """Logs a run under one name, which a resumed run goes on with."""

    def __init__(self, workdir: Path, config: ConfigDict, start_step: int = 0) -> None:
        """Opens the run there.

        Args:
          workdir: folder of the run; its path names it.
          config: all fields become the run's; `config.wandb` is the project.
          start_step: steps done before.

        Raises:
          UserError: wandb is not installed, or refuses.
        """
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                f"config.wandb={config.wandb}: pip install 't2igan[wandb]', or leave it empty"
            ) from error
        self._wandb = wandb
        identity = hashlib.sha256(f"{Path(workdir).absolute()} {config.seed}".encode()).hexdigest()
        try:
            self._run = wandb.init(
                project=config.wandb,
                name=Path(workdir).name,
                id=identity[:16],
                resume="allow" if start_step else None,
                dir=str(workdir),
                config=config.to_dict(),
                settings=wandb.Settings(silent=True),
            )
        except wandb.Error as error:
            raise UserError(f"config.wandb={config.wandb}: {error}") from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs numbers of a step."""
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Logs an image, uint8 [H, W, 3]."""
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Returns once all is on disk, or sent."""
        self._run.finish()
