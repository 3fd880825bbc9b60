"""The assignment of images to splits."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class SplitAssignment:
    """Which of three splits an image belongs to: by a hash, so that memory holds no list.

    An image stays where it is when others come or go. The test images are the same whatever the
    part that is kept for validation.

    Attributes:
      seed: another one divides anew.
      validation: part of the images, 0 to 1.
      test: part of the images, 0 to 1.
      moved: {key: split} of images that a part would otherwise lack.
    """

    seed: int
    validation: float
    test: float
    moved: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def split_of(self, key: str) -> str:
        """train, validation or test."""
        if key in self.moved:
            return self.moved[key]
        place = self._place(key)
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"

    def with_each_part(self, keys: Sequence[str]) -> SplitAssignment:
        """Returns the same with an image in each wanted part, where there are enough of them.

        Args:
          keys: of all images that are there.
        """
        found = {key: self.split_of(key) for key in sorted(keys, key=self._place)}
        wanted = [name for name in ("train", "validation", "test") if self.parts()[name] > 0]
        if len(found) < len(wanted):
            return self
        moved: dict[str, str] = {}
        for name in wanted:
            if name in found.values():
                continue
            sizes = collections.Counter(found.values())
            largest = sizes.most_common(1)[0][0]
            # The next to where the part lies: train is last.
            several = [key for key, split in found.items() if split == largest]
            key = several[-1 if name == "train" else 0]
            found[key] = moved[key] = name
        return dataclasses.replace(self, moved=moved)

    def _place(self, key: str) -> float:
        return key_hash(f"{self.seed}:{key}") / 2**64

    def parts(self) -> dict[str, float]:
        """Part of the images that each split gets."""
        return {
            "train": 1 - self.validation - self.test,
            "validation": self.validation,
            "test": self.test,
        }


def key_hash(key: str) -> int:
    """64 bits that stand for a key."""
    data = key.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of the data set to be.

    Attributes:
      name: train, validation, test, or the source's own.
      source_split: the source's split that its images come from.
      wanted: whether an image of that split, by its key, is one of its.
    """

    name: str
    source_split: str
    wanted: Callable[[str], bool]


def plan(sizes: Mapping[str, int], division: SplitAssignment) -> list[Split]:
    """Returns the splits to make: the source's own, and train divided into those that it lacks.

    Args:
      sizes: number of images in each of the source's splits.
      division: how train is divided; parts that the source has are zero.
    """
    divided = [
        Split(name, "train", _belongs(division, name))
        for name, part in division.parts().items()
        if part
    ]
    own = [Split(name, name, lambda key: True) for name in sizes if name != "train"]
    return divided + own


def _belongs(division: SplitAssignment, name: str) -> Callable[[str], bool]:
    return lambda key: division.split_of(key) == name
