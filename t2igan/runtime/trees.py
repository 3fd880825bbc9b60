"""Names and shapes of the arrays in a tree."""

from __future__ import annotations

from typing import Any

import jax


def shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns {"dense/kernel": shape} for the leaves of a tree, in its order."""
    shapes = [tuple(leaf.shape) for leaf in jax.tree.leaves(tree)]
    return dict(zip(names(tree), shapes, strict=True))


def names(tree: Any) -> list[str]:
    """Returns "dense/kernel" and so on for the leaves of a tree, in its order."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return ["/".join(map(_part, path)) for path in paths]


def difference(there: Any, here: Any) -> str | None:
    """Returns the first difference between two trees' names and shapes, None where they agree."""
    known, wanted = shapes_by_name(there), shapes_by_name(here)
    for name in known | wanted:
        if known.get(name) != wanted.get(name):
            return f"{name} is {_shown(known.get(name))} there, {_shown(wanted.get(name))} here"
    return None


def _shown(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _part(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
