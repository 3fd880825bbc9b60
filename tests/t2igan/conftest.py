"""A run folder with a data set, both as training leaves them, made without training."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import tiny
from input_pipeline import dataset_folder, shards
from input_pipeline.records import Record
from input_pipeline.vocabulary import END, NULL, SPECIAL_WORDS, START, Vocabulary
from t2igan import config as configs
from t2igan.training.checkpoints import Checkpoints
from t2igan.training.experiment import open_experiment

WORDS = ("a", "small", "large", "red", "blue", "star", "circle", "on", "the", "left")
LENGTH = 8


def make_dataset(folder: Path, image_size: int = 16, words: tuple[str, ...] = WORDS) -> Path:
    """Returns the folder of a data set: pictures of one colour each, captions of drawn words."""
    vocabulary = Vocabulary(SPECIAL_WORDS + words)
    random = np.random.default_rng(0)

    def record(split: str, index: int) -> Record:
        colour = random.integers(0, 256, 3, np.uint8)
        image = np.broadcast_to(colour, (image_size, image_size, 3)).copy()
        codes = np.full((2, LENGTH), NULL, np.uint16)
        codes[:, 0], codes[:, 5] = START, END
        codes[:, 1:5] = random.integers(len(SPECIAL_WORDS), len(vocabulary), (2, 4))
        return Record(f"{split}/{index}.png", image, codes)

    folder.mkdir(parents=True)
    counts = {"train": 24, "validation": 9, "test": 10}
    files = {split: [[record(split, i) for i in range(n)]] for split, n in counts.items()}
    shards.write_shards(folder, files, image_size=image_size, caption_length=LENGTH)
    table = random.normal(size=(len(vocabulary), 6)).astype(np.float32)
    report = {
        "examples": sum(counts.values()),
        "image_size": image_size,
        "caption_length": LENGTH,
    }
    dataset_folder.finish(folder, vocabulary.to_json(), table, report)
    return folder


def make_config(dataset: Path) -> ConfigDict:
    """Returns the tiny experiment on a data set, on networks of a few channels."""
    config = tiny.get_config()
    config.data.dir = str(dataset)
    config.model.update(gf_dim=4, df_dim=4, cond_dim=8, z_dim=8, text_compressor_dim=8)
    config.train.batch_size = 8
    return config


def random_values(shapes: Any) -> Any:
    """Returns arrays of those shapes: running variances of one, all else small and random."""
    random = np.random.default_rng(7)

    def fill(path: Any, leaf: Any) -> np.ndarray:
        ones = path[-1].key == "var"
        values = np.ones(leaf.shape) if ones else 0.2 * random.standard_normal(leaf.shape)
        return values.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def make_run(workdir: Path, config: ConfigDict, steps: tuple[int, ...] = (10, 20)) -> Path:
    """Returns the folder of a run whose generator is a random one: nothing is compiled."""
    experiment = open_experiment(config)
    generator = random_values(experiment.state_shapes().sampling_variables)
    generator["frozen"] = {"words": {"table": experiment.dataset.word_vectors}}
    (workdir / "samples").mkdir(parents=True)
    (workdir / "config.json").write_text(configs.to_json(config))
    items = {
        "state": {"step": np.int32(0)},
        "generator": generator,
        "data": {},
        "meta": experiment.description(),
    }
    with Checkpoints(workdir, **config.checkpoint) as checkpoints:
        for step in steps:
            checkpoints.save(step, items, {"validation/loss/g": -float(step)})
    lines = [{"step": step, "loss/d": 1.0 / step, "loss/g": 2.0} for step in range(1, 21)]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return workdir


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compiled programs are kept, and shared with the processes that tests start.

    Many tests draw with the same few networks, each from a run that it has loaded itself.
    """
    from jax.experimental.compilation_cache import compilation_cache

    from t2igan.training.compilation_cache import use_compilation_cache

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        folder = use_compilation_cache()
        # The many small ones take longer to be written than to be compiled again.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
        yield folder
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def word_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 16x16 pictures whose captions are English words."""
    return make_dataset(tmp_path_factory.mktemp("words") / "set")


@pytest.fixture(scope="session")
def untrained_run(word_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on it with checkpoints of steps 10 and 20; not to be written to."""
    return make_run(tmp_path_factory.mktemp("untrained") / "run", make_config(word_dataset))


@pytest.fixture(scope="session")
def make_words() -> SimpleNamespace:
    """How such data sets and runs are made, for tests that need one of their own."""
    return SimpleNamespace(dataset=make_dataset, config=make_config, run=make_run)
