"""The second stage of StackGAN.

Generator of gf_dim 128 from 64 to 256 pixels: 26,910,048 parameters of its own, 26,898,336 of them
trained. The first stage's are frozen and not counted.

| layer | output | parameters |
|---|---|---|
| text 3400 -> dense, LeakyReLU 0.2 | 256 = (mu 128, log sigma 128) | 870,656 |
| conditioning augmentation, with an eps of this stage's own | 128 | 0 |
| conv 3x3 of the small image, ReLU | 64x64x128 | 3,456 |
| conv 4x4 stride 2, batch norm, ReLU | 32x32x256 | 524,288 + 1,024 |
| same | 16x16x512 | 2,097,152 + 2,048 |
| concat c tiled over 16x16, conv 3x3, batch norm, ReLU | 16x16x512 | 2,949,120 + 2,048 |
| 4 times: conv 3x3, batch norm, ReLU | 16x16x512 | 4 x (2,359,296 + 2,048) |
| then conv 3x3, batch norm, add what came in, ReLU | 16x16x512 | 4 x (2,359,296 + 2,048) |
| upsample 2x nearest, conv 3x3, batch norm, ReLU | 32x32x256 | 1,179,648 + 1,024 |
| same | 64x64x128 | 294,912 + 512 |
| same | 128x128x64 | 73,728 + 256 |
| same | 256x256x32 | 18,432 + 128 |
| conv 3x3, tanh | 256x256x3 | 864 |

Discriminator of df_dim 64 at 256 pixels: 48,921,729 parameters, 48,908,161 of them trained.

| layer | output | parameters |
|---|---|---|
| conv 4x4 stride 2, LeakyReLU 0.2 | 128x128x64 | 3,072 |
| conv 4x4 stride 2, batch norm, LeakyReLU | 64x64x128 | 131,072 + 512 |
| same | 32x32x256 | 524,288 + 1,024 |
| same | 16x16x512 | 2,097,152 + 2,048 |
| same | 8x8x1024 | 8,388,608 + 4,096 |
| same | 4x4x2048 | 33,554,432 + 8,192 |
| conv 1x1, batch norm, LeakyReLU | 4x4x1024 | 2,097,152 + 4,096 |
| conv 1x1, batch norm | 4x4x512 | 524,288 + 2,048 |
| conv 1x1, batch norm, LeakyReLU | 4x4x128 | 65,536 + 512 |
| conv 3x3, batch norm, LeakyReLU | 4x4x128 | 147,456 + 512 |
| conv 3x3, batch norm, add what came in, LeakyReLU | 4x4x512 | 589,824 + 2,048 |
| text 3400 -> dense, ReLU | 128 | 435,328 |
| concat the text tiled over 4x4, conv 1x1, batch norm, LeakyReLU | 4x4x512 | 328,192 + 2,048 |
| flatten, dense | 1 logit | 8,193 |

With `refine` what the last convolution returns is added to the small image, enlarged, both before
the tanh; its kernel then starts at zero, so that an untrained stage returns the small image. Maps
of 32x32 and 64x64 are added to those of the same size and width that are made again. The paper's
has no such paths: all that the large image keeps goes through 16x16, and is drawn again.

To 128 pixels the generator has 2 residual blocks and one doubling less, the discriminator one
halving and one 1x1 convolution less. Convolutions have no bias, but for the joint one.

Reference: StackGAN, section 3.3, arXiv:1612.03242; widths and the discriminator's end as in its
authors' published code. To learn the difference to an enlarged image: VDSR, arXiv:1511.04587;
paths between maps of one size: U-Net, arXiv:1505.04597.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.conditioning_augmentation import ConditioningAugmentation
from t2igan.models.layers import Conv, batch_norm, dense, glorot_uniform, leaky_relu
from t2igan.models.stackgan import Discriminator, JointConv, resolution_steps
from t2igan.models.text import FROZEN, STAGE1, Text, WordVectors, flatten

_HALVINGS = 2  # of the small image
_ENLARGEMENTS = (2, 4)
_BRIGHTEST = 0.99  # of the enlarged image: what tanh returns exactly 1 for is not finite


def check_sizes(small: int, large: int) -> int:
    """Returns how many times larger the second stage's image is: 2 or 4.

    Args:
      small: pixels of the first stage's image.
      large: pixels of the second's.

    Raises:
      ValueError: it is neither.
    """
    for times in _ENLARGEMENTS:
        if times * small == large:
            return times
    allowed = " or ".join(str(times * small) for times in _ENLARGEMENTS)
    raise ValueError(
        f"image_size {large}: must be {allowed} on a first stage of {small} pixels; prepare the "
        "data set at that size"
    )


def eps_name(image_size: int) -> str:
    """Returns the name of the noise that a second stage of this size takes beside its first's."""
    return f"eps_{image_size}"


def draw_small(
    frozen: Mapping, stage1: nn.Module, text: Text, noise: Mapping[str, jax.Array]
) -> jax.Array:
    """Returns [B, s, s, 3], the first stage's image; its running statistics are used.

    Args:
      frozen: the collection of that name of the second stage, as `frozen_variables` makes it.
      stage1: the first stage's generator.
      text: the captions.
      noise: the first stage's, and others that are not its own.

    Raises:
      ValueError: there is no first stage in it.
    """
    if STAGE1 not in frozen:
        raise ValueError("no first stage: pass frozen_variables(word_vectors, stage1)")
    stored = frozen[STAGE1]
    variables = {
        "params": stored["params"],
        "batch_stats": stored.get("batch_stats", {}),
        FROZEN: {"words": frozen["words"], **stored.get(FROZEN, {})},
    }
    # A module of its own, not part of the second stage: its variables are no parameters there.
    return stage1.clone(parent=None).apply(variables, text, noise, train=False)["image"]


class Generator2(nn.Module):
    """Returns {"image" [B, S, S, 3] in [-1, 1], "small" [B, s, s, 3], "mu", "log_sigma"}.

    The first stage's variables are read from the collection `frozen`, beside the word vectors
    that both stages share; its running statistics are used, in training too.

    Attributes:
      stage1: generator of the small image.
      stage1_size: s, pixels.
      image_size: S, 2 or 4 times s.
      gf_dim: width; the feature maps at a quarter of s have 4 * gf_dim channels.
      cond_dim: width of the augmented condition.
      dtype: of the computation; parameters, statistics and images are float32.
      axis_name: mapped axis for batch statistics over all replicas, or None.
      refine: add what is drawn to the small image and its maps, instead of drawing all anew.
    """

    stage1: nn.Module
    stage1_size: int = 64
    image_size: int = 256
    gf_dim: int = 128
    cond_dim: int = 128
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    refine: bool = False

    @nn.compact
    def __call__(
        self, text: Text, noise: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array]:
        """generates one image a caption.

        Args:
          text: {"codes": int32 [B, L]}.
          noise: the first stage's, and `eps_name(S)` [B, cond_dim], standard normal.
          train: batch statistics instead of running ones, in this stage.
        """
        times = check_sizes(self.stage1_size, self.image_size)
        small = draw_small(self.variables[FROZEN], self.stage1, text, noise)
        embedding = flatten(WordVectors(self.dtype, name="words")(text))
        c, mu, log_sigma = ConditioningAugmentation(self.cond_dim, self.dtype, name="conditioning")(
            embedding, noise[eps_name(self.image_size)]
        )
        x = nn.relu(Conv(self.gf_dim, 3, dtype=self.dtype)(small))
        finer = []
        for step in range(1, _HALVINGS + 1):
            finer.append(x)
            x = nn.relu(self._conv_norm(x, train, self.gf_dim << step, 4, stride=2))
        width = x.shape[-1]
        tiled = jnp.broadcast_to(
            c.astype(self.dtype)[:, None, None, :], (*x.shape[:3], self.cond_dim)
        )
        x = jnp.concatenate([x, tiled], axis=-1)
        x = nn.relu(self._conv_norm(x, train, width, 3))
        for _ in range(times):
            y = nn.relu(self._conv_norm(x, train, width, 3))
            x = nn.relu(x + self._conv_norm(y, train, width, 3))
        for step in range(1, _HALVINGS + times.bit_length()):
            features = max(1, width >> step)
            x = nn.relu(self._conv_norm(x, train, features, 3, upsample=True))
            if self.refine and finer:
                x = x + finer.pop()
        start = nn.initializers.zeros if self.refine else glorot_uniform
        drawn = Conv(3, 3, kernel_init=start, dtype=self.dtype)(x).astype(jnp.float32)
        image = jnp.tanh(drawn + self._enlarged(small) if self.refine else drawn)
        return {"image": image, "small": small, "mu": mu, "log_sigma": log_sigma}

    def _enlarged(self, small: jax.Array) -> jax.Array:
        """The small image at the large one's size, as what tanh makes it of."""
        shape = (small.shape[0], self.image_size, self.image_size, 3)
        large = jax.image.resize(small, shape, "linear")
        return jnp.arctanh(jnp.clip(large, -_BRIGHTEST, _BRIGHTEST))

    def _conv_norm(
        self, x: jax.Array, train: bool, features: int, size: int, **options: int | bool
    ) -> jax.Array:
        x = Conv(features, size, dtype=self.dtype, **options)(x)
        return batch_norm(self.axis_name, self.dtype)(x, use_running_average=not train)


class Discriminator2(Discriminator):
    """Returns [B] logits: the first stage's judgment, of features that are halved to 4x4 too.

    Attributes:
      image_size: S, 4 times a power of two; the rest is as in the first stage. Where halving has
        made more than 8 * df_dim channels, 1x1 convolutions halve them to as many.
    """

    image_size: int = 256

    def setup(self) -> None:
        wide = [self.df_dim << step for step in range(resolution_steps(self.image_size))]
        width = min(wide[-1], 8 * self.df_dim)
        narrower = [wide[-1] >> step for step in range(1, (wide[-1] // width).bit_length())]
        narrow = max(1, width // 4)
        self.convs = [Conv(features, 4, stride=2, dtype=self.dtype) for features in wide]
        self.norms = self._norms(len(wide) - 1)
        self.reductions = [Conv(features, 1, dtype=self.dtype) for features in narrower]
        self.reduction_norms = self._norms(len(narrower))
        self.residual = [
            Conv(narrow, 1, dtype=self.dtype),
            Conv(narrow, 3, dtype=self.dtype),
            Conv(width, 3, dtype=self.dtype),
        ]
        self.residual_norms = self._norms(3)
        self.words = WordVectors(self.dtype)
        self.text_compressor = dense(self.text_dim, self.dtype)
        self.joint = JointConv(width, width, self.text_dim, self.dtype)
        self.joint_norm = batch_norm(self.axis_name, self.dtype)
        self.logit = dense(1, self.dtype)

    def _norms(self, count: int) -> list[nn.BatchNorm]:
        return [batch_norm(self.axis_name, self.dtype) for _ in range(count)]

    def image_features(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Returns [B, 4, 4, C]: all that the judgment needs of the image, whatever the caption."""

        def follow(x: jax.Array, convs: list, norms: list) -> jax.Array:
            """Convolution and norm in turn, activated between but not after the last."""
            for place, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
                x = norm(conv(leaky_relu(x) if place else x), use_running_average=not train)
            return x

        x = leaky_relu(self.convs[0](image))
        x = follow(x, [*self.convs[1:], *self.reductions], [*self.norms, *self.reduction_norms])
        x = leaky_relu(x + follow(x, self.residual, self.residual_norms))
        return self.joint.image_part(x)
