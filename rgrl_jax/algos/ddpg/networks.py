"""The actor and the critic of DDPG.

Weights are those of `rgrl_jax.mlp`. Functions take one sample or any number of leading axes, ``[..., n]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from rgrl_jax import mlp
from rgrl_jax.mlp import Activation, Weights
from rgrl_jax.types import Array, Key, Scalar

ACTIVATIONS: dict[str, Activation] = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def actor_action(weights: Weights, x: Array, activation: str) -> Array:
    """Returns the actor's actions ``[..., A]`` in -1..1 at inputs ``x [..., n_0]``."""
    return jnp.tanh(mlp.apply(weights, x, ACTIVATIONS[activation]))


def init_critic(key: Key, sizes: Sequence[int], action_size: int, action_layer: int, final: Scalar) -> Weights:
    """Draws the layers of a critic ``[n_in + 1, n_out]``, of ``sizes`` of observation and hidden layers.

    The action is appended to the input of ``action_layer``, from 0; for ``final`` see `mlp.init`.
    """
    weights: list[Array] = []
    for i, (n_in, n_out) in enumerate(pairwise((*sizes, 1))):
        shape = (n_in + action_size * (i == action_layer), n_out)
        weights += mlp.init(jax.random.fold_in(key, i), shape, final if i == len(sizes) - 1 else 0.0)
    return tuple(weights)


def q_value(weights: Weights, x: Array, action: Array, action_layer: int) -> Array:
    """Returns the critic's values ``[...]`` of actions ``[..., A]`` at inputs ``x [..., n_0]``."""
    for i, layer in enumerate(weights):
        x = mlp.affine(layer, jnp.concatenate([x, action], axis=-1) if i == action_layer else x)
        x = x if i == len(weights) - 1 else jax.nn.relu(x)
    return x[..., 0]
