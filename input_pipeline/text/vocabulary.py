"""Words and their codes: what a caption is to the networks."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import functools
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from input_pipeline.errors import UserError

NULL, START, END, UNK = range(4)
SPECIAL_WORDS = ("x_NULL_", "x_START_", "x_END_", "x_UNK_")

# Codes are stored as 16-bit numbers on disk.
MAX_WORDS = 65_536
_MAX_WORD_LENGTH = 64
DEFAULT_VOCAB_SIZE = 1004  # the report's
COVERED = 0.99  # of the words in captions, by a vocabulary whose size nobody has chosen
_MAX_COUNTED_WORDS = 1_000_000

# What MATLAB's `iskeyword` lists: `matlab.lang.makeValidName` writes these `xWhile`, `xEnd`, ...
_MATLAB_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "break case catch classdef continue else elseif end for function global if otherwise "
        "parfor persistent return spmd switch try while",
    )
)

_POSSESSIVE = re.compile(r"['\u2019]s\b")
_BETWEEN_WORDS = re.compile(
    r"[\s,;:/\\|!?()\[\]{}<>\"\u201c\u201d\u2013\u2014_\u0964\u0965\u3001\u3002\u300c\u300d]+"
    r"|\.{2,}"
)
# Vowel signs of Indic and South-East Asian scripts are no word characters to `re`, but in words.
_NOT_IN_WORDS = re.compile(r"(?:[^\w\u0900-\u0dff\u0e00-\u109f\u1780-\u17ff]|_)+")
# Thai, Lao, Burmese, Khmer, kana and Han: written without blanks between words.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff"
)
_BY_CHARACTER = re.compile(rf"[{_UNSPACED}]|[^{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")


def tokenize(caption: str) -> list[str]:
    """Returns words of a caption: lower case, without punctuation.

    As the student report's HDF5 files show: `t-shirt` is one word, `tshirt`, and `D.C.` is `dc`. A
    possessive `'s` is the word `s`. Each character of a script without blanks between words (Han,
    kana, Thai, ...) is a word.
    """
    text = unicodedata.normalize("NFKC", caption).lower()
    pieces = _BETWEEN_WORDS.split(_POSSESSIVE.sub(" s", text))
    # Most pieces are plain words, and a regular expression takes longer to say so.
    words = [
        word
        for piece in pieces
        if (word := piece if piece.isascii() and piece.isalnum() else _NOT_IN_WORDS.sub("", piece))
    ]
    if text.isascii() or not _IS_UNSPACED.search(text):
        return words
    return [part for word in words for part in _BY_CHARACTER.findall(word)]


def is_unspaced(caption: str) -> bool:
    """Returns whether `tokenize` splits a part of the caption by character."""
    return not caption.isascii() and _IS_UNSPACED.search(caption) is not None


def plain_words(names: Sequence[str]) -> list[str]:
    """`names` with MATLAB's changes undone: `xEnd` is `end`, `x3d` is `3d`.

    MATLAB puts an `x` before names that are its keywords or start with a digit. A name stays as it
    is where undoing it would meet another name; `x_END_` and its kin are not such names.
    """
    taken = set(names)
    return [plain if (plain := _plain(name)) not in taken else name for name in names]


def _plain(name: str) -> str:
    if name[:1] != "x" or len(name) < 2:
        return name
    rest = name[1].lower() + name[2:]
    is_keyword = name[1].isupper() and rest in _MATLAB_KEYWORDS
    return rest if is_keyword or name[1].isdigit() else name


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Words in the order of their codes; the first four are the special words.

    Attributes:
      words: word of each code; 5 to 65,536 of them, none twice.

    Raises:
      UserError: the words are not such a list.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[:4] != SPECIAL_WORDS:
            raise UserError(
                f"a vocabulary starts with {self.words[:4]!r}; its first four words must be "
                f"{' '.join(SPECIAL_WORDS)}: prepare the data set again"
            )
        if not len(SPECIAL_WORDS) < len(self.words) <= MAX_WORDS:
            raise UserError(
                f"a vocabulary has {len(self.words)} words, the special ones included; "
                f"5 to {MAX_WORDS} are allowed: choose another --vocab_size"
            )
        if len(self.codes) != len(self.words):
            twice = collections.Counter(self.words).most_common(1)[0][0]
            raise UserError(f"a vocabulary has the word {twice!r} twice; each word has one code")

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def codes(self) -> dict[str, int]:
        """Code of each word."""
        return {word: code for code, word in enumerate(self.words)}

    def encode(self, caption: str, length: int) -> np.ndarray:
        """Returns int32 [length] codes of a caption: start, words, end, then padding.

        Args:
          caption: plain text.
          length: number of codes, >= 2. Words that do not fit are left out; the end stays.
        """
        return self.encode_words(tokenize(caption), length)

    def encode_words(self, words: Sequence[str], length: int) -> np.ndarray:
        """Returns the same of a caption's words, see `tokenize`."""
        return np.array(self.codes_of(words, length), np.int32)

    def codes_of(self, words: Sequence[str], length: int) -> list[int]:
        """Returns the same as plain numbers."""
        if length < 2:
            raise ValueError(f"length is {length}; start and end need 2")
        inside = [self.codes.get(word, UNK) for word in words[: length - 2]]
        return [START, *inside, END, *[NULL] * (length - 2 - len(inside))]

    def decode(self, codes: Iterable[int]) -> str:
        """Returns text of a row of codes, without start, end and padding; unknown words stay
        `x_UNK_`.
        """
        unspoken = (NULL, START, END)
        return " ".join(self.words[int(code)] for code in codes if int(code) not in unspoken)

    def unknown_words(self, caption: str) -> list[str]:
        """Returns words of a caption that have no code, each once, as they appear."""
        return [word for word in dict.fromkeys(tokenize(caption)) if word not in self.codes]

    def near(self, word: str, count: int = 3) -> list[str]:
        """Up to `count` known words that are spelled much like `word`, the nearest first."""
        known = self.words[len(SPECIAL_WORDS) :]
        return difflib.get_close_matches(word.lower()[:_MAX_WORD_LENGTH], known, count, 0.7)

    def to_json(self) -> str:
        """Returns the vocabulary as JSON text."""
        return json.dumps({"words": self.words}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Returns the vocabulary that `to_json` wrote.

        Raises:
          UserError: the text is something else.
        """
        try:
            words = json.loads(text)["words"]
        except (ValueError, TypeError, KeyError, RecursionError):
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError(
                'the vocabulary file is damaged; {"words": [...]} is expected: '
                "prepare the data set again"
            )
        return cls(tuple(words))


def build(captions: Iterable[str], vocab_size: int | None = None) -> Vocabulary:
    """Vocabulary of the most frequent words of `captions`.

    Memory is bounded: beyond a million different words the rarest are forgotten (lossy counting).

    Args:
      captions: plain text, any number of them.
      vocab_size: most codes to give, the four special words included: 5 to 65,536. None: 1,004, or
        as many as cover 99 % of the words in the captions.

    Raises:
      UserError: the size is out of range, or the captions hold no word.
    """
    return of_counts(count_words(captions), vocab_size)


def of_counts(counts: Mapping[str, int], vocab_size: int | None = None) -> Vocabulary:
    """Returns the same of words that are counted already, see `count_words`.

    Raises:
      UserError: the size is out of range, or there is no word.
    """
    if vocab_size is not None and not len(SPECIAL_WORDS) < vocab_size <= MAX_WORDS:
        raise UserError(
            f"--vocab_size={vocab_size}: 5 to {MAX_WORDS} are allowed, the four special words "
            "included; 1004 is the report's"
        )
    if not counts:
        raise UserError("the train captions hold no word; give captions with words in them")
    # Equal counts in alphabetical order: the same captions give the same codes in any order.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    most = (vocab_size or _covering([counts[word] for word in ranked])) - len(SPECIAL_WORDS)
    return Vocabulary(SPECIAL_WORDS + tuple(ranked[:most]))


def _covering(counts: Sequence[int]) -> int:
    """Codes that cover 99 % of all words, 1,004 or more."""
    covered = np.cumsum(counts)
    words = int(np.searchsorted(covered, COVERED * covered[-1])) + 1
    return min(max(DEFAULT_VOCAB_SIZE, words + len(SPECIAL_WORDS)), MAX_WORDS)


def count_words(captions: Iterable[str]) -> collections.Counter[str]:
    """Returns how often each word comes; beyond a million different ones the rarest are lost."""
    counts: collections.Counter[str] = collections.Counter()
    rare = 0
    for caption in captions:
        counts.update(word for word in tokenize(caption) if len(word) <= _MAX_WORD_LENGTH)
        while len(counts) > _MAX_COUNTED_WORDS:
            rare += 1
            counts = collections.Counter({w: n for w, n in counts.items() if n > rare})
    return counts
