"""Numbers that count images: neighbors, manifolds, classes, captions, variance."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from t2igan.metrics.statistics import neighbors as neighbors
from t2igan.metrics.statistics.inception_score import inception_score, inception_score_resamples
from t2igan.metrics.statistics.manifolds import manifolds
from t2igan.metrics.statistics.retrieval import folds, r_precision, recall_at
from t2igan.metrics.statistics.variance_shares import variance_shares

NUMBERS = np.random.default_rng(3)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK", 7)


def test_neighbors_are_scipys(small_blocks):
    x, y = NUMBERS.normal(size=(23, 5)), NUMBERS.normal(size=(31, 5)) + 100
    distances, indices = neighbors.nearest(x, y)
    table = cdist(x, y)
    np.testing.assert_array_equal(indices, table.argmin(1))
    np.testing.assert_allclose(distances, table.min(1), rtol=1e-9)
    np.testing.assert_allclose(
        neighbors.radii(y, 3), np.sort(cdist(y, y) ** 2, axis=1)[:, 3], rtol=1e-9
    )


def test_repeated_rows_are_their_own_neighbors(small_blocks):
    rows = np.repeat(NUMBERS.normal(size=(3, 4)), 4, axis=0)
    np.testing.assert_allclose(neighbors.radii(rows, 3), 0.0, atol=1e-12)


def test_copies_are_nearer_than_held_out_images():
    held_out = NUMBERS.uniform(1, 2, 500)
    assert neighbors.share_nearer(held_out, held_out) == pytest.approx(0.5)
    assert neighbors.share_nearer(np.zeros(9), held_out) == 1.0
    assert neighbors.share_nearer(np.full(9, 3.0), held_out) == 0.0


def test_manifolds_are_the_definitions(small_blocks):
    real, fake = NUMBERS.normal(size=(40, 3)), NUMBERS.normal(size=(30, 3)) + 0.8
    found = manifolds(real, fake)
    across = cdist(real, fake)

    def radius(rows, k):
        return np.sort(cdist(rows, rows), axis=1)[:, k]

    wide, near = across <= radius(real, 3)[:, None], across <= radius(real, 5)[:, None]
    np.testing.assert_array_equal(found.precision, wide.any(0))
    np.testing.assert_array_equal(found.recall, (across <= radius(fake, 3)[None]).any(1))
    np.testing.assert_allclose(found.density, near.sum(0) / 5)
    np.testing.assert_array_equal(found.coverage, near.any(1))


def test_collapse_shows_in_recall_and_coverage_not_in_precision():
    real = NUMBERS.normal(size=(300, 4))
    collapsed = real[:1] * 0.1 + NUMBERS.normal(size=(300, 4)) * 0.01
    found = manifolds(real, collapsed)
    assert found.precision.mean() > 0.95
    assert found.recall.mean() < 0.05
    assert found.coverage.mean() < 0.3


def test_inception_score_of_known_answers():
    sure = np.tile(np.eye(5), (20, 1))
    np.testing.assert_allclose(inception_score(sure, splits=2), 5.0)
    np.testing.assert_allclose(inception_score(np.full((100, 5), 0.2)), 1.0)
    resamples = inception_score_resamples(sure, 20, seed=0, splits=2)
    assert np.all(resamples <= 5.0 + 1e-9)
    assert resamples.std() > 0


def test_r_precision_tells_matches_from_chance():
    images = unit(NUMBERS.normal(size=(300, 32)))
    assert r_precision(images, images, seed=0).mean() == 1.0
    others = unit(NUMBERS.normal(size=(300, 32)))
    assert r_precision(images, others, seed=0).mean() < 0.06
    constant = np.ones((300, 32)) / np.sqrt(32)
    assert r_precision(images, constant, seed=0) == pytest.approx(np.full(300, 0.01))


def test_captions_of_the_same_image_are_no_distractors():
    images = np.repeat(unit(NUMBERS.normal(size=(60, 8))), 5, axis=0)
    groups = np.repeat(np.arange(60), 5)
    assert r_precision(images, images, seed=0, groups=groups).mean() == 1.0
    assert r_precision(images, images, seed=0).mean() < 1.0


def test_folds_are_means_over_tenths():
    mean, spread = folds(np.repeat([0.0, 1.0], 50))
    assert (mean, spread) == (0.5, 0.5)


def test_recall_is_by_hand():
    images = np.eye(4)
    texts = np.array([[1, 0, 0, 0], [1, 0.5, 0, 0], [3, 2, 1, 0], [1, 1, 1, 1.0]])
    found = recall_at(texts, images, ks=(1, 2))
    np.testing.assert_allclose(found[1], [1, 0, 0, 1 / 4])
    np.testing.assert_allclose(found[2], [1, 1, 0, 2 / 4])


def test_galleries_keep_their_size_whatever_the_count():
    texts, images = (unit(NUMBERS.normal(size=(2300, 8))) for _ in range(2))
    chance = recall_at(texts, images, ks=(10,), gallery=1000)[10]
    assert chance.shape == (2300,)
    assert chance.mean() == pytest.approx(10 / 1000, abs=0.006)


def test_variance_shares_recover_what_was_put_in():
    text = NUMBERS.normal(size=(400, 1, 6)) * 2
    noise = NUMBERS.normal(size=(400, 5, 6))
    shares = variance_shares(text + noise)
    assert shares == pytest.approx((0.8, 0.2), abs=0.02)
    assert variance_shares(noise)[0] < 0.02
    assert variance_shares(np.broadcast_to(text, (400, 5, 6))) == pytest.approx((1.0, 0.0))
    assert variance_shares(np.zeros((3, 2, 4))) == (0.0, 0.0)
