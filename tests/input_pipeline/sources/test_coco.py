"""COCO's captions files: read in pieces, in any order, with any fault."""

import argparse
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers import json_stream
from input_pipeline.readers.json_stream import elements
from input_pipeline.sources import coco

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

IMAGES = [
    {"id": 9, "file_name": "nine.jpg", "height": 4, "license": 1},
    {"id": -3, "file_name": "sub/three.jpg"},
    {"id": 5, "file_name": "uncaptioned.jpg"},
    {"id": 6, "file_name": "nine.jpg"},
]
ANNOTATIONS = [
    {"image_id": -3, "id": 1, "caption": "a dog"},
    {"image_id": 9, "id": 2, "caption": "a cat {[\"'\u00e9"},
    {"image_id": -3, "id": 3, "caption": "the dog"},
    {"image_id": 6, "id": 4, "caption": "a cow"},
]
WHOLE = {"info": {"year": 2017}, "images": IMAGES, "licenses": [1], "annotations": ANNOTATIONS}


def _open(tmp_path, content=WHOLE, **flags):
    path = tmp_path / "captions.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    names = [
        f"{prefix}{kind}"
        for prefix in ("", "validation_", "test_")
        for kind in ("captions", "images")
    ]
    given = dict.fromkeys(names) | {"captions": str(path), "images": str(tmp_path)} | flags
    return coco.open_source(argparse.Namespace(**given))


def _all(source, split="train"):
    return list(source.examples(split, 0, source.splits()[split]))


@pytest.mark.parametrize("annotations_first", [False, True])
def test_captions_find_their_images(tmp_path, annotations_first):
    content = dict(reversed(WHOLE.items())) if annotations_first else WHOLE
    source = _open(tmp_path, content)
    assert source.splits() == {"train": 4}
    assert [(e.key, e.image, e.captions, e.file) for e in _all(source)] == [
        ("9_nine.jpg", tmp_path / "nine.jpg", (ANNOTATIONS[1]["caption"],), "nine.jpg"),
        ("-3_sub/three.jpg", tmp_path / "sub/three.jpg", ("a dog", "the dog"), "sub/three.jpg"),
        ("5_uncaptioned.jpg", tmp_path / "uncaptioned.jpg", (), "uncaptioned.jpg"),
        ("6_nine.jpg", tmp_path / "nine.jpg", ("a cow",), "nine.jpg"),
    ]
    assert sorted(source.captions("train")) == sorted(a["caption"] for a in ANNOTATIONS)


def test_the_splits_of_one_s_own(tmp_path):
    other = tmp_path / "val.json"
    other.write_text(json.dumps({"images": IMAGES[:1], "annotations": ANNOTATIONS[1:2]}))
    source = _open(tmp_path, validation_captions=str(other), validation_images=str(tmp_path))
    assert source.splits() == {"train": 4, "validation": 1}
    assert [example.key for example in _all(source, "validation")] == ["9_nine.jpg"]
    with pytest.raises(UserError, match="needs both --test_captions=FILE"):
        _open(tmp_path, test_captions=str(other))


def test_captions_of_images_that_are_not_listed_are_left_out_and_said_so(tmp_path, capsys):
    stray = [*ANNOTATIONS, {"image_id": 77, "caption": "a stray"}]
    source = _open(tmp_path, {**WHOLE, "annotations": stray})
    assert sum(len(example.captions) for example in _all(source)) == 4
    assert (
        "1 captions are of images that it does not list (the first: 77)" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b.jpg", ""])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    content = {"images": [{"id": 1, "file_name": name}], "annotations": []}
    (example,) = _all(_open(tmp_path, content))
    assert isinstance(example.image, Rejected)
    assert example.image.reason == "bad_name"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'the end' where '{' should be"),
        (b"[]", "where '{' should be"),
        (b"{}", "lists no image"),
        (b'{"images": []}', "lists no image"),
        (b'{"images": {}}', 'no list under "images"'),
        (b'{"images": [{"id": 1}]}', '"file_name" of element 0 of "images" must be a text'),
        (b'{"images": [{"file_name": "a"}]}', '"id" of element 0 of "images" must be an integer'),
        (b'{"images": [{"id": true, "file_name": "a"}]}', "must be an integer"),
        (b'{"images": [{"id": 1e400, "file_name": "a"}]}', "must be an integer"),
        (b'{"images": [{"id": 9223372036854775808, "file_name": "a"}]}', "must be an integer"),
        (b'{"images": [3]}', "element 0"),
        (b'{"annotations": [{"image_id": 1}]}', '"caption" of element 0 of "annotations"'),
        (b'{"images": [{"id": 1, "file_name": "a"}', "where ']' should be"),
        (b'{"images": [{"id": 1, "file_name"', "no JSON"),
        (b'{"images": [' + b"[" * 100_000, "lists within lists|no JSON"),
        (b'{"images": [1' + b"1" * 5000 + b"]}", "no JSON"),
        (b'{"images": ["\xff"]}', "not UTF-8"),
        (b'{"images" []}', "where ':' should be"),
        (b"{3: []}", "no text"),
        (b'{"a": 1 "images": []}', "where '}' should be"),
    ],
)
def test_a_fault_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as error:
        _open(tmp_path, content)
    assert "captions.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_mistakes_about_what_is_where(tmp_path):
    for flags, message in [
        ({"captions": None}, "needs both --captions=FILE.json and --images=DIR"),
        ({"images": None}, "needs both"),
        ({"images": str(tmp_path / "none")}, "there is no such folder"),
        ({"captions": str(tmp_path / "none.json")}, "cannot be read: No such file"),
        ({"captions": str(tmp_path)}, "cannot be read: Is a directory"),
    ]:
        with pytest.raises(UserError, match=message):
            _open(tmp_path, **flags)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@FUZZ
@given(
    st.dictionaries(st.sampled_from(["a", "b", "é", ""]), JSON),
    st.integers(1, 20),
    st.sampled_from([None, 1]),
)
def test_elements_are_those_that_json_finds(tmp_path, content, chunk, indent):
    """However the file falls into pieces."""
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps(content, ensure_ascii=False, indent=indent), "utf-8", "surrogatepass"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", chunk)
        for key in ("a", "é", "none"):
            value = content.get(key, [])
            if isinstance(value, list):
                assert list(elements(path, key)) == value
            else:
                with pytest.raises(UserError, match="no list"):
                    list(elements(path, key))


def test_an_element_may_be_long_and_none_is_endless(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": ["x" * 100_000, 1234567]}))
    assert list(elements(path, "a")) == ["x" * 100_000, 1234567]
    monkeypatch.setattr(json_stream, "_MAX_ELEMENT", 1 << 14)
    with pytest.raises(UserError, match="an element of more than"):
        list(elements(path, "a"))


@FUZZ
@given(st.integers(0, 2**32))
def test_a_damaged_file_is_read_or_a_user_error(tmp_path, seed):
    rng = random.Random(seed)
    data = bytearray(json.dumps(WHOLE).encode())
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(data))
        data[start : start + rng.randint(0, 5)] = rng.choice(
            [b"", b'"', b"]", b"}", b",", b"[", b"9", b"\xff", b"\\ud800", b"\\u0000", b"-"]
        )
    try:
        source = _open(tmp_path, bytes(data))
    except UserError as error:
        message = str(error)
    else:
        message = ""
        for example in _all(source):
            assert isinstance(example.image, Rejected) or example.image.is_relative_to(tmp_path)
    assert "\n" not in message
