import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.stream.train import train_stream
from t2igan.runtime import device


def _batches(count, rows=8):
    for step in range(count):
        yield {"image": np.full((rows, 2, 2, 3), step, np.uint8), "codes": np.arange(rows) + step}


def test_put_lays_equal_rows_over_four_devices():
    mesh = device.data_mesh()
    assert mesh.axis_names == ("data",)
    rows = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)
    placed = device.put({"image": rows, "codes": np.arange(8, dtype=np.int32)}, mesh)
    np.testing.assert_array_equal(placed["image"], rows)
    assert placed["image"].dtype == np.uint8
    assert placed["image"].is_fully_addressable
    shards = sorted(placed["codes"].addressable_shards, key=lambda s: s.device.id)
    assert [shard.data.tolist() for shard in shards] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_put_on_some_of_the_devices():
    placed = device.put({"codes": np.arange(6)}, device.data_mesh(jax.devices()[:2]))
    assert {shard.device for shard in placed["codes"].addressable_shards} == set(jax.devices()[:2])


@pytest.mark.parametrize("rows", [0, 3, 6, 9])
def test_a_batch_that_the_devices_cannot_divide_is_refused(rows):
    with pytest.raises(UserError, match=f"{rows} rows .* over 4 devices: .* multiple of 4"):
        device.put({"codes": np.zeros((rows, 3))}, device.data_mesh())


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_prefetch_gives_the_same_batches_in_order_and_ends(ahead):
    with device.prefetch(_batches(7), device.data_mesh(), ahead) as batches:
        found = list(batches)
        assert [int(batch["image"][0, 0, 0, 0]) for batch in found] == list(range(7))
        assert next(batches, None) is None


def test_prefetch_takes_no_more_than_it_is_told_to():
    taken = []

    def source():
        for batch in _batches(100):
            taken.append(1)
            yield batch

    with device.prefetch(source(), device.data_mesh(), ahead=2) as batches:
        next(batches)
        next(batches)
    assert len(taken) <= 6  # 2 given, 2 ready, 1 in hand, 1 for the room that closing made


def test_an_exception_comes_in_its_turn_and_stays():
    def source():
        yield from _batches(3)
        raise UserError("the shard x is damaged")

    with device.prefetch(source(), device.data_mesh()) as batches:
        assert [int(next(batches)["codes"][0]) for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(UserError, match="the shard x is damaged"):
                next(batches)


def test_a_batch_that_cannot_be_divided_is_told_by_the_iterator():
    with (
        device.prefetch(_batches(3, rows=6), device.data_mesh()) as batches,
        pytest.raises(UserError, match="multiple of 4"),
    ):
        next(batches)


def _prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_closing_or_dropping_it_ends_the_thread():
    batches = device.prefetch(_batches(10**9), device.data_mesh())
    next(batches)
    assert _prefetch_threads()
    batches.close()
    batches.close()
    assert not _prefetch_threads()
    assert next(batches, None) is None
    dropped = device.prefetch(_batches(10**9), device.data_mesh())
    next(dropped)
    del dropped
    assert not _prefetch_threads()


def test_ahead_of_nothing_is_refused():
    with pytest.raises(UserError, match="ahead is 0"):
        device.prefetch(_batches(1), device.data_mesh(), ahead=0)


def test_the_stream_goes_to_the_devices_and_can_be_used_after(prepared):
    with train_stream(prepared.dataset, batch_size=20, seed=1) as stream:
        first = [next(stream) for _ in range(4)]
        stream.seek(0)
        with device.prefetch(stream, device.data_mesh()) as batches:
            for batch in first:
                placed = next(batches)
                assert placed["image"].sharding.spec == jax.sharding.PartitionSpec("data")
                np.testing.assert_array_equal(placed["codes"], batch["codes"])
        stream.seek(2)
        np.testing.assert_array_equal(next(stream)["image"], first[2]["image"])


_LEFT_OPEN = """
import sys
from t2igan.runtime import device
from input_pipeline.dataset.open import open_dataset
from input_pipeline.stream.train import train_stream
batches = device.prefetch(
    train_stream(open_dataset(sys.argv[1]), batch_size=20, seed=0), device.data_mesh()
)
for _ in range(5):
    next(batches)
print("done", flush=True)
raise SystemExit(3)
"""


def test_a_process_that_leaves_all_open_exits_at_once_and_clean(prepared):
    command = [sys.executable, "-c", _LEFT_OPEN, str(prepared.path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (3, "done\n", "")
