"""What a worker does with one element: a stage's function, whose result is left in the job's place.

A result is a file, so that a stage that is repeated, or done twice at once, changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError
from input_pipeline.files import sha256
from input_pipeline.prepare import build, units
from input_pipeline.prepare import options as choices
from input_pipeline.prepare.convert import Conversion
from input_pipeline.prepare.options import PrepareOptions
from input_pipeline.prepare.splits import SplitAssignment, plan
from input_pipeline.prepare.units import Piece, Unit
from input_pipeline.prepare.write import KEYS
from input_pipeline.text.sentence_encoders import open_encoder
from input_pipeline.text.vocabulary import Vocabulary
from t2igan.beam.place import Place, copied
from t2igan.runtime import paths

ERRORS = "errors"
_opened: dict[str, Any] = {}  # the source of the job that this process works for
_opening = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Job:
    """What all workers know; every stage adds to it.

    Attributes:
      options: of `prepare`, URLs as they were given.
      place: root of the folder of results.
      out: folder of the shards, or URL.
      sizes: images of each split of the source.
      division: of train into splits.
      words: of the vocabulary.
      caption_length: L.
      placeholders: digests of images that stand for none.
    """

    options: PrepareOptions
    place: str
    out: str
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    division: SplitAssignment | None = None
    words: tuple[str, ...] = ()
    caption_length: int = 0
    placeholders: frozenset[bytes] = frozenset()


def result_name(stage: str, index: int) -> str:
    """Returns where the result of a stage's element is."""
    return f"{stage}/{index:08d}.json"


def do(stage: str, job: Job, element: Any) -> None:
    """Does a stage's work on an element; a UserError of it is kept for the one who waits."""
    place = Place(job.place)
    index = element[0] if isinstance(element, tuple) else element.index
    try:
        STAGES[stage](job, place, element)
    except UserError as error:
        place.write(f"{ERRORS}/{stage}-{index:08d}", str(error).encode())


def _look(job: Job, place: Place, unit: Unit) -> None:
    with _source(job, unit) as source:
        found = units.look(source, job.division, choices.FEW)
    place.write(result_name("look", unit.index), json.dumps(vars(found)).encode())


def _digests(job: Job, place: Place, unit: Unit) -> None:
    with _source(job, unit) as source:
        found = [[content.hex(), path.hex()] for content, path in units.digests(source, unit)]
    place.write(result_name("digests", unit.index), json.dumps(found).encode())


def _convert(job: Job, place: Place, unit: Unit) -> None:
    assert job.division is not None  # decided before
    with _source(job, unit) as source, tempfile.TemporaryDirectory(prefix="t2igan-") as name:
        folder = Path(name)
        result = units.convert_unit(
            source,
            unit,
            plan(job.sizes, job.division),
            _conversion(job),
            choices.shard_size(job.options),
            folder,
        )
        files = [file for split in result["files"].values() for file in split]
        files.append(KEYS)
        place.put(folder, files, f"units/{unit.index:08d}")
    place.write(result_name("convert", unit.index), json.dumps(result).encode())


def _join(job: Job, place: Place, element: tuple[int, str, Sequence[Piece]]) -> None:
    index, name, pieces = element
    with (
        contextlib.ExitStack() as stack,
        tempfile.TemporaryDirectory(prefix="t2igan-") as folder,
    ):
        files = [
            (stack.enter_context(place.opened(piece_name(piece))), piece.start, piece.stop)
            for piece in pieces
        ]
        path = Path(folder) / name
        units.join(files, path)
        result = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        Place(job.out).put(Path(folder), [name])
    place.write(result_name("join", index), json.dumps(result).encode())


def piece_name(piece: Piece) -> str:
    """Returns where a file of records of `convert` is."""
    return f"units/{piece.unit:08d}/{piece.file}"


STAGES: dict[str, Callable[[Job, Place, Any], None]] = {
    "look": _look,
    "digests": _digests,
    "convert": _convert,
    "join": _join,
}


@contextlib.contextmanager
def _source(job: Job, unit: Unit) -> Iterator[Any]:
    """The source of a unit's file alone; else the whole source, opened once a process."""
    if unit.file is None:
        with _opening:
            if job.place not in _opened:
                _opened.clear()
                _opened[job.place] = open_whole(job.options)
        yield _opened[job.place]
        return
    module = build.source_module(job.options.source)
    with copied(str(unit.file.path)) as path:
        one = dataclasses.replace(unit.file, path=path)
        yield module.open_file(local_flags(job.options), one)


def open_whole(options: PrepareOptions) -> Any:
    """Returns the source, what it reads from buckets staged on this machine."""
    return build.open_source(options, local_flags(options))


def local_flags(options: PrepareOptions) -> argparse.Namespace:
    """Returns what `open_source` takes, with paths of this machine for URLs."""
    flags = options.flags_of_source()
    for name in options.source_flags:
        value = getattr(flags, name)
        if isinstance(value, str) and paths.is_url(value) and name != "files":
            setattr(flags, name, str(paths.local(value)))
    return flags


@functools.lru_cache(maxsize=1)
def _vocabulary(words: tuple[str, ...]) -> Vocabulary:
    return Vocabulary(words)


@functools.lru_cache(maxsize=1)
def _encoder(name: str, tokens: int) -> Any:
    return open_encoder(name, tokens)


def _conversion(job: Job) -> Conversion:
    options = job.options
    return Conversion(
        image_size=options.image_size,
        resize=options.resize,
        resampling=options.resampling,
        vocabulary=_vocabulary(job.words),
        caption_length=job.caption_length,
        placeholders=job.placeholders,
        sentence_encoder=_encoder(options.sentence_encoder, options.caption_tokens)
        if options.sentence_encoder
        else None,
    )
