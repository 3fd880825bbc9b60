"""Evaluation of runs and of image folders."""
