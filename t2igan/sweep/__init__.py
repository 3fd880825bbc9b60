"""Sweeps: the trials of a config, run side by side and by several machines, and compared."""

from t2igan.sweep.ranges import Choice, Range

__all__ = ["Choice", "Range"]
