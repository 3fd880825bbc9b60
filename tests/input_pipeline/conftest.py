"""A small prepared data set whose images tell which record they are."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset.open import Dataset, open_dataset
from input_pipeline.dataset.records import Record
from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary

SPLITS = {"train": (90, 25), "validation": (11, 25)}  # images, images a shard
SIZE, LENGTH, WORDS = 8, 6, 40


def _record(split: str, index: int) -> Record:
    """Record whose first pixel is its index, and whose captions name its index and their own."""
    image = np.random.default_rng(index).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    image[0, 0] = index
    captions = np.zeros((1 + index % 5, LENGTH), np.uint16)
    captions[:, 0] = 1
    captions[:, 1] = 4 + index % 36
    captions[:, 2] = 4 + np.arange(len(captions))
    return Record(f"{split}/{index}.jpg", image, captions)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The data set, and what was written into it."""

    dataset: Dataset
    records: dict[str, list[Record]]

    @property
    def path(self) -> Path:
        return self.dataset.path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """90 train and 11 validation images of 8x8 pixels with 1 to 5 captions each."""
    from input_pipeline.prepare import shards

    folder = tmp_path_factory.mktemp("prepared")
    records = {
        split: [_record(split, index) for index in range(count)]
        for split, (count, _) in SPLITS.items()
    }
    files = {
        split: [records[split][i : i + size] for i in range(0, count, size)]
        for split, (count, size) in SPLITS.items()
    }
    shards.write_shards(folder, files, image_size=SIZE, caption_length=LENGTH)
    words = SPECIAL_WORDS + tuple(f"word{code}" for code in range(4, WORDS))
    table = np.random.default_rng(0).normal(size=(WORDS, 5)).astype(np.float32)
    report = {"examples": 101, "image_size": SIZE, "caption_length": LENGTH}
    dataset_folder.finish(folder, Vocabulary(words).to_json(), table, report)
    return Prepared(open_dataset(folder), records)
