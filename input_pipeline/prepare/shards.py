"""Records -> ArrayRecord shards, as a TFDS data set, without TensorFlow.

Imports tensorflow_datasets, which takes a second: import this module where shards are written.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline.dataset.records import CODE_DTYPE, Record
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


class _ShardFile:
    """Writes one shard (the interface of TFDS's ExampleWriter)."""

    file_format = "array_record"

    def write(self, path: os.PathLike[str], examples: Iterable[tuple[str, bytes]]) -> None:
        examples = iter(examples)
        first = next(examples, None)
        if first is None:  # removed later; an ArrayRecord of no record would take 128 KiB
            Path(path).touch()
            return
        writer = array_record_module.ArrayRecordWriter(os.fspath(path), _WRITER_OPTIONS)
        try:
            for _, serialized in itertools.chain([first], examples):
                writer.write(_in_fixed_order(serialized))
        finally:
            # Also raises what the writes before it could not: a full disk, for one.
            writer.close()


def _in_fixed_order(serialized: bytes) -> bytes:
    """The same record, its features sorted: TFDS writes them in an order drawn by each process."""
    example = tf_example_pb2.Example.FromString(serialized)
    return example.SerializeToString(deterministic=True)


with tfds.core.registered.skip_registration():

    class _CaptionedImages(tfds.core.ShardBasedBuilder):
        """Not GeneratorBasedBuilder: that one spills through TensorFlow above 1000 MiB a split."""

        name = NAME
        VERSION = tfds.core.Version("1.0.0")
        # Else TFDS looks beside this file for URL checksums, through a package it does not require.
        code_path = None

        def __init__(
            self,
            splits: Mapping[str, Sequence[Iterable[Record]]],
            image_size: int,
            caption_length: int,
            sentence_dim: int,
            texts: bool,
            **kwargs: Any,
        ) -> None:
            self._splits = splits
            self._record_features = features(image_size, caption_length, sentence_dim, texts)
            super().__init__(**kwargs)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Images with their captions as word codes.",
                features=self._record_features,
            )

        def _shard_iterators_per_split(self, dl_manager: Any) -> Mapping[str, Sequence[Any]]:
            del dl_manager  # nothing is downloaded
            return {
                split: [functools.partial(_examples, shard) for shard in shards]
                for split, shards in self._splits.items()
            }

        def _example_writer(self) -> _ShardFile:
            return _ShardFile()

        def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
            super()._download_and_prepare(*args, **kwargs)
            kept = [_without_empty(split) for split in self.info.splits.values()]
            self.info.set_splits(tfds.core.SplitDict([split for split in kept if split]))


def _examples(shard: Iterable[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((record.key, record.example()) for record in shard)


def _without_empty(split: tfds.core.SplitInfo) -> tfds.core.SplitInfo | None:
    """The split after its files with no record are gone and the others counted anew."""
    template = split.filename_template
    paths = [Path(path) for path in split.filepaths]
    kept = [path for path, length in zip(paths, split.shard_lengths, strict=True) if length]
    for path in set(paths) - set(kept):
        path.unlink()
    for index, path in enumerate(kept):
        # Numbers only shrink, so no file is renamed onto another that is still to be moved.
        path.rename(template.sharded_filepath(shard_index=index, num_shards=len(kept)))
    lengths = [length for length in split.shard_lengths if length]
    return split.replace(shard_lengths=lengths) if lengths else None


def write_shards(
    folder: Path,
    splits: Mapping[str, Sequence[Iterable[Record]]],
    *,
    image_size: int,
    caption_length: int,
    sentence_dim: int = 0,
    texts: bool = False,
) -> dict[str, list[int]]:
    """Number of records in each shard of each split, after writing them into `folder`.

    `tfds.builder_from_directory(folder)` reads the result. One shard's records are held in memory
    at a time. Shards that turn out empty, and splits of such shards, are left out.

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
    scratch = folder / "tfds"
    builder = _CaptionedImages(
        splits,
        image_size,
        caption_length,
        sentence_dim,
        texts,
        data_dir=scratch,
        file_format="array_record",
    )
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces a download
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    for path in Path(builder.data_dir).iterdir():
        path.rename(folder / path.name)
    shutil.rmtree(scratch)
    return {name: list(info.shard_lengths) for name, info in builder.info.splits.items()}
