"""The implementations of each convolution of the StackGAN baseline: equality and times."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.contest import differences

from input_pipeline.errors import UserError
from t2igan.models.conv import dispatch as fast_forms

# Of the largest value; float32 products at their highest precision, summed in other orders.
TOLERANCE = 5e-6
Form = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution of the StackGAN baseline's networks.

    Attributes:
      name: in tables.
      size: pixels of the image that goes in.
      channels, features: into and out of the kernel.
      kernel_size, stride: 0 for a 3x3 one after 2x nearest upsampling.
    """

    name: str
    size: int
    channels: int
    features: int
    kernel_size: int
    stride: int

    @property
    def chosen(self) -> str:
        """The form that the networks compute it in here."""
        if not self.stride:
            return fast_forms.upsample_form()
        return fast_forms.conv_form(*self._shapes(1), self.stride)

    def forms(self) -> dict[str, Form]:
        """Returns the forms that can compute it, the plain one first."""
        if not self.stride:
            return dict(fast_forms.UPSAMPLE_FORMS)
        return {
            form: functools.partial(fast_forms.CONV_FORMS[form], stride=self.stride)
            if form in ("plain", "windows")
            else lambda x, kernel, form=form: fast_forms.CONV_FORMS[form](x, kernel, self.stride)
            for form in fast_forms.conv_forms(*self._shapes(1), self.stride)
        }

    def inputs(self, batch_size: int) -> tuple[jax.Array, jax.Array]:
        """Returns an image and a kernel of normal noise."""
        random = np.random.default_rng(0)
        return tuple(
            jnp.asarray(random.standard_normal(shape, dtype=np.float32))
            for shape in self._shapes(batch_size)
        )

    def _shapes(self, batch_size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (
            (batch_size, self.size, self.size, self.channels),
            (self.kernel_size, self.kernel_size, self.channels, self.features),
        )


def layers(width: int = 64) -> list[Layer]:
    """Returns the convolutions of both networks at 64 pixels; the baseline's at width 64."""
    up = [
        Layer(f"up to {8 << k}", 4 << k, (16 >> k) * width, (8 >> k) * width, 3, 0)
        for k in range(4)
    ]
    last = Layer("to the image", 64, width, 3, 3, 1)
    first = Layer("down to 32", 64, 3, width, 4, 2)
    down = [
        Layer(f"down to {16 >> k}", 32 >> k, width << k, width << k + 1, 4, 2) for k in range(3)
    ]
    return [*up, last, first, *down]


def check(batch_size: int = 2, width: int = 4) -> dict[str, float]:
    """Returns layer and form -> how far its value and gradients are from the plain form's.

    One layer of each kind, narrowed: sizes and widths change no form, as tests hold.

    Raises:
      UserError: further than rounding.
    """
    found = {}
    with jax.default_matmul_precision("highest"):
        for layer in _kinds(layers(width)):
            want = None
            for form, function in layer.forms().items():
                got = _value_and_gradients(function, *layer.inputs(batch_size))
                want = got if want is None else want
                name = f"{layer.name}, {form}"
                found[name] = max(differences(got, want).values())
                if not found[name] <= TOLERANCE:
                    raise UserError(
                        f"{name}: differs from the plain form by {found[name]:.1e} of the largest "
                        f"value, allowed is {TOLERANCE:.0e}: it computes another function"
                    )
    return found


def _kinds(layers: list[Layer]) -> list[Layer]:
    """One layer of each kernel size, stride and set of forms."""
    kinds = {(one.kernel_size, one.stride, *one.forms()): one for one in reversed(layers)}
    return list(kinds.values())


def _value_and_gradients(function: Form, x: jax.Array, kernel: jax.Array) -> dict[str, np.ndarray]:
    @jax.jit
    def all_three(x: jax.Array, kernel: jax.Array) -> dict[str, jax.Array]:
        out, pull_back = jax.vjp(function, x, kernel)
        gradients = pull_back(jnp.sin(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))
        return {"value": out, "gradient of x": gradients[0], "of the kernel": gradients[1]}

    return jax.device_get(all_three(x, kernel))


def times(batch_size: int, rounds: int, width: int = 64) -> list[dict[str, Any]]:
    """Returns a row for each layer and form: median seconds forward, and with both gradients.

    Args:
      batch_size: images.
      rounds: in which the forms of a layer take turns, after one that is dropped.
      width: of the networks, see `layers`.
    """
    rows = []
    for layer in layers(width):
        inputs = layer.inputs(batch_size)
        calls = {
            (form, what): jax.jit(make(function))
            for form, function in layer.forms().items()
            for what, make in (("forward", lambda f: f), ("with gradients", _with_gradients))
        }
        seconds: dict[Any, list[float]] = {key: [] for key in calls}
        for _ in range(rounds + 1):
            for key, call in calls.items():
                start = time.perf_counter()
                jax.block_until_ready(call(*inputs))
                seconds[key].append(time.perf_counter() - start)
        medians = {key: statistics.median(taken[1:]) for key, taken in seconds.items()}
        rows += [
            {
                "layer": layer.name,
                "shape": [layer.size, layer.channels, layer.features],
                "form": form,
                "chosen": form == layer.chosen,
                "forward_seconds": medians[form, "forward"],
                "seconds": medians[form, "with gradients"],
                "ratio": medians["plain", "with gradients"] / medians[form, "with gradients"],
            }
            for form in layer.forms()
        ]
    return rows


def _with_gradients(function: Form) -> Callable[..., Any]:
    def call(x: jax.Array, kernel: jax.Array) -> Any:
        out, pull_back = jax.vjp(function, x, kernel)
        return out, pull_back(out)

    return call
