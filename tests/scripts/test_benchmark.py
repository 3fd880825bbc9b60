"""The benchmark: its quick form passes, and fails where a fast form is not the plain one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from input_pipeline.errors import UserError
from t2igan.models.conv import dispatch as fast_forms

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    from benchmarks import forms

    return forms


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    from benchmarks import contest

    return contest


def _benchmark(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTS / "benchmark.py", *flags],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_quick_form_holds_every_form_and_a_step_to_the_plain_ones(tmp_path: Path) -> None:
    out = tmp_path / "quick.json"
    run = _benchmark("--quick", f"--json={out}")
    assert run.returncode == 0, run.stderr
    result = json.loads(out.read_text())
    names = " ".join(result["forms"])
    assert all(form in names for form in (*fast_forms.UPSAMPLE_FORMS, *fast_forms.CONV_FORMS))
    # Other sums, so other rounding: a comparison of a form with itself would give zero.
    assert 0 < max(result["forms"].values()) < 5e-6
    assert 0 < max(result["step"].values()) < 1e-4
    assert result["machine"]["versions"]["jax"]


@pytest.mark.parametrize("wrong", ["value", "gradient"])
def test_a_form_that_computes_something_else_fails(
    forms: Any, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    import jax

    right = fast_forms.UPSAMPLE_FORMS["matmul"]

    def broken(x: jax.Array, kernel: jax.Array) -> jax.Array:
        if wrong == "value":
            return right(x, kernel).at[0, 0, 0, 0].add(0.01)
        return right(x, 0.999 * kernel + 0.001 * jax.lax.stop_gradient(kernel))

    monkeypatch.setitem(fast_forms.UPSAMPLE_FORMS, "matmul", broken)
    monkeypatch.setattr(forms, "layers", lambda width: [forms.Layer("up", 4, 8, 4, 3, 0)])
    with pytest.raises(UserError, match="up, matmul: differs from the plain form"):
        forms.check()


def test_a_competitor_that_computes_something_else_is_not_timed(contest: Any) -> None:
    want = {"fake": np.array([1.0, -4.0]), "loss/d": np.array(2.0)}
    near = {"fake": np.array([1.0, -4.001]), "loss/d": np.array(2.0)}
    np.testing.assert_allclose(contest.differences(near, want)["fake"], 0.00025, rtol=1e-3)
    contest.hold("near", contest.differences(near, want))
    far = near | {"loss/d": np.array(2.01)}
    with pytest.raises(
        UserError, match=r"far computes another function: loss/d differs by 5.00e-03"
    ):
        contest.hold("far", contest.differences(far, want))
    with pytest.raises(UserError, match="another function"):
        contest.hold("nan", contest.differences(near | {"loss/d": np.array(np.nan)}, want))


def test_ratios_are_of_neighbors_in_time_and_only_float32_counts(contest: Any) -> None:
    found = {
        "t2igan": {"exact": True, "seconds": [1.0, 2.0, 1.0]},
        "torch eager": {"exact": True, "seconds": [3.0, 6.0, 3.0]},
        "torch compile": {"exact": True, "seconds": [2.0, 5.0, 2.0]},
        "torch bfloat16": {"exact": False, "seconds": [0.5, 1.0, 0.5]},
    }
    result = contest.summary(found, 32)
    assert result["torch eager"]["ratio"] == 3.0  # though the machine was slow for one round
    assert result["torch compile"]["ratio_most"] == 2.5
    assert result["t2igan"]["images_per_sec"] == 32.0
    assert contest.rivals(result) == {"torch": ("torch compile", 2.0)}


def test_competitors_compare_equal_forms_in_processes_of_their_own(tmp_path: Path) -> None:
    """Sampling by two forms of this project: all of a contest but the other frameworks."""
    out = tmp_path / "result.json"
    flags = ["--what=sample", "--sample_batch_sizes", "2", "--only=t2igan,t2igan plain"]
    run = _benchmark(*flags, "--rounds=2", "--turn_seconds=0.01", f"--json={out}")
    assert run.returncode == 0, run.stderr
    both = json.loads(out.read_text())["sample 2"]["competitors"]
    assert [len(one["seconds"]) for one in both.values()] == [2, 2]
    assert both["t2igan plain"]["differences"]["sample"] < 5e-4
    assert all(one["memory_bytes"] > 2**20 for one in both.values())
    assert "| t2igan plain" in run.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--what=trian"], "--what=trian: must be of train, sample"),
        (["--only=tensorflow"], "no competitor 'tensorflow'; there are t2igan, "),
        (["--only=t2igan plain"], "--only: name t2igan first"),
    ],
)
def test_mistakes_get_one_line(flags: list[str], message: str) -> None:
    run = _benchmark(*flags)
    assert run.returncode == 2
    assert message in run.stderr
    assert run.stderr.count("\n") == 1


def test_missing_peers_are_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    from benchmarks import competitors

    everyone = competitors.everyone("cpu")
    pythons = {"jax": sys.executable, "torch": "/no/such/python", "keras": sys.executable}
    missing = competitors.missing(everyone, pythons)
    assert missing["torch"].startswith("/no/such/python: No such file")
    assert "jax" not in missing
