"""Results as tables in the terminal, in Markdown so that docs/performance.md can take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.contest import rivals


def contest(title: str, result: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the table of a contest, and how the fastest of each framework compares."""
    rows = [
        (
            name + ("" if one["exact"] else " (not float32)"),
            f"{one['images_per_sec']:.1f}",
            f"{one['median_seconds']:.4g}",
            f"{min(one['seconds']):.4g} - {max(one['seconds']):.4g}",
            f"{one['ratio']:.2f} ({one['ratio_least']:.2f} - {one['ratio_most']:.2f})",
            f"{one['memory_bytes'] / 2**20:,.0f}",
            f"{one['first_call_seconds']:.1f}",
            f"{max(one['differences'].values()):.0e}" if "differences" in one else "",
        )
        for name, one in result.items()
    ]
    heads = [
        "",
        "images/s",
        "s a call",
        "least - most",
        "times as long",
        "MiB",
        "first call s",
        "differs",
    ]
    lines = [f"{title}\n", markdown(heads, rows)]
    lines.append(f"\n{disturbance(result.values())}")
    for framework, (name, ratio) in rivals(result).items():
        lines.append(f"{ratio:.2f}x the best of {framework} in float32 ({name})")
    return "\n".join(lines)


def disturbance(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns how much other work there was beside the turns that count."""
    known = [one for row in rows for one in row["others_cores"] if one is not None]
    if not known:
        return "other work on the machine: unknown"
    return f"other work beside the turns: {median(known):.2f} cores, at most {max(known):.2f}"


def shares(step: Mapping[str, float]) -> str:
    """Returns the matrix rates and the shares of them that the train step reaches."""
    rows = [
        (
            dtype,
            f"{rate / 1e9:,.0f}",
            f"{step['plain_rate'] / rate:.0%}",
            f"{step['rate'] / rate:.0%}",
        )
        for dtype, rate in step["matrix_rates"].items()
    ]
    heads = ["matrix products in", "GFLOP/s", "step, counted plainly", "step, as done"]
    return markdown(heads, rows)


def forms(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the table of every form of every layer; the chosen ones are marked."""
    heads = ["layer", "pixels, channels", "form", "forward s", "with gradients s", "plain takes"]
    return markdown(
        heads,
        [
            (
                row["layer"],
                "{}, {} -> {}".format(*row["shape"]),
                row["form"] + (" *" if row["chosen"] else ""),
                f"{row['forward_seconds']:.4f}",
                f"{row['seconds']:.4f}",
                f"{row['ratio']:.2f}x",
            )
            for row in rows
        ],
    )


def growth(what: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the table of one series."""
    heads = [what, "s a step", "least - most", "images/s", "GFLOP/s done", "MiB", "first call s"]
    return markdown(
        heads,
        [
            (
                f"{row[what]}",
                f"{row['median_seconds']:.3f}",
                f"{min(row['seconds']):.3f} - {max(row['seconds']):.3f}",
                f"{row['images_per_sec']:.1f}",
                f"{row['flops_per_sec'] / 1e9:.0f}",
                f"{row['memory_bytes'] / 2**20:,.0f}",
                f"{row['first_call_seconds']:.1f}",
            )
            for row in rows
        ],
    )


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table whose columns are as wide as their widest cell."""
    table = [list(heads), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    lines = [_line(row, widths) for row in table]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "| " + " | ".join(padded) + " |"
