"""The table of docs/launch.md: configs compiled for accelerators, and what they would take there.

    python scripts/tables/compiled.py --add=configs/coco_stage1.py --topology=v5e:2x2 --share=128 \
        --config.data.dir=data/coco
    python scripts/tables/compiled.py            # writes the table
    python scripts/tables/compiled.py --check    # exit 1 where the page is not up to date

`--add` compiles one config for one topology with so many images a chip and keeps the estimates
in docs/results/compiled.jsonl. It needs the extra `tpu` or `cuda12`, and no accelerator.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markdown import filled, grid

from input_pipeline.errors import UserError
from input_pipeline.files import read_lines

ROOT = Path(__file__).resolve().parents[2]
PAGE, ROWS = ROOT / "docs/launch.md", ROOT / "docs/results/compiled.jsonl"
START, END = "<!-- compiled: start -->", "<!-- compiled: end -->"
HEAD = (
    "config",
    "pixels",
    "devices",
    "images a chip",
    "dtype",
    "memory a chip",
    "GFLOP a chip and step",
    "compiler's cycles",
    "images/s, estimate",
    "chip-hours a million images, estimate",
)
_KEY = ("config", "image_size", "topology", "share", "dtype")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 where --check finds another table; 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--add", metavar="CONFIG.py", help="compile it and keep the estimates")
    parser.add_argument("--topology", metavar="CHIP:SHAPE", help="to compile for, with --add")
    parser.add_argument("--share", type=int, default=128, help="images a chip (default: 128)")
    parser.add_argument("--check", action="store_true", help="change nothing")
    args, flags = parser.parse_known_args(argv)
    try:
        if args.add:
            _keep(compiled_row(args.add, args.topology, args.share, flags))
        text = filled(PAGE, START, END, table(read_lines(ROWS)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if args.check:
        return int(text != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    return 0


def compiled_row(
    config_file: str, topology_name: str | None, share: int, flags: Sequence[str]
) -> dict[str, Any]:
    """Returns the estimates of a config, compiled for a topology.

    Raises:
      UserError: no topology is given, or see `compile_report.compile_step`; or it does not fit.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # no accelerator is looked for
    from t2igan.config import override
    from t2igan.runtime import topologies
    from t2igan.training.estimates.compile_report import compile_step

    if not topology_name:
        raise UserError("--add needs --topology=CHIP:SHAPE, such as v5e:2x2")
    topology = topologies.parse(topology_name)
    size = f"--config.train.batch_size={share * topology.num_chips}"
    config = override.load([f"--config={config_file}", *flags, size])
    step = compile_step(config, topology)
    if step is None or not step.fits:
        raise UserError(f"{config_file} with {share} images a chip does not fit {topology}")
    seconds = sorted((step.expected_seconds, step.roofline_seconds))
    changed = [flag.removeprefix("--config.") for flag in flags if "data.dir" not in flag]
    return {
        "config": " ".join([Path(config_file).stem, *changed]),
        "image_size": step.image_size,
        "topology": str(topology),
        "share": share,
        "dtype": config.train.compute_dtype,
        "memory": step.peak,
        "flops": step.flops,
        "cycles": step.cycles,
        "images_per_second": [step.batch_size / s for s in reversed(seconds)],
        "chips": topology.num_chips,
    }


def _keep(row: dict[str, Any]) -> None:
    """Adds a row in place of the one of the same config, devices, batch and type."""

    def key(row: dict[str, Any]) -> list[Any]:
        return [row[name] for name in _KEY]

    rows = [other for other in read_lines(ROWS) if key(other) != key(row)]
    rows = sorted([*rows, row], key=key)
    ROWS.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the table in Markdown."""
    return grid(HEAD, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["images_per_second"]
    hours = [row["chips"] * 1e6 / rate / 3600 for rate in (high, low)]
    return [
        row["config"],
        str(row["image_size"]),
        row["topology"],
        str(row["share"]),
        row["dtype"],
        f"{row['memory'] / 1e6:,.0f} MB",
        f"{row['flops'] / 1e9:,.0f}",
        f"{row['cycles'] / 1e6:.1f} M" if row["cycles"] else "none",
        f"{low:,.0f} to {high:,.0f}",
        f"{hours[0]:.3f} to {hours[1]:.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
