"""A file of captions, of any of the kinds that people publish: which one is found by looking.

Tables with a comma, tab, semicolon or | between fields, with or without a header; lines of
`a.jpg#0<TAB>caption`; JSON lines; and JSON files as COCO, Karpathy and others write them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from input_pipeline.errors import UserError
from input_pipeline.readers import json_captions, table_captions, text_files
from input_pipeline.readers.rows import BadRow, Columns, Row

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".token")


@dataclasses.dataclass(frozen=True)
class CaptionsFile:
    """A file of captions whose layout is known.

    Attributes:
      path: the file.
      columns: what the user has said of it.
      encoding: name for `codecs`.
      kind: table, jsonl or json.
      layout: of a table.
    """

    path: Path
    columns: Columns
    encoding: str
    kind: str
    layout: table_captions.Layout | None = None

    def rows(self) -> Iterator[Row | BadRow]:
        """Yields a row for each image or caption, in the file's order, and those that are bad."""
        with text_files.open_binary(self.path) as file:
            if self.kind == "json":
                yield from json_captions.rows(file, self.path, self.encoding, self.columns)
                return
            text = text_files.as_text(file, self.encoding)
            if self.kind == "jsonl":
                yield from json_captions.line_rows(text, self.columns)
            else:
                yield from table_captions.rows(text, self.layout)

    def description(self) -> str:
        """Returns what the file was taken for, in one line."""
        what = {"json": "JSON", "jsonl": "JSON lines"}.get(self.kind) or str(self.layout)
        return f"{self.path}: {what}, {text_files.shown(self.encoding)}"


def open_captions(path: Path, columns: Columns | None = None) -> CaptionsFile:
    """Returns the file with its layout, found in its first lines.

    Args:
      path: the file.
      columns: what is known of it beforehand.

    Raises:
      UserError: there is no such file, or nothing in it names images and captions.
    """
    columns = columns or Columns()
    with text_files.open_binary(path) as file:
        encoding = text_files.encoding_of(file, columns.encoding)
        text = text_files.as_text(file, encoding)
        kind = _kind(text, path)
        if kind != "table":
            return CaptionsFile(path, columns, encoding, kind)
        text.seek(0)
        layout = table_captions.find_layout(text, path, columns)
    return CaptionsFile(path, columns, encoding, kind, layout)


def _kind(text: object, path: Path) -> str:
    """json, jsonl or table, by the first characters; the suffix decides where they do not."""
    head = text.read(4096).lstrip("\ufeff \t\r\n")  # type: ignore[attr-defined]
    if not head:
        raise UserError(f"--captions={path} is empty")
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if head[0] in "[{" and (suffix == ".json" or not _is_bracketed_word(head)):
        first = head.partition("\n")[0].rstrip()
        return "jsonl" if suffix != ".json" and head[0] == "{" and first[-1] == "}" else "json"
    return "table"


def _is_bracketed_word(head: str) -> bool:
    return head[1:2].isalnum()  # a table whose first field is "[a] dog.jpg"
