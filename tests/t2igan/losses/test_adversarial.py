"""Losses against numbers computed in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from t2igan.losses import adversarial as losses

LOGITS = np.array([-3.0, -0.5, 0.0, 2.0, 4.0])


def numpy_cross_entropy(logits: np.ndarray, target: float) -> float:
    p = 1.0 / (1.0 + np.exp(-logits))
    return float(np.mean(-target * np.log(p) - (1.0 - target) * np.log(1.0 - p)))


@pytest.mark.parametrize("target", [0.0, 0.1, 0.9, 1.0])
def test_binary_cross_entropy(target):
    expected = numpy_cross_entropy(LOGITS, target)
    loss = losses.binary_cross_entropy(jnp.array(LOGITS), target)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_binary_cross_entropy_keeps_its_gradient_where_a_sigmoid_saturates():
    loss, gradient = jax.value_and_grad(losses.binary_cross_entropy)(jnp.array([-200.0]), 1.0)
    np.testing.assert_allclose(loss, 200.0)
    np.testing.assert_allclose(gradient, [-1.0])


def test_kl_is_the_closed_form():
    mu, log_sigma = np.array([[0.3, -1.0], [2.0, 0.0]]), np.array([[0.1, -0.7], [0.0, 0.5]])
    expected = np.mean(-log_sigma + 0.5 * (-1.0 + np.exp(2.0 * log_sigma) + mu**2))
    loss = losses.kl_to_standard_normal(jnp.array(mu), jnp.array(log_sigma))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_kl_matches_sampling():
    mu, log_sigma = 0.7, -0.4
    x = mu + np.exp(log_sigma) * np.random.default_rng(0).normal(size=400_000)
    log_ratio = -log_sigma - 0.5 * ((x - mu) / np.exp(log_sigma)) ** 2 + 0.5 * x**2
    loss = losses.kl_to_standard_normal(jnp.full((1, 1), mu), jnp.full((1, 1), log_sigma))
    np.testing.assert_allclose(loss, log_ratio.mean(), atol=5e-3)


def test_kl_of_a_standard_normal_is_zero():
    np.testing.assert_allclose(
        losses.kl_to_standard_normal(jnp.zeros((2, 3)), jnp.zeros((2, 3))), 0
    )


def test_discriminator_loss_weighs_the_three_pairs():
    real, wrong, fake = LOGITS, LOGITS[::-1] * 0.5, LOGITS - 1.0
    expected = 0.5 * (
        numpy_cross_entropy(real, 0.9)
        + 0.5 * (numpy_cross_entropy(wrong, 0.0) + numpy_cross_entropy(fake, 0.0))
    )
    loss = losses.matching_aware_discriminator(jnp.array(real), jnp.array(wrong), jnp.array(fake))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_hinge_against_numpy():
    real, wrong, fake = LOGITS, LOGITS[::-1] * 0.5, LOGITS - 1.0
    relu = lambda x: np.maximum(x, 0.0)  # noqa: E731
    expected = relu(1 - real).mean() + 0.3 * relu(1 + wrong).mean() + 0.7 * relu(1 + fake).mean()
    loss = losses.hinge_discriminator(
        jnp.array(real), jnp.array(wrong), jnp.array(fake), mismatch_weight=0.3
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_relativistic_compares_partners():
    better, worse = np.array([2.0, -1.0]), np.array([0.5, 3.0])
    expected = np.log1p(np.exp(worse - better)).mean()
    loss = losses.relativistic(jnp.array(better), jnp.array(worse))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_contrastive_against_numpy():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(2, 6, 4))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    scores = np.exp(unit(images) @ unit(texts).T / 0.1)
    found = np.diag(scores)
    expected = -0.5 * np.mean(np.log(found / scores.sum(1)) + np.log(found / scores.sum(0)))
    loss = losses.contrastive(*map(jnp.array, (images, texts, images, texts)), first=0)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_further_captions_are_negatives_of_the_images_alone():
    rng = np.random.default_rng(2)
    images, texts = rng.normal(size=(2, 6, 4))
    others = rng.normal(size=(9, 4))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    to_texts = np.exp(unit(images) @ unit(np.concatenate([texts, others])).T / 0.1)
    to_images = np.exp(unit(texts) @ unit(images).T / 0.1)
    found = np.diag(to_images)
    expected = -0.5 * np.mean(np.log(found / to_texts.sum(1)) + np.log(found / to_images.sum(1)))
    pairs = map(jnp.array, (images, texts, images, texts))
    loss = losses.contrastive(*pairs, first=0, negative_texts=jnp.array(others))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_contrastive_of_two_shares_is_that_of_the_whole():
    rng = np.random.default_rng(1)
    images, texts = jnp.array(rng.normal(size=(2, 6, 4)))
    whole = losses.contrastive(images, texts, images, texts, first=0)
    halves = [
        losses.contrastive(images[i : i + 3], texts[i : i + 3], images, texts, first=i)
        for i in (0, 3)
    ]
    np.testing.assert_allclose(np.mean(halves), whole, rtol=1e-5)


@pytest.mark.parametrize("times", [2, 4])
def test_downscaling_is_pillows_reduction(times):
    """Of float images; the small one counts as it is shown, cut off at -1 and 1."""
    random = np.random.default_rng(0)
    large = random.uniform(-1.0, 1.0, (2, 8 * times, 8 * times, 3)).astype(np.float32)
    small = random.uniform(-1.5, 1.5, (2, 8, 8, 3)).astype(np.float32)
    bands = np.moveaxis(large, -1, 1).reshape(6, 8 * times, 8 * times)
    shrunk = np.stack([np.asarray(Image.fromarray(band).reduce(times)) for band in bands])
    differences = shrunk - np.moveaxis(small.clip(-1.0, 1.0), -1, 1).reshape(6, 8, 8)
    found = losses.consistency(jnp.asarray(large), jnp.asarray(small))
    np.testing.assert_allclose(found, np.mean(differences**2), rtol=1e-5)
