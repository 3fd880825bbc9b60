import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks" / "input_speed.py"


def test_it_measures_a_made_up_data_set(tmp_path):
    out = tmp_path / "speed.json"
    flags = ["--num_images=200", "--image_size=8", "--batch_size=40", "--rounds=2"]
    flags += ["--consumer_rates", "4000", "--seconds=0.1", f"--json={out}"]
    run = subprocess.run(
        [sys.executable, SCRIPT, *flags], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "shards" in run.stdout
    result = json.loads(out.read_text())
    rates = result["images_per_cpu_sec"]
    assert set(rates) == {"shards", "memory", "memory, flip", "memory, to the device"}
    assert all(0 < rate["least"] <= rate["median"] <= rate["most"] for rate in rates.values())
    assert 0 <= result["waiting"][0]["part_of_step"] <= 1
    assert result["setting"]["images"] == 200
