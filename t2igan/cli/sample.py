"""`t2igan sample`: generates what a caption says."""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError
from input_pipeline.readers import text_files
from input_pipeline.readers.captions_file import open_captions
from input_pipeline.readers.rows import BadRow

if TYPE_CHECKING:
    import numpy as np

    from t2igan.sampling.run import Run

HELP = "Draw what a caption says with a trained model."
EXAMPLE = r"""
t2igan sample --pretrained=shapes --caption="a small red star on the left" --out=star.png
t2igan sample --workdir=runs/shapes --caption="a small red star on the left" --num=8 --out=star.png
t2igan sample --workdir=runs/shapes --captions_file=captions.txt --num=4 --out=images/
t2igan sample --workdir=runs/mine --caption="a dog" --best_of=16 --matcher=data/matcher.npz
t2igan sample --workdir=runs/shapes --caption="red star" --caption="blue ring" \
    --interpolate=captions --num=10 --out=walk.gif
"""
MOST = 10_000  # images a caption
_MOST_BYTES = 64 << 20  # of a captions file
_TABLES = (".csv", ".tsv", ".json", ".jsonl")
_MOST_SHOWN = 200  # letters of a caption in a warning
_AT_ONCE = 256  # images drawn before they are written: memory does not grow with the captions


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `t2igan sample`."""
    parser.add_argument("--workdir", help="the run's folder")
    parser.add_argument(
        "--pretrained", metavar="NAME", help="instead of a run: a model of the package's, shapes"
    )
    parser.add_argument("--caption", action="append", default=[], help="what to draw; repeatable")
    parser.add_argument(
        "--captions_file", help="a text file, one caption a line (# for comments), or a table"
    )
    parser.add_argument("--num", type=int, default=8, help="images a caption (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same image (default 0)")
    parser.add_argument(
        "--out",
        default="sample.png",
        help="a grid (.png, .jpg, .webp), a folder for single PNGs, or with --interpolate an "
        "animation (.gif, .mp4) (default sample.png)",
    )
    parser.add_argument(
        "--sentence_encoder",
        metavar="NAME",
        help="for a run that was trained with another than minilm: clip:FILE, t5:FILE, "
        "module:attribute",
    )
    parser.add_argument("--step", default="latest", help="checkpoint: a step, latest or best")
    parser.add_argument(
        "--truncation",
        type=float,
        default=1.0,
        help="scale of the noise; below 1: likelier, less varied (default 1)",
    )
    parser.add_argument(
        "--best_of",
        type=int,
        default=1,
        metavar="N",
        help="draw N images for each one wanted and keep what --matcher finds best (default 1)",
    )
    parser.add_argument("--matcher", metavar="FILE", help="that `t2igan train_matcher` made")
    parser.add_argument(
        "--interpolate",
        choices=("captions", "noises"),
        help="walk from each caption to the next, or from a caption's first noise to its second; "
        "--num is the number of images on the way",
    )


def main(args: argparse.Namespace) -> None:
    """Draws and writes.

    Raises:
      UserError: no captions, no such run, flags out of range, or nowhere to write.
    """
    captions = read_captions(args)
    _check(args, captions)
    step = _step(args.step)
    from t2igan.runtime.preemption import import_whole

    import_whole("t2igan.sampling.run")
    from t2igan.runtime import paths
    from t2igan.sampling import run as sampling
    from t2igan.sampling.output import open_writer

    best = _best_of(args)
    rows = len(captions) - (args.interpolate == "captions")
    if args.pretrained:
        run = sampling.load_pretrained(args.pretrained)
    else:
        run = sampling.load(args.workdir, step, args.sentence_encoder)
    _warn(run, captions)
    writer = open_writer(Path(args.out), rows, args.num, run.image_size)
    about = {
        "seed": args.seed,
        "truncation": args.truncation,
        "interpolate": args.interpolate,
        "workdir": paths.shown(str(run.workdir)),
        "step": run.step,
    }
    if best:
        weights = best["matcher"].provenance["matcher"]["weights_sha256"]
        about |= {"best_of": args.best_of, "matcher_sha256": weights}
    with writer:
        for label, images in _progress(_draw(run, captions, args, best), rows):
            writer.add(label, images, about)
    print(f"{rows * args.num} images of step {run.step}: {args.out}")


def read_captions(args: argparse.Namespace) -> list[str]:
    """Returns the captions of --caption and --captions_file, in this order.

    Raises:
      UserError: there are none, one has no word, or the file is not text.
    """
    captions = [caption.strip() for caption in args.caption]
    if args.captions_file:
        lines = _captions_in(Path(args.captions_file))
        captions += [line.strip() for line in lines if line.strip()]
    if not captions:
        raise UserError('no caption: add --caption="..." or --captions_file=FILE')
    for caption in captions:
        if any("\ud800" <= letter <= "\udfff" for letter in caption):
            raise UserError(f"the caption {caption!r} is not UTF-8 text: write it in UTF-8")
        if not any(letter.isalnum() for letter in caption):
            raise UserError(f"the caption {caption!r} has no word in it: say what to draw")
    return captions


def _captions_in(path: Path) -> Iterator[str]:
    """Captions of a text file, one a line, `#` lines aside; or of a table or JSON of captions."""
    if path.suffix.lower() in _TABLES:
        for row in open_captions(path).rows():
            if not isinstance(row, BadRow):
                yield from row.captions
        return
    with text_files.open_binary(path, "--captions_file") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise UserError(f"{path} has more than {_MOST_BYTES >> 20} MiB of captions: split it")
    text, _ = text_files.decode(data)
    for line in text.split("\n"):
        if not line.lstrip().startswith("#"):
            yield line


def _check(args: argparse.Namespace, captions: list[str]) -> None:
    if bool(args.workdir) == bool(args.pretrained):
        raise UserError("give either --workdir=RUN or --pretrained=shapes")
    if args.pretrained and (args.step != "latest" or args.sentence_encoder):
        raise UserError("--step and --sentence_encoder are of a run: leave out --pretrained")
    least = 2 if args.interpolate else 1
    if not least <= args.num <= MOST:
        raise UserError(f"--num={args.num}: must be {least} to {MOST}")
    if not 0.0 <= args.truncation <= 10.0:
        raise UserError(f"--truncation={args.truncation}: must be between 0 and 10")
    if not 0 <= args.seed < 2**32:
        raise UserError(f"--seed={args.seed}: must be between 0 and {2**32 - 1}")
    if not 1 <= args.best_of <= MOST:
        raise UserError(f"--best_of={args.best_of}: must be 1 to {MOST}")
    if args.best_of > 1 and args.interpolate:
        raise UserError("--best_of chooses single images: leave out --interpolate")
    if args.best_of > 1 and not args.matcher:
        raise UserError(
            "--best_of needs a matcher to choose with: make one with `t2igan train_matcher "
            "--dataset=DATASET --out=FILE` and add --matcher=FILE"
        )
    if args.matcher and args.best_of == 1:
        raise UserError("--matcher chooses among several images: add --best_of=N, 2 or more")
    if Path(args.out).suffix.lower() in (".gif", ".mp4") and not args.interpolate:
        raise UserError(
            f"--out={args.out} is an animation: add --interpolate=captions or --interpolate=noises"
        )
    if args.interpolate == "captions" and len(captions) < 2:
        raise UserError("--interpolate=captions needs two captions or more: add --caption")


def _step(word: str) -> int | str:
    if word in ("latest", "best"):
        return word
    if not (word.isascii() and word.isdigit()):
        raise UserError(f"--step={word}: must be a number, latest or best")
    return int(word)


def _best_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `Run.sample` is told of choosing among images; empty where it is not to."""
    if args.best_of == 1:
        return {}
    from t2igan.sampling.best_of import opened

    return {"best_of": args.best_of, "matcher": opened(args.matcher)}


def _warn(run: Run, captions: list[str]) -> None:
    """Says on stderr what of the captions the model will not see."""
    if not run.reads_words:
        return
    unknown = run.unknown_words(captions)
    if unknown:
        _warning(f"unknown words, drawn as x_UNK_: {named(unknown)}")
    cut = run.cut_captions(captions)
    for caption, rest in itertools.islice(cut.items(), 3):
        seen, lost = _shortened(caption), _shortened(" ".join(rest))
        _warning(f"too long, the end is not seen: {seen!r} without {lost!r}")
    if len(cut) > 3:
        _warning(f"{len(cut) - 3} more captions are too long")


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + " ..."


def _warning(text: str) -> None:
    print(f"t2igan: warning: {text}", file=sys.stderr)


def named(unknown: dict[str, list[str]], most: int = 20) -> str:
    """Returns the words in one line, each with what might have been meant."""
    words = [
        _shortened(word) + (f" (near: {', '.join(near)})" if near else "")
        for word, near in itertools.islice(unknown.items(), most)
    ]
    rest = len(unknown) - len(words)
    return "; ".join(words) + (f"; and {rest} more" if rest else "")


def _draw(
    run: Run, captions: list[str], args: argparse.Namespace, best: dict[str, Any]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a label and uint8 [num, S, S, 3] for each row."""
    options = {"seed": args.seed, "truncation": args.truncation}
    if args.interpolate == "captions":
        for start, end in itertools.pairwise(captions):
            (row,) = run.interpolate_captions(start, end, args.num, **options)
            yield f"{start} -> {end}", row
        return
    draw = run.interpolate_noise if args.interpolate else functools.partial(run.sample, **best)
    together = math.ceil(_AT_ONCE / (args.num * args.best_of))
    for first in range(0, len(captions), together):
        some = captions[first : first + together]
        yield from zip(some, draw(some, args.num, **options), strict=True)


def _progress(rows: Iterator, count: int) -> Iterator:
    from tqdm import tqdm

    return tqdm(rows, total=count, desc="drawing", unit="caption", disable=count < 2)
