"""ONNX: for onnxruntime, mobile runtimes and the browser. Needs the extra `export`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError
from t2igan.export.generator import Generator
from t2igan.export.precision import is_stored_smaller, quantized

INSTALL = "pip install 't2igan[export]'"
OPSET = 21


@dataclasses.dataclass(frozen=True)
class _Spec:
    """What jax2onnx takes for an input: a shape with a name for the batch, and a type."""

    shape: tuple[Any, ...]
    dtype: np.dtype


def write(generator: Generator, path: Path, precision: str = "float32") -> None:
    """Writes the generator as one ONNX file with a free batch size; its output is `image`.

    Args:
      generator: see `generator.of_run`.
      path: the file.
      precision: of the stored weights, one of `precision.PRECISIONS`.

    Raises:
      UserError: jax2onnx is not installed.
    """
    inputs = {one.name: (("B", *one.shape), one.dtype) for one in generator.inputs}
    write_function(generator.call, inputs, "image", path, precision)


def write_function(
    call: Callable[..., Any],
    inputs: Mapping[str, tuple[tuple[Any, ...], str]],
    output: str,
    path: Path,
    precision: str,
) -> None:
    """Writes a function of arrays as one ONNX file.

    Args:
      call: of arrays, in the order of `inputs`, to an array; its weights are in it.
      inputs: by name the shape, with a letter for a size that is free, and the type.
      output: name.
      path: the file.
      precision: see `write`.

    Raises:
      UserError: jax2onnx is not installed.
    """
    try:
        import jax2onnx
    except ImportError as error:
        raise UserError(f"--format=onnx needs jax2onnx: {INSTALL}") from error
    # Notes of the converter's on its own intermediate steps.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    model = jax2onnx.to_onnx(
        call,
        inputs=[_Spec(shape, np.dtype(dtype)) for shape, dtype in inputs.values()],
        model_name="t2igan",
        opset=OPSET,
        input_names=list(inputs),
        output_names=[output],
    )
    _store(model, precision)
    path.write_bytes(model.SerializeToString())


def reads(path: Path, name: str) -> bool:
    """Returns whether what an ONNX file computes depends on an input."""
    import onnx

    return any(name in node.input for node in onnx.load(path).graph.node)


def _store(model: Any, precision: str) -> None:
    """Large arrays in fewer bits, each with a node that widens it."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, more = [], []
    for tensor in model.graph.initializer:
        array, name = numpy_helper.to_array(tensor), tensor.name
        if not is_stored_smaller(array, precision):
            continue
        small = f"{name}_small"
        if precision == "float16":
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), small))
            nodes.append(helper.make_node("Cast", [small], [name], to=TensorProto.FLOAT))
        else:
            found = quantized(array)
            tensor.CopyFrom(numpy_helper.from_array(found.numbers, small))
            more.append(numpy_helper.from_array(found.scales, f"{name}_scales"))
            inputs = [small, f"{name}_scales"]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=found.axis))
    model.graph.initializer.extend(more)
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
