"""A page that generates in the browser: a folder for any static server, without a network.

The model takes word vectors in place of codes, so that a caption can become another step by step.
onnxruntime-web comes from npm, pinned by `web/package-lock.json`; its program and the model are
stored compressed and unpacked by the browser.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from input_pipeline.errors import UserError
from t2igan.export import generator, onnx_model, sentence_model
from t2igan.sampling.run import Run

SOURCE = Path(__file__).parent / "web"
PAGES = ("index.html", "style.css", "app.js", "generate.js", "text.js", "wordpiece.js")
ENVIRONMENT = "T2IGAN_ONNXRUNTIME_WEB"  # a folder that has onnxruntime-web's dist already
# With WebGPU, and smaller, for browsers without.
_RUNTIME = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
)
_PROGRAMS = ("ort-wasm-simd-threaded.asyncify.wasm", "ort-wasm-simd-threaded.wasm")


def write(run: Run, folder: Path, precision: str = "float32") -> None:
    """Writes the page of a run.

    Args:
      run: trained.
      folder: to make.
      precision: of the stored weights, one of `precision.PRECISIONS`.

    Raises:
      UserError: the run reads sentences by another encoder than MiniLM, or onnxruntime-web cannot
        be had.
    """
    if run.recipe.reads_sentences:
        sentence_model.check(run)
    folder.mkdir(parents=True)
    for name in PAGES:
        shutil.copyfile(SOURCE / name, folder / name)
    _copy_runtime(folder)
    made = generator.of_run(run, vectors=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        onnx_model.write(made, path, precision)
        reads_words = onnx_model.reads(path, "vectors")
        _pack(path.read_bytes(), folder / "model.onnx.gz")
        if run.recipe.reads_sentences:
            # Embeddings in 16 bits are off by 0.0002, in 8 by 0.008; 45 and 23 MB.
            bits = "int8" if precision == "int8" else "float16"
            pieces = sentence_model.write(path, bits)
            _pack(path.read_bytes(), folder / "sentence.onnx.gz")
            _pack("\n".join(pieces).encode(), folder / "pieces.txt.gz")
    table = generator.word_vectors(run)
    (folder / "words.bin").write_bytes(np.ascontiguousarray(table, "<f4").tobytes())
    about = {
        "words": run.vocabulary.words,
        "width": table.shape[1],
        "caption_length": run.caption_length,
        "image_size": run.image_size,
        "noise": dict(sorted(run.recipe.noise_dims.items())),
        "examples": examples(run),
        "name": run.config.recipe,
        "reads_words": reads_words,
        "reads_sentences": run.recipe.reads_sentences,
    }
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":"))
    (folder / "about.json").write_text(text, encoding="utf-8")


def examples(run: Run) -> list[str]:
    """Returns two captions of words that the run knows."""
    shapes = ["a small red star on the left", "a large blue ring on the right"]
    known = set(run.vocabulary.words)
    if all(word in known for caption in shapes for word in caption.split()):
        return shapes
    words = [word for word in run.vocabulary.words[4:] if len(word) > 2]
    return [" ".join(words[:4]), " ".join(words[4:8])]


def _copy_runtime(folder: Path) -> None:
    runtime = folder / "runtime"
    runtime.mkdir()
    with tempfile.TemporaryDirectory(prefix="t2igan-npm-") as scratch:
        dist = find_runtime(Path(scratch))
        for name in _RUNTIME:
            shutil.copyfile(dist / name, runtime / name)
        for name in _PROGRAMS:
            _pack((dist / name).read_bytes(), runtime / f"{name}.gz")
        license_file = dist.parent / "LICENSE"
        if license_file.is_file():
            shutil.copyfile(license_file, runtime / "LICENSE")


def find_runtime(scratch: Path) -> Path:
    """Returns the folder of onnxruntime-web's files: a given one, or installed by npm.

    Args:
      scratch: where npm may install.

    Raises:
      UserError: neither is there.
    """
    given = os.environ.get(ENVIRONMENT)
    if given:
        missing = [name for name in (*_RUNTIME, *_PROGRAMS) if not (Path(given) / name).is_file()]
        if missing:
            raise UserError(f"{ENVIRONMENT}={given} has no {missing[0]}")
        return Path(given)
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "--format=web needs onnxruntime-web, which npm installs: install npm, or set "
            f"{ENVIRONMENT} to the folder node_modules/onnxruntime-web/dist"
        )
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SOURCE / name, scratch / name)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=scratch,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = " ".join(done.stderr.split())[:300]
        raise UserError(f"--format=web: npm could not install onnxruntime-web: {reason}")
    return scratch / "node_modules/onnxruntime-web/dist"


def _pack(data: bytes, path: Path) -> None:
    path.write_bytes(gzip.compress(data, 9, mtime=0))
