"""Relaxations of discrete actions, by NumPy."""

import jax
import numpy as np

from rgrl_jax.planning.squash import softmax_actions, straight_through

LATENT = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def slope(squash):
    """Derivative of a weighted sum of the actions."""
    return jax.vjp(squash, LATENT)[1](np.ones((3, 4), np.float32) * np.arange(4))[0]


def test_softmax_actions():
    """Shares from -1 to 1, with the slope of a softmax."""
    shares = np.exp(LATENT) / np.exp(LATENT).sum(-1, keepdims=True)
    np.testing.assert_allclose(softmax_actions(LATENT), 2 * shares - 1, atol=1e-6)
    weighted = (shares * np.arange(4)).sum(-1, keepdims=True)
    np.testing.assert_allclose(slope(softmax_actions), 2 * shares * (np.arange(4) - weighted), atol=1e-6)


def test_straight_through():
    """The greatest entry alone, with the slope of the shares."""
    expected = np.where(np.eye(4)[LATENT.argmax(-1)], 1.0, -1.0)
    np.testing.assert_allclose(straight_through(LATENT), expected, atol=1e-6)
    np.testing.assert_allclose(slope(straight_through), slope(softmax_actions), atol=1e-6)
