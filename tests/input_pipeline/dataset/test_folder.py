"""A data set comes to be whole or not at all, whatever stops its making."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError

SHAPES = ["--source=shapes", "--image_size=32", "--word_vector_dim=2", "--shard_size=64"]


def _finish(folder, words="[]"):
    return dataset_folder.finish(folder, words, np.zeros((1, 2)), {"examples": 3})


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_is_there_when_the_block_has_ended(tmp_path):
    out = tmp_path / "new" / "out"
    with dataset_folder.building(out) as folder:
        _finish(folder)
        assert not out.exists()
    assert _names(out.parent) == ["out"]
    assert _names(out) == [
        "SHA256SUMS", "rejected.csv", "report.json", "vocabulary.json", "word_vectors.npy"
    ]  # fmt: skip
    mask = os.umask(0)
    os.umask(mask)
    assert out.stat().st_mode & 0o777 == 0o777 & ~mask


def test_sums_are_those_of_sha256sum(tmp_path):
    with dataset_folder.building(tmp_path / "out") as folder:
        _finish(folder)
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = subprocess.run(
        check, cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )
    assert checked.stdout.count("OK") == 3


def test_the_hash_is_of_what_is_trained_on(tmp_path):
    def fingerprint(name, shard=b"1", words="[]", listed=""):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "captioned_images-train.array_record-00000-of-00001").write_bytes(shard)
        (folder / "rejected.csv").write_text(listed)
        return _finish(folder, words)["fingerprint"]

    first = fingerprint("a")
    assert fingerprint("b", listed="file,reason") == first
    assert len({first, fingerprint("c", shard=b"2"), fingerprint("d", words="[1]")}) == 3


@pytest.mark.parametrize("error", [KeyError, UserError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_what_an_exception_stopped(tmp_path, error):
    def stopped():
        with dataset_folder.building(tmp_path / "out") as folder:
            _finish(folder)
            raise error

    with pytest.raises(error):
        stopped()
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("write() failed: No space left on device; writing x"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_a_full_disk_is_one_line(tmp_path, error):
    with pytest.raises(UserError, match=r"cannot write .*out: (No space|Disk quota)"):  # noqa: SIM117
        with dataset_folder.building(tmp_path / "out"):
            raise error
    assert _names(tmp_path) == []


def test_another_error_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError), dataset_folder.building(tmp_path / "out"):
        (tmp_path / "none").open()
    with pytest.raises(RuntimeError, match="a bug"), dataset_folder.building(tmp_path / "out"):
        raise RuntimeError("a bug")


def test_the_leftovers_of_a_kill_go_and_those_at_work_stay(tmp_path):
    leftover = tmp_path / "out.incomplete-abc"
    leftover.mkdir()
    (leftover / "shard").write_text("half")
    (tmp_path / "other.incomplete-abc").mkdir()
    with dataset_folder.building(tmp_path / "out", overwrite=True) as first:
        assert not leftover.exists()
        with dataset_folder.building(tmp_path / "out") as second:
            assert first.exists()
            _finish(second)
        _finish(first)
    assert _names(tmp_path) == ["other.incomplete-abc", "out"]


def test_names_with_stars_are_names(tmp_path):
    (tmp_path / "abc.incomplete-1").mkdir()
    with dataset_folder.building(tmp_path / "a*[c]") as folder:
        _finish(folder)
    assert _names(tmp_path) == ["a*[c]", "abc.incomplete-1"]


def test_one_that_was_made_meanwhile_is_not_lost(tmp_path):
    """Two runs at once into one folder: the second to end finds it taken."""

    def two():
        with dataset_folder.building(tmp_path / "out") as slow:
            with dataset_folder.building(tmp_path / "out") as quick:
                _finish(quick, "quick")
            _finish(slow, "slow")

    with pytest.raises(UserError, match="exists"):
        two()
    assert (tmp_path / "out" / "vocabulary.json").read_text() == "quick"
    assert _names(tmp_path) == ["out"]


def _start(out, number=6000, before=()):
    command = [sys.executable, "-m", "t2igan", "prepare", *SHAPES, f"--num_examples={number}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*before, *command, f"--out={out}"], **pipes)


@contextlib.contextmanager
def _at_work(out, *arguments):
    """A process that has written some shards, and has many to go."""
    with _start(out, *arguments) as process:
        # Or the pipe fills with what the bar shows.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            deadline = time.monotonic() + 120
            while len(list(out.parent.glob("out.incomplete-*/*.tmp"))) < 3:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_prepare_leaves_nothing(tmp_path, sent, status):
    with _at_work(tmp_path / "out") as process:
        process.send_signal(sent)
        assert process.wait(timeout=120) == status
    assert _names(tmp_path) == []


def test_a_killed_prepare_leaves_nothing_that_looks_finished(tmp_path):
    out = tmp_path / "out"
    with _at_work(out) as process:
        process.kill()
        process.wait(timeout=120)
    assert not out.exists()
    (leftover,) = tmp_path.iterdir()
    with pytest.raises(UserError, match="not a finished data set"):
        open_dataset(leftover)
    with _start(out, 60) as again:
        again.communicate(timeout=120)
    assert again.returncode == 0
    assert _names(tmp_path) == ["out"]
    assert json.loads((out / "report.json").read_text())["examples"] == 60


# Set by a shell: in a process that holds jax's threads, Python would fork to set it.
SMALL_FILES_ONLY = ("bash", "-c", 'ulimit -f 195 && exec "$@"', "bash")


def test_a_disk_that_takes_no_more_is_one_line_and_exit_2(tmp_path):
    with _start(tmp_path / "out", 2000, before=SMALL_FILES_ONLY) as process:
        _, error = process.communicate(timeout=120)
    assert process.returncode == 2
    last = error.strip().splitlines()[-1]
    assert last.startswith(f"t2igan: error: cannot write {tmp_path}/out: File too large")
    assert "Traceback" not in error
    assert _names(tmp_path) == []
