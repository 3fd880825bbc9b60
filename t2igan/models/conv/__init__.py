"""Convolution implementations, all equal to the plain ones."""
