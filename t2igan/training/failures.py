"""What devices and collectives raise, as one line that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import jax

from input_pipeline.errors import UserError
from t2igan.runtime import peers

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
_PEERS = ("Gloo", "NCCL", "onnection closed", "onnection reset", "UNAVAILABLE", "coordination")


@contextlib.contextmanager
def explained(config: ConfigDict) -> Iterator[None]:
    """Turns what a full device raises in the block into a UserError; ends where a peer was lost.

    Args:
      config: of the run, for what the message advises.

    Raises:
      UserError: in one line.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        text = str(error) or "out of memory"
        first = text.strip().split("\n")[0][:200]
        if isinstance(error, MemoryError) or any(words in text for words in _MEMORY):
            batch, parts = config.train.batch_size, config.train.accumulate_steps
            raise UserError(
                f"out of memory ({first}): lower config.train.batch_size={batch}, or keep it and "
                f"compute it in parts by --config.train.accumulate_steps={2 * max(1, parts)}; "
                "t2igan train --dry_run says what fits"
            ) from error
        if jax.process_count() > 1 and any(words in text for words in _PEERS):
            peers.end(f"another process of the run has died ({first})")
        raise
