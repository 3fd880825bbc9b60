"""The diversity loss against numpy, and what its gradient moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.losses.diversity import diversity, pair_distance, pairs


def over_replicas(function, features, replicas):
    split = features.reshape(replicas, -1, *features.shape[1:])
    return jax.vmap(function, axis_name="data")(split)


def expected(features):
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    every = flat[:, None] - flat[None]
    whole = np.sqrt(np.mean(every**2))
    return np.sqrt(np.mean((flat[::2] - flat[1::2]) ** 2, axis=1)) / whole


@pytest.mark.parametrize("replicas", [1, 4])
def test_distances_are_shares_of_the_whole_batchs_on_any_number_of_devices(replicas):
    features = np.random.default_rng(0).normal(size=(16, 3, 3, 5))
    found = over_replicas(lambda x: pair_distance(x, "data"), features, replicas)
    np.testing.assert_allclose(np.ravel(found), expected(features), rtol=1e-4)
    np.testing.assert_allclose(
        np.ravel(over_replicas(lambda x: pair_distance(x, "data"), 50 * features, replicas)),
        expected(features),
        rtol=1e-4,
    )


def test_only_pairs_below_the_target_cost_and_descent_parts_them():
    rng = np.random.default_rng(1)
    features = np.repeat(rng.normal(size=(8, 6)), 2, axis=0)
    features[1::2] += 1e-3 * rng.normal(size=(8, 6))  # alike
    features[-1] = rng.normal(size=6) * 5  # the last pair differs

    def loss(x):
        return diversity(x[0], 0.75, "data")[0]

    value, gradient = jax.vmap(jax.value_and_grad(lambda x: loss(x[None])), axis_name="data")(
        jnp.asarray(features)[None]
    )
    np.testing.assert_allclose(
        value[0], np.mean(np.maximum(0, 0.75 - expected(features))), rtol=1e-3
    )
    assert np.all(gradient[0, -2:] == 0)
    moved = features - 1e-2 * gradient[0]
    apart = [np.linalg.norm(x[:-2:2] - x[1:-2:2], axis=1) for x in (features, moved)]
    assert np.all(apart[1] > apart[0])


def test_equal_images_have_a_finite_gradient_and_an_odd_one_out_costs_nothing():
    equal = jnp.ones((5, 4))
    gradient = jax.vmap(jax.grad(lambda x: diversity(x, 1.0, "data")[0]), axis_name="data")(
        equal[None]
    )
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(pairs(5), [[0, 2], [1, 3]])


@pytest.mark.parametrize(
    ("rows", "expected"), [(8, [[0, 2, 4, 6], [1, 3, 5, 7]]), (7, [[0, 2, 4], [1, 3, 5]])]
)
def test_a_pair_are_neighbors(rows, expected):
    np.testing.assert_array_equal(pairs(rows), expected)


def test_pairs_are_the_same_on_any_number_of_devices():
    whole = np.stack(pairs(32), axis=1)
    parts = [np.stack(pairs(8), axis=1) + 8 * device for device in range(4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
