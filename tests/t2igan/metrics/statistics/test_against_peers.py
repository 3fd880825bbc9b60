"""The same features give the numbers of torch-fidelity and torchmetrics."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from t2igan.metrics.statistics.frechet_distance import frechet_distance
from t2igan.metrics.statistics.inception_score import class_probabilities, inception_score
from t2igan.metrics.statistics.kernel_distance import kernel_distance
from t2igan.metrics.statistics.manifolds import manifolds
from t2igan.metrics.statistics.moments import moments_of
from t2igan.metrics.statistics.retrieval import recall_at

HERE = Path(__file__).parent


def _script():
    path = HERE.parents[3] / "scripts" / "golden" / "statistics.py"
    spec = importlib.util.spec_from_file_location("statistics_golden", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["kept numbers", "the peers themselves"])
def peers(request):
    if request.param == "kept numbers":
        return json.loads((HERE / "golden.json").read_text())
    for name in ("torch_fidelity", "torchmetrics"):
        pytest.importorskip(name, reason=f"needs {name}")
    return _script().peers()


@pytest.fixture(scope="module")
def clouds():
    return _script().clouds()


def test_frechet_distance(peers, clouds):
    ours = frechet_distance(*(moments_of(rows) for rows in clouds))
    assert ours == pytest.approx(peers["torch_fidelity/fid"], rel=1e-6)
    assert ours == pytest.approx(peers["torchmetrics/fid"], rel=1e-6)


def test_kernel_distance(peers, clouds):
    ours = kernel_distance(clouds[0], clouds[1][:220])
    assert ours == pytest.approx(peers["torch_fidelity/kid"], rel=1e-6)
    assert ours == pytest.approx(peers["torchmetrics/kid"], rel=1e-6)


def test_inception_score(peers, clouds):
    scores = inception_score(class_probabilities(clouds[0] * 3), splits=7)
    assert scores.mean() == pytest.approx(peers["torch_fidelity/isc_mean"], rel=1e-6)
    assert scores.std() == pytest.approx(peers["torch_fidelity/isc_std"], rel=1e-5)


def test_precision_and_recall(peers, clouds):
    found = manifolds(real=clouds[1], fake=clouds[0])
    assert found.precision.mean() == pytest.approx(peers["torch_fidelity/precision"], rel=1e-6)
    assert found.recall.mean() == pytest.approx(peers["torch_fidelity/recall"], rel=1e-6)


def test_recall_at_5(peers, clouds):
    texts, images = (rows[:220].astype(np.float64) for rows in clouds)
    found = recall_at(texts, images, ks=(5,))
    assert found[5].mean() == pytest.approx(peers["torchmetrics/hit_rate_at_5"], rel=1e-6)
