"""Tables of captions: delimiter, header and columns are found in the first lines."""

from __future__ import annotations

import collections
import csv
import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from input_pipeline.errors import UserError
from input_pipeline.readers import rows as kinds
from input_pipeline.readers import text_files
from input_pipeline.readers.rows import BadRow, Columns, Row

DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "|": "|"}
_SAMPLE = 200  # lines looked at
_MAX_LINE = 1 << 20
_MOST_LINES = 50  # of one row, whose captions have ends of lines in them
_SURE = 0.8  # share of the sample's lines that have to agree
_NUMBERED = re.compile(r"(\.\w{1,5})#\w{1,4}$")  # a.jpg#3
_IMAGE = re.compile(r"\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|heic|heif|avif)$", re.IGNORECASE)
# `a.jpg : a dog`, and `a.jpg a dog`: no table, but nothing else it could mean.
_LINE = re.compile(
    r"\s*(?P<name>.*?\.(?:jpe?g|png|webp|gif|bmp|tiff?)(?:#\w{1,4})?)\s*[:=\s]\s*(?P<caption>.+)",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a table is read.

    Attributes:
      delimiter: between fields; empty for lines of a name and a caption.
      quoted: whether fields with the delimiter in them stand in quotes.
      header: whether the first line names the columns.
      width: number of columns.
      image: index of the column of the image's file.
      captions: indices of the columns of captions.
      split: index of the column of the split, or None.
      names: of the columns; empty without a header.
    """

    delimiter: str
    quoted: bool
    header: bool
    width: int
    image: int
    captions: tuple[int, ...]
    split: int | None = None
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.delimiter:
            return "lines of an image's name and a caption"
        between = next(name for name, char in _known(self.delimiter).items())
        if not self.header:
            places = ", ".join(str(index + 1) for index in self.captions)
            return (
                f"a table without a header ({between} between fields), images in column "
                f"{self.image + 1}, captions in column {places}"
            )
        captions = ", ".join(repr(self.names[index]) for index in self.captions)
        split = "" if self.split is None else f", splits {self.names[self.split]!r}"
        return (
            f"a table ({between} between fields), images {self.names[self.image]!r}, captions "
            f"{captions}{split}"
        )


def _known(delimiter: str) -> dict[str, str]:
    known = {name: char for name, char in DELIMITERS.items() if char == delimiter}
    return known or {delimiter: delimiter}


def find_layout(text: TextIO, path: Path, columns: Columns) -> Layout:
    """Returns how a table is read.

    Raises:
      UserError: no columns of images and captions are found, or not the ones that were named.
    """
    sample = [line for _, line in itertools.islice(text_files.lines(text, _MAX_LINE), _SAMPLE)]
    sample = [line for line in sample if line and line.strip()]
    given = columns.delimiter
    candidates = [DELIMITERS.get(given, given)] if given else list(DELIMITERS.values())
    if any(len(delimiter) != 1 for delimiter in candidates):
        raise UserError(f"--delimiter={given}: give one character, or tab")
    found = []
    for delimiter in candidates:
        layout = _with_delimiter(sample, delimiter, columns, path)
        if layout is not None:
            found.append(layout)
    if found:
        # A header that names both columns says more than a look at the values.
        return max(found, key=lambda layout: (layout.header, layout.width))
    lines = [_LINE.fullmatch(line) for line in sample]
    if not given and sum(map(bool, lines)) >= _SURE * len(sample):
        return Layout("", False, False, 2, 0, (1,))
    raise _not_found(sample, path, columns)


def _with_delimiter(
    sample: Sequence[str], delimiter: str, columns: Columns, path: Path
) -> Layout | None:
    quoted = delimiter in ",;" or any(
        field.startswith('"') and field.endswith('"') and len(field) > 1
        for line in sample
        for field in line.split(delimiter)
    )
    table = list(_fields(sample, delimiter, quoted))
    if not table or len(table[0]) < 2:
        return None
    names = [name.strip().strip('"') for name in table[0]]
    asked = (columns.image, columns.caption)
    image = _index(columns.image, names, kinds.image_column(names))
    captions = kinds.caption_columns(names)
    if columns.caption is not None:
        one = _index(columns.caption, names, None)
        captions = [] if one is None else [one]
    captions = [index for index in captions if index != image]
    by_number = all(name is None or name.isdigit() for name in asked) and any(asked)
    if image is not None and captions and not _IMAGE.search(names[image]):
        split = _index(columns.split, names, kinds.split_column(names))
        if columns.split is not None and split is None:
            raise UserError(
                f"--split_column={columns.split}: {path} has the columns {', '.join(names)[:200]}"
            )
        header = not by_number or kinds.image_column(names) is not None
        return Layout(
            delimiter, quoted, header, len(names), image, tuple(captions), split, tuple(names)
        )
    if any(asked) and not by_number:
        return None
    return _without_header(table, delimiter, quoted, image if by_number else None, captions)


def _without_header(
    table: Sequence[Sequence[str]],
    delimiter: str,
    quoted: bool,
    image: int | None,
    captions: Sequence[int],
) -> Layout | None:
    """The layout by what most rows' fields look like: a file's name, and words."""
    width = collections.Counter(len(row) for row in table).most_common(1)[0][0]
    rows = [row for row in table if len(row) >= width]
    if width < 2:
        return None

    def share(column: int) -> float:
        return sum(bool(_IMAGE.search(_name(row[column]))) for row in rows) / len(rows)

    if image is None:
        image = max(range(width), key=share)
        if share(image) < _SURE:
            return None
    others = [column for column in range(width) if column != image]
    words = {column: sum(len(row[column].split()) for row in rows) for column in others}
    chosen = tuple(captions) or (max(others, key=lambda column: words[column]),)
    return Layout(delimiter, quoted, False, width, image, chosen)


def _index(given: str | None, names: Sequence[str], otherwise: int | None) -> int | None:
    if given is None:
        return otherwise
    plain_names = [kinds.plain(name) for name in names]
    if kinds.plain(given) in plain_names:
        return plain_names.index(kinds.plain(given))
    if given.isdigit() and 1 <= int(given) <= len(names):
        return int(given) - 1
    return None


def _not_found(sample: Sequence[str], path: Path, columns: Columns) -> UserError:
    first = sample[0] if sample else ""
    counts = {name: first.count(char) for name, char in DELIMITERS.items()}
    name, most = max(counts.items(), key=lambda item: item[1])
    if columns.delimiter:
        name, most = columns.delimiter, 1
    fields = first.split(DELIMITERS.get(name, name)) if most else [first]
    seen = ", ".join(field.strip() for field in fields)[:200]
    asked = [
        f"--{flag}_column={value}"
        for flag, value in (("image", columns.image), ("caption", columns.caption))
        if value
    ]
    if asked:
        return UserError(f"{' '.join(asked)}: {path} has the columns {seen}")
    return UserError(
        f"--captions={path}: line 1 names no column of images and captions; it has {seen}: say "
        "which with --image_column= and --caption_column= (a name, or a number from 1), and "
        "--delimiter= if it is not one of comma, tab, semicolon and |"
    )


def rows(text: TextIO, layout: Layout | None) -> Iterator[Row | BadRow]:
    """Yields the rows of a table, and those that are bad."""
    assert layout is not None
    numbered = text_files.lines(text, _MAX_LINE)
    if not layout.delimiter:
        yield from _lines(numbered)
        return
    table = _numbered_fields(numbered, layout.delimiter, layout.quoted)
    if layout.header:
        next(table, None)
    for number, fields in table:
        if fields is None:
            yield BadRow(f"line {number}", "too_long")
        elif any(field.strip() for field in fields):
            yield _row(fields, layout, f"line {number}")


def _row(fields: list[str], layout: Layout, where: str) -> Row | BadRow:
    if len(fields) > layout.width and layout.captions == (layout.width - 1,):
        # The delimiter within a caption that nobody has quoted.
        blank = " " if layout.quoted else ""  # the reader has passed over it
        rest = (layout.delimiter + blank).join(fields[layout.width - 1 :])
        fields = [*fields[: layout.width - 1], rest]
    if len(fields) <= max(layout.image, *layout.captions):
        return BadRow(where, "too_few_fields")
    if len(fields) > layout.width:
        return BadRow(where, "too_many_fields")
    name = _name(fields[layout.image])
    if not name:
        return BadRow(where, "no_file_name")
    texts = [kinds.caption_texts(fields[index]) or () for index in layout.captions]
    captions = tuple(text for part in texts for text in part)
    if len(layout.captions) > 1:  # an image with fewer captions than columns
        captions = tuple(caption for caption in captions if caption.strip()) or ("",)
    split = ""
    if layout.split is not None and layout.split < len(fields):
        split = kinds.split_named(fields[layout.split])
    return Row(name, captions, split, where)


def _lines(numbered: Iterable[tuple[int, str | None]]) -> Iterator[Row | BadRow]:
    for number, line in numbered:
        if line is None or not line.strip():
            continue
        match = _LINE.fullmatch(line)
        where = f"line {number}"
        if match is None:
            yield BadRow(where, "no_file_name")
        else:
            yield Row(_name(match["name"]), (match["caption"],), "", where)


def _name(field: str) -> str:
    """A file's name without blanks around it, and without the number of its caption."""
    return text_files.whole(_NUMBERED.sub(r"\1", field.strip().strip('"').strip()))


def _fields(lines: Iterable[str], delimiter: str, quoted: bool) -> Iterator[list[str]]:
    for _, fields in _numbered_fields(enumerate(lines), delimiter, quoted):
        if fields is not None:
            yield fields


def _numbered_fields(
    numbered: Iterable[tuple[int, str | None]], delimiter: str, quoted: bool
) -> Iterator[tuple[int, list[str] | None]]:
    """(number of its line, fields) of each row; None for a line that is too long.

    A quote that nobody closes spoils its own line, not all that follow.
    """
    options = {"delimiter": delimiter, "skipinitialspace": quoted}
    ahead: collections.deque[tuple[int, str | None]] = collections.deque()
    lines = iter(numbered)
    while ahead or (ahead := collections.deque(itertools.islice(lines, 1))):
        number, line = ahead.popleft()
        if line is None or not quoted:
            plain = line and next(csv.reader([line], quoting=csv.QUOTE_NONE, **options), [])
            yield number, plain if line is not None else None
            continue
        taken, text = 0, line
        while (fields := _closed(text, options)) is None and taken < _MOST_LINES:
            if taken == len(ahead):
                ahead.extend(itertools.islice(lines, 1))
            if taken == len(ahead) or ahead[taken][1] is None:
                break
            text += "\n" + str(ahead[taken][1])
            taken += 1
        if fields is None:
            yield number, line.split(delimiter)
            continue
        for _ in range(taken):
            ahead.popleft()
        yield number, fields


def _closed(text: str, options: dict[str, Any]) -> list[str] | None:
    """Fields of a row; None where a quote is open at its end."""
    try:
        return next(csv.reader(text.splitlines(keepends=True), strict=True, **options), [])
    except csv.Error as error:
        if "unexpected end" in str(error):
            return None
    try:  # a quote where none should be: as it is
        return next(csv.reader(text.splitlines(keepends=True), **options), [])
    except csv.Error:
        return text.split(options["delimiter"])
