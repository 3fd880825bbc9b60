"""Writes what torch-fidelity and torchmetrics make of made-up features, for tests without them.

Run where torch, torch-fidelity and torchmetrics are installed:

    python scripts/golden/statistics.py tests/t2igan/metrics/statistics/golden.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Returns two made-up clouds of features, [220, 16] "generated" and [260, 16] "real"."""
    # The legacy generator: its numbers are promised never to change.
    numbers = np.random.RandomState(7)
    mix = numbers.normal(size=(16, 16)) / 4
    fake = numbers.normal(size=(220, 16)) @ mix + 0.2
    real = numbers.normal(size=(260, 16)) @ mix
    return np.abs(fake).astype(np.float32), np.abs(real).astype(np.float32)


def peers() -> dict[str, float]:
    """Returns every number, by peer and metric."""
    import torch
    import torchmetrics
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
    from torchmetrics.image import fid, kid

    fake, real = clouds()
    mine, theirs = torch.from_numpy(fake), torch.from_numpy(real)
    statistics = [metric_fid.fid_features_to_statistics(rows) for rows in (mine, theirs)]
    kernel = {"kid_subsets": 1, "kid_subset_size": 220, "verbose": False}
    score = metric_isc.isc_features_to_metric(mine * 3, splits=7, shuffle=False)
    within = metric_prc.prc_features_to_metric(mine, theirs, prc_neighborhood=3, verbose=False)
    wide = [rows.double() for rows in (mine, theirs)]
    moments = [part for rows in wide for part in (rows.mean(0), rows.T.cov())]
    hits = torchmetrics.retrieval.RetrievalHitRate(top_k=5)
    similarity, count = wide[0] @ wide[1][:220].T, 220
    rows = torch.arange(count)[:, None].expand(count, count)
    found = hits(similarity.flatten(), torch.eye(count).bool().flatten(), rows.flatten())
    return {
        "torch_fidelity/fid": metric_fid.fid_statistics_to_metric(*statistics, False)[
            metric_fid.KEY_METRIC_FID
        ],
        "torch_fidelity/kid": metric_kid.kid_features_to_metric(wide[0], wide[1][:220], **kernel)[
            metric_kid.KEY_METRIC_KID_MEAN
        ],
        "torch_fidelity/isc_mean": score[metric_isc.KEY_METRIC_ISC_MEAN],
        "torch_fidelity/isc_std": score[metric_isc.KEY_METRIC_ISC_STD],
        "torch_fidelity/precision": within[metric_prc.KEY_METRIC_PRECISION],
        "torch_fidelity/recall": within[metric_prc.KEY_METRIC_RECALL],
        "torchmetrics/fid": float(fid._compute_fid(*moments)),
        "torchmetrics/kid": float(kid.poly_mmd(wide[0], wide[1][:220])),
        "torchmetrics/hit_rate_at_5": float(found),
    }


def main() -> None:
    """Writes the numbers."""
    Path(sys.argv[1]).write_text(json.dumps(peers(), indent=1) + "\n")


if __name__ == "__main__":
    main()
