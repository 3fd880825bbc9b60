"""Experiments, one file each; its docstring is a lab note: command, machine, time, numbers."""
