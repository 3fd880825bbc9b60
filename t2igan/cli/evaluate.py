"""`t2igan evaluate`: the flags of an evaluation."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Measure a run, or any folder of images, beside real and blurred images."
EXAMPLE = """
    t2igan evaluate --workdir=runs/shapes --metrics=frechet,kid,shapes_accuracy --split=test
    t2igan evaluate --workdir=runs/shapes --metrics=frechet --watch       # follows a training
    t2igan evaluate --metrics=frechet --workdir runs/seed0 runs/seed1     # real images read once
    t2igan evaluate --images=images/ --captions=images/manifest.jsonl --dataset=data/shapes
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan evaluate`."""
    what = parser.add_argument_group("what is measured")
    what.add_argument("--workdir", nargs="+", help="the run's folder, or those of several runs")
    what.add_argument("--step", default="latest", help="checkpoint: a step, latest or best")
    what.add_argument("--watch", action="store_true", help="measure each new checkpoint once")
    what.add_argument("--images", help="instead of a run: a folder of images")
    what.add_argument("--captions", help="their captions: .csv or .jsonl with file and caption")
    against = parser.add_argument_group("against what")
    against.add_argument("--dataset", help="prepared data set (default: the run's own)")
    against.add_argument("--split", help="its split (default: the run's test split)")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--metrics",
        help="names, or my_pkg.metric of your own, comma-separated (default: the run's "
        "config.evaluate, or frechet,kid,prdc); see below",
    )
    how.add_argument(
        "--features",
        help="lite0, inception, dinov2_vitb14, dinov2_vitl14, clip_vitl14_336, ... (default: the "
        "run's, or lite0)",
    )
    how.add_argument(
        "--weights",
        help="safetensors files of DINOv2 and CLIP, comma-separated; FILE@SHA256 pins one",
    )
    how.add_argument("--inception_weights", help="file of the 2015 Inception weights")
    how.add_argument("--matcher", help="file that `t2igan train_matcher` made")
    how.add_argument("--num", type=int, default=0, help="images to generate (default: the split's)")
    how.add_argument("--seed", type=int, default=0, help="of captions and noise (default 0)")
    how.add_argument("--truncation", type=float, default=1.0, help="scale of the noise (default 1)")
    how.add_argument("--resamples", type=int, default=100, help="of the bootstrap (default 100)")
    how.add_argument("--out", help="JSON lines to append to (default: RUN/evaluation.jsonl)")


def help_end() -> str:
    """Returns what `--help` ends with: the metrics, one line each."""
    from t2igan.metrics.engine.shipped import descriptions

    described = descriptions()
    width = max(map(len, described))
    return "metrics:\n" + "\n".join(
        f"  {name:<{width}}  {line}" for name, line in described.items()
    )


def main(args: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
      UserError: see `evaluation.evaluate.evaluate`.
    """
    from t2igan.runtime.preemption import import_whole

    import_whole("t2igan.evaluation.evaluate")
    from t2igan.evaluation.evaluate import evaluate, follow
    from t2igan.evaluation.options import EvaluationOptions

    values = vars(args) | {
        "workdirs": tuple(map(Path, args.workdir or ())),
        "images": Path(args.images) if args.images else None,
        "captions": Path(args.captions) if args.captions else None,
        "out": Path(args.out) if args.out else None,
    }
    watch = values.pop("watch")
    fields = EvaluationOptions.__dataclass_fields__
    options = EvaluationOptions(**{name: values[name] for name in fields if name in values})
    follow(options) if watch else evaluate(options)
