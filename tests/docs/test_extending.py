"""docs/extending.md works as it is written: its files, outside the package, and its commands."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2igan.cli.main import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"```python\n# (my_pkg/\w+\.py)\n(.*?)```", PAGE, re.S))
COMMANDS = re.search(r"```bash\n(.*?)```", PAGE, re.S)
NARROW = [f"--config.model.{width}=2" for width in ("gf_dim", "df_dim", "cond_dim", "z_dim")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's package and twenty captioned images."""
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    rows = []
    for index in range(20):
        image = random.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
        rows.append(f"{index}.png\ta {'red' if index % 2 else 'blue'} dog")
    (tmp_path / "captions.tsv").write_text("\n".join(rows) + "\n")
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "my_pkg"]:
        del sys.modules[name]


def test_the_page_has_a_file_of_each_kind() -> None:
    assert sorted(FILES) == ["my_pkg/brightness.py", "my_pkg/lsgan.py", "my_pkg/tsv.py"]


def test_its_files_and_commands_work_outside_the_package(here: Path) -> None:
    assert COMMANDS is not None
    small = ["--config.train.steps=2", "--config.train.batch_size=4", "--devices=1", *NARROW]
    for line in COMMANDS[1].splitlines():
        words = shlex.split(line)[1:]
        assert main(words + (small if words[0] == "train" else [])) == 0, line
    lines = (here / "runs/lsgan/evaluation.jsonl").read_text().splitlines()
    (result,) = [line for line in map(json.loads, lines) if line.get("metric") == "brightness"]
    assert 0 <= result["estimate"]["value"] <= 255
    # 20 images of uniform noise: the mean of 0 to 255, within five standard errors.
    assert result["references"]["real"]["value"] == pytest.approx(127.5, abs=15)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["train", "--config=configs/tiny.py", "--workdir=run", "--config.recipe=my_pkg.none"],
            "no module my_pkg.none",
        ),
        (["prepare", "--source=my_pkg.lsgan", "--out=data"], "my_pkg.lsgan defines no open_source"),
        (["evaluate", "--images=images", "--metrics=my_pkg.tsv"], "my_pkg.tsv defines no measure"),
    ],
)
def test_a_module_that_is_not_there_or_is_another_kind_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    if words[0] == "train":
        shapes = ["--source=shapes", "--num_examples=20", "--image_size=32", "--out=shapes"]
        assert main(["prepare", *shapes]) == 0
        words = [*words, "--config.data.dir=shapes", "--devices=1"]
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
