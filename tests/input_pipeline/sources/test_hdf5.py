"""The student report's HDF5 layout: all its forms, and one line for every fault."""

import argparse
import contextlib
import io
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers import hdf5_captions as hdf5_layout
from input_pipeline.readers import hdf5_reader
from input_pipeline.readers.hdf5_captions import CaptionFile, image_name
from input_pipeline.sources import hdf5

WORDS = ["x_END_", "a", "x_NULL_", "xFor", "x_UNK_", "dog", "x_START_", "xEnd"]
CODES = [2, 4, 0, 6, 3, 5, 1, 7]
URLS = ["http://h/1/one.jpg", "http://h/2/two.jpg\n", "http://h/3/three.jpg"]
CAPTIONS = [[1, 4, 5, 2, 0], [1, 6, 4, 5, 2], [1, 7, 2, 0, 0], [1, 3, 2, 0, 0]]
IMID = [3, 1, 3, 1]


def _write(path, integers="i8", url_type="S", split="train", base=1, words=True, **replaced):
    caption_name = "train_cap" if split == "train" else "test_caps"
    urls = replaced.pop("urls", URLS)
    contents = {
        caption_name: np.array(CAPTIONS, integers),
        f"{split}_imid": np.array(IMID, integers) - np.array(1 - base, integers),
        f"{split}_url": np.array([u.encode() for u in urls])
        if url_type == "S"
        else np.array(urls, dtype=h5py.string_dtype(url_type)),
        f"{split}_ims": np.zeros((3, 4), np.float32),
    }
    if words:
        row = tuple(CODES)
        contents["word_code"] = np.array([row], [(word, integers) for word in WORDS])
    contents |= replaced
    with h5py.File(path, "w") as file:
        for name, content in contents.items():
            if content is not None:
                file[name] = content
    return path


def _open(folder, captions, test=None):
    args = argparse.Namespace(
        captions=captions and str(captions),
        images=str(folder),
        test_captions=test and str(test),
        test_images=None,
    )
    return hdf5.open_source(args)


@pytest.fixture
def in_process(monkeypatch):
    """The reader without a process of its own, for speed."""

    class Process:
        def __init__(self, path, split, errors):
            self.stdout = io.BytesIO()
            hdf5_reader.main(path, split, self.stdout)
            self.stdout.seek(0)

        def kill(self):
            pass

        def wait(self):
            return 0

    monkeypatch.setattr(hdf5_layout, "_start", Process)


def _refused(folder, path, said):
    with pytest.raises(UserError, match=said) as caught:
        _open(folder, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("integers", ["u1", "i2", ">i4", "u8"])
@pytest.mark.parametrize(("url_type", "base"), [("S", 1), ("utf-8", 0), ("ascii", 1)])
@pytest.mark.usefixtures("in_process")
def test_every_form_of_the_layout(tmp_path, integers, url_type, base):
    source = _open(tmp_path, _write(tmp_path / "c.h5", integers, url_type, base=base))
    assert source.vocabulary.words[4:] == ("a", "dog", "for", "end")
    assert source.splits() == {"train": 3}
    one, two, three = source.examples("train", 0, 3)
    assert [e.key for e in (one, two, three)] == [
        "0000000_one.jpg",
        "0000001_two.jpg",
        "0000002_three.jpg",
    ]
    assert [e.image for e in (one, two)] == [tmp_path / "one.jpg", tmp_path / "two.jpg"]
    assert one.captions.dtype == np.int32
    np.testing.assert_array_equal(one.captions, [CAPTIONS[1], CAPTIONS[3]])
    np.testing.assert_array_equal(three.captions, [CAPTIONS[0], CAPTIONS[2]])
    assert two.captions.shape == (0, 5)
    assert list(source.captions("train")) == ["for a dog", "x_UNK_", "a dog", "end"]


def test_compressed_pieces_and_a_test_file(tmp_path):
    path = _write(tmp_path / "c.h5", train_cap=None, split="train")
    with h5py.File(path, "a") as file:
        file.create_dataset("train_cap", data=CAPTIONS, chunks=(3, 2), compression="gzip")
    test = _write(tmp_path / "t.h5", split="test", words=False, base=0)
    source = _open(tmp_path, path, test)
    assert source.splits() == {"train": 3, "test": 3}
    train, held = (list(source.examples(split, 0, 3)) for split in ("train", "test"))
    for ours, theirs in zip(train, held, strict=True):
        np.testing.assert_array_equal(ours.captions, theirs.captions)
    assert (
        next(iter(pickle.loads(pickle.dumps(source)).examples("train", 1, 2))).key == train[1].key
    )


def test_real_file(flickr8k):
    source = _open(flickr8k / "images", flickr8k / "eee443_project_dataset_train.h5")
    with h5py.File(flickr8k / "eee443_project_dataset_train.h5") as file:
        codes, imid, urls = file["train_cap"][:], file["train_imid"][:], file["train_url"][:]
    examples = list(source.examples("train", 0, 7000))
    assert len(examples) == 7000
    assert sum(len(e.captions) for e in examples) == 31_239
    assert len({e.key for e in examples}) == 7000
    for index in range(0, 7000, 500):
        example = examples[index]
        np.testing.assert_array_equal(example.captions, codes[imid == index + 1])
        assert example.image.name == urls[index].decode().rsplit("/", 1)[1]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.jpg \r\n", "b.jpg"),
        ("b.jpg", "b.jpg"),
        ("http://h/a b.jpg", "a b.jpg"),
        ("http://h/..", None),
        ("http://h/. ", None),
        ("http://h/", None),
        ("", None),
        ("http://h/..\\..\\etc", None),
        ("http://h/a\0b.jpg", None),
        ("http://h/C:b.jpg", None),
        ("http://h/" + "n" * 256, None),
    ],
)
def test_image_names(url, name):
    assert image_name(url) == name


@given(st.text() | st.text(st.sampled_from("./\\:%\0 a")))
def test_a_name_never_leads_out_of_its_folder(url):
    name = image_name(url)
    if name is not None:
        path = Path("/images") / name
        assert path.parent == Path("/images")
        assert path.name == name


@pytest.mark.usefixtures("in_process")
def test_urls_without_a_file_of_their_own_are_rejected(tmp_path):
    urls = ["http://h/1/same.jpg", "http://h/2/same.jpg", "http://h/.."]
    source = _open(tmp_path, _write(tmp_path / "c.h5", urls=urls))
    images = [example.image for example in source.examples("train", 0, 3)]
    assert all(isinstance(image, Rejected) for image in images)
    assert [i.reason for i in images] == ["ambiguous_name", "ambiguous_name", "bad_name"]
    again = _open(tmp_path, _write(tmp_path / "c.h5", urls=["http://h/one.jpg"] * 3))
    assert {e.image for e in again.examples("train", 0, 3)} == {tmp_path / "one.jpg"}


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"train_cap": None}, "no data set train_cap; it has: train_im"),
        ({"word_code": None}, "no data set word_code"),
        ({"train_cap": [[1, 4, 8, 2, 0]] * 4}, "word code 8; the vocabulary has codes 0 to 7"),
        ({"train_cap": [[1, 4, -1, 2, 0]] * 4}, "caption 0 has the word code -1"),
        ({"train_cap": [[1, 4, 70_000, 2, 0]] * 4}, "caption 0 has the word code 70000"),
        ({"train_imid": [1, 2, 3, 4]}, "runs from 1 to 4, but there are 3 URLs; 1 to 3"),
        ({"train_imid": [0, 1, 2, 3]}, "runs from 0 to 3, but there are 3 URLs"),
        ({"train_imid": [-1, 1, 2, 3]}, "runs from -1 to 3"),
        ({"train_imid": np.array([1, 2, 3, 2**64 - 1], "u8")}, "to 18446744073709551615"),
        ({"train_imid": [1, 2]}, "4 captions and 2 image numbers"),
        ({"train_imid": [1.0, 2.0, 3.0, 1.0]}, "train_imid is .* of float64; integers"),
        ({"train_imid": h5py.Empty("i8")}, "train_imid is empty"),
        ({"train_cap": [1, 2, 3, 4]}, "integers in 2 dimension"),
        ({"train_cap": np.zeros((0, 5), int), "train_imid": np.zeros(0, int)}, "side of 0"),
        ({"train_cap": np.zeros((4, 5000), int)}, "side of 5000; 2 to 1024"),
        ({"train_url": [1, 2, 3]}, "a row of strings"),
        ({"train_url": np.array([b"a" * 5000])}, "at most 4096 bytes"),
        ({"train_url": np.array(["a" * 5000] * 3, h5py.string_dtype())}, "URL of 5000 bytes"),
        ({"word_code": [1, 2, 3]}, "one row of a compound type"),
        ({"word_code": np.array([(0, 1)], [("a", "f4"), ("b", "i4")])}, "one row of a compound"),
        ({"word_code": np.array([(0, 2)], [("a", "i4"), ("b", "i4")])}, "codes 0 to 2; each of"),
        ({"word_code": np.array([(0, 1)], [("a", "i4"), ("b", "i4")])}, "first words are 'a b'"),
        ({"train_cap": h5py.SoftLink("/train_ims")}, "train_cap is a link"),
        ({"train_cap": h5py.ExternalLink("/etc/passwd", "x")}, "train_cap is a link"),
        ({"train_url": h5py.SoftLink("/nowhere")}, "train_url is a link"),
    ],
)
@pytest.mark.usefixtures("in_process")
def test_each_fault_is_one_line(tmp_path, replaced, said):
    _refused(tmp_path, _write(tmp_path / "c.h5", **replaced), said)


@pytest.mark.usefixtures("in_process")
def test_what_reaches_outside_or_is_not_there_is_refused(tmp_path):
    shape, elsewhere = (4, 5), str(tmp_path / "raw")
    layout = h5py.VirtualLayout(shape, "i8")
    layout[:] = h5py.VirtualSource(_write(tmp_path / "other.h5"), "train_cap", shape)
    for number, add in enumerate(
        [
            lambda f: f.create_dataset("train_cap", shape, "i8", external=[(elsewhere, 0, 160)]),
            lambda f: f.create_virtual_dataset("train_cap", layout),
            lambda f: f.create_group("train_cap"),
            lambda f: f.create_dataset("train_cap", (4,), h5py.vlen_dtype("i8")),
            lambda f: f.create_dataset("train_cap", (4, 5), h5py.ref_dtype),
            lambda f: f.create_dataset("train_cap", (10**11, 17), "i8", chunks=(1000, 17)),
            lambda f: f.create_dataset("train_cap", (10**11, 17), "i8"),
            lambda f: f.create_dataset("train_cap", (10**7, 17), "i8", chunks=(10**7, 17)),
        ]
    ):
        path = _write(tmp_path / f"{number}.h5", train_cap=None)
        with h5py.File(path, "a") as file:
            add(file)
        _refused(tmp_path, path, "is a link, a group or stored elsewhere|declares|integers in")


@pytest.mark.usefixtures("in_process")
def test_what_is_no_such_file(tmp_path):
    _refused(tmp_path, tmp_path / "no.h5", "there is no file")
    _refused(tmp_path, tmp_path, "there is no file")
    _refused(tmp_path, None, "needs --captions=FILE.h5")
    for content in (b"", b"<html>", b"PK\3\4" * 1000):
        (tmp_path / "x.h5").write_bytes(content)
        _refused(tmp_path, tmp_path / "x.h5", "is not an HDF5 file")
    whole = _write(tmp_path / "c.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(whole[: len(whole) // 2])
    _refused(tmp_path, tmp_path / "x.h5", "cannot be read as HDF5")
    _refused(tmp_path / "no", _write(tmp_path / "c.h5"), "--images=.*no such folder")


@pytest.mark.usefixtures("in_process")
def test_a_file_where_matlab_puts_its_own_header(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w", userblock_size=512) as file:
        file["train_url"] = [b"a"]
    _refused(tmp_path, tmp_path / "m.h5", "no data set train_imid")


@pytest.mark.parametrize(
    "does", ["import time; time.sleep(60)", "import os; os.abort()", "print('{')", "1 / 0"]
)
def test_a_reader_that_hangs_or_dies_is_one_line(tmp_path, monkeypatch, does):
    def start(path, split, errors):
        command = [sys.executable, "-c", does]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)

    monkeypatch.setattr(hdf5_layout, "_start", start)
    monkeypatch.setattr(hdf5_layout, "_PATIENCE_SECONDS", 1.0)
    _refused(tmp_path, _write(tmp_path / "c.h5"), "cannot be read as HDF5")


def test_reading_can_stop_anywhere(tmp_path):
    with CaptionFile(_write(tmp_path / "c.h5")) as file:
        assert (file.split, file.images, file.captions, file.length) == ("train", 3, 4, 5)
        assert next(file.urls()) == URLS[0]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4))),
    url_type=st.sampled_from(["S", "utf-8"]),
)
def test_whatever_the_bytes_examples_or_one_line(tmp_path, edits, url_type):
    path = _write(tmp_path / "fuzzed.h5", url_type=url_type)
    data = bytearray(path.read_bytes())
    for place, change in edits:
        at = int(place * len(data))
        data[at : at + len(change)] = change
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        source = _open(tmp_path, path)
        assert all(e.captions.shape[1] == 5 for e in source.examples("train", 0, 99))
