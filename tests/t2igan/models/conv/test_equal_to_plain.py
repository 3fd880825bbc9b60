"""Every form of a convolution is the plain one: values, gradients, gradients of gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from t2igan.models.conv import dispatch as fast_forms
from t2igan.models.conv import im2col as matmul_forms
from t2igan.models.conv import plain as plain_forms
from t2igan.models.conv import winograd as tile_forms
from t2igan.models.conv.functions import conv, upsample_conv3

UPSAMPLE = [form for form in fast_forms.UPSAMPLE_FORMS if form != "plain"]
# (form, [H, W], kernel size, stride)
CONVS = [
    ("windows", (8, 12), 4, 2),
    ("windows", (6, 4), 2, 2),
    ("windows", (5, 3), 3, 1),
    ("windows", (4, 4), 1, 1),
    ("taps", (5, 3), 3, 1),
    ("taps", (4, 6), 5, 1),
    ("tiles", (8, 12), 4, 2),
    ("tiles", (4, 4), 4, 2),
]
CONV_IDS = [f"{form}-{size}-{stride}" for form, _, size, stride in CONVS]


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def assert_close(got, want, rounding=2e-6):
    """Equal to float32 rounding, measured by the largest value: sums are of mixed signs."""
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = np.abs(np.asarray(other)).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding * scale)


def value_and_gradients(function, x, kernel):
    @jax.jit
    def both(x, kernel):
        out, pull_back = jax.vjp(function, x, kernel)
        return out, pull_back(normal(9, *out.shape))

    return both(x, kernel)


def penalty_gradients(function, x, kernel):
    """Gradients of a gradient penalty: each derivative of the form is itself differentiated."""

    def penalty(x, kernel):
        loss = lambda x, kernel: jnp.sum(jnp.tanh(function(x, kernel)))  # noqa: E731
        gradients = jax.grad(loss, argnums=(0, 1))(x, kernel)
        return sum(jnp.sum(gradient**2) for gradient in gradients)

    return jax.jit(jax.grad(penalty, argnums=(0, 1)))(x, kernel)


def conv_form(form, stride):
    return lambda x, kernel: fast_forms.CONV_FORMS[form](x, kernel, stride)


def upsample_inputs(height=5, width=3):
    return normal(0, 2, height, width, 6), normal(1, 3, 3, 6, 4)


def conv_inputs(size, shape):
    return normal(0, 2, *shape, 6), normal(1, size, size, 6, 5)


def test_plain_forms_are_what_scipy_computes():
    x, kernel = np.asarray(normal(0, 1, 6, 8, 2)), np.asarray(normal(1, 3, 3, 2, 1))
    large = x.repeat(2, axis=1).repeat(2, axis=2)
    for picture, got in (
        (x, plain_forms.conv(x, kernel)),
        (large, plain_forms.upsample_conv3(x, kernel)),
    ):
        want = sum(
            scipy.signal.correlate2d(picture[0, :, :, c], kernel[:, :, c, 0], mode="same")
            for c in range(2)
        )
        np.testing.assert_allclose(got[0, :, :, 0], want, atol=1e-5)


@pytest.mark.parametrize("form", UPSAMPLE)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
def test_upsampling_forms_equal_the_plain_one(form, size):
    x, kernel = upsample_inputs(*size)
    got = value_and_gradients(fast_forms.UPSAMPLE_FORMS[form], x, kernel)
    assert_close(got, value_and_gradients(plain_forms.upsample_conv3, x, kernel))


@pytest.mark.parametrize(("form", "shape", "size", "stride"), CONVS, ids=CONV_IDS)
def test_convolution_forms_equal_the_plain_one(form, shape, size, stride):
    x, kernel = conv_inputs(size, shape)
    got = value_and_gradients(conv_form(form, stride), x, kernel)
    assert_close(got, value_and_gradients(conv_form("plain", stride), x, kernel))


@pytest.mark.parametrize("form", UPSAMPLE)
def test_upsampling_forms_differentiate_twice(form):
    x, kernel = upsample_inputs()
    got = penalty_gradients(fast_forms.UPSAMPLE_FORMS[form], x, kernel)
    assert_close(got, penalty_gradients(plain_forms.upsample_conv3, x, kernel), 2e-5)


@pytest.mark.parametrize(("form", "shape", "size", "stride"), CONVS, ids=CONV_IDS)
def test_convolution_forms_differentiate_twice(form, shape, size, stride):
    x, kernel = conv_inputs(size, shape)
    got = penalty_gradients(conv_form(form, stride), x, kernel)
    assert_close(got, penalty_gradients(conv_form("plain", stride), x, kernel), 2e-5)


ADJOINTS = {
    "windows": (lambda x: matmul_forms.windows(x, 4, 2), (2, 8, 4, 3)),
    "overlap_add": (lambda y: matmul_forms.overlap_add(y, 4, 2), (2, 4, 2, 4, 4, 3)),
    "overlap_add_stride_1": (lambda y: matmul_forms.overlap_add(y, 3, 1), (2, 4, 2, 3, 3, 3)),
    "add_upsampled": (matmul_forms.add_upsampled, (2, 4, 3, 3, 3, 5)),
    "box_sums": (matmul_forms.box_sums, (2, 8, 6, 5)),
    "take_tiles": (tile_forms.take_tiles, (2, 8, 12, 3)),
    "return_tiles": (tile_forms.return_tiles, (3, 3, 2, 2, 3, 12)),
    "merge_tiles": (tile_forms.merge_tiles, (3, 3, 2, 2, 3, 5)),
    "split_tiles": (tile_forms.split_tiles, (2, 4, 6, 5)),
}


@pytest.mark.parametrize("name", ADJOINTS)
def test_rearrangements_are_linear_and_their_stated_adjoints_are_theirs(name):
    function, shape = ADJOINTS[name]
    x, y = normal(0, *shape), normal(1, *shape)
    out, adjoint = jax.vjp(function, x)
    assert_close(function(2.0 * x - 3.0 * y), 2.0 * out - 3.0 * function(y))
    g = normal(2, *out.shape)
    # <A y, g> = <y, A' g>, for any y.
    np.testing.assert_allclose(
        jnp.vdot(function(y), g), jnp.vdot(y, adjoint(g)[0]), rtol=1e-4, atol=1e-3
    )


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    size=st.integers(1, 5),
    stride=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 16]),
    features=st.sampled_from([1, 3, 8]),
)
def test_whatever_is_chosen_for_any_shape_equals_the_plain_form(
    height, width, size, stride, channels, features
):
    x, kernel = normal(0, 1, height, width, channels), normal(1, size, size, channels, features)
    assert_close(conv(x, kernel, stride), plain_forms.conv(x, kernel, stride), 1e-5)


def test_the_reports_layers_on_cpu_are_computed_in_their_fast_forms():
    assert fast_forms.upsample_form() == "matmul"
    assert fast_forms.conv_form((8, 64, 64, 3), (4, 4, 3, 64), 2) == "windows"
    assert fast_forms.conv_form((8, 8, 8, 256), (4, 4, 256, 512), 2) == "tiles"
    assert fast_forms.conv_form((8, 64, 64, 64), (3, 3, 64, 3), 1) == "taps"
    with fast_forms.only("plain"):
        assert fast_forms.upsample_form() == "plain"
        assert fast_forms.conv_form((8, 8, 8, 256), (4, 4, 256, 512), 2) == "plain"


def flops(function, *inputs):
    return jax.jit(function).lower(*inputs).compile().cost_analysis()["flops"]


@pytest.mark.parametrize(
    ("fast", "plain", "kernel", "saving"),
    [
        (matmul_forms.upsample_conv3, plain_forms.upsample_conv3, (3, 3, 128, 128), 3.8),
        (plain_forms.upsample_conv3_by_phase, plain_forms.upsample_conv3, (3, 3, 128, 128), 2.0),
        (tile_forms.conv4_stride2, conv_form("plain", 2), (4, 4, 128, 128), 1.5),
    ],
    ids=["matmul", "four", "tiles"],
)
def test_the_arithmetic_saved(fast, plain, kernel, saving):
    """Of 4, 2.25 and 16 / 9 there remain a few additions, and plain forms skip the padding."""
    inputs = normal(0, 8, 16, 16, 128), normal(1, *kernel)
    assert flops(plain, *inputs) > saving * flops(fast, *inputs)


def test_low_precision_is_rounded_once():
    """bfloat16 in, bfloat16 out, float32 sums between: as near the truth as the plain form."""
    x, kernel = (value.astype(jnp.bfloat16) for value in upsample_inputs())
    for function in (upsample_conv3, lambda x, kernel: conv(x, kernel[..., :2])):
        out = function(x, kernel)
        assert out.dtype == jnp.bfloat16
        exact = function(x.astype(jnp.float32), kernel.astype(jnp.float32))
        assert_close(out.astype(jnp.float32), exact, 2.0**-8)
        gradients = jax.grad(lambda *a, f=function: jnp.sum(f(*a).astype(jnp.float32)), (0, 1))
        assert all(g.dtype == jnp.bfloat16 for g in gradients(x, kernel))


@pytest.mark.parametrize("function", [upsample_conv3, functools.partial(conv, stride=2)])
def test_mapped_over_examples_and_over_devices(function):
    x, kernel = normal(0, 4, 8, 8, 16), normal(1, 3, 3, 16, 4)
    if function is not upsample_conv3:
        kernel = normal(1, 4, 4, 16, 4)
    whole = value_and_gradients(function, x, kernel)

    one = lambda x: function(x[None], kernel)[0]  # noqa: E731
    assert_close(jax.jit(jax.vmap(one))(x), whole[0])

    def share(x, kernel, g):
        out, pull_back = jax.vjp(function, x, kernel)
        x_gradient, kernel_gradient = pull_back(g)
        return out, (x_gradient, jax.lax.psum(kernel_gradient, "data"))

    mapped = jax.shard_map(
        share,
        mesh=Mesh(np.array(jax.devices()[:4]), ("data",)),
        in_specs=(P("data"), P(), P("data")),
        out_specs=(P("data"), (P("data"), P())),
        check_vma=False,
    )
    assert_close(jax.jit(mapped)(x, kernel, normal(9, *whole[0].shape)), whole)
