"""The speed of `t2igan prepare`, beside decoding and resizing alone, and its memory by rows.

    python scripts/benchmarks/prepare_speed.py
    python scripts/benchmarks/prepare_speed.py --rows 10000 100000 1000000
    python scripts/benchmarks/prepare_speed.py --beam_python=.venv-beam/bin/python

Photographs are stood for by smooth noise as JPEG, five captions of twelve words each. Times are
CPU-seconds of whole processes, so that other work on the machine counts little; the ways take turns
and the medians of their ratios within a round are given. `--rows` measures instead the peak of the
memory that a process holds itself (RssAnon of /proc, Linux), for parquet files of so many rows.
`--beam_python`, of an environment with Apache Beam, measures the same on Beam beside one machine.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = [f"word{number}" for number in range(2000)]
SIZE = 64

_ALONE = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
for path in sorted(Path(sys.argv[1]).glob("*.jpg")):
    with Image.open(path) as picture:
        np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--sides", type=int, nargs="*", default=[128, 500])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=10_000, help="images in 100 tars")
    parser.add_argument("--rows", type=int, nargs="*", help="memory, not speed")
    parser.add_argument("--beam_python", help="Beam instead")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if flags.rows:
            for rows in flags.rows:
                print(json.dumps(_memory(folder, rows)), flush=True)
            return
        if flags.beam_python:
            for side in flags.sides:
                row = _beam(folder / f"{side}", flags.images, side, flags.rounds, flags.beam_python)
                print(json.dumps(row), flush=True)
            return
        for side in flags.sides:
            print(json.dumps(_speeds(folder / f"{side}", flags.images, side, flags.rounds)))
        print(json.dumps(_many_small(folder / "small", flags.small)))


def _speeds(folder: Path, images: int, side: int, rounds: int) -> dict[str, object]:
    """Images per CPU-second of each way, start-up taken off, and the ratios to decoding alone."""
    jpegs = _jpegs(folder / "images", images, side)
    _table(folder / "captions.csv", jpegs)
    _tars(folder, jpegs, 4)
    _parquet(folder / "train.parquet", [path.read_bytes() for path in jpegs])
    files = [f"--images={folder / 'images'}", f"--captions={folder / 'captions.csv'}"]
    ways: dict[str, Callable[[], float]] = {
        "alone": lambda: _cpu_seconds([sys.executable, "-c", _ALONE, str(folder / "images")]),
        "files": lambda: _prepare(folder, "folder", *files),
        "tar": lambda: _prepare(folder, "webdataset", f"--files={folder}/{{000..003}}.tar"),
        "parquet": lambda: _prepare(folder, "parquet", f"--files={folder / 'train.parquet'}"),
    }
    starts = {
        "alone": _cpu_seconds([sys.executable, "-c", "import numpy, PIL.Image"]),
        "prepare": _prepare(folder, "shapes", "--num_examples=64"),
    }
    taken = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    rates = {
        name: [
            images / (one[name] - starts["alone" if name == "alone" else "prepare"])
            for one in taken
        ]
        for name in ways
    }
    row: dict[str, object] = {"side": side, "images": images}
    for name in ways:
        row[name] = round(statistics.median(rates[name]))
        ratios = [a / b for a, b in zip(rates[name], rates["alone"], strict=True)]
        row[f"{name} / alone"] = round(statistics.median(ratios), 2)
    return row


def _beam(folder: Path, images: int, side: int, rounds: int, python: str) -> dict[str, object]:
    """Images per CPU-second from tars, all stages counted, start-up taken off; worker-hours."""
    jpegs = _jpegs(folder / "images", images, side)
    _tars(folder, jpegs, 4)
    _tars(folder / "images", jpegs[:4], 1)  # start-up and little else
    beam = "--beam_options=--runner=DirectRunner --direct_running_mode=in_memory"

    def seconds(files: str, *flags: str) -> float:
        command = _command(folder, "webdataset", f"--files={files}", *flags)
        return _cpu_seconds([python, *command[1:]])

    rates: dict[str, list[float]] = {"one machine": [], "Beam": []}
    for _ in range(rounds):
        for name, flags in (("one machine", []), ("Beam", [beam])):
            start = seconds(f"{folder / 'images'}/000.tar", *flags)
            rates[name].append(images / (seconds(f"{folder}/{{000..003}}.tar", *flags) - start))
    rate = statistics.median(rates["Beam"])
    pairs = zip(rates["Beam"], rates["one machine"], strict=True)
    return {
        "side": side,
        "images": images,
        "images_per_cpu_sec": {n: round(statistics.median(r)) for n, r in rates.items()},
        "Beam / one machine": round(statistics.median(a / b for a, b in pairs), 2),
        "core_hours_of_100_million": round(1e8 / rate / 3600),
    }


def _many_small(folder: Path, images: int) -> dict[str, object]:
    """Images of 32x32 from 100 tars."""
    jpegs = _jpegs(folder / "images", images, 32)
    _tars(folder, jpegs, 100)
    start = time.monotonic()
    cpu = _prepare(folder, "webdataset", f"--files={folder}/{{000..099}}.tar")
    return {
        "images": images,
        "tars": 100,
        "seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(cpu, 1),
    }


def _memory(folder: Path, rows: int) -> dict[str, object]:
    picture = _encoded(np.random.default_rng(0), 16)
    _parquet(folder / "rows.parquet", picture, rows)
    command = _command(folder, "parquet", f"--files={folder / 'rows.parquet'}", "--image_size=16")
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = [0]

    def watch() -> None:
        while child.poll() is None:
            try:
                status = Path(f"/proc/{child.pid}/status").read_text()
            except OSError:
                return
            lines = [line for line in status.splitlines() if line.startswith("RssAnon:")]
            peak[0] = max(peak[0], *(int(line.split()[1]) for line in lines), 0)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert child.wait() == 0
    watcher.join()
    return {
        "rows": rows,
        "peak_mib": round(peak[0] / 1024),
        "seconds": round(time.monotonic() - start),
    }


def _prepare(folder: Path, source: str, *flags: str) -> float:
    return _cpu_seconds(_command(folder, source, *flags))


def _command(folder: Path, source: str, *flags: str) -> list[str]:
    shutil.rmtree(folder / "out", ignore_errors=True)
    prepare = [sys.executable, "-P", "-m", "t2igan", "prepare", f"--source={source}"]
    size = (
        [] if any(flag.startswith("--image_size") for flag in flags) else [f"--image_size={SIZE}"]
    )
    return [*prepare, *flags, *size, "--workers=1", f"--out={folder / 'out'}"]


def _cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _encoded(rng: np.random.Generator, side: int) -> bytes:
    """A JPEG that packs about as a photograph does."""
    small = Image.fromarray(rng.integers(0, 256, (side // 4, side // 4, 3), np.uint8))
    out = io.BytesIO()
    small.resize((side, side * 3 // 4 if side > 200 else side), Image.Resampling.BICUBIC).save(
        out, "JPEG", quality=90
    )
    return out.getvalue()


def _jpegs(folder: Path, number: int, side: int) -> list[Path]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{index:06d}.jpg" for index in range(number)]
    for path in paths:
        path.write_bytes(_encoded(rng, side))
    return paths


def _captions(rng: random.Random) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=12)) for _ in range(5)]


def _table(path: Path, jpegs: list[Path]) -> None:
    rng = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "caption"))
        for jpeg in jpegs:
            writer.writerows((jpeg.name, caption) for caption in _captions(rng))


def _tars(folder: Path, jpegs: list[Path], number: int) -> None:
    rng = random.Random(0)
    share = -(-len(jpegs) // number)
    for index in range(number):
        with tarfile.open(folder / f"{index:03d}.tar", "w") as tar:
            for jpeg in jpegs[index * share : (index + 1) * share]:
                tar.add(jpeg, jpeg.name)
                text = "\n".join(_captions(rng)).encode()
                member = tarfile.TarInfo(jpeg.stem + ".txt")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))


def _parquet(path: Path, images: list[bytes] | bytes, rows: int = 0) -> None:
    """As `datasets` writes it; one image may stand for all rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(0)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", kind), ("caption", pa.list_(pa.string()))])
    total = rows or len(images)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, total, 1000):
            several = range(start, min(start + 1000, total))
            table = {
                "image": [
                    {
                        "bytes": images if isinstance(images, bytes) else images[i],
                        "path": f"{i}.jpg",
                    }
                    for i in several
                ],
                "caption": [_captions(rng) for _ in several],
            }
            writer.write_table(pa.table(table, schema=schema))


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
