"""Writes what torch-fidelity's Inception gives on made-up weights, for tests without PyTorch.

The published weights may not travel with the tests; the network's arithmetic can be checked on
any. Run where torch and torch-fidelity are installed:

    python scripts/golden/inception.py tests/t2igan/metrics/features/inception_golden.json
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import numpy as np

EVERY = 16  # features kept: each 16th


def _random(name: str) -> np.random.RandomState:
    # The legacy generator: its numbers are promised never to change.
    return np.random.RandomState(zlib.crc32(name.encode()))


def made_up_state(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Returns a state dict of pseudo-random numbers, the same everywhere, of sizes that keep
    signals even.

    Args:
      shapes: of each `LAYER.conv.weight`, and of `fc.weight`.
    """
    state: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        numbers = _random(name)
        fan_in = int(np.prod(shape[1:]))
        state[name] = numbers.normal(0, (2 / fan_in) ** 0.5, shape)
        if name == "fc.weight":
            state["fc.bias"] = numbers.normal(0, 1, shape[0])
            continue
        norm = name.replace(".conv.weight", ".bn.")
        state[norm + "weight"] = numbers.uniform(0.5, 1.5, shape[0])
        state[norm + "bias"] = numbers.normal(0, 0.1, shape[0])
        state[norm + "running_mean"] = numbers.normal(0, 0.1, shape[0])
        state[norm + "running_var"] = numbers.uniform(0.5, 1.5, shape[0])
    return {name: array.astype(np.float32) for name, array in state.items()}


def pictures() -> list[np.ndarray]:
    """Three pseudo-random uint8 [H, W, 3] images: smaller than 299, not square, larger."""
    sizes = ((64, 64), (48, 80), (320, 301))
    return [_random(str(size)).randint(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]


def torch_network(state: dict[str, np.ndarray] | None = None):
    """torch-fidelity's network without its download, with the given weights."""
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    class Network(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict, *args, **kwargs):
            if state_dict:
                super().load_state_dict(state_dict, strict=False)

    fidelity.load_state_dict_from_url = lambda *args, **kwargs: {}
    network = Network("inception", ["2048", "logits_unbiased"])
    if state:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return network


def torch_outputs(network, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns [2048] features and [1008] unbiased logits of one uint8 [H, W, 3] image."""
    import torch

    outputs = network(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
    features, logits = (output[0].numpy() for output in outputs)
    return features, logits


def main() -> None:
    """Writes the shapes of the layers and the outputs for each image."""
    blank = torch_network().state_dict()
    shapes = {
        name: list(value.shape)
        for name, value in blank.items()
        if name.endswith(".conv.weight") or name == "fc.weight"
    }
    network = torch_network(made_up_state(shapes))
    outputs = [torch_outputs(network, image) for image in pictures()]
    golden = {
        "shapes": shapes,
        "every": EVERY,
        "features": [[float(f"{x:.7g}") for x in f[::EVERY]] for f, _ in outputs],
        "logits": [[float(f"{x:.7g}") for x in g[::EVERY]] for _, g in outputs],
    }
    Path(sys.argv[1]).write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
