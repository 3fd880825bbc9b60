"""The plot: round ticks that hold the data, curves where their numbers say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2igan.report.line_plot import line_plot, ticks

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(NUMBERS, st.floats(1e-3, 1e6))
def test_ticks_enclose_the_span_evenly(low: float, length: float) -> None:
    high = low + length
    found = np.array(ticks(low, high))
    slack = 1e-6 * length
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 10
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-6)


def test_a_higher_value_is_drawn_higher() -> None:
    low = np.asarray(line_plot({"a": [(0, 0.0), (10, 1.0)]}, x_label="x", y_label="y"))
    blue = (low[..., 2].astype(int) - low[..., 0] > 100)[:360]  # the curve, not its legend
    rows, columns = np.nonzero(blue)
    assert np.corrcoef(rows, columns)[0, 1] < -0.99


@pytest.mark.parametrize("value", [0.0, 1e-12, -3.5, 1e9])
def test_a_flat_curve_and_a_single_point_are_drawn(value: float) -> None:
    picture = line_plot({"a": [(5, value)], "b": [(5, value), (6, value)]}, x_label="", y_label="")
    assert picture.mode == "RGB"


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no points"):
        line_plot({"a": []}, x_label="", y_label="")
