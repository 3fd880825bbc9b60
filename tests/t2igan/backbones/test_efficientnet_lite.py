"""The network's pieces beside XLA's own convolutions, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from t2igan.backbones.efficientnet_lite import LITE0, LITE1, blocks, depthwise, relu6
from t2igan.runtime.topologies import compiling_for


def _grouped(x, layer, stride):
    """XLA's convolution of each channel by itself."""
    y = lax.conv_general_dilated(
        x,
        layer["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )
    return y + layer["bias"][None, None, None]


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
@pytest.mark.parametrize("size", [2, 4, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taps", [3, 5])
def test_depthwise_and_its_gradient_are_xlas(platform, size, stride, taps):
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (2, size, size, 6))
    kernel = jax.random.normal(keys[1], (taps, taps, 1, 6))
    layer = {"kernel": kernel, "bias": jax.random.normal(keys[2], (6,))}
    with compiling_for(platform):
        found, pull_back = jax.vjp(lambda x: depthwise(x, layer, stride), x)
    expected, expected_pull_back = jax.vjp(lambda x: _grouped(x, layer, stride), x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    cotangent = jax.random.normal(keys[3], found.shape)
    np.testing.assert_allclose(pull_back(cotangent)[0], expected_pull_back(cotangent)[0], atol=1e-5)


def test_relu6_has_a_gradient_between_its_bounds_alone():
    x = np.array([-1.0, 0.0, 1e-6, 3.0, 5.999, 6.0, 7.0], np.float32)
    y, pull_back = jax.vjp(relu6, jnp.asarray(x))
    np.testing.assert_array_equal(y, np.minimum(np.maximum(x, 0), 6))
    np.testing.assert_array_equal(pull_back(2 * np.ones_like(x))[0], [0, 0, 2, 2, 2, 0, 0])


def test_gradient_penalties_go_through():
    def penalty(x):
        return jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(relu6(x) ** 2))(x)))

    x = jnp.array([-1.0, 0.5, 3.0, 7.0])
    # Of (2 x)^2 within the bounds: 8 x.
    np.testing.assert_allclose(jax.grad(penalty)(x), [0.0, 4.0, 24.0, 0.0])


def test_depths_are_the_published_ones():
    # The table of the reference: 16 blocks, and 1.1 times as deep, first and last stage aside.
    assert [len(blocks(stages)) for stages in (LITE0, LITE1)] == [16, 21]
    assert jnp.prod(jnp.array([stage.stride for stage in LITE1])) == 16  # after a stem of stride 2
