"""`t2igan export`: a generator for other programs, other languages and the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from input_pipeline.errors import UserError

HELP = (
    "Write a trained generator as ONNX, StableHLO, LiteRT, safetensors, or a page for the browser."
)
EXAMPLE = """
t2igan export --pretrained=shapes --format=onnx --out=exported
t2igan export --workdir=runs/shapes --format=onnx,stablehlo,safetensors --out=exported
t2igan export --pretrained=shapes --format=web --out=page
t2igan export --workdir=runs/shapes --format=hub --out=for_the_hub
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan export`."""
    add = parser.add_argument
    add("--workdir", metavar="RUN", help="the run's folder")
    add("--pretrained", metavar="NAME", help="instead of a run: a model of the package's, shapes")
    add("--step", default="latest", help="checkpoint: a step, latest or best")
    add("--out", metavar="DIR", help="folder to make")
    add("--overwrite", action="store_true", help="replace an export there")
    add(
        "--format",
        default="onnx",
        help="of onnx, stablehlo, litert, safetensors, web and hub (safetensors with a card), "
        "comma-separated (default onnx)",
    )
    add(
        "--precision",
        default="float32",
        choices=("float32", "float16", "int8"),
        help="of stored weights: float16 is for onnx, web and safetensors, int8 for onnx and web "
        "(default float32)",
    )


def main(args: argparse.Namespace) -> None:
    """Writes the export and says what is in it.

    Raises:
      UserError: no such run or format, or a package that a format needs is missing.
    """
    from t2igan.runtime.preemption import import_whole

    import_whole("t2igan.sampling.run")
    from t2igan.export import folder
    from t2igan.sampling import run as sampling

    if not args.out:
        raise UserError("export needs --out=DIR")
    if bool(args.workdir) == bool(args.pretrained):
        raise UserError("give either --workdir=RUN or --pretrained=shapes")
    formats = folder.check_formats(args.format)
    if args.pretrained:
        run = sampling.load_pretrained(args.pretrained)
    else:
        step = args.step if args.step in ("latest", "best") else _number(args.step)
        run = sampling.load(args.workdir, step)
    out = Path(args.out)
    precision, overwrite = args.precision, args.overwrite
    manifest = folder.write(run, out, formats, precision=precision, overwrite=overwrite)
    for name in manifest["files"]:
        size = (out / name).stat().st_size
        print(f"{out / name}: {size:,} bytes")


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise UserError(f"--step={word}: must be a number, latest or best")
    return int(word)
