"""From eligibilities to new weights: traces, rewards of units, and ascent.

Leading axis ``N``: environments side by side; changes of the weights are the mean over those that count.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from flax import struct

from rgrl_jax.algos.unit_teams.network import Weights
from rgrl_jax.schedules import linear
from rgrl_jax.types import Array, Scalar

BETAS = (0.9, 0.999)
"""Of Adam."""


class Net(struct.PyTreeNode):
    """A network as it learns.

    Attributes:
      weights: of each layer ``[n_in + 1, n_out]``.
      moments: Adam's first and second moments of each layer, of the same shape; empty for plain ascent.
    """

    weights: Weights
    moments: tuple[tuple[Array, Array], ...]


class Rates(NamedTuple):
    """How fast a network learns.

    Attributes:
      start: learning rate of each layer at the first update.
      end: after ``steps`` updates and from there on; linear in between.
      steps: see there.
      optimizer: ``adam`` or ``ascent``.
      epsilon: of Adam.
      corrected_until: update, counted from 1, from which Adam no longer corrects its moments for their start at 0.
    """

    start: tuple[Scalar, ...]
    end: tuple[Scalar, ...]
    steps: Scalar
    optimizer: str
    epsilon: Scalar
    corrected_until: Scalar


def init_net(weights: Weights, optimizer: str) -> Net:
    """The network before its first update."""
    blank = tuple((jnp.zeros_like(w), jnp.zeros_like(w)) for w in weights) if optimizer == "adam" else ()
    return Net(weights, blank)


def outer(h: Array, e: Array) -> Array:
    """Gradient ``[n_in + 1, n_out]`` by the weights, of inputs ``[n_in]`` and eligibilities ``[n_out]``."""
    return jnp.append(h, 1.0)[:, None] * e[None, :]


def ascend(net: Net, layer: int, gradient: Array, updates: Array, rates: Rates) -> Net:
    """Moves the weights of a layer along a gradient.

    Adam's correction of its moments ends at a fixed update, as in the reference code; at update 1000 steps become
    ``1 / sqrt(1 - 0.999 ** 1000) = 1.26`` times as large (Kingma and Ba, 2015, for the rest).

    Args:
      net: the network.
      layer: which, from 0.
      gradient: ``[n_in + 1, n_out]``.
      updates: made so far, scalar.
      rates: how fast.
    """
    rate = linear(updates, rates.start[layer], rates.end[layer], rates.steps)
    if rates.optimizer == "ascent":
        return net.replace(weights=_with(net.weights, layer, net.weights[layer] + rate * gradient))
    t = updates + 1.0
    moments = zip(net.moments[layer], BETAS, (gradient, gradient**2), strict=True)
    first, second = (beta * old + (1.0 - beta) * new for old, beta, new in moments)
    correct = t < rates.corrected_until
    m, v = (x / jnp.where(correct, 1.0 - beta**t, 1.0) for x, beta in zip((first, second), BETAS, strict=True))
    weights = net.weights[layer] + rate * m / (jnp.sqrt(v) + rates.epsilon)
    return Net(_with(net.weights, layer, weights), _with(net.moments, layer, (first, second)))


def ascend_globally(net: Net, traces: Weights, signal: Array, counts: Array, updates: Array, rates: Rates) -> Net:
    """Every unit learns from the same scalar: ``dW^l = signal * trace^l``.

    Args:
      net: the network.
      traces: of each layer ``[N, n_in + 1, n_out]``.
      signal: ``[N]``.
      counts: weights of the environments in the mean ``[N]``.
      updates: made so far, scalar.
      rates: how fast.
    """
    for i, trace in enumerate(traces):
        net = ascend(net, i, jnp.einsum("nij,n->ij", trace, counts * signal), updates, rates)
    return net


def ascend_by_weights(
    net: Net,
    traces: Weights,
    signal: Array,
    counts: Array,
    updates: Array,
    rates: Rates,
    *,
    norm: float,
    delayed: tuple[Array, ...] | None = None,
) -> tuple[Net, tuple[Array, ...]]:
    """Weight maximisation: a hidden unit is rewarded with the change of the norm of its outgoing weights.

    From the top down, ``G^l = trace^l R^l`` moves the weights, and the units below get
    ``R^{l-1}_i = sum_j d|W^l_ij|^p / dW^l_ij * G^l_ij``, with the weights as they are after that and without rates,
    as in the reference code (equations 5 and 6 of the description have the weights before it, and the rate as a
    factor, which is irrelevant to Adam). Biases are no outgoing weights. With ``delayed`` every layer learns from
    what the layer above did at the previous step, as the description has it; its weights too are those after the
    change, which is left open there.

    Args:
      net, traces, signal, counts, updates, rates: as for `ascend_globally`; ``signal`` is the output layer's reward.
      norm: exponent ``p`` of the norm, 2 in all publications.
      delayed: rewards of the hidden layers from the step before, ``[N, n_1], ..., [N, n_{L-1}]``; None for no delay.

    Returns:
      The network, and the rewards of the hidden layers that came of this step.
    """
    reward = signal[:, None]
    rewards: list[Array] = []
    for i in range(len(traces) - 1, -1, -1):
        if delayed is not None and i < len(traces) - 1:
            reward = delayed[i]
        change = traces[i] * reward[:, None, :]
        net = ascend(net, i, jnp.einsum("nij,n->ij", change, counts), updates, rates)
        if i:
            reward = unit_rewards(net.weights[i], change, norm)
            rewards.insert(0, reward)
    return net, tuple(rewards)


def unit_rewards(weights: Array, change: Array, norm: float) -> Array:
    """First-order change ``[N, n_in]`` of ``sum_j |W_ij|^norm`` under changes ``[N, n_in + 1, n_out]``."""
    outgoing = weights[:-1]
    slope = norm * jnp.abs(outgoing) ** (norm - 1.0) * jnp.sign(outgoing)
    return jnp.einsum("ij,nij->ni", slope, change[:, :-1])


def _with(items: tuple, index: int, item: object) -> tuple:  # type: ignore[type-arg]
    return (*items[:index], item, *items[index + 1 :])
