"""Policies as vectors: tanh networks whose weights a generator makes.

A policy with layer sizes ``n_0, ..., n_L`` is a vector ``[P]`` of ``W_1, b_1, ..., W_L, b_L``, with the entries of
``W_l [n_l, n_{l-1}]`` row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.normalization import RunningStatistics, scale, space_size, unscale
from rgrl_jax.types import Array, Box, Discrete, Key, Space

Statistics = RunningStatistics | tuple[()]
"""Statistics of the observations, or none."""


def layer_sizes(config: PolicyGeneratorConfig) -> tuple[int, ...]:
    """Returns the sizes ``n_0, ..., n_L`` of a policy's input, hidden layers and output."""
    return space_size(config.spec.observation), *config.hidden, space_size(config.spec.action)


def count_weights(sizes: Sequence[int]) -> int:
    """Counts the weights and biases ``P`` of a network."""
    return sum((n + 1) * m for n, m in pairwise(sizes))


def join_layers(layers: Sequence[tuple[Array, Array]]) -> Array:
    """Joins weights ``[n_out, n_in]`` and biases ``[n_out]`` of each layer to a vector ``[P]``."""
    return jnp.concatenate([part.ravel() for layer in layers for part in layer])


def split_layers(policy: Array, sizes: Sequence[int]) -> list[tuple[Array, Array]]:
    """Splits a vector ``[P]`` into weights ``[n_out, n_in]`` and biases ``[n_out]`` of each layer."""
    layers, start = [], 0
    for n, m in pairwise(sizes):
        end = start + n * m
        layers.append((policy[start:end].reshape(m, n), policy[end : end + m]))
        start = end + m
    return layers


def random_policy(key: Key, sizes: Sequence[int]) -> Array:
    """Draws a policy ``[P]`` from Glorot and Bengio's uniform distribution (2010), with biases of 0."""
    layers = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        width = math.sqrt(6.0 / (n + m))
        weights = jax.random.uniform(jax.random.fold_in(key, i), (m, n), minval=-width, maxval=width)
        layers.append((weights, jnp.zeros(m)))
    return join_layers(layers)


def policy_outputs(policy: Array, sizes: Sequence[int], x: Array) -> Array:
    """Computes the linear outputs ``[..., n_L]`` of a policy ``[P]`` at normalized observations ``[..., n_0]``."""
    *hidden, (last_weights, last_biases) = split_layers(policy, sizes)
    for weights, biases in hidden:
        x = jnp.tanh(x @ weights.T + biases)
    return x @ last_weights.T + last_biases


def normalize(x: Array, statistics: Statistics, config: PolicyGeneratorConfig) -> Array:
    """Normalizes flat observations ``[N, n_0]``, by running statistics where there are any; same shape."""
    if isinstance(statistics, RunningStatistics):
        # The sample variance of a single observation is unknown: it stays as it is.
        deviation = jnp.sqrt(statistics.squares / jnp.maximum(statistics.count - 1.0, 1.0))
        return jnp.where(statistics.count > 1, (x - statistics.mean) / (deviation + 1e-8), x)
    space = config.spec.observation
    return scale(x, *_bounds(space)) if config.obs_normalization == "range" and isinstance(space, Box) else x


def _bounds(box: Box) -> tuple[Array, Array]:
    """Returns the bounds of a `Box`, as scalars if they are."""
    # XLA folds scalars into the arithmetic but not the vectors of `normalization.bounds`, which would change the last
    # bit of committed results.
    return jnp.asarray(box.low, jnp.float32), jnp.asarray(box.high, jnp.float32)


def smooth_actions(outputs: Array, action: Space) -> Array:
    """Turns outputs ``[..., n_L]`` into actions, or into probabilities of `Discrete` ones, which have no gradient."""
    if isinstance(action, Discrete):
        return jax.nn.softmax(outputs)
    return unscale(jnp.tanh(outputs), *_bounds(action))


def env_actions(outputs: Array, action: Space) -> Array:
    """Turns outputs ``[N, n_L]`` into actions of the environment ``[N, ...]``."""
    if isinstance(action, Discrete):
        return jnp.argmax(outputs, axis=-1).astype(jnp.int32)
    return smooth_actions(outputs, action).reshape(-1, *action.shape)
