"""CLIP's and T5's vectors of captions, from a file to shards, runs and images."""

from pathlib import Path

import numpy as np
import pytest

import t2igan
from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import open_encoder, open_known
from t2igan.backbones import text_encoders
from t2igan.backbones.tokenizer import Tokenizer
from t2igan.cli import main as cli

from ..made_up_weights import write_tokenizer

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
TEXTS = ["a red thing", "A blue thing", "green", "a " * 200, "a red blue green thing " * 3]


@pytest.fixture(params=["clip", "t5"])
def name(request, clip_b32, t5_file):
    return f"{request.param}:{clip_b32 if request.param == 'clip' else t5_file}"


def test_a_caption_has_a_vector_of_length_1_whatever_is_beside_it(name):
    encoder = text_encoders.load(*name.split(":", 1))
    rows = encoder(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    assert len(np.unique(rows.round(5), axis=0)) == len(TEXTS)
    for text, row in zip(TEXTS, rows, strict=True):
        np.testing.assert_array_equal(encoder([text])[0], row)
    assert encoder([]).shape == (0, rows.shape[1])


def test_t5_takes_the_mean_of_a_captions_tokens(t5_file):
    encoder = text_encoders.load("t5", str(t5_file))
    tokens = encoder.tokens(TEXTS)
    assert [len(rows) for rows in tokens] == [4, 4, 2, 201, 16]
    means = np.stack([rows.mean(axis=0) for rows in tokens])
    np.testing.assert_allclose(encoder.vectors(TEXTS), means, atol=1e-5)


def test_clip_cuts_a_caption_to_77_tokens_and_keeps_its_end(clip_b32):
    tokenizer = Tokenizer(clip_b32.parent, 77)
    long, short = tokenizer(["a " * 200, "a"])
    assert len(long) == 77
    assert len(short) == 3
    assert long[-1] == short[-1] == max(long)


def test_an_encoder_is_known_again_by_its_weights_and_tokenizer(name, tmp_path, clip_b32):
    first = open_encoder(name)
    assert first.identity.is_same(open_known(first.identity, name).identity)
    kind, _, file = name.partition(":")
    other = tmp_path / "model.safetensors"
    other.write_bytes(Path(file).read_bytes())
    write_tokenizer(tmp_path, "<begin>", "<other>" if kind == "clip" else "<end>")
    with pytest.raises(UserError, match="give the same one"):
        open_known(first.identity, f"{kind}:{other}")
    with pytest.raises(UserError, match=r"add --sentence_encoder=clip:FILE"):
        open_known(first.identity)


def test_what_is_missing_is_said(tmp_path, clip_b32, t5_file):
    with pytest.raises(UserError, match="give its safetensors file, clip:FILE"):
        open_encoder("clip:")
    alone = tmp_path / "model.safetensors"
    alone.write_bytes(clip_b32.read_bytes())
    with pytest.raises(UserError, match=r"tokenizer.json: there is no such file"):
        text_encoders.clip(str(alone))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a tokenizer.json"):
        text_encoders.clip(str(alone))
    with pytest.raises(UserError, match="no text network of CLIP"):
        text_encoders.clip(str(t5_file))
    with pytest.raises(UserError, match="no T5 encoder"):
        text_encoders.t5(str(clip_b32))
    with pytest.raises(UserError, match="SHA-256"):
        text_encoders.clip(f"{clip_b32}@{'0' * 64}")


def test_prepare_stores_them_and_says_whose_they_are(name, tmp_path):
    shapes = ["--source=shapes", "--max_images=12", "--image_size=32", "--workers=1"]
    out = f"--out={tmp_path / 'data'}"
    assert cli.main(["prepare", *shapes, f"--sentence_encoder={name}", out]) == 0
    data = open_dataset(tmp_path / "data")
    encoder = text_encoders.load(*name.split(":", 1))
    assert data.sentence_encoder.name == encoder.name
    assert data.sentence_encoder.sha256 == encoder.sha256
    source = data.source("train", sentences=True)
    [texts] = source.written([0])
    stored = source[0]["sentences"]
    np.testing.assert_array_equal(stored, encoder(list(texts)).astype(np.float16))


def test_a_recipe_attends_to_the_tokens_of_a_caption(name, tmp_path):
    shapes = ["--source=shapes", "--max_images=24", "--image_size=32", "--workers=1"]
    encoder = [f"--sentence_encoder={name}", "--caption_tokens=6"]
    assert cli.main(["prepare", *shapes, *encoder, f"--out={tmp_path / 'data'}"]) == 0
    stored = open_dataset(tmp_path / "data").source("train", sentences=True)[0]["sentences"]
    assert stored.shape[1] == 7

    words = [f"--config.data.dir={tmp_path / 'data'}", "--config.model.text_encoder=tokens"]
    words += ["--config.recipe=contrastive", "--config.model.gf_dim=4", "--config.model.df_dim=4"]
    words += ["--config.train.steps=2", "--config.train.batch_size=4", "--config.health.every=0"]
    words += [f"--config={CONFIGS / 'tiny.py'}", f"--workdir={tmp_path / 'run'}"]
    assert cli.main(["train", "--devices=1", *words]) == 0

    run = t2igan.load(tmp_path / "run", sentence_encoder=name)
    [texts] = open_dataset(tmp_path / "data").source("train").written([0])
    np.testing.assert_array_equal(run.text(list(texts))["sentence"], stored)
    images = run.sample(["a small red star", "a large blue ring"], num=1, seed=0)
    assert images.shape == (2, 1, 32, 32, 3)
    with pytest.raises(UserError, match="not built in"):
        t2igan.load(tmp_path / "run").sample(["a small red star"])


def test_tokens_are_asked_of_encoders_that_give_them(tmp_path, capsys):
    prepare = ["prepare", "--source=shapes", "--max_images=8", f"--out={tmp_path / 'data'}"]
    assert cli.main([*prepare, "--caption_tokens=8", "--sentence_encoder=minilm"]) == 2
    assert "minilm gives sentences alone" in capsys.readouterr().err
    assert cli.main([*prepare, "--caption_tokens=8"]) == 2
    assert "of which encoder?" in capsys.readouterr().err
