"""Stored weights in fewer bits: widened before they are used, so that arithmetic stays in 32."""

from __future__ import annotations

import dataclasses

import numpy as np

PRECISIONS = ("float32", "float16", "int8")
_SMALL = 256  # numbers; arrays of fewer stay in 32 bits


@dataclasses.dataclass(frozen=True)
class Quantized:
    """An array as whole numbers of 8 bits: number * scale of its channel.

    Attributes:
      numbers: int8, the array's shape.
      scales: float32 [channels].
      axis: of the channels.
    """

    numbers: np.ndarray
    scales: np.ndarray
    axis: int

    def widened(self) -> np.ndarray:
        """Returns float32, the array's shape."""
        shape = [1] * self.numbers.ndim
        shape[self.axis] = -1
        return self.numbers.astype(np.float32) * self.scales.reshape(shape)


def is_stored_smaller(array: np.ndarray, precision: str) -> bool:
    """Returns whether an array is stored in fewer bits: large ones are, and of 8 bits matrices."""
    is_large = array.dtype == np.float32 and array.size >= _SMALL
    return is_large and (precision == "float16" or (precision == "int8" and array.ndim > 1))


def quantized(array: np.ndarray) -> Quantized:
    """Returns an array in 8 bits, symmetric about zero, a scale a channel.

    Channels are the first axis or the last, whichever loses less: convolutions have theirs first
    in ONNX, matrices last.

    Args:
      array: float32, two axes or more.
    """
    both = [_along(array, axis) for axis in (0, array.ndim - 1)]
    errors = [float(np.square(each.widened() - array).sum()) for each in both]
    return both[int(errors[1] < errors[0])]


def _along(array: np.ndarray, axis: int) -> Quantized:
    others = tuple(i for i in range(array.ndim) if i != axis)
    largest = np.abs(array).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    numbers = np.round(array / scales).clip(-127, 127).astype(np.int8)
    return Quantized(numbers, scales.reshape(-1), axis)


def rounded(array: np.ndarray, precision: str) -> np.ndarray:
    """Returns what is left of an array once it is stored and widened."""
    if not is_stored_smaller(array, precision):
        return array
    if precision == "float16":
        return array.astype(np.float16).astype(np.float32)
    return quantized(array).widened()
