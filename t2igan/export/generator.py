"""The generator as a plain function of arrays: what every format is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t2igan.sampling.run import Run


@dataclasses.dataclass(frozen=True)
class Input:
    """One input: its name, its shape after the batch, and its type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """A pure function with the weights in it.

    Attributes:
      inputs: in order.
      call: (arrays in the order of `inputs`) -> float32 [B, S, S, 3], whole numbers from 0 to 255.
    """

    inputs: tuple[Input, ...]
    call: Callable[..., jax.Array]


def of_run(run: Run, *, vectors: bool = False) -> Generator:
    """Returns the generator of a run.

    Args:
      run: trained.
      vectors: take word vectors [B, L, D] and a mask [B, L] for the codes, so that a caller can
        walk from one caption to another.
    """
    recipe = run.recipe
    variables = jax.tree.map(jnp.asarray, {"batch_stats": {}} | run.variables)
    inputs = _text_inputs(run, vectors)
    texts = len(inputs)
    inputs += [Input(name, (dim,), "float32") for name, dim in sorted(recipe.noise_dims.items())]

    def call(*arrays: jax.Array) -> jax.Array:
        named = {given.name: array for given, array in zip(inputs, arrays, strict=True)}
        text = {given.name: named[given.name] for given in inputs[:texts]}
        noise = {given.name: named[given.name] for given in inputs[texts:]}
        image = recipe.generator.apply(variables, text, noise, train=False)["image"]
        # As `images.to_uint8`, but for the type: not all that reads ONNX has bytes.
        return jnp.clip(jnp.round((image.astype(jnp.float32) + 1.0) * 127.5), 0.0, 255.0)

    return Generator(tuple(inputs), call)


def _text_inputs(run: Run, vectors: bool) -> list[Input]:
    length = run.caption_length
    inputs = [Input("codes", (length,), "int32")]
    if vectors:
        width = word_vectors(run).shape[1]
        inputs = [Input("vectors", (length, width), "float32"), Input("mask", (length,), "float32")]
    if run.recipe.reads_sentences:
        assert run.meta.sentence_encoder is not None  # the recipe reads sentences
        inputs.append(Input("sentence", run.meta.sentence_encoder.shape, "float32"))
    return inputs


def word_vectors(run: Run) -> np.ndarray:
    """Returns float32 [V, D], a row a code."""
    frozen: Any = run.variables["frozen"]
    return np.asarray(frozen["words"]["table"], np.float32)
