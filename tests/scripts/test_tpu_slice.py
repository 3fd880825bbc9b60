"""The TPU launcher against a gcloud of our own, which preempts the slice twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "cluster" / "tpu_slice.py"
TRAIN = ["--config=configs/tiny.py", "--workdir=gs://box/runs/a b", "--config.data.dir=gs://box/d"]
FAKE = r"""
import json, os, pathlib, subprocess, sys
words = sys.argv[1:]
home = pathlib.Path(os.environ["FAKE_HOME"])
state = json.loads((home / "state").read_text()) if (home / "state").exists() else {}
state = {"made": 0, "there": False, "polls": 0, "calls": []} | state
state["calls"].append(words)
host = home / f"host{state['made']}"
out, status = "", 0

def flag(name):
    return next(word.partition("=")[2] for word in words if word.startswith(name + "="))

if words[:3] == ["storage", "buckets", "describe"]:
    out = os.environ["FAKE_REGION"]
elif "create" in words:
    state |= {"made": state["made"] + 1, "there": True, "polls": 0}
    (home / f"host{state['made']}").mkdir()
elif "delete" in words:
    state["there"] = False
elif "describe" in words:
    if not state["there"]:
        print("ERROR: NOT_FOUND: no such resource", file=sys.stderr)
        status = 1
    else:
        state["polls"] += 1
        gone = state["made"] < 3 and state["polls"] > 4
        out = "SUSPENDED" if gone else "ACTIVE" if state["polls"] > 1 else "WAITING_FOR_RESOURCES"
elif "ssh" in words:
    command = flag("--command")
    if "scripts/environment" in command:
        (host / "t2igan.log").touch()
    elif "setsid" in command:
        (host / "t2igan.started").touch()
        (host / "command").write_text(command)
        first = state["made"] == 1
        text = "step 10\n" if first else "goes on after step 10\n"
        if state["made"] >= 3:
            text += "gs://box/runs/a b: all 30 steps are done\n"
            (host / "t2igan.status").write_text("0\n")
        (host / "t2igan.log").write_text(text)
    else:
        done = subprocess.run(["sh", "-c", command], cwd=host, capture_output=True, text=True)
        out, status = done.stdout, done.returncode
(home / "state").write_text(json.dumps(state))
sys.stdout.write(out)
sys.exit(status)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the launcher; returns (status, stdout, stderr) and what gcloud was told."""
    fake = tmp_path / "bin" / "gcloud"
    fake.parent.mkdir()
    fake.write_text(f"#!{sys.executable} -SE\n{FAKE}")
    fake.chmod(0o755)
    (tmp_path / "home").mkdir()

    def call(*words: str, region: str = "US-WEST4"):
        done = subprocess.run(
            [sys.executable, SCRIPT, *words],
            env=os.environ
            | {
                "PATH": f"{fake.parent}:{os.environ['PATH']}",
                "FAKE_HOME": str(tmp_path / "home"),
                "FAKE_REGION": region,
                "TPU_SLICE_POLL_SECONDS": "0.01",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if "not a git repository" in done.stderr:
            pytest.skip("the launcher copies a git checkout")
        return done

    return call


FLAGS = ["--name=a-run", "--zone=us-west4-a", "--type=v5litepod-16", "--spot", "--"]


def test_a_slice_that_is_preempted_twice_is_made_three_times(run, tmp_path):
    done = run(*FLAGS, *TRAIN)
    assert done.returncode == 0, done.stderr
    state = json.loads((tmp_path / "home" / "state").read_text())
    assert state["made"] == 3
    assert not state["there"]  # deleted once the run is done
    assert done.stderr.count("deleted, and asked for again") == 2
    assert done.stdout.splitlines()[-1] == "gs://box/runs/a b: all 30 steps are done"
    assert done.stdout.count("step 10") == 3  # each host's log once
    creates = [words for words in state["calls"] if "create" in words]
    assert {"--accelerator-type=v5litepod-16", "--spot"} <= set(creates[0])
    assert "--runtime-version=v2-alpha-tpuv5-lite" in creates[0]


def test_every_host_gets_the_words_as_they_were_typed(run, tmp_path):
    assert run(*FLAGS, *TRAIN).returncode == 0
    calls = json.loads((tmp_path / "home" / "state").read_text())["calls"]
    starts = [words for words in calls if any("setsid" in word for word in words)]
    assert all("--worker=all" in words for words in starts)
    (command,) = [word.partition("=")[2] for word in starts[0] if "setsid" in word]
    folder = tmp_path / "host"
    python = folder / "t2igan" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    assert (folder / "t2igan.log").read_text().splitlines() == [
        "-P",
        "-m",
        "t2igan",
        "train",
        *TRAIN,
    ]
    assert (folder / "t2igan.status").read_text() == "0\n"


def test_a_bucket_far_away_is_said(run):
    done = run(*FLAGS, *TRAIN, region="EUROPE-WEST1")
    assert "gs://box is in europe-west1, the slice in us-west4" in done.stderr
    assert "warning" not in run(*FLAGS, *TRAIN, region="US").stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*FLAGS, "--workdir=runs/a"], "--workdir=gs://BUCKET"),
        (["--name=a", "--zone=z-a", "--type=x9-8", "--", *TRAIN], "--version"),
    ],
)
def test_mistakes_are_one_line(run, words, told):
    done = run(*words, region="Z")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
