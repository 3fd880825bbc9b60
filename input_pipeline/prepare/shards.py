"""Records -> ArrayRecord shards, as a TFDS data set, without TensorFlow.

Imports tensorflow_datasets, which takes a second: import this module where shards are written.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from input_pipeline.dataset.records import CODE_DTYPE, Record, encode
from input_pipeline.text.sentence_encoders import SENTENCE_DTYPE

NAME = "captioned_images"
# One record a chunk for random access. Photographs as pixels shrink by 2 % under zstd, and reading
# them back would cost a third more time.
_WRITER_OPTIONS = "group_size:1,uncompressed"


def features(
    image_size: int, caption_length: int, sentence_dim: int = 0, texts: bool = False
) -> tfds.features.FeaturesDict:
    """Returns the TFDS features of a record: key, image uint8 [S, S, 3], captions uint16 [n, L].

    Where `sentence_dim` is not 0, sentences float16 [n, E] too; with `texts` the captions as they
    were written. The arrays are stored as raw bytes:
    TFDS would otherwise widen every code to eight bytes.
    """
    tensor = functools.partial(tfds.features.Tensor, encoding="bytes")
    known = {
        "key": tfds.features.Text(),
        "image": tensor(shape=(image_size, image_size, 3), dtype=np.uint8),
        "captions": tensor(shape=(None, caption_length), dtype=CODE_DTYPE.type),
    }
    if sentence_dim:
        known["sentences"] = tensor(shape=(None, sentence_dim), dtype=SENTENCE_DTYPE.type)
    if texts:
        known["texts"] = tfds.features.Sequence(tfds.features.Text())
    return tfds.features.FeaturesDict(known)


def record_writer(path: Path) -> Any:
    """Returns what writes bytes of records into a file; `close` ends it."""
    return array_record_module.ArrayRecordWriter(os.fspath(path), _WRITER_OPTIONS)


class SplitWriter:
    """Writes the records of one split, shard by shard; a shard's file is made at its first record.

    Attributes:
      lengths: records in each shard that was begun.
    """

    def __init__(self, folder: Path, split: str, image_size: int, caption_length: int) -> None:
        """Writes nothing yet.

        Args:
          folder: of the data set, exists.
          split: its name.
          image_size: S of every record, pixels.
          caption_length: L of every record, codes.
        """
        self._image = image_size, image_size, 3
        self._length = caption_length
        self.lengths: list[int] = []
        self._folder, self._split = folder, split
        self._writer: Any = None

    def write(self, record: Record) -> None:
        """Appends a record to the shard.

        Raises:
          ValueError: it has other sizes.
          OSError or RuntimeError: the disk is full or cannot be written.
        """
        if record.image.shape != self._image or record.image.dtype != np.uint8:
            raise ValueError(f"{record.key}: image is {record.image.shape}, not {self._image}")
        if record.captions.shape[1:] != (self._length,):
            raise ValueError(f"{record.key}: captions are {record.captions.shape}, not [n, L]")
        if self._writer is None:
            self._writer = record_writer(self._part(len(self.lengths)))
            self.lengths.append(0)
        self._writer.write(encode(record))
        self.lengths[-1] += 1

    def end_shard(self) -> None:
        """Ends the shard, if one was begun: the next record begins another.

        Raises:
          OSError or RuntimeError: as `write`, whose failures may show here alone.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def finish(self) -> None:
        """Ends the last shard and gives all their names."""
        self.end_shard()
        for index in range(len(self.lengths)):
            name = shard_name(self._split, index, len(self.lengths))
            self._part(index).rename(self._folder / name)

    def _part(self, index: int) -> Path:
        return self._folder / f"{self._split}-{index:05d}.tmp"


def shard_name(split: str, index: int, number: int) -> str:
    """Returns the file name of a shard, as TFDS names them.

    Args:
      split: its split.
      index: from 0.
      number: shards of the split.
    """
    return f"{NAME}-{split}.array_record-{index:05d}-of-{number:05d}"


def write_metadata(
    folder: Path,
    lengths: Mapping[str, Sequence[int]],
    *,
    image_size: int,
    caption_length: int,
    sentence_dim: int = 0,
    texts: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Writes what makes a folder with shards a TFDS data set: dataset_info.json, features.json.

    Args:
      folder: holds shards, named by `shard_name`.
      lengths: of each split, the records in each of its shards.
      image_size, caption_length, sentence_dim, texts: see `write_shards`.
      sizes: bytes of each shard by its name, where they lie elsewhere.
    """

    def size(name: str) -> int:
        return (folder / name).stat().st_size if sizes is None else sizes[name]

    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=NAME, filetype_suffix="array_record"
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(shards),
            num_bytes=sum(
                size(shard_name(split, index, len(shards))) for index in range(len(shards))
            ),
            filename_template=template.replace(split=split),
        )
        for split, shards in lengths.items()
    ]
    # TFDS looks for the shards' names.
    absent = [path for name in sizes or () if not (path := folder / name).exists()]
    for path in absent:
        path.touch()
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features(image_size, caption_length, sentence_dim, texts),
        split_infos=splits,
        filename_template=template,
        version="1.0.0",
        check_data=False,
        description="Images with their captions as word codes.",
    )
    for path in absent:
        path.unlink()


def write_shards(
    folder: Path,
    splits: Mapping[str, Sequence[Iterable[Record]]],
    *,
    image_size: int,
    caption_length: int,
    sentence_dim: int = 0,
    texts: bool = False,
) -> dict[str, list[int]]:
    """Returns the records in each shard of each split, after writing them into `folder`.

    `tfds.builder_from_directory(folder)` reads the result. Shards that turn out empty, and splits
    of such shards, are left out.

    Args:
      folder: exists; shards and TFDS's two JSON files are put straight into it.
      splits: for each split its shards in order, each an iterable that is read once.
      image_size: S of every record, pixels.
      caption_length: L of every record, codes.
      sentence_dim: E of every record, numbers of a sentence embedding; 0 for none.
      texts: whether every record has its captions as they were written.

    Raises:
      OSError or RuntimeError: the disk is full or cannot be written.
    """
    lengths: dict[str, list[int]] = {}
    for split, shards in splits.items():
        writer = SplitWriter(folder, split, image_size, caption_length)
        try:
            for records in shards:
                for record in records:
                    writer.write(record)
                writer.end_shard()
        finally:
            writer.end_shard()
        writer.finish()
        if writer.lengths:
            lengths[split] = writer.lengths
    write_metadata(
        folder,
        lengths,
        image_size=image_size,
        caption_length=caption_length,
        sentence_dim=sentence_dim,
        texts=texts,
    )
    return lengths
