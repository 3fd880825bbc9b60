"""Exports beside `sample`: the same images from every format, and for every recipe."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import t2igan
from input_pipeline.errors import UserError
from input_pipeline.files import sha256
from input_pipeline.sources.shapes import oracle
from input_pipeline.sources.shapes.captions import attributes_of
from t2igan.cli import main as cli
from t2igan.export import folder, generator, litert, onnx_model, stablehlo
from t2igan.export.precision import quantized
from t2igan.sampling import run as sampling
from tests.t2igan.export.small_run import small_run

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.filterwarnings("ignore")  # of the converter's own
RECIPES = [
    ("stackgan", "attention"),
    ("dfgan", "attention"),
    ("r3gan", "transformer"),
    ("contrastive", "flat"),
    ("contrastive", "sentence+attention"),
    ("stackgan_stage2", "attention"),
    ("stackgan_stage2", "sentence"),
]


def inputs_of(run, count):
    random = np.random.default_rng(1)
    codes = random.integers(4, len(run.vocabulary), (count, run.caption_length)).astype(np.int32)
    codes[:, 0], codes[:, -2:] = 1, (2, 0)
    text = {"codes": codes}
    if run.recipe.reads_sentences:
        text["sentence"] = random.normal(size=(count, 12)).astype(np.float32)
    indices = np.arange(count, dtype=np.int32)
    noise = jax.device_get(run._sampler(16)[0].noise(jax.random.key(0), indices))
    return text, indices, noise


def by_onnx(path, arrays):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(path)
    return session.run(["image"], {one.name: arrays[one.name] for one in session.get_inputs()})[0]


def by_litert(path, arrays):
    interpreters = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed"
    )
    run = interpreters.Interpreter(str(path)).get_signature_runner(litert.SIGNATURE)
    count = len(next(iter(arrays.values())))
    rows = [{name: array[row : row + 1] for name, array in arrays.items()} for row in range(count)]
    return np.concatenate([run(**row)["image"] for row in rows])


@pytest.mark.parametrize(("recipe", "encoder"), RECIPES, ids=str)
@pytest.mark.parametrize("count", [1, 5])
def test_every_recipe_gives_the_images_of_sample(recipe, encoder, count, tmp_path):
    pytest.importorskip("jax2onnx", reason="jax2onnx is not installed")
    run = small_run(recipe, encoder)
    text, indices, noise = inputs_of(run, count)
    expected = run.generate(text, indices, 0).astype(int)
    made = generator.of_run(run)
    arrays = {**text, **noise}
    assert [one.name for one in made.inputs] == [*text, *sorted(noise)]

    onnx_model.write(made, tmp_path / "m.onnx")
    assert np.abs(by_onnx(tmp_path / "m.onnx", arrays) - expected).max() <= 1
    stablehlo.write(made, tmp_path / "m.stablehlo")
    program = jax.export.deserialize(bytearray((tmp_path / "m.stablehlo").read_bytes()))
    found = program.call(*(arrays[one.name] for one in made.inputs))
    assert np.abs(np.asarray(found) - expected).max() <= 1
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}


@pytest.mark.parametrize(("recipe", "encoder"), RECIPES, ids=str)
def test_litert_gives_the_images_of_sample(recipe, encoder, tmp_path):
    pytest.importorskip("litert_converter", reason="litert-converter is not installed")
    run = small_run(recipe, encoder)
    text, indices, noise = inputs_of(run, 3)
    made = generator.of_run(run)
    litert.write(made, tmp_path / "m.tflite")
    found = by_litert(tmp_path / "m.tflite", {**text, **noise})
    assert np.abs(found - run.generate(text, indices, 0).astype(int)).max() <= 1


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("jax2onnx", reason="jax2onnx is not installed")
    out = tmp_path_factory.mktemp("export") / "out"
    flags = ["--pretrained=shapes", "--format=onnx,safetensors", f"--out={out}"]
    assert cli.main(["export", *flags]) == 0
    return out


def test_a_thousand_captions_are_drawn_alike_and_right(exported):
    run = sampling.load_pretrained("shapes")
    captions = [
        f"a {size} {color} {shape} on the {place}"
        for size in ("small", "large")
        for color in ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
        for shape in ("circle", "square", "triangle", "star", "heart", "cross", "ring")
        for place in ("left", "right", "top", "bottom")
    ]
    captions = (captions * 3)[:1000]
    indices = np.arange(len(captions), dtype=np.int32)
    text = run.text(captions)
    expected = run.generate(text, indices, 0)
    noise = jax.device_get(run._sampler(16)[0].noise(jax.random.key(0), indices))
    found = by_onnx(exported / "model.onnx", {**text, **noise})
    assert np.abs(found - expected.astype(int)).max() <= 1
    shown = oracle.read(found.astype(np.uint8))[:, :4]
    asked = np.array([attributes_of(caption)[:4] for caption in captions])
    assert (shown == asked).all(axis=1).mean() > 0.9


def test_the_manifest_names_every_file_and_the_card_says_what_it_is(exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    files = {p.name for p in exported.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    for name, digest in manifest["files"].items():
        assert sha256(exported / name) == digest
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: t2igan\n")
    for words in ("## Use", "## Numbers", "## Limits", "| `codes` | int32 [B, 17]"):
        assert words in card
    words = json.loads((exported / "vocabulary.json").read_text())["words"]
    assert tuple(words) == sampling.load_pretrained("shapes").vocabulary.words


def test_an_export_is_loaded_from_its_folder_a_zip_and_the_hub(exported, tmp_path, monkeypatch):
    captions = ["a small red star on the left"]
    expected = sampling.load_pretrained("shapes").sample(captions, 2)
    np.testing.assert_array_equal(t2igan.load(str(exported)).sample(captions, 2), expected)
    archive = shutil.make_archive(str(tmp_path / "out"), "zip", exported)
    np.testing.assert_array_equal(t2igan.load(archive).sample(captions, 2), expected)

    class Hub:
        def snapshot_download(self, name, **_):
            assert name == "user/name"
            return str(exported)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub())
    np.testing.assert_array_equal(t2igan.load("hf://user/name").sample(captions, 2), expected)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 't2igan\[hub\]'"):
        t2igan.load("hf://user/name")


@pytest.mark.parametrize(
    ("precision", "formats", "share"), [("float16", "onnx,hub", 0.6), ("int8", "onnx", 0.4)]
)
def test_weights_of_fewer_bits_are_smaller_and_nearly_the_same(
    precision, formats, share, exported, tmp_path
):
    out = tmp_path / "small"
    flags = [f"--format={formats}", f"--precision={precision}", f"--out={out}"]
    assert cli.main(["export", "--pretrained=shapes", *flags]) == 0
    for path in out.glob("model.*"):
        assert path.stat().st_size < share * (exported / path.name).stat().st_size
    run = sampling.load_pretrained("shapes")
    text, indices, noise = inputs_of(run, 8)
    found = by_onnx(out / "model.onnx", {**text, **noise})
    assert np.abs(found - run.generate(text, indices, 0)).mean() < 2
    assert f"Weights are stored as {precision}: " in (out / "README.md").read_text()


def test_int8_is_refused_where_it_is_not_written(tmp_path, capsys):
    flags = ["--format=hub", "--precision=int8", f"--out={tmp_path / 'none'}"]
    assert cli.main(["export", "--pretrained=shapes", *flags]) == 2
    assert "safetensors takes float16" in capsys.readouterr().err


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
@settings(deadline=None, max_examples=25)
def test_a_weight_in_8_bits_is_off_by_half_a_step_at_most(seed, axes):
    random = np.random.default_rng(seed)
    array = random.normal(size=random.integers(1, 6, axes)).astype(np.float32)
    found = quantized(array)
    others = tuple(i for i in range(axes) if i != found.axis)
    step = np.abs(array).max(axis=others, keepdims=True) / 127
    assert (np.abs(found.widened() - array) <= step * 0.501 + 1e-7).all()
    assert found.numbers.dtype == np.int8


def test_the_example_needs_numpy_and_onnxruntime_alone(exported, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from PIL import Image

    script = ROOT / "examples/onnx_sample.py"
    text = script.read_text()
    assert not {"jax", "t2igan", "PIL"} & {
        line.split()[1].partition(".")[0]
        for line in text.splitlines()
        if line.startswith(("import ", "from "))
    }
    right = 0
    for seed in range(4):
        words = [exported, "a small red star on the left", tmp_path / "star.png", seed]
        subprocess.run([sys.executable, "-P", script, *map(str, words)], check=True)
        image = np.asarray(Image.open(tmp_path / "star.png"))
        right += oracle.read(image[None])[0, :4].tolist() == [3, 0, 0, 0]
    assert right >= 3


def test_damage_and_mistakes_are_one_line(exported, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(exported, broken)
    data = (broken / "model.safetensors").read_bytes()
    for length in (0, 5, 100, len(data) - 1):
        (broken / "model.safetensors").write_bytes(data[:length])
        with pytest.raises(UserError, match="no exported generator, or a damaged one"):
            t2igan.load(broken)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("README.md", "x")
    with pytest.raises(UserError, match="it is no export"):
        t2igan.load(tmp_path / "x.zip")
    for flags, told in [
        ([], "export needs --out=DIR"),
        ([f"--out={tmp_path / 'o'}"], "give either"),
        ([f"--out={tmp_path / 'o'}", "--pretrained=shapes", "--format=onxx"], "did you mean onnx"),
        ([f"--out={broken}", "--pretrained=shapes"], "add --overwrite"),
        ([f"--out={tmp_path}", "--pretrained=shapes"], "is no export"),
    ]:
        assert cli.main(["export", *flags]) == 2
        assert told in capsys.readouterr().err
    assert folder.check_formats("hub,onnx,onnx") == ["safetensors", "onnx"]
