"""Schedules: plain functions from a step to a value, traceable in every argument."""

from __future__ import annotations

import jax.numpy as jnp

from rgrl_jax.types import Array, Scalar


def annealed_with_reset(step: Array, initial: Scalar, decay: Scalar, cycle: int) -> Array:
    """Exponential decay that starts anew every ``cycle`` steps.

    The paper's "annealing and reset" of the plan noise: ``initial * decay ** (step mod cycle)``.

    Args:
      step: counts from 0, integer array of any shape.
      initial: value at the start of each cycle, >= 0.
      decay: factor per step, in 0..1; 1 keeps the value constant.
      cycle: steps until the reset, >= 1.

    Returns:
      The value at ``step``, of the shape of ``step``.
    """
    return initial * jnp.asarray(decay, jnp.float32) ** (step % cycle)
