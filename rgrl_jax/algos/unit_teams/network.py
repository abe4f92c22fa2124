"""Networks of units: initial weights, forward passes, energies and eligibilities.

Layer ``l`` has ``n_l`` activities and weights ``[n_{l-1} + 1, n_l]``, see `rgrl_jax.mlp`. Everything is unbatched.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax import mlp
from rgrl_jax.algos.unit_teams.units import Unit
from rgrl_jax.mlp import Weights
from rgrl_jax.types import Array, Key, Scalar


class NetworkSpec(NamedTuple):
    """Sizes ``n_0, ..., n_L`` of a network, and the kind of units and the dispersion of each layer, see `units`."""

    sizes: tuple[int, ...]
    units: tuple[Unit, ...]
    dispersions: tuple[Scalar, ...]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes ``(n_in + 1, n_out)`` of the weights; an implicit activity has none."""
        layers = zip(pairwise(self.sizes), self.units, strict=True)
        return [(n_in + 1, n_out - unit.implicit) for (n_in, n_out), unit in layers]

    @property
    def num_draws(self) -> int:
        """Counts the random numbers ``M`` that a forward pass needs."""
        return sum(n for n, unit in zip(self.sizes[1:], self.units, strict=True) if unit.stochastic)


class ForwardPass(NamedTuple):
    """Input and activities ``h``, ``[n_0], ..., [n_L]``, and pre-activations ``z``, always those that follow."""

    h: tuple[Array, ...]
    z: tuple[Array, ...]


def init_weights(key: Key, spec: NetworkSpec, bias: Scalar) -> Weights:
    """Draws weights uniformly within ``sqrt(6 / (n_in + n_out))`` (Glorot and Bengio, 2010).

    An implicit activity counts in ``n_out``; biases are drawn within ``bias``. Returns layers ``[n_in + 1, n_out]``.
    """
    weights = []
    for i, ((n_in, n_out), shape) in enumerate(zip(pairwise(spec.sizes), spec.shapes, strict=True)):
        limit = (6.0 / (n_in + n_out)) ** 0.5
        draw = jax.random.uniform(jax.random.fold_in(key, i), shape, minval=-1.0, maxval=1.0)
        # The last row are the biases.
        weights.append(draw * jnp.where(jnp.arange(n_in + 1) < n_in, limit, bias)[:, None])
    return tuple(weights)


def draw_uniform(key: Key, shape: tuple[int, ...]) -> Array:
    """Draws uniform numbers within 0..1, both excluded, of any shape."""
    # At 0 the quantile of the normal distribution and Gumbel noise would be infinite.
    return jax.random.uniform(key, shape, minval=2.0**-24)


def forward(weights: Weights, spec: NetworkSpec, u: Array, x: Array) -> ForwardPass:
    """Draws all activities at an input ``x [n_0]``, from the bottom up.

    Nothing is random but the numbers ``u [spec.num_draws]``, made by `draw_uniform`.
    """
    h, z, used = [x], [], 0
    for w, n, unit, dispersion in zip(weights, spec.sizes[1:], spec.units, spec.dispersions, strict=True):
        count = n if unit.stochastic else 0
        z.append(mlp.affine(w, h[-1]))
        h.append(unit.draw(u[used : used + count], z[-1], dispersion))
        used += count
    return ForwardPass(tuple(h), tuple(z))


def make_pass(weights: Weights, h: tuple[Array, ...]) -> ForwardPass:
    """Makes the forward pass with activities ``[n_0], ..., [n_L]``; its pre-activations follow from them."""
    # Not strict, since the output is the input of no layer.
    return ForwardPass(h, tuple(mlp.affine(w, below) for w, below in zip(weights, h, strict=False)))


def output_mean(spec: NetworkSpec, passed: ForwardPass) -> Array:
    """Returns the mean ``[n_L]`` of the output, given the activities below it."""
    return spec.units[-1].mean(passed.z[-1], spec.dispersions[-1])


def energy(weights: Weights, spec: NetworkSpec, h: tuple[Array, ...]) -> Array:
    """Computes ``E = -sum_l log pi_l(h^{l-1}, h^l)``, scalar (Chung and Barto), at ``[n_0], ..., [n_L]``."""
    layers = zip(h[1:], make_pass(weights, h).z, spec.units, spec.dispersions, strict=True)
    return -jnp.stack([unit.log_prob(own, z, dispersion) for own, z, unit, dispersion in layers]).sum()


def eligibilities(spec: NetworkSpec, passed: ForwardPass) -> tuple[Array, ...]:
    """Computes the gradients ``[n_1], ..., [n_L]`` of each layer's own ``log pi_l`` by its pre-activations."""
    layers = zip(passed.h[1:], passed.z, spec.units, spec.dispersions, strict=True)
    return tuple(unit.eligibility(h, z, dispersion) for h, z, unit, dispersion in layers)


def backpropagate(weights: Weights, spec: NetworkSpec, passed: ForwardPass) -> tuple[Array, ...]:
    """Passes the output's eligibility down, ``e^l = f'(z^l) (W^{l+1} e^{l+1})``: ``[n_1], ..., [n_L]``.

    Through deterministic units this is the gradient. Through Bernoulli units it is the straight-through estimator,
    with the slope of their mean.
    """
    e = [spec.units[-1].eligibility(passed.h[-1], passed.z[-1], spec.dispersions[-1])]
    for i in range(len(weights) - 2, -1, -1):
        slope = spec.units[i].slope(passed.z[i], spec.dispersions[i])
        e.insert(0, slope * (weights[i + 1][:-1] @ e[0]))
    return tuple(e)
