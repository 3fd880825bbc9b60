"""The table of programs compiled for accelerators that are absent."""

import json

import compiled
import pytest

ROW = {
    "config": "coco_stage1",
    "image_size": 64,
    "topology": "v5e:2x2",
    "share": 128,
    "dtype": "float32",
    "memory": 957e6,
    "flops": 545e9,
    "cycles": 12_940_000,
    "images_per_second": [50_000.0, 100_000.0],
    "chips": 4,
}


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "launch.md"
    path.write_text(f"before\n{compiled.START}\nold\n{compiled.END}\nafter\n")
    monkeypatch.setattr(compiled, "PAGE", path)
    monkeypatch.setattr(compiled, "ROWS", tmp_path / "compiled.jsonl")
    return path


def test_a_row_is_in_the_tables_units(page):
    cells = compiled.table([ROW]).splitlines()[-1].strip("| ").split(" | ")
    # Four chips, 1e6 images: 10 to 20 s of each.
    assert cells[5:] == ["957 MB", "545", "12.9 M", "50,000 to 100,000", "0.011 to 0.022"]


def test_the_page_is_written_checked_and_its_text_left(page, monkeypatch):
    monkeypatch.setattr(compiled, "compiled_row", lambda *_: ROW)
    assert compiled.main(["--add=configs/coco_stage1.py", "--topology=v5e:2x2"]) == 0
    assert compiled.main(["--check"]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    page.write_text(text.replace("957 MB", "958 MB"))
    assert compiled.main(["--check"]) == 1


def test_compiled_again_a_row_takes_the_place_of_the_former(page, monkeypatch):
    for changed in ({}, {"share": 64}, {"cycles": 1}):
        monkeypatch.setattr(compiled, "compiled_row", lambda *_, changed=changed: ROW | changed)
        assert compiled.main(["--add=x.py", "--topology=v5e:2x2"]) == 0
    rows = [json.loads(line) for line in compiled.ROWS.read_text().splitlines()]
    assert [(row["share"], row["cycles"]) for row in rows] == [(64, 12_940_000), (128, 1)]


def test_what_to_compile_for_must_be_said(page, capsys):
    assert compiled.main(["--add=configs/coco_stage1.py"]) == 2
    assert "--topology=CHIP:SHAPE" in capsys.readouterr().err


def test_the_projects_page_is_up_to_date():
    assert compiled.main(["--check"]) == 0
