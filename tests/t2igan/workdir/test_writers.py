"""What a run writes can be read back, and a resumed run's file is that of one never stopped."""

import builtins
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from t2igan.workdir import writers as metric_writers
from t2igan.workdir.writers import cut_after, open_writers


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def _write(workdir, steps, start_step=0):
    writers = open_writers(workdir, start_step)
    for step in steps:
        writers.scalars(step, {"loss/d": 0.1 * step, "loss/g": np.float32(1 / 3)})
    writers.close()


def test_one_object_a_line_with_its_step(tmp_path):
    _write(tmp_path, [1, 2])
    assert _lines(tmp_path) == [
        {"step": 1, "loss/d": 0.1, "loss/g": 0.33333334},
        {"step": 2, "loss/d": 0.2, "loss/g": 0.33333334},
    ]


def test_resuming_drops_the_steps_to_be_run_again(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    _write(whole, range(1, 10))
    _write(stopped, range(1, 8))
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss')  # a kill in the middle of a line
    _write(stopped, range(5, 10), start_step=4)
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_not_a_number_is_still_json(tmp_path):
    writers = open_writers(tmp_path)
    writers.scalars(1, {"loss/d": float("nan"), "loss/g": np.float32(np.inf)})
    writers.close()
    assert _lines(tmp_path) == [{"step": 1, "loss/d": None, "loss/g": None}]


def test_images_are_pngs_named_by_step(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    writers = open_writers(tmp_path)
    writers.image(1000, "samples", image)
    writers.close()
    (path,) = (tmp_path / "samples").iterdir()
    assert path.name == "step_00001000.png"
    with Image.open(path) as opened:
        np.testing.assert_array_equal(np.asarray(opened), image)


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(metric_writers, "is_first_process", lambda: False)
    writers = open_writers(tmp_path)
    writers.scalars(1, {"loss/d": 1.0})
    writers.image(1, "samples", np.zeros((2, 2, 3), np.uint8))
    writers.close()
    assert list(tmp_path.iterdir()) == []


def test_event_files_hold_the_scalars(tmp_path):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    _write(tmp_path, [1, 2])
    (path,) = (tmp_path / "tensorboard").iterdir()
    found, content = {}, path.read_bytes()
    while content:  # TFRecord: length, its checksum, the event, its checksum
        (length,) = struct.unpack("<Q", content[:8])
        event = event_pb2.Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        content = content[16 + length :]
    assert found["loss/d", 2] == np.float32(0.2)
    assert set(found) == {(name, step) for name in ("loss/d", "loss/g") for step in (1, 2)}


def test_tensorboard_is_optional(tmp_path, monkeypatch):
    real_import = builtins.__import__

    def without_tensorboard(name, *args, **kwargs):
        if name == "tensorboardX":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tensorboard)
    _write(tmp_path, [1])
    assert len(_lines(tmp_path)) == 1
    assert not (tmp_path / "tensorboard").exists()


@given(lines=st.lists(st.binary() | st.just(b'{"step": 3}') | st.just(b'{"step": 4}')))
def test_whatever_a_file_holds_only_whole_lines_up_to_the_step_stay(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    cut_after(path, 3)
    kept = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert all(entry["step"] <= 3 for entry in kept)
    assert len(kept) >= lines.count(b'{"step": 3}')


def test_no_part_files_are_left(tmp_path):
    _write(tmp_path, [1, 2])
    metric_writers.cut_after(tmp_path / "metrics.jsonl", 1)
    metric_writers.cut_after(tmp_path / "metrics.jsonl", 1)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["metrics.jsonl"]
