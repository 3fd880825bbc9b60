"""A folder of images with captions: texts beside the images, or one file of captions.

    t2igan prepare --source=folder --images=DIR --out=DATASET

Without `--captions`, captions.csv, captions.txt, metadata.jsonl, ... in the folder, or in each of
its folders train, validation and test, has the captions; where there is none, `sub/a.jpg` has its
captions in `sub/a.txt` (also .caption, .json, a.jpg.txt), one a line, or under `--texts=DIR`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from input_pipeline.errors import UserError
from input_pipeline.readers import rows as kinds
from input_pipeline.readers.captions_file import CaptionsFile, open_captions
from input_pipeline.readers.file_names import SUFFIXES, files_below
from input_pipeline.readers.rows import Columns
from input_pipeline.sources.files.captioned_files import CaptionedFiles
from input_pipeline.sources.files.named_images import NamedImages
from input_pipeline.sources.files.texts_beside import TextsBeside

_TABLE_STEMS = ("captions", "metadata", "caption", "results")
_TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".token.txt", ".token")
_TEXT_FOLDERS = ("text", "texts", "captions", "text_c10")
_IMAGE_FOLDERS = ("images", "image", "imgs", "pictures", "photos")
_OTHER_SOURCES = {".parquet": "parquet", ".tar": "webdataset", ".h5": "hdf5", ".hdf5": "hdf5"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    add = parser.add_argument
    add("--images", metavar="DIR", help="images, in sub-folders too")
    add(
        "--captions",
        metavar="FILE",
        help="table (.csv, .tsv, .txt), .jsonl or .json of captions (default: see above)",
    )
    add("--texts", metavar="DIR", help="texts of the images' names, where not beside them")
    kinds.add_column_flags(parser)


def open_source(args: argparse.Namespace) -> NamedImages:
    """Returns the source that the flags name.

    Raises:
      UserError: the folder or the table is missing or not what it should be.
    """
    if not args.images:
        raise UserError("--source=folder needs --images=DIR; see t2igan prepare --help")
    folder = Path(args.images)
    if folder.is_file():
        raise UserError(f"--images={folder} is a file: {_what_is(folder)}")
    if not folder.is_dir():
        raise UserError(f"--images={folder}: there is no such folder; give the images' folder")
    columns = Columns.of(args)
    if args.captions:
        files = [(open_captions(Path(args.captions), columns), "", "")]
    elif args.texts:
        return NamedImages("folder", TextsBeside(folder, _texts(Path(args.texts))))
    else:
        files = _tables_in(folder, columns)
    if files:
        return NamedImages("folder", CaptionedFiles(folder, files))
    images, texts = _image_and_text_folders(folder)
    if texts is not None:
        print(f"images of {images}, captions of {texts}", file=sys.stderr)
    return NamedImages("folder", TextsBeside(images, texts))


def _what_is(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _OTHER_SOURCES:
        return f"use --source={_OTHER_SOURCES[suffix]}"
    if suffix in (".zip", ".gz", ".tgz", ".7z", ".rar"):
        return "an archive; unpack it and give the folder"
    return "give the images' folder"


def _texts(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"--texts={folder}: there is no such folder")
    return folder


def _tables_in(folder: Path, columns: Columns) -> list[tuple[CaptionsFile, str, str]]:
    """The folder's own table, or those of its folders train, validation and test."""
    own = _table_in(folder)
    if own is not None:
        return [(open_captions(own, columns), "", "")]
    splits = sorted(path for path in folder.iterdir() if path.is_dir())
    named = {path: kinds.split_named(path.name) for path in splits}
    found = [
        (open_captions(table, columns), split, f"{path.name}/")
        for path, split in named.items()
        if split and (table := _table_in(path)) is not None
    ]
    return found if any(split == "train" for _, split, _ in found) else []


def _table_in(folder: Path) -> Path | None:
    """The one file that is called as tables of captions are; a caption of an image is none."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stems = {path.stem for path in files if path.suffix.lower() in SUFFIXES}
    found = [path for path in files if _is_table(path.name.lower()) and path.stem not in stems]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise UserError(f"{folder} has {names}: choose one with --captions=FILE")
    return found[0] if found else None


def _is_table(name: str) -> bool:
    return any(name == stem + suffix for stem in _TABLE_STEMS for suffix in _TABLE_SUFFIXES)


def _image_and_text_folders(folder: Path) -> tuple[Path, Path | None]:
    """CUB's layout: `text/` beside `images/`, where the texts are not beside the images."""
    inside = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    beside = {path.name.lower(): path for path in folder.resolve().parent.iterdir()}
    for images in _IMAGE_FOLDERS:
        texts = next((inside[name] for name in _TEXT_FOLDERS if name in inside), None)
        if images in inside and texts is not None:
            return inside[images], texts
    if folder.resolve().name.lower() in _IMAGE_FOLDERS and not _has_texts(folder):
        texts = next((beside[n] for n in _TEXT_FOLDERS if n in beside and beside[n].is_dir()), None)
        return folder, texts
    return folder, None


def _has_texts(folder: Path) -> bool:
    return any(name.lower().endswith((".txt", ".caption")) for name in files_below(folder))
