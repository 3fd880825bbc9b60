"""The table of word vectors, from a GloVe text file or drawn from a seed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from input_pipeline.errors import UserError
from input_pipeline.text.vocabulary import UNK, Vocabulary

MAX_DIM = 4096
# The word whose vector stands for all words without a code.
UNKNOWN_WORD = "unk"
# Standard deviation of GloVe 6B's numbers, 200 a word, over the captions' words.
RANDOM_SCALE = 0.4

_MAX_LINE = 64 * MAX_DIM
_IN_NUMBERS = b"0123456789+-.eE "
_HEADER = re.compile(rb"\d+ \d+")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def load(path: Path, vocabulary: Vocabulary) -> tuple[np.ndarray, list[str]]:
    """Returns float32 [V, D] table whose row k is the vector of code k, and the words without a
    vector.

    `x_UNK_` takes the vector of `unk`. The other special words, and words without a vector, are
    zeros; so is `x_UNK_` where the file has no `unk`, which is not listed as a word. The file is
    read once, line by line; only the vocabulary's vectors are kept. A first line of two counts, as
    word2vec and fastText write, is passed over.

    Args:
      path: a text file, one word and its D numbers a line; D is the first line's, 1 to 4096.
      vocabulary: the words, V of them.

    Raises:
      UserError: the file is missing or empty, or a line has another number of numbers, something
        that is none, one that is not finite, or a word a second time.

    Reference: Pennington, Socher, Manning, GloVe, https://nlp.stanford.edu/projects/glove.
    """
    codes = {word.encode(): code for word, code in vocabulary.codes.items() if code > UNK}
    rows: dict[bytes, np.ndarray] = {}
    for line, word, numbers in _lines(path):
        if word in codes or word == UNKNOWN_WORD.encode():
            if word in rows:
                raise _bad(path, line, f"has the word {word.decode()!r} again", "give each once")
            rows[word] = _vector(path, line, numbers)
    if not rows:
        raise UserError(
            f"--word_vectors={path} has none of the vocabulary's words; give vectors of the "
            "captions' language, in lower case"
        )
    table = np.zeros((len(vocabulary), len(next(iter(rows.values())))), np.float32)
    for word, row in rows.items():
        if word in codes:
            table[codes[word]] = row
    table[UNK] = rows.get(UNKNOWN_WORD.encode(), 0)
    return table, [word.decode() for word in codes if word not in rows]


def random_table(vocabulary: Vocabulary, dim: int, seed: int) -> np.ndarray:
    """Returns float32 [V, dim] table drawn once from a normal distribution as wide as GloVe's.

    `x_NULL_`, `x_START_` and `x_END_` are zeros, as in a table of real vectors.

    Args:
      vocabulary: the words, V of them.
      dim: numbers a word, 1 to 4096.
      seed: >= 0; the same gives the same table.

    Raises:
      UserError: `dim` is out of range.
    """
    if not 1 <= dim <= MAX_DIM:
        raise UserError(f"{dim} numbers a word; 1 to {MAX_DIM} are allowed, 200 is the report's")
    drawn = np.random.default_rng(seed).normal(0, RANDOM_SCALE, (len(vocabulary), dim))
    drawn[:UNK] = 0
    return drawn.astype(np.float32)


def _lines(path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """(line number, word, numbers) of every line, its shape checked."""
    dim = 0
    for line, text in _text_lines(path):
        if line == 1 and _HEADER.fullmatch(text):
            continue
        dim = dim or _dim(path, line, text)
        word, numbers = _split(text, dim)
        if word is None:
            found = len(text.split(b" ")) - 1
            raise _bad(path, line, f"has {found} numbers after its word", f"{dim} are expected")
        if numbers.translate(None, _IN_NUMBERS):
            raise _bad(
                path, line, "has something that is no number", "give numbers as 0.25 or -1e-3"
            )
        yield line, word, numbers
    if not dim:
        raise UserError(f"--word_vectors={path} is empty; give a GloVe text file")


def _text_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if not path.is_file():
        raise UserError(f"--word_vectors={path}: there is no such file; give a GloVe text file")
    size = path.stat().st_size
    blank = 0
    try:
        with (
            open(path, "rb") as file,
            tqdm(total=size, desc="word vectors", unit="B", unit_scale=True, delay=1) as bar,
        ):
            for line, text in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), start=1):
                bar.update(len(text))
                if len(text) == _MAX_LINE:
                    raise _bad(path, line, "is endless", "is this a GloVe text file?")
                text = text.strip()
                if blank and text:
                    raise _bad(path, blank, "is empty", "remove it")
                if text:
                    yield line, text
                else:
                    blank = blank or line
    except OSError as error:
        raise UserError(
            f"--word_vectors={path} cannot be read: {error.strerror}; give a GloVe text file"
        ) from error


def _dim(path: Path, line: int, text: bytes) -> int:
    """How many numbers end a line: the file's dimension, from its first line."""
    parts = text.split(b" ")
    count = 0
    while count < len(parts) - 1 and _NUMBER.fullmatch(parts[-1 - count]):
        count += 1
    if not 1 <= count <= MAX_DIM:
        raise _bad(
            path, line, f"has {count} numbers after its word", f"1 to {MAX_DIM} are expected"
        )
    return count


def _split(text: bytes, dim: int) -> tuple[bytes | None, bytes]:
    """A line's word and its numbers; no word where there are not `dim` numbers behind one.

    GloVe 840B has words with blanks in them (`. . .`), so a line is split from its end.
    """
    blanks = text.count(b" ")
    if blanks == dim:
        word, _, numbers = text.partition(b" ")
        return word, numbers
    if blanks < dim:
        return None, b""
    parts = text.rsplit(b" ", dim)
    one_too_many = _NUMBER.fullmatch(parts[0].rsplit(b" ", 1)[-1])
    return (None if one_too_many else parts[0]), b" ".join(parts[1:])


def _vector(path: Path, line: int, numbers: bytes) -> np.ndarray:
    try:
        vector = np.array([float(number) for number in numbers.split(b" ")])
    except ValueError:
        raise _bad(path, line, "has something that is no number", "give numbers as 0.25") from None
    if not (np.abs(vector) <= np.finfo(np.float32).max).all():
        raise _bad(path, line, "has a number too large for 32 bits", "give finite numbers")
    return vector.astype(np.float32)


def _bad(path: Path, line: int, what: str, remedy: str) -> UserError:
    return UserError(f"--word_vectors={path}: line {line} {what}; {remedy}")
