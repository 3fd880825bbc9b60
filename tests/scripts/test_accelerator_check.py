"""The accelerator check on a processor, and the tables of what it finds."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "accelerator_check.py"


@pytest.fixture(scope="module")
def tables():
    folder = ROOT / "scripts" / "tables"
    spec = importlib.util.spec_from_file_location("accelerator_tables", folder / "accelerator.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        spec.loader.exec_module(module)
    return module


def _check(out, *flags):
    command = [sys.executable, "-P", SCRIPT, f"--json={out}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, json.loads(out.read_text())


def test_each_part_is_measured_or_says_why_not(tmp_path, tables):
    flags = ["--only=configs,quickstart", "--configs=quickstart", "--width=4", "--batch_sizes", "4"]
    done, found = _check(tmp_path / "accelerator-here.json", *flags, "--quickstart_steps=2")
    assert done.returncode == 0, done.stderr
    rows = found["parts"]["configs"]["found"]
    assert [row["dtype"] for row in rows] == ["float32", "bfloat16"]
    assert all(row["images_per_sec"] > 0 for row in rows)
    quickstart = found["parts"]["quickstart"]["found"]
    assert 0 <= quickstart["metrics"]["accuracy_all"] <= 1
    page = tables.tables([found])
    assert f"### {found['machine']['device']}" in page
    assert "| quickstart | float32 | " in page


def test_a_part_without_time_is_named_and_fails_the_check(tmp_path):
    done, found = _check(tmp_path / "none.json", "--only=forms,input", "--minutes=0.01")
    assert done.returncode == 1
    assert found["parts"]["input"] == {"error": "no time was left"}


def test_a_table_has_each_other_part_in_a_line(tables):
    machine = {"device": "Some GPU", "processor": "some CPU", "versions": {"jax": "0.10"}}
    step = {"rate": 40.0, "matrix_rates": {"float32": 50.0, "bfloat16": 100.0}}
    wait = {"part_of_step": 0.01, "step_images_per_sec": 1000, "cache": "memory"}
    parts = {
        "forms": {"found": {"forms": {"a": 1e-6, "b": 3e-6}}},
        "peers": {"found": {"train": {"step": step, "best": {"torch": ["torch compile", 2.5]}}}},
        "configs": {"error": "not done after 9 s"},
        "input": {"found": {"waiting": [wait]}},
    }
    lines = tables.tables([{"machine": machine, "parts": parts}]).splitlines()
    assert "- fast forms equal the plain ones to 3.0e-06" in lines
    assert "- StackGAN baseline: 40% of the matrix rate; torch compile takes 2.50x as long" in lines
    assert "- waiting for input, share of a step: 1.0% at 1,000 images/s (memory)" in lines


def test_the_page_is_up_to_date(tables):
    assert tables.main(["--check"]) == 0
