"""TFDS data sets as a source: a small one is made here, of the shape of coco_captions."""

import argparse
import functools
import random
import shutil
import socket
from io import BytesIO

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline.errors import UserError
from input_pipeline.images import decode as image_files
from input_pipeline.images.decode import Rejected
from input_pipeline.sources import tfds as source_module

COUNTS = {"train": [70, 3], "val": [2], "test": [1]}


def _pixels(split, index):
    return np.random.default_rng([index, len(split)]).integers(0, 256, (5, 7, 3), np.uint8)


def _png(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return BytesIO(file.getvalue())


def _captions(index):
    return [f"image {index}", "a café"][: index % 3]


def _features(split, index):
    texts = _captions(index)
    return {
        "image": _png(_pixels(split, index)),
        "image/filename": f"{index}.png",
        "captions": [{"id": k, "text": text} for k, text in enumerate(texts)],
        "title": "a title",
        "nested": {"words": texts},
        "label": 1,
    }


with tfds.core.registered.skip_registration():

    class _MadeHere(tfds.core.ShardBasedBuilder):
        name = "made_here"
        VERSION = tfds.core.Version("1.1.0")
        code_path = None

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "image/filename": tfds.features.Text(),
                "captions": tfds.features.Sequence(
                    {"id": tfds.features.Scalar(np.int64), "text": tfds.features.Text()}
                ),
                "title": tfds.features.Text(),
                "nested": {"words": tfds.features.Sequence(tfds.features.Text())},
                "label": tfds.features.ClassLabel(num_classes=2),
            }
            features = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _shard_iterators_per_split(self, dl_manager):
            return {
                split: [
                    functools.partial(_examples, split, sum(counts[:k]), sum(counts[: k + 1]))
                    for k in range(len(counts))
                ]
                for split, counts in COUNTS.items()
            }


def _examples(split, start, stop):
    return ((index, _features(split, index)) for index in range(start, stop))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    _MadeHere(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def _open(folder, name="made_here", **flags):
    given = {"image_feature": None, "caption_feature": None} | flags
    return source_module.open_source(
        argparse.Namespace(tfds_name=name, tfds_dir=folder and str(folder), **given)
    )


def test_images_and_captions_of_every_split(made, monkeypatch):
    def refuse(*args):
        raise AssertionError(f"a connection to {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    source = _open(made)
    assert source.splits() == {"train": 73, "validation": 2, "test": 1}
    examples = list(source.examples("train", 0, 73))
    assert [example.key for example in examples] == [f"train-{i:08d}" for i in range(73)]
    for index, example in enumerate(examples):
        assert example.captions == tuple(_captions(index))
        np.testing.assert_array_equal(image_files.decode(example.image), _pixels("train", index))
    assert list(source.captions("validation")) == _captions(1)
    (last,) = source.examples("validation", 1, 2)
    np.testing.assert_array_equal(image_files.decode(last.image), _pixels("val", 1))
    assert last.file == "validation[1]"


@pytest.mark.parametrize("name", ["made_here:1.1.0", "made_here"])
def test_versions(made, name):
    assert _open(made, name).splits()["test"] == 1


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("captions.text", ("image 1",)),
        ("captions/text", ("image 1",)),
        ("image/filename", ("1.png",)),
        ("title", ("a title",)),
        ("nested.words", ("image 1",)),
    ],
)
def test_any_text_feature(made, feature, expected):
    (example,) = _open(made, caption_feature=feature).examples("train", 1, 2)
    assert example.captions == expected


def test_a_sequence_of_sequences_is_read_flat():
    """TFDS writes it with TensorFlow only, under a name of its own."""
    example = tf_example_pb2.Example()
    words = example.features.feature["words/ragged_flat_values"].bytes_list
    words.value.extend([b"a dog", b"caf\xe9"])
    data = _Records([example.SerializeToString(), b"\xff"])
    whole, damaged = source_module.TfdsSource({"dev": data}, "image", "words").examples(
        "validation", 0, 2
    )
    assert whole.captions == ("a dog", "caf\ufffd")
    assert (whole.image.reason, damaged.image.reason) == ("missing", "undecodable")


class _Records(list):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


def test_mistakes_about_what_is_where(made, tmp_path):
    for name, folder, flags, message in [
        ("", made, {}, "needs --tfds_name=NAME"),
        ("made_here", tmp_path / "none", {}, "there is no such folder"),
        ("made_here", tmp_path, {}, "no data set could be read"),
        ("made_here:9.9.9", made, {}, "no data set could be read"),
        ("made_here/config", made, {}, "no data set could be read"),
        ("../made_here", made, {}, "no data set could be read"),
        ("hf:made_here", made, {}, "no data set could be read"),
        (
            "made_here",
            made,
            {"image_feature": "title"},
            r"no such image; the data set's are image:",
        ),
        (
            "made_here",
            made,
            {"caption_feature": "label"},
            "no such caption; the data set's are cap",
        ),
    ]:
        with pytest.raises(UserError, match=message) as error:
            _open(folder, name, **flags)
        assert "\n" not in str(error.value)


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def _files(folder, pattern):
    return sorted(folder.glob(f"made_here/1.1.0/{pattern}"))


def test_a_set_that_is_no_array_record(copy):
    (info,) = _files(copy, "dataset_info.json")
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="--file_format=array_record"):
        _open(copy)


def test_a_shard_that_is_missing(copy):
    _files(copy, "*train*")[1].unlink()
    source = _open(copy)
    with pytest.raises(UserError, match=r"records 64 to 72 of train cannot be read"):
        list(source.examples("train", 0, 73))


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 2**32))
def test_damaged_files_are_read_or_a_user_error(made, tmp_path_factory, seed):
    rng = random.Random(seed)
    folder = shutil.copytree(made, tmp_path_factory.mktemp("damaged") / "copy")
    path = rng.choice([*_files(folder, "*.json"), *_files(folder, "*test*")])
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
    try:
        source = _open(folder)
        for split, number in source.splits().items():
            for example in source.examples(split, 0, number):
                assert isinstance(example.image, bytes | Rejected)
    except UserError as error:
        message = str(error)
        assert "\n" not in message
    finally:
        shutil.rmtree(folder)
