"""An export: a folder with the formats that are asked for, a card, and a manifest of them all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError, did_you_mean
from input_pipeline.files import sha256
from t2igan import __version__
from t2igan.export import card, generator, litert, onnx_model, stablehlo, web_page
from t2igan.export.precision import rounded
from t2igan.sampling import exported
from t2igan.sampling.run import Run

FORMATS = ("onnx", "stablehlo", "litert", "safetensors", "web")
_FLOAT32_ONLY = ("stablehlo", "litert")
MANIFEST = "manifest.json"
VOCABULARY = "vocabulary.json"
_CHECKED = 16  # images that an export of fewer bits is compared on


def check_formats(text: str) -> list[str]:
    """Returns the names of a comma-separated list.

    Raises:
      UserError: one is no format.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    names = ["safetensors" if name == "hub" else name for name in names]
    for name in names:
        if name not in FORMATS:
            raise UserError(
                f"--format={name}: there are {', '.join((*FORMATS, 'hub'))}"
                f"{did_you_mean(name, FORMATS)}"
            )
    if not names:
        raise UserError(f"--format is empty: choose of {', '.join(FORMATS)}")
    return list(dict.fromkeys(names))


def write(
    run: Run,
    out: Path,
    formats: Sequence[str],
    *,
    precision: str = "float32",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Returns the manifest after writing the folder, whole or not at all.

    Args:
      run: trained.
      out: folder to make.
      formats: see `FORMATS`.
      precision: of stored weights, one of `precision.PRECISIONS`; int8 is for onnx and web;
        stablehlo and litert stay float32.
      overwrite: replace an export there.

    Raises:
      UserError: `out` is taken, or a package that a format needs is missing.
    """
    if precision == "int8" and "safetensors" in formats:
        raise UserError("--precision=int8 is for onnx and web; safetensors takes float16")
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if taken and not (out / MANIFEST).is_file():
        raise UserError(f"--out={out} exists and is no export: choose another --out")
    if taken and not overwrite:
        raise UserError(f"--out={out} exists already: choose another, or add --overwrite")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        folder = Path(name) / "export"
        folder.mkdir()
        manifest = _fill(run, folder, formats, precision)
        if taken:
            shutil.rmtree(out)
        elif out.exists():
            out.rmdir()
        folder.rename(out)
    return manifest


def _fill(run: Run, folder: Path, formats: Sequence[str], precision: str) -> dict[str, Any]:
    made = generator.of_run(run)
    words = {"words": run.vocabulary.words, "caption_length": run.caption_length}
    text = json.dumps(words, ensure_ascii=False, indent=1)
    (folder / VOCABULARY).write_text(text + "\n", encoding="utf-8")
    notes = []
    if "onnx" in formats:
        onnx_model.write(made, folder / "model.onnx", precision)
    if "stablehlo" in formats:
        stablehlo.write(made, folder / "model.stablehlo")
    if "litert" in formats:
        litert.write(made, folder / "model.tflite")
    if "safetensors" in formats:
        half = precision == "float16"
        exported.write(run.variables, run.meta, run.step, folder / exported.NAME, half)
    if "web" in formats:
        web_page.write(run, folder / "web", precision)
    if precision != "float32":
        difference = _difference(run, precision)
        by = f"{difference['mean']:.3f} of 255 on average and {difference['most']} at most"
        whole = [name for name in formats if name in _FLOAT32_ONLY]
        notes.append(
            f"Weights are stored as {precision}: of {_CHECKED} images, pixels differ from those of "
            f"float32 by {by}." + (f" Not so {' and '.join(whole)}: float32." if whole else "")
        )
    card.write(run, made, formats, folder / "README.md", notes)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "made_by": f"t2igan {__version__}",
        "recipe": run.config.recipe,
        "step": run.step,
        "image_size": run.image_size,
        "caption_length": run.caption_length,
        "inputs": [dataclasses.asdict(one) for one in made.inputs],
        "output": {"name": "image", "dtype": "float32", "range": [0, 255]},
        "sentence_encoder": run.meta.sentence_encoder and run.meta.sentence_encoder.to_json(),
        "dataset": run.meta.dataset_hash,
        "formats": list(formats),
        "precision": precision,
        "files": {str(path.relative_to(folder)): sha256(path) for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _difference(run: Run, precision: str) -> dict[str, Any]:
    """How far images by stored weights are from the run's own."""
    import jax

    def stored(value: Any) -> Any:
        return rounded(np.asarray(value), precision)

    other = dataclasses.replace(run, variables=jax.tree.map(stored, dict(run.variables)))
    random = np.random.default_rng(0)
    codes = random.integers(4, len(run.vocabulary), (_CHECKED, run.caption_length)).astype(np.int32)
    codes[:, 0], codes[:, 8:] = 1, 0
    codes[:, min(7, run.caption_length - 1)] = 2
    text: dict[str, np.ndarray] = {"codes": codes}
    if run.meta.sentence_encoder is not None and run.recipe.reads_sentences:
        text["sentence"] = random.normal(size=(_CHECKED, *run.meta.sentence_encoder.shape))
    indices = np.arange(_CHECKED, dtype=np.int32)
    images = [each.generate(text, indices, 0).astype(int) for each in (run, other)]
    apart = np.abs(images[0] - images[1])
    return {"mean": float(apart.mean()), "most": int(apart.max())}
