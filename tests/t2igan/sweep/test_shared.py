"""Sweeps that several processes share, and sweeps over ranges."""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from input_pipeline.errors import UserError
from t2igan.runtime import paths
from t2igan.sweep import Choice, Range
from t2igan.sweep import trials as trials_of
from tests.emulators import BUCKET, Gcs

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body")

HEAD = """
from configs import common
from t2igan.sweep import Choice, Range

def get_config():
    config = common.get_config()
    config.train.steps = 4
    return config

def sweep(add):
"""

# Stands for `t2igan train`: holds the run's own lock, and logs a value with its best at 1e-3.
TRAINER = """
import contextlib, json, math, os, pathlib, signal, sys, time
from t2igan.runtime import paths
from input_pipeline.errors import InUse
from input_pipeline.file_lock import locked

flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
run = flags["workdir"]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
def lock():
    if paths.is_url(run):
        from t2igan.workdir.bucket_lock import BucketLock
        return BucketLock(run).held()
    pathlib.Path(run).mkdir(parents=True, exist_ok=True)
    return locked(pathlib.Path(run), wait=False)

try:
    with lock():
        paths.write_bytes(paths.join(run, "pid"), str(os.getpid()).encode())
        begun = paths.join(run, "begun")
        paths.write_bytes(begun, (paths.read_bytes(begun) or b"") + f"{os.getppid()}\\n".encode())
        time.sleep(float(os.environ.get("TRAINER_SECONDS", "0.3")))
        if flags.get("config.seed") == "2" and os.environ.get("TRAINER_FAILS"):
            sys.exit("t2igan: error: seed 2 is bad")
        rate = float(flags.get("config.optimizer.g_learning_rate", 2e-4))
        line = {"step": 4, "loss": abs(math.log10(rate) + 3)}
        paths.write_bytes(paths.join(run, "metrics.jsonl"), json.dumps(line).encode() + b"\\n")
except (BlockingIOError, InUse):
    sys.exit(f"t2igan: error: {run} {InUse.WORDS}; wait for it")
"""

SWEEP = """
import sys
from t2igan.cli import main as cli
from t2igan.sweep import runner
from t2igan.workdir import bucket_lock
bucket_lock._DEAD_SECONDS, bucket_lock.BEAT_SECONDS = 6.0, 1.0
runner.command = lambda trial: [sys.executable, {trainer!r}, *trial.flags]
runner.POLL_SECONDS = 0.05
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    (tmp_path / "trainer.py").write_text(TRAINER)
    (tmp_path / "sweep.py").write_text(SWEEP.format(trainer=str(tmp_path / "trainer.py")))
    return tmp_path


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    server = Gcs(tmp_path_factory.mktemp("gcs"))
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield server
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def shared(request: pytest.FixtureRequest, scripts: Path) -> str:
    """Where several processes find one sweep."""
    if request.param == "folder":
        return str(scripts / "shared")
    request.getfixturevalue("gcs")
    return f"gs://{BUCKET}/{request.node.name.partition('[')[0]}"


def _config(folder: Path, body: str) -> Path:
    path = folder / "config.py"
    path.write_text(HEAD + textwrap.indent(body, "    "))
    return path


def _begin(
    scripts: Path, config: Path, workdir: str | Path, *flags: str, **environment: str
) -> subprocess.Popen[str]:
    words = ["sweep", f"--config={config}", f"--workdir={workdir}", "--metric=loss", *flags]
    return subprocess.Popen(
        [sys.executable, str(scripts / "sweep.py"), *words],
        env=os.environ | {"PYTHONPATH": os.getcwd()} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _end(*workers: subprocess.Popen[str]) -> list[str]:
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers), said
    return said


def _rows(workdir: str | Path) -> list[dict[str, str]]:
    data = paths.read_bytes(paths.join(str(workdir), "results.csv"))
    assert data is not None
    return list(csv.DictReader(io.StringIO(data.decode())))


def _begun(workdir: str | Path, row: dict[str, str]) -> list[str]:
    """The processes that a trial was trained by."""
    data = paths.read_bytes(paths.join(str(workdir), f"{row['trial']}/begun"))
    return (data or b"").decode().split()


def test_workers_train_each_trial_once(shared: str, scripts: Path) -> None:
    workdir = shared
    config = _config(scripts, "for seed in range(4): add(seed=seed)")
    workers = [_begin(scripts, config, workdir, "--worker") for _ in range(2)]
    _end(*workers)
    said = _end(_begin(scripts, config, workdir, "--collect"))[0]
    assert f"{workdir}/table.md" in said
    rows = _rows(workdir)
    assert [row["status"] for row in rows] == ["finished"] * 4
    by = [_begun(workdir, row) for row in rows]
    assert [len(each) for each in by] == [1] * 4
    assert {each[0] for each in by} == {str(worker.pid) for worker in workers}


def test_the_trial_of_a_dead_machine_goes_on_elsewhere(scripts: Path) -> None:
    workdir = scripts / "dead"
    config = _config(scripts, "for seed in range(3): add(seed=seed)")
    first = _begin(scripts, config, workdir, "--worker", TRAINER_SECONDS="60")
    _wait_for(workdir / "trial_000_seed-0" / "begun")
    second = _begin(scripts, config, workdir, "--worker")
    said = _end(second)[0]
    assert "trained by other processes: trial_000_seed-0" in said
    assert not (workdir / "results.csv").exists()  # that is for whoever ends last

    first.kill()
    os.kill(int((workdir / "trial_000_seed-0" / "pid").read_text()), signal.SIGKILL)
    first.communicate()
    _end(_begin(scripts, config, workdir, "--worker"))
    rows = _rows(workdir)
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert [len(_begun(workdir, row)) for row in rows] == [2, 1, 1]


def test_what_failed_is_tried_again_by_the_next_call_alone(scripts: Path) -> None:
    workdir = scripts / "failing"
    config = _config(scripts, "for seed in range(4): add(seed=seed)")
    workers = [
        _begin(scripts, config, workdir, "--worker", TRAINER_FAILS="1", TRAINER_SECONDS="1")
        for _ in range(2)
    ]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert sorted(worker.returncode for worker in workers) == [0, 2], said
    assert "seed 2 is bad" in "".join(said)
    assert [r["status"] for r in _rows(workdir)].count("failed") == 1
    _end(_begin(scripts, config, workdir))
    rows = _rows(workdir)
    assert [row["status"] for row in rows] == ["finished"] * 4
    assert [len(_begun(workdir, row)) for row in rows] == [1, 1, 2, 1]


RANGES = """
add(**{"optimizer.g_learning_rate": Range(1e-5, 1e-1, log=True), "model.gf_dim": Range(2, 9),
       "recipe": Choice("stackgan", "r3gan")})
"""


def _oracle(method: str, size: int) -> list[dict[str, object]]:
    """The same search by Optuna in one process, in memory."""
    study = optuna.create_study(direction="minimize")
    drawn = []
    for number in range(size):
        trial = study.ask()
        study.sampler = (
            optuna.samplers.TPESampler(seed=number, constant_liar=True)
            if method == "tpe"
            else optuna.samplers.RandomSampler(number)
        )
        drawn.append(
            {
                "optimizer.g_learning_rate": trial.suggest_float(
                    "optimizer.g_learning_rate", 1e-5, 1e-1, log=True
                ),
                "model.gf_dim": trial.suggest_int("model.gf_dim", 2, 9),
                "recipe": trial.suggest_categorical("recipe", ("stackgan", "r3gan")),
            }
        )
        rate = drawn[-1]["optimizer.g_learning_rate"]
        study.tell(trial, abs(math.log10(rate) + 3))
    return drawn


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_ranges_are_searched_as_optuna_does(method: str, scripts: Path) -> None:
    config, workdir = _config(scripts, RANGES), scripts / "ranges"
    flags = ["--trials=14", f"--search={method}"]
    said = _end(_begin(scripts, config, workdir, *flags, TRAINER_SECONDS="0"))[0]
    assert "14 trials, suggested" in said
    rows = _rows(workdir)
    assert [row["status"] for row in rows] == ["finished"] * 14
    for row, expected in zip(rows, _oracle(method, 14), strict=True):
        assert float(row["optimizer.g_learning_rate"]) == pytest.approx(
            expected["optimizer.g_learning_rate"]
        )
        assert int(row["model.gf_dim"]) == expected["model.gf_dim"]
        assert row["recipe"] == expected["recipe"]


def test_workers_share_a_search(shared: str, scripts: Path) -> None:
    workdir = shared
    config = _config(scripts, RANGES)
    flags = ["--worker", "--trials=6", "--search=random", "--parallel=2"]
    workers = [_begin(scripts, config, workdir, *flags) for _ in range(2)]
    _end(*workers)
    _end(_begin(scripts, config, workdir, "--trials=6", "--search=random", "--collect"))
    rows = _rows(workdir)
    assert [row["status"] for row in rows] == ["finished"] * 6
    assert [len(_begun(workdir, row)) for row in rows] == [1] * 6
    drawn = [float(row["optimizer.g_learning_rate"]) for row in rows]
    assert drawn == pytest.approx([d["optimizer.g_learning_rate"] for d in _oracle("random", 6)])

    more = ["--trials=7", "--search=random"]
    _end(_begin(scripts, config, workdir, *more))
    assert len(_rows(workdir)) == 7
    _config(scripts, RANGES.replace("1e-1", "1e-2"))
    worker = _begin(scripts, config, workdir, *more)
    assert "searches other ranges" in worker.communicate(timeout=120)[0]
    assert worker.returncode == 2


@pytest.mark.parametrize(
    ("body", "flags", "lesson"),
    [
        ("add(sede=Range(1, 4))", [], "no field config.sede"),
        ('add(**{"optimizer.g_learning_rate": Range(-1.0, 1.0)})', [], "g_learning_rate"),
        ("add(recipe=Choice('stackgan', 'dcgan'))", [], "dcgan"),
        ("add(seed=Range(1, 4)); add(seed=5)", [], "one add"),
        ("add(seed=Range(1, 4), recipe='dfgan')", [], "is no range; give it as --config.recipe"),
        ("add(seed=Range(4, 1))", [], "smaller number first"),
        ("add(seed=Choice(1))", [], "two values at least"),
        ("add(seed=Range(1, 4))", ["--print_commands"], "--worker"),
        ("add(seed=Range(1, 4))", ["--trials=-1"], "--trials=-1"),
        ("add(seed=1)", ["--trials=3"], "are of ranges"),
    ],
)
def test_wrong_ranges_teach_before_anything_runs(
    body: str, flags: list[str], lesson: str, scripts: Path
) -> None:
    worker = _begin(scripts, _config(scripts, body), scripts / "wrong", *flags)
    said = worker.communicate(timeout=120)[0]
    assert worker.returncode == 2
    assert lesson in said
    assert said.count("\n") == 1
    assert not (scripts / "wrong").exists()


def test_tpe_wants_a_metric(scripts: Path) -> None:
    config = _config(scripts, "add(seed=Range(1, 4))")
    words = [f"--config={config}", f"--workdir={scripts / 'none'}", "--search=tpe"]
    done = subprocess.run(
        [sys.executable, str(scripts / "sweep.py"), "sweep", *words],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "config.evaluate.metrics, or --metric" in done.stderr


def test_ranges_know_whole_numbers() -> None:
    assert Range(1, 4).is_whole
    assert not Range(1, 4.5).is_whole
    assert not Range(1, 4, step=0.5).is_whole
    with pytest.raises(UserError, match="above 0"):
        Range(0, 1, log=True)
    assert trials_of.is_search({"seed": Choice(1, 2)})
    assert not trials_of.is_search({"seed": 1})


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
