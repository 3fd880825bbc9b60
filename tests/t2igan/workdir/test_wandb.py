"""Weights & Biases, in its offline mode."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("wandb")

# In a process of its own: wandb starts a service and leaves threads.
SCRIPT = """
    import os, pathlib, sys
    import numpy as np
    from configs.common import get_config
    from t2igan.workdir.writers import open_writers

    config = get_config()
    config.wandb = "a-project"
    workdir = pathlib.Path(sys.argv[1])
    with open_writers(workdir, 0, config) as writers:
        writers.scalars(5, {"loss/d": 1.25})
        writers.image(5, "samples", np.zeros((8, 8, 3), np.uint8))
"""


def test_numbers_images_and_config_are_logged(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    data = log.read_bytes()
    for part in (b"loss/d", b"1.25", b"a-project", b"gf_dim", b"samples"):
        assert part in data
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5, "loss/d": 1.25}\n'
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/*.png"))
