"""Paths on the command line: `~` is the home folder in each, and URLs are refused at once.

Those of the Hugging Face hub, hf://USER/NAME, name exports, and pass.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from input_pipeline.errors import UserError

_TEXT_FLAGS = ("--caption",)  # what people say may begin with anything
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://")
_HOME = re.compile(r"(^|,)~(?=[/\w]|$|,)")


def expanded(words: Sequence[str]) -> list[str]:
    """Returns the command line with `~` expanded in its values, as a shell does not after `=`.

    Raises:
      UserError: a value is a URL: data and runs are folders of this machine.
    """
    result, flag = [], ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            flag = name
            if not equals:
                result.append(word)
                continue
        else:
            name, equals, value = "", "", word
        if flag not in _TEXT_FLAGS:
            value = _path(flag, value)
        result.append(name + equals + value)
        flag = flag if not word.startswith("--") else ""
    return result


def _path(flag: str, value: str) -> str:
    scheme = _SCHEME.match(value)
    if scheme and scheme[1].lower() not in ("file", "hf"):
        raise UserError(
            f"{flag}={value}: {scheme[1]}:// is not supported; copy it to a folder of this machine "
            "first, and give that"
        )
    if scheme and scheme[1].lower() == "file":
        value = value[len(scheme[0]) :]
    if "~" not in value:
        return value
    parts = value.split(",") if _HOME.search(value) else [value]
    return ",".join(os.path.expanduser(part) for part in parts)
