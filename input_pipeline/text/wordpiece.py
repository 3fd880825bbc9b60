"""BERT's tokenizer: text to the codes of word pieces.

As `BertNormalizer`, `BertPreTokenizer` and `WordPiece` of the tokenizers package do it for uncased
models. One difference: `[SEP]` and its kin, spelled in a caption, are words like others.

Reference: Wu et al. 2016, section 4.1, arXiv:1609.08144.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence

_LONGEST_WORD = 100  # characters; a longer one is unknown
_WORDS_REMEMBERED = 1 << 16
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPieces:
    """Codes of texts in a vocabulary of word pieces.

    Args:
      pieces: in the order of their codes; those inside a word begin with `##`.
      most: codes of a text, start and end included; what is beyond is not read.

    Raises:
      ValueError: a special piece is missing.
    """

    def __init__(self, pieces: Sequence[str], most: int) -> None:
        self._codes = {piece: code for code, piece in enumerate(pieces)}
        missing = {"[CLS]", "[SEP]", "[UNK]"} - self._codes.keys()
        if missing:
            raise ValueError(f"the pieces lack {', '.join(sorted(missing))}")
        self._start, self._end = self._codes["[CLS]"], self._codes["[SEP]"]
        self._unknown = self._codes["[UNK]"]
        self._most = most
        # Captions share most of their words.
        self._word = functools.lru_cache(_WORDS_REMEMBERED)(self._cut)

    def encode(self, text: str) -> list[int]:
        """Returns codes of a text: start, pieces, end."""
        codes = [code for word in words(text) for code in self._word(word)]
        return [self._start, *codes[: self._most - 2], self._end]

    def _cut(self, word: str) -> tuple[int, ...]:
        """The longest known piece at the start, then of what is left, and so on."""
        if len(word) > _LONGEST_WORD:
            return (self._unknown,)
        codes: list[int] = []
        rest, prefix = word, ""
        while rest:
            known = (end for end in range(len(rest), 0, -1) if prefix + rest[:end] in self._codes)
            end = next(known, 0)
            if not end:
                return (self._unknown,)
            codes.append(self._codes[prefix + rest[:end]])
            rest, prefix = rest[end:], "##"
        return tuple(codes)


def words(text: str) -> list[str]:
    """Lower-case words without accents, each punctuation mark and ideograph a word of its own."""
    spaced = "".join(_spaced(text))
    plain = "".join(c for c in unicodedata.normalize("NFD", spaced) if _category(c) != "Mn")
    # Letter by letter: str.lower knows of a sigma at a word's end, and BERT's tokenizer does not.
    lower = "".join(c.lower() for c in plain)
    return "".join(f" {c} " if _is_punctuation(c) else c for c in lower).split()


def _spaced(text: str) -> Iterator[str]:
    for c in text:
        if c in "\t\n\r":
            yield " "
        elif _category(c)[0] == "C" or c == "\ufffd":
            continue  # controls, and what stands for a byte that was no text
        else:
            yield f" {c} " if _is_ideograph(c) else c


_category = functools.lru_cache(1 << 12)(unicodedata.category)


def _is_ideograph(c: str) -> bool:
    return c >= "\u3400" and any(first <= ord(c) <= last for first, last in _IDEOGRAPHS)


def _is_punctuation(c: str) -> bool:
    """Whether it is a mark; in ASCII, signs like + and $ are marks too."""
    if c.isascii():
        return c.isprintable() and not c.isalnum() and c != " "
    return _category(c)[0] == "P"
