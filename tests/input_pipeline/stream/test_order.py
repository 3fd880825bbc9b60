import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from input_pipeline.errors import UserError
from input_pipeline.stream.order import EpochOrder, drawn_captions, flips, random_bits

sizes = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 2**70))
def test_every_epoch_is_a_permutation_and_no_batch_has_an_image_twice(size, seed):
    num_images, batch_size = size
    order = EpochOrder(num_images, batch_size, seed)
    batches = [order.batch(step) for step in range(5 * num_images // batch_size + 1)]
    assert all(len(set(records.tolist())) == batch_size for _, records in batches)
    epochs, records = (np.concatenate(rows) for rows in zip(*batches, strict=True))
    np.testing.assert_array_equal(epochs, np.arange(len(epochs)) // num_images)
    for epoch in range(5):
        seen = records[epoch * num_images : (epoch + 1) * num_images]
        np.testing.assert_array_equal(np.sort(seen), np.arange(num_images))


@settings(max_examples=40, deadline=None)
@given(sizes, st.lists(st.integers(0, 400), min_size=1, max_size=8))
def test_a_batch_is_the_same_in_whatever_order_steps_are_asked_for(size, steps):
    used = EpochOrder(*size, seed=3)
    for step in steps:
        asked = used.batch(step)
        np.testing.assert_array_equal(asked, EpochOrder(*size, seed=3).batch(step))


def test_epochs_and_seeds_have_unrelated_orders():
    orders = [EpochOrder(1000, 1000, seed).batch(k)[1] for seed in (0, 1) for k in (0, 1)]
    for i, first in enumerate(orders):
        for second in orders[i + 1 :]:
            assert (first == second).sum() < 10  # 1 is expected


def test_every_image_is_equally_likely_at_every_place():
    places = np.array([EpochOrder(5, 3, seed).batch(4)[1][0] for seed in range(2000)])
    counts = np.bincount(places, minlength=5)
    assert ((counts - 400) ** 2 / 400).sum() < 18.5  # chi-square, 4 degrees of freedom, p = 0.001


def test_captions_are_drawn_without_replacement_and_evenly():
    records, counts = np.arange(3000), 1 + np.arange(3000) % 5
    drawn = np.array([drawn_captions(7, np.full(3000, e), records, counts) for e in range(60)])
    assert (drawn >= 0).all()
    assert (drawn < counts).all()
    for count in range(1, 6):
        rounds = drawn[:, counts == count].reshape(60 // count, count, -1)
        np.testing.assert_array_equal(
            np.sort(rounds, axis=1),
            np.broadcast_to(np.arange(count)[None, :, None], rounds.shape),
        )
    first = np.bincount(drawn[0, counts == 5], minlength=5)
    assert ((first - 120) ** 2 / 120).sum() < 18.5


def test_flips_are_half_of_the_images_and_others_in_every_epoch():
    records = np.arange(4000)
    first, second = (flips(1, np.full(4000, epoch), records) for epoch in (0, 1))
    assert abs(first.mean() - 0.5) < 0.03
    assert abs((first == second).mean() - 0.5) < 0.03


def _mix(bits: int) -> int:
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


def test_random_bits_equal_plain_integers():
    # A change here changes the batches of every run that is resumed.
    golden = 0x9E3779B97F4A7C15
    bits = 2**70 + 5 & 2**64 - 1
    for part in (9, 2**40):
        bits = _mix(((bits ^ _mix((part + golden) % 2**64)) + golden) % 2**64)
    assert int(random_bits(2**70 + 5, 9, 2**40)[0]) == bits


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_larger_than_the_split_is_refused(batch_size):
    with pytest.raises(UserError, match=f"batch_size is {batch_size} .* choose 1 to 10"):
        EpochOrder(10, batch_size, 0)
