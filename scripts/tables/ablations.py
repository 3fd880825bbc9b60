"""Ablations from the StackGAN baseline upwards: trains, measures, fills docs/ablations.md.

    t2igan prepare --source=shapes --num_examples=10000 --out=data/shapes
    t2igan train_matcher --dataset=data/shapes --out=data/shapes_matcher.npz
    python scripts/tables/ablations.py --name=shapes --dataset=data/shapes \
        --matcher=data/shapes_matcher.npz

Every setting of configs/ablations.py is trained by `t2igan sweep` and measured by `t2igan
evaluate` on the test split; run again, it resumes where it was stopped. The numbers are kept in
docs/ablations/NAME.jsonl, from which `--table` alone writes the page again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from markdown import filled, grid, number

from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.files import read_lines

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/ablations.py"
MEASURED = "evaluation.jsonl"
METRICS = "frechet,sliced_wasserstein,caption_recall,text_gap"
COLUMNS = {
    "frechet_lite0": "Frechet distance (lite0)",
    "swd": "patch distance (swd)",
    "caption_recall_at_10": "recall@10",
    "text_gap": "text-use gap",
    "accuracy_all": "all attributes correct",
}


def marks(name: str) -> tuple[str, str]:
    """Returns between what a table stands on the page."""
    return f"<!-- {name}: scripts/tables/ablations.py -->", f"<!-- end of {name} -->"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 for a user's mistake or a run that failed."""
    flags = _parse_flags(argv)
    try:
        kept = flags.root / "docs" / "ablations" / f"{flags.name}.jsonl"
        if not flags.table:
            _run_all(flags, kept)
        page = flags.root / "docs" / "ablations.md"
        page.write_text(filled(page, *marks(flags.name), table(kept)), encoding="utf-8")
    except UserError as error:
        print(f"ablations: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parse_flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--name", required=True, help="of the table in docs/ablations.md: shapes or flickr8k")
    add("--dataset", help="folder that `t2igan prepare` wrote")
    add("--matcher", help="file that `t2igan train_matcher` made of it")
    add("--workdir", type=Path, help="folder of the runs (default: runs/ablations_NAME)")
    add("--metrics", default=METRICS, help="of `t2igan evaluate` (default %(default)s)")
    add("--steps", type=int, default=2000, help="of each setting, 16 images each (default 2000)")
    add("--num", type=int, default=1000, help="images to generate of each setting (default 1000)")
    add("--flip", action="store_true", help="mirror half of the images; wrong for left/right")
    add("--parallel", type=int, default=1, metavar="N", help="settings at a time")
    add("--table", action="store_true", help="only write the table, from what was kept")
    add("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    flags = parser.parse_args(argv)
    if not flags.table and not (flags.dataset and flags.matcher):
        parser.error("--dataset and --matcher are needed, or --table")
    flags.workdir = flags.workdir or Path("runs") / f"ablations_{flags.name}"
    return flags


def _run_all(flags: argparse.Namespace, kept: Path) -> None:
    """Trains and measures every setting, and keeps the numbers."""
    from configs import ablations
    from t2igan.sweep.trials import find_trials

    sentences = open_dataset(flags.dataset).sentence_encoder is not None
    data = "sentences" if sentences else ""
    words = [f"--config={CONFIG}" + (f":{data}" if data else "")]
    words += [
        f"--config.data.dir={flags.dataset}",
        f"--config.data.flip={str(flags.flip).lower()}",
        f"--config.train.steps={flags.steps}",
    ]
    _t2igan("sweep", f"--workdir={flags.workdir}", f"--parallel={flags.parallel}", *words)
    trials = find_trials(words, str(flags.workdir))
    _measure(flags, [Path(trial.workdir) for trial in trials])
    lines = []
    for setting, trial in zip(ablations.settings(data), trials, strict=True):
        numbers = _numbers(Path(trial.workdir))
        pictures = numbers["step"] * trial.config.train.batch_size
        about = {"setting": setting["name"], "on": setting["on"], "images": pictures}
        lines.append(about | numbers)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _measure(flags: argparse.Namespace, runs: list[Path]) -> None:
    """Measures the runs that nothing is known of, in one call: real images are read once."""
    waiting = [str(run) for run in runs if not (run / MEASURED).is_file()]
    if waiting:
        _t2igan(
            "evaluate",
            f"--metrics={flags.metrics}",
            f"--matcher={flags.matcher}",
            f"--num={flags.num}",
            "--step=latest",
            "--workdir",
            *waiting,
        )


def _t2igan(*words: str) -> None:
    if subprocess.run([sys.executable, "-P", "-m", "t2igan", *words], check=False).returncode:
        raise UserError(f"t2igan {words[0]} failed; run this again to go on")


def _numbers(run: Path) -> dict[str, Any]:
    """Returns a run's metrics with their intervals and references, and its speed."""
    lines = [line for line in read_lines(run / "metrics.jsonl") if "images_per_sec" in line]
    found = {line["metric"]: line for line in read_lines(run / MEASURED)}
    machine = next(iter(found.values()))["provenance"].get("machine", {})
    return {
        "step": lines[-1]["step"],
        "images_per_sec": median(line["images_per_sec"] for line in lines[1:]),
        "machine": machine,
        "metrics": {
            name: {part: line[part] for part in ("estimate", "references", "better")}
            for name, line in found.items()
        },
    }


def table(kept: Path) -> str:
    """Returns the table in Markdown: a row for real images, then one a setting, and how long.

    Raises:
      UserError: nothing was kept.
    """
    lines = read_lines(kept)
    if not lines:
        raise UserError(f"{kept}: nothing measured yet")
    names = [name for name in COLUMNS if name in lines[0]["metrics"]]
    head = ["step", "added to", *(COLUMNS[name] for name in names), "images/s"]
    references = (lines[0]["metrics"][name]["references"] for name in names)
    rows = [["real images", "", *(number(found.get("real")) for found in references), ""]]
    for line in lines:
        estimates = (line["metrics"].get(name, {}).get("estimate") for name in names)
        speed = f"{line['images_per_sec']:.0f}"
        rows.append([line["setting"], line["on"], *map(number, estimates), speed])
    (pictures,) = {line["images"] for line in lines}  # ablations compare at equal images
    return f"{pictures:,} images a setting.\n\n{grid(head, rows)}"


if __name__ == "__main__":
    sys.exit(main())
