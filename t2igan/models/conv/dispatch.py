"""The choice of a convolution implementation.

All forms compute the same function, to rounding (tests hold values and both gradients equal), so
the choice is about time alone. It was made by measurement where it says so: docs/performance.md
has the tables, `python scripts/benchmark.py --what=forms` measures them again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import jax

from t2igan.models.conv import im2col as matmul_forms
from t2igan.models.conv import plain as plain_forms
from t2igan.models.conv import winograd as tile_forms
from t2igan.runtime.topologies import target_platform

Upsample = Callable[[jax.Array, jax.Array], jax.Array]
Conv = Callable[[jax.Array, jax.Array, int], jax.Array]

UPSAMPLE_FORMS: dict[str, Upsample] = {
    "plain": plain_forms.upsample_conv3,
    "four": plain_forms.upsample_conv3_by_phase,
    "transposed": plain_forms.upsample_conv3_transposed,
    "matmul": matmul_forms.upsample_conv3,
}
CONV_FORMS: dict[str, Conv] = {
    "plain": plain_forms.conv,
    "windows": matmul_forms.conv_by_windows,
    "taps": lambda x, kernel, _: matmul_forms.conv_by_taps(x, kernel),
    "tiles": lambda x, kernel, _: tile_forms.conv4_stride2(x, kernel),
}

_forced: str | None = None


@contextlib.contextmanager
def only(form: str) -> Iterator[None]:
    """Computes all that is traced meanwhile in one form, where it has that form: for comparisons.

    Args:
      form: a key of `UPSAMPLE_FORMS` or `CONV_FORMS`; the rest is computed plainly.
    """
    global _forced
    before, _forced = _forced, form
    try:
        yield
    finally:
        _forced = before


def upsample_form() -> str:
    """Returns the key of `UPSAMPLE_FORMS` to use."""
    if _forced:
        return _forced if _forced in UPSAMPLE_FORMS else "plain"
    # CPU: the fastest of all at each of the StackGAN baseline's layers, by 2 to 5 times.
    # TPU: by the compiler's cycles (v5e, layer to 64x64 with both gradients, 128 images): plain
    # 11.3 M, four 5.7 M, transposed with JAX's own gradient 4.0 M.
    # GPU: not measured. Four convolutions keep to what their convolution libraries are best at;
    # nine products a pixel in memory may cost more there than they save.
    return {"cpu": "matmul", "tpu": "transposed"}.get(target_platform(), "four")


def conv_form(x_shape: Sequence[int], kernel_shape: Sequence[int], stride: int) -> str:
    """Returns the key of `CONV_FORMS` for x [B, H, W, I], kernel [k, k, I, O] and stride."""
    size, _, channels, features = kernel_shape
    possible = conv_forms(x_shape, kernel_shape, stride)
    if _forced:
        return _forced if _forced in possible else "plain"
    if target_platform() != "cpu":
        return "plain"  # accelerators: not measured
    if (size, stride) == (4, 2):
        wanted = "tiles" if channels >= 16 else "windows"
    elif stride == 1 and features <= 4:
        wanted = "taps"  # to the image's channels; between many, the plain form is the faster
    else:
        wanted = "plain"
    return wanted if wanted in possible else "plain"


def conv_forms(x_shape: Sequence[int], kernel_shape: Sequence[int], stride: int) -> list[str]:
    """Returns the keys of `CONV_FORMS` that can compute this convolution."""
    height, width = x_shape[1:3]
    size = kernel_shape[0]
    forms = ["plain"]
    if not (size % stride or (size - stride) % 2 or height % stride or width % stride):
        forms.append("windows")
    if stride == 1 and size % 2:
        forms.append("taps")
    if (size, stride) == (4, 2) and not (height % 4 or width % 4):
        forms.append("tiles")
    return forms
