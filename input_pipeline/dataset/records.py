"""Records: an image with all its captions, as bytes and as arrays."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from input_pipeline.text.sentence_encoders import SENTENCE_DTYPE

CODE_DTYPE = np.dtype("<u2")  # 34 bytes a caption of 17 codes
MAX_VOCAB_SIZE = int(np.iinfo(CODE_DTYPE).max) + 1


@dataclasses.dataclass(frozen=True)
class Record:
    """One image with all its captions, as it lies in a shard.

    Attributes:
      key: unique within its split.
      image: uint8 [S, S, 3] RGB.
      captions: uint16 [n, L] word codes, n >= 1.
      sentences: float16 [n, E] embedding of each caption, or None where there is no encoder.
      texts: the n captions as they were written, or None where only codes are known.
    """

    key: str
    image: np.ndarray
    captions: np.ndarray
    sentences: np.ndarray | None = None
    texts: tuple[str, ...] | None = None


def encode(record: Record) -> bytes:
    """Returns a record as it lies in a shard: a serialized tf.train.Example, its features sorted.

    The bytes are those of TFDS's own serializer for `shards.features`; that one takes four times
    as long.
    """
    values = {
        "captions": [record.captions.astype(CODE_DTYPE, copy=False).tobytes()],
        "image": [record.image.tobytes()],
        "key": [record.key.encode()],
    }
    if record.sentences is not None:
        values["sentences"] = [record.sentences.astype(SENTENCE_DTYPE, copy=False).tobytes()]
    if record.texts is not None:
        values["texts"] = [text.encode() for text in record.texts]
    example = _example_class()()
    for name, value in values.items():
        example.features.feature[name].bytes_list.value.extend(value)
    return bytes(example.SerializeToString(deterministic=True))


@functools.cache
def _example_class() -> Any:
    # Late: this imports tensorflow_datasets, which takes about a second.
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example


def decode_texts(data: bytes) -> tuple[str, ...]:
    """Returns the captions of a shard's bytes as they were written; () where it has codes alone.

    Raises:
      ValueError: the bytes are no record.
    """
    try:
        feature = _example_class().FromString(data).features.feature
    except _decode_error() as error:
        raise ValueError(f"not a record: {error}") from error
    values = feature["texts"].bytes_list.value if "texts" in feature else ()
    return tuple(value.decode("utf-8", "replace") for value in values)


def decode(data: bytes, image_size: int, caption_length: int, sentence_dim: int = 0) -> Record:
    """Returns the record in a shard's bytes; its arrays are read-only views of them.

    More than 200,000 a second on one core: nothing is decompressed or copied.

    Args:
      data: a serialized tf.train.Example with the features of `shards.features`.
      image_size: S, pixels.
      caption_length: L, codes.
      sentence_dim: E, numbers of a sentence embedding; 0 where there are none to read.

    Raises:
      ValueError: the bytes are not such a record, or of other sizes.
    """
    try:
        feature = _example_class().FromString(data).features.feature
        key, image, captions = (
            feature[name].bytes_list.value[0] for name in ("key", "image", "captions")
        )
        record = Record(
            key=key.decode(),
            image=np.frombuffer(image, np.uint8).reshape(image_size, image_size, 3),
            captions=np.frombuffer(captions, CODE_DTYPE).reshape(-1, caption_length),
        )
        if not sentence_dim:
            return record
        sentences = np.frombuffer(feature["sentences"].bytes_list.value[0], SENTENCE_DTYPE)
        shape = len(record.captions), sentence_dim
        return dataclasses.replace(record, sentences=sentences.reshape(shape))
    except (ValueError, IndexError, _decode_error()) as error:
        raise ValueError(
            f"not a record of {image_size}x{image_size} pixels and {caption_length} codes: {error}"
        ) from error


@functools.cache
def _decode_error() -> type[Exception]:
    from google.protobuf.message import DecodeError

    return DecodeError
