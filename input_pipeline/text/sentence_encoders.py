"""Encoders of whole sentences: named on the command line, known again where a run is used.

`minilm` is built in (`minilm.py`). `clip:FILE` and `t5:FILE` are networks whose weights the user
has. Any other is a callable of the user's, named `module:attribute`, that takes a list of texts and
returns an array [n, E]; it may say its `name`, and what weights it has, as a SHA-256 or a version
in `sha256`.
"""

from __future__ import annotations

import dataclasses
import importlib
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
    """

    name: str
    dim: int
    sha256: str = ""

    def is_same(self, other: Identity) -> bool:
        """Returns whether both give the same numbers, as far as can be told: by weights, else by
        name.
        """
        told = self.sha256 and other.sha256
        same = self.sha256 == other.sha256 if told else self.name == other.name
        return same and self.dim == other.dim

    def to_json(self) -> dict[str, Any]:
        """Returns the fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: object) -> Identity:
        """Returns the identity that `to_json` gave.

        Raises:
          ValueError: it is something else.
        """
        if not isinstance(fields, Mapping) or set(fields) != {"name", "dim", "sha256"}:
            raise ValueError("name, dim and sha256 are expected")
        name, dim, sha256 = fields["name"], fields["dim"], fields["sha256"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("name must be a text of 1 to 200 letters")
        if not isinstance(dim, int) or isinstance(dim, bool) or not 1 <= dim <= MAX_DIM:
            raise ValueError(f"dim must be 1 to {MAX_DIM}")
        if not isinstance(sha256, str) or len(sha256) > 200:
            raise ValueError("sha256 must be a text")
        return cls(name, dim, sha256)

    def __str__(self) -> str:
        weights = f", weights {self.sha256[:12]}" if self.sha256 else ""
        return f"{self.name} ({self.dim} numbers{weights})"


class SentenceEncoder:
    """An encoder whose answers are checked; may be used by several threads.

    Args:
      encode: list of texts -> [n, E] numbers.
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
        dim = self._rows(["a"]).shape[1]
        self.identity = Identity(self._name, dim, str(getattr(encode, "sha256", ""))[:200])

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """Returns float16 [n, E], as it is stored: a row a sentence.

        Raises:
          UserError: the encoder fails, or gives something else than a finite row for each.
        """
        starts = range(0, len(sentences), _AT_ONCE)
        parts = [self._rows(list(sentences[start : start + _AT_ONCE])) for start in starts]
        out = np.concatenate(parts or [np.empty((0, self.identity.dim), SENTENCE_DTYPE)])
        if out.shape[1] != self.identity.dim:
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
        if rows.ndim != 2 or len(rows) != len(sentences) or not 1 <= rows.shape[1] <= MAX_DIM:
            raise UserError(
                f"{self._told} gives an array of shape {rows.shape} for {len(sentences)} "
                f"sentences; ({len(sentences)}, E) is needed, E at most {MAX_DIM}"
            )
        if not np.all(np.abs(rows) <= np.finfo(SENTENCE_DTYPE).max):  # NaN is not either
            raise UserError(
                f"{self._told} gives numbers that are not finite or above 65,504, which 16 bits "
                "cannot hold: scale them"
            )
        return rows.astype(SENTENCE_DTYPE)


def open_encoder(name: str) -> SentenceEncoder:
    """Returns the encoder of a name.

    Args:
      name: `minilm`, `clip:FILE`, `t5:FILE`, or `module:attribute`, looked for in the working
        folder too.

    Raises:
      UserError: there is none, it is not installed, or it does not encode.
    """
    if name == MINILM:
        from input_pipeline.text import minilm

        return SentenceEncoder(minilm.load(), MINILM)
    kind, _, file = name.partition(":")
    if kind in OF_A_FILE:
        if not file:
            raise UserError(f"--sentence_encoder={name}: give its safetensors file, {kind}:FILE")
        return SentenceEncoder(_imported(OF_A_FILE[kind])(kind, file), kind)
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
    found = open_encoder(given or MINILM) if named else SentenceEncoder(given, learned.name)
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
