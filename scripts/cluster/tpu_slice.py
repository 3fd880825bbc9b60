#!/usr/bin/env python3
"""Trains on a Cloud TPU slice until the run is done, also when the slice is preempted.

    scripts/cluster/tpu_slice.py --name=my-run --zone=us-west4-a --type=v5litepod-16 --spot -- \\
        --config=configs/coco_stage1.py --workdir=gs://my-bucket/runs/coco \\
        --config.data.dir=gs://my-bucket/data/coco

Asks for the slice (a queued resource), copies what is committed to every host, makes the
environment there, starts `t2igan train` with the words after `--`, detached, and follows host 0's
log. A slice that is preempted is deleted and asked for again; the run goes on from its bucket.
Ctrl-C ends the following, not the training: the same command follows again. The slice is deleted
when the run is done, or with --delete. Needs: gcloud, logged in. Imports nothing but the standard
library, so that any Python runs it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = float(os.environ.get("TPU_SLICE_POLL_SECONDS", "20"))
GONE = ("SUSPENDED", "SUSPENDING", "FAILED", "DELETING", "PREEMPTED")
VERSIONS = {"v2": "tpu-ubuntu2204-base", "v3": "tpu-ubuntu2204-base", "v4": "tpu-ubuntu2204-base"}
VERSIONS |= {"v5litepod": "v2-alpha-tpuv5-lite", "v5p": "v2-alpha-tpuv5", "v6e": "v2-alpha-tpuv6e"}
DONE = "steps are done"  # in the last line of a finished run's log


class Mistake(Exception):
    """What the user can put right, in one line."""


class Slice:
    """One queued resource and its hosts, by gcloud."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._where = [f"--zone={args.zone}"]
        self._where += [f"--project={args.project}"] if args.project else []

    def state(self) -> str:
        """Returns ACTIVE, WAITING_FOR_RESOURCES and so on; empty where there is none."""
        done = self._gcloud(
            "queued-resources", "describe", self._args.name, "--format=value(state.state)"
        )
        if done.returncode == 0:
            return done.stdout.strip()
        if "NOT_FOUND" in done.stderr or "not found" in done.stderr.lower():
            return ""
        raise Mistake(f"gcloud: {_last(done.stderr)}")

    def create(self) -> None:
        """Asks for the slice."""
        kind = self._args.type
        version = self._args.version or VERSIONS.get(kind.rpartition("-")[0], "")
        if not version:
            raise Mistake(f"--type={kind}: name its software with --version")
        flags = [f"--node-id={self._args.name}", f"--accelerator-type={kind}"]
        flags += [f"--runtime-version={version}", *(["--spot"] if self._args.spot else [])]
        done = self._gcloud("queued-resources", "create", self._args.name, *flags)
        if done.returncode:
            raise Mistake(f"gcloud: {_last(done.stderr)}")

    def delete(self) -> None:
        """Deletes the slice; where there is none nothing is done."""
        self._gcloud("queued-resources", "delete", self._args.name, "--force", "--quiet")

    def copy(self, file: Path) -> bool:
        """Copies a file into every host's home; returns whether that went well."""
        target = f"{self._args.name}:{file.name}"
        return self._gcloud("tpu-vm", "scp", str(file), target, "--worker=all").returncode == 0

    def run(self, command: str, worker: str = "all") -> str | None:
        """Returns what a command prints on hosts; None where they cannot be reached."""
        flags = [f"--worker={worker}", f"--command={command}"]
        done = self._gcloud("tpu-vm", "ssh", self._args.name, *flags)
        return done.stdout if done.returncode == 0 else None

    def _gcloud(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["gcloud", "compute", "tpus", *words, *self._where]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )


def main(argv: list[str]) -> int:
    """Exit status: 0 once the run is done, 1 where it failed, 2 for a mistake, 130 for Ctrl-C."""
    try:
        args = _flags(argv)
        tpu = Slice(args)
        if args.delete:
            tpu.delete()
            return 0
        _check_regions(args)
        return _until_done(tpu, args)
    except Mistake as error:
        print(f"tpu_slice: error: {error}", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(f"tpu_slice: error: {error.filename} is not here; install it", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        _say("not followed any more; the training goes on: the same command follows it again")
        return 130


def _flags(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the slice")
    parser.add_argument("--zone", required=True)
    parser.add_argument("--type", default="v5litepod-8", help="e.g. v5litepod-16, v6e-8, v4-8")
    parser.add_argument("--version", help="of the TPU software (default: by --type)")
    parser.add_argument("--spot", action="store_true", help="cheaper, and may be preempted")
    parser.add_argument("--project")
    parser.add_argument("--keep", action="store_true", help="keep the slice once the run is done")
    parser.add_argument("--delete", action="store_true", help="delete the slice, and stop")
    parser.add_argument("train", nargs="*", help="flags of t2igan train, after --")
    args = parser.parse_args(argv)
    workdir = _value(args.train, "--workdir")
    if not args.delete and not (workdir or "").startswith("gs://"):
        raise Mistake("after --, --workdir=gs://BUCKET/...: hosts of a slice share no disk")
    return args


def _value(words: list[str], flag: str) -> str | None:
    return next((word.partition("=")[2] for word in words if word.startswith(f"{flag}=")), None)


def _check_regions(args: argparse.Namespace) -> None:
    """Warns where a bucket is in another region than the slice: slow, and it costs."""
    region = args.zone.rpartition("-")[0]
    buckets = {match[1] for word in args.train if (match := re.search(r"=gs://([^/]+)", word))}
    for bucket in sorted(buckets):
        command = ["gcloud", "storage", "buckets", "describe", f"gs://{bucket}"]
        done = subprocess.run(
            [*command, "--format=value(location)"], capture_output=True, text=True, check=False
        )
        place = done.stdout.strip().lower()
        if done.returncode:
            raise Mistake(f"gs://{bucket}: {_last(done.stderr)}")
        if place not in (region, region.partition("-")[0]):
            _say(f"warning: gs://{bucket} is in {place}, the slice in {region}: reading is slow")


def _until_done(tpu: Slice, args: argparse.Namespace) -> int:
    times = 0
    while True:
        state = tpu.state()
        if state in GONE:
            _say(f"the slice is {state}: deleted, and asked for again")
            tpu.delete()
            while tpu.state():
                time.sleep(POLL_SECONDS)
            state = ""
        if not state:
            tpu.create()
            _say(f"asked for {args.type} in {args.zone} as {args.name}")
        if not _wait_until_active(tpu):
            continue
        times += 1
        status = _train(tpu, args, first=times == 1)
        if status is not None:
            if status == 0 and not args.keep:
                tpu.delete()
                _say("the run is done; the slice is deleted")
            return status


def _wait_until_active(tpu: Slice) -> bool:
    said = ""
    while True:
        state = tpu.state()
        if state == "ACTIVE":
            return True
        if state in GONE or not state:
            return False
        if state != said:
            _say(f"the slice is {state}")
            said = state
        time.sleep(POLL_SECONDS)


def _train(tpu: Slice, args: argparse.Namespace, *, first: bool) -> int | None:
    """Starts the training where it is not under way and follows it; None for a slice that went."""
    running = "test -e t2igan.started && echo yes || echo no"
    if "no" in (tpu.run(running) or "no") and not _start(tpu, args):
        return None
    if not first:
        _say("the training goes on")
    seen = 0
    while True:
        # The log second: what a training that has ended has said is there by then.
        status = (tpu.run("cat t2igan.status 2>/dev/null || true", "0") or "").strip()
        log = tpu.run(f"tail -c +{seen + 1} t2igan.log", "0")
        if log is not None:
            sys.stdout.write(log)
            sys.stdout.flush()
            seen += len(log.encode())
            if status.isdigit():
                return _ended(tpu, int(status))
        if tpu.state() != "ACTIVE":
            return None
        time.sleep(POLL_SECONDS)


def _ended(tpu: Slice, status: int) -> int | None:
    """What the training ended with; None where it was asked to stop before its end."""
    end = tpu.run("tail -n 3 t2igan.log", "0") or ""
    if status == 0 and DONE not in end:
        tpu.run("rm -f t2igan.started t2igan.status")
        return None
    return status


def _start(tpu: Slice, args: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "t2igan.tar.gz"
        git = ["git", "-C", str(ROOT)]
        subprocess.run(
            [*git, "archive", "--format=tar.gz", f"--output={bundle}", "HEAD"], check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
        if changed.stdout:
            _say("only what is committed goes to the hosts; this checkout has other changes")
        if not tpu.copy(bundle):
            return False
    # Quoted once here, so that a word with blanks arrives on the hosts as it was typed.
    train = shlex.join([".venv/bin/python", "-P", "-m", "t2igan", "train", *args.train])
    setup = (
        "set -e; rm -rf t2igan t2igan.status; mkdir t2igan; tar -xzf t2igan.tar.gz -C t2igan; "
        "cd t2igan; scripts/environment; "
        ".venv/bin/python -m pip install --quiet --editable '.[tpu,gcs]'; "
        "touch ../t2igan.log"
    )
    detached = f"cd t2igan; {train} >>../t2igan.log 2>&1; echo $? >../t2igan.status"
    start = f"touch t2igan.started; setsid nohup sh -c {shlex.quote(detached)} </dev/null &"
    _say("setting up the hosts")
    return tpu.run(setup) is not None and tpu.run(f"{start} sleep 1") is not None


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no answer"


def _say(text: str) -> None:
    print(f"tpu_slice: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
