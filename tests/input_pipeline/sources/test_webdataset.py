"""Tar files as img2dataset writes them: read from front to back, whatever else lies in them."""

import argparse
import io
import json
import tarfile

import pytest

from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.readers import shard_files
from input_pipeline.sources import webdataset
from t2igan.cli import main as cli

from .test_parquet import jpeg


def write(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def example(index, text="a dog"):
    about = json.dumps({"caption": text, "key": f"{index:09d}", "status": "success"}).encode()
    key = f"{index:09d}"
    return [(f"{key}.jpg", jpeg(index)), (f"{key}.json", about), (f"{key}.txt", text.encode())]


def open_source(files):
    return webdataset.open_source(argparse.Namespace(files=str(files)))


def test_members_of_one_key_are_one_example(tmp_path):
    members = [
        *example(0, "a dog"),
        ("000000001.jpg", jpeg(1)),
        ("000000001.json", b'{"caption": "from the json"}'),
        ("000000002.json", b'{"status": "failed_to_download", "caption": "gone"}'),
        ("sub/x.JPEG", jpeg(3)),
        ("sub/x.cls", b"4"),
        ("sub/x.txt", "first line\n\nsecond café".encode("cp1252")),
        ("._000000004.jpg", b"of a Mac"),
        ("README", b"not an example"),
    ]
    write(tmp_path / "00000.tar", members)
    source = open_source(tmp_path / "00000.tar")
    assert source.splits() == {"train": 4}
    found = [(e.key, e.captions) for e in source.stream("train")]
    assert found == [
        ("00000/000000000", ("a dog",)),
        ("00000/000000001", ("from the json",)),
        ("00000/000000002", ("gone",)),
        ("00000/sub/x", ("first line", "second café")),
    ]
    assert list(source.captions_by_key("train")) == found
    images = [e.image for e in source.stream("train")]
    assert images[::3] == [jpeg(0), jpeg(3)]
    assert images[2].reason == "missing"
    said = "texts that are not UTF-8 were read as Windows-1252, e.g. 00000/sub/x.txt"
    assert list(source.notes()) == ["1 tar files", said]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_shards_by_pattern_and_splits_by_name(tmp_path, suffix):
    for index in range(3):
        mode = "w:gz" if suffix == ".tar.gz" else "w"
        write(tmp_path / f"train-{index:05d}{suffix}", example(index), mode)
    write(tmp_path / f"val-00000{suffix}", example(9), "w:gz" if "gz" in suffix else "w")
    source = open_source(tmp_path)
    assert source.splits() == {"train": 3, "validation": 1}
    pattern = str(tmp_path / "train-{00000..00002}") + suffix
    assert open_source(pattern).splits() == {"train": 3}
    assert [e.image for e in open_source(pattern).stream("train")] == [jpeg(i) for i in range(3)]


def test_a_tar_that_is_cut_off_gives_what_is_whole_in_it(tmp_path):
    path = tmp_path / "0.tar"
    write(path, [member for index in range(5) for member in example(index)])
    data = path.read_bytes()
    for length in range(600, len(data), 700):
        path.write_bytes(data[:length])
        try:
            source = open_source(path)
        except UserError:
            assert length < 14_000  # the first example is not whole
            continue
        found = list(source.stream("train"))
        assert len(found) == source.splits()["train"]
        assert [e.image for e in found] == [jpeg(index) for index in range(len(found))]


def test_what_is_wrong_is_one_line(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(UserError, match="is no tar, or damaged"):
        open_source(tmp_path / "x.tar")
    write(tmp_path / "x.tar", [("README.md", b"x")])
    with pytest.raises(UserError, match="no image in 1 files"):
        open_source(tmp_path / "x.tar")
    with pytest.raises(UserError, match="there is no"):
        open_source(tmp_path / "{000..002}.tar")
    with pytest.raises(UserError, match="needs --files"):
        open_source("")


def test_a_prepared_set_has_every_image(tmp_path):
    for shard in range(4):
        members = [m for index in range(5) for m in example(5 * shard + index, f"a dog n{index}")]
        write(tmp_path / f"shards/{shard:05d}.tar", members)
    out = tmp_path / "out"
    given = ["prepare", "--source=webdataset", f"--files={tmp_path / 'shards'}", f"--out={out}"]
    assert cli.main([*given, "--image_size=8", "--word_vector_dim=3"]) == 0
    assert sum(open_dataset(out).splits.values()) == 20


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a{0..2}.tar", ["a0.tar", "a1.tar", "a2.tar"]),
        ("{008..010}", ["008", "009", "010"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("plain", ["plain"]),
    ],
)
def test_braces_are_expanded_as_a_shell_does(pattern, names):
    assert shard_files.expand(pattern) == names


def test_braces_do_not_fill_the_memory():
    with pytest.raises(UserError, match="no range of at most"):
        shard_files.expand("{0..99999999999}")
