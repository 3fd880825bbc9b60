"""Data sets and runs in buckets: as on a disk, whatever is killed or goes away."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from input_pipeline.errors import UserError
from t2igan.cli.main import main
from t2igan.runtime import paths
from t2igan.runtime.buckets import transfer
from t2igan.workdir import bucket_lock
from t2igan.workdir.bucket_lock import BucketLock
from t2igan.workdir.checkpoints import restore_item
from tests import emulators
from tests.emulators import BUCKET, Gcs

# Said by aiohttp of what gcsfs does; nothing here waits for the event loop.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body")

ROOT = f"gs://{BUCKET}"
CAPTION = "a small red star on the left"
FLAGS = [
    "--config=configs/tiny.py",
    "--config.train.steps=12",
    "--config.train.checkpoint_every=4",
    "--config.train.log_every=2",
    "--config.train.sample_every=6",
    "--config.train.validate_every=6",
]


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    server = Gcs(tmp_path_factory.mktemp("gcs"))
    server.start()
    with contextlib.ExitStack() as end:
        end.callback(server.stop)
        patch = end.enter_context(pytest.MonkeyPatch.context())
        for name, value in server.environment.items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        assert run("prepare", "--source=shapes", f"--out={ROOT}/data", "--num_examples=120") == 0
        yield server


@pytest.fixture(scope="module")
def plain(gcs: Gcs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run on a disk."""
    workdir = tmp_path_factory.mktemp("plain") / "run"
    assert run("train", f"--workdir={workdir}", f"--config.data.dir={ROOT}/data", *FLAGS) == 0
    return workdir


def run(*words: str) -> int:
    return main(list(words))


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "t2igan", *words],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train_flags(name: str) -> list[str]:
    return ["train", f"--workdir={ROOT}/{name}", f"--config.data.dir={ROOT}/data", *FLAGS]


def state(workdir: str | Path) -> tuple[int, Any]:
    return restore_item(paths.local(workdir), "latest", "state")


def assert_same(a: tuple[int, Any], b: tuple[int, Any]) -> None:
    assert a[0] == b[0]
    jax.tree.map(np.testing.assert_array_equal, a[1], b[1])


def losses(workdir: str | Path) -> list[dict[str, float]]:
    lines = (paths.local(workdir) / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(n).items() if "loss" in k or k == "step"} for n in lines]


def test_a_data_set_in_a_bucket_is_the_one_on_a_disk(gcs: Gcs, tmp_path: Path) -> None:
    assert run("prepare", "--source=shapes", f"--out={tmp_path / 'a'}", "--num_examples=120") == 0
    copy = paths.local(f"{ROOT}/data")
    names = {path.name for path in copy.iterdir()}
    assert names == {path.name for path in (tmp_path / "a").iterdir()}
    for name in names:
        assert (copy / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_a_run_in_a_bucket_is_the_one_on_a_disk(gcs: Gcs, plain: Path, tmp_path: Path) -> None:
    assert run(*train_flags("whole")) == 0
    assert_same(state(f"{ROOT}/whole"), state(plain))
    assert losses(f"{ROOT}/whole") == losses(plain)
    for workdir, out in ((plain, tmp_path / "a.png"), (f"{ROOT}/whole", f"{ROOT}/out/a.png")):
        flags = [f"--workdir={workdir}", f"--caption={CAPTION}", "--num=2", f"--out={out}"]
        assert run("sample", *flags) == 0
    assert transfer.read_bytes(f"{ROOT}/out/a.png") == (tmp_path / "a.png").read_bytes()


def test_evaluate_and_report_write_into_the_bucket(
    gcs: Gcs, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not transfer.list_files(f"{ROOT}/whole"):
        assert run(*train_flags("whole")) == 0
    flags = ["--metrics=shapes_accuracy", "--num=16", "--resamples=4"]
    assert run("evaluate", f"--workdir={ROOT}/whole", *flags) == 0
    assert run("report", f"--workdir={ROOT}/whole") == 0
    printed = capsys.readouterr().out
    assert f"{ROOT}/whole/report.html" in printed
    assert "/t2igan/buckets/" not in printed
    lines = (transfer.read_bytes(f"{ROOT}/whole/evaluation.jsonl") or b"").decode().splitlines()
    assert {json.loads(line)["workdir"] for line in lines} == {f"{ROOT}/whole"}
    assert b"</html>" in (transfer.read_bytes(f"{ROOT}/whole/report.html") or b"")


def test_killed_at_random_moments_it_ends_the_same(gcs: Gcs, plain: Path) -> None:
    generator = random.Random(0)
    for _ in range(int(os.environ.get("BUCKET_KILLS", "3"))):
        child = start(*train_flags("killed"))
        try:
            child.communicate(timeout=generator.uniform(3, 12))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
    child = start(*train_flags("killed"))
    assert child.communicate()[0].strip().endswith("t2igan sample --workdir=" + ROOT + "/killed")
    assert_same(state(f"{ROOT}/killed"), state(plain))
    assert losses(f"{ROOT}/killed") == losses(plain)


def test_a_bucket_that_goes_away_in_a_save_is_waited_for(
    gcs: Gcs, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = float(os.environ.get("BUCKET_OUTAGE", "5"))
    child = start(*train_flags("outage"))
    while not any("/step_00000004/" in name for name in transfer.list_files(f"{ROOT}/outage")):
        time.sleep(0.05)
    gcs.stop()
    time.sleep(seconds)
    gcs.start()
    said = child.communicate()[0]
    assert child.returncode == 0, said
    assert "cannot be reached" in said
    assert "is reached again" in said
    assert "Traceback" not in said
    assert_same(state(f"{ROOT}/outage"), state(plain))


def test_a_second_trainer_is_refused_in_one_line(
    gcs: Gcs, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = BucketLock(f"{ROOT}/held")
    with lock.held():
        assert run(*train_flags("held")) == 2
    (line,) = [n for n in capsys.readouterr().err.splitlines() if "error" in n]
    assert "is being trained by another process" in line
    assert not transfer.list_files(f"{ROOT}/held")


def test_the_lock_of_a_process_elsewhere_is_waited_for_and_then_taken(
    gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_lock, "_DEAD_SECONDS", 1.5)
    monkeypatch.setattr(bucket_lock, "_POLL_SECONDS", 0.2)
    url = f"{ROOT}/elsewhere/{bucket_lock.NAME}"
    holder = {"host": "another", "machine": "another", "pid": 1, "started": "1", "token": "x"}
    transfer.write_bytes(url, json.dumps(holder).encode())
    mine = BucketLock(f"{ROOT}/elsewhere")
    with mine.held():
        assert mine.is_mine()
        transfer.write_bytes(url, json.dumps(holder).encode())  # it wakes up and takes it back
        assert not mine.is_mine()
    assert json.loads(transfer.read_bytes(url) or b"")["token"] == "x"  # not ours to remove


def test_a_lock_that_changes_is_somebodys(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    other = BucketLock(f"{ROOT}/alive")
    monkeypatch.setattr(bucket_lock, "BEAT_SECONDS", 0.3)
    with other.held():
        monkeypatch.setattr(bucket_lock, "_machine", lambda: "mine")
        with pytest.raises(UserError, match="being trained"), BucketLock(f"{ROOT}/alive").held():
            pass


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--workdir=gs://nowhere/a", *FLAGS], "no bucket gs://nowhere"),
        (["prepare", "--source=shapes", "--out=gs://nowhere/a"], "there is no bucket gs://nowhere"),
        (["prepare", "--source=shapes", f"--out={ROOT}/data"], "exists already"),
        (["sample", f"--workdir={ROOT}/none", "--caption=a"], "there is nothing"),
        (["train", "--workdir=az://a/b", *FLAGS], "az:// is not supported"),
        (["train", "--workdir=gs://", *FLAGS], "give the bucket's name"),
    ],
)
def test_mistakes_are_one_line(
    gcs: Gcs, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_what_else_lies_in_a_bucket_is_never_removed(gcs: Gcs, tmp_path: Path) -> None:
    transfer.write_bytes(f"{ROOT}/mine/thesis.tex", b"years of work")
    flags = ["--source=shapes", f"--out={ROOT}/mine", "--num_examples=40", "--overwrite"]
    assert run("prepare", *flags) == 2  # not a data set, so not to be overwritten
    with paths.output(f"{ROOT}/mine") as folder:
        folder.mkdir()
        (folder / "new").write_text("a")
    assert transfer.list_files(f"{ROOT}/mine").keys() == {"thesis.tex", "new"}
    with pytest.raises(FileNotFoundError):  # an object that has gone is no missing bucket
        transfer.download(f"{ROOT}/mine", {"gone": 1}, tmp_path)


def test_an_overwritten_data_set_has_none_of_the_old_files(gcs: Gcs) -> None:
    for count in ("40", "60"):
        flags = [f"--out={ROOT}/again", f"--num_examples={count}", "--overwrite"]
        assert run("prepare", "--source=shapes", *flags) == 0
        transfer.write_bytes(f"{ROOT}/again/left-over", b"1")
    assert run("prepare", "--source=shapes", *flags) == 0
    assert "left-over" not in transfer.list_files(f"{ROOT}/again")


def test_a_damaged_shard_is_named(gcs: Gcs) -> None:
    source = paths.local(f"{ROOT}/data")
    names = [path.name for path in source.iterdir()]
    transfer.upload(source, names, f"{ROOT}/damaged")
    shard = next(name for name in names if "array_record" in name)
    transfer.write_bytes(f"{ROOT}/damaged/{shard}", b"x" + (source / shard).read_bytes()[1:])
    with pytest.raises(UserError, match=f"{shard} is damaged"):
        paths.local(f"{ROOT}/damaged")


def test_a_copy_follows_the_bucket(gcs: Gcs) -> None:
    for name, text in (("a", b"1"), ("b/c", b"2")):
        transfer.write_bytes(f"{ROOT}/copy/{name}", text)
    copy = paths.local(f"{ROOT}/copy")
    assert transfer.snapshot(copy).keys() == {"a", "b/c"}
    transfer.write_bytes(f"{ROOT}/copy/a", b"3")
    transfer.remove(f"{ROOT}/copy", ["b/c"])
    copy = paths.local(f"{ROOT}/copy")
    assert (copy / "a").read_bytes() == b"3"
    assert not (copy / "b/c").exists()


def test_inputs_of_prepare_may_be_in_a_bucket(gcs: Gcs, tmp_path: Path) -> None:
    from PIL import Image

    for index in range(4):
        Image.new("RGB", (64, 64), (index * 60, 9, 9)).save(tmp_path / f"{index}.png")
    table = "image,caption\n" + "".join(f"{i}.png,a picture of number {i}\n" for i in range(4))
    (tmp_path / "captions.csv").write_text(table)
    names = [path.name for path in tmp_path.iterdir()]
    transfer.upload(tmp_path, names, f"{ROOT}/images")
    flags = [f"--images={ROOT}/images", f"--captions={ROOT}/images/captions.csv"]
    assert run("prepare", "--source=folder", *flags, f"--out={ROOT}/four") == 0
    report = json.loads(transfer.read_bytes(f"{ROOT}/four/report.json") or b"")
    assert report["examples"] == 4


def test_two_processes_share_nothing_but_the_bucket(gcs: Gcs, tmp_path: Path) -> None:
    quick = {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
    }

    def train(workdir: str, steps: int) -> None:
        flags = [f"--workdir={workdir}", f"--config.data.dir={ROOT}/data", *FLAGS]
        flags += [f"--config.train.steps={steps}", "--num_processes=2"]
        flags.append(f"--coordinator_address=127.0.0.1:{emulators.free_port()}")
        children = []
        for index in range(2):
            own = {"XDG_CACHE_HOME": f"{tmp_path}/cache{index}", "TMPDIR": f"{tmp_path}/tmp{index}"}
            Path(own["TMPDIR"]).mkdir(exist_ok=True)
            children.append(start("train", *flags, f"--process_id={index}", **quick, **own))
        said = [child.communicate()[0] for child in children]
        assert [child.returncode for child in children] == [0, 0], said

    bucket, disk = f"{ROOT}/two", str(tmp_path / "disk")
    train(bucket, 4)
    train(bucket, 8)  # both go on from what the bucket has
    train(disk, 8)
    assert_same(state(bucket), state(disk))
    for workdir in (bucket, disk):
        assert run("train", f"--workdir={workdir}", "--config.train.steps=12") == 0
    assert_same(state(bucket), state(disk))


def test_sigterm_leaves_the_run_in_the_bucket(gcs: Gcs) -> None:
    flags = [*train_flags("stopped"), "--config.train.steps=100000"]
    child = start(*flags)
    while not any("/step_00000004/" in name for name in transfer.list_files(f"{ROOT}/stopped")):
        time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    said = child.communicate()[0]
    assert child.returncode == 0
    assert f"{ROOT}/stopped: stopped by SIGTERM" in said
    names = transfer.list_files(f"{ROOT}/stopped")
    assert bucket_lock.NAME not in names
    step = int(said.rpartition("saved at step ")[2].split()[0])
    assert f"checkpoints/step_{step:08d}/MANIFEST.json" in names


def test_s3_holds_data_sets_and_runs(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with emulators.moto() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        import boto3

        boto3.client("s3").create_bucket(Bucket=BUCKET)
        root = f"s3://{BUCKET}"
        assert run("prepare", "--source=shapes", f"--out={root}/data", "--num_examples=120") == 0
        flags = [f"--workdir={root}/run", f"--config.data.dir={root}/data", *FLAGS]
        assert run("train", *flags) == 0
        assert_same(state(f"{root}/run"), state(plain))
        assert run("train", "--workdir=s3://nowhere/a", *FLAGS) == 2


def test_a_snapshot_is_not_disturbed_by_folders_that_go(tmp_path: Path) -> None:
    (tmp_path / "stays").write_text("a")
    end = threading.Event()

    def come_and_go() -> None:
        while not end.is_set():
            (tmp_path / "tmp" / "inner").mkdir(parents=True)
            (tmp_path / "tmp" / "inner" / "file").touch()
            (tmp_path / "tmp").rename(tmp_path / "final")
            shutil.rmtree(tmp_path / "final")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(2000):
            assert "stays" in transfer.snapshot(tmp_path)
    finally:
        end.set()
        thread.join()
