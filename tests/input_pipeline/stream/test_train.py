import contextlib
import json
import threading
import time

import numpy as np
import pytest

from input_pipeline.dataset import cache as memory
from input_pipeline.dataset.cache import InMemory, cached
from input_pipeline.errors import UserError
from input_pipeline.stream.train import eval_batches, train_stream


def _ids(batch):
    """Index of each image in its split, from its pixels (unmirrored ones)."""
    return batch["image"][:, 0, 0, 0].astype(int)


def _take(prepared, count, **kwargs):
    arguments = {"batch_size": 20, "seed": 4, **kwargs}
    with train_stream(prepared.dataset, "train", **arguments) as stream:
        return [next(stream) for _ in range(count)]


def _assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_batches_are_what_was_written(prepared):
    for batch in _take(prepared, 6):
        assert batch["image"].dtype == np.uint8
        assert batch["codes"].dtype == np.int32
        for image, codes, index in zip(batch["image"], batch["codes"], _ids(batch), strict=True):
            record = prepared.records["train"][index]
            np.testing.assert_array_equal(image, record.image)
            assert codes.tolist() in record.captions.tolist()


def test_an_epoch_has_each_image_once(prepared):
    ids = np.concatenate([_ids(batch) for batch in _take(prepared, 9)])
    for epoch in (ids[:90], ids[90:]):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(90))
    assert (ids[:90] == ids[90:]).sum() < 10


def test_five_epochs_have_every_caption(prepared):
    batches = _take(prepared, 5, batch_size=90)
    seen = {tuple(codes) for batch in batches for codes in batch["codes"].tolist()}
    written = {tuple(row) for r in prepared.records["train"] for row in r.captions.tolist()}
    assert seen == written


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("process_count", [1, 2, 5])
def test_the_shares_of_all_processes_are_the_batch_of_one(prepared, process_count, cache):
    whole = _take(prepared, 12, flip=True)
    shares = [
        _take(prepared, 12, flip=True, process_index=i, process_count=process_count, cache=cache)
        for i in range(process_count)
    ]
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shares, strict=True)
    ]
    _assert_same(whole, joined)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_further_captions_are_the_data_sets_and_change_nothing_else(prepared, cache):
    plain = _take(prepared, 4, cache=cache)
    more = _take(prepared, 4, cache=cache, extra_negatives=60)
    others = [batch.pop("negative_codes") for batch in more]
    _assert_same(more, plain)
    written = {tuple(row) for r in prepared.records["train"] for row in r.captions.tolist()}
    for codes in others:
        assert codes.shape == (60, codes.shape[1])
        assert codes.dtype == np.int32
        assert set(map(tuple, codes.tolist())) <= written
        assert len(set(map(tuple, codes.tolist()))) > 40  # drawn, not a few of them
    assert not np.array_equal(others[0], others[1])
    shares = [
        _take(prepared, 4, cache=cache, extra_negatives=60, process_index=i, process_count=2)
        for i in range(2)
    ]
    for step, whole in enumerate(others):
        joined = np.concatenate([share[step]["negative_codes"] for share in shares])
        np.testing.assert_array_equal(joined, whole)


def test_seek_gives_the_batch_that_iterating_gives(prepared):
    batches = _take(prepared, 14)
    with train_stream(prepared.dataset, "train", batch_size=20, seed=4) as stream:
        for step in (9, 0, 13, 4):
            stream.seek(step)
            assert (stream.step, stream.num_images) == (step, 90)
            _assert_same([next(stream)], [batches[step]])
        stream.seek(10**12)
        assert next(stream)["image"].shape == (20, 8, 8, 3)
        with pytest.raises(UserError, match="step is -1"):
            stream.seek(-1)


def test_a_restored_stream_goes_on_in_another_process_count(prepared):
    batches = _take(prepared, 8)
    with train_stream(prepared.dataset, "train", batch_size=20, seed=4) as stream:
        for _ in range(5):
            next(stream)
        state = json.loads(json.dumps(stream.state()))
        assert stream.state(3)["step"] == 3
    shares = {"process_index": 1, "process_count": 2}
    with train_stream(prepared.dataset, "train", batch_size=20, seed=4, **shares) as stream:
        stream.restore(state)
        np.testing.assert_array_equal(next(stream)["image"], batches[5]["image"][10:])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprint": "other"}, "fingerprint 'other'"),
        ({"seed": 5}, "seed 5 .* now it is 4"),
        ({"batch_size": 30}, "batch_size 30"),
        ({"split": "validation"}, "split 'validation'"),
        ({"flip": True}, "flip True"),
        ({"step": None}, "no step"),
        ({"step": "7"}, "no step"),
        ({"step": -7}, "step is -7"),
    ],
)
def test_a_state_of_something_else_is_refused(prepared, change, named):
    with train_stream(prepared.dataset, "train", batch_size=20, seed=4) as stream:
        with pytest.raises(UserError, match=named):
            stream.restore({**stream.state(), **change})
        assert stream.step == 0


def test_flips_mirror_half_of_the_images(prepared):
    plain = _take(prepared, 18)
    flipped = _take(prepared, 18, flip=True)
    mirrored = 0
    for before, after in zip(plain, flipped, strict=True):
        np.testing.assert_array_equal(before["codes"], after["codes"])
        for image, other in zip(before["image"], after["image"], strict=True):
            if not np.array_equal(image, other):
                np.testing.assert_array_equal(image[:, ::-1], other)
                mirrored += 1
    assert 0.4 < mirrored / 360 < 0.6


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"batch_size": 91}, "batch_size is 91 .* 90 images"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 21, "process_count": 2}, "multiple of 2"),
        ({"process_count": 2, "process_index": 2}, "process_index is 2"),
        ({"process_count": 0}, "0 processes"),
        ({"cache": "disk"}, "cache is 'disk'; none, auto, memory"),
    ],
)
def test_wrong_arguments_are_told(prepared, arguments, named):
    with pytest.raises(UserError, match=named):
        train_stream(prepared.dataset, "train", **{"batch_size": 20, "seed": 0, **arguments})


class _FailsOnce:
    """A source with one read that fails; the next would be well again."""

    def __init__(self, source):
        self._source = source
        self._reads = 0
        self.image_size = source.image_size

    def __len__(self):
        return len(self._source)

    def __getitems__(self, indices):
        self._reads += 1
        if self._reads == 3:
            raise UserError("the shard x is damaged")
        return self._source.__getitems__(indices)


def test_a_failed_read_is_raised_again_and_no_batch_is_skipped(prepared, monkeypatch):
    source = prepared.dataset.source("train")
    fails = _FailsOnce(source)
    monkeypatch.setattr(type(prepared.dataset), "source", lambda *_: fails)
    with train_stream(prepared.dataset, "train", batch_size=20, seed=4, cache="none") as stream:
        taken = []
        for _ in range(3):
            with contextlib.suppress(UserError):
                taken += [next(stream) for _ in range(5)]
        failed_at = stream.step
        with pytest.raises(UserError, match="the shard x is damaged"):
            next(stream)
        assert stream.step == failed_at < 5
        stream.seek(failed_at)
        again = next(stream)
    monkeypatch.undo()
    _assert_same([again], [_take(prepared, 5)[failed_at]])


def test_batches_are_made_ahead(prepared):
    with train_stream(prepared.dataset, "train", batch_size=30, seed=0, cache="memory") as stream:
        next(stream)
        deadline = time.monotonic() + 60
        while not all(f.done() for f in stream._iterator._buffer) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(stream._iterator._buffer) >= 2


def test_close_ends_the_threads(prepared):
    before = set(threading.enumerate())
    _take(prepared, 3)
    deadline = time.monotonic() + 60
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_memory_reads_each_record_once(prepared):
    source = prepared.dataset.source("train")
    read = []
    counted = InMemory(source)
    counted._source = type(
        "Counted", (), {"__getitems__": lambda _, i: read.extend(i) or source.__getitems__(i)}
    )()
    for indices in ([3, 5, 3], [5, 7], np.arange(20), np.arange(20)):
        found, expected = counted.__getitems__(indices), source.__getitems__(indices)
        np.testing.assert_array_equal(found["image"], expected["image"])
        for captions, others in zip(found["captions"], expected["captions"], strict=True):
            np.testing.assert_array_equal(captions, others)
    assert sorted(set(read)) == list(range(20))
    found["image"][:] = 0  # a copy: what is kept stays
    assert counted.__getitems__([3])["image"].any()


@pytest.mark.parametrize(("free", "kept"), [(10**6, True), (10**5, False), (0, False)])
def test_auto_keeps_what_fits_in_a_fourth_of_the_free_memory(prepared, monkeypatch, free, kept):
    monkeypatch.setattr(memory, "free_memory", lambda: free)  # the set takes 10**5 and a little
    assert isinstance(cached(prepared.dataset.source("train"), "auto"), InMemory) is kept
    if not free:
        with pytest.raises(UserError, match=r"cache is 'memory', .* choose 'none' or 'auto'"):
            cached(prepared.dataset.source("train"), "memory")


def test_free_memory_is_of_this_machine():
    assert 10**6 < memory.free_memory() < 10**14


@pytest.mark.parametrize("captions", ["first", "drawn", "all"])
def test_eval_batches_are_in_order_and_complete(prepared, captions):
    records = prepared.records["validation"]
    batches = list(eval_batches(prepared.dataset, "validation", batch_size=4, captions=captions))
    sizes = [len(batch["index"]) for batch in batches]
    assert set(sizes[:-1]) == {4}
    assert 1 <= sizes[-1] <= 4
    index = np.concatenate([batch["index"] for batch in batches])
    times = [len(r.captions) if captions == "all" else 1 for r in records]
    np.testing.assert_array_equal(index, np.repeat(np.arange(11), times))
    assert [key for b in batches for key in b["key"]] == [records[i].key for i in index]
    codes = np.concatenate([batch["codes"] for batch in batches])
    images = np.concatenate([batch["image"] for batch in batches])
    np.testing.assert_array_equal(images, np.stack([records[i].image for i in index]))
    if captions == "first":
        np.testing.assert_array_equal(codes, np.stack([r.captions[0] for r in records]))
    elif captions == "all":
        np.testing.assert_array_equal(codes, np.concatenate([r.captions for r in records]))
    else:
        for row, record in zip(codes.tolist(), records, strict=True):
            assert row in record.captions.tolist()


def test_eval_draw_depends_on_the_seed_alone(prepared):
    def drawn(seed, batch_size):
        batches = eval_batches(
            prepared.dataset, "train", batch_size=batch_size, captions="drawn", seed=seed
        )
        return np.concatenate([batch["codes"] for batch in batches])

    np.testing.assert_array_equal(drawn(1, 7), drawn(1, 90))
    assert (drawn(1, 7) != drawn(2, 7)).any()


def test_eval_shares_join_to_the_whole(prepared):
    arguments = {"batch_size": 4, "captions": "all"}
    whole = list(eval_batches(prepared.dataset, "validation", **arguments))
    shares = [
        list(
            eval_batches(
                prepared.dataset, "validation", **arguments, process_index=i, process_count=3
            )
        )
        for i in range(3)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        np.testing.assert_array_equal(
            batch["codes"], np.concatenate([part["codes"] for part in parts])
        )
        assert batch["key"] == [key for part in parts for key in part["key"]]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"captions": "some"}, "captions is 'some'; first, drawn and all"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"process_index": 1}, "process 1 of 1"),
        ({"split": "test"}, "no split 'test'; it has train, validation"),
    ],
)
def test_wrong_eval_arguments_are_told_at_once(prepared, arguments, named):
    with pytest.raises(UserError, match=named):
        eval_batches(prepared.dataset, **{"split": "train", "batch_size": 4, **arguments})
