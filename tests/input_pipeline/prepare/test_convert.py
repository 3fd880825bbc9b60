"""Examples to records: the division by hash, the codes, and threads that keep the order."""

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from input_pipeline.images import decode as image_files
from input_pipeline.images.decode import Rejected
from input_pipeline.prepare.convert import Conversion, in_order
from input_pipeline.prepare.splits import SplitAssignment
from input_pipeline.sources.base import Example
from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary

WORDS = Vocabulary((*SPECIAL_WORDS, "a", "dog"))
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
CONVERSION = Conversion(image_size=4, resize="squash", vocabulary=WORDS, caption_length=5)


def test_captions_become_codes_and_the_image_its_size():
    converted = CONVERSION.record(Example("k", PIXELS, ("A dog!", "", "...", "a cat runs fast")))
    record, facts = converted.record, converted.facts
    np.testing.assert_array_equal(record.captions, [[1, 4, 5, 2, 0], [1, 4, 3, 3, 2]])
    np.testing.assert_array_equal(record.image, image_files.resize(PIXELS, 4))
    assert record.texts == ("A dog!", "a cat runs fast")
    assert (facts.cut, facts.longest, facts.words) == (1, 4, 6)
    assert facts.unknown == ["cat", "runs", "fast"]


def test_an_image_of_the_size_is_kept_as_it_is():
    pixels = np.ascontiguousarray(PIXELS[:4, :4])
    record = CONVERSION.record(Example("k", pixels, ("a",))).record
    np.testing.assert_array_equal(record.image, pixels)


def test_codes_are_kept_but_for_rows_without_a_word():
    rows = np.array([[1, 4, 2, 0, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0], [1, 3, 2, 0, 0]], np.int32)
    record = CONVERSION.record(Example("k", PIXELS, rows)).record
    assert record.texts is None
    np.testing.assert_array_equal(record.captions, rows[[0, 3]])


@pytest.mark.parametrize("captions", [(), ("", "?!"), np.array([[1, 2, 0, 0, 0]], np.int32)])
def test_without_a_word_it_is_rejected_before_the_image_is_read(captions, tmp_path):
    with pytest.raises(Rejected, match="no_captions"):
        CONVERSION.record(Example("k", tmp_path / "missing.png", captions))


def test_what_the_source_knows_comes_first():
    with pytest.raises(Rejected, match="bad_name"):
        CONVERSION.record(Example("k", Rejected("bad_name"), ()))


FRACTIONS = st.tuples(st.floats(0, 0.5), st.floats(0, 0.49))


@settings(deadline=None)
@given(FRACTIONS, st.integers(0, 2**63), st.text())
def test_the_test_images_do_not_depend_on_validation(fractions, seed, key):
    validation, test = fractions
    division = SplitAssignment(seed, validation, test)
    assert sum(division.parts().values()) == pytest.approx(1)
    split = division.split_of(key)
    assert division.parts()[split] > 0
    assert (split == "test") == (SplitAssignment(seed, 0.0, test).split_of(key) == "test")


@pytest.mark.parametrize("seed", range(3))
def test_the_parts_are_as_large_as_they_should_be(seed):
    division = SplitAssignment(seed, validation=0.15, test=0.3)
    number = 20_000
    found = [division.split_of(f"{index}.jpg") for index in range(number)]
    for name, part in division.parts().items():
        deviation = (part * (1 - part) / number) ** 0.5
        assert found.count(name) / number == pytest.approx(part, abs=5 * deviation)


def test_another_seed_divides_anew():
    keys = [str(index) for index in range(400)]
    splits = [[SplitAssignment(seed, 0.5, 0.0).split_of(key) for key in keys] for seed in (0, 1)]
    agreeing = sum(first == second for first, second in zip(*splits, strict=True))
    assert 140 < agreeing < 260


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 4))
def test_threads_keep_the_order(delays, workers):
    def slow(task):
        time.sleep(task[1] / 2000)
        return task

    tasks = list(enumerate(delays))
    assert list(in_order(slow, tasks, workers)) == tasks


def test_threads_are_a_bounded_number_of_tasks_ahead():
    taken = []
    tasks = (taken.append(task) or task for task in itertools.count())
    results = in_order(lambda task: task, tasks, workers=2)
    for done in range(50):
        assert next(results) == done
        assert len(taken) - done < 10
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("prepare")]


def test_an_exception_in_a_thread_comes_through_in_its_place():
    def fail_at_7(task):
        if task == 7:
            raise KeyError("seven")
        return task

    results = in_order(fail_at_7, range(100), workers=3)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(KeyError, match="seven"):
        next(results)


@given(st.lists(st.text(min_size=1), max_size=20, unique=True), st.integers(0, 99))
def test_each_part_has_an_image_where_there_are_enough(keys, seed):
    division = SplitAssignment(seed, 0.15, 0.1).with_each_part(keys)
    found = {division.split_of(key) for key in keys}
    assert len(found) == 3 if len(keys) >= 3 else True
    moved = [
        k for k in keys if division.split_of(k) != SplitAssignment(seed, 0.15, 0.1).split_of(k)
    ]
    assert len(moved) <= 2
    plain = SplitAssignment(seed, 0.15, 0.0)
    if {plain.split_of(key) for key in keys} == {"train", "validation"}:
        assert plain.with_each_part(keys).moved == {}
