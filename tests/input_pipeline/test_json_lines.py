"""Lines of a run folder: whatever stands in them, what reads them gets numbers or nothing."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from input_pipeline.files import is_number, last_line, read_lines
from t2igan.report import curves, sections
from t2igan.sweep import results as sweep_results
from t2igan.sweep.comparison import Comparison
from t2igan.sweep.trials import Trial

NUMBERS = st.integers() | st.floats() | st.just(10**400) | st.booleans() | st.none() | st.text()
VALUES = st.recursive(
    NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)
NAMES = st.sampled_from(
    ["step", "loss/d", "loss/g", "images_per_sec", "metric", "estimate", "references", "provenance"]
)
ENTRIES = st.dictionaries(NAMES | st.text(), VALUES)
quick = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@quick
@given(parts=st.lists(st.binary() | st.just(b'{"step": 3}') | st.just(b"[" * 100_000)))
def test_any_bytes_are_lines_or_passed_over(tmp_path, parts):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(parts))
    found = read_lines(path)
    assert all(isinstance(line, dict) for line in found)
    assert found.count({"step": 3}) >= parts.count(b'{"step": 3}')
    assert isinstance(last_line(path), dict)


@quick
@given(entries=st.lists(ENTRIES))
@example(entries=[{"step": 2.0**53 + 4, "": 0}])
@example(entries=[{"step": -1.0}])
def test_any_values_are_drawn_or_passed_over(tmp_path, entries):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    lines = read_lines(path)
    main, rest = curves.charts(lines)
    if main or rest:
        sections.curves(main, rest)
    sections.evaluation(lines)
    trial = Trial("trial_000", {}, ConfigDict(), str(tmp_path), ())
    outcome = sweep_results._outcome(trial, Comparison("loss/d", "min", True))
    assert all(is_number(value) for value in outcome.last.values())
    assert "step" not in outcome.last
    assert trial.last_step() >= min(0, outcome.step)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("-inf"), 10**400, [1]])
def test_what_is_no_number(value):
    assert not is_number(value)
