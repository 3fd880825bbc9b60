"""The network that makes small images large: counts by hand, how it starts, how far it looks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from t2igan.models.super_resolution import SuperResolution
from t2igan.models.text import frozen_variables

TEXT = {"codes": jnp.array([[1, 5, 6, 2, 0], [1, 7, 2, 0, 0]], jnp.int32)}


class Given(nn.Module):
    """A first stage whose images are given in place of noise."""

    def __call__(self, text, noise, *, train):
        return {"image": noise["picture"]}


FROZEN = {"frozen": frozen_variables(jax.random.normal(jax.random.key(1), (9, 8)), {"params": {}})}
SMALL = jax.random.uniform(jax.random.key(2), (2, 16, 16, 3), minval=-1.2, maxval=1.2)


def refiner(times=2):
    return SuperResolution(Given(), 16 * times, 4, 8, "flat", 6, layers=2)


def draw(module, variables, small=SMALL, text=TEXT):
    apply = jax.jit(lambda *given: module.apply(*given, train=False))
    return apply(variables, text, {"picture": small})["image"]


def started(module):
    made = {"mutable": ["params"], "rngs": {"params": jax.random.key(0)}}
    apply = jax.jit(lambda: module.apply(FROZEN, TEXT, {"picture": SMALL}, train=False, **made))
    out, variables = apply()
    return out, variables | FROZEN


@pytest.fixture(scope="module")
def trained():
    """Its variables, the last layer's no longer zero."""
    _, variables = started(refiner())
    last = variables["params"]["image"]
    kernel = 0.2 * jax.random.normal(jax.random.key(3), last["kernel"].shape)
    return variables | {"params": variables["params"] | {"image": last | {"kernel": kernel}}}


@pytest.mark.parametrize("times", [2, 4])
def test_counts_by_hand(times):
    """Layers of 8 channels on the small image, of 4 at each doubling, modulated by 6 numbers."""
    _, variables = started(refiner(times))
    text = 5 * 8 * 8 + 8 + 8 * 6 + 6
    convolutions = (3 * 9 * 8 + 8) + (8 * 9 * 8 + 8) + (8 * 9 * 4 + 4) + (4 * 9 * 3 + 3)
    modulated = (6 + 1) * 2 * (8 + 8 + 4)
    again = (4 * 9 * 4 + 4) + (6 + 1) * 2 * 4 if times == 4 else 0
    found = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert found == text + convolutions + modulated + again


@pytest.mark.parametrize("times", [2, 4])
def test_it_starts_from_the_small_image_as_pillow_enlarges_it(times):
    out, _ = started(refiner(times))
    assert (out["small"] == SMALL).all()
    bands = np.moveaxis(np.asarray(SMALL).clip(-1.0, 1.0), -1, 1).reshape(-1, 16, 16)
    size = (16 * times, 16 * times)
    large = [Image.fromarray(band).resize(size, Image.Resampling.BILINEAR) for band in bands]
    expected = np.moveaxis(np.stack(large).reshape(2, 3, *size), 1, -1)
    np.testing.assert_allclose(out["image"], expected, atol=1e-5)


def test_any_small_image_can_be_made_large(trained):
    """As the first stage's own is: what the loss on real images rests on."""
    enlarge = jax.jit(
        lambda small: refiner().apply(trained, small, TEXT, train=True, method="enlarge")
    )
    np.testing.assert_allclose(enlarge(SMALL), draw(refiner(), trained), atol=1e-5)


def test_a_pixel_changes_only_its_neighborhood(trained):
    """Two 3x3 layers on the small image, one after doubling and the last: 6 or 7 pixels."""
    before = draw(refiner(), trained)
    after = draw(refiner(), trained, SMALL.at[0, 8, 8].add(0.5))
    rows, columns = np.nonzero(np.abs(after - before).max(axis=(0, -1)) > 1e-6)
    assert rows.min() >= 16 - 7
    assert rows.max() <= 17 + 7
    assert (columns.min(), columns.max()) == (rows.min(), rows.max())
    assert rows.max() - rows.min() > 8


def test_the_caption_reaches_the_image(trained):
    other = {"codes": TEXT["codes"].at[0, 1].set(8)}
    change = jnp.abs(draw(refiner(), trained, text=other) - draw(refiner(), trained))
    assert change[0].max() > 1e-4
    assert (change[1] == 0.0).all()


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="image_size 48: must be 32 or 64"):
        started(refiner(3))
