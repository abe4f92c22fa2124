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


def linear(step: Array, start: Scalar, end: Scalar, steps: Scalar) -> Array:
    """From ``start`` to ``end`` in a straight line, then constant.

    Args:
      step: counts from 0, array of any shape.
      start: value at step 0.
      end: value from step ``steps`` on.
      steps: how many it takes, > 0.

    Returns:
      The value at ``step``, of the shape of ``step``.
    """
    return start + (end - start) * jnp.minimum(step / steps, 1.0)
