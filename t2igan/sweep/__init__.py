"""Sweeps: trials, their processes and their results."""
