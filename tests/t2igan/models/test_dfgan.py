"""Residual networks: shapes, widths, and that text and noise reach every block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.models.conv.plain import conv, upsample_nearest
from t2igan.models.dfgan import Discriminator, Generator, UpBlock, widths
from t2igan.models.text import frozen_variables

TEXT = {"codes": jnp.array([[1, 5, 6, 2, 0], [1, 7, 2, 0, 0]], jnp.int32)}
NOISE = {"z": jnp.ones((2, 6))}
FROZEN = {"frozen": frozen_variables(jax.random.normal(jax.random.key(1), (9, 8)))}


def init(module, *inputs):
    made = {"mutable": ["params"], "rngs": {"params": jax.random.key(0)}}
    apply = jax.jit(lambda frozen, *inputs: module.apply(frozen, *inputs, train=False, **made))
    return apply(FROZEN, *inputs)


def test_widths_double_downwards_up_to_eight_times():
    assert widths(64, 32) == [256, 256, 128, 64, 32]
    assert widths(256, 4) == [32, 32, 32, 32, 16, 8, 4]


@pytest.mark.parametrize("size", [16, 64])
def test_shapes(size):
    out, _ = init(Generator(size, 4, 8), TEXT, NOISE)
    assert out["image"].shape == (2, size, size, 3)
    logits, _ = init(Discriminator(size, 4, 8), out["image"], TEXT)
    assert logits.shape == (2,)


def test_generator_widths_give_the_count_by_hand():
    _, variables = init(Generator(16, 4, 8, "flat"), TEXT, NOISE)
    blocks = 0
    for before, after in ((16, 8), (8, 4)):  # 4x4 -> 8x8 -> 16x16
        affines = 2 * (8 + 1) * (2 * before) + 2 * (8 + 1) * (2 * after)
        convs = 9 * before * after + after + 9 * after * after + after
        blocks += affines + convs + before * after  # the shortcut has no bias
    text = 5 * 8 * 8 + 8
    condition = (8 + 6) * 8 + 8
    start = 6 * 16 * 16 + 16 * 16
    image = 9 * 4 * 3 + 3
    total = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert total == text + condition + start + blocks + image


def test_up_block_is_the_published_order_to_the_same_values():
    """Enlarging first, then per-pixel changes, as DF-GAN writes it."""
    x, condition = jax.random.normal(jax.random.key(2), (2, 4, 4, 6)), jnp.ones((2, 3))
    block = UpBlock(5)
    variables = block.init(jax.random.key(3), x, condition)
    p = variables["params"]

    def affine(x, name):
        change = condition @ p[name]["Dense_0"]["kernel"] + p[name]["Dense_0"]["bias"][None]
        scale, shift = jnp.split(change[:, None, None], 2, -1)
        y = x * (1 + scale) + shift
        return jnp.where(y > 0, y, 0.2 * y)

    def conv3(x, name):
        return conv(x, p[name]["kernel"]) + p[name]["bias"][None, None, None]

    up = upsample_nearest(x)
    y = conv3(affine(affine(up, "Affine_0"), "Affine_1"), "Conv_0")
    y = conv3(affine(affine(y, "Affine_2"), "Affine_3"), "Conv_1")
    expected = conv(up, p["shortcut"]["kernel"]) + y
    np.testing.assert_allclose(block.apply(variables, x, condition), expected, atol=1e-4)


@pytest.mark.parametrize("head", ["concat", "projection"])
def test_the_judgement_depends_on_the_caption(head):
    image = jax.random.normal(jax.random.key(4), (2, 16, 16, 3))
    module = Discriminator(16, 4, 8, head=head)
    logits, variables = init(module, image, TEXT)
    swapped = module.apply(variables | FROZEN, image, {"codes": TEXT["codes"][::-1]}, train=False)
    assert np.abs(swapped - logits).max() > 1e-5


def test_unknown_heads_and_encoders():
    image = jnp.zeros((2, 16, 16, 3))
    with pytest.raises(ValueError, match="concat or projection"):
        init(Discriminator(16, 4, 8, head="sum"), image, TEXT)
    with pytest.raises(ValueError, match="did you mean 'attention'"):
        init(Discriminator(16, 4, 8, "atention"), image, TEXT)
