"""The metrics that ship with the package, by name; imports none of them."""

from __future__ import annotations

import ast
from pathlib import Path


def _files() -> dict[str, str]:
    """The source of each metric that ships with the package: the files that define `measure`."""
    files = sorted(Path(__file__).parents[1].glob("*.py"))
    texts = {file.stem: file.read_text(encoding="utf-8") for file in files}
    return {name: text for name, text in texts.items() if "\ndef measure(" in text}


def names() -> list[str]:
    """Returns the metrics that ship with the package."""
    return list(_files())


def descriptions() -> dict[str, str]:
    """Returns the first line of each metric's docstring, by name."""
    return {
        name: (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
        for name, text in _files().items()
    }
