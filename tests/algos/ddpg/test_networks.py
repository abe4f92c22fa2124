"""Actor and critic of DDPG against NumPy."""

import jax
import numpy as np
import pytest
from algos.ddpg import twins

from rgrl_jax import mlp
from rgrl_jax.algos.ddpg import networks

KEY, RNG = jax.random.key(0), np.random.default_rng(0)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_actor(activation):
    weights, x = mlp.init(KEY, (3, 5, 4, 2)), RNG.normal(size=(6, 3)).astype(np.float32)
    expected = twins.layers(twins.double(weights), x, activation)[-1]
    np.testing.assert_allclose(networks.actor_action(weights, x, activation), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("action_layer", [0, 1, 2])
def test_the_action_joins_at_any_layer(action_layer):
    weights = networks.init_critic(KEY, (3, 5, 4), 2, action_layer, 1e-3)
    x, action = RNG.normal(size=(6, 3)).astype(np.float32), RNG.normal(size=(6, 2)).astype(np.float32)
    found = networks.q_value(weights, x, action, action_layer)
    np.testing.assert_allclose(
        found, twins.value(twins.double(weights), action_layer, x, action), rtol=1e-4, atol=1e-6
    )
    widths = [(w.shape[0] - 1) ** -0.5 for w in weights[:2]] + [1e-3]
    for w, width in zip(weights, widths, strict=True):
        assert 0.5 * width < np.abs(w).max() <= width
