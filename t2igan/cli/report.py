"""`t2igan report`: writes one HTML page about a run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from input_pipeline.errors import UserError

HELP = "Write one self-contained HTML page about a run: curves, figures, samples, numbers, config."
EXAMPLE = """
t2igan report --workdir=runs/shapes
t2igan report --workdir=runs/shapes --num=12 --dataset=data/shapes --out=shapes.html
"""
MOST = 200  # captions on a page


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan report`."""
    parser.add_argument("--workdir", required=True, help="the run's folder")
    parser.add_argument("--out", help="the page to write (default RUN/report.html)")
    parser.add_argument("--num", type=int, default=8, help="test captions to show (default 8)")
    parser.add_argument("--dataset", help="where the data set is, if no longer where it was")


def main(args: argparse.Namespace) -> None:
    """Writes the page; a run that is still in training is no obstacle.

    Raises:
      UserError: there is no such run, a flag is out of range, or the page cannot be written.
    """
    if not 1 <= args.num <= MOST:
        raise UserError(f"--num={args.num}: must be 1 to {MOST}")
    workdir = Path(args.workdir)
    if not (workdir / "config.json").is_file():
        raise UserError(f"{workdir} holds no run: its config.json is missing; give --workdir=RUN")
    out = Path(args.out) if args.out else workdir / "report.html"
    if out.is_dir():
        raise UserError(f"--out={out} is a folder; give the name of a page, e.g. {out}/report.html")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--out={out}: {out.parent} is not a folder") from error
    from t2igan.config.record import every_field_known
    from t2igan.report.page import make_page

    with every_field_known():
        page = make_page(workdir, args.num, args.dataset)
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_text(page, encoding="utf-8")
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    print(out)
