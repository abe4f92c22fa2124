"""A ring buffer for any pytree: `init`, `add` and `sample`, pure functions on an explicit state as in flashbax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.types import Array, Key, PyTree


class RingBuffer(struct.PyTreeNode):
    """The last ``C`` items.

    Attributes:
      items: leaves ``[C, ...]``; item number ``i`` is in row ``i mod C``.
      written: items written so far, scalar int32.
    """

    items: PyTree
    written: Array


def init(example: PyTree, capacity: int) -> RingBuffer:
    """Makes an empty buffer, leaves ``[C, ...]``, for items like ``example``, a pytree of arrays or of shapes."""
    blank = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), example)
    return RingBuffer(blank, jnp.int32(0))


def capacity(buffer: RingBuffer) -> int:
    """Returns the number of rows, ``C``."""
    return int(jax.tree.leaves(buffer.items)[0].shape[0])


def size(buffer: RingBuffer) -> Array:
    """Counts the items held, scalar int32."""
    return jnp.minimum(buffer.written, capacity(buffer))


def ages(buffer: RingBuffer) -> Array:
    """Returns the age of every row ``[C]``, 0 for the newest item; an empty row is at least ``written`` old."""
    rows = capacity(buffer)
    return (buffer.written - 1 - jnp.arange(rows)) % rows


def add(buffer: RingBuffer, items: PyTree) -> RingBuffer:
    """Appends items, leaves ``[M, ...]`` with ``M`` at most ``C``; the last one is the newest."""
    count = jax.tree.leaves(items)[0].shape[0]
    return add_episodes(buffer, jax.tree.map(lambda x: x[:, None], items), jnp.full(1, count, jnp.int32))


def add_episodes(buffer: RingBuffer, steps: PyTree, length: Array) -> RingBuffer:
    """Appends an episode of each environment, one after the other.

    Args:
      buffer: has a capacity of at least ``L N``.
      steps: leaves ``[L, N, ...]``.
      length: lengths of the episodes ``[N]``; rows from there on are left out.
    """
    rows = capacity(buffer)
    row = jnp.arange(jax.tree.leaves(steps)[0].shape[0])[:, None]
    # An episode starts where the one before it ends. Rows past its length go out of bounds, which drops them.
    place = (buffer.written + jnp.cumsum(length) - length + row) % rows
    place = jnp.where(row < length, place, rows)
    items = jax.tree.map(lambda old, new: old.at[place].set(new, mode="drop"), buffer.items, steps)
    return RingBuffer(items, buffer.written + length.sum())


def sample(key: Key, buffer: RingBuffer, batch_size: int, probabilities: Array | None = None) -> PyTree:
    """Draws items with replacement from a buffer that is not empty.

    Args:
      key: consumed.
      buffer: where from.
      batch_size: ``B``.
      probabilities: of the rows ``[C]``; None draws uniformly from those that are not empty.

    Returns:
      Leaves ``[B, ...]``.
    """
    if probabilities is None:
        rows = _sample_numbers(key, buffer.written, capacity(buffer), batch_size) % capacity(buffer)
    else:
        rows = jax.random.choice(key, capacity(buffer), (batch_size,), p=probabilities)
    return jax.tree.map(lambda x: x[rows], buffer.items)


def sample_with_episodes(key: Key, buffer: RingBuffer, steps: PyTree, length: Array, batch_size: int) -> PyTree:
    """Draws uniformly from the newest ``C`` steps of a buffer and of episodes under way that it does not hold yet.

    A loop over the steps of an episode need not carry the buffer then: as a constant of the loop it is not copied.

    Args:
      key: consumed.
      buffer: the past; with ``steps`` it holds at least one step.
      steps: episodes under way, leaves ``[L, N, ...]``; they count as written one after the other.
      length: their lengths so far ``[N]``.
      batch_size: ``B``.

    Returns:
      Leaves ``[B, ...]``, drawn with replacement.
    """
    rows, past = capacity(buffer), buffer.written
    number = _sample_numbers(key, past + length.sum(), rows, batch_size)
    # Numbers from ``past`` on are of the episodes under way: find the environment, then the row within its episode.
    ends = jnp.cumsum(length)
    lane = jnp.searchsorted(ends, number - past, side="right")
    lane = jnp.minimum(lane, length.shape[0] - 1)
    row = number - past - (ends - length)[lane]
    return jax.tree.map(
        lambda old, new: jnp.where(
            (number < past).reshape(-1, *(1,) * (old.ndim - 1)),
            old[number % rows],
            new[jnp.maximum(row, 0), lane],
        ),
        buffer.items,
        steps,
    )


def _sample_numbers(key: Key, written: Array, rows: int, batch_size: int) -> Array:
    """Draws numbers ``[B]`` of the newest ``rows`` of ``written`` items."""
    # The range may not be empty: where conditions are vmapped, this runs before anything is written.
    return written - 1 - jax.random.randint(key, (batch_size,), 0, jnp.maximum(jnp.minimum(written, rows), 1))
