"""Every field that an experiment may set, once, with its unit and what it means.

An experiment is a file beside this one that takes `get_config()` and changes what differs. On the
command line one field is changed with `--config.train.batch_size=64`. The default of a field that
is new is what was done before there was the field: runs made before it go on.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The report's networks and losses with today's running habits (EMA on, one step a batch)."""
    config = ConfigDict()
    config.recipe = "stackgan"  # the file in t2igan/recipes that says which networks and losses
    # Folder of the finished run whose pictures are made large, by stackgan2, caption_contrast or
    # projected; the two last do it by a small network of their own.
    config.stage1 = ""
    config.seed = 0  # of weights, shuffling, captions drawn and noise: same seed, same run
    config.use_compilation_cache = True  # keep compiled steps on disk: later starts are quick
    config.data = _data()
    config.model = _model()
    config.loss = _loss()
    config.optimizer = _optimizer()
    config.augment = _augment()
    config.ema = _ema()
    config.train = _train()
    config.checkpoint = _checkpoint()
    config.health = _health()
    config.rollback = _rollback()
    config.sample = _sample()
    config.evaluate = _evaluate()
    return config


def _data() -> ConfigDict:
    data = ConfigDict()
    data.dir = ""  # folder that `t2igan prepare` wrote
    data.train_split = "train"  # split to learn from
    data.validation_split = "validation"  # split of the validation losses and of the sample grids
    data.test_split = "test"  # split of the report page; the validation split where it is missing
    data.flip = False  # mirror each picture with probability 1/2; wrong where captions say "left"
    data.cache = "auto"  # keep decoded pictures in memory: "memory", "none", "auto" = if they fit
    return data


def _model() -> ConfigDict:
    model = ConfigDict()
    # stackgan: 8 * gf_dim channels at 4x4, halved at each doubling. Other recipes: gf_dim channels
    # at full size, doubled at each halving, 8 * gf_dim at most.
    model.gf_dim = 128
    # Discriminator's channels after its first layer, doubled at each halving; projected: channels
    # of each mixed map, its heads having twice as many.
    model.df_dim = 64
    # projected: pictures of a step among which the discriminator is shown how much they differ; it
    # divides each device's pictures. 0 = it is not shown.
    model.spread_group = 0
    model.cond_dim = 128  # width of the conditioning vector c
    model.z_dim = 100  # width of the noise z
    model.refine = False  # stackgan2: add what is drawn to the small picture, enlarged
    model.text_compressor_dim = 128  # stackgan: width of the caption as the discriminator sees it
    model.text_dim = 128  # other recipes: width of the encoded caption, in both networks
    # Other recipes: "flat", "attention" or "transformer" over the words; where the data set was
    # prepared with --sentence_encoder, "sentence" or "sentence+attention".
    model.text_encoder = "attention"
    return model


def _loss() -> ConfigDict:
    loss = ConfigDict()
    # stackgan
    loss.kl_weight = 2.0  # of KL(c's distribution || N(0, 1)) in the generator's loss
    loss.real_target = 0.9  # discriminator's target for real pictures; below 1 is label smoothing
    loss.generator_target = 1.0  # what the generator wants to hear about its pictures
    loss.train_text_compressor = True  # False leaves it a random projection, as the report's code
    # matching_hinge, relativistic, caption_contrast, projected
    loss.wrong_weight = 0.5  # of mismatched captions; the hinge loss gives the fakes the rest
    loss.contrastive_weight = 0.0  # of finding the caption among the batch's; 0 = off
    loss.contrastive_temperature = 0.1  # of its cosine similarities
    # matching_hinge, caption_contrast, projected
    loss.contrastive_captions = 256  # captions a step, besides the batch's, to find the own among
    loss.head_start_steps = 0  # first steps, in which the discriminator alone learns, that alone
    loss.matching_gp_weight = 2.0  # matching_hinge: of E ||gradient||^matching_gp_power; 0 = off
    loss.matching_gp_power = 6.0  # of the gradient's norm in that penalty
    # Second stages: of the difference between the picture, shrunk, and the first stage's; 0 = off.
    loss.downscaling_weight = 0.0
    # caption_contrast and projected on a first stage: of how far real pictures, shrunk and made
    # large again, are from what they were; 0 = off.
    loss.enlarging_weight = 0.0
    # Penalties on the discriminator's gradient, for every recipe; half the weight is applied.
    loss.r1_weight = 0.0  # on real pictures; 0 = off
    loss.r2_weight = 0.0  # on generated pictures; 0 = off
    loss.penalty_every = 1  # steps between penalties, which then weigh so many times as much
    loss.penalty_form = "exact"  # of R1 and R2: "exact", or "difference": no second derivative
    return loss


def _optimizer() -> ConfigDict:
    optimizer = ConfigDict()
    optimizer.g_learning_rate = 1e-3  # Adam's, generator
    optimizer.d_learning_rate = 1e-3  # Adam's, discriminator
    optimizer.g_beta1 = 0.5  # decay a step of Adam's first moment, generator
    optimizer.d_beta1 = 0.5  # the same, discriminator
    optimizer.beta2 = 0.999  # decay a step of Adam's second moment
    optimizer.eps = 1e-7  # added to Adam's denominator; Keras' default, which the report used
    optimizer.schedule = "constant"  # after the warm-up: "constant", "linear" or "cosine" to 0
    optimizer.decay_start = 0.0  # share of the run in which the rate is held before it falls
    optimizer.warmup_steps = 0  # steps in which the learning rates rise from 0
    optimizer.clip_norm = 0.0  # largest gradient norm of each network; 0 clips nothing
    return optimizer


def _augment() -> ConfigDict:
    augment = ConfigDict()
    # Changes to what the discriminator is shown, real and generated alike: of "translation",
    # "color" and "cutout", comma-separated; empty = none.
    augment.policy = ""
    return augment


def _ema() -> ConfigDict:
    ema = ConfigDict()
    ema.decay = 0.999  # a step, of the averaged generator that samples; 0 = no average is kept
    ema.ramp_steps = 10  # at step k the decay is at most (1 + k) / (ramp_steps + k); 0 = no ramp
    return ema


def _train() -> ConfigDict:
    train = ConfigDict()
    train.batch_size = 128  # pictures a step over all devices and processes
    train.steps = 0  # steps of the run; 0 = train.epochs says it
    train.epochs = 1000  # times that each picture is seen, where steps is 0
    train.mapper = "shard_map"  # how the step goes over devices: "shard_map" or "pmap"
    train.compute_dtype = "float32"  # of the networks' arithmetic: "float32" or "bfloat16"
    train.sync_batch_norm = True  # batch norm over all devices, not over each one's share
    train.log_every = 50  # steps between lines of metrics.jsonl
    train.sample_every = 1000  # steps between picture grids; 0 = none but the last
    train.validate_every = 1000  # steps between validation losses; 0 = none but the last
    train.validation_batches = 0  # batches of the validation split to use; 0 = all
    train.checkpoint_every = 1000  # steps between checkpoints; the last step always has one
    return train


def _checkpoint() -> ConfigDict:
    checkpoint = ConfigDict()
    checkpoint.keep_latest = 3  # newest checkpoints to keep
    checkpoint.keep_best = 1  # checkpoints to keep that were best by best_metric
    checkpoint.best_metric = "validation/loss/g"  # a metric of metrics.jsonl
    checkpoint.best_mode = "min"  # whether a "min" or a "max" of it is best
    return checkpoint


def _health() -> ConfigDict:
    health = ConfigDict()
    health.every = 100  # steps between checks for collapse, metrics health/*; 0 = none
    health.patience = 3  # bad checks in a row before it is said on stderr
    health.grace = 5000  # steps from which captions that have never had an effect count as bad
    # Thresholds; 0 switches one off.
    health.min_diversity = 0.02  # distance of one caption's pictures, relative to real ones'
    health.min_text_share = 0.01  # of the generated pictures' variance, explained by captions
    health.max_logit_gap = 12.0  # mean logit of real pictures less that of generated ones
    return health


def _rollback() -> ConfigDict:
    rollback = ConfigDict()
    # Times in the whole run that it returns to its last healthy checkpoint, or to the start, once
    # a symptom has lasted or a number is not finite; 0 = it is said, or the run stops.
    rollback.times = 0
    rollback.factor = 0.5  # by which both learning rates are multiplied each time, up to 1
    return rollback


def _sample() -> ConfigDict:
    sample = ConfigDict()
    sample.num_captions = 8  # rows of a picture grid: fixed captions of the validation split
    sample.num_noises = 4  # columns of a picture grid: fixed noises, the same in each row
    return sample


def _evaluate() -> ConfigDict:
    evaluate = ConfigDict()
    # Metrics of `t2igan evaluate`, comma-separated, on the validation split while training and, of
    # the best checkpoint, on the test split at the end; empty = none. metrics.jsonl has them as
    # e.g. validation/frechet_lite0, which checkpoint.best_metric may name.
    evaluate.metrics = ""
    evaluate.every = 1000  # steps between them, as checkpoints can be best by them; 0 = the last
    evaluate.num = 0  # pictures to draw; 0 = one of each picture of the split
    evaluate.features = "lite0"  # feature network of the metrics: "lite0" or "inception"
    evaluate.matcher = ""  # file of `t2igan train_matcher`, for metrics that read captions
    evaluate.on_test = True  # whether the best checkpoint is measured on the test split at the end
    return evaluate
