"""Large JSON files, one element at a time: a file may be larger than memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError

_CHUNK = 1 << 20
# In memory at once; a caption or an image's description has some hundred bytes.
_MAX_ELEMENT = 16 << 20
_SPACE = " \t\r\n"


def elements(path: Path, key: str) -> Iterator[Any]:
    """Yields the elements of the list that a file's object has under `key`; other keys are passed
    over.

    Args:
      path: a JSON file: one object, read from its start each time.
      key: of the object itself, not deeper. Where it is missing, nothing is given.

    Raises:
      UserError: the file cannot be read, is not such an object, or an element has over 16 MB.
    """
    try:
        with path.open("rb") as file:
            yield from _elements(_Text(path, file), key)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _elements(text: _Text, wanted: str) -> Iterator[Any]:
    text.expect("{")
    if text.peek() == "}":
        return
    while True:
        key = text.value()
        if not isinstance(key, str):
            raise text.bad("a key that is no text")
        text.expect(":")
        if text.peek() == "[":
            for element in _list(text):
                if key == wanted:
                    yield element
        else:
            text.value()
            if key == wanted:
                raise text.bad(f'no list under "{key}"')
        if not text.comma("}"):
            return


def _list(text: _Text) -> Iterator[Any]:
    text.expect("[")
    if text.peek() == "]":
        text.expect("]")
        return
    while True:
        yield text.value()
        if not text.comma("]"):
            return


class _Text:
    """A file's text: what is not yet read of it, from its front."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path = path
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._buffer = ""
        self._at = 0
        self._passed = 0  # characters that have left the buffer
        self._ended = False

    def bad(self, what: str) -> UserError:
        """Returns the error that says what is there instead of what is expected."""
        position = self._passed + self._at
        return UserError(f"{self._path} is not as expected: {what} before character {position:,}")

    def peek(self) -> str:
        """Returns the next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _SPACE:
                    return self._buffer[self._at]
                self._at += 1
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Passes over a character."""
        found = self.peek()
        if found != character:
            raise self.bad(f"{found or 'the end'!r} where {character!r} should be")
        self._at += 1

    def comma(self, end: str) -> bool:
        """Returns whether another element follows, after passing over `,` or `end`."""
        more = self.peek() == ","
        self.expect("," if more else end)
        return more

    def value(self) -> Any:
        """Returns the next value."""
        self.peek()
        size = 4096
        while True:
            # A window, so that an element that is cut is not scanned with all that follows it.
            window = self._window(size)
            is_rest = self._ended and self._at + len(window) == len(self._buffer)
            try:
                value, end = self._scan(window)
                if end < len(window) or is_rest:  # else a number may go on
                    self._at += end
                    return value
            except ValueError as error:
                if is_rest:
                    raise self.bad(f"no JSON ({error})") from None
            except RecursionError:
                raise self.bad("lists within lists") from None
            if size > _MAX_ELEMENT:
                raise self.bad(f"an element of more than {_MAX_ELEMENT >> 20} MB, or no JSON,")
            size *= 4

    def _window(self, size: int) -> str:
        while len(self._buffer) - self._at < size and self._more():
            pass
        return self._buffer[self._at : self._at + size]

    def _more(self) -> bool:
        """Whether the file had more text, which is now in the buffer."""
        if self._ended:
            return False
        data = self._file.read(_CHUNK)
        self._ended = not data
        try:
            text = self._decode(data, final=self._ended)
        except UnicodeDecodeError:
            raise self.bad("something that is not UTF-8 text") from None
        self._passed += self._at
        self._buffer = self._buffer[self._at :] + text
        self._at = 0
        return not self._ended
