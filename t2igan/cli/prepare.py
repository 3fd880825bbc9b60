"""`t2igan prepare`: the flags that every source has, and those of the chosen source."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence

from input_pipeline.prepare.build import prepare, source_module, source_names, summary
from input_pipeline.prepare.options import PrepareOptions

HELP = "Turn images and captions into a data set: checked, resized, tokenized, in shards."
EXAMPLE = """
t2igan prepare --source=hdf5 --captions=train.h5 --images=IMAGES \\
    --word_vectors=glove.6B.200d.txt --image_size=64 --out=DATASET
t2igan prepare --source=folder --images=IMAGES --sentence_encoder=minilm --out=DATASET
"""


def add_flags(parser: argparse.ArgumentParser, words: Sequence[str] = ()) -> None:
    """Adds the flags that every source has, and those of the source that `words` name."""
    names = ", ".join(source_names())
    add = parser.add_argument
    add(
        "--source",
        metavar="NAME",
        help=f"{names}, or a module of your own (my_pkg.source); `--source=NAME --help` shows its "
        "own flags",
    )
    add("--out", metavar="DATASET", help="folder to make")
    add("--overwrite", action="store_true", help="replace a data set there, once this is complete")
    add("--image_size", type=int, default=64, help="pixels a side (default %(default)s)")
    add("--resize", default="squash", help="squash (default) or center_crop")
    add(
        "--resampling",
        default="bicubic",
        help="filter of the resizing: bicubic (default), or lanczos, as fid30k_coco64 asks",
    )
    add("--word_vectors", metavar="FILE", help="GloVe text file; without: drawn from the seed")
    add("--word_vector_dim", type=int, help="numbers a word where they are drawn (default 200)")
    add(
        "--vocab_size",
        type=int,
        help="words where the source has no list (default: 1004, or as many as cover 99 %% of the "
        "words in the captions)",
    )
    add("--caption_length", type=int, help="codes a caption, start and end included (default 17)")
    add(
        "--sentence_encoder",
        metavar="NAME",
        help="store an embedding of each caption: minilm; clip:FILE or t5:FILE, a safetensors file "
        "with tokenizer.json beside it; or your own module:attribute, a callable from a list of "
        "texts to an array [n, E]",
    )
    add(
        "--caption_tokens",
        type=int,
        default=0,
        help="store the embeddings of this many tokens of each caption too, by clip: or t5:, for "
        "config.model.text_encoder='tokens' (default 0)",
    )
    add("--validation_fraction", type=float, help="part of train (default 0.15)")
    add("--test_fraction", type=float, help="part of train (default 0)")
    add(
        "--seed",
        type=int,
        default=0,
        help="of splits and of drawn vectors (default 0)",
    )
    add("--max_images", type=int, help="of each split of the source: to try things out")
    add("--workers", type=int, help="threads (default: one a processor)")
    add("--shard_size", type=int, help="images a shard (default: 2000, fewer if they are large)")
    add(
        "--beam_options",
        metavar="FLAGS",
        help="do the work on Apache Beam, e.g. --beam_options='--runner=DataflowRunner ...'; paths "
        "are then of a bucket, or of a file system that all workers share",
    )
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


def main(args: argparse.Namespace) -> None:
    """Makes the data set and prints what is in it.

    Raises:
      UserError: see `input_pipeline.prepare.build.prepare` and `t2igan.beam.engine.prepare`.
    """
    values = dict(vars(args))
    beam_options = values.pop("beam_options", None)
    options = PrepareOptions.of(values)
    if beam_options is None:
        report = prepare(options)
    else:
        from t2igan.beam import engine

        report = engine.prepare(options, beam_options)
    print(summary(options, report))
