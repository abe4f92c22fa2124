"""Agreement of critics, and response of neurons to observations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.ddpg.twins import ACTIVATIONS, double, small

from benchmarks import neuron_measures as measures
from rgrl_jax.algos.ddpg.online import normalize_obs
from rgrl_jax.algos.neuron_ddpg.agent import make_agent, network_spec
from rgrl_jax.algos.neuron_ddpg.networks import forward

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
INIT = jax.jit(lambda config: make_agent(config).init(KEY))
COMPARE, RESPONSE = jax.jit(measures.compare_critics), jax.jit(measures.measure_response)
OBS = jnp.asarray(RNG.normal(size=(64, 3)), jnp.float32)


def test_critics_that_agree_are_found_to_agree():
    """A critic of the whole and one of the only neuron, linear and with the same weights."""
    config = small("neuron_ddpg", actor_gradient="whole", hidden=(), critic_hidden=(), neuron_critic="linear")
    networks = INIT(config)
    weights = jnp.array([0.3, -0.5, 0.2, 0.7, 0.0])[:, None]
    same = {"state": weights[:3].T, "action": weights[3]}
    networks = networks.replace(
        critic=networks.critic.replace(weights=(weights,)), neurons=(networks.neurons[0].replace(weights=same),)
    )
    found, control = COMPARE(KEY, networks, (), OBS, config)
    np.testing.assert_allclose(jnp.stack(found)[:, 0], [1, 0, 1, 1, 1], atol=1e-3)
    assert abs(float(control.value_correlation[0])) < 0.5 and float(control.value_error[0]) > 0.5
    opposite = networks.replace(neurons=(networks.neurons[0].replace(weights=jax.tree.map(jnp.negative, same)),))
    found, _ = COMPARE(KEY, opposite, (), OBS, config)
    np.testing.assert_allclose(jnp.stack(found)[jnp.array([0, 2, 3, 4]), 0], [-1, -1, -1, 0], atol=1e-3)


def test_there_must_be_two_kinds_of_critics():
    config = small("neuron_ddpg")
    with pytest.raises(ValueError, match="train_both_critics = False"):
        measures.compare_critics(KEY, None, (), OBS, config)


@pytest.mark.parametrize("topology", ["feedforward", "recurrent"])
def test_measures_of_every_layer(topology):
    """All are finite, in their ranges, and there is one per layer of weights; of outputs alone they are the same."""
    config = small("neuron_ddpg", train_both_critics=True, topology=topology)
    networks = INIT(config)
    layers = 3 if topology == "feedforward" else 1
    tables = [np.stack(measured) for measured in COMPARE(KEY, networks, (), OBS[:9], config)]
    for table in tables:
        assert table.shape == (5, layers) and np.isfinite(table).all()
        assert np.all(np.abs(table[[0, 2, 3]]) <= 1 + 1e-5) and np.all((table[4] >= 0) & (table[4] <= 1))
    alone = networks.replace(neurons=networks.neurons[-1:])
    found = COMPARE(KEY, alone, (), OBS[:9], config.replace(trained_layers="outputs"))
    for measured, table in zip(found, tables, strict=True):
        np.testing.assert_allclose(np.stack(measured), table[:, -1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algo, activation", [("ddpg", "relu"), ("neuron_ddpg", "tanh")])
def test_response_of_layers(algo, activation):
    """Shares of flat slopes, by central differences, and spreads, layer by layer; a constant actor has none."""
    config = small(algo, activation=activation)
    weights = [10.0 * w for w in INIT(small("neuron_ddpg")).actor.weights]
    found = RESPONSE(tuple(weights), (), OBS, config)
    h, x = [double(normalize_obs(OBS, (), "range", config.spec))], double(weights)
    for i, w in enumerate(x):
        function = np.tanh if i == 2 else ACTIVATIONS[activation]
        z = h[-1] @ w[:-1] + w[-1]
        h.append(function(z))
        flat = (function(z + 1e-6) - function(z - 1e-6)) / 2e-6 < measures.FLAT
        assert 0 < flat.mean() < 1
        assert float(found.saturated[i]) == pytest.approx(flat.mean(), abs=0.02)
        assert float(found.spread[i]) == pytest.approx(h[-1].std(axis=0).mean(), rel=1e-4)
    stuck = jnp.zeros_like(weights[2]).at[-1].set(10.0)
    assert float(RESPONSE((*weights[:2], stuck), (), OBS, config).spread[2]) == pytest.approx(0.0, abs=1e-5)


def test_response_of_a_pool():
    """By its last outputs: hidden units as relu, whose zeros are flat, and outputs as tanh."""
    config = small("neuron_ddpg", topology="recurrent", activation="relu")
    weights, x = INIT(config).actor.weights, normalize_obs(OBS, (), "range", config.spec)
    outputs = np.asarray(forward(weights, network_spec(config), x)[-1].outputs)
    flat = np.concatenate([outputs[:, :-1] == 0, 1 - outputs[:, -1:] ** 2 < measures.FLAT], axis=1)
    found = RESPONSE(weights, (), OBS, config)
    np.testing.assert_allclose(found, [[flat.mean()], [outputs.std(axis=0).mean()]], rtol=1e-4)
