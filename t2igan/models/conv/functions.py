"""The convolutions the networks are made of, each computed in its fastest exact form."""

from __future__ import annotations

import jax

from t2igan.models.conv import dispatch as fast_forms


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Returns the zero-padded ("same") convolution of x [B, H, W, I] with kernel [k, k, I, O]."""
    form = fast_forms.conv_form(x.shape, kernel.shape, stride)
    return fast_forms.CONV_FORMS[form](x, kernel, stride)


def upsample_conv3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns [B, 2H, 2W, O]: nearest upsampling by 2, then a 3x3 convolution with `kernel`."""
    form = fast_forms.upsample_form()
    return fast_forms.UPSAMPLE_FORMS[form](x, kernel)
