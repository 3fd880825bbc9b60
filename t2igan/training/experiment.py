"""An experiment opened from its config: data, networks, optimizers, devices, length."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from input_pipeline.dataset.open import Dataset, open_dataset
from input_pipeline.errors import UserError
from input_pipeline.stream.train import TrainStream, train_stream
from input_pipeline.text.sentence_encoders import Identity
from t2igan.config import fields as config_ranges
from t2igan.config.length import run_length
from t2igan.config.unused import unused
from t2igan.recipes import registry
from t2igan.recipes.base import Recipe
from t2igan.runtime import paths, sharding
from t2igan.runtime.device import data_mesh
from t2igan.training import compile as compiled
from t2igan.training import stage1 as first_stage
from t2igan.training.init_from import with_networks_of
from t2igan.training.optimizers import Optimizers, make_optimizers
from t2igan.training.stage1 import FirstStage
from t2igan.training.state import TrainState, create_state
from t2igan.workdir.meta import CheckpointMeta

if TYPE_CHECKING:
    from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is trained on what.

    Attributes:
      config: every field.
      dataset: prepared images and captions.
      recipe: networks and losses.
      optimizers: both networks'.
      num_steps: length of the run.
      mesh: devices of all processes, one axis "data".
      first_stage: the finished generator that the recipe builds on, or None.
    """

    config: ConfigDict
    dataset: Dataset
    recipe: Recipe
    optimizers: Optimizers
    num_steps: int
    mesh: Mesh
    first_stage: FirstStage | None = None

    def initial_state(self) -> TrainState:
        """Returns the state before the first step, whole on every device."""
        state = self._create_state()
        if self.config.init_from:
            state = with_networks_of(state, self.config.init_from)
        return sharding.replicate(state, self.mesh)

    def state_shapes(self) -> TrainState:
        """Returns the state as `jax.ShapeDtypeStruct`s, whole on every device."""
        replicated = NamedSharding(self.mesh, P())
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated),
            jax.eval_shape(self._create_state),
        )

    def _create_state(self) -> TrainState:
        return create_state(
            self.recipe,
            self.optimizers,
            self.dataset.word_vectors,
            self.dataset.caption_length,
            seed=self.config.seed,
            ema=self.config.ema.decay > 0,
            stage1=self.first_stage and self.first_stage.variables,
            sentence_shape=self.sentence_encoder.shape if self.sentence_encoder else (),
        )

    @property
    def sentence_encoder(self) -> Identity | None:
        """Whose sentence embeddings the recipe reads, or None where it reads none."""
        return self.dataset.sentence_encoder if self.recipe.reads_sentences else None

    def unused(self) -> dict[str, str]:
        """Returns the fields that the config sets without effect, and why."""
        first = self.first_stage and self.first_stage.recipe
        return unused(
            self.config, lambda config: registry.build(config, self.dataset.image_size, first)
        )

    def train_step(self, *, d_warmup: bool = False) -> compiled.StepFunction:
        """Returns (state, batch) -> (state, metrics), to be compiled at its first call.

        Args:
          d_warmup: for the recipe's first `d_warmup_steps` steps.
        """
        return compiled.make_train_step(
            self.recipe, self.optimizers, self.config, self.mesh, d_warmup=d_warmup
        )

    def stream(self) -> TrainStream:
        """Returns this process's share of the training batches, from the first one on."""
        data = self.config.data
        return train_stream(
            self.dataset,
            data.train_split,
            batch_size=self.config.train.batch_size,
            seed=self.config.seed,
            flip=data.flip,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            cache=data.cache,
            sentences=self.recipe.reads_sentences,
            extra_negatives=self.recipe.extra_negatives,
        )

    def meta(self, monitor: Mapping[str, Any] | None = None) -> CheckpointMeta:
        """Returns what a checkpoint says of itself: enough to sample without the data set.

        Args:
          monitor: state of the mode-collapse monitor.
        """
        return CheckpointMeta(
            config=self.config,
            image_size=self.dataset.image_size,
            caption_length=self.dataset.caption_length,
            vocabulary=self.dataset.vocabulary,
            dataset_hash=self.dataset.hash,
            sentence_encoder=self.sentence_encoder,
            stage1=self.first_stage and self.first_stage.meta,
            monitor=monitor or {},
        )


def open_experiment(
    config: ConfigDict,
    num_devices: int = 0,
    workdir: Path | None = None,
    mesh: Mesh | None = None,
) -> Experiment:
    """Returns the experiment that a config describes, with its data opened.

    Args:
      config: see configs/common.py.
      num_devices: of this process to use, where it is alone; 0 for all.
      workdir: of the run; a resumed one has its first stage in its own checkpoints.
      mesh: of devices that are absent, to compile for; num_devices is not read then.

    Raises:
      UserError: a field is out of its range, the data set cannot be read, or the batch cannot be
        divided over the devices.
    """
    config_ranges.check(config)
    if not config.data.dir:
        raise UserError("no data set given: add --config.data.dir=DATASET, made by t2igan prepare")
    mesh = mesh or _mesh(num_devices)
    _check_batch(config.train.batch_size, mesh)
    _check_parts(config, mesh)
    _check_groups(config, mesh)
    dataset = open_dataset(paths.local(config.data.dir))
    first = first_stage.find(config, dataset, workdir)
    recipe = registry.build(config, dataset.image_size, first and first.recipe)
    if recipe.reads_sentences:
        _check_sentences(config, dataset)
    if recipe.extra_negatives % mesh.size:
        raise UserError(
            f"config.loss.extra_negatives={recipe.extra_negatives} cannot be divided over "
            f"{mesh.size} devices"
        )
    num_steps = run_length(config, len(dataset.source(config.data.train_split)))
    optimizers = make_optimizers(config, num_steps)
    return Experiment(config, dataset, recipe, optimizers, num_steps, mesh, first)


def _check_sentences(config: ConfigDict, dataset: Dataset) -> None:
    kind = config.model.text_encoder
    try:
        encoder = dataset.require_sentences()
        if kind == "tokens" and not encoder.tokens:
            raise UserError(
                f"{dataset.path} has embeddings of whole captions alone: prepare it again with "
                "--sentence_encoder=clip:FILE --caption_tokens=32"
            )
    except UserError as error:
        raise UserError(f"config.model.text_encoder={kind!r}, but {error}") from error


def _mesh(num_devices: int) -> Mesh:
    devices = jax.devices()
    if num_devices and jax.process_count() > 1:
        raise UserError("--devices chooses among the devices of a single process; leave it out")
    if not 0 <= num_devices <= len(devices):
        raise UserError(f"--devices={num_devices}: there are {len(devices)} {devices[0].platform}")
    return data_mesh(devices[:num_devices] if num_devices else None)


def _check_batch(batch_size: int, mesh: Mesh) -> None:
    count = mesh.size
    if batch_size % count:
        below, above = batch_size // count * count, -(-batch_size // count) * count
        near = f"{below} or {above}" if below else str(above)
        raise UserError(
            f"config.train.batch_size={batch_size} cannot be divided over {count} devices: "
            f"{near} can"
        )


def _check_parts(config: ConfigDict, mesh: Mesh) -> None:
    parts, share = config.train.accumulate_steps, config.train.batch_size // mesh.size
    within = config.loss.diversity_weight and not config.loss.diversity_every_caption
    pairs = 2 if within else 1
    if share % (parts * pairs) and parts > 1:
        kind = "pairs of images" if pairs == 2 else "images"
        raise UserError(
            f"config.train.accumulate_steps={parts} does not divide the {share} images of a step "
            f"on each of {mesh.size} devices into equal parts of {kind}"
        )


def _check_groups(config: ConfigDict, mesh: Mesh) -> None:
    """Groups over several devices would each be of what one of them has."""
    parts = config.train.accumulate_steps
    group, share = config.model.mbstd_group_size, config.train.batch_size // mesh.size // parts
    if group and share % group:
        of_parts = f", in {parts} parts" if parts > 1 else ""
        raise UserError(
            f"config.model.mbstd_group_size={group} does not divide the {share} images of a step "
            f"on each of {mesh.size} devices{of_parts}"
        )
