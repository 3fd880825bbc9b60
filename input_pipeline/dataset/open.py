"""Opens a prepared data set: everything in the folder is checked before anything is used."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset.checks import (
    Damaged,
    Fields,
    check_sum,
    read_sums,
    read_table,
    read_text,
)
from input_pipeline.dataset.reader import Shard, ShardReader
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import Identity
from input_pipeline.text.vocabulary import Vocabulary

_TFDS_INFO = "dataset_info.json"
_FORMAT_VERSION = 1
_MAX_RECORDS = 1 << 32
_NAME = r"[A-Za-z][\w\-]{0,63}"
_SLICE = re.compile(r"(?P<name>[^\[\]]+)\[(?P<start>\d*%?):(?P<stop>\d*%?)\]", re.ASCII)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set.

    Attributes:
      path: its folder.
      image_size: S, pixels.
      caption_length: L, codes of a caption.
      vocabulary: words and their codes.
      word_vectors: float32 [V, D], row k for code k.
      splits: number of images in each split.
      hash: changes when a record, a word or a word vector does.
      sentence_encoder: whose embeddings of the captions it holds, or None.
    """

    path: Path
    image_size: int
    caption_length: int
    vocabulary: Vocabulary
    word_vectors: np.ndarray
    splits: dict[str, int]
    hash: str
    _shards: dict[str, tuple[Shard, ...]] = dataclasses.field(repr=False)
    sentence_encoder: Identity | None = None

    def source(self, split: str, sentences: bool = False) -> ShardReader:
        """Random access to the records of a split: `train`, or a part of it: `train[:85%]`.

        Args:
          split: of the data set.
          sentences: read the embeddings of the captions too.

        Raises:
          UserError: there is no such split, the part is empty, a shard is damaged, or embeddings
            are wanted and there are none.
        """
        if sentences:
            self.require_sentences()
        match = _SLICE.fullmatch(split)
        name = match["name"] if match else split
        if name not in self.splits:
            raise UserError(
                f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}, and parts "
                f"of them like {next(iter(self.splits))}[:85%]"
            )
        total = self.splits[name]
        start = _bound(match["start"], total, 0) if match else 0
        stop = _bound(match["stop"], total, total) if match else total
        if start >= stop:
            raise UserError(f"the split {split!r} holds no image; {name} has {total}")
        return ShardReader(
            self._shards[name],
            image_size=self.image_size,
            caption_length=self.caption_length,
            vocab_size=len(self.vocabulary),
            start=start,
            stop=stop,
            sentence_shape=self.sentence_encoder.shape
            if sentences and self.sentence_encoder
            else (),
        )

    def require_sentences(self) -> Identity:
        """Returns whose sentence embeddings the captions have.

        Raises:
          UserError: they have none.
        """
        if self.sentence_encoder is None:
            raise UserError(
                f"{self.path} has no sentence embeddings: prepare it again with "
                "--sentence_encoder=minilm, or another encoder"
            )
        return self.sentence_encoder


def _bound(text: str, total: int, default: int) -> int:
    if text in ("", "%"):
        return default
    number = int(text.rstrip("%")[:18])
    return min(total, round(total * number / 100) if text.endswith("%") else number)


def open_dataset(path: str | Path) -> Dataset:
    """Returns the data set that `prepare` made at `path`.

    Raises:
      UserError: there is none, it was not finished, it is damaged, or of another version.
    """
    path = Path(path)
    _refuse_unfinished(path)
    try:
        report = Fields(path / dataset_folder.REPORT)
        image_size = report.integer("image_size", 1, 4096)
        caption_length = report.integer("caption_length", 2, 4096)
        fingerprint = _check_files(path, report)
        encoder = _read_encoder(path, report)
        shards = _read_shards(path)
        vocabulary = Vocabulary.from_json(read_text(path / dataset_folder.VOCABULARY))
        word_vectors = _read_word_vectors(path / dataset_folder.WORD_VECTORS, len(vocabulary))
    except Damaged as error:
        raise UserError(
            f"{error}: restore the file or prepare the data set again; "
            f"`sha256sum -c {dataset_folder.CHECKSUMS}` in its folder checks all files"
        ) from error
    return Dataset(
        path=path,
        image_size=image_size,
        caption_length=caption_length,
        vocabulary=vocabulary,
        word_vectors=word_vectors,
        splits={name: sum(shard.num_records for shard in files) for name, files in shards.items()},
        hash=fingerprint,
        _shards=shards,
        sentence_encoder=encoder,
    )


def _refuse_unfinished(path: Path) -> None:
    advice = f"make one with `t2igan prepare ... --out={path}`"
    try:
        path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"there is no data set at {path} ({reason}): {advice}") from error
    if not path.is_dir():
        raise UserError(f"{path} is a file; a data set is a folder: {advice}")
    if not (path / dataset_folder.REPORT).is_file():
        raise UserError(
            f"{path} is not a finished data set, it has no {dataset_folder.REPORT}: {advice}"
        )


def _check_files(path: Path, report: Fields) -> str:
    """The fingerprint, which the sums of all files have to give; the small ones are summed anew.

    ArrayRecord has hashes of its own for what is in the shards.
    """
    sums = read_sums(path / dataset_folder.CHECKSUMS)
    fingerprint = dataset_folder.dataset_hash(sums)
    if report.text("fingerprint", r"\w{1,256}") != fingerprint:
        raise Damaged(f"{path / dataset_folder.CHECKSUMS} does not belong to this data set")
    for name in (_TFDS_INFO, dataset_folder.VOCABULARY, dataset_folder.WORD_VECTORS):
        check_sum(path / name, sums)
    return fingerprint


def _read_encoder(path: Path, report: Fields) -> Identity | None:
    fields = report.get("sentence_encoder")
    try:
        return None if fields is None else Identity.from_json(fields)
    except ValueError as error:
        raise Damaged(f"{path / dataset_folder.REPORT}: sentence_encoder: {error}") from error


def _read_word_vectors(path: Path, vocab_size: int) -> np.ndarray:
    table = read_table(path)
    if len(table) != vocab_size or not table.size:
        raise Damaged(f"{path} has {len(table)} rows for a vocabulary of {vocab_size} words")
    return table


def _read_shards(path: Path) -> dict[str, tuple[Shard, ...]]:
    info = Fields(path / _TFDS_INFO)
    version = info.text("version", r"\d{1,6}\.\d{1,6}\.\d{1,6}")
    if int(version.split(".")[0]) != _FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}; this t2igan reads {_FORMAT_VERSION}.x: "
            "prepare the data set again"
        )
    name = info.text("name", _NAME)
    splits = info.get("splits")
    if not isinstance(splits, list) or not splits:
        raise Damaged(f"{path / _TFDS_INFO}: splits must be a list of at least one split")
    shards: dict[str, tuple[Shard, ...]] = {}
    for split in splits:
        split_name, lengths = _read_split(path, split)
        shards[split_name] = tuple(
            Shard(path / f"{name}-{split_name}.array_record-{i:05d}-of-{len(lengths):05d}", length)
            for i, length in enumerate(lengths)
        )
    return shards


def _read_split(path: Path, split: Any) -> tuple[str, list[int]]:
    """Name of a split, and the number of records in each of its shards."""
    name, lengths = (
        (split.get("name"), split.get("shardLengths")) if isinstance(split, dict) else (None, None)
    )
    if not isinstance(name, str) or not re.fullmatch(_NAME, name, re.ASCII):
        raise Damaged(f"{path / _TFDS_INFO}: a split has no proper name")
    # Protocol buffers write 64-bit integers as JSON strings.
    if (
        not isinstance(lengths, list)
        or not lengths
        or not all(isinstance(n, str) and re.fullmatch(r"[0-9]{1,13}", n) for n in lengths)
        or not all(0 < int(n) <= _MAX_RECORDS for n in lengths)
    ):
        raise Damaged(f"{path / _TFDS_INFO}: split {name} must list its shards' lengths")
    return name, [int(n) for n in lengths]
