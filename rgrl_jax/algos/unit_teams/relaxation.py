"""MAP propagation: hidden units move to where the network would most likely have been, given input and output.

Chung and Barto; Chung (2020), arXiv 2010.07893. Input and output stay as they are. Everything is unbatched.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.algos.unit_teams.network import Design, Pass, Weights, drive, eligibilities, refreshed
from rgrl_jax.algos.unit_teams.units import UNITS
from rgrl_jax.types import Array, Scalar


def relax(weights: Weights, design: Design, now: Pass, steps: int, rate: Scalar) -> Pass:
    """Descends the energy of Gaussian hidden units in all layers at once.

    Each step is ``h^l += rate * sigma_l^2 * (-dE/dh^l)`` with
    ``-dE/dh^l = -(h^l - mu^l) / sigma_l^2 + W^{l+1} e^{l+1}``, so that with rate 0.5, the reference's, the pull from
    below halves the distance to the mean. At a fixed point the eligibilities obey the recursion of backpropagation.

    Args:
      weights: of the network.
      design: its hidden units are Gaussian.
      now: where to start.
      steps: of descent; static.
      rate: its size in units of each layer's variance.
    """

    def step(_: int, now: Pass) -> Pass:
        e = eligibilities(design, now)
        moved = []
        for i in range(len(weights) - 1):
            mean = UNITS[design.kinds[i]].mean(now.z[i], design.spreads[i])
            from_above = design.spreads[i] * (weights[i + 1][:-1] @ e[i + 1])
            moved.append(now.h[i + 1] + rate * (mean - now.h[i + 1] + from_above))
        drives = (drive(w, h) for w, h in zip(weights[1:], moved, strict=True))  # the input's own stays as it is
        return Pass((now.h[0], *moved, now.h[-1]), (now.z[0], *drives))

    return jax.lax.fori_loop(0, steps, step, refreshed(weights, now.h))


def settle_modes(weights: Weights, design: Design, now: Pass, sweeps: int) -> Pass:
    """Iterated conditional modes of Bernoulli hidden units (Besag, 1986): each in turn takes its likelier value.

    A unit is on if that is likelier than off, given the layers below and above it: if ``z_i / T`` plus what being on
    adds to the log-probability of the layer above is positive. No change ever raises the energy. The published
    descriptions only mention discrete units; the number of sweeps is fixed here, so that the shapes are.

    Args:
      weights: of the network.
      design: its hidden units are Bernoulli.
      now: where to start.
      sweeps: times that every unit is asked, from the bottom up; static.
    """
    h = list(now.h)

    def layer(h: tuple[Array, ...], i: int) -> Array:
        """New activities of hidden layer ``i + 1``."""
        own, above = drive(weights[i], h[i]) / design.spreads[i], weights[i + 1]
        unit, spread = UNITS[design.kinds[i + 1]], design.spreads[i + 1]

        def ask(j: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            mine, z = carry
            off = z - mine[j] * above[j]
            on = off + above[j]
            gain = own[j] + unit.log_prob(h[i + 2], on, spread) - unit.log_prob(h[i + 2], off, spread)
            return mine.at[j].set((gain > 0).astype(mine.dtype)), jnp.where(gain > 0, on, off)

        mine = h[i + 1]
        return jax.lax.fori_loop(0, mine.shape[0], ask, (mine, drive(above, mine)))[0]

    def sweep(_: int, h: tuple[Array, ...]) -> tuple[Array, ...]:
        for i in range(len(weights) - 1):
            h = (*h[: i + 1], layer(h, i), *h[i + 2 :])
        return h

    return refreshed(weights, jax.lax.fori_loop(0, sweeps, sweep, tuple(h)))


def gated(e: tuple[Array, ...], residual: Array, guard: Scalar) -> tuple[Array, ...]:
    """Eligibilities divided by how far the output was from its mean, which makes of a score a gradient of that mean.

    The reference divides by the residual as it is, in float64. In float32 it rounds to 0 now and then, and runs
    collapse; so it counts as at least ``guard`` in size, with its own sign.

    Args:
      e: ``[n_1], ..., [n_L]``.
      residual: output minus its mean, scalar.
      guard: positive, scalar.
    """
    safe = jnp.where(residual < 0, -1.0, 1.0) * jnp.maximum(jnp.abs(residual), guard)
    return tuple(x / safe for x in e)
