"""Weight updates from eligibility traces: by a signal that all units share, or by weight maximization.

Leading axis ``N``: environments side by side; a change of the weights is a weighted mean over them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import struct

from rgrl_jax.mlp import Weights
from rgrl_jax.schedules import linear
from rgrl_jax.types import Array, Scalar

ADAM_BETAS = (0.9, 0.999)


class TrainedNetwork(struct.PyTreeNode):
    """Weights of each layer ``[n_in + 1, n_out]``, and Adam's first and second moments of each; none for sgd."""

    weights: Weights
    moments: tuple[tuple[Array, Array], ...]


class Optimizer(NamedTuple):
    """Settings of gradient ascent by ``adam`` or ``sgd``.

    Attributes:
      lr, lr_end: learning rates of the layers, linear from one to the other over ``decay_steps`` updates.
      bias_correction_until: update, counted from 1, from which Adam no longer corrects its moments for their start
        at 0.
    """

    name: str
    lr: tuple[Scalar, ...]
    lr_end: tuple[Scalar, ...]
    decay_steps: Scalar
    adam_eps: Scalar
    bias_correction_until: Scalar


def init_network(weights: Weights, optimizer: Optimizer) -> TrainedNetwork:
    """Makes the network before its first update."""
    adam = optimizer.name == "adam"
    return TrainedNetwork(weights, tuple((jnp.zeros_like(w), jnp.zeros_like(w)) for w in weights) if adam else ())


def weight_gradient(h: Array, e: Array) -> Array:
    """Computes the gradient ``[n_in + 1, n_out]`` of a layer from inputs ``[n_in]`` and eligibilities ``[n_out]``."""
    return jnp.append(h, 1.0)[:, None] * e[None, :]


def apply_update(
    network: TrainedNetwork, layer: int, gradient: Array, updates: Array, optimizer: Optimizer
) -> TrainedNetwork:
    """Moves one layer along a gradient ``[n_in + 1, n_out]``, by sgd or by Adam (Kingma and Ba, 2015).

    Layers are counted from 0; ``updates`` were made so far.
    """
    lr = linear(updates, optimizer.lr[layer], optimizer.lr_end[layer], optimizer.decay_steps)
    if optimizer.name == "sgd":
        return network.replace(weights=_replace(network.weights, layer, network.weights[layer] + lr * gradient))
    t = updates + 1.0
    averages = zip(network.moments[layer], ADAM_BETAS, (gradient, gradient**2), strict=True)
    first, second = (beta * old + (1.0 - beta) * new for old, beta, new in averages)
    # As in the reference code the correction ends at a fixed update: at 1000, steps become suddenly
    # 1 / sqrt(1 - 0.999 ** 1000) = 1.26 times as large.
    correct = t < optimizer.bias_correction_until
    m, v = (x / jnp.where(correct, 1.0 - beta**t, 1.0) for x, beta in zip((first, second), ADAM_BETAS, strict=True))
    weights = network.weights[layer] + lr * m / (jnp.sqrt(v) + optimizer.adam_eps)
    moments = _replace(network.moments, layer, (first, second))
    return TrainedNetwork(_replace(network.weights, layer, weights), moments)


def update_by_signal(
    network: TrainedNetwork, traces: Weights, signal: Array, env_weights: Array, updates: Array, optimizer: Optimizer
) -> TrainedNetwork:
    """Teaches every unit by the same scalar: ``dW^l = signal * trace^l``.

    Args:
      network: moved along its traces, of each layer ``[N, n_in + 1, n_out]``.
      signal, env_weights: of each environment, and its weight in the mean, ``[N]``.
      updates: made so far, scalar.
    """
    for i, trace in enumerate(traces):
        # One contraction, without the changes of every environment in memory.
        gradient = jnp.einsum("nij,n->ij", trace, env_weights * signal)
        network = apply_update(network, i, gradient, updates, optimizer)
    return network


def update_by_weight_maximization(
    network: TrainedNetwork,
    traces: Weights,
    signal: Array,
    env_weights: Array,
    updates: Array,
    optimizer: Optimizer,
    *,
    norm_exponent: float,
    delayed_rewards: tuple[Array, ...] | None = None,
) -> tuple[TrainedNetwork, tuple[Array, ...]]:
    """Rewards every hidden unit with the change of the norm of its outgoing weights.

    From the top down, where the signal is the reward, ``G^l = trace^l R^l`` moves the weights, and the units below
    get ``R^{l-1}_i = sum_j d|W^l_ij|^p / dW^l_ij * G^l_ij``: returned beside the network, ``[N, n_1], ...,
    [N, n_{L-1}]``. Biases are no outgoing weights. As in the reference code, ``W`` are the weights after the update
    and there is no learning rate; equations 5 and 6 of the publication have those before it and the learning rate as
    a factor, which does not matter to Adam.

    Args:
      network, traces, signal, env_weights, updates, optimizer: as for `update_by_signal`.
      norm_exponent: ``p``, 2 in all publications.
      delayed_rewards: those that the step before returned, from which hidden layers learn instead, as in the
        publication; None for no delay.
    """
    reward = signal[:, None]
    rewards: list[Array] = []
    # From the top down, and layer by layer: the rewards of a layer are read off the updated weights above it.
    for i in range(len(traces) - 1, -1, -1):
        if delayed_rewards is not None and i < len(traces) - 1:
            reward = delayed_rewards[i]
        change = traces[i] * reward[:, None, :]
        network = apply_update(network, i, jnp.einsum("nij,n->ij", change, env_weights), updates, optimizer)
        if i:
            reward = unit_rewards(network.weights[i], change, norm_exponent)
            rewards.insert(0, reward)
    return network, tuple(rewards)


def unit_rewards(layer: Array, change: Array, norm_exponent: float) -> Array:
    """Computes the change ``[N, n_in]``, to first order, of ``sum_j |W_ij|^p`` by changes of the weights.

    The weights are ``[n_in + 1, n_out]``, their changes ``[N, n_in + 1, n_out]``.
    """
    outgoing = layer[:-1]
    slope = norm_exponent * jnp.abs(outgoing) ** (norm_exponent - 1.0) * jnp.sign(outgoing)
    return jnp.einsum("ij,nij->ni", slope, change[:, :-1])


def _replace(layers: tuple[Any, ...], index: int, layer: Any) -> tuple[Any, ...]:
    return (*layers[:index], layer, *layers[index + 1 :])
