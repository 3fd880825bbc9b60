"""Devices, processes, random numbers and caches."""
