"""The scripts that measure `prepare`, and memory over time, on little."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"


def _lines(script, *flags):
    command = [sys.executable, BENCHMARKS / script, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_each_way_is_measured_beside_decoding_alone():
    speeds, small = map(
        json.loads,
        _lines("prepare_speed.py", "--images=300", "--sides", "64", "--rounds=1", "--small=200"),
    )
    for way in ("files", "tar", "parquet"):
        assert speeds[way]
        assert f"{way} / alone" in speeds
    assert small["images"] == 200


def test_memory_is_measured_by_rows():
    (told,) = map(json.loads, _lines("prepare_speed.py", "--rows", "100"))
    assert 10 < told["peak_mib"] < 1000


def test_memory_that_grows_is_seen():
    grows = (
        "import time\nkept = []\nfor _ in range(100): kept.append(b'x' * 2**20); time.sleep(0.2)"
    )
    command = [sys.executable, "-c", grows]
    *table, last = _lines("memory_over_time.py", "--minutes=0.2", "--", *command)
    assert table[0].startswith("minute   1:")
    # 1 MiB in 0.2 s is 300 in a minute.
    assert 150 < json.loads(last)["mib_a_minute_in_second_half"] < 320
