"""Kinds of units: how a layer draws its activities, and what each unit may learn from having drawn them.

A layer has pre-activations ``z`` and one number of its own, its ``spread``: the temperature ``T`` of Bernoulli and
softmax units, the variance of Gaussian ones, without meaning for deterministic ones. Everything is unbatched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Scalar


class Unit(NamedTuple):
    """A kind of unit. ``z`` has shape ``[n]``, and so have the activities ``h``; with ``softmax_zero`` one more.

    Attributes:
      draws: ``n -> m``; how many numbers a layer of ``n`` pre-activations draws.
      draw: ``(u, z, spread) -> h`` from numbers ``u [m]``, uniform and independent within 0..1, both excluded.
      mean: ``(z, spread) -> E[h]``.
      slope: ``(z, spread) -> dE[h]/dz``, unit by unit; without meaning for softmax, which stays on top.
      log_prob: ``(h, z, spread) -> ()``; of all units of the layer together, 0 for deterministic ones.
      eligibility: ``(h, z, spread) -> [n]``, the gradient of ``log_prob`` with respect to ``z``; 1 for `linear`.
    """

    draws: Callable[[int], int]
    draw: Callable[[Array, Array, Scalar], Array]
    mean: Callable[[Array, Scalar], Array]
    slope: Callable[[Array, Scalar], Array]
    log_prob: Callable[[Array, Array, Scalar], Array]
    eligibility: Callable[[Array, Array, Scalar], Array]


def _sigmoid(z: Array, temperature: Scalar) -> Array:
    return jax.nn.sigmoid(z / temperature)


def _bernoulli_slope(z: Array, temperature: Scalar) -> Array:
    p = _sigmoid(z, temperature)
    return p * (1.0 - p) / temperature


def _bernoulli_log_prob(h: Array, z: Array, temperature: Scalar) -> Array:
    logit = z / temperature
    return (h * logit - jax.nn.softplus(logit)).sum()


BERNOULLI = Unit(
    draws=lambda n: n,
    draw=lambda u, z, t: (u < _sigmoid(z, t)).astype(jnp.float32),
    mean=_sigmoid,
    slope=_bernoulli_slope,
    log_prob=_bernoulli_log_prob,
    eligibility=lambda h, z, t: (h - _sigmoid(z, t)) / t,
)


def _gaussian(activation: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Unit:
    """Normal around an activation, with a fixed variance."""

    def log_prob(h: Array, z: Array, variance: Scalar) -> Array:
        return -0.5 * ((h - activation(z)) ** 2 / variance + jnp.log(2.0 * math.pi * variance)).sum()

    return Unit(
        draws=lambda n: n,
        draw=lambda u, z, v: activation(z) + jnp.sqrt(v) * jax.scipy.special.ndtri(u),
        mean=lambda z, v: activation(z),
        slope=lambda z, v: slope(z),
        log_prob=log_prob,
        eligibility=lambda h, z, v: (h - activation(z)) * slope(z) / v,
    )


def _deterministic(activation: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Unit:
    """No chance: nothing to learn on its own, so learning needs what comes down from above."""
    return Unit(
        draws=lambda n: 0,
        draw=lambda u, z, v: activation(z),
        mean=lambda z, v: activation(z),
        slope=lambda z, v: slope(z),
        log_prob=lambda h, z, v: jnp.zeros(()),
        eligibility=lambda h, z, v: jnp.zeros_like(z),
    )


def _softmax(logits: Callable[[Array], Array], more: int) -> Unit:
    """One activity of all is 1. ``logits`` turns ``z [n]`` into one number for each, ``[n + more]``."""

    def mean(z: Array, temperature: Scalar) -> Array:
        return jax.nn.softmax(logits(z) / temperature)

    def draw(u: Array, z: Array, temperature: Scalar) -> Array:
        gumbel = -jnp.log(-jnp.log(u))
        return jax.nn.one_hot(jnp.argmax(logits(z) / temperature + gumbel), u.shape[0])

    return Unit(
        draws=lambda n: n + more,
        draw=draw,
        mean=mean,
        slope=lambda z, t: jnp.ones_like(z),
        log_prob=lambda h, z, t: (h * jax.nn.log_softmax(logits(z) / t)).sum(),
        eligibility=lambda h, z, t: (h - mean(z, t))[: z.shape[0]] / t,
    )


def _step(z: Array) -> Array:
    """Slope of relu; 1 at 0, as in the reference code."""
    return (z >= 0).astype(jnp.float32)


UNITS: dict[str, Unit] = {
    "bernoulli": BERNOULLI,
    "gaussian": _gaussian(jax.nn.softplus, jax.nn.sigmoid),
    "relu": _deterministic(jax.nn.relu, _step),
    "softplus": _deterministic(jax.nn.softplus, jax.nn.sigmoid),
    "softmax": _softmax(lambda z: z, 0),
    "softmax_zero": _softmax(lambda z: jnp.append(z, 0.0), 1),
    "gaussian_linear": _gaussian(lambda z: z, jnp.ones_like),
    "linear": _deterministic(lambda z: z, jnp.ones_like)._replace(eligibility=lambda h, z, v: jnp.ones_like(z)),
}
"""By name. Hidden layers are of the first four kinds; ``softmax``, ``softmax_zero`` (whose last logit is 0 instead of
learnt), ``gaussian_linear`` and ``linear`` are outputs."""
