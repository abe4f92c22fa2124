"""Passes through layers and through a pool, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.ddpg import twins
from algos.ddpg.twins import double
from tiny import assert_same

from rgrl_jax.algos.ddpg.networks import actor_action
from rgrl_jax.algos.neuron_ddpg import networks

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
FORWARD = jax.jit(networks.forward, static_argnums=1)


@pytest.mark.parametrize("activation, biases", [("relu", True), ("tanh", False)])
def test_layers_pass_one_after_the_other(activation, biases):
    spec = networks.NetworkSpec((3, 5, 4, 2), activation, biases=biases)
    weights, x = networks.init_actor(KEY, spec, 0.0), RNG.normal(size=(6, 3)).astype(np.float32)
    found = FORWARD(weights, spec, x)
    expected = twins.layers(double(weights), double(x), activation, biases)
    for one, inputs, outputs in zip(found, expected[:-1], expected[1:], strict=True):
        np.testing.assert_allclose(one.inputs, inputs, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.outputs, outputs, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(networks.action_of(found, spec), found[-1].outputs)
    if biases:  # the same actor as that of DDPG
        np.testing.assert_allclose(found[-1].outputs, actor_action(weights, x, activation), rtol=1e-5, atol=1e-6)


def test_a_pool_passes_step_by_step():
    """From rest, with the observation on its input neurons; noise adds to outputs and is read."""
    spec = networks.NetworkSpec((3, 4, 2), "relu", recurrent=True, inner_steps=3)
    weights = networks.init_actor(KEY, spec, 1e-3)
    x, noise = RNG.normal(size=3).astype(np.float32), RNG.normal(size=(3, 9)).astype(np.float32)
    found = FORWARD(weights, spec, x, list(noise))
    (w,), drive = double(weights), np.concatenate([x, np.zeros(6)])
    assert w.shape == (10, 9) and np.abs(w).max() > 0.9 / 3  # a pool has no last layer, so `final` does not count
    v = drive
    for one, more in zip(found, noise, strict=True):
        np.testing.assert_allclose(one.inputs, v, rtol=1e-4, atol=1e-5)
        z = v @ w[:-1] + w[-1]
        outputs = np.concatenate([np.maximum(z[:7], 0), np.tanh(z[7:])]) + more
        np.testing.assert_allclose(one.outputs, outputs, rtol=1e-4, atol=1e-5)
        v = outputs + drive
    np.testing.assert_array_equal(networks.action_of(found, spec), found[-1].outputs[-2:])


@pytest.mark.parametrize("recurrent", [False, True])
def test_recalled_voltages_are_those_that_occurred(recurrent):
    spec = networks.NetworkSpec((3, 5, 4, 2), recurrent=recurrent, inner_steps=3)
    x = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32)
    found = FORWARD(networks.init_actor(KEY, spec, 0.0), spec, x)
    voltages = jnp.concatenate([one.outputs for one in found], axis=-1)
    assert voltages.shape[1] == sum(count for _, count in spec.passes) == (3 * 14 if recurrent else 5 + 4 + 2)
    assert_same(networks.recall(spec, x, voltages), found)
