"""The FID Inception: torch-fidelity's numbers on made-up weights; only the published file loads."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.files import sha256
from t2igan.backbones import inception_weights
from t2igan.metrics.features import inception

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "inception_golden.json").read_text())


def _script():
    path = HERE.parents[3] / "scripts" / "golden" / "inception.py"
    spec = importlib.util.spec_from_file_location("inception_golden", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network():
    state = _script().made_up_state(GOLDEN["shapes"])
    return inception.network(inception.params_from(state), "made up")


@pytest.fixture(scope="module")
def outputs(network):
    features = np.concatenate([network.features(image[None]) for image in _script().pictures()])
    return features, network.logits(features)


def test_features_and_logits_are_torch_fidelitys(outputs):
    every = GOLDEN["every"]
    for ours, theirs in zip(outputs, (GOLDEN["features"], GOLDEN["logits"]), strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours[:, ::every] / scale, np.array(theirs) / scale, atol=1e-5)


def test_every_feature_against_torch_fidelity_itself(network, outputs):
    pytest.importorskip("torch_fidelity", reason="needs torch and torch-fidelity")
    script = _script()
    theirs = script.torch_network(script.made_up_state(GOLDEN["shapes"]))
    for i, image in enumerate(script.pictures()):
        features, logits = script.torch_outputs(theirs, image)
        np.testing.assert_allclose(outputs[0][i], features, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(outputs[1][i], logits, atol=1e-4, rtol=1e-4)


def test_resizing_reads_corners_at_the_origin_without_antialiasing():
    ramp = np.tile(np.arange(64, dtype=np.float32)[None, None, :, None], (1, 64, 1, 3))
    rows = np.asarray(inception.resize(ramp))[0, 0, :, 0]
    np.testing.assert_allclose(rows, np.minimum(np.arange(299) * 64 / 299, 63), atol=1e-5)
    stripes = np.tile(np.arange(598, dtype=np.float32)[None, None, :, None] % 2, (1, 598, 1, 3))
    np.testing.assert_array_equal(np.asarray(inception.resize(stripes)), 0.0)


def test_weights_that_are_not_there_are_explained(tmp_path, monkeypatch):
    monkeypatch.delenv(inception_weights.VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(UserError, match="torch-fidelity"):
        inception.load()
    with pytest.raises(UserError, match=r"no Inception weights at .*no\.pth"):
        inception.load(tmp_path / "no.pth")


def test_other_weights_are_refused(tmp_path):
    other = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    other.write_bytes(b"not these")
    with pytest.raises(UserError, match="SHA-256"):
        inception.load(other)
    with pytest.raises(UserError, match="SHA-256"):
        inception_weights.convert(other, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_converted_weights_read_back_and_a_changed_number_is_noticed(tmp_path, monkeypatch):
    state = {"a.conv.weight": np.arange(6.0).reshape(2, 3), "a.bn.bias": np.ones(2)}
    monkeypatch.setattr(inception_weights, "WEIGHTS_SHA256", sha256(__file__))
    monkeypatch.setattr(inception_weights.torch_checkpoint, "read", lambda path, *_: state)
    out = tmp_path / "cache" / "weights.npz"
    inception_weights.convert(Path(__file__), out)
    back, digest = inception_weights.read(out)
    assert digest == inception_weights.WEIGHTS_SHA256
    assert back.keys() == state.keys()
    np.testing.assert_array_equal(back["a.conv.weight"], state["a.conv.weight"])
    marks = dict(np.load(out))
    marks["a.bn.bias"] = np.zeros(2)
    np.savez(out, **marks)
    with pytest.raises(UserError, match="run the conversion again"):
        inception_weights.read(out)
    out.write_bytes(out.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        inception_weights.read(out)
