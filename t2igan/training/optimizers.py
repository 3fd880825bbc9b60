"""Adam with the schedule and the clipping that a config asks for."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from input_pipeline.errors import UserError


class Optimizers(NamedTuple):
    """One gradient transformation a network."""

    g: optax.GradientTransformation
    d: optax.GradientTransformation


def make_optimizers(config: Any, num_steps: int) -> Optimizers:
    """Returns both networks' optimizers.

    Args:
      config: with `optimizer`, see configs/common.py.
      num_steps: length of the run, which a decaying schedule ends at.

    Raises:
      UserError: no such schedule.
    """
    optimizer = config.optimizer
    return Optimizers(
        g=_adam(optimizer, optimizer.g_learning_rate, optimizer.g_beta1, num_steps),
        d=_adam(optimizer, optimizer.d_learning_rate, optimizer.d_beta1, num_steps),
    )


def _adam(options: Any, peak: float, beta1: float, num_steps: int) -> optax.GradientTransformation:
    adam = optax.adam(
        learning_rate(options.schedule, peak, options.warmup_steps, num_steps, options.decay_start),
        b1=beta1,
        b2=options.beta2,
        eps=options.eps,
    )
    if not options.clip_norm:
        return adam
    return optax.chain(optax.clip_by_global_norm(options.clip_norm), adam)


def learning_rate(
    kind: str, peak: float, warmup_steps: int, num_steps: int, decay_start: float = 0.0
) -> optax.Schedule:
    """Learning rate by step: a linear rise to `peak`, then constant, or falling to 0 at the end.

    Args:
      kind: "constant", "linear" or "cosine".
      peak: the highest learning rate.
      warmup_steps: steps of the rise; 0 for none.
      num_steps: of the whole run, the rise included.
      decay_start: share of the run, from 0 to 1, in which the rate is held before it falls.

    Raises:
      UserError: no such kind.

    Reference: to hold the rate and let it fall at the end, Hagele et al. 2024, arXiv:2405.18392.
    """
    held = max(warmup_steps, round(decay_start * num_steps))
    fall = max(1, num_steps - held)
    kinds = {
        "constant": lambda: optax.constant_schedule(peak),
        "linear": lambda: optax.linear_schedule(peak, 0.0, fall),
        "cosine": lambda: optax.cosine_decay_schedule(peak, fall),
    }
    if kind not in kinds:
        raise UserError(
            f"config.optimizer.schedule={kind!r}: no such schedule; there are {', '.join(kinds)}."
        )
    parts, starts = [kinds[kind]()], []
    if held > warmup_steps:
        parts, starts = [optax.constant_schedule(peak), *parts], [held]
    if warmup_steps:
        rise = optax.linear_schedule(peak / warmup_steps, peak, warmup_steps)
        parts, starts = [rise, *parts], [warmup_steps, *starts]
    return optax.join_schedules(parts, starts) if starts else parts[0]
