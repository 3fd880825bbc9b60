"""ONNX: for onnxruntime, mobile runtimes and the browser. Needs the extra `export`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError
from t2igan.export.generator import Generator

INSTALL = "pip install 't2igan[export]'"
OPSET = 21
_SMALL = 256  # numbers; arrays of fewer stay in 32 bits


@dataclasses.dataclass(frozen=True)
class _Spec:
    """What jax2onnx takes for an input: a shape with a name for the batch, and a type."""

    shape: tuple[Any, ...]
    dtype: np.dtype


def write(generator: Generator, path: Path, *, half: bool = False) -> None:
    """Writes the generator as one ONNX file with a free batch size; its output is `image`.

    Args:
      generator: see `generator.of_run`.
      path: the file.
      half: store weights in 16 bits; they are widened before they are used.

    Raises:
      UserError: jax2onnx is not installed.
    """
    try:
        import jax2onnx
    except ImportError as error:
        raise UserError(f"--format=onnx needs jax2onnx: {INSTALL}") from error
    specs = [_Spec(("B", *one.shape), np.dtype(one.dtype)) for one in generator.inputs]
    # Notes of the converter's on its own intermediate steps.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    model = jax2onnx.to_onnx(
        generator.call,
        inputs=specs,
        model_name="t2igan",
        opset=OPSET,
        input_names=[one.name for one in generator.inputs],
        output_names=["image"],
    )
    if half:
        _halve(model)
    path.write_bytes(model.SerializeToString())


def _halve(model: Any) -> None:
    """Large arrays in 16 bits, each with a node that widens it."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < _SMALL:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_16"))
        casts.append(helper.make_node("Cast", [f"{name}_16"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
