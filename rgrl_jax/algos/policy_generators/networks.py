"""Networks as plain arrays: relu networks, and policies whose weights are one vector, as a generator makes them.

A policy of sizes ``n_0, ..., n_L`` is a vector ``[P]`` of ``W_1, b_1, ..., W_L, b_L`` with ``W_l [n_l, n_{l-1}]`` row
by row. Functions take one observation or any number of them in front: ``[..., n_0]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Key

Weights = tuple[Array, ...]
"""Of a relu network, ``[n_in + 1, n_out]`` per layer with biases in the last row."""


def init_weights(key: Key, sizes: Sequence[int]) -> Weights:
    """Weights and biases of a relu network from a uniform law of half-width ``1 / sqrt(n_in)``."""
    return tuple(
        n**-0.5 * jax.random.uniform(jax.random.fold_in(key, i), (n + 1, m), minval=-1.0, maxval=1.0)
        for i, (n, m) in enumerate(pairwise(sizes))
    )


def relu_network(weights: Weights, x: Array) -> Array:
    """Linear outputs ``[..., n_L]`` above relu layers."""
    for w in weights[:-1]:
        x = jax.nn.relu(x @ w[:-1] + w[-1])
    return x @ weights[-1][:-1] + weights[-1][-1]


def count_weights(sizes: Sequence[int]) -> int:
    """``P``, weights and biases of a network."""
    return sum((n + 1) * m for n, m in pairwise(sizes))


def join_layers(layers: Sequence[tuple[Array, Array]]) -> Array:
    """The vector ``[P]`` of weights ``[n_out, n_in]`` and biases ``[n_out]``, layer by layer."""
    return jnp.concatenate([part.ravel() for layer in layers for part in layer])


def split_layers(policy: Array, sizes: Sequence[int]) -> list[tuple[Array, Array]]:
    """The other way round, for a vector ``[P]``."""
    layers, at = [], 0
    for n, m in pairwise(sizes):
        end = at + n * m
        layers.append((policy[at:end].reshape(m, n), policy[end : end + m]))
        at = end + m
    return layers


def policy_outputs(policy: Array, sizes: Sequence[int], x: Array) -> Array:
    """Linear outputs ``[..., n_L]`` of a policy ``[P]`` with tanh layers, at observations ``[..., n_0]``."""
    *hidden, (w_last, b_last) = split_layers(policy, sizes)
    for w, b in hidden:
        x = jnp.tanh(x @ w.T + b)
    return x @ w_last.T + b_last


def random_policy(key: Key, sizes: Sequence[int]) -> Array:
    """A policy ``[P]`` drawn by Glorot and Bengio's uniform law (2010), with biases of 0."""
    layers = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        width = math.sqrt(6.0 / (n + m))
        drawn = jax.random.uniform(jax.random.fold_in(key, i), (m, n), minval=-width, maxval=width)
        layers.append((drawn, jnp.zeros(m)))
    return join_layers(layers)
