"""MAP propagation: hidden units move to their most likely activities, given input and output.

Chung (2020), arXiv 2010.07893. Input and output stay as they are. Everything is unbatched.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax import mlp
from rgrl_jax.algos.unit_teams.network import ForwardPass, NetworkSpec, eligibilities, make_pass
from rgrl_jax.mlp import Weights
from rgrl_jax.types import Array, Scalar


def map_gradient_steps(
    weights: Weights, spec: NetworkSpec, passed: ForwardPass, steps: int, step_size: Scalar
) -> ForwardPass:
    """Descends the energy of Gaussian hidden units in all layers at once.

    Each step is ``h^l += step_size * sigma_l^2 * (-dE/dh^l)`` with
    ``-dE/dh^l = -(h^l - mu^l) / sigma_l^2 + W^{l+1} e^{l+1}``, so that with 0.5, as in the reference code, the pull
    from below halves the distance to the mean. At a fixed point the eligibilities obey the recursion of
    backpropagation.

    Args:
      weights, spec: the network; its hidden units are Gaussian.
      passed: where to start, ``[n_0], ..., [n_L]``.
      steps: gradient steps; static.
      step_size: in units of each layer's variance.
    """

    def step(_: int, passed: ForwardPass) -> ForwardPass:
        e = eligibilities(spec, passed)
        moved = []
        for i in range(len(weights) - 1):
            mean = spec.units[i].mean(passed.z[i], spec.dispersions[i])
            from_above = spec.dispersions[i] * (weights[i + 1][:-1] @ e[i + 1])
            moved.append(passed.h[i + 1] + step_size * (mean - passed.h[i + 1] + from_above))
        # The first pre-activations depend on the input alone, which does not move.
        z = (mlp.affine(w, h) for w, h in zip(weights[1:], moved, strict=True))
        return ForwardPass((passed.h[0], *moved, passed.h[-1]), (passed.z[0], *z))

    return jax.lax.fori_loop(0, steps, step, make_pass(weights, passed.h))


def iterated_conditional_modes(weights: Weights, spec: NetworkSpec, passed: ForwardPass, sweeps: int) -> ForwardPass:
    """Sets Bernoulli hidden units one after the other to their likelier value (Besag, 1986).

    A unit is on if that is likelier than off, given the layers below and above it: if ``z_i / T`` plus the gain in
    log-probability of the layer above is positive. No change ever raises the energy. The publications only mention
    discrete units; the number of sweeps is fixed here because shapes must be.

    Args:
      weights, spec: the network; its hidden units are Bernoulli.
      passed: where to start, ``[n_0], ..., [n_L]``.
      sweeps: times that every unit is set, from the bottom up; static.
    """

    def set_layer(h: tuple[Array, ...], i: int) -> Array:
        own_logits, above = mlp.affine(weights[i], h[i]) / spec.dispersions[i], weights[i + 1]
        unit, dispersion = spec.units[i + 1], spec.dispersions[i + 1]

        def set_unit(j: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            # The layer above is not computed anew for every unit: its pre-activations follow the changes.
            own, z = carry
            off = z - own[j] * above[j]
            on = off + above[j]
            gain = own_logits[j] + unit.log_prob(h[i + 2], on, dispersion) - unit.log_prob(h[i + 2], off, dispersion)
            return own.at[j].set((gain > 0).astype(own.dtype)), jnp.where(gain > 0, on, off)

        own = h[i + 1]
        return jax.lax.fori_loop(0, own.shape[0], set_unit, (own, mlp.affine(above, own)))[0]

    def sweep(_: int, h: tuple[Array, ...]) -> tuple[Array, ...]:
        for i in range(len(weights) - 1):
            h = (*h[: i + 1], set_layer(h, i), *h[i + 2 :])
        return h

    return make_pass(weights, jax.lax.fori_loop(0, sweeps, sweep, tuple(passed.h)))


def divide_by_residual(e: tuple[Array, ...], residual: Array, floor: Scalar) -> tuple[Array, ...]:
    """Turns the score of a Gaussian output into the gradient of its mean, in ``[n_1], ..., [n_L]``.

    It divides by the residual, output minus mean, a scalar that keeps its sign and at least the size ``floor > 0``.
    """
    # The reference code divides by the residual as it is, in float64. In float32 it is rounded to 0 now and then, and
    # runs collapse.
    divisor = jnp.where(residual < 0, -1.0, 1.0) * jnp.maximum(jnp.abs(residual), floor)
    return tuple(x / divisor for x in e)
