"""Shapes: addressed images, honest splits, captions that say what is drawn."""

from __future__ import annotations

import argparse
import collections
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.sources import shapes
from input_pipeline.sources.shapes import captions, rendering
from input_pipeline.sources.shapes.attributes import (
    COLORS,
    HELD_OUT,
    NAMES,
    SHAPES,
    Attributes,
)

SOURCE = shapes.ShapesSource(num_examples=2000, image_size=32, seed=3)
EVERY = [
    Attributes(*indices) for indices in itertools.product(*(range(len(n)) for n in NAMES.values()))
]


def names_of(indices):
    """The attributes in words, "none" for what is not known."""
    return {
        field: "none" if index is None or index < 0 else names[index]
        for (field, names), index in zip(NAMES.items(), indices, strict=True)
    }


def _open(**flags: int) -> shapes.ShapesSource:
    return shapes.open_source(argparse.Namespace(**{"image_size": 64, "seed": 0, **flags}))


@pytest.mark.parametrize("number", [4, 7, 20, 999, 100_000])
def test_the_splits_share_the_examples_out(number: int) -> None:
    splits = _open(num_examples=number).splits()
    assert sum(splits.values()) == number
    assert min(splits.values()) >= 1
    if number >= 20:
        assert splits["test"] == number // 10
        assert splits["validation"] == splits["compositions"] == number // 20


def test_held_out_pairs_are_in_compositions_and_nowhere_else() -> None:
    for split, number in SOURCE.splits().items():
        pairs = {SOURCE.attributes(split, index)[:2] for index in range(number)}
        assert pairs <= HELD_OUT if split == "compositions" else pairs.isdisjoint(HELD_OUT)


def test_train_shows_every_shape_and_every_color_often() -> None:
    seen = [SOURCE.attributes("train", index) for index in range(1000)]
    for field, names in NAMES.items():
        counts = collections.Counter(getattr(attributes, field) for attributes in seen)
        assert len(counts) == len(names)
        assert min(counts.values()) > 0.6 * len(seen) / len(names)
    assert {color for _, color in HELD_OUT} == set(range(len(COLORS)))
    assert {shape for shape, _ in HELD_OUT} == set(range(len(SHAPES)))


def test_an_example_depends_on_seed_split_and_index_alone() -> None:
    def bits(source: shapes.ShapesSource, split: str, start: int, stop: int) -> list[tuple]:
        return [
            (example.key, example.image.tobytes(), example.captions)
            for example in source.examples(split, start, stop)
        ]

    whole = bits(SOURCE, "train", 0, 12)
    assert bits(SOURCE, "train", 5, 9) == whole[5:9]
    assert bits(shapes.ShapesSource(9000, 32, 3), "train", 0, 12) == whole
    others = bits(SOURCE, "test", 0, 12) + bits(shapes.ShapesSource(2000, 32, 4), "train", 0, 12)
    assert not {image for _, image, _ in whole} & {image for _, image, _ in others}
    assert len({image for _, image, _ in whole}) == 12


def test_captions_are_those_of_the_examples() -> None:
    written = [caption for e in SOURCE.examples("test", 0, 20) for caption in e.captions]
    assert list(itertools.islice(SOURCE.captions("test"), len(written))) == written
    assert len(written) == 20 * captions.CAPTIONS


@pytest.mark.parametrize("size", [32, 50, 256])
def test_images_lie_on_a_plain_border(size: int) -> None:
    for example in shapes.ShapesSource(400, size, 1).examples("train", 0, 60):
        image = example.image
        assert image.dtype == np.uint8
        assert image.shape == (size, size, 3)
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (border == border[0]).all()
        assert (image != border[0]).any()


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_edges_are_antialiased(shape: int) -> None:
    """Coverage is the share of a pixel inside the outline, as 16 x 16 samples of it count."""
    size, fine = 48, 16
    scene = rendering.Scene(shape, 0.47, 0.52, 0.2, 0.2, np.zeros(3, np.float32), 255.0)
    coarse, _ = rendering.coverage(scene, size, slice(0, size), slice(0, size))
    many = size * fine
    sampled, _ = rendering.coverage(scene, many, slice(0, many), slice(0, many))
    counted = (sampled > 0.5).reshape(size, fine, size, fine).mean((1, 3))
    assert np.abs(coarse - counted).max() < 0.3  # at corners; a straight edge is within 0.1
    assert np.abs(coarse - counted).mean() < 0.002
    assert coarse.sum() == pytest.approx(counted.sum(), rel=0.01)


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_shapes_are_centred_on_their_mass_and_within_reach(shape: int) -> None:
    size = 512
    scene = rendering.Scene(shape, 0.5, 0.5, 0.35, 0.0, np.zeros(3, np.float32), 255.0)
    mass, _ = rendering.coverage(scene, size, slice(0, size), slice(0, size))
    at = (np.arange(size) + 0.5) / size - 0.5
    assert abs(mass.sum(0) @ at / mass.sum()) < 0.002
    assert abs(mass.sum(1) @ at / mass.sum()) < 0.002
    assert np.hypot(at[:, None], at)[mass > 0].max() < 0.35 * rendering.REACH


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(EVERY),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=7, max_size=7),
)
def test_every_caption_says_all_five_attributes(attributes: Attributes, draws: list[float]) -> None:
    caption = captions.caption_of(attributes, np.array(draws))
    assert captions.attributes_of(caption) == attributes
    assert captions.attributes_of(caption.upper().split()) == attributes


def test_every_attribute_reads_back_in_every_sentence() -> None:
    sentences = (np.arange(len(captions.SENTENCES)) + 0.5) / len(captions.SENTENCES)
    draws = np.random.default_rng(0).random((len(EVERY), len(sentences), 7))
    draws[:, :, 1] = sentences
    for attributes, rows in zip(EVERY, draws, strict=True):
        for row in rows:
            assert captions.attributes_of(captions.caption_of(attributes, row)) == attributes


def test_the_longest_caption_fits_seventeen_codes() -> None:
    longest = {
        "shape": 2,
        "color": 1,
        "size": 1,
        "ground": 1,
        "place": max(len(p.split()) for ps in captions.PLACE_PHRASES.values() for p in ps),
        "on_ground": 4,
    }
    fill = {name: " ".join(["word"] * number) for name, number in longest.items()}
    lengths = [len(sentence.format(**fill).split()) for sentence in captions.SENTENCES]
    assert max(lengths) == captions.MAX_WORDS == 15


def test_no_word_means_two_things() -> None:
    words = [word for codes in captions._CODES.values() for word in codes]
    assert len(words) == len(set(words))


def test_compositions_use_no_word_that_train_lacks() -> None:
    known, held_out = (
        {word for caption in SOURCE.captions(split) for word in caption.split()}
        for split in ("train", "compositions")
    )
    assert held_out <= known
    assert len(known) < 120


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A small RED star, on the left.", "star red small left none"),
        ("a dark red disk on a white background", "circle red none none white"),
        ("light blue donut against a light gray wall", "ring blue none none gray"),
        ("the background is dark; a tiny pink heart, centered", "heart pink small centre black"),
        ("a red star and a blue circle", "none none none none none"),
        ("a star on a red background", "star none none none none"),
        ("a red star on a dark blue background", "star red none none none"),
        ("big green plus top left on white", "cross green large none white"),
        ("a brown dog runs", "none none none none none"),
        ("background is", "none none none none none"),
        ("", "none none none none none"),
    ],
)
def test_captions_as_users_type_them(caption: str, expected: str) -> None:
    assert " ".join(names_of(captions.attributes_of(caption)).values()) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["red", "dark", "background", "is", "star", "a", "x"])),
    )
)
def test_any_text_reads_without_an_error(caption: str | list[str]) -> None:
    for value, names in zip(captions.attributes_of(caption), NAMES.values(), strict=True):
        assert value is None or 0 <= value < len(names)


@pytest.mark.parametrize(
    "flags",
    [
        {"num_examples": 3},
        {"num_examples": -1},
        {"num_examples": 100, "image_size": 31},
        {"num_examples": 100, "image_size": 257},
        {"num_examples": 100, "seed": -1},
    ],
)
def test_a_number_out_of_range_is_said_in_one_line(flags: dict[str, int]) -> None:
    with pytest.raises(UserError, match="give") as caught:
        _open(**flags)
    assert "\n" not in str(caught.value)
