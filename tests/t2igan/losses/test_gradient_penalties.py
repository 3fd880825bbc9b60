"""Penalties against functions whose gradients are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.losses import gradient_penalties

IMAGES = jnp.array(np.random.default_rng(0).normal(size=(3, 2, 2, 3)))
TEXTS = jnp.array(np.random.default_rng(1).normal(size=(3, 4)))
KEYS = jax.random.split(jax.random.key(0), 3)


def quadratic(image):
    """Its gradient is 2 * image."""
    return jnp.sum(image**2, axis=(1, 2, 3))


def test_exact_penalty_is_the_squared_gradient():
    expected = np.mean(np.sum((2 * np.array(IMAGES)) ** 2, axis=(1, 2, 3)))
    penalty = gradient_penalties.zero_centred(quadratic, IMAGES, KEYS)
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)


def test_difference_has_the_same_mean():
    many = jnp.tile(IMAGES, (2000, 1, 1, 1))
    keys = jax.random.split(jax.random.key(1), 6000)
    difference = gradient_penalties.zero_centred(quadratic, many, keys, "difference")
    exact = gradient_penalties.zero_centred(quadratic, IMAGES, KEYS)
    np.testing.assert_allclose(difference, exact, rtol=0.1)


def test_matching_aware_takes_both_gradients_to_its_power():
    def logits(image, text):
        return 0.1 * quadratic(image) + text @ jnp.array([1.0, 2.0, 0.0, 0.0])

    squares = np.sum((0.2 * np.array(IMAGES)) ** 2, axis=(1, 2, 3)) + 5.0
    penalty = gradient_penalties.matching_aware(logits, IMAGES, TEXTS, power=6.0)
    np.testing.assert_allclose(penalty, np.mean(squares**3), rtol=1e-4)


def test_flat_ground_has_finite_gradients():
    def penalty(slope):
        def logits(image, text):
            return slope * image.sum((1, 2, 3)) + 0.0 * text.sum(1)

        return gradient_penalties.matching_aware(logits, IMAGES, TEXTS)

    assert jax.grad(penalty)(0.0) == 0.0


def test_unknown_forms():
    with pytest.raises(ValueError, match="must be one of exact, difference"):
        gradient_penalties.zero_centred(quadratic, IMAGES, KEYS, "numeric")
