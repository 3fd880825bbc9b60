"""The sentence encoder MiniLM as ONNX, so that a page can read captions as the run does.

Reference: see `input_pipeline.text.minilm`, whose values it gives.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from input_pipeline.errors import UserError
from input_pipeline.text import minilm
from t2igan.export import onnx_model
from t2igan.sampling.run import Run

NAME = "minilm"


def check(run: Run) -> None:
    """Refuses a run whose encoder cannot be exported.

    Raises:
      UserError: it is not MiniLM, or other weights of it.
    """
    identity = run.meta.sentence_encoder
    assert identity is not None  # the recipe reads sentences
    if identity.name != NAME or identity.sha256 != minilm.WEIGHTS_SHA256:
        raise UserError(
            f"--format=web: this run reads sentences by {identity}; only {NAME} runs in a page: "
            "use --format=onnx"
        )


def write(path: Path, precision: str) -> list[str]:
    """Returns the tokenizer's pieces in code order, after writing the encoder.

    Its inputs are `pieces` and `places`, int32 [T] codes of one sentence and their positions from
    0; its output `sentence` is float32 [1, 384], of unit length.

    Args:
      path: of the ONNX file.
      precision: of the stored weights, see `precision.PRECISIONS`.

    Raises:
      UserError: the encoder's package, or jax2onnx, is not installed.
    """
    files = minilm.load_files()
    onnx_model.write_function(
        _encoder(files.weights),
        {"pieces": (("T",), "int32"), "places": (("T",), "int32")},
        "sentence",
        path,
        precision,
    )
    return files.pieces


def _encoder(weights: minilm.Weights) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The function of `write`; its layers are those of `input_pipeline.text.minilm`."""

    def dense(x: jax.Array, name: str) -> jax.Array:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"][None, :]

    def norm(x: jax.Array, name: str) -> jax.Array:
        mean = x.mean(axis=-1, keepdims=True)
        variance = jnp.square(x - mean).mean(axis=-1, keepdims=True)
        x = (x - mean) / jnp.sqrt(variance + minilm.LAYER_NORM_EPSILON)
        return x * weights[name + ".weight"][None, :] + weights[name + ".bias"][None, :]

    def attention(x: jax.Array, name: str) -> jax.Array:
        heads = x.shape[0], minilm.HEADS, minilm.DIM // minilm.HEADS
        q, k, v = (dense(x, name + part).reshape(heads) for part in ("query", "key", "value"))
        q, k, v = (part.transpose(1, 0, 2) for part in (q, k, v))
        scores = q @ k.transpose(0, 2, 1) / (minilm.DIM // minilm.HEADS) ** 0.5
        mixed = jax.nn.softmax(scores, axis=-1) @ v
        return mixed.transpose(1, 0, 2).reshape(x.shape)

    def call(pieces: jax.Array, places: jax.Array) -> jax.Array:
        tables = [
            jnp.asarray(weights[f"embeddings.{name}_embeddings.weight"])
            for name in ("word", "position", "token_type")
        ]
        x = tables[0][pieces] + tables[1][places] + tables[2][:1]
        x = norm(x, "embeddings.LayerNorm")
        for layer in range(minilm.LAYERS):
            name = f"encoder.layer.{layer}."
            mixed = attention(x, name + "attention.self.")
            x = norm(
                x + dense(mixed, name + "attention.output.dense"),
                name + "attention.output.LayerNorm",
            )
            hidden = jax.nn.gelu(dense(x, name + "intermediate.dense"), approximate=False)
            x = norm(x + dense(hidden, name + "output.dense"), name + "output.LayerNorm")
        mean = x.mean(axis=0, keepdims=True)
        return mean / jnp.sqrt(jnp.square(mean).sum(axis=-1, keepdims=True))

    return call
