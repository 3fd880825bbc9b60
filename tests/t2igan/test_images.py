"""Pictures to and from the networks' range."""

import jax.numpy as jnp
import numpy as np

from t2igan import images


def test_every_grey_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(images.to_uint8(images.to_unit_range(jnp.array(values))), values)


def test_range_is_minus_one_to_one_and_clips():
    np.testing.assert_allclose(images.to_unit_range(jnp.array([0, 255], jnp.uint8)), [-1.0, 1.0])
    np.testing.assert_array_equal(images.to_uint8(jnp.array([-1.5, 0.0, 1.5])), [0, 128, 255])


def test_grid_puts_each_picture_in_its_cell():
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
