"""A matcher is trained from a data set, by words or by sentences, and used as it was trained."""

import numpy as np
import pytest

from input_pipeline.dataset import open as datasets
from input_pipeline.errors import UserError
from input_pipeline.text import minilm
from input_pipeline.text.vocabulary import Vocabulary
from t2igan.cli import main as cli
from t2igan.metrics.features import network as feature_network
from t2igan.metrics.matcher import model as matcher

from ..conftest import VOCABULARY, picture

SEEN = []


def encode(texts):
    """Which of three colors a text names, and how many words it has."""
    SEEN.extend(texts)
    return [
        [*(float(name in text) for name in ("red", "blue", "green")), len(text.split()) / 9]
        for text in texts
    ]


@pytest.fixture
def train(dataset, network, monkeypatch, tmp_path, capsys):
    """Trains with more flags; gives the matcher as it is read back, and what was printed."""
    monkeypatch.setattr(feature_network, "load", lambda name, weights=None: network)
    monkeypatch.setattr(datasets, "open_dataset", lambda path: dataset)
    monkeypatch.setattr(minilm, "load", lambda: encode)
    SEEN.clear()

    def run(*flags):
        out = tmp_path / "matcher.npz"
        words = ["train_matcher", "--dataset=DATA", f"--out={out}", "--steps=100", *flags]
        assert cli.main([*words, "--batch_size=24", "--test_split=test"]) == 0
        return matcher.load(out), capsys.readouterr().out

    return run


@pytest.mark.parametrize("flags", [(), ("--sentence_encoder=minilm",)])
def test_it_finds_images_of_the_named_color(train, network, flags):
    trained, told = train(*flags)
    assert "recall of test's captions among 50 images: @1" in told
    images = trained.embed_images(network.features(np.stack([picture(7, i) for i in range(30)])))
    captions = ["a red thing", "a blue thing", "thing green"]
    scores = trained.embed_captions(captions) @ images.T
    nearest = np.argsort(-scores, axis=1)[:, :10] % 3
    np.testing.assert_array_equal(nearest, np.repeat([[0], [1], [2]], 10, axis=1))
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("flags", [(), ("--sentence_encoder=minilm",)])
def test_codes_of_another_vocabulary_say_the_same(train, flags):
    trained, _ = train(*flags)
    other = Vocabulary((*VOCABULARY.words[:4], "thing", "green", "a", "unheard"))
    caption = "a unheard green thing"
    theirs = trained.reading(other).embed_texts(other.encode(caption, 8)[None])
    if flags:  # a sentence encoder knows words that the vocabulary does not
        expected = trained.embed_captions([caption])
    else:
        expected = trained.embed_texts(VOCABULARY.encode(caption, 8)[None])
    np.testing.assert_allclose(theirs, expected, rtol=1e-5, atol=1e-6)


def test_sentences_are_the_words_of_the_codes(train):
    trained, _ = train("--sentence_encoder=minilm")
    assert trained.sentences.dim == 4
    assert {"a red thing", "thing blue"} <= set(SEEN)
    assert trained.provenance["matcher"]["recall"]["gallery"] == 50


def test_another_encoder_is_refused_before_anything_is_drawn(train, monkeypatch, tmp_path):
    train("--sentence_encoder=minilm")
    monkeypatch.setattr(minilm, "load", lambda: lambda texts: [[1.0, 2.0] for _ in texts])
    with pytest.raises(UserError, match="this encoder is minilm \\(2 numbers"):
        matcher.load(tmp_path / "matcher.npz")
