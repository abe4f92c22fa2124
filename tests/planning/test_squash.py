"""Relaxations of discrete actions, by NumPy."""

import jax
import numpy as np

from rgrl_jax.planning.squash import straight_through

LATENT = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_straight_through():
    """The greatest entry alone, from -1 to 1, with the slope of a softmax."""
    actions, back = jax.vjp(straight_through, LATENT)
    np.testing.assert_allclose(actions, np.where(np.eye(4)[LATENT.argmax(-1)], 1.0, -1.0), atol=1e-6)
    shares = np.exp(LATENT) / np.exp(LATENT).sum(-1, keepdims=True)
    weighted = (shares * np.arange(4)).sum(-1, keepdims=True)
    (slope,) = back(np.ones((3, 4), np.float32) * np.arange(4))
    np.testing.assert_allclose(slope, 2 * shares * (np.arange(4) - weighted), atol=1e-6)
