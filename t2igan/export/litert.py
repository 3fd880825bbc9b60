"""LiteRT (TensorFlow Lite), for Android, iOS and boards: one image a call. Extra `litert`.

The converter reads StableHLO as JAX writes it.
"""

from __future__ import annotations

import os
from pathlib import Path

import jax

from input_pipeline.errors import UserError
from t2igan.export.generator import Generator

INSTALL = "pip install 't2igan[litert]'"
SIGNATURE = "serving_default"


def write(generator: Generator, path: Path) -> None:
    """Writes the generator for a batch of one; its signature names inputs and `image`.

    Args:
      generator: see `generator.of_run`.
      path: the file.

    Raises:
      UserError: litert-converter is not installed, or cannot convert the recipe.
    """
    from jax import export

    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else it says that it would use oneDNN
    try:
        from litert_converter import converter_api_ext as converter
        from litert_converter.mlir import ir, passmanager
    except ImportError as error:
        raise UserError(f"--format=litert needs litert-converter: {INSTALL}") from error
    shapes = [jax.ShapeDtypeStruct((1, *one.shape), one.dtype) for one in generator.inputs]
    program = export.export(jax.jit(generator.call), platforms=("cpu",))(*shapes).mlir_module()
    context = ir.Context()
    converter.prepare_mlir_context(context)
    try:
        with context:
            module = ir.Module.parse(program)
            names = [one.name for one in generator.inputs]
            converter.set_signature(module.operation, SIGNATURE, names, ["image"])
            config = converter.ConvertToTFLConfig()
            converter.run_convert_to_tfl_passes(module, passmanager.PassManager(), config)
            path.write_bytes(converter.export_flatbuffer_to_bytes(module.operation))
    except (ir.MLIRError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"--format=litert: the converter failed: {reason}") from error
