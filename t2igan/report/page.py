"""The whole page, from what is in a run's folder."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from input_pipeline.errors import UserError
from input_pipeline.files import is_number, read_lines
from t2igan import __version__
from t2igan.config import aliases, record
from t2igan.config.files import table
from t2igan.report import curves, images, sections
from t2igan.report.markup import Markup, element
from t2igan.sampling import run as sampling
from t2igan.workdir import starts

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from input_pipeline.dataset.open import Dataset

# The page may load nothing, and run and style nothing but what is written in it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def make_page(workdir: Path, num: int, dataset: str | None = None) -> str:
    """Returns the HTML of a run's page.

    Args:
      workdir: folder of the run.
      num: captions to show images of.
      dataset: folder of its data set; where the config says unless told.

    Raises:
      UserError: the run's config is damaged.
    """
    config = record.read(workdir / "config.json")
    lines = [
        {aliases.logged(name): value for name, value in line.items()}
        for line in read_lines(workdir / "metrics.jsonl")
    ]
    run, data, missing = _open(workdir, dataset if dataset is not None else config.data.dir)
    captions = _sheet_captions(data, config)
    parts = [
        sections.facts(_facts(config, lines, run)),
        sections.starts(read_lines(workdir / starts.NAME)),
        _figures(run, data, config, num) if run and data else sections.no_figures(missing),
        sections.sheets(*images.sheets(workdir, with_captions=not captions), captions),
        sections.curves(*curves.charts(lines), curves.clock(lines)),
        sections.evaluation(read_lines(workdir / "evaluation.jsonl")),
        sections.config(record.fields(config), {n: f.default for n, f in table().items()}),
    ]
    step = run.step if run else _last_step(lines)
    title = f"{config.recipe} at step {step:,}"
    about = f"{workdir.resolve().name}, trained on {config.data.dir or 'no data set'}"
    return _document(title, about, [part for part in parts if part is not None])


def _open(workdir: Path, folder: str) -> tuple[sampling.Run | None, Dataset | None, str]:
    """The run's generator and data, as far as they are at hand, and else why not."""
    try:
        run = sampling.load(workdir)
    except UserError as error:
        return None, None, str(error)
    try:
        return run, images.open_data(folder, run), ""
    except UserError as error:
        return run, None, str(error)


def _figures(run: sampling.Run, data: Dataset, config: ConfigDict, num: int) -> Markup:
    try:
        split = images.held_out_split(data, config.data)
        return sections.figures(images.make_pairs(run, data, split, num), run.image_size)
    except UserError as error:
        return sections.no_figures(str(error))


def _sheet_captions(data: Dataset | None, config: ConfigDict) -> list[str]:
    try:
        return images.sheet_captions(data, config) if data else []
    except UserError:
        return []


def _facts(
    config: ConfigDict, lines: Sequence[dict[str, Any]], run: sampling.Run | None
) -> dict[str, str]:
    """What one wants to know first."""
    last = _last_step(lines)
    speeds = [line["images_per_sec"] for line in lines if is_number(line.get("images_per_sec"))]
    found = {"steps": f"{last:,}", "batch": f"{config.train.batch_size:,}"}
    found["images seen"] = f"{last * config.train.batch_size:,}"
    seconds = curves.clock(lines)
    if seconds:
        found["training"] = curves.duration(seconds[-1][1])
    if speeds:
        found["images/s"] = f"{statistics.median(speeds):,.0f}"
    if run:
        params = jax.tree.leaves(run.variables["params"])
        found["generator"] = _millions(sum(math.prod(leaf.shape) for leaf in params))
        found["image"] = f"{run.image_size} x {run.image_size}"
        found["vocabulary"] = f"{len(run.vocabulary):,} words"
    return found


def _last_step(lines: Sequence[dict[str, Any]]) -> int:
    return max((int(line["step"]) for line in lines if is_number(line.get("step"))), default=0)


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} M parameters" if count >= 1_000_000 else f"{count:,} parameters"


def _document(title: str, about: str, parts: Sequence[Markup]) -> str:
    folder = files("t2igan.report")
    style, script = (Markup((folder / name).read_text()) for name in ("page.css", "page.js"))
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    main = element(
        "main",
        element("header", element("h1", title), element("p", about, class_="lead")),
        *parts,
        element("footer", f"t2igan {__version__}, {made}"),
    )
    body = element("body", main, element("script", script))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"
