"""What only a machine with the card can tell, by one command, in eight minutes at most.

    python scripts/accelerator_check.py --json=docs/results/accelerator-h200.json
    python scripts/tables/accelerator.py          # writes the tables of docs/performance.md

In parts, each in a process of its own: the fast forms equal the plain ones on the device; the train
step of the StackGAN baseline beside PyTorch's (where --peers_python has torch) and as a share of
the measured matrix rate; images a second of every config at several batch sizes, in float32 and
bfloat16; what a step waits for its batch, from memory and from shards; and the quickstart's
accuracy. A part that fails or has no time left is named in the JSON; the others count.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ("coco_stage1", "flickr8k", "quickstart", "shapes_hour", "photographs", "flowers")
DTYPES = ("float32", "bfloat16")
BATCH_SIZES = (32, 128, 512)
_MOST_MINUTES = 8.0
_LEAST_SECONDS = 5.0  # for which a part is begun
# Shares of the time, in order; what a part leaves goes to the next ones.
PARTS = {"forms": 0.1, "peers": 0.25, "configs": 0.35, "input": 0.1, "quickstart": 0.2}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 where a part failed."""
    flags = _parse_flags(argv)
    if flags.part == "configs":
        _configs(flags)
        return 0
    from benchmarks import machine

    end = time.monotonic() + 60 * flags.minutes
    result: dict[str, Any] = {"machine": machine.describe(), "parts": {}}
    left = sum(PARTS[name] for name in flags.only)
    with tempfile.TemporaryDirectory() as scratch:
        for name in flags.only:
            seconds = (end - time.monotonic()) * PARTS[name] / left
            left -= PARTS[name]
            found = _run(name, flags, Path(scratch), seconds)
            result["parts"][name] = found
            said = found.get("error") or f"{found['seconds']:.0f} s"
            print(f"{name}: {said}", file=sys.stderr, flush=True)
    text = json.dumps(result, indent=1) + "\n"
    if flags.json:
        flags.json.write_text(text)
    else:
        print(text, end="")
    return int(any("error" in part for part in result["parts"].values()))


def _parse_flags(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--json", type=Path, help="write the result here")
    add("--minutes", type=float, default=_MOST_MINUTES, help="of all parts")
    add("--only", type=_names(PARTS), default=list(PARTS), help=f"of {', '.join(PARTS)}")
    add("--peers_python", default=sys.executable, help="Python that has torch")
    add("--peers_batch_size", type=int, default=128)
    add("--configs", type=_names(CONFIGS), default=list(CONFIGS), help="comma-separated")
    add("--batch_sizes", type=int, nargs="*", default=list(BATCH_SIZES))
    add("--quickstart_steps", type=int, default=0, help="fewer than the config's")
    add("--width", type=int, default=0, help="model.gf_dim and df_dim, for a try on a processor")
    add("--part", default="", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _names(known: Sequence[str] | dict[str, float]) -> Any:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name}: there are {', '.join(known)}")
        return names

    return parse


def _run(name: str, flags: argparse.Namespace, scratch: Path, seconds: float) -> dict[str, Any]:
    """Returns what a part has found, or why it has not.

    Args:
      name: a key of `PARTS`.
      flags: of this script.
      scratch: an empty folder, or what other parts have left in it.
      seconds: after which it is ended; what it has written by then counts.
    """
    if seconds < _LEAST_SECONDS:
        return {"error": "no time was left"}
    start = time.monotonic()
    out = scratch / f"{name}.json"
    try:
        for command in _commands(name, flags, out, scratch, seconds):
            status, last = _finished(command, start + seconds - time.monotonic())
            if status:
                return {"error": f"{' '.join(command[1:4])}: {last[:300]}"}
    except subprocess.TimeoutExpired:
        if not out.is_file():
            return {"error": f"not done after {time.monotonic() - start:.0f} s"}
    found = _accuracy(scratch) if name == "quickstart" else json.loads(out.read_text())
    return {"seconds": time.monotonic() - start, "found": found}


def _finished(command: list[str], seconds: float) -> tuple[int, str]:
    """Returns exit status and last line of a command.

    Raises:
      TimeoutExpired: it was ended, with all that it had started.
    """
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return child.returncode, (output.strip().splitlines() or ["no output"])[-1]


def _commands(
    name: str, flags: argparse.Namespace, out: Path, scratch: Path, seconds: float
) -> list[list[str]]:
    python = [sys.executable]  # a script's own folder is where it imports from
    if name == "forms":
        return [[*python, "scripts/benchmark.py", "--quick", f"--json={out}"]]
    if name == "peers":
        turns = ["--rounds=2", "--turn_seconds=1", f"--batch_size={flags.peers_batch_size}"]
        peers = f"--peers_python={flags.peers_python}"
        return [[*python, "scripts/benchmark.py", "--what=train", *turns, peers, f"--json={out}"]]
    if name == "configs":
        sizes = ["--batch_sizes", *map(str, flags.batch_sizes)]
        more = [f"--configs={','.join(flags.configs)}", f"--width={flags.width}"]
        more += [f"--minutes={seconds / 60}", f"--json={out}"]
        return [[*python, "scripts/accelerator_check.py", "--part=configs", *more, *sizes]]
    if name == "input":
        return [[*python, "scripts/benchmarks/input_speed.py", "--rounds=2", f"--json={out}"]]
    t2igan = [*python, "-P", "-m", "t2igan"]
    data, run = f"{scratch / 'shapes'}", f"--workdir={scratch / 'quickstart'}"
    steps = [f"--config.train.steps={flags.quickstart_steps}"] if flags.quickstart_steps else []
    number = 2000 if flags.quickstart_steps else 40_000
    return [
        [*t2igan, "prepare", "--source=shapes", f"--num_examples={number}", f"--out={data}"],
        [
            *t2igan,
            "train",
            "--config=configs/quickstart.py",
            run,
            f"--config.data.dir={data}",
            *steps,
        ],
        [*t2igan, "evaluate", run, "--metrics=shapes_accuracy"],
    ]


def _accuracy(scratch: Path) -> dict[str, Any]:
    from input_pipeline.files import last_line, read_lines

    run = scratch / "quickstart"
    last = last_line(run / "metrics.jsonl")
    rates = [
        line["images_per_sec"]
        for line in read_lines(run / "metrics.jsonl")
        if "images_per_sec" in line
    ]
    metrics = {
        line["metric"]: line["estimate"]["value"]
        for line in read_lines(run / "evaluation.jsonl")
        if isinstance(line.get("estimate"), dict)
    }
    middle = sorted(rates)[len(rates) // 2] if rates else None
    return {"step": last.get("step"), "images_per_sec": middle, "metrics": metrics}


def _configs(flags: argparse.Namespace) -> None:
    """Writes images/s of each config's own step, on one device, its batch already there."""
    from t2igan.config import override

    end = time.monotonic() + 60 * flags.minutes
    rows = []
    for name in flags.configs:
        for size in flags.batch_sizes:
            for dtype in DTYPES:
                row: dict[str, Any] = {"config": name, "batch_size": size, "dtype": dtype}
                words = [f"--config=configs/{name}.py", f"--config.train.compute_dtype={dtype}"]
                if flags.width:
                    words += [f"--config.model.{which}_dim={flags.width}" for which in ("gf", "df")]
                if time.monotonic() > end:
                    row["error"] = "no time was left"
                else:
                    row |= _timed(override.load(words), size)
                rows.append(row)
                flags.json.write_text(json.dumps(rows))  # a later one may take too long


def _timed(config: Any, batch_size: int) -> dict[str, Any]:
    """Images a second, and the device's memory; or in a line why not."""
    import jax
    import numpy as np
    from benchmarks import problem

    from t2igan.recipes import registry
    from t2igan.runtime import device, sharding
    from t2igan.training import compile as compiled
    from t2igan.training.optimizers import make_optimizers
    from t2igan.training.state import create_state

    try:
        recipe = registry.build(config, problem.IMAGE_SIZE)
        optimizers = make_optimizers(config, problem.STEPS)
        table = np.zeros((problem.WORDS, problem.WORD_DIM), np.float32)
        dim = 384 if recipe.reads_sentences else 0
        state = create_state(
            recipe,
            optimizers,
            table,
            problem.CAPTION_LENGTH,
            seed=0,
            ema=config.ema.decay > 0,
            sentence_shape=(dim,) if dim else (),
        )
        batch = problem.make_batch(batch_size)
        if dim:
            batch["sentence"] = np.ones((batch_size, dim), np.float32)
        if recipe.extra_negatives:
            rows = np.arange(recipe.extra_negatives) % batch_size
            texts = {f"negative_{text}": batch[text][rows] for text in recipe.text_inputs}
            batch |= texts
        mesh = device.data_mesh(jax.devices()[:1])
        state, there = sharding.replicate(state, mesh), device.put(batch, mesh)
        step = compiled.make_train_step(recipe, optimizers, config, mesh)
        state, metrics = step(state, there)
        jax.block_until_ready(metrics)
        begin, steps = time.perf_counter(), 0
        while steps < 3 or (time.perf_counter() - begin < 1.0 and steps < 200):
            state, metrics = step(state, there)
            jax.block_until_ready(metrics)
            steps += 1
        seconds = (time.perf_counter() - begin) / steps
    except Exception as error:  # out of memory, a package that is missing: the next may fit
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {"images_per_sec": batch_size / seconds, "peak_bytes": used}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "scripts"))
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sys.exit(main())
