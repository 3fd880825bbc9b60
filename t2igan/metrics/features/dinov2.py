"""DINOv2 as a feature network: FD-DINOv2 and whatever else reads its rows.

Images are resized to 224 x 224 by Pillow's bicubic filter, as dgm-eval does it, and scaled by
ImageNet's means and deviations; a row is the class token after the last norm.

Reference: Stein et al., arXiv:2306.04675.
"""

from __future__ import annotations

from pathlib import Path

from t2igan.backbones import dinov2
from t2igan.backbones.weight_files import WeightFile
from t2igan.metrics.features.network import FeatureNetwork


def load(name: str, weights: str | Path) -> FeatureNetwork:
    """Returns the network with the weights of a file.

    Args:
      name: e.g. dinov2_vitl14.
      weights: FILE or FILE@SHA256, a safetensors file.

    Raises:
      UserError: the file is missing, damaged, or another than said.
    """
    arrays, digest = WeightFile.named(weights).read()
    params = dinov2.params_from(arrays)
    return FeatureNetwork(
        name=name,
        dim=params["norm.bias"].shape[0],
        params=params,
        apply=dinov2.features,
        classify=None,
        provenance={
            "network": name,
            "weights_sha256": digest,
            "resize": f"bicubic {dinov2.SIZE} of Pillow",
        },
        resize=dinov2.SIZE,
    )
