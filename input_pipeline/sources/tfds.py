"""A TFDS data set with an image and a text feature, already prepared as ArrayRecord.

    t2igan prepare --source=tfds --tfds_name=coco_captions --tfds_dir=DIR --out=DATASET

Nothing is downloaded: `tfds build coco_captions --file_format=array_record` does that. Images stay
encoded until prepare decodes them with its own checks.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.sources.base import Example

_DEFAULT_DIR = "~/tensorflow_datasets"
_USUAL_CAPTIONS = ("captions/text", "captions", "caption", "text")
_VALIDATION_NAMES = ("val", "valid", "dev")
_READ_TOGETHER = 64


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    add = parser.add_argument
    add("--tfds_name", metavar="NAME", help="NAME, NAME/CONFIG or NAME:VERSION")
    add("--tfds_dir", metavar="DIR", help=f"its data_dir (default {_DEFAULT_DIR})")
    add("--image_feature", metavar="NAME", help="which feature is the image (default: image)")
    add("--caption_feature", metavar="NAME", help="which text (default: captions/text)")


def open_source(args: argparse.Namespace) -> TfdsSource:
    """Returns the source that the flags name.

    Raises:
      UserError: there is no such data set or feature, or it is no ArrayRecord.
    """
    if not args.tfds_name:
        raise UserError("--source=tfds needs --tfds_name=NAME, e.g. --tfds_name=coco_captions")
    folder = Path(args.tfds_dir or _DEFAULT_DIR).expanduser()
    if not folder.is_dir():
        raise UserError(f"--tfds_dir={folder}: there is no such folder; give the set's data_dir")
    builder = _builder(args.tfds_name, folder)
    leaves = dict(sorted(_leaves(builder.info.features)))
    image = _chosen(args.image_feature, "image", _images(leaves), ("image",))
    caption = _chosen(args.caption_feature, "caption", _texts(leaves), _USUAL_CAPTIONS)
    sources = {
        name: _records(builder, args.tfds_name, name)
        for name, info in builder.info.splits.items()
        if info.num_examples
    }
    return TfdsSource(sources, image, caption)


def _builder(name: str, folder: Path) -> Any:
    # Late: a second.
    import tensorflow_datasets as tfds

    try:
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=folder)
    except Exception as error:  # damaged metadata raises what it likes
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"--tfds_name={name}: no data set could be read from {folder} ({reason[:300]}); "
            f"make it with `tfds build {name} --file_format=array_record`"
        ) from error


def _records(builder: Any, name: str, split: str) -> Sequence[bytes]:
    from tensorflow_datasets import decode

    try:
        method = decode.DeserializeMethod.RAW_BYTES
        return builder.as_data_source(split, deserialize_method=method)
    except Exception as error:
        raise UserError(
            f"--tfds_name={name}: its split {split} is not stored as ArrayRecord, or is damaged; "
            f"make it with `tfds build {name} --file_format=array_record`"
        ) from error


def _leaves(feature: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, feature) of all features within dictionaries and sequences."""
    if hasattr(feature, "items"):
        for name, inner in feature.items():
            yield from _leaves(inner, f"{path}/{name}" if path else name)
    elif hasattr(feature, "feature"):
        yield from _leaves(feature.feature, path)
    else:
        yield path, feature


def _images(leaves: Mapping[str, Any]) -> list[str]:
    import tensorflow_datasets as tfds

    return [
        path
        for path, feature in leaves.items()
        if isinstance(feature, tfds.features.Image) and feature.np_dtype == "uint8"
    ]


def _texts(leaves: Mapping[str, Any]) -> list[str]:
    import tensorflow_datasets as tfds

    return [path for path, feature in leaves.items() if isinstance(feature, tfds.features.Text)]


def _chosen(given: str | None, kind: str, found: list[str], usual: Sequence[str]) -> str:
    if given is not None:
        name = given if given in found else given.replace(".", "/")
        if name in found:
            return name
    else:
        usual_found = [name for name in usual if name in found]
        if usual_found or len(found) == 1:
            return (usual_found or found)[0]
    what = f"--{kind}_feature={given}: no such {kind}" if given else f"which {kind}?"
    raise UserError(
        f"{what}; the data set's are {', '.join(found) or 'none'}: choose with --{kind}_feature="
    )


class TfdsSource:
    """Images and captions of a TFDS data set; see `sources.base.Source`.

    An example's key is its split and its place in it.

    Args:
      records: serialized tf.train.Examples of each of the set's splits.
      image: path of the image feature.
      caption: path of the text feature.
    """

    name = "tfds"
    vocabulary = None

    def __init__(self, records: Mapping[str, Sequence[bytes]], image: str, caption: str) -> None:
        self._image = image
        self._caption = caption
        self._records: dict[str, Any] = {
            _our_name(name, records): source for name, source in records.items()
        }

    def splits(self) -> dict[str, int]:
        """Number of images in each split; what TFDS calls val is validation here."""
        return {name: len(records) for name, records in self._records.items()}

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Examples `start` to `stop` of a split, in the shards' order."""
        for first in range(start, stop, _READ_TOGETHER):
            indices = list(range(first, min(first + _READ_TOGETHER, stop)))
            for index, data in zip(indices, self._read(split, indices), strict=True):
                key = f"{split}-{index:08d}"
                image, captions = self._fields(data)
                yield Example(key, image, captions, file=f"{split}[{index}]")

    def captions(self, split: str) -> Iterator[str]:
        """Returns every caption of a split."""
        examples = self.examples(split, 0, len(self._records[split]))
        return itertools.chain.from_iterable(example.captions for example in examples)

    def _read(self, split: str, indices: list[int]) -> Sequence[bytes]:
        try:
            return self._records[split].__getitems__(indices)
        except (RuntimeError, OSError, ValueError, IndexError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"--source=tfds: records {indices[0]} to {indices[-1]} of {split} cannot be read "
                f"({reason[:300]}); build the data set again"
            ) from error

    def _fields(self, data: bytes) -> tuple[bytes | Rejected, tuple[str, ...]]:
        from google.protobuf.message import DecodeError
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            feature = tf_example_pb2.Example.FromString(data).features.feature
        except DecodeError:
            return Rejected("undecodable"), ()
        image = feature[self._image].bytes_list.value
        # TFDS writes sequences of sequences under another name.
        captions = [
            *feature[self._caption].bytes_list.value,
            *feature[f"{self._caption}/ragged_flat_values"].bytes_list.value,
        ]
        texts = tuple(caption.decode("utf-8", "replace") for caption in captions)
        return (image[0] if image else Rejected("missing")), texts


def _our_name(name: str, names: Mapping[str, Any]) -> str:
    is_validation = name in _VALIDATION_NAMES and "validation" not in names
    return "validation" if is_validation else name
