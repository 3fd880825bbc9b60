"""A prepared data set on disk: its folder, its records, and how they are read."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # Late: opening imports the reader of shards, which the writers of files have no use for.
    if name in ("Dataset", "open_dataset"):
        from input_pipeline.dataset import open as opening

        return getattr(opening, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
