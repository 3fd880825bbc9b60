"""The share of variance that a linear model leaves, where it is known."""

import numpy as np
import pytest

from t2igan.metrics.statistics.unexplained import unexplained_share


def test_it_is_the_noises_share_where_the_rest_is_linear():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2000, 8))
    signal = inputs @ rng.normal(size=(8, 5)) + 3.0
    noise = rng.normal(size=signal.shape) * signal.std(0)
    assert unexplained_share(inputs, signal + noise) == pytest.approx(0.5, abs=0.03)
    assert unexplained_share(inputs, signal) < 1e-3


def test_nothing_is_explained_by_what_has_no_part_in_it_even_with_many_inputs():
    rng = np.random.default_rng(1)
    inputs, outputs = rng.normal(size=(120, 300)), rng.normal(size=(120, 4))
    assert unexplained_share(inputs, outputs) > 0.95
    assert np.isnan(unexplained_share(inputs, np.ones((120, 4))))
