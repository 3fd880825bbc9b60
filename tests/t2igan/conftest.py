"""A run folder with a data set, both as training leaves them, made without training."""

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import tiny
from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset.records import Record
from input_pipeline.prepare import shards
from input_pipeline.text.vocabulary import END, NULL, SPECIAL_WORDS, START, Vocabulary
from t2igan.config import record
from t2igan.metrics.features import network as feature_network
from t2igan.training.experiment import open_experiment
from t2igan.workdir.checkpoints import Checkpoints, restore_item

from .made_up_weights import clip_b32, clip_l336, t5_file

__all__ = ["clip_b32", "clip_l336", "t5_file"]  # fixtures

WORDS = ("a", "small", "large", "red", "blue", "star", "circle", "on", "the", "left")
LENGTH = 8


def make_dataset(folder: Path, image_size: int = 16, words: tuple[str, ...] = WORDS) -> Path:
    """Returns the folder of a data set: images of one color each, captions of drawn words."""
    vocabulary = Vocabulary(SPECIAL_WORDS + words)
    random = np.random.default_rng(0)

    def record(split: str, index: int) -> Record:
        color = random.integers(0, 256, 3, np.uint8)
        image = np.broadcast_to(color, (image_size, image_size, 3)).copy()
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
    (workdir / "config.json").write_text(record.to_json(config))
    items = {
        "state": {"step": np.int32(0)},
        "generator": generator,
        "data": {},
        "meta": experiment.meta().to_json(),
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

    from t2igan.runtime.compilation_cache import use_compilation_cache

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
    """A data set of 16x16 images whose captions are English words."""
    return make_dataset(tmp_path_factory.mktemp("words") / "set")


@pytest.fixture(scope="session")
def untrained_run(word_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on it with checkpoints of steps 10 and 20; not to be written to."""
    return make_run(tmp_path_factory.mktemp("untrained") / "run", make_config(word_dataset))


@pytest.fixture(scope="session")
def make_words() -> SimpleNamespace:
    """How such data sets and runs are made, for tests that need one of their own."""
    return SimpleNamespace(dataset=make_dataset, config=make_config, run=make_run)


# Random noise images, for tests that train.
SIZE, NOISE_LENGTH, NOISE_WORDS = 8, 5, 20
SPLITS = {"train": 50, "validation": 13}
STEPS = 12


def _noise_record(split: str, index: int) -> Record:
    random = np.random.default_rng([index, len(split)])
    image = random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    captions = random.integers(0, NOISE_WORDS, (1 + index % 3, NOISE_LENGTH)).astype(np.uint16)
    return Record(f"{split}/{index}.jpg", image, captions)


def make_noise_dataset(folder: Path, seed: int = 0) -> Path:
    """Returns the folder of a prepared data set: 50 train and 13 validation images, 8x8."""
    from input_pipeline.prepare import shards

    folder.mkdir()
    files = {split: [[_noise_record(split, i) for i in range(n)]] for split, n in SPLITS.items()}
    shards.write_shards(folder, files, image_size=SIZE, caption_length=NOISE_LENGTH)
    words = SPECIAL_WORDS + tuple(f"word{code}" for code in range(4, NOISE_WORDS))
    table = np.random.default_rng(seed).normal(size=(NOISE_WORDS, 3)).astype(np.float32)
    report = {"examples": sum(SPLITS.values()), "image_size": SIZE, "caption_length": NOISE_LENGTH}
    dataset_folder.finish(folder, Vocabulary(words).to_json(), table, report)
    return folder


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 50 train and 13 validation images of 8x8 pixels."""
    return make_noise_dataset(tmp_path_factory.mktemp("data") / "set")


def make_training_config(dataset_path: Path) -> ConfigDict:
    """Returns a config of 12 steps of 8 images on tiny networks, a checkpoint every 4."""
    config = tiny.get_config()
    config.data.dir = str(dataset_path)
    config.model.gf_dim = config.model.df_dim = 2
    config.train.batch_size = 8
    config.train.steps = STEPS
    config.train.log_every = 1
    config.train.checkpoint_every = 4
    config.train.sample_every = config.train.validate_every = 6
    config.train.validation_batches = 0
    config.sample.num_captions = 2
    config.sample.num_noises = 2
    return config


@pytest.fixture
def config(dataset_path: Path) -> ConfigDict:
    """The test's own copy of the tiny config."""
    return make_training_config(dataset_path)


@pytest.fixture(scope="session")
def whole_run(
    dataset_path: Path, compilation_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that was never stopped; not to be written to."""
    from t2igan.training import loop

    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert loop.train(make_training_config(dataset_path), workdir) == loop.Outcome(STEPS, STEPS)
    return workdir


# Makes a training process send itself a signal once a step is dispatched.
_AT_STEP = """
    add = StepReports.add
    def add_and_signal(self, step, metrics):
        add(self, step, metrics)
        if step == {step}:
            os.kill(os.getpid(), signal.{name})
    StepReports.add = add_and_signal
"""


def _metrics_of(workdir: Path) -> list[dict[str, float]]:
    """The run's lines, without what depends on the clock."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    timings = ("images_per_sec", "seconds/")
    return [
        {name: value for name, value in json.loads(line).items() if not name.startswith(timings)}
        for line in lines
    ]


def _assert_same(one: Path, other: Path) -> None:
    """The last checkpoints are equal bit for bit, the metrics and the images too."""
    for item in ("state", "generator"):
        (step, tree), (other_step, other_tree) = (
            restore_item(run, "latest", item) for run in (one, other)
        )
        assert step == other_step
        flat, other_flat = _flat(tree), _flat(other_tree)
        assert flat.keys() == other_flat.keys()
        for name, value in flat.items():
            assert value.tobytes() == other_flat[name].tobytes(), name
    assert _metrics_of(one) == _metrics_of(other)
    pictures = {path.name: path.read_bytes() for path in (one / "samples").iterdir()}
    assert pictures == {path.name: path.read_bytes() for path in (other / "samples").iterdir()}


def _assert_close(one: Path, other: Path) -> None:
    """The last parameters are equal to float32 rounding."""
    trees = (restore_item(run, "latest", "state")[1] for run in (one, other))
    state, other_state = (
        _flat({name: tree[name] for name in ("g_params", "d_params")}) for tree in trees
    )
    for name, value in state.items():
        if "joint']['bias" in name:
            continue  # batch norm takes it away: its gradient is rounding, which Adam scales up
        np.testing.assert_allclose(value, other_state[name], rtol=1e-4, atol=1e-4, err_msg=name)


def _flat(tree):
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}


@pytest.fixture(scope="session")
def runs() -> SimpleNamespace:
    """What tests of several files do with run folders."""
    return SimpleNamespace(
        AT_STEP=_AT_STEP,
        STUB=STUB,
        metrics_of=_metrics_of,
        assert_same=_assert_same,
        assert_close=_assert_close,
    )


@pytest.fixture(name="make_dataset", scope="session")
def _make_dataset() -> Callable[..., Path]:
    """`make_dataset(folder, seed)` prepares one."""
    return make_noise_dataset


# Means and spreads of colors, for processes that tests start: no weights, nothing to compile.
STUB = """
    from collections import Counter
    import numpy as np
    from t2igan.metrics.features import network as feature_network
    class StubNetwork:
        name, dim, provenance = "lite0", 6, {"network": "stub"}
        def __init__(self):
            self.shown = Counter()
        def rows(self, images):
            for batch in images:
                self.shown["total"] += len(batch)
                pixels = batch.reshape(len(batch), -1, 3) / 255
                yield np.concatenate([pixels.mean(1), pixels.std(1)], 1).astype(np.float32)
    feature_network.load = lambda name, weights=None: StubNetwork()
"""


@pytest.fixture
def stub_network(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A feature network of six numbers that counts the images it is shown."""
    names: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.setattr(feature_network, "load", feature_network.load)  # put back at the end
        exec(textwrap.dedent(STUB), names)
    return names["StubNetwork"]()
