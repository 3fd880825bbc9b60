"""Distances between clouds: scipy's numbers, known cases, and honest intervals."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from t2igan.metrics.statistics import kernel_distance as kernels
from t2igan.metrics.statistics.bootstrap import interval, mean_interval
from t2igan.metrics.statistics.frechet_distance import frechet_distance, frechet_resamples
from t2igan.metrics.statistics.moments import moments_of


def cloud(count, dim, seed, shift=0.0):
    numbers = np.random.default_rng(seed)
    return numbers.normal(size=(count, dim)) @ numbers.normal(size=(dim, dim)) + shift


def by_scipy(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b - 2 * root)


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 24), st.integers(0, 5), st.floats(0, 4))
def test_frechet_distance_is_scipys(dim, seed, shift):
    x, y = cloud(4 * dim, dim, seed), cloud(5 * dim, dim, seed + 50, shift)
    ours = frechet_distance(moments_of(x), moments_of(y))
    assert ours == pytest.approx(by_scipy(x, y), rel=1e-6)


def test_frechet_distance_of_known_normals():
    x = cloud(50, 6, 0)
    assert frechet_distance(moments_of(x), moments_of(x)) == pytest.approx(0.0, abs=1e-8)
    moved = frechet_distance(moments_of(x), moments_of(x + 3.0))
    assert moved == pytest.approx(6 * 9.0, rel=1e-9)
    wider = frechet_distance(moments_of(x), moments_of(2 * x - x.mean(0)))
    assert wider == pytest.approx(np.trace(np.cov(x, rowvar=False)), rel=1e-9)


def test_fewer_rows_than_features_do_no_harm():
    x, y = cloud(20, 40, 1), cloud(30, 40, 2)
    ours = frechet_distance(moments_of(x), moments_of(y))
    centred = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (x, y)]
    nuclear = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    traces = sum(np.sum(rows**2) for rows in centred)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + traces - 2 * nuclear
    assert ours == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("rows", "dim"), [(30, 64), (60, 40)])
def test_a_resample_is_the_distance_of_the_rows_it_repeats(rows, dim):
    x, y = cloud(rows, dim, 3), cloud(rows + 2, dim, 4, 0.5)
    found = frechet_resamples(x, y, replicates=3, seed=9)
    mine, theirs = np.random.default_rng(9), np.random.default_rng(10)
    for value in found:
        again_x = x[mine.integers(0, len(x), len(x))]
        again_y = y[theirs.integers(0, len(y), len(y))]
        expected = frechet_distance(moments_of(again_x), moments_of(again_y))
        assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_with_many_rows_the_linear_resamples_follow_the_exact_ones(shift):
    x, y = cloud(600, 8, 3), cloud(500, 8, 3, shift)
    found = frechet_resamples(x, y, replicates=80, seed=9)
    mine, theirs = np.random.default_rng(9), np.random.default_rng(10)
    exact = []
    for _ in found:
        again_x = x[mine.integers(0, len(x), len(x))]
        again_y = y[theirs.integers(0, len(y), len(y))]
        exact.append(frechet_distance(moments_of(again_x), moments_of(again_y)))
    assert np.corrcoef(found, exact)[0, 1] > 0.9
    assert found.std() == pytest.approx(np.std(exact), rel=0.2)


def test_the_interval_is_as_wide_as_new_images_would_move_the_number():
    y = cloud(400, 4, 77)
    draws = [cloud_like(seed) for seed in range(60)]
    spread = np.std([frechet_distance(moments_of(x), moments_of(y)) for x in draws])
    resamples = frechet_resamples(draws[0], y[:], replicates=60, seed=0)
    low, high = interval(frechet_distance(moments_of(draws[0]), moments_of(y)), resamples)
    # The resamples move y as well: at least the spread from x alone, at most about twice it.
    assert 0.6 * spread < (high - low) / 4 < 3 * spread


def cloud_like(seed):
    numbers = np.random.default_rng(1000 + seed)
    return numbers.normal(size=(200, 4)) + 1.0


def test_kernel_distance_is_a_double_loop():
    x, y = cloud(7, 3, 5), cloud(9, 3, 6)
    kernel = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    xx = np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(9) for j in range(9) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert kernels.kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-9)


def test_kernel_distance_has_no_bias():
    same = [kernels.kernel_distance(cloud_like(i), cloud_like(i + 500)) for i in range(80)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))


def test_subsets_and_their_spread():
    x, y = cloud(60, 4, 1), cloud(80, 4, 2)
    values = kernels.subset_kernel_distances(x, y, subsets=30, size=40, seed=0)
    assert values.shape == (30,)
    assert values.std() > 0
    whole = kernels.subset_kernel_distances(x[:40], y[:40], subsets=2, size=40, seed=0)
    np.testing.assert_allclose(whole, kernels.kernel_distance(x[:40], y[:40]), rtol=1e-12)


def test_kernel_resamples_leave_out_a_row_with_itself():
    x, y = cloud(30, 3, 1), cloud(30, 3, 2)
    found = kernels.kernel_resamples(x, y, replicates=400, seed=0)
    middle, spread = found.mean(), found.std() / np.sqrt(len(found))
    assert abs(middle - kernels.kernel_distance(x, y)) < 4 * spread


def test_kernel_resamples_in_blocks(monkeypatch):
    x, y = cloud(90, 3, 1), cloud(95, 3, 2)
    monkeypatch.setattr(kernels, "BLOCK", 30)
    found = kernels.kernel_resamples(x, y, replicates=200, seed=0)
    blocks = [kernels.kernel_distance(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    assert found.mean() == pytest.approx(np.mean(blocks), abs=4 * found.std() / np.sqrt(200))


def test_the_interval_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).integers(0, 2, 400)
    low, high = mean_interval(values, seed=1)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert low < values.mean() < high
