"""The shell scripts: they parse, they teach, and they hand on every word as it was typed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    path
    for path in [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")
]
PINS = [ROOT / "scripts" / name for name in ("requirements.txt", "requirements-dev.txt")]
ODD_WORDS = ["--config=configs/tiny.py", '--config.data.dir=a b\'s "c" $HOME']

Fake = Callable[[str, str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a program of our own before the real one on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def install(name: str, body: str) -> None:
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / name).chmod(0o755)

    return install


def _run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )


def _fake_checkout(folder: Path, script: str) -> Path:
    """A folder with the script and a `.venv` whose python prints its words, one a line."""
    copy = folder / "scripts" / script
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / "scripts" / script).read_text())
    copy.chmod(0o755)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@" >>words\nexit "${STATUS:-0}"\n')
    python.chmod(0o755)
    return copy


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_parses_and_can_be_run(script: Path) -> None:
    assert _run("bash", "-n", script).stderr == ""
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.name)
def test_pins_are_hash_checked_and_name_no_index(pins: Path) -> None:
    text = pins.read_text()
    assert "uv pip compile" in text.splitlines()[1]
    assert not re.search(r"https?:|file:|--index|--find-links|--extra-index|@", text)
    entries = re.split(r"\n(?=[a-zA-Z])", text.partition("\n")[2].partition("\n")[2])
    for entry in entries:
        assert re.match(r"^[a-z0-9._-]+==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry


def test_pins_hold_every_requirement_and_the_development_pins_hold_all_others() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {
        PINS[0]: project["project"]["dependencies"] + project["dependency-groups"]["build"],
        PINS[1]: project["project"]["optional-dependencies"]["dev"],
    }
    pinned = {path: set(re.findall(r"(?m)^(\S+==\S+)", path.read_text())) for path in PINS}
    for path, requirements in groups.items():
        names = {pin.partition("==")[0] for pin in pinned[path]}
        wanted = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in requirements}
        assert wanted <= names, "run the command at the top of the pins"
    assert pinned[PINS[0]] <= pinned[PINS[1]]


def test_environment_without_a_fitting_python_says_what_to_do(tmp_path: Path, fake: Fake) -> None:
    script = _fake_checkout(tmp_path / "checkout", "environment")
    (script.parents[1] / ".venv" / "bin" / "python").unlink()
    for name in ("python", "python3", "python3.11", "python3.12", "python3.13"):
        fake(name, "exit 1")
    done = _run(script)
    assert done.returncode == 2
    assert done.stderr.startswith("t2igan: error: no Python 3.11, 3.12 or 3.13 found; install one")
    assert done.stderr.count("\n") == 1


def test_environment_is_made_once_for_the_same_pins(tmp_path: Path) -> None:
    script = _fake_checkout(tmp_path / "checkout", "environment")
    folder = script.parents[1]
    python = folder / ".venv" / "bin" / "python"
    python.write_text(
        "#!/usr/bin/env bash\n"
        'if [[ $1 == -m && $3 == install ]]; then echo "$@" >>words; exit 0; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    for pins in PINS:
        (folder / "scripts" / pins.name).write_text("some==1.0\n")
    (folder / "pyproject.toml").touch()

    def installs(*words: str) -> list[str]:
        (folder / "words").write_text("")
        done = _run(script, *words)
        assert done.returncode == 0, done.stderr
        return (folder / "words").read_text().splitlines()

    first = installs("requirements-dev.txt")
    pins = "--require-hashes --requirement scripts/requirements-dev.txt"
    assert first[0] == f"-m pip install --no-deps {pins}"
    assert "--no-deps --no-build-isolation --editable ." in first[1]
    assert installs("requirements-dev.txt") == []
    assert installs() == []  # the development pins hold these
    (folder / "scripts" / "requirements.txt").write_text("some==2.0\n")
    assert len(installs()) == 2
    assert installs() == []
    folder.rename(tmp_path / "moved")
    script, folder = tmp_path / "moved" / "scripts" / "environment", tmp_path / "moved"
    assert len(installs()) == 2  # a moved environment still points at the old place


@pytest.mark.parametrize("status", [0, 1])
def test_slurm_launcher_hands_on_words_and_the_status(
    status: int, tmp_path: Path, fake: Fake
) -> None:
    script = _fake_checkout(tmp_path / "checkout", "cluster/launch_slurm.sh")
    fake("srun", '[[ $1 == --kill* ]] && shift; "$@"')
    where = {"SLURM_SUBMIT_DIR": str(script.parents[2]), "SLURM_JOB_ID": "7"}
    done = _run(script, *ODD_WORDS, STATUS=str(status), **where)
    words = (script.parents[2] / "words").read_text().splitlines()
    assert words == ["-P", "-m", "t2igan", "train", *ODD_WORDS]
    assert done.returncode == status


@pytest.mark.parametrize("script", ["cluster/launch_slurm.sh", "cluster/sweep_slurm_array.sh"])
def test_slurm_jobs_end_of_time_stops_the_run_and_requeues_it(
    script: str, tmp_path: Path, fake: Fake
) -> None:
    script_path = _fake_checkout(tmp_path / "checkout", script)
    folder = script_path.parents[2]
    (folder / "commands.txt").write_text("python -m t2igan train --a\n")
    fake(
        "srun",
        "trap 'sleep 0.2; touch saved; exit 0' TERM; touch started; sleep 30 >/dev/null & wait",
    )
    fake("scontrol", "[[ -f saved ]] && echo scontrol $*")
    job = subprocess.Popen(
        [script_path, "commands.txt"],
        env=os.environ
        | {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (folder / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    job.terminate()
    try:
        assert job.stdout is not None
        assert job.stdout.readlines()[-1] == b"scontrol requeue 7\n"
        assert job.wait(120) == 0
    finally:
        job.stdout.close()
        with contextlib.suppress(ProcessLookupError):  # all of it has ended already
            os.killpg(job.pid, signal.SIGKILL)


def test_slurm_array_runs_the_command_of_its_own_line(tmp_path: Path, fake: Fake) -> None:
    script = _fake_checkout(tmp_path / "checkout", "cluster/sweep_slurm_array.sh")
    commands = script.parents[2] / "commands.txt"
    commands.write_text(
        "python -P -m t2igan train --a\npython -P -m t2igan train '--b=c d' --e=\\'\n"
    )
    fake("srun", '"$@"')
    where = {"SLURM_SUBMIT_DIR": str(script.parents[2]), "SLURM_JOB_ID": "7"}
    assert _run(script, "commands.txt", SLURM_ARRAY_TASK_ID="2", **where).returncode == 0
    words = (script.parents[2] / "words").read_text().splitlines()
    assert words == ["-P", "-m", "t2igan", "train", "--b=c d", "--e='"]
    missing = _run(script, "commands.txt", SLURM_ARRAY_TASK_ID="3", **where)
    assert missing.returncode == 2
    assert "has no line 3; its lines are --array=1-2" in missing.stderr


@pytest.mark.parametrize(
    "script",
    ["cluster/launch_slurm.sh", "cluster/sweep_slurm_array.sh"],
)
def test_launchers_without_words_show_their_usage(script: str) -> None:
    done = _run(ROOT / "scripts" / script)
    assert done.returncode == 2
    assert done.stderr.startswith("t2igan: error: usage: ")


def test_the_image_for_gpus_is_built_from_pins_of_its_own() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert "scripts/requirements-cuda12.txt" in copied
    assert any("--require-hashes" in line for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "scripts" / "requirements-cuda12.txt").read_text()
    names = set(re.findall(r"(?m)^([a-z0-9._-]+)==", text))
    extras = ("gcs", "s3", "metrics", "projected", "tensorboard")
    wanted = [line for name in extras for line in project["optional-dependencies"][name]]
    for line in [*project["dependencies"], *wanted]:
        assert re.match(r"[A-Za-z0-9._-]+", line)[0].lower() in names, line
    assert {"jax-cuda12-plugin", "nvidia-cudnn-cu12", "hatchling"} <= names
    assert not re.search(r"https?:|--index|--extra-index", text)
    entries = re.split(r"\n(?=[a-z])", text.partition("\n")[2].partition("\n")[2])
    assert all("--hash=sha256:" in entry for entry in entries)
