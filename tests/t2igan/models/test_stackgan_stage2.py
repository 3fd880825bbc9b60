"""The second stage's networks against the tables of their file."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from PIL import Image

from t2igan.models.layers import leaky_relu
from t2igan.models.stackgan import Generator
from t2igan.models.stackgan_stage2 import Discriminator2, Generator2, check_sizes
from t2igan.models.text import frozen_variables

VOCABULARY, WIDTH, LENGTH = 1004, 200, 17
TEXT = {"codes": jnp.arange(2 * LENGTH, dtype=jnp.int32).reshape(2, LENGTH)}
MADE = {"mutable": ["params", "batch_stats"]}

ENCODER = {
    "conditioning/Dense_0": 870_656,
    "Conv_0": 3_456,
    "Conv_1": 524_288,
    "BatchNorm_0": 1_024,
    "Conv_2": 2_097_152,
    "BatchNorm_1": 2_048,
    "Conv_3": 2_949_120,
    "BatchNorm_2": 2_048,
}
UPSAMPLING = [(1_179_648, 1_024), (294_912, 512), (73_728, 256), (18_432, 128)]
TRUNK = {
    "convs_0": 3_072,
    "convs_1": 131_072,
    "norms_0": 512,
    "convs_2": 524_288,
    "norms_1": 1_024,
    "convs_3": 2_097_152,
    "norms_2": 2_048,
    "convs_4": 8_388_608,
    "norms_3": 4_096,
}
END = {
    "residual_0": 65_536,
    "residual_norms_0": 512,
    "residual_1": 147_456,
    "residual_norms_1": 512,
    "residual_2": 589_824,
    "residual_norms_2": 2_048,
    "text_compressor": 435_328,
    "joint": 328_192,
    "joint_norm": 2_048,
    "logit": 8_193,
}
DISCRIMINATORS = {
    128: TRUNK | {"reductions_0": 524_288, "reduction_norms_0": 2_048} | END,
    256: TRUNK
    | {"convs_5": 33_554_432, "norms_4": 8_192}
    | {"reductions_0": 2_097_152, "reduction_norms_0": 4_096}
    | {"reductions_1": 524_288, "reduction_norms_1": 2_048}
    | END,
}


def generator_table(times: int) -> dict[str, int]:
    """The docstring's rows for an image 2 or 4 times as large as the first stage's 64 pixels."""
    table = dict(ENCODER)
    for block in range(2 * times):
        table |= {f"Conv_{4 + block}": 2_359_296, f"BatchNorm_{3 + block}": 2_048}
    doublings = UPSAMPLING[: 3 if times == 2 else 4]
    for step, (conv, norm) in enumerate(doublings):
        table |= {f"Conv_{4 + 2 * times + step}": conv, f"BatchNorm_{3 + 2 * times + step}": norm}
    last = {2: 64, 4: 32}[times]
    return table | {f"Conv_{4 + 2 * times + len(doublings)}": 9 * last * 3}


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


def shapes(module, frozen, *inputs):
    """What the module returns and makes, without computing it: these networks are large."""

    def init(frozen, *inputs):
        rngs = {"params": jax.random.key(0)}
        return module.apply({"frozen": frozen}, *inputs, train=False, rngs=rngs, **MADE)

    return jax.eval_shape(init, frozen, *inputs)


def filled(tree):
    """Returns random numbers in those shapes; to draw them on the device compiles for long."""
    random = np.random.default_rng(0)

    def fill(path, leaf):
        values = 0.2 * random.standard_normal(leaf.shape)
        return np.float32(values + (path[-1].key in ("var", "scale")) * 1.0)

    return jax.tree_util.tree_map_with_path(fill, tree)


def noise_of(large: int, z_dim: int = 100, cond_dim: int = 128):
    dims = {"z": z_dim, "eps": cond_dim, f"eps_{large}": cond_dim}
    keys = jax.random.split(jax.random.key(5), len(dims))
    return {
        name: jax.random.normal(key, (2, dim))
        for key, (name, dim) in zip(keys, dims.items(), strict=True)
    }


@pytest.mark.parametrize("times", [2, 4])
def test_generator_has_the_tables_parameters(times):
    large, words = 64 * times, frozen_variables(jnp.zeros((VOCABULARY, WIDTH)))
    noise = noise_of(large)
    _, first = shapes(Generator(), words, TEXT, noise)
    frozen = frozen_variables(words["words"]["table"], first)
    out, variables = shapes(Generator2(Generator(), 64, large), frozen, TEXT, noise)
    assert counts(variables) == generator_table(times)
    assert out["image"].shape == (2, large, large, 3)
    assert out["small"].shape == (2, 64, 64, 3)
    assert out["mu"].shape == out["log_sigma"].shape == (2, 128)
    if times == 4:
        assert size(variables) == 26_910_048
        assert size(variables["params"]) == 26_898_336


@pytest.mark.parametrize("large", [128, 256])
def test_discriminator_has_the_tables_parameters(large):
    frozen = frozen_variables(jnp.zeros((VOCABULARY, WIDTH)))
    image = jnp.zeros((2, large, large, 3))
    logits, variables = shapes(Discriminator2(large), frozen, image, TEXT)
    assert counts(variables) == DISCRIMINATORS[large]
    assert logits.shape == (2,)
    if large == 256:
        assert size(variables) == 48_921_729
        assert size(variables["params"]) == 48_908_161


@pytest.fixture(scope="module")
def narrow():
    """A second stage of a few channels, with variables and noise, and its compiled call."""
    table = np.random.default_rng(1).normal(size=(VOCABULARY, 4)).astype(np.float32)
    noise, stage1 = noise_of(16, 6, 8), Generator(8, gf_dim=4, cond_dim=8)
    _, first = shapes(stage1, frozen_variables(table), TEXT, noise)
    frozen = frozen_variables(table, filled(first))
    module = Generator2(stage1, 8, 16, gf_dim=8, cond_dim=8)
    _, made = shapes(module, frozen, TEXT, noise)
    return SimpleNamespace(
        module=module,
        variables=filled(made) | {"frozen": frozen},
        noise=noise,
        draw=jax.jit(lambda variables, noise: module.apply(variables, TEXT, noise, train=False)),
    )


def test_the_small_image_is_the_first_stages_own(narrow):
    out = narrow.draw(narrow.variables, narrow.noise)
    frozen = narrow.variables["frozen"]
    first = frozen["stage1"] | {"frozen": {"words": frozen["words"]}}
    draw = jax.jit(lambda given: narrow.module.stage1.apply(given, TEXT, narrow.noise, train=False))
    np.testing.assert_allclose(out["small"], draw(first)["image"], atol=1e-6)
    assert out["image"].shape == (2, 16, 16, 3)
    assert 0.1 < jnp.abs(out["image"]).max() <= 1.0


def test_in_training_the_first_stage_keeps_its_statistics(narrow):
    def train(variables):
        options = {"train": True, "mutable": ["batch_stats"]}
        return narrow.module.apply(variables, TEXT, narrow.noise, **options)

    out, new = jax.jit(train)(narrow.variables)
    expected = narrow.draw(narrow.variables, narrow.noise)["small"]
    np.testing.assert_allclose(out["small"], expected, atol=1e-6)
    assert new.keys() == {"batch_stats"}
    before = narrow.variables["batch_stats"]
    assert jax.tree.structure(new["batch_stats"]) == jax.tree.structure(before)


@pytest.mark.parametrize("name", ["z", "eps", "eps_16"])
def test_every_noise_reaches_the_large_image(narrow, name):
    noise = narrow.noise
    image = narrow.draw(narrow.variables, noise)["image"]
    other = narrow.draw(narrow.variables, noise | {name: noise[name] + 1.0})["image"]
    assert jnp.abs(image - other).max() > 1e-5


def test_the_caption_is_read_again_by_the_second_stage(narrow):
    """With a first stage that has forgotten its captions, a caption still changes the image."""
    frozen = narrow.variables["frozen"]
    silent = frozen | {"stage1": jax.tree.map(np.zeros_like, frozen["stage1"])}
    same = {name: jnp.broadcast_to(rows[:1], rows.shape) for name, rows in narrow.noise.items()}
    out = narrow.draw(narrow.variables | {"frozen": silent}, same)
    assert jnp.abs(out["small"]).max() == 0.0
    assert jnp.abs(out["image"][0] - out["image"][1]).max() > 1e-5


@pytest.fixture(scope="module")
def refining(narrow):
    """The same with `refine`, its parameters as they start."""
    module = narrow.module.clone(refine=True)
    frozen = narrow.variables["frozen"]

    @jax.jit
    def made(frozen):
        rngs = {"params": jax.random.key(0)}
        return module.apply({"frozen": frozen}, TEXT, narrow.noise, train=False, rngs=rngs, **MADE)

    out, variables = made(frozen)
    return SimpleNamespace(module=module, variables=variables | {"frozen": frozen}, out=out)


def test_refining_has_the_tables_parameters_too(narrow, refining):
    assert counts(refining.variables) == counts(narrow.variables)


def test_refining_starts_from_the_small_image(refining):
    """Enlarged by Pillow, but for what lies outside the range that a tanh can be asked for."""
    small, large = (np.asarray(refining.out[name]) for name in ("small", "image"))
    assert small.std() > 0.05
    bands = [Image.fromarray(band) for band in np.moveaxis(small[0], -1, 0)]
    enlarged = [band.resize((16, 16), Image.Resampling.BILINEAR) for band in bands]
    expected = np.clip(np.stack([np.asarray(band) for band in enlarged], -1), -0.99, 0.99)
    np.testing.assert_allclose(large[0], expected, atol=1e-5)


@pytest.mark.parametrize("refine", [False, True])
def test_only_refining_sees_fine_detail(narrow, refine):
    """With nothing left of the coarsest maps, only the paths beside them lead to the image."""
    params = dict(narrow.variables["params"])
    for norm in ("BatchNorm_7", "BatchNorm_8"):  # of the first two enlarging layers
        params[norm] = jax.tree.map(np.zeros_like, params[norm])
    module = narrow.module.clone(refine=refine)
    draw = jax.jit(lambda variables: module.apply(variables, TEXT, narrow.noise, train=False))
    out = draw(narrow.variables | {"params": params})
    drawn = jnp.arctanh(jnp.clip(out["image"], -0.9999, 0.9999))
    if refine:
        large = jax.image.resize(out["small"], (2, 16, 16, 3), "linear")
        drawn -= jnp.arctanh(jnp.clip(large, -0.99, 0.99))
    inner = drawn[:, 3:-3, 3:-3]  # next to a border there are zeros
    assert (jnp.std(inner, axis=(1, 2)).max() > 1e-2) == refine


def test_refining_learns_from_its_first_step(narrow, refining):
    """Its last kernel, zero at the start, has a gradient, and the image can go either way."""

    def brightness(params):
        variables = refining.variables | {"params": params}
        return refining.module.apply(variables, TEXT, narrow.noise, train=False)["image"].mean()

    params = refining.variables["params"]
    last = max(params, key=lambda name: int(name.rpartition("_")[2]) if "Conv" in name else -1)
    assert not np.any(params[last]["kernel"])
    assert np.any(jax.jit(jax.grad(brightness))(params)[last]["kernel"])


def test_without_a_first_stage_it_says_so(narrow):
    words = {"words": narrow.variables["frozen"]["words"]}
    with pytest.raises(ValueError, match="no first stage"):
        narrow.draw(narrow.variables | {"frozen": words}, narrow.noise)


@pytest.mark.parametrize(("small", "large"), [(64, 64), (64, 192), (64, 512), (64, 32)])
def test_sizes_that_do_not_fit(small, large):
    with pytest.raises(ValueError, match=f"image_size {large}: must be 128 or 256"):
        check_sizes(small, large)


def test_the_trunk_ends_in_a_residual_block():
    """Without its last norm's scale the residual block adds nothing to what came in."""
    module = Discriminator2(128, df_dim=1, text_dim=4)
    frozen = {"frozen": frozen_variables(jnp.ones((VOCABULARY, 4)))}
    image = jax.random.normal(jax.random.key(2), (2, 128, 128, 3))

    def trunk(module, image):
        x = leaky_relu(module.convs[0](image))
        layers = [*module.convs[1:], *module.reductions]
        norms = [*module.norms, *module.reduction_norms]
        for conv, norm in zip(layers, norms, strict=True):
            x = leaky_relu(norm(conv(x), use_running_average=True))
        return module.joint.image_part(x)

    _, made = shapes(module, frozen["frozen"], image, TEXT)
    bound = filled(made) | frozen
    scale = bound["params"]["residual_norms_2"]["scale"]
    bias = bound["params"]["residual_norms_2"]["bias"]
    bound["params"]["residual_norms_2"] = {"scale": 0.0 * scale, "bias": 0.0 * bias}

    @jax.jit
    def both(bound):
        features = module.apply(bound, image, train=False, method="image_features")
        return features, module.apply(bound, image, method=trunk)

    features, expected = both(bound)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert jnp.abs(features).max() > 1e-3
