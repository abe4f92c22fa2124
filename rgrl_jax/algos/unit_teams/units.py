"""Kinds of units: the distribution of a layer's activities, and the gradient of its log-probability.

A layer has pre-activations ``z [n]`` and one dispersion: the temperature ``T`` of Bernoulli and softmax units, the
variance of Gaussian ones; deterministic units ignore it. Everything is unbatched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Scalar


class Unit(NamedTuple):
    """A kind of unit, with pre-activations ``z [n]`` and activities ``h [n + implicit]``.

    Attributes:
      draw: ``(u, z, dispersion) -> h`` from numbers ``u [n + implicit]``, uniform within 0..1, both excluded.
      mean: ``(z, dispersion) -> E[h]``.
      slope: ``(z, dispersion) -> dE[h]/dz [n]``, unit by unit; never asked of a softmax, which is always an output.
      log_prob: ``(h, z, dispersion) -> ()`` of all units of the layer together; 0 for deterministic ones.
      eligibility: ``(h, z, dispersion) -> [n]``, the gradient of ``log_prob`` with respect to ``z``; 1 for `linear`.
      stochastic: whether a layer needs a random number for each activity.
      implicit: activities without a pre-activation of their own, 0 or 1.
    """

    draw: Callable[[Array, Array, Scalar], Array]
    mean: Callable[[Array, Scalar], Array]
    slope: Callable[[Array, Scalar], Array]
    log_prob: Callable[[Array, Array, Scalar], Array]
    eligibility: Callable[[Array, Array, Scalar], Array]
    stochastic: bool = True
    implicit: int = 0


def _bernoulli() -> Unit:
    def draw(u: Array, z: Array, temperature: Scalar) -> Array:
        return (u < mean(z, temperature)).astype(jnp.float32)

    def mean(z: Array, temperature: Scalar) -> Array:
        return jax.nn.sigmoid(z / temperature)

    def slope(z: Array, temperature: Scalar) -> Array:
        p = mean(z, temperature)
        return p * (1.0 - p) / temperature

    def log_prob(h: Array, z: Array, temperature: Scalar) -> Array:
        logit = z / temperature
        return (h * logit - jax.nn.softplus(logit)).sum()

    return Unit(draw, mean, slope, log_prob, eligibility=lambda h, z, t: (h - mean(z, t)) / t)


def _deterministic(activation: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Unit:
    """Makes units without chance: they have no eligibility, so they learn only from what is passed down to them."""
    return Unit(
        draw=lambda u, z, v: activation(z),
        mean=lambda z, v: activation(z),
        slope=lambda z, v: slope(z),
        log_prob=lambda h, z, v: jnp.zeros(()),
        eligibility=lambda h, z, v: jnp.zeros_like(z),
        stochastic=False,
    )


def _gaussian(activation: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Unit:
    """Makes normal units with the activation as mean and a fixed variance."""

    def log_prob(h: Array, z: Array, variance: Scalar) -> Array:
        return -0.5 * ((h - activation(z)) ** 2 / variance + jnp.log(2.0 * math.pi * variance)).sum()

    return _deterministic(activation, slope)._replace(
        # By the quantile function, so that all kinds of units draw from the same uniform numbers.
        draw=lambda u, z, v: activation(z) + jnp.sqrt(v) * jax.scipy.special.ndtri(u),
        log_prob=log_prob,
        eligibility=lambda h, z, v: (h - activation(z)) * slope(z) / v,
        stochastic=True,
    )


def _softmax(implicit: int) -> Unit:
    """Makes a layer of which one activity is 1; that of an ``implicit`` last class has the logit 0."""

    def logits(z: Array, temperature: Scalar) -> Array:
        return (jnp.append(z, 0.0) if implicit else z) / temperature

    def mean(z: Array, temperature: Scalar) -> Array:
        return jax.nn.softmax(logits(z, temperature))

    def draw(u: Array, z: Array, temperature: Scalar) -> Array:
        # The index of the largest logit with Gumbel noise follows the softmax (Gumbel, 1954).
        gumbel = -jnp.log(-jnp.log(u))
        return jax.nn.one_hot(jnp.argmax(logits(z, temperature) + gumbel), u.shape[0])

    return Unit(
        draw,
        mean,
        slope=lambda z, t: jnp.ones_like(z),
        log_prob=lambda h, z, t: (h * jax.nn.log_softmax(logits(z, t))).sum(),
        eligibility=lambda h, z, t: (h - mean(z, t))[: z.shape[0]] / t,
        implicit=implicit,
    )


def _relu_slope(z: Array) -> Array:
    return (z >= 0).astype(jnp.float32)  # 1 at 0, as in the reference code; jax.grad(relu) is 0 there


UNITS: dict[str, Unit] = {
    "bernoulli": _bernoulli(),
    "gaussian": _gaussian(jax.nn.softplus, jax.nn.sigmoid),
    "relu": _deterministic(jax.nn.relu, _relu_slope),
    "softplus": _deterministic(jax.nn.softplus, jax.nn.sigmoid),
    "softmax": _softmax(0),
    "softmax_zero": _softmax(1),
    "gaussian_linear": _gaussian(lambda z: z, jnp.ones_like),
    "linear": _deterministic(lambda z: z, jnp.ones_like)._replace(eligibility=lambda h, z, v: jnp.ones_like(z)),
}
"""Kinds of units by name: four for hidden layers, then four for outputs. The last logit of ``softmax_zero`` is 0
instead of learnt."""
