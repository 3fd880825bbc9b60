"""Runs of random weights, for exports."""

from pathlib import Path

import jax
import numpy as np

from configs.common import get_config
from input_pipeline.text.sentence_encoders import Identity
from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary
from t2igan.recipes import registry
from t2igan.sampling.run import Run
from t2igan.training.optimizers import make_optimizers
from t2igan.training.state import create_state
from t2igan.workdir.meta import CheckpointMeta


def small_run(recipe, encoder, identity=None):
    """A run of random weights, without a folder.

    Args:
      recipe: its name; of a second stage, on StackGAN's first.
      encoder: config.model.text_encoder.
      identity: of the sentence encoder, where one is read; one of 12 numbers by default.
    """
    identity = identity or Identity("mine", 12, "0" * 64)
    config = get_config()
    config.recipe = recipe
    config.model.update(gf_dim=4, df_dim=4, cond_dim=4, z_dim=4, text_dim=8, text_compressor_dim=4)
    config.model.text_encoder = encoder
    table = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)

    def start(built, **more):
        more |= {"sentence_shape": identity.shape} if built.reads_sentences else {}
        return create_state(built, make_optimizers(config, 10), table, 7, seed=3, ema=False, **more)

    if recipe.endswith("_stage2"):
        first = get_config()
        first.model.update(config.model.to_dict())
        stage1 = registry.build(first, 16)
        built = registry.build(config, 32, stage1)
        state = start(built, stage1=start(stage1).g_variables)
    else:
        built = registry.build(config, 16)
        state = start(built)
    words = Vocabulary((*SPECIAL_WORDS, *(f"word{i}" for i in range(16))))
    read = identity if built.reads_sentences else None
    meta = CheckpointMeta(config.lock(), built.image_size, 7, words, "0" * 64, read)
    variables = jax.device_get(state.g_variables)
    return Run(Path("run"), 5, meta, built, variables)
