"""Scales: of observations, actions and running statistics."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rgrl_jax.types import Array, Box, Discrete, Scalar, Space


def scale(value: Array, low: Scalar, high: Scalar) -> Array:
    """Maps ``low..high`` linearly to -1..1; values outside are not clipped. Same shape, float32."""
    return (2.0 * (value - low) / (high - low) - 1.0).astype(jnp.float32)


def unscale(value: Array, low: Scalar, high: Scalar) -> Array:
    """Maps -1..1 linearly to ``low..high``, the inverse of `scale`. Same shape."""
    return low + 0.5 * (value + 1.0) * (high - low)


def space_size(space: Space) -> int:
    """Counts the entries of a value of this space as a vector: ``n`` of a `Discrete`, one-hot."""
    return space.n if isinstance(space, Discrete) else math.prod(space.shape)


def bounds(box: Box) -> tuple[Array, Array]:
    """Returns lower and upper bounds of the flattened entries of a `Box`, ``[prod(shape)]`` each."""
    low, high = (np.asarray(bound, np.float32).reshape(-1) for bound in (box.low, box.high))
    return jnp.broadcast_to(low, (space_size(box),)), jnp.broadcast_to(high, (space_size(box),))


def flatten_obs(obs: Array, space: Space) -> Array:
    """Turns an observation into a vector ``[n]``: its numbers as they are, or one of ``n`` as a 1 among 0."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.n)
    return obs.astype(jnp.float32).ravel()


def to_env_action(action: Array, box: Box) -> Array:
    """Turns an action ``[A]`` in -1..1 into the environment's, of the shape of its `Box`."""
    return unscale(action, *bounds(box)).reshape(box.shape)


def from_env_action(action: Array, box: Box) -> Array:
    """Turns an action of the environment into one ``[A]`` in -1..1."""
    return scale(action.ravel(), *bounds(box))


class RunningStatistics(struct.PyTreeNode):
    """Mean and sum of squared deviations ``[n]`` of the vectors seen so far, and their number, a scalar."""

    mean: Array
    squares: Array
    count: Array


def init_statistics(size: int) -> RunningStatistics:
    """Makes statistics of no vectors."""
    return RunningStatistics(jnp.zeros(size), jnp.zeros(size), jnp.float32(0.0))


def update_statistics(statistics: RunningStatistics, x: Array, alive: Array) -> RunningStatistics:
    """Adds vectors ``[N, n]`` where ``alive [N]`` (Chan, Golub and LeVeque, 1979; for one vector Welford, 1962)."""
    counts = alive.astype(jnp.float32)[:, None]
    number = counts.sum()
    mean = (counts * x).sum(axis=0) / jnp.maximum(number, 1.0)
    # Deviations from each mean, not squares of the values: these would cancel in float32 where means are large.
    squares = (counts * (x - mean) ** 2).sum(axis=0)
    total = jnp.maximum(statistics.count + number, 1.0)
    gap = mean - statistics.mean
    return RunningStatistics(
        mean=statistics.mean + gap * number / total,
        squares=statistics.squares + squares + gap**2 * statistics.count * number / total,
        count=statistics.count + number,
    )
