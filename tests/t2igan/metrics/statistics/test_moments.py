"""Streaming equals all at once, however the rows are split and whoever saw them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2igan.metrics.statistics.moments import Moments, moments, moments_of


def rows_of(count, dim=5, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, (count, dim)).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 3))
def test_any_batches_give_numpys_mean_and_covariance(sizes, seed):
    rows = rows_of(sum(sizes) + 2, seed=seed)
    batches = np.split(rows, np.cumsum(sizes))  # The last batch is a short one.
    found = moments(batches, 5)
    assert found.count == len(rows)
    np.testing.assert_allclose(found.mean, rows.mean(0, dtype=np.float64), rtol=1e-12)
    expected = np.cov(rows.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(found.covariance(), expected, rtol=1e-9, atol=1e-12)


def test_shares_of_several_devices_merge_into_the_whole():
    rows = rows_of(101)
    total = Moments(5)
    for share in (rows[::4], rows[1::4], rows[2::4], rows[3::4], rows[:0]):
        total.merge(moments_of(share, block=7))
    whole = moments_of(rows)
    np.testing.assert_allclose(total.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(total.scatter, whole.scatter, rtol=1e-10)


def test_a_far_off_mean_costs_no_precision():
    rows = rows_of(500).astype(np.float64)
    far = moments(np.array_split(rows + 1e8, 9), 5).covariance()
    np.testing.assert_allclose(far, np.cov(rows, rowvar=False), rtol=1e-6)


def test_one_row_has_no_covariance():
    assert moments_of(rows_of(1)).covariance() == pytest.approx(np.zeros((5, 5)))
