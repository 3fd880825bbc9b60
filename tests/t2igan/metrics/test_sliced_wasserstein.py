"""Patches and their distance: scipy's numbers, and known images."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from input_pipeline.errors import UserError
from t2igan.metrics.engine import build as contexts
from t2igan.metrics.features import patches
from t2igan.metrics.statistics.sliced_wasserstein_distance import sliced_wasserstein_distances


def test_the_distance_is_scipys_along_each_line():
    numbers = np.random.default_rng(0)
    first = numbers.normal(size=(200, 5)).astype(np.float32)
    second = numbers.normal(1.0, 2.0, size=(200, 5)).astype(np.float32)
    found = sliced_wasserstein_distances(first, second, 3, repeats=1, directions=7)
    lines = np.random.default_rng(3).standard_normal((5, 7))
    lines /= np.linalg.norm(lines, axis=0)
    expected = [scipy.stats.wasserstein_distance(first @ line, second @ line) for line in lines.T]
    np.testing.assert_allclose(found, [np.mean(expected)], rtol=1e-4)


def test_the_distance_of_known_clouds():
    cloud = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    np.testing.assert_allclose(sliced_wasserstein_distances(cloud, cloud[::-1], 0), 0.0, atol=1e-6)
    moved = sliced_wasserstein_distances(cloud, cloud + np.float32(2.0), 0, directions=4000)
    # A shift by d moves each projection by |d.u|; in 4 dimensions its mean is 4 / (3 pi) |d|.
    np.testing.assert_allclose(moved, 4.0 * 4 / (3 * np.pi), rtol=0.03)
    with pytest.raises(ValueError, match="as many points"):
        sliced_wasserstein_distances(cloud, cloud[1:], 0)


def test_a_pyramid_is_scipys_and_adds_up_to_the_image():
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    fine, coarse = patches.laplacian_pyramid(image, 2)
    taps = np.array([1, 4, 6, 4, 1]) / 16

    def blurred(x, gain=1.0):
        for axis in (1, 2):
            x = scipy.ndimage.correlate1d(x, gain * taps, axis=axis, mode="mirror")
        return x

    np.testing.assert_allclose(coarse, blurred(image)[:, ::2, ::2], atol=1e-5)
    spread = np.zeros_like(image)
    spread[:, ::2, ::2] = coarse
    np.testing.assert_allclose(fine + blurred(spread, 2.0), image, atol=1e-5)


def test_a_flat_image_has_nothing_but_its_coarsest_level():
    reader = patches.Patches(64)
    assert reader.sizes == [64, 32, 16]
    [rows] = reader.rows([np.full((2, 64, 64, 3), 100, np.uint8)])
    assert rows.shape == (2, reader.dim)
    levels = reader.levels(rows)
    assert {size: level.shape for size, level in levels.items()} == dict.fromkeys(
        (64, 32, 16), (2 * patches.PLACES, 147)
    )
    # The gain of the filter between the pixels that are spread is 1 but for the borders.
    assert np.abs(np.median(levels[64])) < 1e-3
    np.testing.assert_allclose(levels[16], 100.0, rtol=1e-5)


def test_images_of_another_size_are_refused():
    with pytest.raises(UserError, match="resize them"):
        list(patches.Patches(64).rows([np.zeros((1, 32, 32, 3), np.uint8)]))
    with pytest.raises(UserError, match="no patches of 7"):
        patches.Patches(4)
    with pytest.raises(UserError, match="give --dataset"):
        contexts.make_context(["sliced_wasserstein"])
