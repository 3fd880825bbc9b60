"""Weights of a user's file: pinned by their hash, read without running code."""

import hashlib
import pickle

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from input_pipeline.errors import UserError
from t2igan.backbones.weight_files import WeightFile


@pytest.fixture
def file(tmp_path):
    arrays = {
        "a.half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "a.brain": np.arange(3, dtype=ml_dtypes.bfloat16),
        "a.places": np.arange(4),
        "b.full": np.float32([1.5]),
    }
    save_file(arrays, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_every_float_type_is_read_as_float32_and_integers_are_left_out(file):
    arrays, digest = WeightFile.named(file).read()
    assert set(arrays) == {"a.half", "a.brain", "b.full"}
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    np.testing.assert_array_equal(arrays["a.half"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["a.brain"], [0, 1, 2])
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert set(WeightFile.named(file).read("b.")[0]) == {"b.full"}
    assert WeightFile.named(file).shapes()["a.half"] == (2, 3)


def test_a_folder_stands_for_the_file_in_it(file):
    assert WeightFile.named(file.parent).path == file


def test_a_pin_is_compared_before_anything_is_read(file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for pin in (digest, digest[:8].upper()):
        assert WeightFile.named(f"{file}@{pin}").read()[1] == digest
    with pytest.raises(UserError, match=r"SHA-256 .* is not 00000000"):
        WeightFile.named(f"{file}@00000000").read()


def test_what_is_not_a_safetensors_file_is_said(tmp_path, file):
    with pytest.raises(UserError, match="no such file"):
        WeightFile.named(tmp_path / "none.safetensors")
    code = tmp_path / "weights.pth"
    code.write_bytes(pickle.dumps({}))
    with pytest.raises(UserError, match="hold numbers and no code"):
        WeightFile.named(code)
    data = file.read_bytes()
    for damaged in (b"", data[:20], data[:-1], b"\xff" * 8 + data[8:]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="not a safetensors file"):
            WeightFile.named(file).read()
        with pytest.raises(UserError, match="not a safetensors file"):
            WeightFile.named(file).shapes()
