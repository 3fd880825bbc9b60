"""Learning rates by step, beside numpy's."""

import numpy as np
import pytest

from t2igan.training.optimizers import learning_rate

_PEAK, _STEPS = 0.4, 100
_FALLS = {
    "constant": np.ones_like,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + np.cos(np.pi * done)),
}


@pytest.mark.parametrize("kind", _FALLS)
@pytest.mark.parametrize("warmup", [0, 20])
@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.1, 10), (0.6, 60), (1.0, 100)])
def test_the_rate_rises_is_held_and_falls(kind: str, warmup: int, share: float, held: int) -> None:
    steps = np.arange(_STEPS)
    start = max(warmup, held)
    done = np.interp(steps, [start, max(start + 1, _STEPS)], [0.0, 1.0])
    expected = _PEAK * _FALLS[kind](done)
    if warmup:
        rise = np.interp(steps, [0, warmup], [_PEAK / warmup, _PEAK])
        expected = np.minimum(rise, expected)
    schedule = learning_rate(kind, _PEAK, warmup, _STEPS, share)
    np.testing.assert_allclose([schedule(step) for step in steps], expected, rtol=1e-5, atol=1e-7)
