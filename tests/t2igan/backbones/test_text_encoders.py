"""CLIP's and T5's vectors of captions, from a file to shards, runs and images."""

from pathlib import Path

import numpy as np
import pytest

from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import open_encoder, open_known
from t2igan.backbones import text_encoders
from t2igan.backbones.tokenizer import Tokenizer
from t2igan.cli import main as cli

from ..made_up_weights import write_tokenizer

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
