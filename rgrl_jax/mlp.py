"""Multilayer perceptrons as tuples of plain arrays.

A layer is one array ``[n_in + 1, n_out]`` with the biases in its last row. Functions take one sample or any number of
leading axes, ``[..., n]``. Stacked networks are made with ``jax.vmap(init)`` and evaluated with ``jax.vmap(apply)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Key, Scalar

Weights = tuple[Array, ...]
"""Layers ``[n_0 + 1, n_1], ..., [n_{L-1} + 1, n_L]``."""

Activation = Callable[[Array], Array]


def init(key: Key, sizes: Sequence[int], final: Scalar = 0.0) -> Weights:
    """Draws layers ``[n_in + 1, n_out]`` uniformly within ``1 / sqrt(n_in)``, biases too (Lillicrap et al., 2016).

    Args:
      key: consumed.
      sizes: sizes ``n_0, ..., n_L`` of input, hidden layers and output.
      final: half-width of the distribution in the last layer; 0 for the same as elsewhere.
    """
    weights = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        width = n_in**-0.5 if i < len(sizes) - 2 else jnp.where(final > 0, final, n_in**-0.5)
        drawn = jax.random.uniform(jax.random.fold_in(key, i), (n_in + 1, n_out), minval=-1.0, maxval=1.0)
        weights.append(width * drawn)
    return tuple(weights)


def affine(layer: Array, x: Array, *, biases: bool = True) -> Array:
    """Computes ``x W + b`` of a layer ``[n_in + 1, n_out]`` at ``x [..., n_in]``: ``[..., n_out]``."""
    return x @ layer[:-1] + layer[-1] if biases else x @ layer[:-1]


def apply(weights: Weights, x: Array, activation: Activation) -> Array:
    """Evaluates a network with linear outputs at ``x [..., n_0]``: ``[..., n_L]``."""
    for layer in weights[:-1]:
        x = activation(affine(layer, x))
    return affine(weights[-1], x)
