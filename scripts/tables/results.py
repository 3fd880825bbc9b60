"""The README's table of results, from lines that `t2igan evaluate` wrote.

    python scripts/tables/results.py --add=runs/quickstart --name=shapes_quickstart \
        --setting="shapes, quickstart" --metrics=accuracy_all,frechet_lite0
    python scripts/tables/results.py            # writes the table
    python scripts/tables/results.py --check    # exit 1 where the README is not up to date

`--add` keeps a run's latest numbers in docs/results/NAME.jsonl, with how long it trained; of
several runs, of one setting and different seeds, the mean and each number. The table stands in
README.md between two marks. A number that no line holds does not get there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from markdown import filled, grid, number

from input_pipeline.errors import UserError
from input_pipeline.files import read_lines

ROOT = Path(__file__).resolve().parents[2]
# The README's tables: which rows of which files, at most six each.
TABLES = {
    "shapes": [
        ("shapes_quickstart_seeds", "accuracy_all"),
        ("shapes_quickstart_seeds", "accuracy_all_compositions"),
        ("shapes_quickstart", "frechet_lite0"),
        ("shapes_hour_seeds", "accuracy_all"),
        ("shapes_hour_seeds", "accuracy_all_compositions"),
    ],
    "flickr8k": [
        ("flickr8k_photographs", "frechet_lite0"),
        ("flickr8k_photographs", "swd"),
        ("flickr8k_photographs", "caption_recall_at_10"),
        ("flickr8k_report", "frechet_lite0"),
        ("flickr8k_report", "swd"),
        ("flickr8k_report", "caption_recall_at_10"),
    ],
}
HEAD = (
    "setting",
    "metric, split",
    "number (95 % interval, or range over seeds)",
    "real images",
    "images seen",
    "trained in",
    "machine",
)
_FIELDS = ("step", "split", "metric", "estimate", "better", "references", "provenance", "time")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 where --check finds another table; 2 for a user's mistake."""
    flags = _parse_flags(argv)
    results, readme = flags.root / "docs" / "results", flags.root / "README.md"
    try:
        if flags.add:
            _add(flags, results)
        before = after = readme.read_text(encoding="utf-8")
        for name in TABLES:
            after = filled(readme, *marks(name), table(results, name), after)
    except UserError as error:
        print(f"results: error: {error}", file=sys.stderr)
        return 2
    if flags.check:
        if before != after:
            print(f"{readme}: its results are not those of {results}", file=sys.stderr)
        return int(before != after)
    readme.write_text(after, encoding="utf-8")
    return 0


def _parse_flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--add",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="run folder whose numbers to keep; several of one setting and different seeds",
    )
    add("--name", help="of the file in docs/results")
    add("--setting", help="what the table calls it")
    add("--metrics", default="", help="comma-separated, e.g. frechet_lite0; default: all")
    add("--check", action="store_true", help="write nothing, exit 1 where the table is another")
    add("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    flags = parser.parse_args(argv)
    if flags.add and not (flags.name and flags.setting):
        parser.error("--add needs --name and --setting")
    return flags


def _add(flags: argparse.Namespace, results: Path) -> None:
    """Keeps the last line of each metric and split, over all runs."""
    wanted = [name for name in flags.metrics.split(",") if name]
    kept = _over_seeds([_latest(run, wanted) for run in flags.add])
    trained = [training(run, kept[0]["step"]) for run in flags.add]
    mean = {name: round(fmean(one[name] for one in trained)) for name in trained[0]}
    results.mkdir(parents=True, exist_ok=True)
    with (results / f"{flags.name}.jsonl").open("w", encoding="utf-8") as file:
        for line in kept:
            about = {"setting": flags.setting, "training": mean}
            known = {name: line[name] for name in _FIELDS if name in line}
            known["provenance"].pop("workdir", None)  # of this machine alone
            file.write(json.dumps(about | known) + "\n")


def _latest(run: Path, wanted: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The run's last line of each split and metric, of those wanted or of all."""
    lines = read_lines(run / "evaluation.jsonl")
    latest = {(line["split"], line["metric"]): line for line in lines}
    if missing := set(wanted) - {metric for _, metric in latest}:
        raise UserError(f"{run}: no {', '.join(sorted(missing))} in its evaluation.jsonl")
    kept = {key: line for key, line in latest.items() if not wanted or key[1] in wanted}
    if not kept:
        raise UserError(f"{run}: nothing measured yet; run t2igan evaluate")
    return kept


def _over_seeds(runs: Sequence[dict[tuple[str, str], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Lines of the first run, with the mean of all in place of its number."""
    lines = []
    for key, line in runs[0].items():
        if len(runs) > 1:
            same = [run.get(key, {}) for run in runs]
            if len({one.get("step") for one in same}) > 1:
                raise UserError(f"{key[1]} on {key[0]} was not measured at the same step of all")
            values = [one["estimate"]["value"] for one in same]
            line = line | {"estimate": {"value": fmean(values), "seeds": values}}
        lines.append(line)
    return lines


def training(run: Path, step: int) -> dict[str, float]:
    """Returns images seen and seconds spent in steps until a step, of a run's metrics.jsonl."""
    images = seconds = 0.0
    done = 0
    for line in read_lines(run / "metrics.jsonl"):
        if "seconds/step" in line and done < line["step"] <= step:
            took = line["seconds/step"] * (line["step"] - done)
            seconds += took
            images += took * line["images_per_sec"]
            done = line["step"]
    return {"images": round(images), "seconds": round(seconds)}


def marks(name: str) -> tuple[str, str]:
    """Returns the marks in the README that a table stands between."""
    return f"<!-- results {name}: scripts/tables/results.py -->", f"<!-- end of results {name} -->"


def table(results: Path, name: str) -> str:
    """Returns one of `TABLES` in Markdown, from the files in `results`."""
    return table_of(results, TABLES[name])


def table_of(results: Path, wanted: Sequence[tuple[str, str]]) -> str:
    """Returns a table in Markdown of metrics, each with the name of its file in `results`."""
    rows = []
    for file, metric in wanted:
        path = results / f"{file}.jsonl"
        rows += [_row(line) for line in _lines(path) if line["metric"] == metric]
    return grid(HEAD, rows)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in read_lines(path):
        if not {"setting", "metric", "split", "estimate"} <= line.keys():
            raise UserError(f"{path}: a line that --add did not write")
        yield line


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    trained, machine = line.get("training", {}), line["provenance"].get("machine", {})
    seconds, images = trained.get("seconds"), trained.get("images")
    real = line.get("references", line.get("anchors", {})).get("real")
    return (
        line["setting"],
        f"`{line['metric']}`, {line['split']}",
        number(line["estimate"]),
        number(real) if real else "",
        f"{images:,}" if images else "",
        f"{seconds / 60:.1f} min" if seconds else "",
        f"{machine['processor']}, {_cores(machine['cores'])}" if machine else "",
    )


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


if __name__ == "__main__":
    sys.exit(main())
