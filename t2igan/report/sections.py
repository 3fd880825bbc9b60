"""The parts of the page, each from plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from input_pipeline.files import is_number
from t2igan.report import svg
from t2igan.report.curves import Chart
from t2igan.report.images import Pair, Pairs
from t2igan.report.markup import Markup, element, png

_PIXELATED = 128  # pixels: smaller images are shown as they are, each pixel a square


def section(reference: str, title: str, note: str, *content: Markup) -> Markup:
    """Returns a section with a heading, a line about it, and what is in it."""
    return element(
        "section", element("h2", title), element("p", note, class_="note"), *content, id=reference
    )


def facts(values: Mapping[str, str]) -> Markup:
    """Returns a strip of names with their values."""
    pairs = [element("div", element("dt", k), element("dd", v)) for k, v in values.items()]
    return element("dl", pairs, class_="facts")


def figures(pairs: Pairs, image_size: int) -> Markup:
    """Returns the report's figures: a card a caption, generated beside actual."""
    class_ = "small" if image_size < _PIXELATED else "large"
    cards = [_card(pair, class_) for pair in pairs.pairs]
    return section(
        "figures",
        "Generated and actual",
        f"Captions of the split “{pairs.split}”, evenly chosen. The generated images differ in "
        "their noise alone, which is the same for every caption.",
        element("div", cards, class_="cards"),
    )


def no_figures(why: str) -> Markup:
    """Returns the section in the figures' place."""
    return section("figures", "Generated and actual", f"The figures are left out: {why}")


def _card(pair: Pair, class_: str) -> Markup:
    generated = [
        png(data, f"generated, noise {number}: {pair.caption}", class_=class_)
        for number, data in enumerate(pair.generated)
    ]
    actual = png(pair.actual, f"actual: {pair.caption}", class_=class_)
    return element(
        "article",
        element("blockquote", pair.caption or "(no words)"),
        element(
            "div",
            element(
                "figure",
                element("div", generated, class_="several"),
                element("figcaption", "generated"),
            ),
            element("figure", actual, element("figcaption", "actual"), class_="actual"),
            class_="pair",
        ),
        class_="card",
    )


def sheets(
    found: Sequence[tuple[int, bytes]], total: int, captions: Sequence[str]
) -> Markup | None:
    """Returns the sample sheets under a slider, or one after the other where no script runs."""
    if not found:
        return None
    listed = element("ol", [element("li", caption) for caption in captions]) if captions else ""
    drawn = [
        element(
            "div",
            listed,
            png(data, f"samples at step {step}", class_="small"),
            class_="sheet",
            data_label=f"step {step:,}",
        )
        for step, data in found
    ]
    last = len(found) - 1
    slider = element(
        "input",
        type="range",
        min=0,
        max=last,
        value=last,
        aria_label="which sheet of samples",
    )
    chosen = f"{len(found)} of {total} sheets. " if total > len(found) else ""
    return section(
        "samples",
        "Samples over time",
        f"{chosen}The same captions down and the same noises across, as training went on.",
        element(
            "div",
            element("div", slider, element("output", ""), class_="control"),
            element("div", drawn, class_="sheets"),
            class_="viewer",
        ),
    )


def starts(lines: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Returns how and where the run was started last, and how often; None where nothing says it.

    Args:
      lines: of starts.jsonl.
    """
    if not lines:
        return None
    last = lines[-1]
    versions = last.get("versions")
    named = versions.items() if isinstance(versions, dict) else ()
    rows = {
        "command": last.get("command"),
        "devices": f"{last.get('devices')} on {last.get('host')}",
        "started": f"{last.get('time')}, after step {last.get('step')}"
        + (f"; {len(lines)} starts in all" if len(lines) > 1 else ""),
        "versions": ", ".join(f"{name} {number}" for name, number in named),
    }
    cells = [
        element("tr", element("td", name), element("td", element("code", str(text))))
        for name, text in rows.items()
    ]
    table = element("table", element("tbody", cells))
    note = "The last start of the run."
    return section("start", "Start", note, element("div", table, class_="config"))


def curves(
    main: Sequence[Chart], more: Sequence[Chart], clock: Sequence[tuple[int, float]] = ()
) -> Markup:
    """Returns the charts, the less important ones folded.

    Args:
      main: charts to look at first.
      more: all others.
      clock: (step, seconds), for the second axis.
    """
    if not main and not more:
        return section("curves", "Curves", "There are no metrics yet.")
    drawn = [svg.chart(each, clock) for each in main]
    content = [element("div", drawn, class_="charts")]
    if more:
        rest = element("div", [svg.chart(each, clock) for each in more], class_="charts")
        content.append(element("details", element("summary", "All other metrics"), rest))
    return section(
        "curves",
        "Curves",
        "Lines are means over a few steps, shades reach from the lowest value to the highest. "
        "Point at a chart to read its values.",
        *content,
    )


def evaluation(lines: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Returns the table of measured numbers, the newest last.

    Args:
      lines: of evaluation.jsonl.
    """
    rows = [_evaluation_row(line) for line in lines if isinstance(line.get("metric"), str)]
    if not rows:
        return None
    names = ("metric", "value", "95 % interval", "better", "split", "step", "computed with")
    head = element("tr", [element("th", name) for name in names])
    table = element("table", element("thead", head), element("tbody", rows))
    return section(
        "evaluation",
        "Evaluation",
        "A metric is named by its protocol. Compare numbers only where what they were computed "
        "with agrees.",
        element("div", table, class_="scroll"),
    )


def _evaluation_row(line: Mapping[str, Any]) -> Markup:
    estimate = _mapping(line, "estimate")
    provenance = _mapping(line, "provenance")
    ends = estimate.get("interval")
    interval = " to ".join(map(_text, ends)) if isinstance(ends, list) else ""
    references = {
        f"the same of {name} images": reference.get("value")
        for name, reference in (_mapping(line, "references") or _mapping(line, "anchors")).items()
        if isinstance(reference, dict)
    }
    where = {key: line.get(key, provenance.get(key, "")) for key in ("split", "step")}
    told = element(
        "details",
        element("summary", f"{len(references) + len(provenance)} facts"),
        element(
            "dl",
            [
                (element("dt", str(key)), element("dd", _text(value)))
                for key, value in (references | provenance).items()
            ],
        ),
    )
    cells = [
        element("td", element("code", line["metric"])),
        element("td", _text(estimate.get("value")), class_="number"),
        element("td", interval),
        element("td", _text(line.get("better", ""))),
        element("td", _text(where["split"])),
        element("td", _text(where["step"])),
        element("td", told if references or provenance else ""),
    ]
    return element("tr", cells)


def config(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Markup:
    """Returns what differs from the defaults, and a table a group of fields.

    Args:
      values: by dotted name, those without a group first.
      defaults: of the fields that every config has.
    """
    differing = [name for name in values if name in defaults and values[name] != defaults[name]]
    rows = [_field(name, values[name], f"default {defaults[name]!r}") for name in differing]
    short = element("table", element("tbody", rows)) if rows else element("p", "Nothing.")
    groups: dict[str, dict[str, Any]] = {"": {}}
    for name, value in values.items():
        group, _, field = name.rpartition(".")
        groups.setdefault(group, {})[field] = value
    tables = [
        element(
            "section",
            element("h3", group or "experiment"),
            element("table", element("tbody", [_field(*pair) for pair in fields.items()])),
        )
        for group, fields in groups.items()
        if fields
    ]
    note = "What differs from the defaults; below, every field, as config.json has it."
    return section(
        "config",
        "Config",
        note,
        element("div", element("section", short), class_="config differs"),
        element(
            "details", element("summary", "All fields"), element("div", tables, class_="config")
        ),
    )


def _field(name: str, value: Any, default: str = "") -> Markup:
    text = json.dumps(value, default=str)
    cells = [element("td", name), element("td", element("code", text))]
    return element("tr", *cells, *([element("td", default, class_="soft")] if default else []))


def _mapping(line: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = line.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float) and is_number(value):
        return svg.number_text(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
