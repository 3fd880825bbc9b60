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
from input_pipeline.sources import folder

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _open(images, captions=None, texts=None, **flags):
    given = {"images": str(images), "captions": captions, "texts": texts, **flags}
    return folder.open_source(argparse.Namespace(**given))


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


def test_texts_in_another_encoding_are_read_and_said(tmp_path):
    for name, data in (("a", "un café"), ("b", "ein Häuschen"), ("c", "a dog")):
        _image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_bytes(data.encode("cp1252"))
    source = _open(tmp_path)
    assert list(source.captions("train")) == ["un café", "ein Häuschen", "a dog"]
    assert list(source.notes()) == [
        "texts that are not UTF-8 were read as Windows-1252, e.g. a.txt"
    ]


def test_any_range_can_be_read_alone(tmp_path):
    for index in range(7):
        _image(tmp_path / f"{index}.png")
    (tmp_path / "3.txt").write_text("a dog")
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
    _image(tmp_path / "good.png")
    (tmp_path / "good.txt").write_text("a dog")
    contents = {"huge": b"a " * 2**20, "many": b"a\n" * 10_001}
    for name, content in contents.items():
        _image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_bytes(content)
    os.mkfifo(tmp_path / "pipe.txt")
    _image(tmp_path / "pipe.png")
    (tmp_path / "json.json").write_text('{"width": 3}')
    _image(tmp_path / "json.png")
    bad = [e.image for e in _all(_open(tmp_path)) if e.key != "good.png"]
    assert [image.reason for image in bad] == ["unreadable_captions"] * 4


def test_a_text_that_links_out_of_the_folder_is_not_read(tmp_path):
    (tmp_path / "secret").write_text("root x")
    inside = tmp_path / "inside"
    for name in ("a", "b"):
        _image(inside / f"{name}.png")
    (inside / "a.txt").symlink_to(tmp_path / "secret")
    (inside / "b.txt").write_text("a dog")
    first, second = _all(_open(inside))
    assert (first.image.reason, first.captions) == ("captions_outside", ())
    assert second.captions == ("a dog",)


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.txt", "a.TXT", "a.caption", "a.png.txt", "a.json"])
def test_texts_under_any_usual_name_in_any_encoding(tmp_path, name, encoding):
    _image(tmp_path / "a.png")
    text = json.dumps({"caption": "a café"}, ensure_ascii=False) if "json" in name else "a café"
    (tmp_path / name).write_bytes(text.encode(encoding))
    (example,) = _all(_open(tmp_path))
    assert example.captions == ("a café",)


@pytest.mark.parametrize("given", ["whole", "images", "texts"])
def test_texts_beside_the_folder_of_images(tmp_path, given):
    _image(tmp_path / "images/001.Bird/b.jpg")
    (tmp_path / "text/001.Bird").mkdir(parents=True)
    (tmp_path / "text/001.Bird/b.txt").write_text("a bird\nthe bird\n")
    source = {
        "whole": lambda: _open(tmp_path),
        "images": lambda: _open(tmp_path / "images"),
        "texts": lambda: _open(tmp_path / "images", texts=str(tmp_path / "text")),
    }[given]()
    (example,) = _all(source)
    assert (example.key, example.captions) == ("001.Bird/b.jpg", ("a bird", "the bird"))


def test_folders_of_splits_are_splits_with_texts_or_tables(tmp_path):
    for split in ("train", "val", "test"):
        for kind in ("texts", "tables"):
            _image(tmp_path / kind / split / "a.png")
        (tmp_path / "texts" / split / "a.txt").write_text(f"a {split}")
        (tmp_path / "tables" / split / "metadata.jsonl").write_text(
            json.dumps({"file_name": "a.png", "text": [f"a {split}"]})
        )
    for kind in ("texts", "tables"):
        source = _open(tmp_path / kind)
        assert source.splits() == {"train": 1, "validation": 1, "test": 1}
        (example,) = source.examples("validation", 0, 1)
        assert (example.key, example.captions) == ("val/a.png", ("a val",))
        assert example.image == tmp_path / kind / "val/a.png"


def test_images_without_a_text_are_counted_and_tables_there_are_named(tmp_path):
    for index in range(3):
        _image(tmp_path / f"{index}.png")
    (tmp_path / "labels.csv").write_text("file,caption\n0.png,a dog\n")
    with pytest.raises(UserError, match=r"3 images, none has a text.*labels.csv is there"):
        _open(tmp_path)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/train.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"has no image, but \.parquet files: use --source=parquet"):
        _open(tmp_path / "shards")
    with pytest.raises(UserError, match="is a file: use --source=parquet"):
        _open(tmp_path / "shards/train.parquet")


def test_links_to_folders_are_followed_and_circles_end(tmp_path):
    _image(tmp_path / "far/away.png")
    inside = tmp_path / "inside"
    _image(inside / "near.png")
    (inside / "near.txt").write_text("a dog")
    (inside / "circle").symlink_to(inside)
    (inside / "itself").symlink_to("itself")
    (inside / "link").symlink_to(tmp_path / "far")
    assert [e.key for e in _all(_open(inside))] == ["link/away.png", "near.png"]


def test_names_that_are_no_text_are_read(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    _image(tmp_path / name)
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("a cup")
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
    for image in ("a.png", "sub/b.png"):
        _image(tmp_path / image)
    source = _open(tmp_path)
    assert [(e.key, e.image, e.captions) for e in _all(source)] == [
        ("sub/b.png", tmp_path / "sub/b.png", ("a cat, asleep", 'the "cat"')),
        ("a.png", tmp_path / "a.png", ("a dog",)),
    ]
    assert list(source.captions("train")) == ["a cat, asleep", 'the "cat"', "a dog"]


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
    with pytest.raises(UserError, match="no row can be used"):
        _open(tmp_path, str(tmp_path / "captions.csv"))


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "..", "a/.."])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    (tmp_path / "captions.jsonl").write_text(_as_jsonl([(name, "a dog")]))
    (example,) = _all(_open(tmp_path))
    assert isinstance(example.image, Rejected)
    assert example.image.reason == "bad_name"


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
def test_any_text_beside_an_image_is_captions(tmp_path, content):
    _image(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_bytes(content)
    (example,) = _all(_open(tmp_path))
    assert all(isinstance(caption, str) for caption in example.captions)
    json.dumps(example.captions).encode()
