"""COCO's captions files: read in pieces, in any order, with any fault."""

import argparse
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers import json_captions
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
    for name in ("nine.jpg", "sub/three.jpg", "uncaptioned.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
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


def test_captions_of_images_that_are_not_listed_are_left_out_and_said_so(tmp_path):
    stray = [*ANNOTATIONS, {"image_id": 77, "caption": "a stray"}]
    source = _open(tmp_path, {**WHOLE, "annotations": stray})
    assert sum(len(example.captions) for example in _all(source)) == 4
    [(where, reason)] = source.bad
    assert "1 annotations, the first of image 77" in where
    assert reason == "unknown_image"


@pytest.mark.parametrize("name", ["../a.jpg", "a/../../b.jpg"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    content = {"images": [{"id": 1, "file_name": name}], "annotations": []}
    (example,) = _all(_open(tmp_path, content))
    assert isinstance(example.image, Rejected)
    assert example.image.reason == "bad_name"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"[]", "no row can be used"),
        (b"{}", "no row can be used"),
        (b'{"images": []}', "no row can be used"),
        (b'{"images": {}}', "no row can be used"),
        (b'{"images": [{"id": 1}], "annotations": []}', "element 0 of 'images': no_file_name"),
        (b'{"images": [{"file_name": "a"}], "annotations": []}', "element 0 of 'images': no_id"),
        (b'{"images": [{"id": true, "file_name": "a"}], "annotations": []}', "no_id"),
        (b'{"images": [{"id": 1e40, "file_name": "a"}], "annotations": []}', "no_id"),
        (b'{"images": [{"id": 1, "file_name": "a"}', "damaged, or no JSON"),
        (b'{"images": [{"id": 1, "file_name"', "damaged, or no JSON"),
        (b'{"images": [' + b"[" * 100_000, "lists within lists"),
        (b'{"images" []}', "damaged, or no JSON"),
        (b"{3: []}", "damaged, or no JSON"),
        (b'{"a": 1 "images": []}', "damaged, or no JSON"),
    ],
)
def test_a_file_that_has_nothing_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as error:
        _open(tmp_path, content)
    assert "\n" not in str(error.value)


def test_an_instances_file_is_called_that(tmp_path):
    boxes = [{"id": 1, "image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4]}]
    with pytest.raises(UserError, match="it is an instances file; give the captions file"):
        _open(tmp_path, {"images": IMAGES, "annotations": boxes, "categories": []})


def test_one_bad_annotation_is_counted_and_ids_may_be_texts(tmp_path):
    annotations = [{**row, "image_id": str(row["image_id"])} for row in ANNOTATIONS]
    annotations += [{"image_id": 9, "caption": None}, {"caption": "of no image"}, 3]
    source = _open(tmp_path, {**WHOLE, "annotations": annotations})
    assert sorted(source.captions("train")) == sorted(row["caption"] for row in ANNOTATIONS)
    assert [reason for _, reason in source.bad] == ["no_caption", "no_image_id", "no_image_id"]


def test_karpathys_splits_are_kept(tmp_path):
    images = [
        {
            "filename": "nine.jpg",
            "filepath": "val2014",
            "split": split,
            "sentences": [{"raw": f"a {split}"}, {"raw": "a dog"}],
        }
        | ({"filename": "sub/three.jpg"} if split == "val" else {})
        | ({"filename": "uncaptioned.jpg"} if split == "test" else {})
        for split in ("restval", "val", "test")
    ]
    source = _open(tmp_path, {"dataset": "coco", "images": images})
    assert source.splits() == {"train": 1, "validation": 1, "test": 1}
    (example,) = _all(source, "validation")
    assert example.captions == ("a val", "a dog")
    assert example.image == tmp_path / "sub/three.jpg"


def test_mistakes_about_what_is_where(tmp_path):
    for flags, message in [
        ({"captions": None}, "needs both --captions=FILE.json and --images=DIR"),
        ({"images": None}, "needs both"),
        ({"images": str(tmp_path / "none")}, "there is no such folder"),
        ({"captions": str(tmp_path / "none.json")}, "cannot be read: No such file"),
        ({"captions": str(tmp_path)}, "is not a file"),
    ]:
        with pytest.raises(UserError, match=message):
            _open(tmp_path, **flags)


def test_an_element_may_be_long_and_none_is_endless(tmp_path, monkeypatch):
    long = [{**ANNOTATIONS[0], "caption": "x" * 100_000}]
    source = _open(tmp_path, {"images": IMAGES, "annotations": long})
    assert "x" * 100_000 in list(source.captions("train"))
    monkeypatch.setattr(json_captions, "_MAX_ELEMENT", 1 << 16)
    with pytest.raises(UserError, match="an element of more than"):
        _open(tmp_path, {"images": IMAGES, "annotations": [{"caption": "x" * 1_000_000}]})


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
