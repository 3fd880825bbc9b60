"""Evaluation of runs and of image folders: measured, written down, printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from input_pipeline.dataset.open import Dataset, open_dataset
from input_pipeline.errors import UserError
from t2igan.evaluation import results as lines
from t2igan.evaluation import run_generator
from t2igan.evaluation.options import EvaluationOptions
from t2igan.metrics.engine import image_sets, registry
from t2igan.metrics.engine.build import make_context
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.image_folder import of_folder
from t2igan.metrics.engine.result import Result
from t2igan.metrics.features import network as feature_network
from t2igan.metrics.matcher import model as matchers
from t2igan.runtime import paths
from t2igan.sampling import run as sampling
from t2igan.sampling.run import Run
from t2igan.workdir.checkpoint_dir import list_steps

POLL_SECONDS = 10.0


def evaluate(options: EvaluationOptions) -> list[list[Result]]:
    """Returns the results of each run, or of the one folder of images; prints a table of each.

    Raises:
      UserError: contradictory options, an unknown metric, or files that are missing or damaged.
    """
    options = options.checked()
    if options.images:
        return [_evaluate_folder(options)]
    evaluation = _RunEvaluation(options)
    return [
        evaluation.measure(sampling.load(workdir, options.step)) for workdir in options.workdirs
    ]


def follow(options: EvaluationOptions) -> None:
    """Measures each checkpoint that a run has or gets, until its last step is measured.

    Raises:
      UserError: see `evaluate`; not one run.
    """
    options = options.checked()
    if options.images:
        raise UserError("--watch follows a training: give it with --workdir=RUN")
    if len(options.workdirs) > 1:
        raise UserError(f"--watch follows one training, not {len(options.workdirs)}")
    (workdir,) = options.workdirs
    evaluation, done = _RunEvaluation(options), set[int]()
    while True:
        for step in [step for step in list_steps(workdir) if step not in done]:
            done.add(step)
            run = run_generator.load_if_there(sampling.load, str(workdir), step)
            if run is not None and not evaluation.is_measured(run):
                evaluation.measure(run)
        if done and max(done) >= run_generator.last_step(str(workdir)):
            return
        time.sleep(POLL_SECONDS)


def evaluate_finished(workdir: Path) -> None:
    """Measures a run's best checkpoint on its test split, once, by its own `config.evaluate`.

    Says so where the data set has no test split; does nothing where the config asks for none.
    """
    split = run_generator.test_split(workdir)
    if split is None:
        return
    step = run_generator.best_or_latest(workdir)
    options = EvaluationOptions(workdirs=(workdir,), split=split, step=step).checked()
    evaluation = _RunEvaluation(options)
    run = sampling.load(workdir, step)
    if not evaluation.is_measured(run):
        evaluation.measure(run)


class _RunEvaluation:
    """Measures runs one after another; what is known of real images is kept while they fit."""

    def __init__(self, options: EvaluationOptions) -> None:
        self._options = options
        self._metrics = options.metric_names
        self._context: Context | None = None
        self._against: tuple[str, str] | None = None

    def is_measured(self, run: Run) -> bool:
        """Returns whether the run's lines already have the metrics at its step."""
        out = self._options.lines_of(run.workdir)
        assert out is not None
        _, split = self._data_of(run)
        return lines.is_measured(out, run.step, split, self._metrics)

    def measure(self, run: Run) -> list[Result]:
        """Returns the run's results, after writing and printing them."""
        options = self._options
        dataset, split = self._data_of(run)
        generate = run_generator.generate_fn(run, dataset, options.seed, options.truncation)
        about = run_generator.about(run, options.truncation)
        if self._context is None or self._against != (dataset.hash, split):
            self._context = _context(options, dataset, split, generate=generate, about=about)
            self._against = dataset.hash, split
        else:
            fake = image_sets.generated(self._context.image_set("fake"), generate, {})
            self._context.renew(fake, generate, self._context.about | about)
        self._context.folder = run.workdir
        origin = {"workdir": paths.shown(str(run.workdir)), "step": run.step, "split": split}
        return _finish(self._context, self._metrics, options.lines_of(run.workdir), origin)

    def _data_of(self, run: Run) -> tuple[Dataset, str]:
        options, data = self._options, run.config.data
        dataset = open_dataset(paths.local(options.dataset or data.dir))
        split = options.split or data.test_split
        if not options.split and split not in dataset.splits:
            split = data.validation_split
        if dataset.image_size != run.image_size:
            raise UserError(
                f"{dataset.path} has images of {dataset.image_size} pixels and the run generates "
                f"{run.image_size}: give --dataset with images of that size"
            )
        return dataset, split


def _evaluate_folder(options: EvaluationOptions) -> list[Result]:
    dataset = open_dataset(paths.local(options.dataset)) if options.dataset else None
    split = options.split or "test"
    assert options.images is not None
    fake = of_folder(options.images, options.captions, dataset, split, options.num)
    context = _context(options, dataset, split, fake=fake)
    origin = {"images": str(options.images), "split": split}
    return _finish(context, options.metric_names, options.out, origin)


def _context(
    options: EvaluationOptions, dataset: Dataset | None, split: str, **more: Any
) -> Context:
    matcher = None
    if options.matcher:
        matcher = matchers.load(str(paths.local(options.matcher)))
        matcher = matcher.reading(dataset.vocabulary) if dataset is not None else matcher
    return make_context(
        options.metric_names,
        dataset=dataset,
        split=split,
        num=options.num,
        network=options.features or "lite0",
        weights=feature_network.identified(feature_network.listed(options.weights))
        | {"inception": _staged(options.inception_weights)},
        matcher=matcher,
        seed=options.seed,
        resamples=options.resamples,
        progress=options.progress,
        **more,
    )


def _staged(path: str | None) -> str | None:
    return str(paths.local(path)) if path else path


def _finish(
    context: Context, metrics: list[str], out: Path | None, origin: dict[str, Any]
) -> list[Result]:
    """Measures, writes the lines and prints the table."""
    start = time.monotonic()
    results = registry.measure_all(context, metrics)
    seconds = time.monotonic() - start
    best: dict[str, bool] = {}
    if out is not None:
        best = lines.append(out, results, origin, metrics, seconds)
    print(lines.table(results, origin, best, seconds), flush=True)
    return results
