"""Text encoders: padding is not read, order is where it should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.models.text_encoders import (
    KINDS,
    SENTENCE_KINDS,
    AttentionPool,
    TextEncoder,
    text_inputs,
    unit_scale,
)

VECTORS = jax.random.normal(jax.random.key(0), (2, 6, 8))
MASK = jnp.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], jnp.float32)
SENTENCES = jax.random.normal(jax.random.key(3), (2, 12)) / 100


def encode(kind, vectors, mask=MASK, sentence=SENTENCES):
    module = TextEncoder(kind, features=16, heads=4)
    variables = module.init(jax.random.key(1), VECTORS, MASK, SENTENCES)
    return module.apply(variables, vectors, mask, sentence)


@pytest.mark.parametrize("kind", KINDS)
def test_one_vector_a_caption(kind):
    assert encode(kind, VECTORS).shape == (2, 16)


@pytest.mark.parametrize("kind", ["attention", "transformer"])
def test_padding_is_not_read(kind):
    changed = encode(kind, VECTORS.at[:, 4:].add(5.0))
    before = encode(kind, VECTORS)
    np.testing.assert_allclose(changed[0], before[0], atol=1e-5)
    assert np.abs(changed[1] - before[1]).max() > 1e-3


def test_attention_gathers_words_and_a_transformer_their_order_too():
    swapped = VECTORS[:, jnp.array([1, 0, 2, 3, 4, 5])]
    np.testing.assert_allclose(
        encode("attention", swapped), encode("attention", VECTORS), atol=1e-5
    )
    assert np.abs(encode("transformer", swapped) - encode("transformer", VECTORS)).max() > 1e-4


def test_attention_pool_against_numpy():
    module = AttentionPool(heads=3)
    variables = module.init(jax.random.key(2), VECTORS, MASK)
    layer = variables["params"]["queries"]
    scores = np.array(VECTORS) @ np.array(layer["kernel"]) + np.array(layer["bias"])
    weights = np.exp(scores) * np.array(MASK)[:, :, None]
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.einsum("blh,blc->bhc", weights, VECTORS).reshape(2, -1)
    np.testing.assert_allclose(module.apply(variables, VECTORS, MASK), expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_reads_what_it_says(kind):
    before = encode(kind, VECTORS)
    negative_sentence = encode(kind, VECTORS, sentence=SENTENCES[::-1])
    other_words = encode(kind, VECTORS[::-1], MASK[::-1])
    reads_sentence, reads_words = kind in SENTENCE_KINDS, kind != "sentence"
    assert ("sentence" in text_inputs(kind)) == reads_sentence
    assert (np.abs(negative_sentence - before).max() > 1e-3) == reads_sentence
    assert (np.abs(other_words - before).max() > 1e-3) == reads_words


def test_sentences_count_whatever_their_length():
    scaled = unit_scale(SENTENCES)
    expected = SENTENCES / np.sqrt(np.mean(np.square(SENTENCES), axis=1, keepdims=True))
    np.testing.assert_allclose(scaled, expected, rtol=1e-3)
    assert not unit_scale(jnp.zeros((1, 4))).any()
    with pytest.raises(ValueError, match="no sentence embedding"):
        encode("sentence", VECTORS, sentence=None)
