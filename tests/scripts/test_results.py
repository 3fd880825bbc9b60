"""The README's results: only numbers of lines that were measured, and up to date."""

import json

import pytest
import results

EVALUATION = {
    "workdir": "runs/x",
    "step": 20,
    "split": "test",
    "metric": "accuracy_all",
    "estimate": {"value": 0.5, "interval": [0.4, 0.6]},
    "better": "higher",
    "references": {"real": {"value": 1.0}},
    "provenance": {"machine": {"processor": "Abacus", "cores": 2}},
    "time": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project with a README and a run of 30 steps, measured at step 20."""
    monkeypatch.setattr(results, "TABLES", {"x": [("x", "accuracy_all"), ("x", "frechet_lite0")]})
    start, end = results.marks("x")
    (tmp_path / "README.md").write_text(f"before\n\n{start}\nold\n{end}\nafter\n")
    run = tmp_path / "run"
    run.mkdir()
    steps = [
        {"step": step, "seconds/step": 3.0, "images_per_sec": 16 / 3.0} for step in (10, 20, 30)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steps))
    return tmp_path


def write(run, *lines):
    (run / "evaluation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def call(place, *flags):
    return results.main([f"--root={place}", *flags])


def test_a_runs_latest_number_goes_into_the_table(place):
    other = EVALUATION | {"metric": "frechet_lite0"}
    write(place / "run", EVALUATION | {"estimate": {"value": 0.1}}, EVALUATION, other)
    add = [f"--add={place / 'run'}", "--name=x", "--setting=shapes, tiny"]
    assert call(place, *add, "--metrics=accuracy_all") == 0
    text = (place / "README.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    row = next(line for line in text.splitlines() if line.startswith("| shapes, tiny"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # 20 steps of 16 images, 3 seconds each; the run's last 10 steps came after what was measured.
    assert cells[1:] == [
        "`accuracy_all`, test",
        "0.5 (0.4 to 0.6)",
        "1",
        "320",
        "1.0 min",
        "Abacus, 2 cores",
    ]
    assert call(place, "--check") == 0


def test_runs_of_several_seeds_are_one_row(place):
    runs = []
    for seed, value in enumerate((0.2, 0.3, 0.7)):
        run = place / f"seed{seed}"
        run.mkdir()
        (run / "metrics.jsonl").write_bytes((place / "run" / "metrics.jsonl").read_bytes())
        write(run, EVALUATION | {"estimate": {"value": value, "interval": [0.0, 1.0]}})
        runs.append(str(run))
    add = ["--name=x", "--setting=tiny", "--add", *runs]
    assert call(place, *add) == 0
    row = next(line for line in (place / "README.md").read_text().splitlines() if "tiny" in line)
    assert "| 0.4 (3 seeds: 0.2 to 0.7) |" in row
    write(place / "seed1", EVALUATION | {"step": 30})
    assert call(place, *add) == 2


def test_check_sees_a_number_that_was_changed_by_hand(place, capsys):
    write(place / "run", EVALUATION)
    assert call(place, f"--add={place / 'run'}", "--name=x", "--setting=y") == 0
    readme = place / "README.md"
    readme.write_text(readme.read_text().replace("| 0.5 ", "| 0.9 "))
    assert call(place, "--check") == 1
    assert "results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda place: (place / "README.md").write_text("no marks"), "must have one"),
        (lambda place: (place / "run" / "evaluation.jsonl").unlink(), "no frechet_lite0"),
    ],
)
def test_mistakes_are_one_line(place, capsys, change, says):
    write(place / "run", EVALUATION | {"metric": "frechet_lite0"})
    change(place)
    add = [f"--add={place / 'run'}", "--name=x", "--setting=y", "--metrics=frechet_lite0"]
    assert call(place, *add) == 2
    assert says in capsys.readouterr().err


def test_the_projects_readme_is_up_to_date_and_its_tables_are_short():
    assert results.main(["--check"]) == 0
    assert all(len(rows) <= 6 for rows in results.TABLES.values())
