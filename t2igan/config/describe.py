"""Configs in words: the fields of one, and those that ship with the package."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from t2igan.config.files import SHIPPED, table
from t2igan.config.record import fields

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_OTHER_FILES = ("__init__.py", "common.py")


def described(config: ConfigDict) -> str:
    """Returns every field, a line each: a star where it differs, value, default, meaning."""
    known = table()
    rows = []
    for name, value in fields(config).items():
        field = known.get(name)
        if field is None:
            rows.append(("*", name, repr(value), "", "of this config alone"))
            continue
        differs = value != field.default
        default = f"default {field.default!r}" if differs else ""
        meaning = field.meaning + (f"; needs {' or '.join(field.needs)}" if field.needs else "")
        rows.append(("*" if differs else " ", name, repr(value), default, meaning))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        " ".join(f"{text:<{width}}" for text, width in zip(row[:4], widths, strict=True))
        + "  "
        + row[4]
        for row in rows
    )


def shipped_configs() -> dict[str, str]:
    """Returns {"configs/tiny.py": first line of its docstring}; runs none of them."""
    files = [path for path in sorted(SHIPPED.glob("*.py")) if path.name not in _OTHER_FILES]
    texts = {path.name: ast.get_docstring(ast.parse(path.read_text("utf-8"))) for path in files}
    return {f"configs/{name}": (text or "").splitlines()[0] for name, text in texts.items()}
