"""Experiments, one file each: its docstring is a lab note with command, machine, time, number."""
