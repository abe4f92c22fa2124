"""Networks of such units: drawing weights, passing an input upwards, and the energy of what was drawn.

A layer of ``n_out`` units on ``n_in`` inputs has one array of weights ``[n_in + 1, n_out]``, whose last row are the
biases. Everything is unbatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.algos.unit_teams.units import UNITS
from rgrl_jax.types import Array, Key, Scalar

Weights = tuple[Array, ...]
"""``[n_0 + 1, n_1], ..., [n_{L-1} + 1, n_L]``."""


class Design(NamedTuple):
    """What a network is made of, layer by layer from the bottom.

    Attributes:
      kinds: names in `UNITS`.
      spreads: temperature or variance of each layer.
    """

    kinds: tuple[str, ...]
    spreads: tuple[Scalar, ...]


class Pass(NamedTuple):
    """What a network did with an input.

    Attributes:
      h: input and activities ``[n_0], ..., [n_L]``.
      z: pre-activations ``[n_1], ..., [n_L]``, of the same activities.
    """

    h: tuple[Array, ...]
    z: tuple[Array, ...]


def init_weights(key: Key, sizes: Sequence[int], bias: float, *, zero_class: bool = False) -> Weights:
    """Draws weights uniformly within ``sqrt(6 / (n_in + n_out))`` (Glorot and Bengio, 2010).

    Args:
      key: consumed.
      sizes: of input and layers ``n_0, ..., n_L``.
      bias: half-width of the uniform law of the biases.
      zero_class: the last class of the output has no weights of its own; the law of the others stays the same.
    """
    weights = []
    for i, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        limit = (6.0 / (n_in + n_out)) ** 0.5
        columns = n_out - (zero_class and i == len(sizes) - 2)
        draw = jax.random.uniform(jax.random.fold_in(key, i), (n_in + 1, columns), minval=-1.0, maxval=1.0)
        weights.append(draw * jnp.where(jnp.arange(n_in + 1) < n_in, limit, bias)[:, None])
    return tuple(weights)


def drive(weights: Array, h: Array) -> Array:
    """Pre-activations ``[n_out]`` of a layer on activities ``[n_in]``."""
    return h @ weights[:-1] + weights[-1]


def num_draws(weights: Weights, design: Design) -> int:
    """Random numbers ``M`` that a pass needs."""
    return sum(UNITS[kind].draws(w.shape[1]) for w, kind in zip(weights, design.kinds, strict=True))


def draw_uniform(key: Key, shape: tuple[int, ...]) -> Array:
    """Uniform numbers within 0..1, both excluded."""
    return jax.random.uniform(key, shape, minval=2.0**-24)


def forward(u: Array, weights: Weights, design: Design, x: Array) -> Pass:
    """Draws all activities from the bottom up.

    Args:
      u: all chance there is in it: numbers ``[M]`` as of `draw_uniform`, see `num_draws`.
      weights: of the network.
      design: of the network.
      x: input ``[n_0]``.
    """
    h, z, used = [x], [], 0
    for w, kind, spread in zip(weights, *design, strict=True):
        count = UNITS[kind].draws(w.shape[1])
        z.append(drive(w, h[-1]))
        h.append(UNITS[kind].draw(u[used : used + count], z[-1], spread))
        used += count
    return Pass(tuple(h), tuple(z))


def refreshed(weights: Weights, h: tuple[Array, ...]) -> Pass:
    """The pass that has these activities; its pre-activations follow from them."""
    return Pass(h, tuple(drive(w, below) for w, below in zip(weights, h, strict=False)))


def output_mean(design: Design, now: Pass) -> Array:
    """Mean ``[n_L]`` of the output, given the activities below it."""
    return UNITS[design.kinds[-1]].mean(now.z[-1], design.spreads[-1])


def energy(weights: Weights, design: Design, h: tuple[Array, ...]) -> Array:
    """``E = -sum_l log pi_l(h^{l-1}, h^l)``, scalar (Chung and Barto, the review of both methods)."""
    now = refreshed(weights, h)
    layers = zip(now.h[1:], now.z, *design, strict=True)
    return -jnp.stack([UNITS[kind].log_prob(h, z, spread) for h, z, kind, spread in layers]).sum()


def eligibilities(design: Design, now: Pass) -> tuple[Array, ...]:
    """What every unit may learn from its own draw ``[n_1], ..., [n_L]``: gradients of ``log pi_l`` by ``z^l``."""
    layers = zip(now.h[1:], now.z, *design, strict=True)
    return tuple(UNITS[kind].eligibility(h, z, spread) for h, z, kind, spread in layers)


def backpropagated(weights: Weights, design: Design, now: Pass) -> tuple[Array, ...]:
    """The output's eligibility, passed down ``[n_1], ..., [n_L]``: ``e^l = f'(z^l) (W^{l+1} e^{l+1})``.

    Through deterministic units this is the gradient; through Bernoulli units it is straight-through, with the slope
    of their mean.
    """
    top = len(weights) - 1
    e = [UNITS[design.kinds[top]].eligibility(now.h[-1], now.z[-1], design.spreads[top])]
    for i in range(top - 1, -1, -1):
        slope = UNITS[design.kinds[i]].slope(now.z[i], design.spreads[i])
        e.insert(0, slope * (weights[i + 1][:-1] @ e[0]))
    return tuple(e)
