"""What `train --print_config` and `train --help` show."""

from pathlib import Path

from configs import tiny
from t2igan.cli.main import main
from t2igan.config.describe import described, shipped_configs
from t2igan.config.record import fields

ROOT = Path(__file__).resolve().parents[3]


def test_every_field_is_described_and_what_differs_is_marked():
    config = tiny.get_config()
    config.train.batch_size = 24
    lines = described(config).splitlines()
    assert len(lines) == len(fields(config))
    (line,) = [line for line in lines if "train.batch_size" in line]
    assert line.startswith("*")
    assert "24" in line
    assert "default 128" in line
    assert line.endswith("images a step over all devices and processes")
    (same,) = [line for line in lines if "ema.ramp_steps" in line]
    assert same.startswith(" ")


def test_print_config_trains_nothing(tmp_path, capsys):
    workdir = tmp_path / "run"
    assert (
        main(["train", "--config=configs/tiny.py", f"--workdir={workdir}", "--print_config"]) == 0
    )
    assert "train.batch_size" in capsys.readouterr().out
    assert not workdir.exists()


def test_help_lists_every_config_that_ships(capsys):
    names = {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    names -= {"configs/__init__.py", "configs/common.py"}
    assert shipped_configs().keys() == names
    assert main(["train", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names)
