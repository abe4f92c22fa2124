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
    """Weights of a network with the state of their optimizer.

    Attributes:
      weights: of each layer ``[n_in + 1, n_out]``.
      moments: Adam's first and second moments of each layer, of the same shape; empty for sgd.
    """

    weights: Weights
    moments: tuple[tuple[Array, Array], ...]


class LrSchedule(NamedTuple):
    """Learning rates of the layers, linear from ``start`` to ``end`` over ``decay_steps`` updates, then constant."""

    start: tuple[Scalar, ...]
    end: tuple[Scalar, ...]
    decay_steps: Scalar


class Optimizer(NamedTuple):
    """Settings of gradient ascent.

    Attributes:
      name: ``adam`` or ``sgd``.
      lr: learning rates.
      adam_eps: of Adam.
      bias_correction_until: update, counted from 1, from which Adam no longer corrects its moments for their start
        at 0.
    """

    name: str
    lr: LrSchedule
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
    """Moves the weights of one layer along a gradient, by sgd or by Adam (Kingma and Ba, 2015).

    Args:
      network: the network.
      layer: its index, from 0.
      gradient: ``[n_in + 1, n_out]``.
      updates: made so far, scalar.
      optimizer: its settings.
    """
    lr = linear(updates, optimizer.lr.start[layer], optimizer.lr.end[layer], optimizer.lr.decay_steps)
    if optimizer.name == "sgd":
        return network.replace(weights=_replace(network.weights, layer, network.weights[layer] + lr * gradient))
    t = updates + 1.0
    moments = zip(network.moments[layer], ADAM_BETAS, (gradient, gradient**2), strict=True)
    first, second = (beta * old + (1.0 - beta) * new for old, beta, new in moments)
    # As in the reference code the correction ends at a fixed update: at 1000, steps become suddenly
    # 1 / sqrt(1 - 0.999 ** 1000) = 1.26 times as large.
    correct = t < optimizer.bias_correction_until
    m, v = (x / jnp.where(correct, 1.0 - beta**t, 1.0) for x, beta in zip((first, second), ADAM_BETAS, strict=True))
    weights = network.weights[layer] + lr * m / (jnp.sqrt(v) + optimizer.adam_eps)
    return TrainedNetwork(
        _replace(network.weights, layer, weights), _replace(network.moments, layer, (first, second))
    )


def update_by_signal(
    network: TrainedNetwork, traces: Weights, signal: Array, env_weights: Array, updates: Array, optimizer: Optimizer
) -> TrainedNetwork:
    """Teaches every unit by the same scalar: ``dW^l = signal * trace^l``.

    Args:
      network: the network.
      traces: of each layer ``[N, n_in + 1, n_out]``.
      signal: ``[N]``.
      env_weights: weights of the environments in the mean ``[N]``.
      updates: made so far, scalar.
      optimizer: its settings.
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

    From the top down, ``G^l = trace^l R^l`` moves the weights, and the units below get
    ``R^{l-1}_i = sum_j d|W^l_ij|^p / dW^l_ij * G^l_ij``. Biases are no outgoing weights. As in the reference code,
    ``W`` are the weights after the update and there is no learning rate; equations 5 and 6 of the publication have
    those before it and the learning rate as a factor, which does not matter to Adam.

    Args:
      network, traces, signal, env_weights, updates, optimizer: as for `update_by_signal`; ``signal`` is the reward of
        the output layer.
      norm_exponent: ``p``, 2 in all publications.
      delayed_rewards: rewards ``[N, n_1], ..., [N, n_{L-1}]`` of the hidden layers from the step before, from which
        they learn instead, as in the publication; None for no delay.

    Returns:
      The network, and the rewards of the hidden layers that came of this step.
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
    """Computes the first-order change ``[N, n_in]`` of ``sum_j |W_ij|^p``.

    Args:
      layer: weights ``[n_in + 1, n_out]``.
      change: their changes ``[N, n_in + 1, n_out]``.
      norm_exponent: ``p``.
    """
    outgoing = layer[:-1]
    slope = norm_exponent * jnp.abs(outgoing) ** (norm_exponent - 1.0) * jnp.sign(outgoing)
    return jnp.einsum("ij,nij->ni", slope, change[:, :-1])


def _replace(layers: tuple[Any, ...], index: int, layer: Any) -> tuple[Any, ...]:
    return (*layers[:index], layer, *layers[index + 1 :])
