"""The networks against the StackGAN baseline's tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from t2igan.models.conv.functions import conv
from t2igan.models.stackgan import Discriminator, Generator, JointConv, resolution_steps
from t2igan.models.text import frozen_variables

VOCABULARY, WIDTH, LENGTH = 1004, 200, 17
TEXT = {"codes": jnp.arange(2 * LENGTH, dtype=jnp.int32).reshape(2, LENGTH)}
NOISE = {"z": jnp.ones((2, 100)), "eps": jnp.ones((2, 128))}

# The baseline's appendix, row by row: kernel, bias, and batch norm's four vectors together.
GENERATOR = {
    "conditioning/Dense_0": 870_656,
    "Dense_0": 3_735_552,
    "Conv_0": 4_718_592,
    "BatchNorm_0": 2_048,
    "Conv_1": 1_179_648,
    "BatchNorm_1": 1_024,
    "Conv_2": 294_912,
    "BatchNorm_2": 512,
    "Conv_3": 73_728,
    "BatchNorm_3": 256,
    "Conv_4": 1_728,
}
DISCRIMINATOR = {
    "convs_0": 3_072,
    "convs_1": 131_072,
    "norms_0": 512,
    "convs_2": 524_288,
    "norms_1": 1_024,
    "convs_3": 2_097_152,
    "norms_2": 2_048,
    "joint": 328_192,
    "joint_norm": 2_048,
    "logit": 8_193,
}
TEXT_COMPRESSOR = {"text_compressor": 435_328}


def frozen():
    return frozen_variables(jax.random.normal(jax.random.key(1), (VOCABULARY, WIDTH)))


def init(module, *inputs):
    made = {"mutable": ["params", "batch_stats"], "rngs": {"params": jax.random.key(0)}}
    apply = jax.jit(lambda frozen, *inputs: module.apply(frozen, *inputs, train=False, **made))
    return apply({"frozen": frozen()}, *inputs)


@pytest.fixture(scope="module")
def generator():
    return init(Generator(), TEXT, NOISE)


@pytest.fixture(scope="module")
def discriminator():
    return init(Discriminator(), jnp.zeros((2, 64, 64, 3)), TEXT)


def counts(variables) -> dict[str, int]:
    """Numbers by layer, trained and running together."""
    total: dict[str, int] = {}
    for tree in variables.values():
        for path, value in flatten_dict(tree).items():
            layer = "/".join(path[:-1])
            total[layer] = total.get(layer, 0) + value.size
    return total


def size(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_generator_has_the_reports_parameters(generator):
    _, variables = generator
    assert counts(variables) == GENERATOR
    assert size(variables) == 10_878_656
    assert size(variables["params"]) == 10_876_736


def test_discriminator_has_the_reports_parameters(discriminator):
    _, variables = discriminator
    assert counts(variables) == DISCRIMINATOR | TEXT_COMPRESSOR
    assert size(variables) - 435_328 == 3_097_601
    assert size(variables["params"]) - 435_328 == 3_094_785


def test_generator_draws_within_its_range(generator):
    out, variables = generator
    assert out["image"].shape == (2, 64, 64, 3)
    assert out["mu"].shape == out["log_sigma"].shape == (2, 128)
    loud = {"z": NOISE["z"] * 50, "eps": NOISE["eps"] * 50}
    image = Generator().apply(variables | {"frozen": frozen()}, TEXT, loud, train=False)["image"]
    assert image.dtype == jnp.float32
    assert -1.0 <= image.min() < -0.5
    assert 0.5 < image.max() <= 1.0


def test_discriminator_gives_a_logit_a_pair(discriminator):
    logits, _ = discriminator
    assert logits.shape == (2,)


@pytest.mark.parametrize("size", [16, 128])
def test_other_image_sizes(size):
    out, _ = init(Generator(size, gf_dim=4, cond_dim=8), TEXT, NOISE | {"eps": jnp.ones((2, 8))})
    assert out["image"].shape == (2, size, size, 3)
    logits, _ = init(Discriminator(size, df_dim=4), jnp.zeros((2, size, size, 3)), TEXT)
    assert logits.shape == (2,)


@pytest.mark.parametrize("size", [0, 4, 63, 96])
def test_image_sizes_that_no_doubling_reaches(size):
    with pytest.raises(ValueError, match=f"image_size {size}"):
        resolution_steps(size)


def test_a_caption_changes_the_image_by_its_own_words_vectors(generator):
    # Row k for code k: the image changes when row 7 does if and only if a caption uses code 7.
    _, variables = generator
    table = frozen()["words"]["table"]

    def images(table):
        bound = variables | {"frozen": frozen_variables(table)}
        return Generator().apply(bound, TEXT, NOISE, train=False)["image"]

    change = np.abs(images(table.at[7].add(1.0)) - images(table)).max(axis=(1, 2, 3))
    assert change[0] > 1e-4  # codes 0 to 16
    assert change[1] == 0.0  # codes 17 to 33


def test_joint_conv_is_the_convolution_of_the_tiled_concatenation():
    module = JointConv(features=5, image_dim=3, text_dim=2)
    key = jax.random.key(0)
    x, embedding = jax.random.normal(key, (2, 4, 4, 3)), jax.random.normal(key, (2, 2))
    kernel, bias = jax.random.normal(key, (1, 1, 5, 5)), jnp.arange(5.0)
    params = {"params": {"kernel": kernel, "bias": bias}}
    tiled = jnp.broadcast_to(embedding[:, None, None, :], (2, 4, 4, 2))
    plain = conv(jnp.concatenate([x, tiled], -1), kernel) + bias[None, None, None, :]
    halves = module.apply(params, x, method="image_part") + module.apply(
        params, embedding, method="text_part"
    )
    np.testing.assert_allclose(halves, plain, atol=1e-5)


@pytest.mark.parametrize("trained", [True, False])
def test_the_text_compressor_learns_unless_frozen(discriminator, trained):
    _, variables = discriminator
    module = Discriminator(train_text_compressor=trained)
    image = jax.random.normal(jax.random.key(2), (2, 64, 64, 3))

    def logits(params):
        bound = variables | {"params": params, "frozen": frozen()}
        return module.apply(bound, image, TEXT, train=False).sum()

    gradient = jax.jit(jax.grad(logits))(variables["params"])["text_compressor"]["kernel"]
    assert (jnp.abs(gradient).max() > 0) == trained
