"""The step: devices do not change it, sharing does not change it, and it learns what it should."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from configs.common import get_config
from t2igan.images import to_unit_range
from t2igan.losses import adversarial as losses
from t2igan.recipes.base import Batch, Network
from t2igan.recipes.registry import build
from t2igan.runtime.sharding import replicate
from t2igan.sampling.sampler import Sampler
from t2igan.training.compile import make_eval_step, make_train_step
from t2igan.training.optimizers import make_optimizers
from t2igan.training.state import create_state, update_ema
from t2igan.training.step import roll_over_replicas

SIZE, BATCH, VOCABULARY = 16, 8, 50


def small_config():
    config = get_config()
    config.model.update(gf_dim=4, df_dim=4, cond_dim=8, z_dim=6, text_compressor_dim=8)
    # A large epsilon: Adam's first steps else amplify the rounding of gradients near zero.
    config.optimizer.eps = 1e-2
    return config


def mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("data",))


def batch(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8),
        "codes": rng.integers(0, VOCABULARY, (BATCH, 17), dtype=np.int32),
    }


def start(config):
    recipe = build(config, SIZE)
    optimizers = make_optimizers(config, 100)
    table = np.random.default_rng(1).normal(size=(VOCABULARY, 10)).astype(np.float32)
    return recipe, optimizers, create_state(recipe, optimizers, table, 17, seed=0, ema=True)


def run(config, devices: int, steps: int = 3):
    recipe, optimizers, state = start(config)
    state = replicate(state, mesh(devices))
    step = make_train_step(recipe, optimizers, config, mesh(devices))
    for k in range(steps):
        placed = jax.device_put(batch(k), NamedSharding(mesh(devices), P("data")))
        state, metrics = step(state, placed)
    return jax.device_get((state, metrics))


@functools.cache
def one_device():
    return run(small_config(), 1)


def assert_close(tree, expected, rtol=2e-4, atol=2e-5):
    compare = functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol)
    jax.tree.map(compare, tree, expected)


@pytest.mark.parametrize("mapper", ["shard_map", "pmap"])
def test_four_devices_give_what_one_gives(mapper):
    config = small_config()
    config.train.mapper = mapper
    state, metrics = run(config, 4)
    expected_state, expected_metrics = one_device()
    assert_close(metrics, expected_metrics)
    assert_close(state, expected_state)


def test_without_synchronised_batch_norm_four_devices_differ():
    config = small_config()
    config.train.sync_batch_norm = False
    state, _ = run(config, 4, steps=1)
    expected, _ = run(small_config(), 4, steps=1)
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.g_params, expected.g_params)
    assert max(jax.tree.leaves(difference)) > 1e-5


def test_gradients_are_those_of_the_plain_losses():
    """Whole discriminator calls, a generator pass for each network, against the shared ones."""
    config = small_config()
    config.optimizer.update(
        g_learning_rate=1.0, d_learning_rate=1.0, g_beta1=0.0, d_beta1=0.0, beta2=0.0, eps=1.0
    )
    recipe, optimizers, state = start(config)
    data = batch()
    new, metrics = make_train_step(recipe, optimizers, config, mesh(1))(
        jax.tree.map(jnp.copy, state), data
    )
    image, text = to_unit_range(jnp.array(data["image"])), {"codes": jnp.array(data["codes"])}
    wrong = {"codes": jnp.array(np.roll(data["codes"], 1, axis=0))}
    noise = _noise_of_step_zero(config, recipe)

    def generate(g_params):
        variables = state.g_variables | {"params": g_params}
        out, _ = recipe.generator.apply(variables, text, noise, train=True, mutable=["batch_stats"])
        return out

    def judge(d_params, image, text):
        variables = state.d_variables | {"params": d_params}
        out, _ = recipe.discriminator.apply(
            variables, image, text, train=True, mutable=["batch_stats"]
        )
        return out

    def d_loss(d_params):
        fake = judge(d_params, generate(state.g_params)["image"], text)
        real, mismatched = judge(d_params, image, text), judge(d_params, image, wrong)
        return losses.matching_aware_discriminator(real, mismatched, fake)

    def g_loss(g_params):
        out = generate(g_params)
        kl = losses.kl_to_standard_normal(out["mu"], out["log_sigma"])
        fake = judge(state.d_params, out["image"], text)
        return losses.binary_cross_entropy(fake, 1.0) + 2.0 * kl

    with jax.named_scope("plain"):
        expected_d, d_grads = jax.jit(_over_one(jax.value_and_grad(d_loss)))(state.d_params)
        expected_g, g_grads = jax.jit(_over_one(jax.value_and_grad(g_loss)))(state.g_params)
    np.testing.assert_allclose(metrics["loss/d"], expected_d, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss/g"], expected_g, rtol=1e-5)
    # Adam without memory, epsilon 1, rate 1: the update is g / (|g| + 1).
    update = jax.tree.map(lambda g: -g / (jnp.abs(g) + 1.0), (d_grads, g_grads))
    moved = jax.tree.map(
        lambda a, b: a - b, (new.d_params, new.g_params), (state.d_params, state.g_params)
    )
    assert_close(moved, update, rtol=1e-3, atol=1e-5)


def _noise_of_step_zero(config, recipe):
    from t2igan.runtime.rng import example_noise, step_key

    return example_noise(step_key(config.seed, 0), jnp.arange(BATCH), recipe.noise_dims)


def _over_one(function):
    return jax.shard_map(function, mesh=mesh(1), in_specs=P(), out_specs=P(), check_vma=False)


def test_mismatched_captions_are_the_next_examples_on_any_number_of_devices():
    x = np.arange(8, dtype=np.int32)
    for devices in (1, 2, 4):
        rolled = jax.shard_map(
            roll_over_replicas, mesh=mesh(devices), in_specs=P("data"), out_specs=P("data")
        )(x)
        np.testing.assert_array_equal(rolled, np.roll(x, 1))


def test_a_step_is_a_function_of_state_and_batch_alone():
    state, metrics = run(small_config(), 1)
    expected_state, expected_metrics = one_device()
    jax.tree.map(
        np.testing.assert_array_equal, (state, metrics), (expected_state, expected_metrics)
    )


def test_an_image_depends_on_its_index_and_not_on_its_batch():
    recipe, _, state = start(small_config())
    codes, indices, key = batch()["codes"], np.arange(BATCH), jax.random.key(3)

    def sample(devices: int, first: int = 0) -> np.ndarray:
        sampler = Sampler(recipe, BATCH, jax.local_devices()[:devices])
        variables = sampler.place(state.sampling_variables)
        images = sampler.sample(variables, {"codes": codes[first:]}, indices[first:], key)
        return images.astype(int)

    whole = sample(1)
    np.testing.assert_array_equal(sample(1, first=5), whole[5:])
    np.testing.assert_allclose(sample(4), whole, atol=1)


def test_held_out_losses_use_running_statistics_and_the_sampling_generator():
    config = small_config()
    recipe, _, state = start(config)
    data = batch() | {"index": np.arange(BATCH, dtype=np.int32)}
    key = jax.random.key(0)
    metrics = make_eval_step(recipe, mesh(1))(state, data, key)
    four = make_eval_step(recipe, mesh(4))(
        replicate(state, mesh(4)), jax.device_put(data, NamedSharding(mesh(4), P("data"))), key
    )
    assert_close(four, metrics)
    silent = state.replace(ema=jax.tree.map(jnp.zeros_like, state.ema))
    assert make_eval_step(recipe, mesh(1))(silent, data, key)["loss/g"] != metrics["loss/g"]


def test_ema_against_its_recurrence():
    ema, live = {"w": jnp.array(1.0)}, {"w": jnp.array(3.0)}
    late = update_ema(ema, live, jnp.array(10**6), decay=0.9, ramp_steps=10)
    np.testing.assert_allclose(late["w"], 0.9 * 1.0 + 0.1 * 3.0, rtol=1e-6)
    early = update_ema(ema, live, jnp.array(1), decay=0.9, ramp_steps=10)
    np.testing.assert_allclose(early["w"], (2 / 11) * 1.0 + (9 / 11) * 3.0, rtol=1e-6)


def test_the_discriminator_learns_to_tell_right_captions_from_wrong():
    """Its loss on (right, wrong) pairs falls when captions say what is seen, else it does not."""

    def final_gap(shuffled: bool) -> float:
        config = small_config()
        config.optimizer.update(d_learning_rate=2e-3, g_learning_rate=0.0, eps=1e-7)
        recipe, optimizers, state = start(config)
        step = make_train_step(recipe, optimizers, config, mesh(1))
        rng = np.random.default_rng(0)
        gaps = []
        for _ in range(150):
            word = rng.integers(0, 4, BATCH)
            seen = rng.permutation(word) if shuffled else word
            image = np.full((BATCH, SIZE, SIZE, 3), 0, np.uint8) + (
                seen[:, None, None, None] * 80
            ).astype(np.uint8)
            codes = np.repeat(word[:, None], 17, axis=1).astype(np.int32)
            state, metrics = step(state, {"image": image, "codes": codes})
            gaps.append(float(metrics["logits/real"] - metrics["logits/mismatched"]))
        return float(np.mean(gaps[-30:]))

    assert final_gap(shuffled=False) > 1.0
    assert abs(final_gap(shuffled=True)) < 0.5


def test_a_batch_is_what_the_losses_see():
    recipe, _, state = start(small_config())
    data = batch()
    seen = Batch(
        to_unit_range(jnp.array(data["image"])),
        {"codes": jnp.array(data["codes"])},
        {"codes": jnp.array(data["codes"])},
        jax.random.split(jax.random.key(0), BATCH),
    )
    network = Network(recipe.discriminator, state.d_variables, train=False)
    loss, metrics = recipe.d_loss(network, {"image": seen.image}, seen)
    # The same pair three times: one logit, one mean, and the loss in closed form over it.
    assert metrics["logits/real"] == metrics["logits/mismatched"] == metrics["logits/fake"]
    logits = network(seen.image, seen.text)
    np.testing.assert_allclose(
        loss, losses.matching_aware_discriminator(logits, logits, logits), rtol=1e-6
    )
