"""Folders of images: .txt files, tables, and every fault in them."""

import argparse
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers.caption_tables import read_table
from input_pipeline.sources import folder
from input_pipeline.sources.base import is_inside

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _open(images, captions=None):
    return folder.open_source(argparse.Namespace(images=str(images), captions=captions))


def _all(source):
    return list(source.examples("train", 0, source.splits()["train"]))


def _image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def test_texts_beside_images(tmp_path):
    for name in ("b.png", "a.JPG", "sub/deep/c.x.webp", "lonely.gif"):
        _image(tmp_path / name)
    (tmp_path / "a.txt").write_text("a dog\n\n  \nthe dog\r\n")
    (tmp_path / "b.txt").write_bytes("\ufeffun café".encode())
    (tmp_path / "sub/deep/c.x.txt").write_text("a cat")
    (tmp_path / "notes.md").write_text("not an image")
    source = _open(tmp_path)
    found = {example.key: (example.image, example.captions) for example in _all(source)}
    assert found == {
        "a.JPG": (tmp_path / "a.JPG", ("a dog", "the dog")),
        "b.png": (tmp_path / "b.png", ("un café",)),
        "lonely.gif": (tmp_path / "lonely.gif", ()),
        "sub/deep/c.x.webp": (tmp_path / "sub/deep/c.x.webp", ("a cat",)),
    }
    assert list(found) == sorted(found)
    assert list(source.captions("train")) == ["a dog", "the dog", "un café", "a cat"]


def test_any_range_can_be_read_alone(tmp_path):
    for index in range(7):
        _image(tmp_path / f"{index}.png")
    source = _open(tmp_path)
    keys = [example.key for example in _all(source)]
    for start in range(8):
        for stop in range(start, 8):
            assert [e.key for e in source.examples("train", start, stop)] == keys[start:stop]


def test_a_text_without_image_is_a_missing_image(tmp_path):
    _image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a dog")
    (tmp_path / "gone.txt").write_text("a cat")
    missing = _all(_open(tmp_path))[1]
    assert missing.key == "gone.txt"
    assert missing.image.reason == "missing"


def test_one_bad_text_is_one_rejected_image(tmp_path):
    contents = {"binary": b"\xff\xfe\x00", "huge": b"a " * 2**20, "many": b"a\n" * 10_001}
    for name, content in contents.items():
        _image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_bytes(content)
    os.mkfifo(tmp_path / "pipe.txt")
    _image(tmp_path / "pipe.png")
    assert {e.image.reason for e in _all(_open(tmp_path))} == {"unreadable_captions"}


def test_links_to_folders_are_followed_and_circles_end(tmp_path):
    _image(tmp_path / "far/away.png")
    inside = tmp_path / "inside"
    _image(inside / "near.png")
    (inside / "circle").symlink_to(inside)
    (inside / "itself").symlink_to("itself")
    (inside / "link").symlink_to(tmp_path / "far")
    assert [e.key for e in _all(_open(inside))] == ["link/away.png", "near.png"]


def test_names_that_are_no_text_are_read(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    _image(tmp_path / name)
    (example,) = _all(_open(tmp_path))
    assert example.image.is_file()


ROWS = [("sub/b.png", "a cat, asleep"), ("a.png", "a dog"), ("sub/b.png", 'the "cat"')]


def _as_csv(rows):
    quoted = ['"{}","{}"'.format(*(field.replace('"', '""') for field in row)) for row in rows]
    return "\n".join(["file,caption", *quoted])


def _as_jsonl(rows):
    return "\n".join(json.dumps({"file": file, "caption": caption}) for file, caption in rows)


@pytest.mark.parametrize(("name", "text"), [("csv", _as_csv(ROWS)), ("jsonl", _as_jsonl(ROWS))])
def test_a_table_in_the_folder(tmp_path, name, text):
    (tmp_path / f"captions.{name}").write_text(text)
    source = _open(tmp_path)
    assert [(e.key, e.image, e.captions) for e in _all(source)] == [
        ("sub/b.png", tmp_path / "sub/b.png", ("a cat, asleep", 'the "cat"')),
        ("a.png", tmp_path / "a.png", ("a dog",)),
    ]
    assert list(source.captions("train")) == ["a cat, asleep", 'the "cat"', "a dog"]


@pytest.mark.parametrize(
    "text",
    [
        "caption,size,file\na dog,3,a.png\n",
        "\ufefffile_name,text\r\na.png,a dog\r\n",
        'Caption , File\n"a dog",a.png\n\n',
    ],
)
def test_columns_of_a_csv_in_any_order(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, newline="")
    assert list(read_table(tmp_path / "t.csv")) == [("a.png", "a dog")]


def test_captions_of_a_jsonl_may_be_a_list(tmp_path):
    rows = [{"file": "a", "captions": ["x", "y"]}, {"file_name": "b", "text": "z"}]
    rows.append({"file": "c", "captions": []})
    (tmp_path / "t.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    expected = [("a", "x"), ("a", "y"), ("b", "z"), ("c", "")]
    assert list(read_table(tmp_path / "t.jsonl")) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("csv", b"", "line 1 needs one column file"),
        ("csv", b"image,caption\n", "its columns are image, caption"),
        ("csv", b"file,file,caption\n", "line 1 needs one column file"),
        ("csv", b"file,text,caption\n", "line 1 needs one column caption"),
        ("csv", b"file,caption\na,b\nc,d,e\n", "line 3 has 3 fields"),
        ("csv", b"file,caption\na\n", "line 2 has 1 fields"),
        ("csv", b"file,caption\n,b\n", "line 2 has no file name"),
        ("csv", b'file,caption\na,"b\nc\n', "line 3 is not CSV"),
        ("csv", b'file,caption\na,"b"c\n', "line 2 is not CSV"),
        ("csv", b"file,caption\na,b\nc,caf\xe9\n", "line 3 is not UTF-8"),
        ("csv", b"file,caption\na," + b"b" * 2**20, "line 2 is longer than"),
        ("csv", "file,caption\na,b\n".encode("utf-16"), "line 1 is not UTF-8"),
        ("jsonl", b'{"file": "a", "caption": "b"}\n{"file"', "line 2 is not JSON"),
        ("jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("jsonl", b"[1]", "line 1 is no object"),
        ("jsonl", b'\n{"caption": "b"}', 'line 2 has no "file"'),
        ("jsonl", b'{"file": 3, "caption": "b"}', 'line 1 has no "file"'),
        ("jsonl", b'{"file": "a"}', "line 1 needs either"),
        ("jsonl", b'{"file": "a", "captions": "b"}', "line 1 needs either"),
        ("jsonl", b'{"file": "a", "captions": [1]}', "line 1 needs either"),
        ("jsonl", b'{"file": "a", "captions": [], "caption": "b"}', "line 1 needs either"),
        ("json", b"[]", "a .csv or a .jsonl file is expected"),
    ],
)
def test_a_fault_in_a_table_is_named_with_its_line(tmp_path, name, content, message):
    path = tmp_path / f"table.{name}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        list(read_table(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_mistakes_about_what_is_where(tmp_path):
    for images, captions, message in [
        ("", None, "needs --images=DIR"),
        (tmp_path / "none", None, "there is no such folder"),
        (tmp_path, str(tmp_path / "none.csv"), "cannot be read: No such file"),
    ]:
        with pytest.raises(UserError, match=message):
            _open(images, captions)
    for name in ("captions.csv", "captions.jsonl"):
        (tmp_path / name).write_text("file,caption\n")
    with pytest.raises(UserError, match="choose one with --captions"):
        _open(tmp_path)
    assert _all(_open(tmp_path, str(tmp_path / "captions.csv"))) == []


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "x/../../a.png", "..", "a/.."])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    (tmp_path / "captions.jsonl").write_text(_as_jsonl([(name, "a dog")]))
    (example,) = _all(_open(tmp_path))
    assert isinstance(example.image, Rejected)
    assert example.image.reason == "bad_name"


@given(st.text(st.sampled_from("./a~\\\0 \n"), max_size=8))
def test_a_name_that_is_inside_stays_inside(name):
    if is_inside(name):
        assert os.path.normpath(os.path.join("/images", name)).startswith("/images/")


def _fuzz(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    try:
        source = _open(tmp_path, str(tmp_path / name))
    except UserError as error:
        return str(error)
    for example in _all(source):
        assert isinstance(example.image, Rejected) or example.image.is_relative_to(tmp_path)
    return ""


@FUZZ
@given(content=st.binary(max_size=60), name=st.sampled_from(["t.csv", "t.jsonl"]))
def test_any_bytes_are_a_table_or_a_user_error(tmp_path, content, name):
    assert "\n" not in _fuzz(tmp_path, name, content)


@FUZZ
@given(
    st.lists(
        st.lists(st.text(st.sampled_from('ab",\n\r\0é/.'), max_size=5), max_size=3), max_size=4
    )
)
def test_any_csv_is_a_table_or_a_user_error(tmp_path, rows):
    text = "\n".join(["file,caption", *(",".join(row) for row in rows)])
    assert "\n" not in _fuzz(tmp_path, "t.csv", text.encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
ROW = st.dictionaries(st.sampled_from(["file", "caption", "captions", "text"]), JSON)


@FUZZ
@given(st.lists(ROW | JSON, max_size=4))
def test_any_jsonl_is_a_table_or_a_user_error(tmp_path, rows):
    text = "\n".join(map(json.dumps, rows))
    assert "\n" not in _fuzz(tmp_path, "t.jsonl", text.encode())


@FUZZ
@given(st.binary(max_size=60) | st.text(max_size=20).map(str.encode))
def test_any_text_beside_an_image_is_captions_or_a_named_reason(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "a.txt").write_bytes(content)
    (example,) = _all(_open(tmp_path))
    if isinstance(example.image, Rejected):
        assert example.image.reason == "unreadable_captions"
    else:
        assert all(isinstance(caption, str) for caption in example.captions)
