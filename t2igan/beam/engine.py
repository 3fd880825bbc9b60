"""`prepare --beam_options=...`: the stages, one after another, each a Beam pipeline.

look      each file of tars or parquet: examples, words of the captions
digests   of sources whose images are files: what lies under several names
convert   each unit (a file, or a range of examples) into pieces of at most a shard
join      pieces into shards

Each stage's results are files in one folder, beside the data set: no record goes through Beam's own
shuffle, and a stage needs nothing of a runner but that it runs a function on elements. What is left
is read and compared in the end; the folder then goes away.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import re
import shlex
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.errors import UserError
from input_pipeline.images.placeholders import RepeatedFiles, repeated
from input_pipeline.prepare import build, units
from input_pipeline.prepare import options as choices
from input_pipeline.prepare.convert import Conversion, printable, task_size
from input_pipeline.prepare.options import PrepareOptions
from input_pipeline.prepare.splits import SplitAssignment, plan
from input_pipeline.prepare.units import Unit
from input_pipeline.prepare.write import KEYS, Counts, SeenKeys, check_written
from input_pipeline.sources.base import Example, OneFile, Source
from input_pipeline.text import vocabulary as vocabularies
from input_pipeline.text.vocabulary import Vocabulary
from t2igan.beam import work
from t2igan.beam.place import Place
from t2igan.beam.work import Job
from t2igan.runtime import paths
from t2igan.runtime.buckets import transfer

INSTALL = "pip install 't2igan[beam]'"
PARTS = ".beam"  # ends the name of the folder of results, beside the data set


def prepare(options: PrepareOptions, beam_options: str) -> dict[str, Any]:
    """Returns the report of a data set after making it on Beam, see `build.prepare`.

    Args:
      options: of the data set; paths may be URLs, and are otherwise of a file system that all
        workers share.
      beam_options: flags of Beam's, its --runner among them.

    Raises:
      UserError: Beam is not installed, the job failed, or see `build.prepare`.
    """
    _beam()
    build.check(options)
    out = options.out.rstrip("/")
    place = Place(out + PARTS)
    if place.names():
        raise UserError(
            f"{place.root} has the parts of a job that still runs, or was killed: wait for it, or "
            f"remove {place.root}"
        )
    try:
        if not paths.is_url(out):
            return build.prepare(options, Beam(options, beam_options, place, ""))
        return _prepare_in_bucket(options, beam_options, place, out)
    finally:
        place.remove()


def _prepare_in_bucket(
    options: PrepareOptions, beam_options: str, place: Place, url: str
) -> dict[str, Any]:
    paths.refuse_taken(url, options.overwrite)
    before = transfer.list_files(url)
    with paths.scratch_folder() as scratch:
        here = scratch / url.rpartition("/")[2]
        engine = Beam(options, beam_options, place, url)
        with paths.named(here, url):
            try:
                report = build.prepare(dataclasses.replace(options, out=str(here)), engine)
            except BaseException:
                transfer.remove(url, [name for name in engine.shards if name not in before])
                raise
        names = transfer.snapshot(here)
        transfer.upload(here, list(names), url)
        transfer.remove(url, [n for n in before if n not in names and n not in engine.shards])
    return report


class Beam:
    """An engine of `build.prepare`.

    Attributes:
      shards: {name: {"bytes", "sha256"}} of the shards that were written.
    """

    def __init__(self, options: PrepareOptions, beam_options: str, place: Place, url: str) -> None:
        """Runs nothing yet.

        Args:
          options: with URLs as they were given.
          beam_options: of Beam.
          place: of results, empty.
          url: of the data set, or "" where the shards go where `build.prepare` makes it.
        """
        self.shards: dict[str, dict[str, Any]] = {}
        self._beam_options, self._place, self._url = beam_options, place, url
        self._job = Job(options, place.root, url)
        self._module = build.source_module(options.source)
        self._looks: list[units.Look] = []
        self._files: list[OneFile] = []

    def open_source(self, options: PrepareOptions) -> Source:
        """Returns the source; where it is one of files, what all of them hold together."""
        if not hasattr(self._module, "open_file"):
            return work.open_whole(self._job.options)  # type: ignore[no-any-return]
        if options.max_images is not None:
            raise UserError(
                f"--max_images: --source={options.source} is read by several machines, of which "
                "none knows how many the others have; name fewer --files"
            )
        self._files = self._found_files()
        if self._module.KEYS_ARE_PLACES:
            self._look(None)
            self._place_files()
            names = _sum(self._looks)
        else:
            names = {one.split or "train": 1 for one in self._files}
        self._look(choices.division_by_hash(options, names))
        return _Gathered(options.source, self._looks, getattr(self._module, "SPLITS", ()))

    def _found_files(self) -> list[OneFile]:
        with _listed(self._job.options) as (flags, original):
            found = self._module.files(flags)
            any_named = any(split for _, split in found)
            return [OneFile(original(path), split, len(found), any_named) for path, split in found]

    def _place_files(self) -> None:
        """Tells each file what the others hold."""
        counts = _sum(self._looks)
        all_train = "train" not in counts and len(counts) == 1
        first: collections.Counter[str] = collections.Counter()
        for index, (one, look) in enumerate(zip(self._files, self._looks, strict=True)):
            self._files[index] = dataclasses.replace(one, all_train=all_train, first=dict(first))
            first.update({"train": sum(look.counts.values())} if all_train else look.counts)
        if all_train:
            for look in self._looks:
                look.counts = {"train": sum(look.counts.values())}

    def _look(self, division: SplitAssignment | None) -> None:
        self._job = dataclasses.replace(self._job, division=division)
        elements = [Unit(index, "", file=one) for index, one in enumerate(self._files)]
        self._looks = [
            units.Look(**value | {"words": collections.Counter(value["words"])})
            for value in self._stage("look", elements)
        ]

    def vocabulary(
        self, options: PrepareOptions, source: Source, division: SplitAssignment
    ) -> Vocabulary:
        """Returns the words of the captions that stay in train."""
        if not self._files:
            return choices.vocabulary(options, source, division)
        if division != self._job.division:  # so few images that some were moved
            self._look(division)
        words: collections.Counter[str] = collections.Counter()
        for look in self._looks:
            words.update(look.words)
        return vocabularies.of_counts(words, options.vocab_size)

    def write(
        self,
        folder: Path,
        source: Source,
        division: SplitAssignment,
        conversion: Conversion,
        options: PrepareOptions,
    ) -> Counts:
        """Returns what was written: shards by the workers, the other files into `folder`."""
        from input_pipeline.prepare.shards import write_metadata

        elements = self._units(source, division, options)
        self._job = dataclasses.replace(
            self._job,
            out=self._url or str(folder),
            sizes=source.splits(),
            division=division,
            words=conversion.vocabulary.words,
            caption_length=conversion.caption_length,
        )
        if isinstance(conversion.placeholders, RepeatedFiles):
            self._find_placeholders(elements)
            _read_names(source)
        results = dict(enumerate(self._stage("convert", elements)))
        with (folder / dataset_folder.REJECTED).open("w", encoding="utf-8", newline="") as listing:
            counts = Counts(listing)
            keys = SeenKeys(folder / KEYS)
            for index, result in results.items():
                counts.merge(result["counts"], result["refusals"])
                keys.add_hashes(self._place.read(f"units/{index:08d}/{KEYS}") or b"")
            for where, reason in getattr(source, "bad", ()):
                counts.add_bad_row(printable(where), reason)
        written = self._join(plan(source.splits(), division), results, options)
        if written:
            write_metadata(
                folder,
                written,
                image_size=conversion.image_size,
                caption_length=conversion.caption_length,
                sentence_dim=conversion.sentence_dim,
                texts=source.vocabulary is None,
                sizes={name: shard["bytes"] for name, shard in self.shards.items()},
            )
        check_written(source, keys, counts, written)
        (folder / KEYS).unlink()
        return counts

    def _units(
        self, source: Source, division: SplitAssignment, options: PrepareOptions
    ) -> list[Unit]:
        elements: list[Unit] = []
        for split in dict.fromkeys(part.source_split for part in plan(source.splits(), division)):
            if not self._files:
                # Whole tasks: captions are embedded together, a task's at a time.
                task = task_size(options.image_size)
                size = -(-choices.shard_size(options) // task) * task
                number = source.splits()[split]
                elements += units.windows(split, number, size, len(elements))
                continue
            for one, look in zip(self._files, self._looks, strict=True):
                if look.counts.get(split):
                    elements.append(Unit(len(elements), split, file=one))
        return elements

    def _find_placeholders(self, elements: Sequence[Unit]) -> None:
        pairs = (
            (bytes.fromhex(content), bytes.fromhex(path))
            for found in self._stage("digests", elements)
            for content, path in found
        )
        self._job = dataclasses.replace(self._job, placeholders=repeated(pairs))

    def _join(
        self,
        splits: Sequence[Any],
        results: Mapping[int, Mapping[str, Any]],
        options: PrepareOptions,
    ) -> dict[str, list[int]]:
        """Returns the records in each shard of each split, after writing them."""
        shards: dict[str, Sequence[units.Piece]] = {}
        written = {}
        for split in splits:
            found = units.shards(split.name, results, choices.shard_size(options))
            shards |= found
            if found:
                written[split.name] = [
                    sum(piece.stop - piece.start for piece in pieces) for pieces in found.values()
                ]
        self.shards = {name: {} for name in shards}  # also of a stage that fails
        elements = [(index, name, pieces) for index, (name, pieces) in enumerate(shards.items())]
        self.shards = dict(zip(shards, self._stage("join", elements), strict=True))
        return written

    def shards_elsewhere(self) -> Mapping[str, str]:
        """Returns {name: SHA-256} of shards in a bucket."""
        if not self._url:
            return {}
        return {name: shard["sha256"] for name, shard in self.shards.items()}

    def _stage(self, name: str, elements: Sequence[Any]) -> list[Any]:
        """Returns the results of a stage, in the order of its elements.

        Raises:
          UserError: a worker's, Beam's, or elements were lost.
        """
        if not elements:
            return []
        with self._counted(name, len(elements)):
            _run(self._beam_options, functools.partial(work.do, name, self._job), elements)
        errors = Place(paths.join(self._place.root, work.ERRORS))
        for error in sorted(errors.names()):
            raise UserError((errors.read(error) or b"").decode())
        found = [self._place.read(work.result_name(name, index)) for index in range(len(elements))]
        lost = sum(result is None for result in found)
        if lost:
            raise UserError(
                f"--beam_options: {lost} of {len(elements)} parts of the stage {name!r} did not "
                "come back; of Beam's own runner, direct_running_mode=multi_threading loses some"
            )
        return [json.loads(result) for result in found if result is not None]

    @contextlib.contextmanager
    def _counted(self, name: str, number: int) -> Iterator[None]:
        """Shows how many results are there, while the block runs."""
        results = Place(paths.join(self._place.root, name))
        for old in results.names():  # of the same stage, done before with less known
            paths.remove(paths.join(results.root, old))
        done = threading.Event()
        interval = 30 if paths.is_url(self._place.root) or not sys.stderr.isatty() else 1
        bar = tqdm(total=number, desc=f"beam: {name}", unit=" parts", mininterval=0)

        def watch() -> None:
            while not done.wait(interval):
                bar.update(len(results.names()) - bar.n)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            with bar:
                yield
                done.set()
                watcher.join()
                bar.update(len(results.names()) - bar.n)
        finally:
            done.set()


class _Gathered:
    """What the files of a source hold together, for the decisions before images are read."""

    vocabulary: Vocabulary | None = None

    def __init__(self, name: str, looks: Sequence[units.Look], order: Sequence[str]) -> None:
        self.name = name
        self._looks, self._order = looks, order
        self.bad = [(where, reason) for look in looks for where, reason in look.bad]

    def splits(self) -> dict[str, int]:
        counts = _sum(self._looks)
        return {name: counts[name] for name in self._order or counts if counts.get(name)}

    def notes(self) -> Iterator[str]:
        # What two files say alike differs in the example: the first serves, as in one process.
        found: dict[str, str] = {}
        for note in itertools.chain.from_iterable(look.notes for look in self._looks):
            found.setdefault(note.partition(", e.g. ")[0], note)
        yield from found.values()

    def captions_by_key(self, split: str) -> Iterator[tuple[str, Any]]:
        """Yields the keys alone, where they are few."""
        return ((key, ()) for look in self._looks for key in look.keys)

    def stream(self, split: str) -> Iterator[Example]:
        raise NotImplementedError("the workers read the images")

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        raise NotImplementedError("the workers read the images")

    def captions(self, split: str) -> Iterator[str]:
        raise NotImplementedError("the workers read the captions")


def _sum(looks: Sequence[units.Look]) -> dict[str, int]:
    counts: collections.Counter[str] = collections.Counter()
    for look in looks:
        counts.update(look.counts)
    return dict(counts)


def _read_names(source: Source) -> None:
    """Looks for all image files, as the workers do: what is said of their names is said here."""
    for split, number in source.splits().items():
        for _ in source.examples(split, 0, number):
            pass


@contextlib.contextmanager
def _listed(options: PrepareOptions) -> Iterator[tuple[Any, Any]]:
    """Yields flags with paths of this machine for `--files`, and a function from path to original.

    Of a bucket's files empty ones stand here: only their names are looked at.
    """
    flags = work.local_flags(options)
    given = getattr(flags, "files", None)
    if not (isinstance(given, str) and paths.is_url(given)):
        yield flags, lambda path: path
        return
    with tempfile.TemporaryDirectory(prefix="t2igan-") as name:
        root = Path(name)
        here: dict[str, str] = {}
        flags.files = ",".join(
            str(_stand_in(root / str(index), part.strip(), here))
            for index, part in enumerate(re.split(r",(?![^{]*\})", given))  # outside of braces
        )
        yield flags, lambda path: here[str(path)]


def _stand_in(root: Path, url: str, here: dict[str, str]) -> Path:
    folder, names, pattern = paths.listing(url)
    base = root / folder.rstrip("/").rpartition("/")[2]
    for name in names:
        path = base / name if name else base
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        here[str(path)] = paths.join(folder, name) if name else folder
    return base / pattern if pattern else base


def _beam() -> Any:
    try:
        import apache_beam
    except ImportError as error:
        raise UserError(f"--beam_options needs apache-beam: {INSTALL}") from error
    return apache_beam


def _run(beam_options: str, function: Any, elements: Sequence[Any]) -> None:
    """Runs a function on elements by Beam's runner, and waits.

    Raises:
      UserError: the options are wrong, or the job failed.
    """
    beam = _beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        quiet = "--default_sdk_harness_log_level=WARNING"
        pipeline = beam.Pipeline(options=PipelineOptions([quiet, *shlex.split(beam_options)]))
        # Spread anew after Create, which is one element to a runner.
        _ = pipeline | beam.Create(list(elements)) | beam.Reshuffle() | beam.Map(function)
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:  # a runner gives a worker's as it is, or as text in one of its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        reason = f"{type(error).__name__}: {lines[0][:300]}"
        raise UserError(f"--beam_options: the job failed: {reason}") from error
    if str(state) != "DONE":
        raise UserError(f"--beam_options: the job ended as {state}")
