"""Every field that an experiment may set, with default, range, meaning and freedom on resume.

An experiment is a file beside this one whose `get_config()` starts from this one's and changes
what differs. On the command line one field is changed with `--config.train.batch_size=64`. The
config is locked: setting a field that is not here is an error. A recipe of your own brings its
fields with `with config.unlocked(): config.my_group = ConfigDict(...)`.

The default of a new field is what was done before there was the field: older runs resume.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      default: its value; a value set later has this one's type.
      meaning: one line for people.
      least: smallest value, or None.
      below: the value is smaller than this, or None.
      most: largest value, or None.
      choices: all values that are allowed; () for any.
      former: name in earlier versions, which may still be set and is the same field.
      needs: fields of which one has to be switched on (not 0, empty or "constant") for this one to
        have an effect.
      since: version that the field came with; runs of earlier ones have the default.
      resume: whether a resumed run may have another value. All that it may not have would make
        the checkpoint and the steps that follow two different experiments.
    """

    default: Any
    meaning: str
    least: float | None = None
    below: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    former: str = ""
    needs: tuple[str, ...] = ()
    since: str = "0.1"
    resume: bool = False


def _positive(default: Any, meaning: str, **more: Any) -> Field:
    return Field(default, meaning, least=1, **more)


def _not_negative(default: Any, meaning: str, **more: Any) -> Field:
    return Field(default, meaning, least=0, **more)


def _share(default: float, meaning: str, **more: Any) -> Field:
    return Field(default, meaning, least=0, most=1, **more)


def _decay(default: float, meaning: str) -> Field:
    return Field(default, meaning, least=0, below=1)


FIELDS = {
    "recipe": Field("stackgan", "a file of t2igan/recipes, or a module of your own: pkg.module"),
    "stage1": Field(
        "", "second stages: folder of the finished run whose images are made 2 or 4 times as large"
    ),
    "init_from": Field(
        "",
        "a finished run to take the networks' parameters from, where names and shapes agree; "
        "optimizers and step start anew",
        since="0.2",
    ),
    "seed": Field(
        0, "of weights, shuffling, captions and noise: same seed, same run", least=0, most=2**32 - 1
    ),
    "profile": _not_negative(
        0,
        "steps to trace into RUN/profile, which TensorBoard and xprof read",
        resume=True,
        since="0.2",
    ),
    "wandb": Field(
        "",
        "project on Weights & Biases to log to beside the run's folder",
        resume=True,
        since="0.2",
    ),
    "use_compilation_cache": Field(
        True, "keep compiled steps on disk: later starts are quick", resume=True
    ),
    # Data.
    "data.dir": Field("", "data set that `t2igan prepare` wrote", resume=True),
    "data.train_split": Field("train", "split to train on"),
    "data.validation_split": Field("validation", "split of validation losses and sample grids"),
    "data.test_split": Field(
        "test", "split of the report; the validation split where it is missing", resume=True
    ),
    "data.flip": Field(
        False, "mirror each image with probability 1/2; wrong where captions say left or right"
    ),
    "data.cache": Field(
        "auto",
        "keep decoded images in memory: memory, none, or auto: if they fit",
        resume=True,
    ),
    # Networks.
    "model.gf_dim": _positive(
        128,
        "generator's channels; stackgan: 8 times as many at 4x4, halved at each doubling; other "
        "recipes: at full size, doubled at each halving, 8 times as many at most",
    ),
    "model.df_dim": _positive(
        64,
        "discriminator's channels after its first layer; projected_gan: of each projected map, "
        "its heads having twice as many",
    ),
    "model.mbstd_group_size": _not_negative(
        0,
        "projected_gan: images of a minibatch standard deviation group; divides each device's "
        "images; 0 = off",
        former="model.spread_group",
    ),
    "model.cond_dim": _positive(128, "width of the conditioning vector c"),
    "model.z_dim": _positive(100, "width of the noise z"),
    "model.refine": Field(False, "stackgan_stage2: add the output to the upsampled small image"),
    "model.text_compressor_dim": _positive(
        128, "stackgan: width of the caption in the discriminator"
    ),
    "model.text_dim": _positive(128, "other recipes: width of the encoded caption"),
    "model.text_encoder": Field(
        "attention",
        "other recipes: flat, attention or transformer over the words; with a data set prepared "
        "with --sentence_encoder also sentence or sentence+attention, with --caption_tokens tokens",
    ),
    # Losses: stackgan.
    "loss.kl_weight": _not_negative(2.0, "of the KL term of conditioning augmentation"),
    "loss.real_target": _share(
        0.9, "discriminator's target for real images; below 1 is label smoothing"
    ),
    "loss.generator_target": _share(1.0, "generator's target for generated images"),
    "loss.train_text_compressor": Field(
        True, "False freezes it at random, as in the student report's code"
    ),
    # Losses: the other recipes.
    "loss.mismatch_weight": _not_negative(
        0.5,
        "of mismatched captions; the hinge loss gives generated images the rest",
        former="loss.wrong_weight",
    ),
    "loss.contrastive_weight": _not_negative(
        0.0, "of the contrastive image-text loss in both networks; 0 = off"
    ),
    "loss.contrastive_temperature": Field(
        0.1, "of its cosine similarities", needs=("loss.contrastive_weight",)
    ),
    "loss.extra_negatives": _not_negative(
        256,
        "captions a step besides the batch's that the contrastive loss tells the own one from",
        former="loss.contrastive_captions",
        needs=("loss.contrastive_weight",),
    ),
    "loss.d_warmup_steps": _not_negative(
        0,
        "first steps, in which the discriminator alone trains, on the contrastive loss",
        former="loss.head_start_steps",
    ),
    "loss.matching_gp_weight": _not_negative(
        2.0, "dfgan: of the matching-aware gradient penalty; 0 = off"
    ),
    "loss.matching_gp_power": Field(
        6.0, "of the gradient's norm in it", needs=("loss.matching_gp_weight",)
    ),
    # Losses: diversity, for every recipe.
    "loss.diversity_weight": _not_negative(
        0.0,
        "of the diversity loss: two images of each caption of a step are generated, and shall "
        "differ; 0 = off",
        since="0.2",
    ),
    "loss.diversity_target": _not_negative(
        0.75,
        "distance of the two images, as a share of that between two images of the batch, "
        "from which they cost nothing; of rendered shapes captions leave no more than 0.27 open",
        since="0.2",
        needs=("loss.diversity_weight",),
    ),
    "loss.diversity_every_caption": Field(
        False,
        "two images of every caption of a step: twice as many generated images as real ones; "
        "otherwise two of every second one's",
        since="0.2",
        needs=("loss.diversity_weight",),
    ),
    # Losses: second stages.
    "loss.consistency_weight": _not_negative(
        0.0,
        "of the distance between the downsampled image and the first stage's; 0 = off",
        former="loss.downscaling_weight",
    ),
    "loss.reconstruction_weight": _not_negative(
        0.0,
        "contrastive and projected_gan: of the distance between real images and what the second "
        "stage makes of them downsampled; 0 = off",
        former="loss.enlarging_weight",
    ),
    # Losses: gradient penalties, for every recipe; half the weight is applied.
    "loss.r1_weight": _not_negative(0.0, "of R1, on real images; 0 = off"),
    "loss.r2_weight": _not_negative(0.0, "of R2, on generated images; 0 = off"),
    "loss.penalty_interval": _positive(
        1,
        "lazy regularization: steps between penalties, which then weigh as many times as much",
        former="loss.penalty_every",
        needs=("loss.r1_weight", "loss.r2_weight", "loss.matching_gp_weight"),
    ),
    "loss.penalty_form": Field(
        "exact",
        "of R1 and R2: exact, or difference: finite differences, no second derivative",
        needs=("loss.r1_weight", "loss.r2_weight"),
    ),
    # Optimizers: Adam.
    "optimizer.g_learning_rate": _not_negative(1e-3, "generator's"),
    "optimizer.d_learning_rate": _not_negative(1e-3, "discriminator's"),
    "optimizer.g_beta1": _decay(0.5, "decay a step of the first moment, generator"),
    "optimizer.d_beta1": _decay(0.5, "the same, discriminator"),
    "optimizer.beta2": _decay(0.999, "decay a step of the second moment"),
    "optimizer.eps": _not_negative(1e-7, "added to Adam's denominator; Keras' default"),
    "optimizer.schedule": Field(
        "constant", "after the warm-up: constant, or linear or cosine decay to 0"
    ),
    "optimizer.decay_start": _share(
        0.0, "share of the run before the decay of a schedule begins", needs=("optimizer.schedule",)
    ),
    "optimizer.warmup_steps": _not_negative(0, "steps in which the learning rates rise from 0"),
    "optimizer.clip_norm": _not_negative(
        0.0, "largest gradient norm of each network; 0 clips nothing"
    ),
    "augment.policy": Field(
        "",
        "differentiable augmentation of what the discriminator sees: of translation, color and "
        "cutout, comma-separated; empty = none",
    ),
    "ema.decay": _decay(0.999, "a step, of the EMA generator, which samples; 0 = no EMA"),
    "ema.ramp_steps": _not_negative(
        10,
        "at step k the decay is at most (1 + k) / (ramp_steps + k); 0 = no ramp",
        needs=("ema.decay",),
    ),
    # The run.
    "train.batch_size": _positive(128, "images a step over all devices and processes"),
    "train.steps": _not_negative(0, "steps of the run; 0 = train.epochs decides", resume=True),
    "train.epochs": _not_negative(
        1000, "times that each image is seen, where train.steps is 0", resume=True
    ),
    "train.mapper": Field(
        "shard_map", "how the step is mapped over devices: shard_map or pmap", resume=True
    ),
    "train.compute_dtype": Field(
        "float32", "of the networks' arithmetic", choices=("float32", "bfloat16")
    ),
    "train.accumulate_steps": _positive(
        1,
        "compute a step in so many parts, one after the other, to need less memory; what compares "
        "the images of a batch (batch norm, minibatch stddev, contrastive terms) sees one part",
        since="0.2",
    ),
    "train.remat": Field(
        False,
        "compute activations again in the backward pass, all but those of convolutions and matrix "
        "products, to need less memory on GPUs and TPUs",
        resume=True,
        since="0.2",
    ),
    "train.sync_batch_norm": Field(True, "batch norm over all devices, not over each one's share"),
    "train.log_every": _positive(50, "steps between lines of metrics.jsonl", resume=True),
    "train.sample_every": _not_negative(
        1000, "steps between sample grids; 0 = the last only", resume=True
    ),
    "train.validate_every": _not_negative(
        1000, "steps between validation losses; 0 = the last only", resume=True
    ),
    "train.validation_batches": _not_negative(
        0, "batches of the validation split to use; 0 = all", resume=True
    ),
    "train.checkpoint_every": _positive(
        1000, "steps between checkpoints; the last step always has one", resume=True
    ),
    "checkpoint.keep_latest": Field(3, "newest checkpoints to keep", resume=True),
    "checkpoint.keep_best": Field(1, "best checkpoints to keep, by best_metric", resume=True),
    "checkpoint.best_metric": Field(
        "",
        "a metric of metrics.jsonl; empty: the first of evaluate.metrics, and without any the "
        "latest checkpoint is the best",
        resume=True,
    ),
    "checkpoint.best_mode": Field(
        "min",
        "whether a min or a max of a best_metric that is given is best",
        choices=("min", "max"),
        resume=True,
        needs=("checkpoint.best_metric",),
    ),
    # Mode-collapse monitor; thresholds of 0 switch a check off.
    "health.every": _not_negative(
        100, "steps between checks for mode collapse, metrics health/*; 0 = none", resume=True
    ),
    "health.patience": _positive(3, "failed checks in a row before a warning", resume=True),
    "health.grace": _not_negative(
        5000, "steps from which captions that have never had an effect count", resume=True
    ),
    "health.min_diversity": Field(
        0.02, "distance of one caption's images, relative to real ones'", resume=True
    ),
    "health.min_text_share": Field(
        0.01, "share of the images' variance that captions explain", resume=True
    ),
    "health.max_logit_gap": Field(
        12.0, "mean logit of real images less that of generated ones", resume=True
    ),
    "rollback.times": _not_negative(
        0,
        "times in the run that it returns to its last healthy checkpoint after a lasting warning "
        "or a number that is not finite; 0 = it warns, or stops",
        resume=True,
    ),
    "rollback.factor": Field(
        0.5,
        "both learning rates are multiplied by it each time; above 0, up to 1",
        resume=True,
        needs=("rollback.times",),
    ),
    "sample.num_captions": _positive(
        8, "rows of a sample grid: fixed captions of the validation split", resume=True
    ),
    "sample.num_noises": _positive(
        4, "columns of a sample grid: fixed noises, the same in each row", resume=True
    ),
    # Metrics beside training; metrics.jsonl has them as e.g. validation/frechet_lite0.
    "evaluate.metrics": Field(
        "",
        "metrics of `t2igan evaluate`, comma-separated, on the validation split while training "
        "and, of the best checkpoint, on the test split at the end; empty = none",
        resume=True,
    ),
    "evaluate.every": _not_negative(
        1000, "steps between them; 0 = the last only", resume=True, needs=("evaluate.metrics",)
    ),
    "evaluate.num": _not_negative(
        0,
        "images to generate; 0 = one of each image of the split",
        resume=True,
        needs=("evaluate.metrics",),
    ),
    "evaluate.features": Field(
        "lite0",
        "feature network: lite0, inception, dinov2_vitl14, ...",
        resume=True,
        needs=("evaluate.metrics",),
    ),
    "evaluate.weights": Field(
        "",
        "safetensors files of DINOv2 and CLIP, comma-separated; FILE@SHA256 pins",
        resume=True,
        since="0.2",
    ),
    "evaluate.matcher": Field(
        "", "file of `t2igan train_matcher`, for metrics that read captions", resume=True
    ),
    "evaluate.on_test": Field(
        True, "measure the best checkpoint on the test split at the end", resume=True
    ),
}


def get_config() -> ConfigDict:
    """Returns the StackGAN baseline: the first stage at 64x64, with an EMA generator."""
    config = ConfigDict()
    for name, field in FIELDS.items():
        group, _, leaf = name.rpartition(".")
        if group and group not in config:
            config[group] = ConfigDict()
        fields = config[group] if group else config
        fields[leaf] = field.default
        if field.former:  # a reference: setting one sets the other
            fields[field.former.rpartition(".")[2]] = fields.get_ref(leaf)
    return config.lock()


def small_networks(config: ConfigDict) -> ConfigDict:
    """Returns the config with the optimizers that small networks train with on a CPU."""
    config.optimizer.g_beta1 = 0.0
    config.optimizer.beta2 = 0.99
    config.optimizer.eps = 1e-8
    config.optimizer.warmup_steps = 100
    config.model.text_dim = 64
    config.loss.contrastive_temperature = 0.05
    config.ema.decay = 0.998
    config.train.batch_size = 16
    config.health.every = 500
    return config


def projected(config: ConfigDict) -> ConfigDict:
    """Returns the config with a projected discriminator for small sets of photographs."""
    config = small_networks(config)
    config.recipe = "projected_gan"
    config.data.flip = True  # doubles a small set; its captions seldom say left or right
    config.model.gf_dim = 24
    config.model.df_dim = 32
    config.model.mbstd_group_size = 4  # without it few images come back for many captions
    config.model.z_dim = 32
    config.model.text_encoder = "sentence+attention"
    config.loss.contrastive_weight = 0.2  # at 1, as for shapes, images lose their realism
    config.augment.policy = "translation,color,cutout"
    config.optimizer.g_learning_rate = 5e-4
    return config
