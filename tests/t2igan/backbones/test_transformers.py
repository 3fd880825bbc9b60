"""DINOv2, CLIP and T5: transformers' numbers on made-up weights under the names of its files."""

import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.errors import UserError
from t2igan.backbones import clip, dinov2, t5, transformer

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "transformers_golden.json").read_text())


@functools.cache
def script():
    path = HERE.parents[2] / "scripts" / "golden" / "transformers.py"
    spec = importlib.util.spec_from_file_location("transformers_golden", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def state(kind):
    return script().made_up(GOLDEN[kind]["shapes"])


def expect(kind, name, rows):
    expected = np.array(GOLDEN[kind]["outputs"][name])
    np.testing.assert_allclose(rows, expected, atol=1e-4 * np.abs(expected).max())


def test_dinov2_is_transformers_with_places_resized_as_its_own_code_does():
    rows = dinov2.features(dinov2.params_from(state("dinov2")), script().images(224))
    expect("dinov2", "image", rows)


def test_dinov2_of_a_model_with_a_head():
    arrays = state("dinov2")
    headed = {f"dinov2.{name}": array for name, array in arrays.items()} | {"classifier.bias": 0}
    plain, again = dinov2.params_from(arrays), dinov2.params_from(headed)
    np.testing.assert_array_equal(plain["places"], again["places"])
    assert plain["layers"].keys() == again["layers"].keys()


GEOMETRIES = {
    "clip": (clip.Geometry(2, "quick_gelu"), clip.Geometry(2, "quick_gelu")),
    "clip_gelu": (clip.Geometry(4, "gelu"), clip.Geometry(2, "gelu")),
}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_clip_is_transformers(kind):
    vision, text = GEOMETRIES[kind]
    arrays = state(kind)
    pixels = script().images(56)
    expect(kind, "image", clip.image_features(clip.image_params(arrays), pixels, vision))
    whole, tokens = clip.text_features(
        clip.text_params(arrays), np.array(script().CODES, np.int32), text
    )
    expect(kind, "text", whole)
    expect(kind, "tokens_0", tokens[0, : script().LENGTHS[0]])


@pytest.mark.parametrize("kind", ["t5", "t5_gated"])
def test_t5_is_transformers(kind):
    codes = np.array(script().CODES, np.int32)
    lengths = np.array(script().LENGTHS, np.int32)
    tokens = t5.token_features(t5.params_from(state(kind)), codes, lengths)
    for i, length in enumerate(lengths):
        expect(kind, f"tokens_{i}", tokens[i, :length])


def test_t5_distances_fall_into_transformers_buckets():
    np.testing.assert_array_equal(t5.bucket(np.arange(-600, 601), 32), GOLDEN["t5_buckets"])


@pytest.mark.parametrize(
    ("make", "kind", "lost"),
    [
        (dinov2.params_from, "dinov2", "layernorm.bias"),
        (clip.image_params, "clip", "visual_projection.weight"),
        (clip.text_params, "clip", "text_model.final_layer_norm.weight"),
        (t5.params_from, "t5", "encoder.final_layer_norm.weight"),
    ],
)
def test_a_missing_array_is_named(make, kind, lost):
    arrays = state(kind)
    del arrays[lost]
    with pytest.raises(UserError, match=lost.removeprefix("text_model.")):
        make(arrays)


def test_layers_that_are_not_alike_are_refused():
    arrays = state("t5")
    del arrays["encoder.block.1.layer.0.SelfAttention.k.weight"]
    with pytest.raises(UserError, match="not alike"):
        t5.params_from(arrays)


def test_a_network_is_known_by_its_shapes():
    large = {
        "embeddings.position_embeddings": (1, 1370, 1024),
        **{f"encoder.layer.{i}.layer_scale1.lambda1": (1024,) for i in range(24)},
    }
    assert dinov2.name_of(large) == "dinov2_vitl14"
    assert clip.name_of(large) is None
    at_336 = {
        "vision_model.embeddings.patch_embedding.weight": (1024, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (577, 1024),
        "visual_projection.weight": (768, 1024),
    }
    assert clip.name_of(at_336) == "clip_vitl14_336"
    at_224 = {
        "vision_model.embeddings.patch_embedding.weight": (768, 3, 32, 32),
        "vision_model.embeddings.position_embedding.weight": (50, 768),
        "visual_projection.weight": (512, 768),
    }
    assert clip.name_of(at_224) == "clip_vitb32"
    assert dinov2.name_of(at_224) is None


def test_patches_are_a_convolution_of_their_own_size():
    random = np.random.default_rng(0)
    images, kernel = random.normal(size=(2, 6, 6, 3)), random.normal(size=(5, 3, 2, 2))
    found = transformer.patches(images, kernel).reshape(2, 3, 3, 5)
    expected = np.einsum("birjsc,wcrs->bijw", images.reshape(2, 3, 2, 3, 2, 3), kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)
