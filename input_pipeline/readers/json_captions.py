"""Captions in JSON: COCO's and Karpathy's files, lists and dictionaries of images, JSON lines.

Read an element at a time: a file may be larger than memory.
"""

from __future__ import annotations

import codecs
import itertools
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TextIO
from urllib.parse import unquote, urlsplit

import ijson

from input_pipeline.errors import UserError
from input_pipeline.readers import rows as kinds
from input_pipeline.readers import text_files
from input_pipeline.readers.caption_groups import CaptionGroups
from input_pipeline.readers.rows import BadRow, Columns, Row

# In memory at once; a caption or an image's description has some hundred bytes.
_MAX_ELEMENT = 16 << 20
_MAX_LINE = 1 << 20
_MAX_DEPTH = 1000
_INTEGERS = range(-(2**63), 2**63)


def rows(file: BinaryIO, path: Path, encoding: str, columns: Columns) -> Iterator[Row | BadRow]:
    """Yields the captions of a JSON file, image by image, and what in it is bad.

    Raises:
      UserError: it is no JSON, none of the known kinds, or an element has over 16 MB.
    """
    with _json_errors(path):
        first = next(iter(_parse(file, encoding, path, "parse")), None)
        if first is None or first[1] not in ("start_map", "start_array"):
            raise UserError(f"--captions={path} is JSON, but neither a list nor an object")
        if first[1] == "start_array":
            for place, element in enumerate(_parse(file, encoding, path, "items", "item")):
                yield _object_row(element, f"element {place}", columns, path)
            return
        names = _top_names(file, encoding, path)
        if "images" in names:
            yield from _coco(file, path, encoding, "annotations" in names)
            return
        for name in ("data", "annotations", "samples", "items", "train"):
            if name in names and len(names) <= 4:
                for place, element in enumerate(
                    _parse(file, encoding, path, "items", f"{name}.item")
                ):
                    yield _object_row(element, f"element {place} of {name!r}", columns, path)
                return
        for name, value in _parse(file, encoding, path, "kvitems", ""):
            yield _named_row(name, value)


def line_rows(text: TextIO, columns: Columns) -> Iterator[Row | BadRow]:
    """Yields the captions of JSON lines, and the lines that are bad."""
    for number, line in text_files.lines(text, _MAX_LINE):
        where = f"line {number}"
        if line is None:
            yield BadRow(where, "too_long")
            continue
        if not line.strip():
            continue
        try:
            value = json.loads(line.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            yield BadRow(where, "not_json")
            continue
        yield _object_row(value, where, columns, None)


def _object_row(value: Any, where: str, columns: Columns, path: Path | None) -> Row | BadRow:
    """The row of {"image": ..., "caption": ...} under any of the usual names."""
    if not isinstance(value, dict):
        return BadRow(where, "no_object")
    names = list(value)
    if columns.image is not None and columns.image not in value:
        return BadRow(where, "no_file_name")
    image = columns.image or _name_at(names, kinds.image_column(names))
    name = _file_name(value.get(image)) if image else ""
    if not name:
        return BadRow(where, "no_file_name")
    captions = _captions_of(value, names, columns)
    if captions is None:
        if path is not None and {"bbox", "category_id"} & value.keys():
            raise _instances(path)
        return BadRow(where, "no_caption")
    split = columns.split or _name_at(names, kinds.split_column(names))
    said = value.get(split) if split else ""
    return Row(name, captions or ("",), kinds.split_named(said or ""), where)


def _name_at(names: list[str], index: int | None) -> str | None:
    return None if index is None else names[index]


def _captions_of(
    value: dict[str, Any], names: list[str], columns: Columns
) -> tuple[str, ...] | None:
    if columns.caption is not None:
        return _whole(kinds.caption_texts(value.get(columns.caption)))
    found = kinds.caption_columns(names)
    parts = [kinds.caption_texts(value[names[index]]) for index in found]
    if not parts and "conversations" in value:  # as LLaVA's lists have them: the answer
        return _whole(_answer(value["conversations"]))
    if not parts or all(part is None for part in parts):
        return None
    return _whole(tuple(text for part in parts if part for text in part))


def _answer(turns: Any) -> tuple[str, ...] | None:
    texts = [
        turn.get("value")
        for turn in (turns if isinstance(turns, list) else [])
        if isinstance(turn, dict) and turn.get("from") in ("gpt", "assistant")
    ]
    return tuple(text for text in texts if isinstance(text, str)) or None


def _whole(texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if texts is None else tuple(text_files.whole(text) for text in texts)


def _file_name(value: Any) -> str:
    """A file's name of a text, a number, or {"path": ...}; the last part of a URL."""
    if isinstance(value, dict):
        value = next((value[name] for name in kinds.IMAGE_COLUMNS if name in value), None)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = text_files.whole(str(value)).strip()
    if text.startswith(("http://", "https://")):
        return unquote(PurePosixPath(urlsplit(text).path).name)
    return text


def _named_row(name: str, value: Any) -> Row | BadRow:
    """The row of {"a.jpg": [captions]}, or of {"a.jpg": {"caption": ...}}."""
    captions = _whole(kinds.caption_texts(value))
    if captions is None:
        return BadRow(f"{name[:100]!r}", "no_caption")
    return Row(text_files.whole(name).strip(), captions or ("",), "", f"{name[:100]!r}")


def _coco(
    file: BinaryIO, path: Path, encoding: str, has_annotations: bool
) -> Iterator[Row | BadRow]:
    """COCO's images and annotations, joined; or Karpathy's images with their sentences."""
    images = _parse(file, encoding, path, "items", "images.item")
    first = next(images, None)
    if isinstance(first, dict) and ("sentences" in first or not has_annotations):
        for place, element in enumerate(itertools.chain([first], images)):
            yield _karpathy_row(element, f"element {place} of 'images'")
        return
    bad: list[BadRow] = []
    groups = CaptionGroups(
        _coco_images(file, path, encoding, bad), _coco_captions(file, path, encoding, bad)
    )
    for key, name, captions in groups.read(0, len(groups)):
        yield Row(name, tuple(captions), "", f"image {key}", str(key))
    yield from bad
    if groups.unknown:
        yield BadRow(
            f"{groups.unknown:,} annotations, the first of image {groups.unknown_key}",
            "unknown_image",
        )


def _karpathy_row(value: Any, where: str) -> Row | BadRow:
    if not isinstance(value, dict):
        return BadRow(where, "no_object")
    name = _file_name(value.get("filename") or value.get("file_name"))
    if not name:
        return BadRow(where, "no_file_name")
    captions = _whole(kinds.caption_texts(value.get("sentences") or value.get("captions")))
    if captions is None:
        return BadRow(where, "no_caption")
    folder = value.get("filepath")  # of COCO's images: train2014 or val2014
    if isinstance(folder, str) and folder:
        name = f"{folder.strip('/')}/{name}"
    return Row(name, captions or ("",), kinds.split_named(value.get("split", "")), where)


def _coco_images(
    file: BinaryIO, path: Path, encoding: str, bad: list[BadRow]
) -> Iterator[tuple[str, str]]:
    for place, image in enumerate(_parse(file, encoding, path, "items", "images.item")):
        known = image if isinstance(image, dict) else {}
        name = next(
            (
                text
                for field in ("file_name", "filename", "coco_url", "flickr_url", "url")
                if (text := _file_name(known.get(field)))
            ),
            "",
        )
        key = _key(known.get("id"))
        if name and key:
            yield key, name
        else:
            _note(bad, f"element {place} of 'images'", "no_file_name" if key else "no_id")


def _coco_captions(
    file: BinaryIO, path: Path, encoding: str, bad: list[BadRow]
) -> Iterator[tuple[str, str]]:
    for place, element in enumerate(_parse(file, encoding, path, "items", "annotations.item")):
        known = element if isinstance(element, dict) else {}
        caption, key = known.get("caption"), _key(known.get("image_id"))
        if caption is None and place == 0 and {"bbox", "category_id"} & known.keys():
            raise _instances(path)
        if isinstance(caption, str) and key:
            yield key, text_files.whole(caption)
        else:
            where = f"element {place} of 'annotations'"
            _note(bad, where, "no_caption" if key else "no_image_id")


def _note(bad: list[BadRow], where: str, reason: str) -> None:
    if len(bad) < 100_000:  # in memory
        bad.append(BadRow(where, reason))


def _key(value: Any) -> str:
    """An id as text: some tools write numbers as text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int) and value not in _INTEGERS:
        return ""
    return text_files.whole(str(value)).strip()


def _instances(path: Path) -> UserError:
    return UserError(
        f"--captions={path} has boxes and categories, no captions: it is an instances file; give "
        "the captions file (captions_*.json)"
    )


def _top_names(file: BinaryIO, encoding: str, path: Path) -> list[str]:
    """The first names of a file's object, 64 at most."""
    events = _parse(file, encoding, path, "parse")
    found = (value for prefix, event, value in events if not prefix and event == "map_key")
    return list(itertools.islice(found, 64))


def _parse(file: BinaryIO, encoding: str, path: Path, what: str, *args: str) -> Iterator[Any]:
    """What a function of ijson gives of the file from its start."""
    file.seek(0)
    source = _Bounded(file, encoding, path)
    for found in getattr(ijson, what)(source, *args, use_float=True):
        source.since = 0
        yield found


class _Bounded:
    """A file as UTF-8 that refuses more than 16 MB between two elements.

    Attributes:
      since: bytes read since the last element.
    """

    def __init__(self, file: BinaryIO, encoding: str, path: Path) -> None:
        self.since = 0
        self._path = path
        self._read = file.read
        if encoding not in ("utf-8", "utf-8-sig"):
            reader = codecs.getreader(encoding)(file, errors="replace")
            self._read = lambda size: reader.read(size).encode("utf-8", "replace")
        elif encoding == "utf-8-sig":
            file.seek(len(codecs.BOM_UTF8))

    def read(self, size: int = -1) -> bytes:
        self.since += max(size, 0)
        if self.since > _MAX_ELEMENT:
            raise UserError(
                f"--captions={self._path}: an element of more than {_MAX_ELEMENT >> 20} MB, or no "
                "JSON of captions"
            )
        data = self._read(size)
        # Lists within lists take ijson time and memory that grow with the square of their depth.
        if data.count(b"[") + data.count(b"{") - data.count(b"]") - data.count(b"}") > _MAX_DEPTH:
            raise UserError(f"--captions={self._path} is no JSON of captions: lists within lists")
        return data


class _json_errors:
    """Turns what ijson raises into one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ijson.JSONError | UnicodeDecodeError | RecursionError | ValueError):
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"--captions={self._path} is damaged, or no JSON: {reason}") from error
