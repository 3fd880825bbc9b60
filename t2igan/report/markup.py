"""HTML put together so that no text can become markup by accident."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

# Elements without an end tag.
_EMPTY = ("img", "input", "meta")


class Markup(str):
    """Text that is HTML already; any other text is escaped where it is put in."""

    __slots__ = ()


def element(
    name: str, *children: str | Iterable[str], **attributes: str | int | float | bool
) -> Markup:
    """Returns `<name attributes>children</name>`.

    Args:
      name: of the element.
      children: `Markup` as it is, other texts escaped; iterables of them one after the other.
      attributes: escaped; `class_` stands for `class`, `aria_label` for `aria-label`; True is an
        attribute without a value, False none.
    """
    listed = "".join(map(_attribute, attributes, attributes.values()))
    if name in _EMPTY:
        return Markup(f"<{name}{listed}>")
    return Markup(f"<{name}{listed}>{joined(children)}</{name}>")


def joined(children: Iterable[str | Iterable[str]]) -> Markup:
    """Returns all of them as one piece of HTML."""
    parts = (_escaped(child) if isinstance(child, str) else joined(child) for child in children)
    return Markup("".join(parts))


def png(data: bytes, alt: str, **attributes: str | int) -> Markup:
    """Returns an image element with a PNG's bytes inside."""
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    return element("img", src=source, alt=alt, **attributes)


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text)


def _attribute(name: str, value: str | int | float | bool) -> str:
    name = name.rstrip("_").replace("_", "-")
    if isinstance(value, bool):
        return f" {name}" if value else ""
    return f' {name}="{html.escape(str(value))}"'
