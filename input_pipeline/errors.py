"""The error that a user's mistake raises, and the hint that goes with a misspelled name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can put right.

    Its message is one line: what was given, what is allowed, what to do next. The command line
    prints it without a traceback and exits with status 2.
    """


class InUse(UserError):
    """Another process trains the run.

    A sweep that shares its trials expects it of a child, and knows it by `WORDS` in the log.
    """

    WORDS = "is being trained by another process"


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Returns `; did you mean X?` for the nearest of the names, an empty text where none is near.

    Args:
      name: as the user gave it.
      names: that are allowed.
      cutoff: least similarity, 0 to 1, see `difflib.get_close_matches`.
    """
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return f"; did you mean {matches[0]}?" if matches else ""


def printable(text: str) -> str:
    """Returns a text with what a terminal would obey, or cannot show, escaped.

    Names in data and files are anybody's: an escape sequence in one could rewrite the screen.
    """
    return "".join(
        letter
        if letter.isprintable() or letter == "\n"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )
