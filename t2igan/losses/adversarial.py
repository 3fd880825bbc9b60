"""Adversarial losses and regularizers, each beside its equation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from t2igan.images import downsample


def binary_cross_entropy(logits: jax.Array, target: float) -> jax.Array:
    """Mean cross entropy of sigmoid(logits) against one constant target.

    Written on logits, -t * log(sigmoid(x)) - (1 - t) * log(1 - sigmoid(x)), so that it neither
    overflows nor loses its gradient where a sigmoid would have saturated.

    Args:
      logits: [...] real numbers.
      target: probability of "real", in [0, 1].

    Returns:
      [] loss, >= 0.
    """
    logits = logits.astype(jnp.float32)
    return jnp.mean(jax.nn.softplus(logits) - target * logits)


def kl_to_standard_normal(mu: jax.Array, log_sigma: jax.Array) -> jax.Array:
    """KL(N(mu, sigma^2) || N(0, 1)), averaged over batch and width.

    Keeps the conditioning smooth: without it the augmentation collapses to its mean.

    Args:
      mu: [B, E] means.
      log_sigma: [B, E] log standard deviations (not variances).

    Returns:
      [] loss, >= 0.

    Reference: StackGAN, eq. 2, arXiv:1612.03242.
    """
    mu, log_sigma = mu.astype(jnp.float32), log_sigma.astype(jnp.float32)
    return jnp.mean(-log_sigma + 0.5 * (-1.0 + jnp.exp(2.0 * log_sigma) + mu**2))


def consistency(large: jax.Array, small: jax.Array) -> jax.Array:
    """Mean squared difference of the large images, downsampled, and the small ones.

    Args:
      large: [B, kS, kS, 3].
      small: [B, S, S, 3], cut off at -1 and 1.

    Returns:
      [] loss, >= 0.

    Reference: the downscaling loss of PULSE, arXiv:2003.03808.
    """
    difference = downsample(large, small.shape[1]) - jnp.clip(small, -1.0, 1.0)
    return jnp.mean(jnp.square(difference))


def matching_aware_discriminator(
    real_logits: jax.Array,
    mismatched_logits: jax.Array,
    fake_logits: jax.Array,
    real_target: float = 0.9,
) -> jax.Array:
    """Discriminator loss over three kinds of pair: 0.5 * (real + 0.5 * (mismatched + fake)).

    Args:
      real_logits: [B] of real images with their captions; target `real_target`.
      mismatched_logits: [B] of real images with another image's caption; target 0.
      fake_logits: [B] of generated images with their captions; target 0.
      real_target: 1 less one-sided label smoothing (Salimans et al. 2016, section 3.4).

    Returns:
      [] loss, >= 0.

    Reference: GAN-CLS, algorithm 1, arXiv:1605.05396; StackGAN, section 3.2.
    """
    real = binary_cross_entropy(real_logits, real_target)
    mismatched = binary_cross_entropy(mismatched_logits, 0.0)
    fake = binary_cross_entropy(fake_logits, 0.0)
    return 0.5 * (real + 0.5 * (mismatched + fake))


def hinge_discriminator(
    real_logits: jax.Array,
    mismatched_logits: jax.Array,
    fake_logits: jax.Array,
    mismatch_weight: float = 0.5,
) -> jax.Array:
    """Hinge loss over three kinds of pair: real above 1, mismatched and generated below -1.

    Args:
      real_logits: [B] of real images with their captions.
      mismatched_logits: [B] of real images with another image's caption.
      fake_logits: [B] of generated images with their captions.
      mismatch_weight: share of the mismatched among the two negatives, in [0, 1].

    Returns:
      [] loss, >= 0.

    Reference: DF-GAN, eq. 1, arXiv:2008.05865.
    """
    real = jnp.mean(jax.nn.relu(1.0 - real_logits))
    mismatched = jnp.mean(jax.nn.relu(1.0 + mismatched_logits))
    fake = jnp.mean(jax.nn.relu(1.0 + fake_logits))
    return real + mismatch_weight * mismatched + (1.0 - mismatch_weight) * fake


def relativistic(better_logits: jax.Array, worse_logits: jax.Array) -> jax.Array:
    """softplus of the paired difference: how far `worse` is from lying below `better`.

    Args:
      better_logits: [B].
      worse_logits: [B], each compared with its own partner.

    Returns:
      [] loss, >= 0.

    Reference: R3GAN, eq. 2, arXiv:2501.05441 (RpGAN, Jolicoeur-Martineau, arXiv:1807.00734).
    """
    return jnp.mean(jax.nn.softplus(worse_logits - better_logits))


def contrastive(
    image_embeddings: jax.Array,
    text_embeddings: jax.Array,
    all_images: jax.Array,
    all_texts: jax.Array,
    first: jax.Array | int,
    temperature: float = 0.1,
    negative_texts: jax.Array | None = None,
) -> jax.Array:
    """Cross entropy of finding each image's caption among all, and each caption's image.

    Args:
      image_embeddings: [b, E] of this replica's images.
      text_embeddings: [b, E] of their captions.
      all_images: [B, E] of the whole batch.
      all_texts: [B, E] of the whole batch.
      first: place in the whole batch of this replica's first example.
      temperature: of the cosine similarities.
      negative_texts: [M, E] of extra negatives, captions without their images; None for none.

    Returns:
      [] loss, >= 0; without further captions log(B) for embeddings that tell nothing.

    Reference: XMC-GAN, eq. 3, arXiv:2101.04702; InfoNCE, arXiv:1807.03748; negatives beyond the
      batch, MoCo, arXiv:1911.05722.
    """
    if negative_texts is not None:
        all_texts = jnp.concatenate([all_texts, negative_texts])
    images, texts, all_images, all_texts = (
        x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-6)
        for x in (image_embeddings, text_embeddings, all_images, all_texts)
    )
    places = first + jnp.arange(images.shape[0])

    def entropy(queries: jax.Array, keys: jax.Array) -> jax.Array:
        scores = jax.nn.log_softmax(queries @ keys.T / temperature, axis=-1)
        return -jnp.mean(jnp.take_along_axis(scores, places[:, None], axis=-1))

    return 0.5 * (entropy(images, all_texts) + entropy(texts, all_images))
