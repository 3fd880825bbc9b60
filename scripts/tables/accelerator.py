"""The tables of docs/performance.md about accelerators: what scripts/accelerator_check.py found.

    python scripts/tables/accelerator.py            # writes the tables
    python scripts/tables/accelerator.py --check    # exit 1 where the page is not up to date

One file a machine: docs/results/accelerator-*.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markdown import filled, grid

ROOT = Path(__file__).resolve().parents[2]
PAGE, RESULTS = ROOT / "docs/performance.md", ROOT / "docs/results"
START, END = "<!-- accelerators: start -->", "<!-- accelerators: end -->"
NOTHING = (
    "None has been measured yet. On a machine with one: `python scripts/accelerator_check.py "
    "--json=docs/results/accelerator-NAME.json`, eight minutes at most."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 where --check finds other tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    args = parser.parse_args(argv)
    found = [
        json.loads(path.read_text()) for path in sorted(args.results.glob("accelerator-*.json"))
    ]
    text = filled(PAGE, START, END, tables(found))
    if args.check:
        return int(text != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    return 0


def tables(results: Sequence[dict[str, Any]]) -> str:
    """Returns Markdown: for each machine a table of its configs, and a line for each other part."""
    return "\n\n".join(map(_machine, results)) or NOTHING


def _machine(result: dict[str, Any]) -> str:
    machine, parts = result["machine"], result["parts"]
    head = (
        f"### {machine['device']}\n\nWith {machine['processor']}, jax {machine['versions']['jax']}."
    )
    lines = [_line(name, part) for name, part in parts.items() if name != "configs"]
    blocks = [head, "\n".join(lines)]
    if "found" in parts.get("configs", {}):
        blocks.append(_configs(parts["configs"]["found"]))
    return "\n\n".join(filter(None, blocks))


def _line(name: str, part: dict[str, Any]) -> str:
    if "error" in part:
        return f"- {name}: {part['error']}"
    found = part["found"]
    if name == "forms":
        return f"- fast forms equal the plain ones to {max(found['forms'].values()):.1e}"
    if name == "peers":
        step, best = found["train"]["step"], found["train"]["best"]
        share = step["rate"] / max(step["matrix_rates"].values())
        rivals = ", ".join(f"{peer} takes {ratio:.2f}x as long" for peer, ratio in best.values())
        return (
            f"- StackGAN baseline: {share:.0%} of the matrix rate; {rivals or 'no peer was there'}"
        )
    if name == "input":
        waits = [
            f"{row['part_of_step']:.1%} at {row['step_images_per_sec']:,} images/s ({row['cache']})"
            for row in found["waiting"]
        ]
        return f"- waiting for input, share of a step: {', '.join(waits)}"
    numbers = ", ".join(f"{key} {value:.3f}" for key, value in found["metrics"].items())
    return f"- quickstart: {found['images_per_sec']:,.0f} images/s, {numbers or 'not evaluated'}"


def _configs(rows: Sequence[dict[str, Any]]) -> str:
    sizes = sorted({row["batch_size"] for row in rows})
    known = {(row["config"], row["dtype"], row["batch_size"]): row for row in rows}
    lines = []
    for config, dtype in dict.fromkeys((row["config"], row["dtype"]) for row in rows):
        cells = [known.get((config, dtype, size), {}) for size in sizes]
        lines.append([config, dtype, *(_cell(cell) for cell in cells)])
    return grid(["config", "dtype", *(f"images/s, batch {size}" for size in sizes)], lines)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['images_per_sec']:,.0f}" if "images_per_sec" in row else "none"


if __name__ == "__main__":
    sys.exit(main())
