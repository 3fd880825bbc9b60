"""`t2igan evaluate`: measures a run, or any folder of pictures."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from input_pipeline.dataset.open import Dataset
    from t2igan.metrics.engine.context import Context
    from t2igan.metrics.engine.result import Result
    from t2igan.sampling.run import Run

HELP = "Measure a run, or any folder of pictures, beside real and blurred pictures."
EXAMPLE = """
    t2igan evaluate --workdir=runs/shapes --metrics=frechet,kid,shapes_accuracy --split=test
    t2igan evaluate --workdir=runs/shapes --metrics=frechet --watch       # follows a training
    t2igan evaluate --metrics=frechet --workdir runs/seed0 runs/seed1     # real pictures read once
    t2igan evaluate --images=pictures/ --captions=pictures/manifest.jsonl --dataset=data/shapes
"""
DEFAULT_METRICS = "frechet,kid,prdc"
POLL_SECONDS = 10.0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan evaluate`."""
    what = parser.add_argument_group("what is measured")
    what.add_argument("--workdir", nargs="+", help="the run's folder, or those of several runs")
    what.add_argument("--step", default="latest", help="checkpoint: a step, latest or best")
    what.add_argument("--watch", action="store_true", help="measure each new checkpoint once")
    what.add_argument("--images", help="instead of a run: a folder of pictures")
    what.add_argument("--captions", help="their captions: .csv or .jsonl with file and caption")
    against = parser.add_argument_group("against what")
    against.add_argument("--dataset", help="prepared data set (default: the run's own)")
    against.add_argument("--split", help="its split (default: the run's test split)")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--metrics", help=f"names (default: the run's config.evaluate, or {DEFAULT_METRICS})"
    )
    how.add_argument("--features", help="lite0 or inception (default: the run's, or lite0)")
    how.add_argument("--inception_weights", help="file of the 2015 Inception weights")
    how.add_argument("--matcher", help="file that `t2igan train_matcher` made")
    how.add_argument("--num", type=int, default=0, help="pictures to draw (default: the split's)")
    how.add_argument("--seed", type=int, default=0, help="of captions and noise (default 0)")
    how.add_argument("--truncation", type=float, default=1.0, help="scale of the noise (default 1)")
    how.add_argument("--resamples", type=int, default=100, help="of the bootstrap (default 100)")
    how.add_argument("--out", help="JSON lines to append to (default: RUN/evaluation.jsonl)")


def main(args: argparse.Namespace) -> None:
    """Measures and tells.

    Raises:
      UserError: contradictory flags, an unknown metric, or files that are missing or damaged.
    """
    if bool(args.workdir) == bool(args.images):
        raise UserError("give either --workdir=RUN or --images=DIR (see t2igan evaluate --help)")
    runs = _runs(args)
    if args.watch and len(runs) > 1:
        raise UserError(f"--watch follows one training, not {len(runs)}")
    _fill_in(args)
    metrics = _metric_names(args)
    if args.images:
        _measure_folder(args, metrics)
    elif args.watch:
        _watch(args, metrics)
    else:
        _measure_runs(args, runs, metrics)


def measure_finished(workdir: Path) -> None:
    """Measures a run's best checkpoint on its test split, once, by its own `config.evaluate`.

    Says so where the data set has no test split; does nothing where the config asks for none.
    """
    from t2igan.evaluation import run_generator as model

    parser = argparse.ArgumentParser()
    add_flags(parser)
    split = model.test_split(workdir)
    if split is None:
        return
    words = [f"--workdir={workdir}", f"--split={split}", f"--step={model.best_or_latest(workdir)}"]
    args = parser.parse_args(words)
    runs = _runs(args)
    _fill_in(args)
    from t2igan.evaluation import results as lines

    metrics = _metric_names(args)
    if not lines.is_measured(_lines_of(args), int(args.step), split, metrics):
        _measure_runs(args, runs, metrics)


def _runs(args: argparse.Namespace) -> list[str]:
    """All run folders; `args.workdir` becomes the first, whose config fills in missing flags."""
    runs = args.workdir or []
    args.workdir = runs[0] if runs else None
    return runs


def _fill_in(args: argparse.Namespace) -> None:
    """What a flag does not say is as the run's config has it for its own evaluation."""
    from t2igan.workdir import folder as run_folder

    config = run_folder.read_config(Path(args.workdir)) if args.workdir else None
    own = dict(config.get("evaluate") or {}) if config is not None else {}
    for name, default in (("metrics", DEFAULT_METRICS), ("features", "lite0"), ("matcher", "")):
        if getattr(args, name) is None:
            setattr(args, name, own.get(name) or default)


def _metric_names(args: argparse.Namespace) -> list[str]:
    from t2igan.metrics.engine import registry as measures

    names = measures.listed(args.metrics)
    if not names:
        raise UserError(f"--metrics is empty: choose of {', '.join(measures.names())}")
    for flag, least in (("num", 0), ("seed", 0), ("resamples", 0), ("truncation", 0)):
        if getattr(args, flag) < least:
            raise UserError(f"--{flag}={getattr(args, flag)}: must be {least} or more")
    return names


def _measure_folder(args: argparse.Namespace, metrics: list[str]) -> None:
    from t2igan.metrics.engine.image_folder import of_folder

    if args.watch:
        raise UserError("--watch follows a training: give it with --workdir=RUN")
    dataset = _open(args.dataset) if args.dataset else None
    split = args.split or "test"
    fake = of_folder(Path(args.images), _path(args.captions), dataset, split, args.num)
    context = _context(args, metrics, dataset, split, fake=fake)
    out = _path(args.out)
    _finish(context, metrics, out, {"images": str(args.images), "split": split})


def _measure_runs(args: argparse.Namespace, runs: list[str], metrics: list[str]) -> None:
    """Measures runs one after another; the real pictures of those on one data set are read once."""
    from t2igan.sampling import run as sampling

    step = args.step if args.step in ("latest", "best") else _step(args.step)
    context: Context | None = None
    against: tuple[str, str] | None = None
    for workdir in runs:
        args.workdir = workdir
        run = sampling.load(workdir, step)
        dataset, split = _data_of(run, args)
        if context is None or against != (dataset.hash, split):
            context = _context(args, metrics, dataset, split, **_model(run, dataset, args))
            against = dataset.hash, split
        else:
            context.renew(**_renewed(context, run, dataset, args))
            context.folder = Path(workdir)
        _finish(context, metrics, _lines_of(args), _origin(run, split))


def _watch(args: argparse.Namespace, metrics: list[str]) -> None:
    """Measures each checkpoint that is or comes, until the run's last step is measured."""
    from t2igan.evaluation import results as lines
    from t2igan.evaluation import run_generator as model
    from t2igan.sampling import run as sampling
    from t2igan.workdir.checkpoint_dir import list_steps

    context: Context | None = None
    done: set[int] = set()
    while True:
        waiting = [step for step in list_steps(Path(args.workdir)) if step not in done]
        for step in waiting:
            done.add(step)
            run = model.load_if_there(sampling.load, args.workdir, step)
            if run is None:
                continue
            dataset, split = _data_of(run, args)
            if lines.is_measured(_lines_of(args), step, split, metrics):
                continue
            if context is None:
                context = _context(args, metrics, dataset, split, **_model(run, dataset, args))
            else:
                context.renew(**_renewed(context, run, dataset, args))
            _finish(context, metrics, _lines_of(args), _origin(run, split))
        if done and max(done) >= model.last_step(args.workdir):
            return
        time.sleep(POLL_SECONDS)


def _finish(
    context: Context, metrics: list[str], out: Path | None, origin: dict[str, Any]
) -> list[Result]:
    """Measures, writes the lines and prints the table."""
    from t2igan.evaluation import results as lines
    from t2igan.metrics.engine.registry import measure_all

    start = time.monotonic()
    results = measure_all(context, metrics)
    seconds = time.monotonic() - start
    best: dict[str, bool] = {}
    if out is not None:
        best = lines.append(out, results, origin, metrics, seconds)
    print(lines.table(results, origin, best, seconds), flush=True)
    return results


def _context(
    args: argparse.Namespace,
    metrics: list[str],
    dataset: Dataset | None,
    split: str,
    **more: Any,
) -> Context:
    from t2igan.metrics.engine.build import make_context

    folder = Path(args.workdir) if args.workdir else None
    return make_context(
        metrics,
        dataset=dataset,
        split=split,
        num=args.num,
        network=args.features,
        weights={"inception": args.inception_weights},
        matcher=_matcher(args, dataset),
        seed=args.seed,
        resamples=args.resamples,
        folder=folder,
        progress=True,
        **more,
    )


def _matcher(args: argparse.Namespace, dataset: Dataset | None) -> Any:
    if not args.matcher:
        return None
    from t2igan.metrics.matcher import model as matcher

    loaded = matcher.load(args.matcher)
    return loaded.reading(dataset.vocabulary) if dataset is not None else loaded


def _model(run: Run, dataset: Dataset, args: argparse.Namespace) -> dict[str, Any]:
    from t2igan.evaluation import run_generator as model

    return {
        "generate": model.generate_fn(run, dataset, args.seed, args.truncation),
        "about": model.about(run, args.truncation),
    }


def _renewed(
    context: Context, run: Run, dataset: Dataset, args: argparse.Namespace
) -> dict[str, Any]:
    from t2igan.metrics.engine import image_sets as populations

    made = _model(run, dataset, args)
    old = context.pictures("fake")
    fake = populations.generated(old, made["generate"], {})
    about = context.about | made["about"]
    return {"fake": fake, "generate": made["generate"], "about": about}


def _data_of(run: Run, args: argparse.Namespace) -> tuple[Dataset, str]:
    dataset = _open(args.dataset or run.config.data.dir)
    split = args.split or run.config.data.test_split
    if not args.split and split not in dataset.splits:
        split = run.config.data.validation_split
    if dataset.image_size != run.image_size:
        raise UserError(
            f"{dataset.path} has pictures of {dataset.image_size} pixels and the run draws "
            f"{run.image_size}: give --dataset with pictures of that size"
        )
    return dataset, split


def _open(path: str) -> Dataset:
    from input_pipeline.dataset.open import open_dataset

    return open_dataset(path)


def _origin(run: Run, split: str) -> dict[str, Any]:
    return {"workdir": str(run.workdir), "step": run.step, "split": split}


def _lines_of(args: argparse.Namespace) -> Path:
    return Path(args.out) if args.out else Path(args.workdir) / "evaluation.jsonl"


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _step(word: str) -> int:
    if not word.isdigit():
        raise UserError(f"--step={word}: must be a number, latest or best")
    return int(word)
