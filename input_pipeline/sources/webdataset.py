"""Tar files of images and captions by key, as img2dataset writes them.

    t2igan prepare --source=webdataset --files="shards/{00000..00099}.tar" --out=DATASET

`a/0001.jpg`, `a/0001.txt` and `a/0001.json` of one tar, one after another, are one example. The
captions are in the .txt, or in the .json's "caption". Read from front to back, twice: nothing is
unpacked.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from input_pipeline.errors import UserError
from input_pipeline.images.decode import MAX_BYTES, Rejected
from input_pipeline.readers import rows as kinds
from input_pipeline.readers import shard_files, text_files
from input_pipeline.readers.caption_groups import CaptionGroups
from input_pipeline.readers.file_names import SUFFIXES
from input_pipeline.sources.base import Example, OneFile

KEYS_ARE_PLACES = False
_TEXTS = (".txt", ".caption", ".json")
_MAX_TEXT_BYTES = 1 << 20


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    parser.add_argument(
        "--files",
        metavar="FILES",
        help="folder, files or patterns of .tar, e.g. shards/{00000..00099}.tar",
    )


def open_source(args: argparse.Namespace) -> WebdatasetSource:
    """Returns the source that the flags name, its captions gathered.

    Raises:
      UserError: a file is missing or is no tar, or none has an image.
    """
    found = files(args)
    source = WebdatasetSource([(path, split or "train") for path, split in found])
    if not source.splits():
        raise UserError(
            f"{found[0][0]}: no image in {len(found)} files; members like 0001.jpg and "
            "0001.txt are expected"
        )
    return source


def files(args: argparse.Namespace) -> list[tuple[Path, str]]:
    """Returns the files that the flags name, each with the split that its name says, or "".

    Raises:
      UserError: none is there.
    """
    given = args.files or getattr(args, "images", None)
    if not given:
        raise UserError('--source=webdataset needs --files="shards/{00000..00099}.tar"')
    found = shard_files.find(given, (".tar", ".tar.gz", ".tgz"))
    named = {split for _, split in found if split}
    if len(named) == 1 and "train" not in named and all(split for _, split in found):
        return [(path, "") for path, _ in found]  # one split, and it is another: for training
    return found


def open_file(args: argparse.Namespace, one: OneFile) -> WebdatasetSource:
    """Returns the source of one file; its captions are not gathered before they are asked for."""
    return WebdatasetSource([(one.path, one.split or "train")], one.number)


class WebdatasetSource:
    """Examples of tar files; see `sources.base.Source`.

    An example's key is its tar's name and its key in it.

    Attributes:
      bad: (where, reason): tars that are cut off.
    """

    name = "webdataset"
    vocabulary = None

    def __init__(self, files: list[tuple[Path, str]], number: int | None = None) -> None:
        """Reads nothing yet.

        Args:
          files: (path, split).
          number: files of the whole source.
        """
        self._files = files
        self._number = number or len(files)
        self.bad: list[tuple[str, str]] = []
        self._counts: collections.Counter[str] = collections.Counter()
        self._encodings = text_files.Encodings()

    @functools.cached_property
    def _groups(self) -> CaptionGroups:
        return CaptionGroups(None, self._gathered())

    def splits(self) -> dict[str, int]:
        """Returns the number of examples of each split; all are for training where none is said."""
        _ = self._groups
        return dict(self._counts)

    def notes(self) -> Iterator[str]:
        """Yields lines for the summary."""
        yield f"{self._number} tar files"
        yield from self._encodings.notes()

    def stream(self, split: str) -> Iterator[Example]:
        """Yields the examples of a split, from front to back."""
        for path, named in self._files:
            if named == split:
                for key, members in _examples(path, lambda suffix: True, []):
                    yield Example(key, _image(members), self._captions(key, members))

    def captions_by_key(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields (key, captions) of the examples of a split; the tars are not read again."""
        groups = self._groups
        for key, _, captions in groups.read(0, self._counts[split], split):
            yield str(key), tuple(captions)

    def _gathered(self) -> Iterator[tuple[str, str, str, str]]:
        for path, split in tqdm(self._files, desc="captions", unit=" tars", delay=2):
            for key, members in _examples(path, lambda suffix: suffix in _TEXTS, self.bad):
                self._counts[split] += 1
                for caption in self._captions(key, members) or ("",):
                    yield key, caption, split, key

    def _captions(self, key: str, members: dict[str, bytes | None]) -> tuple[str, ...]:
        """The lines of the first text that has any; else the .json's."""
        for suffix in _TEXTS:
            data = members.get(suffix)
            if data is None or len(data) > _MAX_TEXT_BYTES:
                continue
            text, encoding = text_files.decode(data)
            if suffix == ".json":
                try:
                    captions = kinds.caption_texts(json.loads(text)) or ()
                except (ValueError, RecursionError):
                    captions = ()
            else:
                captions = tuple(text.splitlines())
            kept = tuple(text_files.whole(line.strip()) for line in captions if line.strip())
            if kept:
                self._encodings.add(f"{key}{suffix}", encoding)
                return kept
        return ()


def _examples(
    path: Path, wanted: Callable[[str], bool], bad: list[tuple[str, str]]
) -> Iterator[tuple[str, dict[str, bytes | None]]]:
    """(key, {suffix: bytes}) of each example of a tar; None for bytes that are not wanted.

    A tar that is cut off gives what is whole in it.
    """
    current, members = None, dict[str, bytes | None]()
    stem = path.name.partition(".")[0]
    try:
        # A plain tar's images can be passed over; a compressed one is read in full.
        mode: Any = "r:" if path.suffix.lower() == ".tar" else "r|*"
        with tarfile.open(path, mode) as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                name, _, suffix = base.partition(".")
                suffix = "." + suffix.lower()
                if not member.isreg() or not name or suffix not in (*_TEXTS, *SUFFIXES):
                    continue
                key = f"{stem}/{folder}/{name}" if folder not in ("", ".") else f"{stem}/{name}"
                if key != current:
                    if current is not None and members:
                        yield current, members
                    current, members = key, {}
                members[suffix] = _bytes(archive, member) if wanted(suffix) else None
                archive.members = []  # type: ignore[attr-defined]  # or all headers stay in memory
            if mode == "r:" and not _is_ended(archive):
                bad.append((path.name, "truncated_archive"))
    except (tarfile.TarError, OSError, EOFError, ValueError, MemoryError) as error:
        if current is None:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} is no tar, or damaged: {reason}") from error
        bad.append((path.name, "truncated_archive"))
        members = {}  # the last is not whole
    if current is not None and members:
        yield current, members


def _is_ended(archive: Any) -> bool:
    """Whether a tar that was read to its end has the zeros that end one."""
    archive.fileobj.seek(archive.offset)
    return bool(archive.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE))


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        return b""
    data = file.read(MAX_BYTES + 1)
    if len(data) < min(member.size, MAX_BYTES + 1):
        raise EOFError("the file is cut off")
    return data


def _image(members: dict[str, bytes | None]) -> bytes | Rejected:
    found = next((data for suffix, data in members.items() if suffix in SUFFIXES), None)
    return Rejected("missing") if found is None else found
