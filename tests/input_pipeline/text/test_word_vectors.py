"""The table of word vectors: right rows, and one line for every fault in its file."""

import contextlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.text import vocabulary, word_vectors
from input_pipeline.text.vocabulary import SPECIAL_WORDS, UNK, Vocabulary

WORDS = Vocabulary((*SPECIAL_WORDS, "dog", "cat", "end"))
GOOD = "the 9 9 9\nend 7 8 9\ndog 1 -2.5 3e-1\nunk .5 0 +1\n"


def _load(tmp_path, text):
    path = tmp_path / "glove.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return word_vectors.load(path, WORDS)


def test_rows_are_in_code_order_and_missing_words_are_zeros(tmp_path):
    table, missing = _load(tmp_path, GOOD)
    expected = [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0.5, 0, 1], [1, -2.5, 0.3], [0, 0, 0], [7, 8, 9]]
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, np.array(expected, np.float32))
    assert missing == ["cat"]


def test_real_vectors(flickr8k, glove):
    with h5py.File(flickr8k / "eee443_project_dataset_train.h5") as file:
        row = file["word_code"][0]
    names = sorted(row.dtype.names, key=lambda name: int(row[name]))
    words = Vocabulary(tuple(vocabulary.plain_words(names)))
    table, missing = word_vectors.load(glove, words)
    assert table.shape == (1004, 200)
    assert len(missing) == 3
    assert not {"while", "for", "end", "catch", "try", "break"} & set(missing)
    lines = dict(line.split(" ", 1) for line in glove.read_text().splitlines())
    expected = np.array(lines["while"].split(), np.float32)
    np.testing.assert_array_equal(table[words.codes["while"]], expected)
    zeros = {words.words[code] for code in np.flatnonzero(~table.any(axis=1))}
    assert zeros - set(SPECIAL_WORDS) == set(missing)


def test_words_with_blanks_and_a_header_are_passed_over(tmp_path):
    table, _ = _load(tmp_path, "3 2\n. . . 1 2\nat me@home 3 4\ndog 5 6\r\n\n")
    np.testing.assert_array_equal(table[4], np.array([5, 6], np.float32))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (GOOD + "short 1 2\n", "line 5 has 2 numbers"),
        (GOOD + "long 1 2 3 4\n", "line 5 has 4 numbers"),
        (GOOD + "bad 1 2 x\n", "line 5 has something"),
        (GOOD + "cat 1 2 --3\n", "line 5 has something"),
        (GOOD + "cat 1 2 nan\n", "line 5 has something"),
        (GOOD + "cat 1 2 inf\n", "line 5 has something"),
        (GOOD + "cat 1 2 1e99\n", "line 5 has a number too large"),
        (GOOD + "dog 1 2 3\n", "line 5 has the word 'dog' again"),
        (GOOD + "\ncat 1 2 3\n", "line 5 is empty"),
        (GOOD + "cat\t1\t2\t3\n", "line 5 has 0 numbers"),
        ("Dog 1 2 3\n", "none of the vocabulary's words"),
        ("dog\n", "line 1 has 0 numbers"),
        (b"\x89HDF\r\n\x1a\n\0\0", "line 1 has 0 numbers"),
        (b"\x80\x04\x95" + bytes(400_000), "line 1 is endless"),
    ],
)
def test_each_fault_is_one_line(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "no.txt", tmp_path):
        with pytest.raises(UserError, match="no such file"):
            word_vectors.load(path, WORDS)


@settings(max_examples=300)
@given(
    st.binary()
    | st.lists(
        st.sampled_from(["dog", "unk", " ", "1", "-", ".", "e", "nan", "\n", "\0", "٣"])
    ).map("".join)
)
def test_whatever_the_file_a_table_or_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with contextlib.suppress(UserError):
        table, _ = word_vectors.load(path, WORDS)
        assert table.shape[0] == len(WORDS)
        assert np.isfinite(table).all()


def test_random_table_is_drawn_once_from_its_seed():
    table = word_vectors.random_table(WORDS, 500, seed=3)
    assert table.shape == (7, 500)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, word_vectors.random_table(WORDS, 500, seed=3))
    assert (table != word_vectors.random_table(WORDS, 500, seed=4))[UNK:].any()
    assert not table[:UNK].any()
    assert abs(float(table[UNK:].std()) / word_vectors.RANDOM_SCALE - 1) < 0.1


@pytest.mark.parametrize("dim", [0, 4097])
def test_random_table_refuses_a_width(dim):
    with pytest.raises(UserError, match=f"^{dim} numbers"):
        word_vectors.random_table(WORDS, dim, seed=0)
