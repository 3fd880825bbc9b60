"""Compact networks: shapes, counts by hand, and that captions reach what they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.models.compact import Discriminator, Generator, pixel_norm
from t2igan.models.text import frozen_variables

TEXT = {"codes": jnp.array([[1, 5, 6, 2, 0], [1, 7, 2, 0, 0]], jnp.int32)}
NOISE = {"z": jnp.ones((2, 6))}
FROZEN = {"frozen": frozen_variables(jax.random.normal(jax.random.key(1), (9, 8)))}


def init(module, *inputs):
    made = {"mutable": ["params"], "rngs": {"params": jax.random.key(0)}}
    apply = jax.jit(lambda frozen, *inputs: module.apply(frozen, *inputs, train=False, **made))
    return apply(FROZEN, *inputs)


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("size", [16, 64])
def test_shapes(size):
    out, _ = init(Generator(size, 4, 8), TEXT, NOISE)
    assert out["image"].shape == (2, size, size, 3)
    logits, _ = init(Discriminator(size, 4, 8), out["image"], TEXT)
    assert logits.shape == (2,)


def test_counts_by_hand():
    """4x4 -> 8x8 -> 16x16 and back; word vectors of 8 numbers, captions of 5 words, noise of 6."""
    image = jnp.zeros((2, 16, 16, 3))
    _, g = init(Generator(16, 4, 8, "flat", condition_dim=10), TEXT, NOISE)
    text = 5 * 8 * 8 + 8
    condition = (8 + 6) * 10 + 10 + 10 * 10 + 10
    start = 10 * 16 * 16 + 16 * 16
    convs = 9 * 16 * 8 + 8 + 9 * 8 * 4 + 4 + 9 * 4 * 3 + 3
    affines = sum((10 + 1) * 2 * width for width in (16, 8, 4))
    assert count(g) == text + condition + start + convs + affines
    _, d = init(Discriminator(16, 4, 8, "flat", joint_dim=7), image, TEXT)
    convs = 16 * 3 * 8 + 8 + 16 * 8 * 16 + 16
    joint = 9 * (16 + 8) * 7 + 7 + 16 * 7 + 1
    embedding = 16 * 16 * 8 + 8
    assert count(d) == text + convs + joint + embedding


def test_pixel_norm_against_numpy():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True))
    np.testing.assert_allclose(pixel_norm(jnp.array(x)), expected, rtol=1e-4)
    assert pixel_norm(jnp.array(x, jnp.bfloat16)).dtype == jnp.bfloat16
    assert np.isfinite(pixel_norm(jnp.zeros((1, 1, 1, 4)))).all()


def test_what_is_drawn_depends_on_caption_and_noise():
    module = Generator(16, 4, 8)
    _, variables = init(module, TEXT, NOISE)

    @jax.jit
    def draw(codes, z):
        out = module.apply(variables | FROZEN, {"codes": codes}, {"z": z}, train=False)
        return out["image"]

    images = draw(TEXT["codes"], NOISE["z"])
    assert np.abs(draw(TEXT["codes"][::-1], NOISE["z"])[::-1] - images).max() < 1e-5
    assert np.abs(images[0] - images[1]).max() > 1e-3
    assert np.abs(draw(TEXT["codes"], 2 * NOISE["z"]) - images).max() > 1e-3


def test_the_judgement_depends_on_the_caption():
    image = jax.random.normal(jax.random.key(4), (2, 16, 16, 3))
    module = Discriminator(16, 4, 8)
    logits, variables = init(module, image, TEXT)
    swapped = module.apply(variables | FROZEN, image, {"codes": TEXT["codes"][::-1]}, train=False)
    assert np.abs(swapped - logits).max() > 1e-5
