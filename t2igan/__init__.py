"""Text-to-image GANs in JAX: prepare, train, resume exactly, evaluate, sample.

import t2igan

t2igan.prepare("shapes", out="data/shapes", num_examples=10_000)
t2igan.train("configs/tiny.py", "runs/tiny", {"data.dir": "data/shapes"})
run = t2igan.load("runs/tiny")
images = run.sample(["a small red star on the left"], num=8, seed=0)  # uint8 [1, 8, H, W, 3]
results = t2igan.evaluate("runs/tiny", metrics="frechet,kid")
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from input_pipeline.text.sentence_encoders import Encode
    from t2igan.metrics.engine.result import Result
    from t2igan.sampling.run import Run
    from t2igan.training.loop import Outcome

__version__ = "0.2.0"
__all__ = [
    "Run",
    "evaluate",
    "list_recipes",
    "load",
    "load_pretrained",
    "prepare",
    "train",
]

# Everything is imported where it is used: `t2igan --help` is to be instant.


def load(
    workdir: str | Path, step: int | str = "latest", sentence_encoder: str | Encode | None = None
) -> Run:
    """Returns a trained run's generator, ready to sample on all local devices.

    Args:
      workdir: folder of the run; or an export: its folder, a ZIP of it, or hf://USER/NAME.
      step: of the checkpoint: a number, "latest" or "best".
      sentence_encoder: for a run that was trained with an encoder of your own: that encoder, or
        its `module:attribute`.

    Raises:
      UserError: no run there, no such checkpoint, or a damaged one.
    """
    from t2igan.sampling import run

    return run.load(workdir, step, sentence_encoder)


def load_pretrained(name: str) -> Run:
    """Returns a generator that ships with the package, as `load` does.

    Args:
      name: "shapes", which samples captions such as "a small red star on the left".

    Raises:
      UserError: there is none of that name.
    """
    from t2igan.sampling import run

    return run.load_pretrained(name)


def prepare(source: str, out: str | Path, **options: Any) -> dict[str, Any]:
    """Returns the report of a data set after making it.

    Args:
      source: shapes, folder, coco, hdf5, tfds, or a module of your own (my_pkg.source).
      out: folder to make.
      options: flags of `t2igan prepare` and of the source by name, such as image_size=64,
        images="images", sentence_encoder="minilm".

    Raises:
      UserError: an option or a file is not as it should be, or no image can be used.
    """
    from input_pipeline.prepare.build import prepare as build
    from input_pipeline.prepare.build import source_defaults
    from input_pipeline.prepare.options import PrepareOptions
    from t2igan.runtime import paths

    given = {
        name: str(value) if isinstance(value, Path) else value for name, value in options.items()
    }
    given = {
        name: _local(value) if isinstance(value, str) else value for name, value in given.items()
    }
    values = source_defaults(source, given)
    if paths.is_url(out):
        paths.refuse_taken(str(out), overwrite=bool(given.get("overwrite")))
    with paths.output(out, replace=True) as folder:
        return build(PrepareOptions.of({"source": source, "out": str(folder), **values}))


def train(
    config: ConfigDict | str | Path,
    workdir: str | Path,
    overrides: Mapping[str, Any] | None = None,
    devices: int = 0,
) -> Outcome:
    """Trains a run to its end, from its newest checkpoint where it has one.

    Args:
      config: of the experiment, see configs/common.py; or its file, such as "configs/tiny.py".
      workdir: folder of the run; made if missing.
      overrides: fields by dotted name, such as {"train.batch_size": 64}.
      devices: number to use; 0 for all.

    Returns:
      Steps done, length of the run, and the signal that stopped it early or None.

    Raises:
      UserError: a mistake in the config, data that cannot be read, another config's run in the
        folder, a full disk, or a loss that is not finite and no rollback left.
    """
    from t2igan.config.override import load as load_config
    from t2igan.config.override import override
    from t2igan.config.record import every_field_known
    from t2igan.training.loop import train as train_loop
    from t2igan.workdir.mirror import working_copy

    words = [f"--config.{name}={_text(value)}" for name, value in (overrides or {}).items()]
    with every_field_known():
        if isinstance(config, str | Path):
            config = load_config([f"--config={config}", *words])
        else:
            config = override(config, words)
        with working_copy(os.fspath(workdir)) as folder:
            return train_loop(config, folder, devices)


def evaluate(
    workdir: str | Path | Sequence[str | Path] | None = None, **options: Any
) -> list[list[Result]]:
    """Returns the results of a run or of several, or of a folder of images; prints their tables.

    Args:
      workdir: folder of the run, or of several runs; None with images="FOLDER".
      options: fields of `t2igan.evaluation.options.EvaluationOptions`, such as
        metrics="frechet,kid", split="test", step="best", num=1000.

    Raises:
      UserError: contradictory options, an unknown metric, or files that are missing or damaged.
    """
    from t2igan.evaluation.evaluate import evaluate as run_evaluation
    from t2igan.evaluation.options import EvaluationOptions
    from t2igan.runtime import paths

    if isinstance(workdir, str | Path):
        workdir = [workdir]
    with contextlib.ExitStack() as uploads:
        folders = []
        for each in workdir or ():
            folders.append(paths.local(each, skip=paths.TRAINING_ONLY))
            if paths.is_url(each):
                uploads.enter_context(paths.changes_uploaded(folders[-1], str(each)))
        for name in ("images", "captions"):
            if options.get(name) is not None:
                options[name] = paths.local(options[name])
        if options.get("out") is not None:
            out = paths.output(options["out"], update=True)
            options["out"] = uploads.enter_context(out)
        with _unknown_options():
            options_ = EvaluationOptions(workdirs=tuple(folders), **options)
        return run_evaluation(options_)


def list_recipes() -> list[str]:
    """Returns the names that `config.recipe` takes, besides modules of your own."""
    from t2igan.recipes.registry import names

    return names()


def __getattr__(name: str) -> Any:
    if name == "Run":
        from t2igan.sampling.run import Run

        return Run
    raise AttributeError(f"module 't2igan' has no attribute {name!r}")


def _local(value: str) -> str:
    """A staged copy of what is at a URL; anything else as it is."""
    from t2igan.runtime import paths

    return str(paths.local(value)) if paths.is_url(value) else value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextlib.contextmanager
def _unknown_options() -> Iterator[None]:
    from input_pipeline.errors import UserError

    try:
        yield
    except TypeError as error:  # an unknown keyword, named by Python
        raise UserError(str(error).partition("() ")[2] or str(error)) from error
