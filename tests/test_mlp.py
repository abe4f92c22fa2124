"""Multilayer perceptrons against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import mlp

KEY = jax.random.key(0)


def test_weights_fill_their_range():
    """Within 1 / sqrt(n_in), or ``final`` in the last layer; a layer's draws depend on key and number alone."""
    weights = mlp.init(KEY, (4, 100, 9, 50), 3e-3)
    assert [w.shape for w in weights] == [(5, 100), (101, 9), (10, 50)]
    for w, width in zip(weights, (0.5, 0.1, 3e-3), strict=True):
        assert 0.95 * width < np.abs(w).max() <= width and np.abs(w[-1]).max() > 0.5 * width
    usual = mlp.init(KEY, (4, 100, 9, 50))
    np.testing.assert_allclose(usual[-1], weights[-1] / 9e-3, rtol=1e-5)
    np.testing.assert_array_equal(mlp.init(KEY, (4, 100, 2))[0], usual[0])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_network_is_a_plain_loop(activation):
    """Outputs are linear; any number of axes may lead."""
    weights, x = mlp.init(KEY, (3, 5, 4, 2)), np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    found = jax.jit(mlp.apply, static_argnums=2)(weights, x, getattr(jax.nn, activation))
    h = x.astype(np.float64)
    for i, w in enumerate(weights):
        h = h @ np.float64(w[:-1]) + np.float64(w[-1])
        h = h if i == 2 else {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[activation](h)
    np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-6)


def test_biases_can_be_left_out():
    (layer,), x = mlp.init(KEY, (3, 2)), jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(mlp.affine(layer, x) - mlp.affine(layer, x, biases=False), layer[-1], rtol=1e-5)


def test_stacked_networks_are_single_ones():
    keys, x = jax.random.split(KEY, 3), jnp.array([[1.0, 2.0], [3.0, -4.0]])
    stacked = jax.vmap(lambda key: mlp.init(key, (2, 4, 1)))(keys)
    found = jax.vmap(lambda weights: mlp.apply(weights, x, jnp.tanh))(stacked)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(found[i], mlp.apply(mlp.init(key, (2, 4, 1)), x, jnp.tanh), rtol=1e-5, atol=1e-6)
