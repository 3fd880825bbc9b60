"""Images to and from the networks' range, blurred, and many as one."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import convolve1d

from t2igan import images


def test_every_grey_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(images.to_uint8(images.to_unit_range(jnp.array(values))), values)


def test_range_is_minus_one_to_one_and_clips():
    np.testing.assert_allclose(images.to_unit_range(jnp.array([0, 255], jnp.uint8)), [-1.0, 1.0])
    np.testing.assert_array_equal(images.to_uint8(jnp.array([-1.5, 0.0, 1.5])), [0, 128, 255])


def test_grid_puts_each_image_in_its_cell():
    cells = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * np.ones((1, 1, 4, 5, 3), np.uint8)
    sheet = images.grid(cells, gap=2, background=255)
    assert sheet.shape == (2 * 6 + 2, 3 * 7 + 2, 3)
    for row in range(2):
        for column in range(3):
            top, left = 2 + row * 6, 2 + column * 7
            cell = sheet[top : top + 4, left : left + 5]
            np.testing.assert_array_equal(cell, cells[row, column])
    assert (sheet[:2] == 255).all()
    assert (sheet[:, -2:] == 255).all()


def test_softened_is_between_the_image_and_scipys_blur():
    """Each image by a share of its own, the same whatever stands beside it."""
    random = np.random.default_rng(0)
    pictures = random.uniform(-1.0, 1.0, (5, 12, 10, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(3), 5)
    found = np.asarray(images.random_blur(jnp.asarray(pictures), keys))
    weights = np.array([1, 4, 6, 4, 1]) / 16
    blurred = pictures
    for axis in (1, 2):
        blurred = convolve1d(blurred, weights, axis=axis, mode="nearest")
    change, whole = found - pictures, blurred - pictures
    shares = (change * whole).sum((1, 2, 3)) / (whole**2).sum((1, 2, 3))
    np.testing.assert_allclose(change, shares[:, None, None, None] * whole, atol=1e-6)
    assert ((shares > 0.0) & (shares < 1.0)).all()
    assert np.ptp(shares) > 0.2
    alone = images.random_blur(jnp.asarray(pictures[3:4]), keys[3:4])
    np.testing.assert_allclose(alone[0], found[3], atol=1e-6)
