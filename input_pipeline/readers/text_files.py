"""Text files as people save them: the encoding is found by looking, any end of line is one."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from input_pipeline.errors import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMES = {
    "utf-8-sig": "UTF-8",
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "Windows-1252",
}
_CHUNK = 1 << 20
_ARCHIVES = (
    (b"PK\x03\x04", "is a ZIP archive: unpack it and give the file in it"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first (gunzip)"),
    (b"PAR1", "is a parquet file: use --source=parquet --files=FILE"),
    (b"\x89HDF", "is an HDF5 file: use --source=hdf5"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it and give the file in it"),
    (b"Rar!", "is a RAR archive: unpack it and give the file in it"),
)


def open_binary(path: Path, flag: str = "--captions") -> BinaryIO:
    """Opens a regular file to read; a pipe is refused, which would wait for a writer for ever.

    Args:
      path: the file.
      flag: that named it, for the error.

    Raises:
      UserError: there is no such file, it is no regular one, or an archive.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{flag}={path} cannot be read: {reason}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{flag}={path} is not a file: give a file of captions")
    file = open(descriptor, "rb")  # noqa: SIM115, the caller closes it
    head = file.read(512)
    file.seek(0)
    known = next((what for magic, what in _ARCHIVES if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        known = "is a tar archive: use --source=webdataset --files=FILE.tar"
    if known:
        file.close()
        raise UserError(f"{flag}={path} {known}")
    return file


def encoding_of(file: BinaryIO, given: str | None = None) -> str:
    """Returns the name of a file's encoding, for `codecs`; the file is at its start again.

    A byte order mark decides; else UTF-8 where all of the file is, else Windows-1252.

    Raises:
      UserError: there is no encoding of the given name.
    """
    if given is not None:
        try:
            return codecs.lookup(given).name
        except (LookupError, ValueError) as error:
            raise UserError(
                f"--encoding={given}: unknown; e.g. utf-8, utf-16, cp1252, shift_jis, gb18030"
            ) from error
    head = file.read(4096)
    file.seek(0)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head[:200].count(0) > len(head[:200]) // 4:  # half of the bytes of Latin text in UTF-16
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while data := file.read(_CHUNK):
            decoder.decode(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        file.seek(0)
    return "utf-8"


def shown(encoding: str) -> str:
    """Returns an encoding's name for people."""
    return _NAMES.get(encoding, encoding)


def as_text(file: BinaryIO, encoding: str) -> TextIO:
    """Returns the file as text with "\\n" at the ends of lines; what no character is, is U+FFFD."""
    return io.TextIOWrapper(file, encoding=encoding, errors="replace", newline=None)


def lines(text: TextIO, most: int) -> Iterator[tuple[int, str | None]]:
    """Yields (number from 1, line without its end); None for a line of over `most` characters."""
    number = 0
    while line := text.readline(most + 1):
        number += 1
        if len(line) <= most or line.endswith("\n"):
            yield number, line.rstrip("\n").replace("\0", "")
            continue
        while line and not line.endswith("\n"):
            line = text.readline(most)
        yield number, None


def decode(data: bytes) -> tuple[str, str]:
    """Returns the text of a small file's bytes, and which of the encodings it is in."""
    encoding = encoding_of(io.BytesIO(data))
    return as_text(io.BytesIO(data), encoding).read(), encoding


class Encodings:
    """Which encodings small files of captions were in, for the summary."""

    def __init__(self) -> None:
        self._examples: dict[str, str] = {}

    def add(self, name: str, encoding: str) -> None:
        """Notes the encoding that a file was read in."""
        if shown(encoding) != "UTF-8":
            self._examples.setdefault(shown(encoding), name)

    def notes(self) -> Iterator[str]:
        """Yields a line for each encoding that is not UTF-8."""
        for encoding, name in self._examples.items():
            yield f"texts that are not UTF-8 were read as {encoding}, e.g. {name}"


def whole(text: str) -> str:
    """Returns a text without half characters, which JSON can say and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
