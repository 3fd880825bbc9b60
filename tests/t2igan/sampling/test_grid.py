"""The sheet: images where they belong, captions that stay in their place."""

import numpy as np
import pytest

from t2igan.sampling.grid import captioned_grid, grid_shape


def sheet(size, captions, columns=3):
    values = np.random.default_rng(0).integers(0, 256, (len(captions), columns, size, size, 3))
    images = values.astype(np.uint8)
    return images, np.asarray(captioned_grid(images, captions))


@pytest.mark.parametrize(("size", "scale"), [(16, 8), (32, 4), (64, 2), (128, 1)])
def test_every_image_is_whole_and_enlarged_by_a_whole_number(size, scale):
    images, found = sheet(size, ["one", "two"])
    assert found.shape[1::-1] == grid_shape(2, 3, size)
    for row in range(2):
        for column in range(3):
            top, left = 4 + row * (size * scale + 4), 204 + column * (size * scale + 4)
            cell = found[top : top + size * scale, left : left + size * scale]
            np.testing.assert_array_equal(cell[::scale, ::scale], images[row, column])
            np.testing.assert_array_equal(cell[scale - 1 :: scale, ::scale], images[row, column])


def test_a_caption_is_written_beside_its_own_row():
    _, found = sheet(32, ["", "a red star"])
    ink = (found[:, :200] < 128).any(axis=(1, 2))
    assert not ink[:104].any()
    assert ink[104:].any()


@pytest.mark.parametrize(
    "caption", ["many words " * 60, "one" * 200, "\n\t \x00", "<b>ünïcödé 大</b>"]
)
def test_a_caption_stays_in_its_row_whatever_it_is(caption):
    _, found = sheet(32, ["", caption, ""])
    ink = (found[:, :200] < 128).any(axis=(1, 2))
    assert not ink[:102].any()
    assert not ink[-102:].any()
    assert (found[:, 195:200] == 255).all()
