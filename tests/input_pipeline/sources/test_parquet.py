"""Parquet files as `datasets` writes them: rows from front to back, splits as they come."""

import argparse
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.sources import parquet
from t2igan.cli import main as cli


def jpeg(index):
    pixels = np.random.default_rng(index).integers(0, 256, (12, 10, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def table(first, count, **columns):
    images = [{"bytes": jpeg(first + i), "path": f"{first + i}.jpg"} for i in range(count)]
    captions = [f"a dog number{first + i}" for i in range(count)]
    return pa.table({"image": images, "text": captions} | columns)


def write(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, **options)


def open_source(files, **flags):
    names = ("images", "image_column", "caption_column", "split_column")
    given = dict.fromkeys(names) | {"files": str(files)} | flags
    return parquet.open_source(argparse.Namespace(**given))


def test_splits_are_those_of_the_files_names(tmp_path):
    write(tmp_path / "data/train-00000-of-00002.parquet", table(0, 5), row_group_size=2)
    write(tmp_path / "data/train-00001-of-00002.parquet", table(5, 4))
    write(tmp_path / "data/validation-00000-of-00001.parquet", table(9, 2))
    source = open_source(tmp_path)
    assert source.splits() == {"train": 9, "validation": 2}
    examples = list(source.stream("train"))
    assert [example.key for example in examples] == [f"train-{i:08d}" for i in range(9)]
    assert [example.image for example in examples] == [jpeg(i) for i in range(9)]
    captions = [(example.key, example.captions) for example in examples]
    assert list(source.captions_by_key("train")) == captions
    assert examples[6].file == "train-00001-of-00002.parquet[1]"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"image": [jpeg(0)], "caption": ["a dog"]}, ("a dog",)),
        ({"jpg": [jpeg(0)], "captions": [["a", " ", "b"]]}, ("a", "b")),
        ({"image": [jpeg(0)], "caption_0": ["a"], "caption_1": ["b"]}, ("a", "b")),
        ({"image": [jpeg(0)], "sentences": [[{"raw": "a"}, {"raw": "b"}]]}, ("a", "b")),
        ({"image": [jpeg(0)], "caption": [None]}, ()),
    ],
)
def test_columns_as_people_call_them(tmp_path, rows, expected):
    write(tmp_path / "0000.parquet", pa.table(rows))
    (example,) = open_source(tmp_path).stream("train")
    assert (example.image, example.captions) == (jpeg(0), expected)


def test_rows_may_name_files_and_their_split(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(jpeg(1))
    rows = {
        "path": ["A.jpg", "none.jpg", "../a.jpg"],
        "caption": ["x", "y", "z"],
        "split": ["train", "val", "train"],
    }
    write(tmp_path / "0.parquet", pa.table(rows))
    source = open_source(tmp_path / "0.parquet", images=str(tmp_path / "images"))
    assert source.splits() == {"train": 2, "validation": 1}
    first, outside = source.stream("train")
    assert first.image == tmp_path / "images/a.jpg"
    assert isinstance(outside.image, Rejected)
    assert outside.image.reason == "bad_name"
    (missing,) = source.stream("validation")
    assert missing.image.reason == "missing"
    assert any("1 image missing" in note for note in source.notes())


def test_the_only_split_that_there_is_is_for_training(tmp_path):
    write(tmp_path / "test-00000-of-00001.parquet", table(0, 3))
    assert open_source(tmp_path).splits() == {"train": 3}


def test_what_is_wrong_is_one_line(tmp_path):
    with pytest.raises(UserError, match="there is no"):
        open_source(tmp_path / "none.parquet")
    with pytest.raises(UserError, match=r"no \.parquet or \.pq file is there"):
        open_source(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(UserError, match="is no parquet file, or damaged"):
        open_source(tmp_path)
    write(tmp_path / "x.parquet", pa.table({"a": [1], "b": ["x"]}))
    with pytest.raises(UserError, match=r"--image_column="):
        open_source(tmp_path)
    write(tmp_path / "x.parquet", pa.table({"image": [jpeg(0)], "words": ["x"]}))
    with pytest.raises(UserError, match="has no column of captions; it has image, words"):
        open_source(tmp_path)
    assert len(list(open_source(tmp_path, caption_column="words").stream("train"))) == 1


def test_prepared_it_is_the_folder_with_the_same_images(tmp_path):
    write(tmp_path / "p/train.parquet", table(0, 30))
    folder = tmp_path / "f"
    folder.mkdir()
    for index in range(30):
        (folder / f"{index:02d}.jpg").write_bytes(jpeg(index))
        (folder / f"{index:02d}.txt").write_text(f"a dog number{index}")
    flags = ["--image_size=8", "--word_vector_dim=3", "--validation_fraction=0"]
    for source, given in (
        ("parquet", "--files=" + str(tmp_path / "p")),
        ("folder", f"--images={folder}"),
    ):
        out = f"--out={tmp_path / source}"
        assert cli.main(["prepare", f"--source={source}", given, out, *flags]) == 0
    sets = [open_dataset(tmp_path / source) for source in ("parquet", "folder")]
    both = [each.source("train").__getitems__(range(30)) for each in sets]
    np.testing.assert_array_equal(both[0]["image"], both[1]["image"])
    np.testing.assert_array_equal(
        np.concatenate(both[0]["captions"]), np.concatenate(both[1]["captions"])
    )
    assert sets[0].source("train").written([3]) == [("a dog number3",)]
    report = json.loads((tmp_path / "parquet/report.json").read_text())
    assert report["examples"] == 30


def test_max_images_takes_the_first(tmp_path):
    write(tmp_path / "p/train.parquet", table(0, 30))
    flags = ["--image_size=8", "--word_vector_dim=3", "--validation_fraction=0", "--max_images=7"]
    out = tmp_path / "out"
    given = ["prepare", "--source=parquet", f"--files={tmp_path / 'p'}", f"--out={out}"]
    assert cli.main([*given, *flags]) == 0
    assert open_dataset(out).splits == {"train": 7}
