"""The options of an evaluation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError
from t2igan.metrics.engine import registry
from t2igan.workdir.folder import read_config

DEFAULT_METRICS = "frechet,kid,prdc"


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """One evaluation: of runs, or of a folder of images.

    Where a field is None, the first run's `config.evaluate` decides, and then the default.

    Attributes:
      workdirs: folders of runs; the real images of those on one data set are read once.
      images: instead of runs, a folder of images.
      captions: of that folder: a .csv or .jsonl with file and caption.
      step: of the checkpoint: a number, "latest" or "best".
      metrics: comma-separated names.
      dataset: prepared data set; the runs' own by default.
      split: of the data set; the runs' test split by default.
      features: feature network: lite0, inception, dinov2_vitl14, ...
      weights: comma-separated safetensors files of DINOv2 and CLIP, each FILE or FILE@SHA256.
      inception_weights: file of the 2015 Inception weights.
      matcher: file that `t2igan train_matcher` wrote.
      num: images to generate; 0 for one of each image of the split.
      seed: of captions and noise.
      truncation: scale of the noise.
      resamples: of the bootstrap.
      out: JSON lines to append to; RUN/evaluation.jsonl by default.
      progress: show bars.
    """

    workdirs: tuple[Path, ...] = ()
    images: Path | None = None
    captions: Path | None = None
    step: int | str = "latest"
    metrics: str | None = None
    dataset: str | None = None
    split: str | None = None
    features: str | None = None
    weights: str | None = None
    inception_weights: str | None = None
    matcher: str | None = None
    num: int = 0
    seed: int = 0
    truncation: float = 1.0
    resamples: int = 100
    out: Path | None = None
    progress: bool = True

    def checked(self) -> EvaluationOptions:
        """Returns the options with every default filled in.

        Raises:
          UserError: contradictory options, a number out of range, an unknown metric.
        """
        if bool(self.workdirs) == bool(self.images):
            raise UserError(
                "give either --workdir=RUN or --images=DIR (see t2igan evaluate --help)"
            )
        for name in ("num", "seed", "resamples", "truncation"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name}={getattr(self, name)}: must be 0 or more")
        options = dataclasses.replace(self, step=_step(self.step), **self._defaults())
        if not options.metric_names:
            raise UserError(f"--metrics is empty: choose of {', '.join(registry.names())}")
        return options

    def _defaults(self) -> dict[str, Any]:
        config = read_config(self.workdirs[0]) if self.workdirs else None
        own = dict(config.get("evaluate") or {}) if config is not None else {}
        defaults = {"metrics": DEFAULT_METRICS, "features": "lite0", "matcher": "", "weights": ""}
        return {
            name: own.get(name) or default
            for name, default in defaults.items()
            if getattr(self, name) is None
        }

    @property
    def metric_names(self) -> list[str]:
        """The metrics, each once.

        Raises:
          UserError: there is no metric of one of the names.
        """
        return registry.listed(self.metrics or "")

    def lines_of(self, workdir: Path | None) -> Path | None:
        """Returns the file that the results of a run are appended to; None for none."""
        return self.out or (workdir / "evaluation.jsonl" if workdir else None)


def _step(step: int | str) -> int | str:
    if isinstance(step, int) or step in ("latest", "best"):
        return step
    if not step.isdigit():
        raise UserError(f"--step={step}: must be a number, latest or best")
    return int(step)
