"""Sentence embeddings from a data set through training to images of new captions."""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import t2igan
from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset.open import open_dataset
from input_pipeline.dataset.records import Record
from input_pipeline.errors import UserError
from input_pipeline.prepare import shards
from input_pipeline.text.vocabulary import END, SPECIAL_WORDS, START, Vocabulary
from t2igan.evaluation import run_generator as evaluation_model
from t2igan.metrics.engine import build as contexts
from t2igan.recipes import registry
from t2igan.report import images as pictures
from t2igan.runtime import sharding
from t2igan.runtime.device import data_mesh
from t2igan.training import loop
from t2igan.training.experiment import Experiment, open_experiment
from t2igan.training.step import _see

WORDS = Vocabulary((*SPECIAL_WORDS, "red", "blue", "star", "ring"))
SIZE, LENGTH, DIM = 8, 5, 6
IDENTITY = {"name": "digests", "dim": DIM, "sha256": "abc"}


def digests(texts):
    """An encoder: numbers that depend on every letter."""
    rows = [list(hashlib.sha256(text.encode()).digest()[:DIM]) for text in texts]
    return np.array(rows) / 128 - 1


digests.name, digests.sha256 = "digests", "abc"


def _record(split: str, index: int) -> Record:
    random = np.random.default_rng([index, len(split)])
    codes = np.zeros((2, LENGTH), np.uint16)
    codes[:, 0], codes[:, 3] = START, END
    codes[:, 1:3] = random.integers(4, len(WORDS), (2, 2))
    sentences = digests([WORDS.decode(row) for row in codes]).astype(np.float16)
    image = random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    return Record(f"{split}/{index}", image, codes, sentences)


def make_dataset(folder: Path, **fields) -> Path:
    """Returns the folder of a data set whose report says `fields` of its sentence encoder."""
    folder.mkdir()
    counts = {"train": 16, "validation": 6, "test": 5}
    files = {split: [[_record(split, i) for i in range(n)]] for split, n in counts.items()}
    shards.write_shards(folder, files, image_size=SIZE, caption_length=LENGTH, sentence_dim=DIM)
    report = {"image_size": SIZE, "caption_length": LENGTH}
    if fields.get("name", True):
        report["sentence_encoder"] = IDENTITY | fields
    table = np.random.default_rng(0).normal(size=(len(WORDS), 3)).astype(np.float32)
    dataset_folder.finish(folder, WORDS.to_json(), table, report)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory, make_words):
    folder = make_dataset(tmp_path_factory.mktemp("data") / "set")
    config = make_words.config(folder)
    config.recipe = "relativistic"
    config.model.update(text_dim=8, text_encoder="sentence+attention")
    config.train.update(steps=2, sample_every=2, validate_every=2, validation_batches=1)
    config.sample.update(num_captions=2, num_noises=2)
    return config


def _state(experiment):
    """A state before the first step: initializers take half a minute to compile."""
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), experiment.state_shapes())
    random = np.random.default_rng(0)
    g, d = (
        jax.tree.map(lambda x: random.normal(0, 0.2, x.shape).astype(x.dtype), params)
        for params in (state.g_params, state.d_params)
    )
    frozen = {"words": {"table": experiment.dataset.word_vectors}}
    ema = {"params": g, "batch_stats": {}}
    state = state.replace(g_params=g, d_params=d, ema=ema, frozen=frozen)
    return sharding.replicate(state, experiment.mesh)


@pytest.fixture(scope="module")
def workdir(config, tmp_path_factory):
    """A run of two steps, with its sample sheet and its validation."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "initial_state", _state)
        assert loop.train(config, workdir, num_devices=1).step == 2
    return workdir


@pytest.fixture(scope="module")
def run(workdir):
    return t2igan.load(workdir, sentence_encoder=digests)


def test_training_logs_losses_of_both_splits(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    known = {name: value for line in lines for name, value in line.items()}
    assert np.isfinite([known["loss/d"], known["validation/loss/g"]]).all()
    assert (workdir / "samples" / "step_00000002.png").is_file()


def test_a_caption_gives_the_image_of_its_stored_embedding(run, config):
    batch = open_dataset(config.data.dir).source("test", sentences=True).__getitems__(range(5))
    text = {
        "codes": np.stack([rows[1] for rows in batch["captions"]]),
        "sentence": np.stack([rows[1] for rows in batch["sentences"]]),
    }
    captions = [WORDS.decode(row) for row in text["codes"]]
    stored = run.generate(text, np.zeros(5, int), seed=3)
    np.testing.assert_array_equal(run.sample(captions, seed=3)[:, 0], stored)
    other = text | {"sentence": text["sentence"][::-1].copy()}
    assert (run.generate(other, np.zeros(5, int), seed=3) != stored).any(axis=(1, 2, 3)).sum() >= 4


def test_walks_end_at_the_images_of_their_captions(run):
    captions = ["red star", "blue ring"]
    ends = run.sample(captions, num=2, seed=1)
    walk = run.interpolate_captions(*captions, 4, num=2, seed=1)
    np.testing.assert_array_equal(walk[:, 0], ends[0])
    np.testing.assert_array_equal(walk[:, -1], ends[1])
    between_noises = run.interpolate_noise(captions, 3, seed=1)
    np.testing.assert_array_equal(between_noises[:, 0], ends[:, 0])


def test_evaluation_and_report_read_the_stored_ones(workdir, config):
    """No encoder is given: none is needed."""
    run, dataset = t2igan.load(workdir), open_dataset(config.data.dir)
    asked = contexts.captions_of(dataset, "test", 0, seed=2)
    generate = evaluation_model.generate_fn(run, dataset, seed=0)
    rows = np.arange(asked.count)
    text = asked.text(rows)
    found = generate(text, rows)
    captions = [WORDS.decode(row) for row in asked.codes]
    given = t2igan.load(workdir, sentence_encoder=digests)
    np.testing.assert_array_equal(text["sentence"], given.text(captions)["sentence"])
    expected = given.generate(given.text(captions), rows, seed=0)
    np.testing.assert_allclose(found.astype(int), expected, atol=1)  # another batch size
    assert len(pictures.make_pairs(run, dataset, "test", 3).pairs) == 3


def test_sampling_asks_for_an_encoder_that_is_not_built_in(workdir):
    with pytest.raises(UserError, match=r"by digests .* is not built in: add --sentence_encoder"):
        t2igan.load(workdir).sample(["red star"])
    with pytest.raises(UserError, match=r"by digests .*, and this encoder is digests .7 numbers"):
        t2igan.load(workdir, sentence_encoder=lambda texts: np.ones((len(texts), 7))).sample(
            ["red star"]
        )


def test_data_by_another_encoder_or_by_none_is_refused(workdir, config, tmp_path):
    run = t2igan.load(workdir)
    other = open_dataset(make_dataset(tmp_path / "other", sha256="def"))
    with pytest.raises(UserError, match=r"weights abc.*, and .*other has those .*weights def"):
        evaluation_model.generate_fn(run, other, seed=0)
    with pytest.raises(UserError, match="was trained on sentence embeddings"):
        pictures.open_data(str(other.path), run)
    without = make_dataset(tmp_path / "without", name="")
    with pytest.raises(UserError, match="has no sentence embeddings"):
        evaluation_model.generate_fn(run, open_dataset(without), seed=0)
    changed = config.copy_and_resolve_references()
    changed.data.dir = str(without)
    told = r"config\.model\.text_encoder='sentence\+attention', but .*--sentence_encoder=minilm"
    with pytest.raises(UserError, match=told):
        open_experiment(changed)


def test_a_recipe_that_reads_no_sentence_is_given_none(config):
    changed = config.copy_and_resolve_references()
    changed.model.text_encoder = "attention"
    experiment = open_experiment(changed)
    assert experiment.meta().sentence_encoder is None
    with experiment.stream() as stream:
        assert next(stream).keys() == {"image", "codes"}


def test_the_wrong_sentence_is_that_of_the_wrong_caption(config):
    recipe = registry.build(config, SIZE)
    batch = {
        "image": np.zeros((8, SIZE, SIZE, 3), np.uint8),
        "codes": np.arange(8, dtype=np.int32)[:, None] * np.ones((8, LENGTH), np.int32),
        "sentence": np.arange(8, dtype=np.float16)[:, None] * np.ones((8, DIM), np.float16),
    }

    def seen(batch):
        found = _see(recipe, batch, batch["codes"])
        return found.text, found.mismatched_text

    for devices in (1, 4):
        mesh = data_mesh(jax.devices()[:devices])
        mapped = jax.shard_map(seen, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
        text, wrong = jax.jit(mapped)(batch)
        np.testing.assert_array_equal(wrong["codes"][:, 0], np.roll(np.arange(8), 1))
        np.testing.assert_array_equal(wrong["sentence"][:, 0], wrong["codes"][:, 0])
        np.testing.assert_array_equal(text["sentence"], batch["sentence"])


def test_a_second_stage_reads_what_its_first_reads(config):
    first = registry.build(config, SIZE)
    changed = config.copy_and_resolve_references()
    changed.recipe = "stackgan2"
    second = registry.build(changed, 2 * SIZE, first)
    assert second.text_inputs == first.text_inputs == ("codes", "sentence")
