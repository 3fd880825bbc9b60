"""`prepare` on Beam beside `prepare` on one machine: the same files, byte for byte.

The stages run here in this process, without Beam; `test_runners.py` runs them on Beam's own.
"""

import filecmp
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.prepare import build, units
from input_pipeline.prepare.options import PrepareOptions
from t2igan.beam import engine
from tests.t2igan.beam import inputs


@pytest.fixture
def without_beam(monkeypatch):
    """Elements one after another, the last first and each of them twice."""

    def run(beam_options, function, elements):
        for element in [*reversed(elements), *elements]:
            function(element)

    monkeypatch.setattr(engine, "_run", run)
    monkeypatch.setattr(engine, "_beam", lambda: None)


def options_of(source, out, flags, **more):
    values = build.source_defaults(source, {"source": source, "out": str(out), **flags, **more})
    return PrepareOptions.of(values)


def assert_same(one: Path, other: Path) -> None:
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in other.iterdir()}
    _, different, errors = filecmp.cmpfiles(one, other, names, shallow=False)
    assert (different, errors) == ([], [])


SOURCES = {
    "shapes": lambda at: ("shapes", {"num_examples": 300}),
    "folder": lambda at: ("folder", {"images": str(inputs.images(at / "in", 200))}),
    "tars": lambda at: ("webdataset", {"files": str(inputs.tars(at / "in", 4, 60))}),
    "few in a tar": lambda at: ("webdataset", {"files": str(inputs.tars(at / "in", 1, 30))}),
    "parquet": lambda at: ("parquet", {"files": str(inputs.parquet(at / "in", 4, 50, False))}),
    "parquet with a column split": lambda at: (
        "parquet",
        {"files": str(inputs.parquet(at / "in", 3, 50, True))},
    ),
    "parquet of validation alone": lambda at: (
        "parquet",
        {"files": str(next(inputs.parquet(at / "in", 3, 50, False).glob("validation*")))},
    ),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shard_size", [16, 1000])
def test_the_files_are_those_of_one_machine(source, shard_size, tmp_path, without_beam):
    name, flags = SOURCES[source](tmp_path)
    more = {"shard_size": shard_size, "image_size": 32, "validation_fraction": 0.02}
    if "parquet" in source and not source.endswith("alone"):
        more.pop("validation_fraction")  # it has its own
    if source == "shapes":
        more.pop("validation_fraction")
    expected = build.prepare(options_of(name, tmp_path / "one", flags, **more))
    found = engine.prepare(options_of(name, tmp_path / "beam", flags, **more), "")
    assert found == expected
    assert_same(tmp_path / "one", tmp_path / "beam")
    if source in ("folder", "tars"):
        assert found["rejected"]["truncated"] > 5
    if source == "folder":
        assert found["rejected"]["placeholder"] == 7
        assert found["rejected"]["missing"] == 1
    if source == "tars":
        assert found["rejected_rows"] == {"truncated_archive": 1}
        said = "texts that are not UTF-8 were read as Windows-1252, e.g. 00000/000003.txt"
        assert found["notes"][:2] == ["4 tar files", said]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "in") == ["beam", "one"]


def test_a_damaged_file_is_one_line_and_leaves_nothing(tmp_path, without_beam):
    folder = inputs.tars(tmp_path / "in", 3, 10)
    (folder / "00001.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(UserError, match=r"00001\.tar is no tar, or damaged"):
        engine.prepare(options_of("webdataset", tmp_path / "out", {"files": str(folder)}), "")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_a_runner_loses_is_noticed(tmp_path, without_beam, monkeypatch):
    run = engine._run
    monkeypatch.setattr(
        engine,
        "_run",
        lambda flags, function, elements: run(
            flags, function, elements[:-2] if len(elements) > 4 else elements
        ),
    )
    flags = {"files": str(inputs.tars(tmp_path / "in", 6, 10))}
    with pytest.raises(UserError, match="2 of 6 parts of the stage 'look' did not come back"):
        engine.prepare(options_of("webdataset", tmp_path / "out", flags), "")


def test_another_job_for_the_same_data_set_is_refused(tmp_path, without_beam):
    (tmp_path / "out.beam").mkdir()
    (tmp_path / "out.beam/left").write_text("of a job that was killed")
    with pytest.raises(UserError, match=r"out\.beam has the parts of a job that still runs"):
        engine.prepare(options_of("shapes", tmp_path / "out", {"num_examples": 20}), "")
    assert (tmp_path / "out.beam/left").exists()


def test_max_images_of_files_is_refused(tmp_path, without_beam):
    flags = {"files": str(inputs.tars(tmp_path / "in", 1, 10))}
    with pytest.raises(UserError, match="--max_images: --source=webdataset is read by several"):
        engine.prepare(options_of("webdataset", tmp_path / "out", flags, max_images=3), "")


def test_beam_is_asked_for_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install 't2igan\[beam\]'"):
        engine.prepare(options_of("shapes", tmp_path / "out", {"num_examples": 20}), "")
    assert not list(tmp_path.iterdir())


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=3), max_size=6),
    st.integers(1, 10),
)
def test_shards_hold_every_record_once_and_in_order(lengths, shard_size):
    results = {
        unit: {"files": {"train": {f"f{place}": n for place, n in enumerate(files)}}}
        for unit, files in enumerate(lengths)
    }
    expected = [
        (unit, f"f{place}", record)
        for unit, files in enumerate(lengths)
        for place, n in enumerate(files)
        for record in range(n)
    ]
    shards = units.shards("train", results, shard_size)
    sizes = []
    found = []
    for pieces in shards.values():
        records = [(p.unit, p.file, r) for p in pieces for r in range(p.start, p.stop)]
        sizes.append(len(records))
        found += records
    assert found == expected
    assert all(size == shard_size for size in sizes[:-1])
    assert all(0 < size <= shard_size for size in sizes)
