"""The oracle: right on real images, silent on what shows no clear object."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from input_pipeline.sources.shapes import ShapesSource, oracle, rendering
from input_pipeline.sources.shapes.attributes import NAMES, Attributes

NOT_USED_IN_MAKING_IT = 20_261_107


def _sample(size: int, count: int, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [count, size, size, 3] and their attributes [count, 5]."""
    source = ShapesSource(100 * count, size, NOT_USED_IN_MAKING_IT)
    images = np.stack([example.image for example in source.examples(split, 0, count)])
    return images, np.array([source.attributes(split, index) for index in range(count)])


def _all_right(read: np.ndarray, attributes: np.ndarray) -> float:
    return float((read == attributes).all(axis=1).mean())


@pytest.mark.parametrize(
    ("size", "count"), [(32, 500), (48, 300), (64, 2000), (96, 200), (256, 60)]
)
def test_reads_real_images(size: int, count: int) -> None:
    images, attributes = _sample(size, count)
    assert _all_right(oracle.read(images), attributes) >= 0.995


def test_reads_compositions() -> None:
    images, attributes = _sample(64, 500, "compositions")
    assert _all_right(oracle.read(images), attributes) >= 0.995


@pytest.mark.parametrize("size", [32, 64])
def test_noise_does_not_disturb_it(size: int) -> None:
    images, attributes = _sample(size, 400)
    noise = np.random.default_rng(0).normal(0, 8, images.shape)
    noisy = np.clip(images + noise, 0, 255).astype(np.uint8)
    assert _all_right(oracle.read(noisy), attributes) >= 0.99


def test_a_little_blur_does_not_disturb_it() -> None:
    images, attributes = _sample(64, 400)
    blurred = gaussian_filter(images.astype(np.float32), (0, 1, 1, 0)).astype(np.uint8)
    assert _all_right(oracle.read(blurred), attributes) >= 0.99


def test_a_heavy_blur_is_not_right_by_accident() -> None:
    images, attributes = _sample(64, 400)
    blurred = gaussian_filter(images.astype(np.float32), (0, 5, 5, 0)).astype(np.uint8)
    assert _all_right(oracle.read(blurred), attributes) < 0.1


def test_nothing_is_read_from_nothing() -> None:
    flat = np.full((3, 64, 64, 3), [[[[255]]], [[[128]]], [[[0]]]], np.uint8)
    expected = [[-1, -1, -1, -1, background] for background in (0, 1, 2)]
    np.testing.assert_array_equal(oracle.read(flat), expected)
    noise = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), np.uint8)
    assert (oracle.read(noise) == -1).all()
    green = np.full((1, 64, 64, 3), (40, 200, 60), np.uint8)
    assert (oracle.read(green) == -1).all()


def _scene(color: int, place: int, size: int = 0, shape: int = 3) -> rendering.Scene:
    attributes = Attributes(shape, color, size, place, 0)
    return rendering.scene_of(attributes, np.full(rendering.DRAWS, 0.5))


@pytest.mark.parametrize("second_colour", [0, 5])
def test_two_objects_are_none(second_colour: int) -> None:
    one = rendering.render(_scene(0, 0), 64)
    other = rendering.render(_scene(second_colour, 1), 64)
    assert (oracle.read(one[None])[0] == [3, 0, 0, 0, 0]).all()
    both = np.minimum(one, other)[None]
    np.testing.assert_array_equal(oracle.read(both), [[-1, -1, -1, -1, 0]])


def test_halves_of_two_images_are_not_right() -> None:
    images, attributes = _sample(64, 400)
    images = images[attributes[:, 3] == 4]  # in the center, cut through
    attributes = attributes[attributes[:, 3] == 4]
    cut = np.concatenate([images[:, :, :32], np.roll(images, 1, axis=0)[:, :, 32:]], axis=2)
    assert _all_right(oracle.read(cut), attributes) < 0.05


def test_a_color_between_two_is_none() -> None:
    between = rendering.PALETTE[[0, 6]].mean(0)  # red and purple
    brown = np.array((110, 70, 40), np.float32)
    for rgb in (between, brown):
        scene = _scene(0, 4, size=1, shape=0)._replace(color=rgb)
        read = oracle.read(rendering.render(scene, 64)[None])[0]
        np.testing.assert_array_equal(read, [0, -1, 1, 4, 0])


def test_a_size_or_place_between_two_is_none() -> None:
    scene = _scene(2, 4, size=1)
    read = oracle.read(
        np.stack(
            [
                rendering.render(scene._replace(x=0.3, y=0.3), 64),  # a corner
                rendering.render(scene._replace(radius=0.3), 64),
                rendering.render(scene._replace(radius=0.06), 64),
            ]
        )
    )
    assert read[0, 3] == -1
    assert (read[1:, 2] == -1).all()


def test_one_image_reads_as_it_does_among_others() -> None:
    images, _ = _sample(64, oracle.CHUNK + 6)
    together = oracle.read(images)
    alone = np.concatenate([oracle.read(images[i : i + 1]) for i in range(60, len(images))])
    np.testing.assert_array_equal(together[60:], alone)
    assert oracle.read(images[:0]).shape == (0, len(NAMES))


@pytest.mark.parametrize("shape", [(2, 64, 64), (2, 64, 32, 3), (64, 64, 3), (2, 64, 64, 4)])
def test_other_arrays_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[B, S, S, 3\]"):
        oracle.read(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float32"):
        oracle.read(np.zeros((1, 64, 64, 3), np.float32))
