"""The ladder's rungs stand on each other, and its page says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import ladder as script
import pytest

from configs import ladder as rungs
from t2igan.config import override as configs
from t2igan.sweep import trials as trials_of

ROOT = Path(__file__).resolve().parents[2]
KEPT = sorted(path.stem for path in (ROOT / "docs" / "ladder").glob("*.jsonl"))


def test_every_rung_is_added_to_one_before_it():
    seen: list[str] = []
    for rung in rungs.RUNGS:
        assert (rung["on"] in seen) if seen else rung["on"] == ""
        seen.append(rung["name"])
    assert rungs.all_changes("head start")["ema.decay"] == 0.998


@pytest.mark.parametrize(("arg", "count"), [("", 10), (":sentences", 14)])
def test_every_rung_is_a_trial_of_the_sweep(tmp_path, arg, count):
    trials = trials_of.find_trials([f"--config=configs/ladder.py{arg}"], tmp_path)
    assert len(trials) == count
    steps = {configs.fields(trial.config)["train.steps"] for trial in trials}
    batches = {configs.fields(trial.config)["train.batch_size"] for trial in trials}
    assert (steps, batches) == ({2000}, {16})  # equal images


def _line(rung, on, distance):
    metric = {
        "estimate": {"value": distance, "interval": [distance - 1, distance + 1]},
        "anchors": {"real": {"value": 2.0, "interval": [1.5, 2.5]}},
        "better": "lower",
    }
    return {
        "rung": rung,
        "on": on,
        "pictures": 32_000,
        "images_per_sec": 99.6,
        "metrics": {"frechet_lite0": metric},
    }


def test_the_page_is_written_from_what_was_kept(tmp_path):
    folder = tmp_path / "docs" / "ladder"
    folder.mkdir(parents=True)
    page = tmp_path / "docs" / "ladder.md"
    page.write_text("before\n{}\nold\n{}\nafter\n".format(*script.marks("x")))
    lines = [_line("report", "", 90.0), _line("average", "report", 70.0)]
    (folder / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert script.main(["--name=x", "--table", f"--root={tmp_path}"]) == 0
    assert page.read_text() == (
        "before\n<!-- x: scripts/ladder.py -->\n\n32,000 pictures a rung.\n\n"
        "| step | added to | Frechet distance (lite0) | images/s |\n"
        "| --- | --- | --- | --- |\n"
        "| real pictures |  | 2 (1.5 to 2.5) |  |\n"
        "| report |  | 90 (89 to 91) | 100 |\n"
        "| average | report | 70 (69 to 71) | 100 |\n\n"
        "<!-- end of x -->\nafter\n"
    )


def test_a_page_without_its_marks_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "docs" / "ladder"
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_text(json.dumps(_line("report", "", 90.0)) + "\n")
    (folder.parent / "ladder.md").write_text("nothing")
    assert script.main(["--name=x", "--table", f"--root={tmp_path}"]) == 2
    assert "ladder.md must have one" in capsys.readouterr().err
    assert (folder.parent / "ladder.md").read_text() == "nothing"


@pytest.mark.parametrize("name", KEPT)
def test_the_page_in_docs_is_up_to_date(name):
    page = ROOT / "docs" / "ladder.md"
    kept = ROOT / "docs" / "ladder" / f"{name}.jsonl"
    assert page.read_text() == script.filled(page, *script.marks(name), script.table(kept))
