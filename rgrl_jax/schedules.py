"""Schedules: functions from a step to a value, traceable in every argument."""

from __future__ import annotations

import jax.numpy as jnp

from rgrl_jax.types import Array, Scalar


def annealed_with_reset(step: Array, initial: Scalar, decay: Scalar, cycle: int) -> Array:
    """Decays exponentially and starts again every ``cycle`` steps: ``initial * decay ** (step mod cycle)``.

    The "annealing and reset" of the plan noise in the paper.

    Args:
      step: counted from 0, integers ``[...]``.
      initial: value at the start of each cycle, at least 0.
      decay: factor per step, in 0..1; 1 keeps the value constant.
      cycle: steps until the reset, at least 1.

    Returns:
      The value at each step ``[...]``.
    """
    return initial * jnp.asarray(decay, jnp.float32) ** (step % cycle)


def linear(step: Array, start: Scalar, end: Scalar, steps: Scalar) -> Array:
    """Changes linearly from ``start`` to ``end``, then stays.

    Args:
      step: counted from 0, ``[...]``.
      start: value at step 0.
      end: value from step ``steps`` on.
      steps: length of the change, above 0.

    Returns:
      The value at each step ``[...]``.
    """
    return start + (end - start) * jnp.minimum(step / steps, 1.0)
