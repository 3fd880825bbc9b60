"""docs/quickstart.ipynb runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs() -> None:
    assert CELLS
    for cell in CELLS:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in CELLS:
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    assert names["outcome"].step == 20
    assert names["images"].shape == (2, 4, 32, 32, 3)
    assert "\n" not in repr(names["run"])
    assert {result.metric for result in names["results"]} >= {"swd", "swd_32"}
