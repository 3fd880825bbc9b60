"""captions.csv and captions.jsonl, read line by line: a fault is named with its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError

SUFFIXES = (".csv", ".jsonl")
FILE_COLUMNS = ("file", "file_name")
CAPTION_COLUMNS = ("caption", "text")

# In memory at once; a caption has 50 bytes.
_MAX_LINE = 1 << 20


def read_table(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (file name, caption) of each row, in the file's order.

    A name whose captions are an empty list comes once, with an empty caption.

    Args:
      path: a .csv with a header line and the columns file and caption, or a .jsonl of
        {"file": ..., "caption": ...} or {"file": ..., "captions": [...]}.

    Raises:
      UserError: the file is missing, or a line is not as it should be.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--captions={path}: a .csv or a .jsonl file is expected")
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _jsonl_rows(path)
    for name, caption in rows:
        # JSON can say half characters, which no file and no data base can hold.
        yield _whole(name), _whole(caption)


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), start=1):
                if len(line) == _MAX_LINE:
                    raise _bad(path, number, f"is longer than {_MAX_LINE} bytes")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise _bad(path, number, "is not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"--captions={path} cannot be read: {error.strerror}") from error


def _csv_rows(path: Path) -> Iterator[tuple[str, str]]:
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    try:
        header = next(reader, [])
        file = _column(path, header, FILE_COLUMNS)
        caption = _column(path, header, CAPTION_COLUMNS)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                fields = f"has {len(row)} fields; the header has {len(header)}"
                raise _bad(path, reader.line_num, f"{fields}: quote captions that have commas")
            if not row[file]:
                raise _bad(path, reader.line_num, "has no file name")
            yield row[file], row[caption]
    except csv.Error as error:
        raise _bad(path, reader.line_num, f"is not CSV: {error}") from error


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    found = [index for index, name in enumerate(header) if name.strip().lower() in names]
    if len(found) != 1:
        columns = ", ".join(header)[:200] or "none"
        raise _bad(path, 1, f"needs one column {' or '.join(names)}; its columns are {columns}")
    return found[0]


def _jsonl_rows(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad(path, number, f"is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise _bad(path, number, 'is no object like {"file": "a.jpg", "caption": "a dog"}')
        name = _first(row, FILE_COLUMNS)
        if not isinstance(name, str) or not name:
            raise _bad(path, number, 'has no "file" that is a name')
        for caption in _captions(path, number, row):
            yield name, caption


def _captions(path: Path, number: int, row: dict[str, Any]) -> list[str]:
    one, several = _first(row, CAPTION_COLUMNS), row.get("captions")
    if isinstance(one, str) and several is None:
        return [one]
    if one is None and isinstance(several, list) and all(isinstance(c, str) for c in several):
        return several or [""]
    raise _bad(path, number, 'needs either "caption", a text, or "captions", a list of texts')


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if name in row), None)


def _bad(path: Path, line: int, what: str) -> UserError:
    return UserError(f"--captions={path}: line {line} {what}")
