"""Images and captions made into a data set of shards."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import os
import pkgutil
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from input_pipeline import sources
from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.errors import UserError, did_you_mean
from input_pipeline.extensions import import_extension, is_extension
from input_pipeline.images.decode import RESAMPLINGS
from input_pipeline.prepare import options as choices
from input_pipeline.prepare.limit import limited
from input_pipeline.prepare.options import PrepareOptions
from input_pipeline.prepare.splits import SplitAssignment, plan
from input_pipeline.readers.file_names import FileNames
from input_pipeline.sources.base import Source
from input_pipeline.text.sentence_encoders import Identity
from input_pipeline.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from input_pipeline.prepare.convert import Conversion
    from input_pipeline.prepare.write import Counts

_NOT_SOURCES = ("base", "files")


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


def open_source(options: PrepareOptions, flags: argparse.Namespace) -> Source:
    """Returns the source, of which no more images are seen than `options` allow.

    Args:
      options: which source.
      flags: what its `open_source` takes.

    Raises:
      UserError: a flag or a file is not as it should be.
    """
    source: Source = source_module(options.source).open_source(flags)
    return limited(source, options.max_images)


class Engine(Protocol):
    """Where the work is done: on this machine, or on several."""

    def open_source(self, options: PrepareOptions) -> Source:
        """Returns the source."""
        ...

    def vocabulary(
        self, options: PrepareOptions, source: Source, division: SplitAssignment
    ) -> Vocabulary:
        """Returns the words of the captions, see `options.vocabulary`."""
        ...

    def write(
        self,
        folder: Path,
        source: Source,
        division: SplitAssignment,
        conversion: Conversion,
        options: PrepareOptions,
    ) -> Counts:
        """Returns what was written: shards, TFDS's files and `rejected.csv`."""
        ...

    def shards_elsewhere(self) -> Mapping[str, str]:
        """Returns {name: SHA-256} of shards that were not written into the folder."""
        ...


class ThisMachine:
    """Threads of this process."""

    def open_source(self, options: PrepareOptions) -> Source:
        return open_source(options, options.flags_of_source())

    def vocabulary(
        self, options: PrepareOptions, source: Source, division: SplitAssignment
    ) -> Vocabulary:
        return choices.vocabulary(options, source, division)

    def write(
        self,
        folder: Path,
        source: Source,
        division: SplitAssignment,
        conversion: Conversion,
        options: PrepareOptions,
    ) -> Counts:
        from input_pipeline.prepare.write import write_records

        return write_records(
            folder,
            source,
            plan(source.splits(), division),
            conversion,
            shard_size=choices.shard_size(options),
            workers=options.workers or _processors(),
        )

    def shards_elsewhere(self) -> Mapping[str, str]:
        return {}


def prepare(options: PrepareOptions, engine: Engine | None = None) -> dict[str, Any]:
    """Returns the report of a data set after making it, whole or not at all.

    Args:
      options: what to make.
      engine: where; None for this machine.

    Raises:
      UserError: an option or a file is not as it should be, or no image can be used.
    """
    engine = engine or ThisMachine()
    check(options)
    out = Path(options.out)
    with _terminated_cleanly(), dataset_folder.building(out, options.overwrite) as folder:
        encoder = choices.sentence_encoder(options)
        source = engine.open_source(options)
        division = choices.division(options, source)
        vocabulary = engine.vocabulary(options, source, division)
        table, missing = choices.word_vectors(options, vocabulary)
        conversion = choices.conversion(options, source, vocabulary, encoder)
        counts = engine.write(folder, source, division, conversion, options)
        notes = list(_notes(source, counts))
        _refuse_nothing(counts, notes, folder, out)
        report = _report(options, conversion, counts)
        report["word_vectors"] = _word_vector_report(options, table.shape[1], missing)
        if encoder is not None:
            report["sentence_encoder"] = encoder.identity.to_json()
        report["raw_captions"] = source.vocabulary is None
        report["notes"] = notes
        elsewhere = engine.shards_elsewhere()
        return dataset_folder.finish(folder, vocabulary.to_json(), table, report, elsewhere)


def check(options: PrepareOptions) -> None:
    """Looks at the options alone.

    Raises:
      UserError: one is missing or out of range.
    """
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
        "max_images": (1, 2**40),
    }
    for flag, (low, high) in ranges.items():
        value = getattr(options, flag)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{flag}={value}: {low} to {high} are allowed")
    if options.image_size & (options.image_size - 1):
        lower = 1 << (options.image_size.bit_length() - 1)
        raise UserError(
            f"--image_size={options.image_size}: the networks take 4 times a power of two; give "
            f"{lower} or {2 * lower}"
        )
    if options.resize not in ("squash", "center_crop"):
        raise UserError(f"--resize={options.resize}: squash and center_crop are allowed")
    if options.resampling not in RESAMPLINGS:
        known = " and ".join(RESAMPLINGS)
        raise UserError(f"--resampling={options.resampling}: {known} are allowed")
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


def _notes(source: Source, counts: Counts) -> Iterator[str]:
    """What a source says of its data; of one that says nothing, where a missing file was sought."""
    if hasattr(source, "notes"):
        yield from source.notes()
    elif counts.rejected["missing"]:
        examples = (
            example.image
            for split, number in source.splits().items()
            for example in source.examples(split, 0, number)
        )
        missing = (image for image in examples if isinstance(image, Path) and not image.is_file())
        if (first := next(missing, None)) is not None and first.parent.is_dir():
            near = FileNames(first.parent).nearest(first.name)
            there = f"the nearest file there is {near!r}" if near else "the folder has no image"
            yield f"missing: e.g. {first}; {there}"
            if hint := getattr(source, "missing_hint", ""):
                yield hint


def _refuse_nothing(counts: Counts, notes: list[str], folder: Path, out: Path) -> None:
    if counts.examples["train"]:
        return
    where = "for the split train" if counts.examples else "at all"
    kept = out.resolve().with_name(out.name + ".rejected.csv")
    counts.flush()
    shutil.copyfile(folder / dataset_folder.REJECTED, kept)
    said = "; ".join(notes) or (
        "check the folder of the images and that its files belong to the captions"
    )
    raise UserError(
        f"no image can be used {where}: rejected {counts.rejected_text() or 'none'}; {said}; "
        f"{kept} lists them"
    )


def _report(options: PrepareOptions, conversion: Conversion, counts: Counts) -> dict[str, Any]:
    return {
        "examples": counts.examples.total(),
        "captions": counts.captions.total(),
        "rejected": dict(counts.rejected.most_common()),
        "rejected_rows": dict(counts.bad_rows.most_common()),
        "captions_cut": counts.cut,
        "longest_caption": counts.longest,
        "captions_by_character": counts.unspaced,
        "words": counts.words,
        "words_without_code": counts.unknown_words,
        "most_frequent_without_code": dict(counts.unknown.most_common(10)),
        "splits": {
            name: {"examples": count, "captions": counts.captions[name]}
            for name, count in counts.examples.items()
        },
        "image_size": conversion.image_size,
        "caption_length": conversion.caption_length,
        "vocab_size": len(conversion.vocabulary),
        "source": options.source,
        "resize": conversion.resize,
        "resampling": conversion.resampling,
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
    rows = ", ".join(f"{count:,} {reason}" for reason, count in report["rejected_rows"].items())
    size = report["image_size"]
    encoder = report.get("sentence_encoder")
    sentences = [f"sentences: {Identity.from_json(encoder)}"] if encoder else []
    return "\n".join(
        [
            f"{options.out}: {report['examples']:,} images of {size}x{size} pixels ({splits}), "
            f"{report['captions']:,} captions",
            f"rejected: {rejected + ' (rejected.csv lists them)' if rejected else 'none'}",
            *([f"rows and captions left out: {rows} (rejected.csv lists them)"] if rows else []),
            f"words: {report['vocab_size']:,}, the special ones included; "
            + _word_vector_summary(report["word_vectors"]),
            *sentences,
            *_caption_lines(report),
            *report["notes"],
        ]
    )


def _caption_lines(report: dict[str, Any]) -> Iterator[str]:
    """What captions have lost: nothing is lost in silence."""
    if cut := report["captions_cut"]:
        share = 100 * cut / report["captions"]
        yield (
            f"captions cut: {cut:,} ({share:.1f} %) have more than {report['caption_length'] - 2} "
            f"words; --caption_length={report['longest_caption'] + 2} would cut none"
        )
    if unknown := report["words_without_code"]:
        frequent = ", ".join(report["most_frequent_without_code"])
        share = 100 * unknown / report["words"]
        yield f"words without a code: {share:.1f} %, most often {frequent} (--vocab_size)"
    if report["captions_by_character"]:
        yield (
            f"{report['captions_by_character']:,} captions are in a script without blanks between "
            "words: split by character"
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
