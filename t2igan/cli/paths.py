"""Paths on the command line: `~` is the home folder, and a URL of a bucket is taken for any.

What a subcommand reads is staged on this machine, what it writes is uploaded when it has
succeeded, and what it prints calls both by their URLs. A run that is trained is another matter,
see `workdir.mirror`. URLs of the Hugging Face hub, hf://USER/NAME, name exports, and pass.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from input_pipeline.errors import UserError

_TEXT_FLAGS = ("--caption",)  # what people say may begin with anything
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://")
_HOME = re.compile(r"(^|,)~(?=[/\w]|$|,)")
_COMMA = re.compile(r",(?![^{]*\})")  # outside of braces
_BUCKET = re.compile(r"(?i)(^|,|=)(gs|s3)://")
_OPENED_THEMSELVES = ("train", "sweep")  # subcommands that keep a working copy of --workdir
_UPDATE = ("sample", "evaluate", "download")  # that read what is at --out


def expanded(words: Sequence[str]) -> list[str]:
    """Returns the command line with `~` expanded in its values, as a shell does not after `=`.

    Raises:
      UserError: a value is a URL of a scheme that is not supported.
    """
    return [flag_equals + _path(flag, value) for flag, flag_equals, value in _parts(words)]


def _parts(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(flag, the word's beginning with its `=`, its value); texts have an empty value."""
    flag = ""
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            name, equals, value = "", "", word
        else:
            flag = name
        is_flag = word.startswith("--") and not equals
        if is_flag or flag in _TEXT_FLAGS:
            yield flag, word, ""
        else:
            yield flag, name + equals, value


def _path(flag: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:  # found by whatever writes the path into JSON, hours later
        raise UserError(f"{flag}={value!r} is not UTF-8: rename the file or folder") from None
    scheme = _SCHEME.match(value)
    if scheme and scheme[1].lower() not in ("file", "hf", "gs", "s3"):
        raise UserError(
            f"{flag}={value}: {scheme[1]}:// is not supported; give a path, gs://BUCKET/... or "
            "s3://BUCKET/..."
        )
    if scheme and scheme[1].lower() == "file":
        value = value[len(scheme[0]) :]
    if "~" not in value:
        return value
    parts = value.split(",") if _HOME.search(value) else [value]
    return ",".join(os.path.expanduser(part) for part in parts)


@contextlib.contextmanager
def localized(subcommand: str, words: Sequence[str]) -> Iterator[list[str]]:
    """Yields the command line with paths of this machine for URLs, and uploads at the block's end.

    Args:
      subcommand: its name.
      words: of the command line after it.

    Raises:
      UserError: a bucket is not there, may not be used, or cannot be reached.
    """
    if not any(_BUCKET.search(value) for _, _, value in _parts(words)):
        yield list(words)
        return
    if "--watch" in words:
        raise UserError("--watch follows a run on a disk of this machine, not one in a bucket")
    with contextlib.ExitStack() as uploads, _named_by_urls():
        result = []
        for flag, beginning, value in _parts(words):
            if _BUCKET.search(value) and not _is_kept(subcommand, flag, words):
                parts = [
                    _local(subcommand, flag, part.strip(), words, uploads)
                    for part in _COMMA.split(value)
                ]
                value = ",".join(parts)
            result.append(beginning + value)
        yield result


def _is_kept(subcommand: str, flag: str, words: Sequence[str]) -> bool:
    if subcommand == "prepare" and any(word.startswith("--beam_options") for word in words):
        return flag != "--word_vectors"  # the workers read and write the rest
    if flag == "--weights":
        return True  # of several files, each of which may have a pin
    return flag.startswith("--config") or (flag == "--workdir" and subcommand in _OPENED_THEMSELVES)


def _local(
    subcommand: str, flag: str, value: str, words: Sequence[str], uploads: contextlib.ExitStack
) -> str:
    from t2igan.runtime import paths

    if not paths.is_url(value):
        return value
    if flag == "--out" or (subcommand, flag) == ("download", "--images"):
        replace = subcommand == "prepare"
        if replace:
            paths.refuse_taken(value, overwrite="--overwrite" in words)
        update = subcommand in _UPDATE
        return str(uploads.enter_context(paths.output(value, update=update, replace=replace)))
    if flag != "--workdir":
        return str(paths.local(value))
    copy = paths.local(value, skip=paths.TRAINING_ONLY)
    if subcommand in ("evaluate", "report"):
        uploads.enter_context(paths.changes_uploaded(copy, value))
    return str(copy)


class _Shown(io.TextIOBase):
    """A stream that calls copies by their URLs."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        from t2igan.runtime import paths

        self._stream.write(paths.shown(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _named_by_urls() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Shown(sys.stdout), _Shown(sys.stderr)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
