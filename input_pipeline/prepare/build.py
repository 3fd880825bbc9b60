"""The verb prepare: pictures and captions become a data set of shards."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import itertools
import os
import pkgutil
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from input_pipeline import sources
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import Identity

if TYPE_CHECKING:
    from input_pipeline.prepare.convert import Conversion
    from input_pipeline.prepare.write import Counts

HELP = "Turn pictures and captions into a data set: checked, resized, tokenised, in shards."
EXAMPLE = """
t2igan prepare --source=hdf5 --captions=train.h5 --images=IMAGES \\
    --word_vectors=glove.6B.200d.txt --image_size=64 --out=DATASET
t2igan prepare --source=folder --images=IMAGES --sentence_encoder=minilm --out=DATASET
"""

_NOT_SOURCES = ("base", "grouping")


def source_names() -> list[str]:
    """What `--source` may be: the modules in `sources/`."""
    found = pkgutil.iter_modules(sources.__path__)
    return [module.name for module in found if module.name not in _NOT_SOURCES]


def add_flags(parser: argparse.ArgumentParser, words: Sequence[str] = ()) -> None:
    """Adds the flags that every source has, and those of the source that `words` name."""
    names = ", ".join(source_names())
    add = parser.add_argument
    add("--source", metavar="NAME", help=f"{names}; `--source=NAME --help` shows its own flags")
    add("--out", metavar="DATASET", help="folder to make")
    add("--overwrite", action="store_true", help="replace a data set there, once this is complete")
    add("--image_size", type=int, default=64, help="pixels a side (default %(default)s)")
    add("--resize", default="squash", help="squash (default) or center_crop")
    add("--word_vectors", metavar="FILE", help="GloVe text file; without: drawn from the seed")
    add("--word_vector_dim", type=int, help="numbers a word where they are drawn (default 200)")
    add("--vocab_size", type=int, help="words where the source has no list (default 1004)")
    add("--caption_length", type=int, help="codes a caption, start and end included (default 17)")
    add(
        "--sentence_encoder",
        metavar="NAME",
        help="store an embedding of each caption: minilm, or your own module:attribute, a callable "
        "from a list of texts to an array [n, E]",
    )
    add("--validation_fraction", type=float, help="part of train (default 0.15)")
    add("--test_fraction", type=float, help="part of train (default 0)")
    add("--seed", type=int, default=0, help="of the division and drawn vectors (default 0)")
    add("--workers", type=int, help="threads (default: one a processor)")
    add("--shard_size", type=int, help="images a shard (default: 2000, fewer if they are large)")
    name = _chosen_source(words)
    if name is not None:
        group = parser.add_argument_group(f"--source={name}")
        source_module(name).add_flags(group)


def _chosen_source(words: Sequence[str]) -> str | None:
    """The value of the last `--source=NAME` or `--source NAME`."""
    chosen = None
    for word, following in itertools.zip_longest(words, words[1:]):
        flag, equals, value = word.partition("=")
        if flag == "--source":
            chosen = value if equals else following
    return chosen


def source_module(name: str) -> ModuleType:
    """The module of a source.

    Raises:
      UserError: there is none of the name.
    """
    names = source_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"--source={name}: {', '.join(names)} are allowed{hint}")
    return importlib.import_module(f"{sources.__name__}.{name}")


def main(args: argparse.Namespace) -> None:
    """Makes the data set and prints what is in it.

    Raises:
      UserError: a flag or a file is not as it should be, or no image can be used.
    """
    from input_pipeline.dataset import folder as dataset_folder
    from input_pipeline.prepare import options as choices
    from input_pipeline.prepare.write import plan, write_records

    _check_flags(args)
    with (
        _terminated_cleanly(),
        dataset_folder.building(Path(args.out), args.overwrite) as folder,
    ):
        encoder = choices.sentence_encoder(args)
        source = source_module(args.source).open_source(args)
        division = choices.division(args, source)
        vocabulary = choices.vocabulary(args, source, division)
        table, missing = choices.word_vectors(args, vocabulary)
        conversion = choices.conversion(args, source, vocabulary, encoder)
        tally = write_records(
            folder,
            source,
            plan(source.splits(), division),
            conversion,
            shard_size=choices.shard_size(args),
            workers=args.workers or _processors(),
        )
        _refuse_nothing(tally)
        report = _report(args, conversion, tally)
        report["word_vectors"] = _word_vector_report(args, table.shape[1], missing)
        if encoder is not None:
            report["sentence_encoder"] = encoder.identity.to_json()
        report = dataset_folder.finish(folder, vocabulary.to_json(), table, report)
    print(_summary(Path(args.out), report))


def _check_flags(args: argparse.Namespace) -> None:
    for flag, example in (("source", "shapes"), ("out", "DATASET")):
        if not getattr(args, flag):
            raise UserError(f"prepare needs --{flag}, e.g. --{flag}={example}")
    ranges = {
        "image_size": (4, 2048),
        "word_vector_dim": (1, 4096),
        "caption_length": (3, 1000),
        "seed": (0, 2**63),
        "workers": (1, 1024),
        "shard_size": (1, 100_000),
    }
    for flag, (low, high) in ranges.items():
        value = getattr(args, flag)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{flag}={value}: {low} to {high} are allowed")
    if args.resize not in ("squash", "center_crop"):
        raise UserError(f"--resize={args.resize}: squash and center_crop are allowed")
    if args.word_vectors and args.word_vector_dim:
        raise UserError("--word_vector_dim is for vectors that are drawn: leave out one of the two")


@contextlib.contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """SIGTERM, a cluster's first word, unwinds the block like Ctrl-C: scratch files go away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # fewer than the machine's, in a container or a job
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _refuse_nothing(tally: Counts) -> None:
    if tally.examples["train"]:
        return
    where = "for the split train" if tally.examples else "at all"
    raise UserError(
        f"no image can be used {where}: rejected {tally.rejected_text() or 'none'}; check the "
        "folder of the images and that its files belong to the captions"
    )


def _report(args: argparse.Namespace, conversion: Conversion, tally: Counts) -> dict[str, Any]:
    return {
        "examples": tally.examples.total(),
        "captions": tally.captions.total(),
        "rejected": dict(tally.rejected.most_common()),
        "splits": {
            name: {"examples": count, "captions": tally.captions[name]}
            for name, count in tally.examples.items()
        },
        "image_size": conversion.image_size,
        "caption_length": conversion.caption_length,
        "vocab_size": len(conversion.vocabulary),
        "source": args.source,
        "resize": conversion.resize,
        "seed": args.seed,
    }


def _word_vector_report(args: argparse.Namespace, dim: int, missing: list[str]) -> dict[str, Any]:
    if args.word_vectors:
        return {"file": Path(args.word_vectors).name, "dim": dim, "words_without": missing}
    return {"file": None, "drawn_from_seed": args.seed, "dim": dim, "words_without": []}


def _summary(out: Path, report: dict[str, Any]) -> str:
    splits = ", ".join(f"{name} {size['examples']:,}" for name, size in report["splits"].items())
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in report["rejected"].items())
    size = report["image_size"]
    encoder = report.get("sentence_encoder")
    sentences = [f"sentences: {Identity.from_json(encoder)}"] if encoder else []
    return "\n".join(
        [
            f"{out}: {report['examples']:,} images of {size}x{size} pixels ({splits}), "
            f"{report['captions']:,} captions",
            f"rejected: {rejected + ' (rejected.csv lists them)' if rejected else 'none'}",
            f"words: {report['vocab_size']:,}, the special ones included; "
            + _word_vector_summary(report["word_vectors"]),
            *sentences,
        ]
    )


def _word_vector_summary(vectors: dict[str, Any]) -> str:
    if vectors["file"] is None:
        return f"vectors of {vectors['dim']} numbers drawn from seed {vectors['drawn_from_seed']}"
    missing = vectors["words_without"]
    text = f"vectors of {vectors['dim']} numbers from {vectors['file']}"
    if missing:
        some = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        text += f", none for {len(missing):,} words: {some}"
    return text
