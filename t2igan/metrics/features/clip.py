"""CLIP as a feature network, whose texts lie in the same space: CMMD, CLIPScore, R-precision.

Images are resized by Pillow's bicubic filter, as CLIP's and CMMD's own code do; a row is the
projected embedding, of any length.

References: Radford et al., arXiv:2103.00020; Jayasumana et al., arXiv:2401.09603 (CMMD).
"""

from __future__ import annotations

import functools
from pathlib import Path

from t2igan.backbones import clip, text_encoders
from t2igan.backbones.weight_files import WeightFile
from t2igan.metrics.features.network import FeatureNetwork


def load(name: str, weights: str | Path) -> FeatureNetwork:
    """Returns the network with the weights of a file; its texts' is read when they are.

    Args:
      name: e.g. clip_vitl14_336.
      weights: FILE or FILE@SHA256, a safetensors file; config.json beside it is heeded.

    Raises:
      UserError: the file is missing, damaged, or another than said.
    """
    file = WeightFile.named(weights)
    size = clip.image_size(file.shapes())
    arrays, digest = file.read("vis")  # vision_model and visual_projection
    params = clip.image_params(arrays)
    width = params["pre_layrnorm.bias"].shape[0]
    about = clip.geometry(file.settings(), "vision", width)
    return FeatureNetwork(
        name=name,
        dim=params["visual_projection.weight"].shape[0],
        params=params,
        apply=functools.partial(clip.image_features, about=about),
        classify=None,
        provenance={
            "network": name,
            "weights_sha256": digest,
            "resize": f"bicubic {size} of Pillow",
        },
        resize=size,
        texts=lambda texts: text_encoders.load("clip", str(weights)).vectors(texts),
    )
