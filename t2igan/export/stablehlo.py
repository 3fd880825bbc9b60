"""StableHLO: a compiled-anywhere program with the weights in it, read by JAX, IREE and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from t2igan.export.generator import Generator

PLATFORMS = ("cpu", "cuda", "tpu")


def write(generator: Generator, path: Path) -> None:
    """Writes the generator with a free batch size, for CPU, CUDA and TPU.

    `jax.export.deserialize(bytes).call(...)` runs it; its bytecode is `.mlir_module_serialized`.
    """
    from jax import export

    (batch,) = export.symbolic_shape("B")
    shapes: list[Any] = [
        jax.ShapeDtypeStruct((batch, *one.shape), one.dtype) for one in generator.inputs
    ]
    exported = export.export(jax.jit(generator.call), platforms=PLATFORMS)(*shapes)
    path.write_bytes(exported.serialize())
