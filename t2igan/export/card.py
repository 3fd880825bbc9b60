"""The model card: what an exported generator is, was trained on, measures, and cannot do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from input_pipeline.files import read_lines
from t2igan import __version__
from t2igan.export.generator import Generator
from t2igan.sampling.run import Run

_USES = {
    "onnx": "`model.onnx` with onnxruntime: see `examples/onnx_sample.py` of t2igan.",
    "stablehlo": "`model.stablehlo` with JAX: "
    "`jax.export.deserialize(open('model.stablehlo', 'rb').read()).call(...)`.",
    "litert": "`model.tflite` with LiteRT on Android, iOS, boards and Python (ai-edge-litert), one "
    "image a call: signature `serving_default`, the inputs below with B = 1.",
    "safetensors": "`model.safetensors` with t2igan: `t2igan.load('FOLDER')`.",
    "web": "`web/` in a browser: serve the folder with any static server, "
    "e.g. `python -m http.server`.",
}


def write(
    run: Run, generator: Generator, formats: Sequence[str], path: Path, notes: Sequence[str]
) -> None:
    """Writes the card, with front matter as the Hugging Face hub reads it."""
    config = run.config
    inputs = "\n".join(
        f"| `{one.name}` | {one.dtype} {_shape(one.shape)} | {_meaning(one.name)} |"
        for one in generator.inputs
    )
    uses = "\n".join(f"- {_USES[name]}" for name in formats)
    metrics = _metrics(run.workdir)
    path.write_text(
        f"""---
library_name: t2igan
pipeline_tag: text-to-image
tags:
- gan
- jax
- {config.recipe}
---

# {config.recipe}, {run.image_size}x{run.image_size} pixels

A generator of images of a caption in one pass, trained by t2igan {__version__}
(step {run.step:,}, recipe `{config.recipe}`, data set {run.meta.dataset_hash[:12] or "unknown"}).

## Use

{uses}

| input | type | |
|---|---|---|
{inputs}

The output `image` is float32 [B, {run.image_size}, {run.image_size}, 3], whole numbers from 0 to
255: cast to bytes. Noise is standard normal; multiplied by a truncation below 1 it gives likelier
and less varied images. The same noise and caption give the same image.

A caption becomes codes so (`vocabulary.json` has the words in the order of their codes): lower
case; split at blanks and `,;:/\\|!?()[]{{}}<>"_`; drop all that is no letter or digit from each
word (`t-shirt` is `tshirt`), `'s` is the word `s`; code 1, the words' codes (3 for a word that is
not in the list), code 2, then 0 up to {run.caption_length} codes.

## Numbers

{metrics}

## Limits

It knows {len(run.vocabulary):,} words and the kind of images that it was trained on, and nothing
else; other words have no effect of their own. Captions of over {run.caption_length - 2}
words are cut. It may show the biases of its data. The license of the weights is that of the data
they were trained on: say which before you publish them.
{"".join(chr(10) + note for note in notes)}
""",
        encoding="utf-8",
    )


def _shape(shape: tuple[int, ...]) -> str:
    return f"[B, {', '.join(map(str, shape))}]"


def _meaning(name: str) -> str:
    return {
        "codes": "the caption",
        "sentence": "the caption's sentence embedding",
        "vectors": "word vectors of the caption",
        "mask": "1 where there is a word",
    }.get(name, "noise, standard normal")


def _metrics(workdir: Path) -> str:
    """The last number of each metric with its reference, as `evaluate` wrote them down."""
    latest: dict[str, dict[str, Any]] = {}
    for line in read_lines(workdir / "evaluation.jsonl") if workdir.is_dir() else []:
        if isinstance(line.get("estimate"), dict):
            latest[str(line.get("metric"))] = line
    if not latest:
        return "None measured: `t2igan evaluate` would write them into the run."
    rows = []
    for name, line in latest.items():
        value = line["estimate"].get("value")
        real = (line.get("references") or {}).get("real") or {}
        known = line.get("provenance") or {}
        about = ", ".join(f"{key} {known[key]}" for key in ("real_split", "step") if key in known)
        rows.append(f"| {name} | {_short(value)} | {_short(real.get('value'))} | {about} |")
    return "\n".join(["| metric | value | real images | |", "|---|---|---|---|", *rows])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else json.dumps(value)
