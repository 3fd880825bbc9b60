import contextlib
import dataclasses
import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline.dataset import records
from input_pipeline.prepare import shards

SIZE, LENGTH = 6, 5


def _record(index: int) -> records.Record:
    generator = np.random.default_rng(index)
    image = generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    captions = generator.integers(0, 2**16, (1 + index % 4, LENGTH)).astype(np.uint16)
    return records.Record(f"näme {index}", image, captions)


def _write(folder, splits):
    return shards.write_shards(folder, splits, image_size=SIZE, caption_length=LENGTH)


def _raw(folder, split):
    method = tfds.decode.DeserializeMethod.RAW_BYTES
    return tfds.builder_from_directory(folder).as_data_source(split, deserialize_method=method)


def test_what_is_written_is_read_by_tfds_and_without_it(tmp_path):
    given = [_record(index) for index in range(7)]
    assert _write(tmp_path, {"train": [given[:4], iter(given[4:])]}) == {"train": [4, 3]}
    by_tfds = tfds.builder_from_directory(tmp_path).as_data_source("train")
    by_us = [records.decode(data, SIZE, LENGTH) for data in _raw(tmp_path, "train")]
    assert len(by_tfds) == len(by_us) == 7
    for expected, read, decoded in zip(given, by_tfds, by_us, strict=True):
        assert read["key"].decode() == decoded.key == expected.key
        for name in ("image", "captions"):
            want = getattr(expected, name)
            np.testing.assert_array_equal(read[name], want)
            np.testing.assert_array_equal(getattr(decoded, name), want)
            assert read[name].dtype == getattr(decoded, name).dtype == want.dtype


def test_empty_shards_and_splits_are_left_out(tmp_path):
    holes = [[], [_record(0)], [], [], [_record(1), _record(2)], []]
    assert _write(tmp_path, {"train": holes, "test": [[], []]}) == {"train": [1, 2]}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "captioned_images-train.array_record-00000-of-00002",
        "captioned_images-train.array_record-00001-of-00002",
        "dataset_info.json",
        "features.json",
    ]
    keys = [
        item["key"].decode()
        for item in tfds.builder_from_directory(tmp_path).as_data_source("train")
    ]
    assert keys == [_record(index).key for index in range(3)]


def test_shards_are_read_once_one_after_the_other(tmp_path):
    taken = []

    def shard(start):
        for index in range(start, start + 2):
            taken.append(index)
            yield _record(index)

    _write(tmp_path, {"train": [shard(0), shard(2)], "test": [shard(4)]})
    assert taken == list(range(6))


def test_a_code_takes_two_bytes_and_nothing_is_compressed(tmp_path):
    record = records.Record("k", np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((3, LENGTH)))
    _write(tmp_path, {"train": [[record]]})
    (data,) = _raw(tmp_path, "train")
    payload = 3 * SIZE**2 + 3 * 2 * LENGTH
    assert payload < len(data) < payload + 80


def test_the_same_records_are_the_same_bytes(tmp_path):
    """protobuf's maps have another order in each process, unless they are sorted."""
    _write(tmp_path, {"train": [[_record(0)]]})
    (data,) = _raw(tmp_path, "train")
    example = tf_example_pb2.Example.FromString(data)
    assert data == example.SerializeToString(deterministic=True)


def test_nothing_is_printed_or_fetched(tmp_path, capfd, monkeypatch):
    def refuse(*args):
        raise AssertionError(f"a connection to {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    _write(tmp_path, {"train": [[_record(0)]]})
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Downloading" not in captured.err


def test_an_exception_in_a_shard_comes_through(tmp_path):
    def broken():
        yield _record(0)
        raise KeyError("a fault of the source")

    with pytest.raises(KeyError, match="a fault of the source"):
        _write(tmp_path, {"train": [broken()]})


@pytest.mark.parametrize("captions", [np.zeros((2, LENGTH + 1)), np.zeros(LENGTH)])
def test_captions_of_another_length_are_not_written(tmp_path, captions):
    record = records.Record("k", np.zeros((SIZE, SIZE, 3), np.uint8), captions)
    with pytest.raises(ValueError, match="captions"):
        _write(tmp_path, {"train": [[record]]})


@pytest.mark.parametrize("texts", [None, (), ("a dog", "", "ein Häuschen")])
@pytest.mark.parametrize("dim", [0, 3])
def test_records_are_the_bytes_that_tfds_writes(texts, dim):
    record = _record(2)
    n = len(record.captions)
    sentences = np.arange(n * dim, dtype=np.float16).reshape(n, dim) if dim else None
    record = dataclasses.replace(record, texts=texts, sentences=sentences)
    known = {"key": record.key, "image": record.image, "captions": record.captions}
    known |= {"sentences": sentences} if dim else {}
    known |= {"texts": list(texts)} if texts is not None else {}
    features = shards.features(SIZE, LENGTH, dim, texts is not None)
    serializer = tfds.core.example_serializer.ExampleSerializer(features.get_serialized_info())
    by_tfds = tf_example_pb2.Example.FromString(
        serializer.serialize_example(features.encode_example(known))
    )
    # TFDS's own order of the features is drawn by each process.
    assert records.encode(record) == by_tfds.SerializeToString(deterministic=True)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_a_value_error(data):
    with pytest.raises(ValueError, match="not a record"):
        records.decode(data, SIZE, LENGTH)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_record_is_a_record_or_a_value_error(data):
    damaged = bytearray(records.encode(_record(1)))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        record = records.decode(bytes(damaged), SIZE, LENGTH)
        assert record.image.shape == (SIZE, SIZE, 3)
        assert record.captions.shape[1] == LENGTH
