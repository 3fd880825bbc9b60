"""Captions to codes and back, held to the real pair of captions and codes."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.text import vocabulary
from input_pipeline.text.vocabulary import END, NULL, SPECIAL_WORDS, START, UNK, Vocabulary

SMALL = Vocabulary((*SPECIAL_WORDS, "a", "dog", "on", "grass", "tshirt", "s"))


def test_real_captions_give_the_real_codes(flickr8k):
    stem = flickr8k / "eee443_project_dataset_train"
    with h5py.File(stem.with_suffix(".h5")) as file:
        row = file["word_code"][0]
        names = sorted(row.dtype.names, key=lambda name: int(row[name]))
        expected = file["train_cap"][:]
    words = Vocabulary(tuple(vocabulary.plain_words(names)))
    lines = stem.with_suffix(".captions.txt").read_text().splitlines()
    codes = np.stack([words.encode(line.split("\t")[1], 17) for line in lines])
    agreement = (codes == expected).all(axis=1).mean()
    assert agreement == 1.0, f"{agreement:.4%} of {len(lines)} captions agree"


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog 's ball .", ["a", "dog", "s", "ball"]),
        ("a dog's ball", ["a", "dog", "s", "ball"]),
        ("a dog\u2019s ball", ["a", "dog", "s", "ball"]),
        ("Black T-shirt, don't", ["black", "tshirt", "dont"]),
        ("in Washington D.C.", ["in", "washington", "dc"]),
        ('says " Hi "; # 8', ["says", "hi", "8"]),
        ("red,green/blue...and\u2014gray", ["red", "green", "blue", "and", "gray"]),
        ("x_UNK_ x_END_", ["x", "unk", "x", "end"]),
        ("Ein gr\u00fcner B\u00c4R", ["ein", "gr\u00fcner", "b\u00e4r"]),
        (" \t.,' ", []),
    ],
)
def test_tokenize(caption, words):
    assert vocabulary.tokenize(caption) == words


@given(st.text())
def test_tokens_are_plain_and_stay_what_they_are(caption):
    words = vocabulary.tokenize(caption)
    assert all(word and not any(c.isspace() or c == "_" for c in word) for word in words)
    assert not set(words) & set(SPECIAL_WORDS)


def test_encode_and_decode():
    codes = SMALL.encode("A dog on the grass.", 8)
    assert codes.dtype == np.int32
    assert codes.tolist() == [START, 4, 5, 6, UNK, 7, END, NULL]
    assert SMALL.decode(codes) == "a dog on x_UNK_ grass"
    assert SMALL.decode(SMALL.encode("a dog on grass", 6)) == "a dog on grass"


@given(st.text(), st.integers(2, 20))
def test_codes_always_start_end_and_fit(caption, length):
    codes = SMALL.encode(caption, length).tolist()
    end = codes.index(END)
    assert len(codes) == length
    assert codes[0] == START
    assert codes[end + 1 :] == [NULL] * (length - end - 1)
    assert all(UNK <= code < len(SMALL) for code in codes[1:end])


def test_long_captions_keep_their_end():
    assert SMALL.encode("dog " * 50, 5).tolist() == [START, 5, 5, 5, END]


def test_unknown_words_and_their_neighbors():
    assert SMALL.unknown_words("The dog, the gras, THE cat") == ["the", "gras", "cat"]
    assert SMALL.near("gras") == ["grass"]
    assert SMALL.near("T-shrt".lower()) == ["tshirt"]
    assert SMALL.near("xylophone") == []


def test_matlab_names_are_undone():
    names = ["x_NULL_", "x_END_", "xWhile", "xEnd", "xElseif", "x3d", "xray", "xBox", "x", "xEND"]
    plain = ["x_NULL_", "x_END_", "while", "end", "elseif", "3d", "xray", "xBox", "x", "xEND"]
    assert vocabulary.plain_words(names) == plain
    assert vocabulary.plain_words(["xEnd", "end"]) == ["xEnd", "end"]


def test_build_takes_the_most_frequent_words_in_any_order():
    captions = ["a dog", "a cat", "a dog on grass", "A DOG!"]
    words = (*SPECIAL_WORDS, "a", "dog", "cat")
    assert vocabulary.build(captions, 7).words == words
    assert vocabulary.build(reversed(captions), 7).words == words
    assert len(vocabulary.build(captions, 1004)) == 9


def test_build_forgets_rare_words_before_it_fills_memory(monkeypatch):
    monkeypatch.setattr(vocabulary, "_MAX_COUNTED_WORDS", 50)
    captions = (f"a dog w{i}" for i in range(1000))
    assert vocabulary.build(captions, 6).words[4:] == ("a", "dog")


@pytest.mark.parametrize("size", [-1, 4, 65_537])
def test_build_refuses_a_size(size):
    with pytest.raises(UserError, match=f"--vocab_size={size}"):
        vocabulary.build(["a dog"], size)


def test_build_refuses_captions_without_words():
    with pytest.raises(UserError, match="no word"):
        vocabulary.build(["...", ""], 10)


def test_json_round_trip():
    assert Vocabulary.from_json(SMALL.to_json()) == SMALL


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("words"), inner),
        max_leaves=8,
    ).map(json.dumps)
    | st.text()
    | st.just("[" * 100_000)
)
def test_other_json_is_refused(text):
    with pytest.raises(UserError):
        Vocabulary.from_json(text)


def test_a_word_has_one_code():
    with pytest.raises(UserError, match="'dog' twice"):
        Vocabulary((*SPECIAL_WORDS, "dog", "dog"))
