"""Augmentation: each image its own change, the same for the same key, differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.losses.augmentation import CHANGES, augment, parse_policy

IMAGES = jnp.array(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 4)


def test_policy_is_a_list_of_known_changes():
    assert parse_policy("") == ()
    assert parse_policy("color, cutout") == ("color", "cutout")
    with pytest.raises(ValueError, match="did you mean 'translation'"):
        parse_policy("translaton")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_depends_on_its_own_key_alone(name):
    whole = augment(IMAGES, KEYS, (name,))
    np.testing.assert_allclose(augment(IMAGES[2:], KEYS[2:], (name,)), whole[2:], atol=1e-6)
    assert np.abs(whole - IMAGES).max() > 0.1
    same = jnp.tile(IMAGES[:1], (4, 1, 1, 1))
    assert np.abs(np.diff(augment(same, KEYS, (name,)), axis=0)).max() > 0.1


@pytest.mark.parametrize("name", CHANGES)
def test_a_gradient_comes_back_through_it(name):
    gradient = jax.grad(lambda x: augment(x, KEYS, (name,)).sum())(IMAGES)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_translation_moves_whole_pixels_and_leaves_grey():
    moved = np.array(augment(IMAGES, KEYS, ("translation",))[0])
    shifts = [
        (dy, dx)
        for dy in range(-2, 3)
        for dx in range(-2, 3)
        if np.array_equal(_shifted(np.array(IMAGES[0]), dy, dx), moved)
    ]
    assert len(shifts) == 1


def _shifted(image, dy, dx):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    return padded[2 + dy : 18 + dy, 2 + dx : 18 + dx]


def test_cutout_greys_at_most_a_quarter():
    hidden = np.array(augment(IMAGES, KEYS, ("cutout",)) == 0).all(axis=3)
    assert (hidden.sum(axis=(1, 2)) <= 64).all()
    assert (hidden.sum(axis=(1, 2)) > 0).all()
