"""Encoders of whole sentences: named on the command line, known again where a run is used.

`minilm` is built in (`minilm.py`). `clip:FILE` and `t5:FILE` are networks whose weights the user
has. Any other is a callable of the user's, named `module:attribute`, that takes a list of texts and
returns an array [n, E]; it may say its `name`, and what weights it has, as a SHA-256 or a version
in `sha256`.

An encoder may give the tokens of a caption too: an array [n, 1 + T, E], the whole caption first,
and zeros after the last token.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.errors import UserError

MINILM = "minilm"
# Encoders of a file, `KIND:FILE`. They run in JAX, which this package does without, and are found
# as a user's own are: by the name of their module.
_IN_JAX = "t2igan.backbones.text_encoders:load"
OF_A_FILE = {"clip": _IN_JAX, "t5": _IN_JAX}
MAX_DIM = 1 << 16
MAX_TOKENS = 512
# Two bytes a number: a unit vector's are off by a part in 2,000, far less than two captions differ.
SENTENCE_DTYPE = np.dtype("<f2")

_AT_ONCE = 256  # sentences
_MODULE = r"[\w.]{1,200}:[\w.]{1,200}"
_NAME = re.compile(r"[\w.:@/+\- ]{1,200}")
Encode = Callable[[list[str]], Any]


@dataclasses.dataclass(frozen=True)
class Identity:
    """What tells one encoder from another.

    Attributes:
      name: minilm, or as its author calls it.
      dim: E, numbers a sentence.
      sha256: of its weights, or empty where the encoder does not say.
      tokens: T, of which there are embeddings beside the sentence's; 0 for none.
    """

    name: str
    dim: int
    sha256: str = ""
    tokens: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is stored of a caption: [E], or [1 + T, E] with its tokens."""
        return (1 + self.tokens, self.dim) if self.tokens else (self.dim,)

    @property
    def size(self) -> int:
        """Numbers that are stored of a caption."""
        return math.prod(self.shape)

    def is_same(self, other: Identity) -> bool:
        """Returns whether both give the same numbers, as far as can be told: by weights, else by
        name.
        """
        told = self.sha256 and other.sha256
        same = self.sha256 == other.sha256 if told else self.name == other.name
        return same and self.shape == other.shape

    def to_json(self) -> dict[str, Any]:
        """Returns the fields; `tokens` where there are some."""
        fields = dataclasses.asdict(self)
        return fields if self.tokens else {k: v for k, v in fields.items() if k != "tokens"}

    @classmethod
    def from_json(cls, fields: object) -> Identity:
        """Returns the identity that `to_json` gave.

        Raises:
          ValueError: it is something else.
        """
        if not isinstance(fields, Mapping) or set(fields) - {"tokens"} != {"name", "dim", "sha256"}:
            raise ValueError("name, dim and sha256 are expected")
        tokens = fields.get("tokens", 0)
        if not isinstance(tokens, int) or isinstance(tokens, bool) or not 0 <= tokens <= MAX_TOKENS:
            raise ValueError(f"tokens must be 0 to {MAX_TOKENS}")
        name, dim, sha256 = fields["name"], fields["dim"], fields["sha256"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("name must be a text of 1 to 200 letters")
        if not isinstance(dim, int) or isinstance(dim, bool) or not 1 <= dim <= MAX_DIM:
            raise ValueError(f"dim must be 1 to {MAX_DIM}")
        if not isinstance(sha256, str) or len(sha256) > 200:
            raise ValueError("sha256 must be a text")
        return cls(name, dim, sha256, tokens)

    def __str__(self) -> str:
        weights = f", weights {self.sha256[:12]}" if self.sha256 else ""
        tokens = f", {self.tokens} tokens" if self.tokens else ""
        return f"{self.name} ({self.dim} numbers{tokens}{weights})"


class SentenceEncoder:
    """An encoder whose answers are checked; may be used by several threads.

    Args:
      encode: list of texts -> [n, E] or [n, 1 + T, E] numbers.
      name: of the encoder, where it does not say its own.

    Attributes:
      identity: name, width and weights.

    Raises:
      UserError: it does not encode.
    """

    def __init__(self, encode: Encode, name: str) -> None:
        self._encode = encode
        self._lock = threading.Lock()  # not every encoder allows two callers
        self._name = str(getattr(encode, "name", name))
        if not _NAME.fullmatch(self._name):
            raise UserError(
                f"the sentence encoder {name} calls itself {self._name[:200]!r}; letters, digits "
                "and .:@/+- are allowed, 200 at most"
            )
        _, *rows, dim = self._rows(["a"]).shape
        sha256 = str(getattr(encode, "sha256", ""))[:200]
        self.identity = Identity(self._name, dim, sha256, rows[0] - 1 if rows else 0)

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """Returns float16 [n, *identity.shape], as it is stored: a row a sentence.

        Raises:
          UserError: the encoder fails, or gives something else than a finite row for each.
        """
        starts = range(0, len(sentences), _AT_ONCE)
        parts = [self._rows(list(sentences[start : start + _AT_ONCE])) for start in starts]
        out = np.concatenate(parts or [np.empty((0, *self.identity.shape), SENTENCE_DTYPE)])
        if out.shape[1:] != self.identity.shape:
            raise UserError(f"{self._told} gives {out.shape[1]} numbers for some sentences")
        return out

    @property
    def _told(self) -> str:
        return f"the sentence encoder {self._name}"

    def _rows(self, sentences: list[str]) -> np.ndarray:
        try:
            with self._lock:
                rows = np.asarray(self._encode(sentences))
            rows = rows.astype(np.float32)
        except Exception as error:  # the user's own code
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(f"{self._told} fails: {reason}") from error
        fits = rows.ndim in (2, 3) and len(rows) == len(sentences)
        if not fits or not 1 <= rows.shape[-1] <= MAX_DIM or not _has_tokens(rows):
            raise UserError(
                f"{self._told} gives an array of shape {rows.shape} for {len(sentences)} "
                f"sentences; ({len(sentences)}, E) is needed, E at most {MAX_DIM}, or with tokens "
                f"({len(sentences)}, 1 + T, E), T at most {MAX_TOKENS}"
            )
        if not np.all(np.abs(rows) <= np.finfo(SENTENCE_DTYPE).max):  # NaN is not either
            raise UserError(
                f"{self._told} gives numbers that are not finite or above 65,504, which 16 bits "
                "cannot hold: scale them"
            )
        return rows.astype(SENTENCE_DTYPE)


def _has_tokens(rows: np.ndarray) -> bool:
    return rows.ndim == 2 or 2 <= rows.shape[1] <= 1 + MAX_TOKENS


def open_encoder(name: str, tokens: int = 0) -> SentenceEncoder:
    """Returns the encoder of a name.

    Args:
      name: `minilm`, `clip:FILE`, `t5:FILE`, or `module:attribute`, looked for in the working
        folder too.
      tokens: of each caption to give embeddings of, by clip: and t5:.

    Raises:
      UserError: there is none, it is not installed, or it does not encode.
    """
    if not 0 <= tokens <= MAX_TOKENS:
        raise UserError(f"--caption_tokens={tokens}: must be 0 to {MAX_TOKENS}")
    kind, _, file = name.partition(":")
    if tokens and kind not in OF_A_FILE:
        raise UserError(
            f"--caption_tokens={tokens}: {name} gives sentences alone; clip:FILE and t5:FILE give "
            "their tokens"
        )
    if name == MINILM:
        from input_pipeline.text import minilm

        return SentenceEncoder(minilm.load(), MINILM)
    if kind in OF_A_FILE:
        if not file:
            raise UserError(f"--sentence_encoder={name}: give its safetensors file, {kind}:FILE")
        return SentenceEncoder(_imported(OF_A_FILE[kind])(kind, file, tokens), kind)
    if not re.fullmatch(_MODULE, name):
        raise UserError(
            f"--sentence_encoder={name}: {MINILM}, clip:FILE and t5:FILE are allowed, or "
            "module:attribute, a callable of yours that takes a list of texts and returns an array "
            "[n, E]"
        )
    return SentenceEncoder(_imported(name), name)


def open_known(learned: Identity, given: str | Encode | None = None) -> SentenceEncoder:
    """Returns the encoder that a run learned from, to encode new captions for it.

    Args:
      learned: from the run.
      given: the encoder, or its name; needed where it is not `minilm`: a run's folder may come
        from anywhere, and is not to say which code is run.

    Raises:
      UserError: it is needed and not given, is not installed, or is another.
    """
    if given is None and learned.name != MINILM:
        raise UserError(
            f"the run reads sentence embeddings by {learned}, which is not built in: add "
            "--sentence_encoder=clip:FILE, t5:FILE or module:attribute, or in Python t2igan.load("
            "RUN, sentence_encoder=...)"
        )
    named = given is None or isinstance(given, str)
    if named:
        kind = str(given).partition(":")[0]
        found = open_encoder(given or MINILM, learned.tokens if kind in OF_A_FILE else 0)
    else:
        found = SentenceEncoder(given, learned.name)
    if not found.identity.is_same(learned):
        raise UserError(
            f"the run learned from sentence embeddings by {learned}, and this encoder is "
            f"{found.identity}: give the same one"
        )
    return found


def _imported(name: str) -> Encode:
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # the user's own code
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"--sentence_encoder={name} cannot be imported: {reason}") from error
    if not callable(found):
        raise UserError(f"--sentence_encoder={name} is no callable: list of texts -> [n, E]")
    return found


def sentence_of(caption: str) -> str:
    """Returns the text of a caption as encoders get it: what is between words is one space."""
    return " ".join(caption.split())
