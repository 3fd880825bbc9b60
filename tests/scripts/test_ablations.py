"""Each ablation is on an earlier one, and the page says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import ablations as script
import pytest

from configs import ablations
from t2igan.config import record
from t2igan.sweep import trials as trials_of

ROOT = Path(__file__).resolve().parents[2]
KEPT = sorted(path.stem for path in (ROOT / "docs" / "ablations").glob("*.jsonl"))


def test_every_setting_is_added_to_one_before_it():
    seen: list[str] = []
    for setting in ablations.SETTINGS:
        assert (setting["on"] in seen) if seen else setting["on"] == ""
        seen.append(setting["name"])
    assert ablations.all_changes("discriminator warm-up")["ema.decay"] == 0.998


@pytest.mark.parametrize(("arg", "count"), [("", 10), (":sentences", 14)])
def test_every_setting_is_a_trial_of_the_sweep(tmp_path, arg, count):
    trials = trials_of.find_trials([f"--config=configs/ablations.py{arg}"], tmp_path)
    assert len(trials) == count
    steps = {record.fields(trial.config)["train.steps"] for trial in trials}
    batches = {record.fields(trial.config)["train.batch_size"] for trial in trials}
    assert (steps, batches) == ({2000}, {16})  # equal images


def _line(setting, on, distance):
    metric = {
        "estimate": {"value": distance, "interval": [distance - 1, distance + 1]},
        "references": {"real": {"value": 2.0, "interval": [1.5, 2.5]}},
        "better": "lower",
    }
    return {
        "setting": setting,
        "on": on,
        "images": 32_000,
        "images_per_sec": 99.6,
        "metrics": {"frechet_lite0": metric},
    }


def test_the_page_is_written_from_what_was_kept(tmp_path):
    folder = tmp_path / "docs" / "ablations"
    folder.mkdir(parents=True)
    page = tmp_path / "docs" / "ablations.md"
    page.write_text("before\n{}\nold\n{}\nafter\n".format(*script.marks("x")))
    lines = [_line("baseline", "", 90.0), _line("average", "baseline", 70.0)]
    (folder / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert script.main(["--name=x", "--table", f"--root={tmp_path}"]) == 0
    assert page.read_text() == (
        "before\n<!-- x: scripts/tables/ablations.py -->\n\n32,000 images a setting.\n\n"
        "| step | added to | Frechet distance (lite0) | images/s |\n"
        "| --- | --- | --- | --- |\n"
        "| real images |  | 2 (1.5 to 2.5) |  |\n"
        "| baseline |  | 90 (89 to 91) | 100 |\n"
        "| average | baseline | 70 (69 to 71) | 100 |\n\n"
        "<!-- end of x -->\nafter\n"
    )


def test_a_page_without_its_marks_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "docs" / "ablations"
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_text(json.dumps(_line("baseline", "", 90.0)) + "\n")
    (folder.parent / "ablations.md").write_text("nothing")
    assert script.main(["--name=x", "--table", f"--root={tmp_path}"]) == 2
    assert "ablations.md must have one" in capsys.readouterr().err
    assert (folder.parent / "ablations.md").read_text() == "nothing"


@pytest.mark.parametrize("name", KEPT)
def test_the_page_in_docs_is_up_to_date(name):
    page = ROOT / "docs" / "ablations.md"
    kept = ROOT / "docs" / "ablations" / f"{name}.jsonl"
    assert page.read_text() == script.filled(page, *script.marks(name), script.table(kept))
