"""Networks of made-up weights in safetensors files, with a tokenizer beside them."""

import numpy as np
import pytest
from safetensors.numpy import save_file

WORDS = ["a", "red", "blue", "green", "thing", "photo", "depicts"]


def write_tokenizer(folder, begin, end):
    """A tokenizer.json of whole words, which puts `begin` (or nothing) and `end` around a text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    specials = [token for token in ("<unk>", begin) if token]
    codes = {word: code for code, word in enumerate([*specials, *WORDS, end])}
    tokenizer = Tokenizer(models.WordLevel(codes, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    template = f"{begin} $A {end}" if begin else f"$A {end}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(t, codes[t]) for t in (begin, end) if t]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def layer_shapes(prefix, width, layers, names):
    shapes = {}
    for i in range(layers):
        for name, shape in names.items():
            shapes[f"{prefix}.{i}.{name}.weight"] = shape
            shapes[f"{prefix}.{i}.{name}.bias"] = shape[:1]
    return shapes


def clip_shapes(width, patch, side, text_width=64, dim=64):
    def layers(prefix, width):
        names = {f"self_attn.{part}_proj": (width, width) for part in ("q", "k", "v", "out")}
        names |= {"layer_norm1": (width,), "layer_norm2": (width,)}
        names |= {"mlp.fc1": (32, width), "mlp.fc2": (width, 32)}
        return layer_shapes(prefix, width, 1, names)

    vision, text = "vision_model.", "text_model."
    return {
        vision + "embeddings.class_embedding": (width,),
        vision + "embeddings.patch_embedding.weight": (width, 3, patch, patch),
        vision + "embeddings.position_embedding.weight": (side * side + 1, width),
        **{
            f"{vision}{norm}.{part}": (width,)
            for norm in ("pre_layrnorm", "post_layernorm")
            for part in ("weight", "bias")
        },
        **layers(vision + "encoder.layers", width),
        "visual_projection.weight": (dim, width),
        text + "embeddings.token_embedding.weight": (len(WORDS) + 3, text_width),
        text + "embeddings.position_embedding.weight": (77, text_width),
        text + "final_layer_norm.weight": (text_width,),
        text + "final_layer_norm.bias": (text_width,),
        **layers(text + "encoder.layers", text_width),
        "text_projection.weight": (dim, text_width),
    }


def write(folder, shapes, seed=0, dtype=np.float32):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    arrays = {}
    for name in sorted(shapes):
        draw = random.normal(size=shapes[name]) * 0.1
        norm = "norm" in name and name.endswith("weight")
        arrays[name] = (draw + norm).astype(dtype)
    save_file(arrays, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.fixture(scope="session")
def clip_b32(tmp_path_factory):
    """A file that is known as ViT-B/32, one layer deep."""
    folder = tmp_path_factory.mktemp("clip_b32")
    write_tokenizer(folder, "<begin>", "<end>")
    return write(folder, clip_shapes(768, 32, 7), dtype=np.float16)


@pytest.fixture(scope="session")
def clip_l336(tmp_path_factory):
    """A file that is known as ViT-L/14 at 336 pixels, one layer deep."""
    folder = tmp_path_factory.mktemp("clip_l336")
    return write(folder, clip_shapes(1024, 14, 24), dtype=np.float16)


@pytest.fixture(scope="session")
def t5_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    write_tokenizer(folder, "", "</s>")
    own, forward = "layer.0.SelfAttention.", "layer.1.DenseReluDense."
    shapes = {"shared.weight": (len(WORDS) + 2, 16), "encoder.final_layer_norm.weight": (16,)}
    for i in range(2):
        block = f"encoder.block.{i}."
        shapes |= {f"{block}{own}{part}.weight": (16, 16) for part in "qkvo"}
        shapes |= {f"{block}layer.{j}.layer_norm.weight": (16,) for j in (0, 1)}
        shapes |= {f"{block}{forward}wi.weight": (32, 16), f"{block}{forward}wo.weight": (16, 32)}
    shapes[f"encoder.block.0.{own}relative_attention_bias.weight"] = (32, 4)
    return write(folder, shapes)
