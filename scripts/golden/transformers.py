"""Writes what transformers' DINOv2, CLIP and T5 give on made-up weights, for tests without PyTorch.

Run where torch and transformers are installed:

    python scripts/golden/transformers.py tests/t2igan/backbones/transformers_golden.json

Weights are drawn by NumPy from the names and shapes of the files that transformers writes,
which the golden file keeps.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

if sys.path and sys.path[0] == str(Path(__file__).parent):
    sys.path.pop(0)  # this file's own name hides the package's

WIDTH, LAYERS = 128, 2
CODES = [[0, 5, 9, 30, 39, 0, 0, 0], [0, 7, 39, 0, 0, 0, 0, 0]]  # 39 ends a text
LENGTHS = [5, 3]


def made_up(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Returns float32 weights by name: norms near 1, everything else small."""
    state = {}
    for index, name in enumerate(sorted(shapes)):
        draw = np.random.default_rng([index, 11]).normal(size=shapes[name])
        near_one = ("norm" in name and name.endswith("weight")) or "lambda" in name
        state[name] = np.float32(1 + 0.2 * draw if near_one else 0.08 * draw)
    return state


def images(size: int) -> np.ndarray:
    """Returns uint8 [2, size, size, 3]."""
    return np.random.default_rng(5).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def models() -> dict[str, Any]:
    """Returns small models of every kind with random weights."""
    import transformers as hf

    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "patch_size": 14,
        "image_size": 56,
    }
    text = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "vocab_size": 40,
        "eos_token_id": 39,
        "max_position_embeddings": 77,
    }
    t5 = {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "num_layers": 2, "vocab_size": 40}
    clip = {"vision_config": vision, "text_config": text, "projection_dim": 24}
    gelu = {
        "vision_config": vision | {"hidden_act": "gelu", "num_attention_heads": 4},
        "text_config": text | {"hidden_act": "gelu"},
        "projection_dim": 24,
    }
    return {
        "dinov2": hf.Dinov2Model(
            hf.Dinov2Config(**{**vision, "mlp_ratio": 2, "image_size": 518, "hidden_act": "gelu"})
        ),
        "clip": hf.CLIPModel(hf.CLIPConfig(**clip)),
        "clip_gelu": hf.CLIPModel(hf.CLIPConfig(**gelu)),
        "t5": hf.T5EncoderModel(hf.T5Config(**t5)),
        "t5_gated": hf.T5EncoderModel(hf.T5Config(**t5, feed_forward_proj="gated-gelu")),
    }


def outputs(kind: str, model: Any) -> dict[str, np.ndarray]:
    """Returns what a model gives: on images of `images`, on `CODES`."""
    import torch

    with torch.no_grad():
        if kind == "dinov2":
            return {"image": _dinov2(model)}
        codes = torch.tensor(CODES)
        if kind.startswith("t5"):
            mask = torch.arange(codes.shape[1])[None] < torch.tensor(LENGTHS)[:, None]
            rows = model(input_ids=codes, attention_mask=mask).last_hidden_state.numpy()
            return {f"tokens_{i}": rows[i, :n] for i, n in enumerate(LENGTHS)}
        pixels = _normed(images(56), _CLIP)
        vision = model.vision_model(pixel_values=pixels).pooler_output
        words = model.text_model(input_ids=codes)
        return {
            "image": model.visual_projection(vision).numpy(),
            "text": model.text_projection(words.pooler_output).numpy(),
            "tokens_0": words.last_hidden_state.numpy()[0, : LENGTHS[0]],
        }


_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _normed(pixels: np.ndarray, about: Any) -> Any:
    import torch

    mean, deviation = (np.array(row, np.float32) for row in about)
    return torch.from_numpy(((pixels / np.float32(255) - mean) / deviation).transpose(0, 3, 1, 2))


def _dinov2(model: Any) -> np.ndarray:
    """With places resized as DINOv2's own code does it, by a factor and not to a size."""
    import torch

    table = model.embeddings.position_embeddings
    side = round((table.shape[1] - 1) ** 0.5)
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        grid, scale_factor=(16.1 / side, 16.1 / side), mode="bicubic"
    )
    resized = resized.permute(0, 2, 3, 1).reshape(1, 256, -1)
    model.embeddings.interpolate_pos_encoding = lambda *_: torch.cat([table[:, :1], resized], 1)
    return model(_normed(images(224), _IMAGENET)).pooler_output.numpy()


def main() -> None:
    import torch
    from safetensors.numpy import load_file, save_file

    golden: dict[str, Any] = {}
    for kind, model in models().items():
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            file = Path(folder, "model.safetensors")
            shapes = {k: list(a.shape) for k, a in load_file(file).items() if a.ndim}
            save_file({**load_file(file), **made_up(shapes)}, file, {"format": "pt"})
            model = type(model).from_pretrained(folder).eval()
        golden[kind] = {
            "shapes": shapes,
            "outputs": {
                name: np.round(rows, 6).tolist() for name, rows in outputs(kind, model).items()
            },
        }
    away = torch.arange(-600, 601)[None]
    from transformers.models.t5.modeling_t5 import T5Attention

    buckets = T5Attention._relative_position_bucket(away, bidirectional=True)
    golden["t5_buckets"] = buckets[0].tolist()
    Path(sys.argv[1]).write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
