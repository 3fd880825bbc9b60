"""Tables in Markdown that a script keeps up to date between two marks of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError


def filled(page: Path, start: str, end: str, content: str, text: str | None = None) -> str:
    """Returns a page's text with `content` between two marks.

    Args:
      page: the file.
      start: mark before the content.
      end: mark after it.
      content: Markdown.
      text: the page's text where it is not as in the file, such as after filling another table.

    Raises:
      UserError: it does not have each mark once, in order.
    """
    text = page.read_text(encoding="utf-8") if text is None else text
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise UserError(f"{page.name} must have one {start!r} and after it one {end!r}")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n\n{content}\n\n{end}{rest.partition(end)[2]}"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(estimate: dict[str, Any] | None) -> str:
    """Returns an estimate to three digits, with its interval, or the range of several seeds."""
    if not estimate or estimate.get("value") is None:
        return "none"
    if seeds := estimate.get("seeds"):
        return f"{estimate['value']:.3g} ({len(seeds)} seeds: {min(seeds):.3g} to {max(seeds):.3g})"
    low, high = estimate.get("interval", (None, None))
    interval = "" if low is None else f" ({low:.3g} to {high:.3g})"
    return f"{estimate['value']:.3g}{interval}"
