"""`prepare --beam_options=...` on Beam's own runners, from and to disks and buckets.

Beam's pins cannot live beside the tests': `scripts/environment requirements-beam.txt` makes
.venv-beam, in which all that is compared here is made.
"""

import contextlib
import filecmp
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.emulators import BUCKET, Gcs, free_port, wait_for
from tests.t2igan.beam import inputs

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-beam/bin/python"
FLAGS = ["--source=webdataset", "--image_size=32", "--shard_size=32"]
TWO_PROCESSES = (
    "--runner=DirectRunner --direct_running_mode=multi_processing --direct_num_workers=2"
)

# Beam's job service has no flag for the number of workers, and would ask the pool for one.
JOB_SERVICE = """
import sys
from apache_beam.runners.portability import local_job_service_main
from apache_beam.runners.portability.fn_api_runner import fn_runner

plain = fn_runner.FnApiRunner.__init__

def with_two_workers(self, *args, **kwargs):
    plain(self, *args, **kwargs)
    self._num_workers = 2

fn_runner.FnApiRunner.__init__ = with_two_workers
local_job_service_main.run(sys.argv[1:])
"""

pytestmark = pytest.mark.skipif(
    not PYTHON.is_file(), reason="no .venv-beam: scripts/environment requirements-beam.txt makes it"
)


def prepare(*flags, environment=None, status=0):
    done = subprocess.run(
        [PYTHON, "-P", "-m", "t2igan", "prepare", *FLAGS, *map(str, flags)],
        env={**os.environ, "PATH": f"{PYTHON.parent}:{os.environ['PATH']}", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The tars, and the data set that one machine makes of them."""
    folder = tmp_path_factory.mktemp("beam")
    tars = inputs.tars(folder / "tars", 6, 40)
    prepare(f"--files={tars}", f"--out={folder / 'out'}")
    return tars, folder / "out"


def assert_same(one: Path, other: Path) -> None:
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in other.iterdir()}
    _, different, errors = filecmp.cmpfiles(one, other, names, shallow=False)
    assert (different, errors) == ([], [])


@pytest.mark.parametrize(
    "runner", ["--runner=DirectRunner --direct_running_mode=in_memory", TWO_PROCESSES]
)
def test_beams_own_runner(runner, expected, tmp_path):
    tars, one = expected
    done = prepare(f"--files={tars}", f"--out={tmp_path / 'out'}", f"--beam_options={runner}")
    assert_same(one, tmp_path / "out")
    assert "beam: convert: 100%" in done.stderr
    assert "240" not in done.stdout  # the last tar is cut off
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_job_service_with_two_worker_processes(expected, tmp_path):
    tars, one = expected
    jobs, workers = free_port(), free_port()
    log = tmp_path / "workers.log"
    with contextlib.ExitStack() as stack:
        pool = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={workers}"]
        for words in (["-c", JOB_SERVICE, f"--port={jobs}"], pool):
            environment = {**os.environ, "PATH": f"{PYTHON.parent}:{os.environ['PATH']}"}
            output = stack.enter_context(log.open("a"))
            process = subprocess.Popen(
                [PYTHON, "-P", *words], stdout=output, stderr=output, env=environment
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for port in (jobs, workers):
            wait_for(port)
        prepare(
            f"--files={tars}",
            f"--out={tmp_path / 'out'}",
            f"--beam_options=--runner=PortableRunner --job_endpoint=127.0.0.1:{jobs} "
            f"--environment_type=EXTERNAL --environment_config=127.0.0.1:{workers}",
        )
    assert_same(one, tmp_path / "out")
    assert log.read_text().count("Starting worker") >= 6  # two in each of three stages


def upload(folder, url, environment):
    code = (
        "import sys; from pathlib import Path; from t2igan.runtime.buckets import transfer;"
        "folder = Path(sys.argv[1]); names = [path.name for path in folder.iterdir()];"
        "transfer.upload(folder, names, sys.argv[2])"
    )
    command = [PYTHON, "-P", "-c", code, folder, url]
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)


def test_from_a_bucket_to_a_bucket_by_two_processes(expected, tmp_path):
    tars, one = expected
    server = Gcs(tmp_path / "gcs")
    inside = tmp_path / "gcs" / BUCKET
    with contextlib.ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        upload(tars, f"gs://{BUCKET}/tars", server.environment)
        out = f"--out=gs://{BUCKET}/sets/flowers"
        files = f"--files=gs://{BUCKET}/tars/{{00000..00005}}.tar"
        flags = [files, out, f"--beam_options={TWO_PROCESSES}"]
        started = time.time()
        prepare(*flags, environment=server.environment)
        assert_same(one, inside / "sets/flowers")
        report = inside / "sets/flowers/report.json"
        assert report.stat().st_mtime > started
        done = prepare(*flags, environment=server.environment, status=2)
        assert "add --overwrite" in done.stderr
        prepare(*flags, "--overwrite", environment=server.environment)
        assert_same(one, inside / "sets/flowers")
        left = [path for path in inside.rglob("*") if ".beam" in str(path) and path.is_file()]
        assert left == []


def test_a_damaged_tar_and_a_runner_that_is_not_there_are_one_line(expected, tmp_path):
    tars, _ = expected
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no tar" * 1000)
    files = f"--files={tars},{bad}"
    out = f"--out={tmp_path / 'out'}"
    done = prepare(files, out, f"--beam_options={TWO_PROCESSES}", status=2)
    assert done.stderr.splitlines()[-1].endswith("bad.tar is no tar, or damaged: invalid header")
    done = prepare(files, out, "--beam_options=--runner=Flunk", status=2)
    assert "t2igan: error: --beam_options: the job failed: " in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar"]
