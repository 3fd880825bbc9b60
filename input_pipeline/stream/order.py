"""The order of images, and the random choices for each, at every step.

Nothing here has a state that matters: the batch at step k is computed from the seed, k and the
global batch size, so any host can compute its share of it, and any step can be gone to at once.
"""

from __future__ import annotations

import threading

import numpy as np

from input_pipeline.errors import UserError

_WORD = (1 << 64) - 1
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_ORDER, _CAPTION, _FLIP, _OTHER = range(1, 5)


def _mix(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def random_bits(seed: int, *address: int | np.ndarray) -> np.ndarray:
    """uint64 [n] random bits that depend on nothing but the arguments, whatever the machine.

    Args:
      seed: any integer; its lower 64 bits count.
      address: integers, >= 0, or arrays of them that broadcast to [n].

    Reference: SplitMix64's finalizer; Steele, Lea and Flood, doi:10.1145/2714064.2660195.
    """
    bits = np.array([seed & _WORD], np.uint64)
    for part in address:
        part_bits = _mix(np.atleast_1d(part).astype(np.uint64) + _GOLDEN_RATIO)
        bits = _mix((bits ^ part_bits) + _GOLDEN_RATIO)
    return bits


def drawn_captions(
    seed: int, epochs: np.ndarray, records: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Returns int64 [n] index of the caption drawn for each image in its epoch.

    Without replacement: in `count` epochs each of an image's captions is drawn once, from a
    random one on, and then anew.

    Args:
      seed: of the run.
      epochs: [n] epoch of each image, >= 0.
      records: [n] index of each image in its split.
      counts: [n] number of captions of each image, >= 1.
    """
    first = random_bits(seed, _CAPTION, records, epochs // counts) % counts.astype(np.uint64)
    return (first.astype(np.int64) + epochs) % counts


def flips(seed: int, epochs: np.ndarray, records: np.ndarray) -> np.ndarray:
    """bool [n] whether each image is mirrored in its epoch: half of them, by chance."""
    return random_bits(seed, _FLIP, records, epochs) >> np.uint64(63) == 1


def negative_captions(
    seed: int, step: int, rows: np.ndarray, num_images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images whose captions a step is given without them, with replacement.

    Args:
      seed: of the run.
      step: >= 0.
      rows: [n] places among the step's.
      num_images: in the split.

    Returns:
      int64 [n] indices in the split, and int64 [n] draws, >= 0, of which caption each gives.
    """
    bits = random_bits(seed, _OTHER, step, rows)
    indices, draws = (bits >> np.uint64(32)) % np.uint64(num_images), bits & np.uint64(0xFFFFFFFF)
    return indices.astype(np.int64), draws.astype(np.int64)


class EpochOrder:
    """The global batches of shuffled epochs, one after the other without a gap.

    Every epoch has each image once, in another order. A batch may reach over the end of an epoch;
    it still has no image twice, so that another row's caption is always another image's.

    Args:
      num_images: n, images in the split.
      batch_size: global batch size, 1 to n.
      seed: of the run.

    Raises:
      UserError: the batch is larger than the split.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        if not 1 <= batch_size <= num_images:
            raise UserError(
                f"batch_size is {batch_size} and the split has {num_images} images; a batch has "
                f"no image twice: choose 1 to {num_images}, or prepare more images"
            )
        self.num_images = num_images
        self.batch_size = batch_size
        self._seed = seed
        self._orders: dict[int, np.ndarray] = {}
        self._kept = max(1, 16 * batch_size // num_images)  # epochs that batches ahead may span
        self._lock = threading.Lock()

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and indices in the split, int64 [B] each, of the batch at a step, >= 0."""
        epoch, offset = divmod(step * self.batch_size, self.num_images)
        records = self._order(epoch)[offset : offset + self.batch_size]
        epochs = np.full(self.batch_size, epoch)
        if (missing := self.batch_size - len(records)) > 0:
            records = np.concatenate([records, self._order(epoch + 1)[:missing]])
            epochs[-missing:] += 1
        return epochs, records.astype(np.int64)

    def _order(self, epoch: int) -> np.ndarray:
        with self._lock:
            if epoch not in self._orders:
                self._orders[epoch] = self._compute_order(epoch)
                for other in [e for e in self._orders if abs(e - epoch) > self._kept]:
                    del self._orders[other]
            return self._orders[epoch]

    def _compute_order(self, epoch: int) -> np.ndarray:
        known = self._known_before(epoch)
        order = self._orders.get(known)
        order = self._shuffled(known) if order is None else order
        for later in range(known + 1, epoch + 1):
            order = self._without_meeting(order, later)
        return order

    def _known_before(self, epoch: int) -> int:
        """The latest epoch, up to this one, whose last batch is known without those before it."""
        if self._rows_before(epoch) == 0:
            return epoch
        if epoch - 1 in self._orders or self.num_images >= 2 * self.batch_size:
            return epoch - 1  # what `_without_meeting` moves is not in its last batch
        period = self.batch_size // np.gcd(self.batch_size, self.num_images)
        return epoch - epoch % int(period)

    def _rows_before(self, epoch: int) -> int:
        """Rows of the epoch's first batch that belong to the epoch before."""
        return epoch * self.num_images % self.batch_size

    def _shuffled(self, epoch: int) -> np.ndarray:
        records = np.arange(self.num_images)
        order = np.argsort(random_bits(self._seed, _ORDER, epoch, records), kind="stable")
        return order.astype(np.min_scalar_type(self.num_images))

    def _without_meeting(self, previous: np.ndarray, epoch: int) -> np.ndarray:
        """The epoch's order, its first images moved back where the batch they share has them."""
        order = self._shuffled(epoch)
        if (rows_before := self._rows_before(epoch)) == 0:
            return order
        first = order[: self.batch_size]
        met = np.isin(first, previous[-rows_before:])
        fresh = np.flatnonzero(~met)[: self.batch_size - rows_before]
        order[: self.batch_size] = np.concatenate([first[fresh], np.delete(first, fresh)])
        return order
