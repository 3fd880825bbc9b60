"""What differs between images of one caption, read from the images, beside what was drawn."""

import numpy as np
import pytest

from input_pipeline.sources.shapes import oracle, rendering, spread
from input_pipeline.sources.shapes.attributes import SHAPES, Attributes


@pytest.mark.parametrize("shape", range(len(SHAPES)), ids=SHAPES)
def test_position_size_angle_and_color_are_those_drawn(shape):
    generator = np.random.default_rng(shape)
    scenes = [
        rendering.scene_of(Attributes(shape, 5, 1, 4, 0), generator.random(rendering.DRAWS))
        for _ in range(40)
    ]
    found = oracle.measure(np.stack([rendering.render(scene, 64) for scene in scenes]))
    drawn = np.array([(scene.x, scene.y, scene.radius, scene.angle) for scene in scenes])
    np.testing.assert_allclose(found["position"], drawn[:, :2], atol=0.006)
    ratio = found["size"][:, 0] / drawn[:, 2]
    assert ratio.std() / ratio.mean() < 0.01
    if SHAPES[shape] in ("circle", "ring"):
        assert np.isnan(found["angle"]).all()
    else:
        np.testing.assert_allclose(found["angle"][:, 0], drawn[:, 3], atol=0.01)
    assert found["color"].std(0).max() > 1


def test_the_spread_within_captions_is_that_of_the_drawn_numbers():
    asked = np.array([[1, 5, 1, 4, 0], [3, 2, 0, 0, 2]])
    images = spread.renderings(asked, 200, 64, seed=0)
    found = spread.within(images, 200)
    assert found["angle"] == pytest.approx(rendering.TURN / np.sqrt(3), rel=0.1)  # uniform
    again = spread.within(np.repeat(images[::200], 5, axis=0), 5)
    assert again == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-6)
    no_object = spread.within(np.full((4, 64, 64, 3), 255, np.uint8), 2)
    assert np.isnan(no_object["position"])


def test_what_a_caption_does_not_name_is_drawn_anew():
    images = spread.renderings(np.array([[1, 5, 1, -1, 0]]), 40, 64, seed=1)
    found = oracle.read(images)
    assert set(found[:, 3]) == {0, 1, 2, 3, 4}
    assert set(found[:, 0]) == {1}
