"""`.npz` files: arrays come back, and damage, bombs and pickles are refused in one way."""

import io
import json
import zipfile

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.files import read_npz
from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary
from t2igan.backbones import inception_weights
from t2igan.metrics.matcher import model as matcher

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b/c": np.array("text")}
quick = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def _npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _zipped(data, name="a.npy", method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def _npy(header, data=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


WHOLE = _npz(**ARRAYS)


def test_arrays_come_back(tmp_path):
    (tmp_path / "x.npz").write_bytes(WHOLE)
    found = read_npz(tmp_path / "x.npz", 1 << 20)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize(
    "data",
    [
        _zipped(bytes(2 << 20)),  # a bomb: 2 MiB of zeros in 2 KB
        _zipped(_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }")),
        _zipped(_npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n")),
        _zipped(_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }")),
        _zipped(_npy("(")),
        _zipped(b"no array"),
        WHOLE[:-30],
        b"",
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, data):
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"\S"):
        read_npz(tmp_path / "x.npz", 1 << 20)


@quick
@given(place=st.integers(0, len(WHOLE) - 1), put=st.binary(max_size=6), cut=st.booleans())
def test_any_damage_is_refused_or_harmless(tmp_path, place, put, cut):
    rest = b"" if cut else WHOLE[place + len(put) :]
    (tmp_path / "x.npz").write_bytes(WHOLE[:place] + put + rest)
    try:
        found = read_npz(tmp_path / "x.npz", 1 << 20)
    except ValueError:
        return
    for name in ARRAYS.keys() & found.keys():
        np.testing.assert_array_equal(found[name], ARRAYS[name])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A matcher's file, its arrays and what it says of itself."""
    table = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    features = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    params = matcher.init(jax.random.key(0), table, features)
    meta = matcher.describe(params, Vocabulary((*SPECIAL_WORDS, "a", "red", "dog")), 6, {"n": 5})
    path = tmp_path_factory.mktemp("matcher") / "matcher.npz"
    matcher.Matcher(params, meta).save(path)
    return path, {name: np.asarray(array) for name, array in params.items()}, meta


def test_a_matcher_comes_back(saved):
    path, params, meta = saved
    found = matcher.load(path)
    assert found.meta == meta
    np.testing.assert_array_equal(found.params["image/1"], params["image/1"])


@quick
@given(
    fields=st.dictionaries(
        st.sampled_from(["format", "vocabulary", "caption_length", "trained", "weights_sha256"]),
        st.none()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.text() | st.integers())
        | st.dictionaries(st.text(), st.integers()),
        min_size=1,
    )
)
def test_whatever_a_matcher_says_of_itself_it_is_one_or_a_clear_line(tmp_path, saved, fields):
    _, params, meta = saved
    path = tmp_path / "matcher.npz"
    np.savez(path, meta=np.array(json.dumps(meta | fields)), **params)
    try:
        matcher.load(path)
    except UserError as error:
        assert "damaged, or no matcher" in str(error)  # noqa: PT017 - a load that works is right too


@quick
@given(data=st.binary(max_size=80))
def test_any_bytes_are_no_matcher_and_no_inception_weights(tmp_path, data):
    path = tmp_path / "x.npz"
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        matcher.load(path)
    with pytest.raises(UserError, match="damaged"):
        inception_weights.read(path)
