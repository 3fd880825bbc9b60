"""Mutates every kind of file that the software reads, and kills trainings at random moments.

    python scripts/fuzz.py --mutations=200 --kills=10

Right is: the file is read, or refused as a user's mistake, within the time limit. A traceback, a
hang or too much memory is a failure: it is printed with the mutated file's path, and the exit
status is 1. Killed trainings must end with the very bits of one that was not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import h5py
import numpy as np
from PIL import Image

from input_pipeline.dataset.open import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.files import read_lines
from input_pipeline.images import decode
from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary
from t2igan.cli.main import main as t2igan
from t2igan.config import record
from t2igan.metrics.matcher import model as matchers
from t2igan.report import curves
from t2igan.sampling import exported
from t2igan.sampling.output import manifest_names
from t2igan.workdir.checkpoints import restore_item
from t2igan.workdir.meta import CheckpointMeta

SECONDS = 20  # for one file
MEMORY_GIB = 8
IMAGES = 6
CAPTION = "a small red star on the left"
Kind = tuple[Path, Callable[[Path], Any]]  # the file, and what reads it from a copy of its folder


SPECIAL = [b'"', b"\\", b"{", b"[" * 2000, b"\n", b"\r", b"\t", b",", b"-1", b"1e999", b"null"]
SPECIAL += [b"\xef\xbb\xbf", b"\xff\xfe", b"../../", b"\x1b[31m", b"NaN", b"\x00", b"9" * 11]


def mutated(data: bytes, random_: random.Random) -> bytes:
    """Returns the bytes with one to four changes of kinds that break parsers."""
    for _ in range(random_.randint(1, 4)):
        data = _changed(data, random_)
    return data


def _changed(data: bytes, random_: random.Random) -> bytes:
    place = random_.randrange(len(data) + 1)
    length = random_.choice([1, 1, 2, 8, 64, 1024])
    before, block, after = data[:place], data[place : place + length], data[place + length :]
    instead = random_.choice(
        [
            random_.randbytes(length),
            b"",
            block * random_.choice([2, 50]),
            bytes(length),
            b"\xff" * length,
            random_.choice(SPECIAL) + block,
            bytes(byte ^ 1 for byte in block),
            None,  # the rest is cut off
        ]
    )
    return before if instead is None else before + instead + after


class Timeout(Exception):
    """A file took longer than it may."""


def fuzz(name: str, kind: Kind, mutations: int, random_: random.Random) -> dict[str, int]:
    """Returns how many mutations of a file were read, refused, and failed."""
    file, read = kind
    root = file.parents[len(file.relative_to(WORLD).parts) - 2]  # its folder right below WORLD
    counts = {"read": 0, "refused": 0, "failed": 0}
    whole = file.read_bytes()
    with tempfile.TemporaryDirectory(prefix="t2igan-fuzz-") as scratch:
        copy = Path(scratch) / root.name
        shutil.copytree(root, copy)
        target = copy / file.relative_to(root)
        if _outcome(name, read, target, -1) != "read":
            raise SystemExit(f"fuzz: {name} is not read as it is")
        for number in range(mutations):
            target.write_bytes(mutated(whole, random_))
            counts[_outcome(name, read, target, number)] += 1
    return counts


def _outcome(name: str, read: Callable[[Path], Any], target: Path, number: int) -> str:
    said = io.StringIO()
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found = read(target)
            refused = isinstance(found, str) and found == "refused"
    except (UserError, decode.Rejected):
        refused = True
    except BaseException as error:
        kept = Path(tempfile.gettempdir()) / f"t2igan-fuzz-{name.replace('/', '_')}-{number}"
        shutil.copyfile(target, kept)
        print(f"{name}: {type(error).__name__}: {error}\n  {kept}", file=sys.stderr)
        traceback.print_exc(limit=-3)
        return "failed"
    finally:
        signal.alarm(0)
    return "refused" if refused else "read"


def _command(*words: str) -> str:
    """Runs a subcommand; "refused" after a mistake in one line."""
    status = t2igan(list(words))
    if status not in (0, 2):
        raise AssertionError(f"exit status {status}")
    return "refused" if status else "read"


def _prepare(source: str, *flags: str) -> Callable[[Path], str]:
    def read(file: Path) -> str:
        out = file.parent / "made"
        words = [flag.format(file=file, folder=file.parent) for flag in flags]
        status = _command(
            "prepare",
            f"--source={source}",
            f"--out={out}",
            "--image_size=32",
            "--workers=1",
            *words,
        )
        for made in file.parent.glob("made*"):
            shutil.rmtree(made) if made.is_dir() else made.unlink()
        return status

    return read


def _read_dataset(file: Path) -> None:
    dataset = open_dataset(file.parent)
    for split in dataset.splits:
        source = dataset.source(split)
        source.__getitems__(list(range(len(source))))


def _read_run(file: Path) -> None:
    workdir = next(parent for parent in file.parents if (parent / "config.json").is_file())
    step, _ = restore_item(workdir, "latest", "generator")
    CheckpointMeta.from_json(restore_item(workdir, step, "meta")[1])


def _read_metrics(file: Path) -> None:
    lines = read_lines(file)
    curves.charts(lines)
    curves.clock(lines)


def _decode(file: Path) -> None:
    decode.decode(file)


WORLD = Path()


def make_world(folder: Path) -> dict[str, Kind]:
    """Returns the kinds of files, made in a folder: small, whole, and read without complaint."""
    global WORLD
    WORLD = folder
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(IMAGES)]

    def place(name: str) -> Path:
        there = folder / name
        there.mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(there / f"{index}.png")
        return there

    kinds: dict[str, Kind] = {}
    names = [f"{index}.png" for index in range(IMAGES)]
    texts = [f"a picture of thing number {index}" for index in range(IMAGES)]
    table = place("table")
    rows = "".join(f"{n},{t}\n" for n, t in zip(names, texts, strict=True))
    (table / "captions.csv").write_text("image,caption\n" + rows)
    flags = ("--captions={file}", "--images={folder}")
    kinds["captions.csv"] = table / "captions.csv", _prepare("folder", *flags)
    coco = place("coco")
    entries = {
        "images": [{"id": i, "file_name": n} for i, n in enumerate(names)],
        "annotations": [{"image_id": i, "caption": t} for i, t in enumerate(texts)],
    }
    (coco / "coco.json").write_text(json.dumps(entries))
    kinds["coco.json"] = coco / "coco.json", _prepare("coco", *flags)
    hub = place("imagefolder")
    lines = [json.dumps({"file_name": n, "text": t}) for n, t in zip(names, texts, strict=True)]
    (hub / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    kinds["metadata.jsonl"] = hub / "metadata.jsonl", _prepare("folder", "--images={folder}")
    beside = place("beside")
    for index, text in enumerate(texts):
        (beside / f"{index}.txt").write_text(text)
    kinds["0.txt"] = beside / "0.txt", _prepare("folder", "--images={folder}")
    kinds["0.png"] = beside / "0.png", _decode
    Image.fromarray(images[0]).save(beside / "a.jpg")
    kinds["a.jpg"] = beside / "a.jpg", _decode
    (beside / "a.txt").write_text(texts[0])
    shards = folder / "shards"
    shards.mkdir()
    with tarfile.open(shards / "0.tar", "w") as tar:
        for index in range(len(texts)):
            tar.add(beside / f"{index}.png", f"{index}.png")
            tar.add(beside / f"{index}.txt", f"{index}.txt")
    kinds["0.tar"] = shards / "0.tar", _prepare("webdataset", "--files={file}")
    _parquet(shards / "0.parquet", beside, texts)
    kinds["0.parquet"] = shards / "0.parquet", _prepare("parquet", "--files={file}")
    vectors = place("vectors")
    shutil.copy(table / "captions.csv", vectors)
    words = "".join(f"{w} 0.1 -0.2 0.3\n" for w in ("a", "picture", "of", "thing", "number"))
    (vectors / "glove.txt").write_text(words)
    glove = ("--captions={folder}/captions.csv", "--images={folder}", "--word_vectors={file}")
    kinds["glove.txt"] = vectors / "glove.txt", _prepare("folder", *glove)
    report = place("report")
    _hdf5(report / "captions.h5")
    kinds["captions.h5"] = report / "captions.h5", _prepare("hdf5", *flags)
    return kinds | _made_by_the_software(folder)


def _hdf5(path: Path) -> None:
    """The report's layout: it is read by a process of its own, which a damaged file may crash."""
    words = (*SPECIAL_WORDS, "thing")
    codes = np.zeros((IMAGES, 17), np.int64)
    codes[:, :3] = [1, len(SPECIAL_WORDS), 2]
    word_code = np.zeros(1, [(word, "i8") for word in words])
    word_code[0] = tuple(range(len(words)))
    with h5py.File(path, "w") as file:
        file["train_cap"], file["train_imid"] = codes, np.arange(1, IMAGES + 1)
        file["train_url"] = np.array([f"http://a/{i}.png".encode() for i in range(IMAGES)])
        file["word_code"] = word_code


def _parquet(path: Path, folder: Path, texts: list[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    images = [
        {"bytes": (folder / f"{index}.png").read_bytes(), "path": f"{index}.png"}
        for index in range(len(texts))
    ]
    parquet.write_table(pyarrow.table({"image": images, "text": texts}), path)


def _made_by_the_software(folder: Path) -> dict[str, Kind]:
    data, run = folder / "data", folder / "run"
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        for words in (
            ["prepare", "--source=shapes", f"--out={data}", "--num_examples=60", "--image_size=32"],
            ["train", *_SHORT, f"--workdir={run}", f"--config.data.dir={data}"],
            ["sample", f"--workdir={run}", f"--caption={CAPTION}", f"--out={folder / 'sampled'}"],
            ["export", f"--workdir={run}", "--format=safetensors", f"--out={folder / 'export'}"],
        ):
            if t2igan(words):
                raise SystemExit(f"fuzz: {words} failed: {quiet.getvalue()[-500:]}")
    step = sorted((run / "checkpoints").glob("step_*"))[-1]
    arrays = max((p for p in (step / "generator").rglob("*") if p.is_file()), key=_size)
    (meta,) = [p for p in (step / "meta").rglob("*") if p.is_file() and p.name == "metadata"]
    shard = next(data.glob("*train*array_record*"))
    weights = next((folder / "export").rglob("*.safetensors"))
    files = {name: (data / name, _read_dataset) for name in DATASET_FILES}
    words = Vocabulary((*SPECIAL_WORDS, "thing"))
    params = {name: np.ones((4, 4), np.float32) for name in ("image/1", "words")}
    matcher = matchers.Matcher(params, matchers.describe(params, words, 7, {}))
    matcher.save(folder / "matcher" / "matcher.npz")
    return files | {
        "shard": (shard, _read_dataset),
        "MANIFEST.json": (step / "MANIFEST.json", _read_run),
        "meta": (meta, _read_run),
        "generator": (arrays, _read_run),
        "config.json": (run / "config.json", lambda file: record.read(file)),
        "metrics.jsonl": (
            run / "metrics.jsonl",
            _read_metrics,
        ),
        "manifest.jsonl": (
            folder / "sampled" / "manifest.jsonl",
            lambda file: manifest_names(file.parent),
        ),
        "matcher.npz": (folder / "matcher" / "matcher.npz", matchers.load),
        "safetensors": (weights, lambda file: exported.read(file.parent)),
    }


_SHORT = ["--config=configs/tiny.py", "--config.train.steps=4", "--config.train.checkpoint_every=2"]
DATASET_FILES = ("report.json", "vocabulary.json", "word_vectors.npy", "dataset_info.json")


def _size(path: Path) -> int:
    return path.stat().st_size


def kill(times: int, folder: Path, random_: random.Random) -> bool:
    """Returns whether a training killed at random moments ends as one that was not."""
    flags = ["--config=configs/tiny.py", f"--config.data.dir={folder / 'data'}"]
    flags += ["--config.train.steps=40", "--config.train.checkpoint_every=4"]

    def start(name: str) -> subprocess.Popen[bytes]:
        words = [
            sys.executable,
            "-P",
            "-m",
            "t2igan",
            "train",
            f"--workdir={folder / name}",
            *flags,
        ]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    if start("whole").wait():
        return False
    for _ in range(times):
        child = start("killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(random_.uniform(0.5, 10))
        child.kill()
        child.wait()
    if start("killed").wait():
        return False
    import jax

    states = [restore_item(folder / name, "latest", "state")[1] for name in ("whole", "killed")]
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), *states)
    return all(jax.tree.leaves(same))


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    def too_long(number: int, frame: object) -> None:
        raise Timeout(f"over {SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB << 30, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def main(argv: list[str] | None = None) -> int:
    """Exit status: 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mutations", type=int, default=200, help="of each kind of file")
    parser.add_argument("--kills", type=int, default=10, help="of one training")
    parser.add_argument("--only", default="", help="kinds, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="t2igan-fuzz-") as scratch:
        kinds = make_world(Path(scratch))
        chosen = args.only.split(",") if args.only else list(kinds)
        print(f"{'file':<18} {'read':>5} {'refused':>8} {'failed':>7} {'seconds':>8}")
        with _limits():
            for name in chosen:
                start = time.monotonic()
                counts = fuzz(name, kinds[name], args.mutations, random.Random(args.seed))
                failed += counts["failed"]
                row = f"{counts['read']:>5} {counts['refused']:>8} {counts['failed']:>7}"
                print(f"{name:<18} {row} {time.monotonic() - start:>8.1f}", flush=True)
        if args.kills and not kill(args.kills, Path(scratch), random.Random(args.seed)):
            print(f"a training killed {args.kills} times did not end as one that was not killed")
            failed += 1
        elif args.kills:
            print(f"a training killed {args.kills} times ends with the same bits")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
