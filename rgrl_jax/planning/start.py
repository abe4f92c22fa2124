"""Where plans start: noise by law, number of draws and colour."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Key

COLORS = {"white": 0.0, "pink": 1.0, "red": 2.0}
"""Exponents of the fall of power with frequency."""


def color_noise(white: Array, exponent: float) -> Array:
    """Correlates white noise ``[..., T, A]`` in time so that its power falls as ``frequency ** -exponent``.

    Independent noise cancels itself out over a plan, so that a car never leaves its valley; coloured noise holds
    on (Pinneri et al. 2020, "iCEM"). Same shape; the variance over many plans stays what it was.
    """
    horizon = white.shape[-2]
    frequency = jnp.maximum(jnp.fft.rfftfreq(horizon), 1.0 / horizon)  # the mean falls in with the slowest
    gain = frequency ** (-exponent / 2)
    share = jnp.where((jnp.arange(len(gain)) == 0) | (2 * jnp.arange(len(gain)) == horizon), 1.0, 2.0)
    gain = gain * jnp.sqrt(horizon / (share * gain**2).sum())
    colored = jnp.fft.irfft(jnp.fft.rfft(white, axis=-2) * gain[:, None], n=horizon, axis=-2)
    return colored.astype(white.dtype)


def start_noise(
    key: Key, shape: tuple[int, ...], *, law: str = "uniform", repeats: int = 1, color: str = "white"
) -> Array:
    """Noise to start plans from (line 8), of unit size: U(-1, 1) or N(0, 1).

    Args:
      key: consumed.
      shape: ``[..., T, A]``.
      law: ``"uniform"`` or ``"normal"``.
      repeats: draws that are summed, as the authors' code can.
      color: one of `COLORS`.
    """
    if law == "normal":
        noise = jax.random.normal(key, (repeats, *shape)).sum(axis=0)
    else:
        noise = jax.random.uniform(key, (repeats, *shape), minval=-1.0, maxval=1.0).sum(axis=0)
    return noise if color == "white" else color_noise(noise, COLORS[color])
