"""Multiplications and additions of a traced function, counted before any compiler sees it."""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.extend import core


def count_flops(function: Any, *args: Any) -> float:
    """Returns the operations of all matrix products and convolutions, two a multiply-add.

    What is inside a mapped function is counted once: the share of one device. Of the branches
    of a condition the costliest counts. Zeros that a convolution's dilation inserts are not
    counted; those of its padding are.

    Args:
      function: that JAX can trace.
      *args: arrays or `jax.ShapeDtypeStruct`s.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: core.Jaxpr) -> float:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2.0 * equation.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        features = params["dimension_numbers"].rhs_spec[0]
        kernel = equation.invars[1].aval
        taps = kernel.size / kernel.shape[features]
        return 2.0 * equation.outvars[0].aval.size * taps / math.prod(params["lhs_dilation"])
    if name == "cond":
        return max(_count(branch.jaxpr) for branch in params["branches"])
    inner = sum(map(_count, _inner(params)))
    return inner * params.get("length", 1) if name == "scan" else inner


def _inner(params: dict[str, Any]) -> list[core.Jaxpr]:
    """The programs among an equation's parameters."""
    return [
        getattr(value, "jaxpr", value)
        for value in params.values()
        if isinstance(value, core.Jaxpr | core.ClosedJaxpr)
    ]
