"""Images and captions made into a data set of shards."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import os
import pkgutil
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from input_pipeline import sources
from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.errors import UserError, did_you_mean
from input_pipeline.extensions import import_extension, is_extension
from input_pipeline.prepare import options as choices
from input_pipeline.prepare.options import PrepareOptions
from input_pipeline.prepare.splits import plan
from input_pipeline.text.sentence_encoders import Identity

if TYPE_CHECKING:
    from input_pipeline.prepare.convert import Conversion
    from input_pipeline.prepare.write import Counts

_NOT_SOURCES = ("base",)


def source_names() -> list[str]:
    """Returns the sources that ship with the package: the modules in `sources/`."""
    found = pkgutil.iter_modules(sources.__path__)
    return [module.name for module in found if module.name not in _NOT_SOURCES]


def source_module(name: str) -> ModuleType:
    """Returns the module of a source: `add_flags(group)` and `open_source(flags) -> Source`.

    Raises:
      UserError: there is none of the name.
    """
    known = source_names()
    if name in known:
        return importlib.import_module(f"{sources.__name__}.{name}")
    if is_extension(name):
        return import_extension(name, "open_source", f"--source={name}")
    raise UserError(
        f"--source={name}: {', '.join(known)} are allowed, and modules of your own "
        f"(my_pkg.source){did_you_mean(name, known)}"
    )


def source_defaults(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the given options with the defaults of the source's own flags.

    Raises:
      UserError: there is no such source, or an option that neither it nor `prepare` has.
    """
    parser = argparse.ArgumentParser(add_help=False)
    source_module(name).add_flags(parser)
    defaults = {action.dest: action.default for action in parser._actions}
    known = {*defaults, *(field.name for field in dataclasses.fields(PrepareOptions))}
    for option in given:
        if option not in known:
            raise UserError(f"prepare has no option {option}{did_you_mean(option, known)}")
    return defaults | dict(given)


def prepare(options: PrepareOptions) -> dict[str, Any]:
    """Returns the report of a data set after making it, whole or not at all.

    Raises:
      UserError: an option or a file is not as it should be, or no image can be used.
    """
    from input_pipeline.prepare.write import write_records

    _check(options)
    out = Path(options.out)
    with _terminated_cleanly(), dataset_folder.building(out, options.overwrite) as folder:
        encoder = choices.sentence_encoder(options)
        source = source_module(options.source).open_source(options.flags_of_source())
        division = choices.division(options, source)
        vocabulary = choices.vocabulary(options, source, division)
        table, missing = choices.word_vectors(options, vocabulary)
        conversion = choices.conversion(options, source, vocabulary, encoder)
        counts = write_records(
            folder,
            source,
            plan(source.splits(), division),
            conversion,
            shard_size=choices.shard_size(options),
            workers=options.workers or _processors(),
        )
        _refuse_nothing(counts)
        report = _report(options, conversion, counts)
        report["word_vectors"] = _word_vector_report(options, table.shape[1], missing)
        if encoder is not None:
            report["sentence_encoder"] = encoder.identity.to_json()
        return dataset_folder.finish(folder, vocabulary.to_json(), table, report)


def _check(options: PrepareOptions) -> None:
    for flag, example in (("source", "shapes"), ("out", "DATASET")):
        if not getattr(options, flag):
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
        value = getattr(options, flag)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{flag}={value}: {low} to {high} are allowed")
    if options.resize not in ("squash", "center_crop"):
        raise UserError(f"--resize={options.resize}: squash and center_crop are allowed")
    if options.word_vectors and options.word_vector_dim:
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


def _refuse_nothing(counts: Counts) -> None:
    if counts.examples["train"]:
        return
    where = "for the split train" if counts.examples else "at all"
    raise UserError(
        f"no image can be used {where}: rejected {counts.rejected_text() or 'none'}; check the "
        "folder of the images and that its files belong to the captions"
    )


def _report(options: PrepareOptions, conversion: Conversion, counts: Counts) -> dict[str, Any]:
    return {
        "examples": counts.examples.total(),
        "captions": counts.captions.total(),
        "rejected": dict(counts.rejected.most_common()),
        "splits": {
            name: {"examples": count, "captions": counts.captions[name]}
            for name, count in counts.examples.items()
        },
        "image_size": conversion.image_size,
        "caption_length": conversion.caption_length,
        "vocab_size": len(conversion.vocabulary),
        "source": options.source,
        "resize": conversion.resize,
        "seed": options.seed,
    }


def _word_vector_report(options: PrepareOptions, dim: int, missing: list[str]) -> dict[str, Any]:
    if options.word_vectors:
        return {"file": Path(options.word_vectors).name, "dim": dim, "words_without": missing}
    return {"file": None, "drawn_from_seed": options.seed, "dim": dim, "words_without": []}


def summary(options: PrepareOptions, report: dict[str, Any]) -> str:
    """Returns what a report says, in a few lines."""
    splits = ", ".join(f"{name} {size['examples']:,}" for name, size in report["splits"].items())
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in report["rejected"].items())
    size = report["image_size"]
    encoder = report.get("sentence_encoder")
    sentences = [f"sentences: {Identity.from_json(encoder)}"] if encoder else []
    return "\n".join(
        [
            f"{options.out}: {report['examples']:,} images of {size}x{size} pixels ({splits}), "
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
