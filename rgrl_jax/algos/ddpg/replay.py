"""Replay of single steps: a ring that grows by whole episodes, and the episode under way as its newest part.

The ring only changes between episodes, so that within one it is no part of what a loop carries and need not be copied
there, however many runs are side by side.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.types import Array, Key, PyTree


class Steps(struct.PyTreeNode):
    """Steps, leaves ``[..., *]``.

    Attributes:
      obs: raw observations before them.
      action: what was executed, as the environment took it ``[..., *]``.
      reward: as the environment paid it ``[...]``.
      next_obs: raw observations after them.
      ended: whether nothing that follows counts ``[...]`` bool.
      voltages: what all neurons said ``[..., V]``; ``V`` is 0 unless they are stored.
    """

    obs: Array
    action: Array
    reward: Array
    next_obs: Array
    ended: Array
    voltages: Array


class Ring(struct.PyTreeNode):
    """The last ``C`` steps.

    Attributes:
      steps: leaves ``[C, ...]``; step number ``i`` is in row ``i mod C``.
      written: steps written so far, scalar int32.
    """

    steps: Steps
    written: Array


def init_ring(like: PyTree, capacity: int) -> Ring:
    """An empty ring for steps like ``like``, `Steps` of anything that has the shape and type of one step."""
    blank = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), like)
    return Ring(blank, jnp.int32(0))


def capacity_of(ring: Ring) -> int:
    """``C``."""
    return ring.steps.reward.shape[0]


def stored(ring: Ring) -> Array:
    """How many steps it holds, scalar."""
    return jnp.minimum(ring.written, capacity_of(ring))


def write(ring: Ring, steps: Steps, length: Array) -> Ring:
    """Appends an episode of each environment, one after the other.

    Args:
      ring: has room for all of them.
      steps: leaves ``[L, N, ...]``.
      length: of the episodes ``[N]``; rows from there on are left out.
    """
    row = jnp.arange(steps.reward.shape[0])[:, None]
    place = (ring.written + jnp.cumsum(length) - length + row) % capacity_of(ring)
    place = jnp.where(row < length, place, capacity_of(ring))  # out of bounds is dropped
    kept = jax.tree.map(lambda old, new: old.at[place].set(new, mode="drop"), ring.steps, steps)
    return Ring(kept, ring.written + length.sum())


def draw(key: Key, ring: Ring, steps: Steps, length: Array, batch: int) -> Steps:
    """Draws from the newest ``C`` of all steps, uniformly and with replacement.

    Args:
      key: consumed.
      ring: the past; with ``steps`` it holds at least one step.
      steps: of the episodes under way, leaves ``[L, N, ...]``; they count as one after the other.
      length: how far these are ``[N]``.
      batch: ``B``.

    Returns:
      Leaves ``[B, ...]``.
    """
    capacity, past = capacity_of(ring), ring.written
    total = past + length.sum()
    number = total - 1 - jax.random.randint(key, (batch,), 0, jnp.maximum(jnp.minimum(total, capacity), 1))
    ends = jnp.cumsum(length)
    lane = jnp.searchsorted(ends, number - past, side="right")
    lane = jnp.minimum(lane, length.shape[0] - 1)
    row = number - past - (ends - length)[lane]
    return jax.tree.map(
        lambda old, new: jnp.where(
            (number < past).reshape(-1, *(1,) * (old.ndim - 1)),
            old[number % capacity],
            new[jnp.maximum(row, 0), lane],
        ),
        ring.steps,
        steps,
    )
