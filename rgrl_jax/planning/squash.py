"""Map from free numbers to discrete actions in -1..1, one entry per choice; `jax.numpy.tanh` is the usual one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array


def straight_through(latent: Array) -> Array:
    """Sets the greatest entry of ``latent [..., A]`` to 1 and the others to -1, with twice the slope of a softmax.

    As ``squash`` it descends actions as they are executed; as ``execute`` it scores a finished plan by them. The
    estimator is that of Bengio, Leonard and Courville (2013).
    """
    # The sum is `hard` in value; its derivative is that of `soft`, since the rest counts as a constant.
    soft = 2.0 * jax.nn.softmax(latent, axis=-1) - 1.0
    hard = 2.0 * jax.nn.one_hot(jnp.argmax(latent, axis=-1), latent.shape[-1]) - 1.0
    return soft + jax.lax.stop_gradient(hard - soft)
