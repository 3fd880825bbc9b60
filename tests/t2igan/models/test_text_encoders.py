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


# The same with five tokens behind it, of which the first caption has three.
TOKENS = jax.random.normal(jax.random.key(4), (2, 6, 12)).at[0, 4:].set(0).at[:, 0].set(SENTENCES)


def encode(kind, vectors, mask=MASK, sentence=SENTENCES):
    module = TextEncoder(kind, features=16, heads=4)
    own = TOKENS if kind == "tokens" else SENTENCES
    variables = module.init(jax.random.key(1), VECTORS, MASK, own)
    return module.apply(variables, vectors, mask, own if sentence is SENTENCES else sentence)


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
    own = TOKENS if kind == "tokens" else SENTENCES
    negative_sentence = encode(kind, VECTORS, sentence=own[::-1])
    other_words = encode(kind, VECTORS[::-1], MASK[::-1])
    reads_sentence, reads_words = kind in SENTENCE_KINDS, kind not in ("sentence", "tokens")
    assert ("sentence" in text_inputs(kind)) == reads_sentence
    assert (np.abs(negative_sentence - before).max() > 1e-3) == reads_sentence
    assert (np.abs(other_words - before).max() > 1e-3) == reads_words


def test_a_captions_own_tokens_are_read_and_no_more():
    before = encode("tokens", VECTORS)
    longer = encode("tokens", VECTORS, sentence=jnp.pad(TOKENS, ((0, 0), (0, 3), (0, 0))))
    np.testing.assert_allclose(longer, before, atol=1e-6)
    for row in (0, 1, 5):  # the sentence, the first token, the last one of the second caption
        changed = encode("tokens", VECTORS, sentence=TOKENS.at[1, row, ::2].add(1.0))
        assert np.abs(changed[1] - before[1]).max() > 1e-4
        np.testing.assert_allclose(changed[0], before[0], atol=1e-6)
    for kind in ("sentence", "sentence+attention"):  # of the same data set
        alone = encode(kind, VECTORS, sentence=TOKENS[:, 0])
        np.testing.assert_allclose(encode(kind, VECTORS, sentence=TOKENS), alone, atol=1e-6)
    with pytest.raises(ValueError, match="no embeddings of their tokens"):
        encode("tokens", VECTORS, sentence=TOKENS[:, 0])


def test_sentences_count_whatever_their_length():
    scaled = unit_scale(SENTENCES)
    expected = SENTENCES / np.sqrt(np.mean(np.square(SENTENCES), axis=1, keepdims=True))
    np.testing.assert_allclose(scaled, expected, rtol=1e-3)
    assert not unit_scale(jnp.zeros((1, 4))).any()
    with pytest.raises(ValueError, match="no sentence embedding"):
        encode("sentence", VECTORS, sentence=None)
