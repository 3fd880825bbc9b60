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
        learning_rate(options.schedule, peak, options.warmup_steps, num_steps),
        b1=beta1,
        b2=options.beta2,
        eps=options.eps,
    )
    if not options.clip_norm:
        return adam
    return optax.chain(optax.clip_by_global_norm(options.clip_norm), adam)


def learning_rate(kind: str, peak: float, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """Learning rate by step: a linear rise to `peak`, then constant, or falling to 0 at the end.

    Args:
      kind: "constant", "linear" or "cosine".
      peak: the highest learning rate.
      warmup_steps: steps of the rise; 0 for none.
      num_steps: of the whole run, the rise included.

    Raises:
      UserError: no such kind.
    """
    rest = max(1, num_steps - warmup_steps)
    kinds = {
        "constant": lambda: optax.constant_schedule(peak),
        "linear": lambda: optax.linear_schedule(peak, 0.0, rest),
        "cosine": lambda: optax.cosine_decay_schedule(peak, rest),
    }
    if kind not in kinds:
        raise UserError(
            f"config.optimizer.schedule={kind!r}: no such schedule; there are {', '.join(kinds)}."
        )
    if not warmup_steps:
        return kinds[kind]()
    rise = optax.linear_schedule(peak / warmup_steps, peak, warmup_steps)
    return optax.join_schedules([rise, kinds[kind]()], [warmup_steps])
