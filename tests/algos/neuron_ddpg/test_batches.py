"""What neurons learn from: voltages, rewards and discounts of layers and pools, and trials on the whole critic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.ddpg import twins
from algos.ddpg.twins import batch_of, double, small

from rgrl_jax.algos.neuron_ddpg.agent import make_agent, network_spec
from rgrl_jax.algos.neuron_ddpg.batches import neuron_batches, whole_action_batches
from rgrl_jax.algos.neuron_ddpg.networks import forward, layer_forward, pool_input, recall

KEY = jax.random.key(0)
INIT = jax.jit(lambda config: make_agent(config).init(KEY))
BATCHES = jax.jit(lambda actor, batch, config: neuron_batches(actor, network_spec(config), batch, config))
FORWARD = jax.jit(forward, static_argnums=1)


def test_settings_of_batches():
    """Undiscounted, the neurons' own outputs, and the observation beside the voltages."""
    plain = small("neuron_ddpg", discount=0.9)
    config = plain.replace(discounted=False, output_voltage="own", critic_input="observation")
    actor, batch = INIT(plain).actor, batch_of(plain)
    activations = FORWARD(actor.weights, network_spec(config), batch.x)
    found, usual = (BATCHES(actor, batch, x) for x in (config, plain))
    for now, one, other in zip(activations, found, usual, strict=True):
        expected = other._replace(
            discount=batch.bootstrap,
            outputs=now.outputs,
            context=jnp.concatenate([other.context, batch.x], axis=-1),
            next_context=jnp.concatenate([other.next_context, batch.next_x], axis=-1),
        )
        for value, wanted in zip(one, expected, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(other.inputs, now.inputs, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(other.reward, batch.reward)
    np.testing.assert_array_equal(usual[-1].outputs, batch.action)
    np.testing.assert_allclose(usual[-1].discount, 0.9 * batch.bootstrap, rtol=1e-6)


def test_stored_voltages_are_learnt_from():
    """At the observation those that occurred, at the next one those of the target."""
    config = small("neuron_ddpg", voltage_source="stored", output_voltage="own")
    actor, spec, batch = INIT(config).actor, network_spec(config), batch_of(config, voltages=5 + 4 + 1)
    then = FORWARD(actor.target, spec, batch.next_x)
    for one, now, later in zip(BATCHES(actor, batch, config), recall(spec, batch.x, batch.extras), then, strict=True):
        np.testing.assert_array_equal(one.inputs, now.inputs)
        np.testing.assert_array_equal(one.outputs, now.outputs)
        np.testing.assert_allclose(one.next_context, later.inputs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one.next_outputs, later.outputs, rtol=1e-5, atol=1e-6)


def test_inner_steps_of_a_pool_pay_nothing():
    """What follows an inner step is the next one, undiscounted; what follows the last is the next observation."""
    config = small("neuron_ddpg", topology="recurrent", discount=0.9)
    spec, actor, batch = network_spec(config), INIT(config).actor, batch_of(config)
    (found,) = BATCHES(actor, batch, config)
    now, first = FORWARD(actor.weights, spec, batch.x), FORWARD(actor.target, spec, batch.next_x)[0]
    split = jax.tree.map(lambda x: x.reshape(3, 7, *x.shape[1:]), found)
    np.testing.assert_array_equal(split.reward, [0 * batch.reward, 0 * batch.reward, batch.reward])
    np.testing.assert_allclose(split.discount, [jnp.ones(7), jnp.ones(7), 0.9 * batch.bootstrap], rtol=1e-6)
    for i in range(3):
        np.testing.assert_array_equal(split.inputs[i], now[i].inputs)
        np.testing.assert_array_equal(split.next_context[i], now[i + 1].inputs if i < 2 else first.inputs)
        np.testing.assert_array_equal(split.outputs[i, :, :-1], now[i].outputs[:, :-1])
    np.testing.assert_array_equal(split.outputs[2, :, -1:], batch.action)


@pytest.mark.parametrize("topology", ["feedforward", "recurrent"])
def test_voltages_are_tried_on_the_critic_of_the_whole_action(topology):
    """One pass at a time is moved, by as much as asked; all neurons in it are told what that does to the value."""
    changes = {"neuron_target": "whole", "voltage_noise": 0.3, "hidden": (9, 7)}
    config = small("neuron_ddpg", topology=topology, **changes)
    networks, batch, spec = INIT(config), batch_of(config, size=40), network_spec(config)
    actor, critic = networks.actor.weights, networks.whole_critic.weights
    still, drive = FORWARD(actor, spec, batch.x), pool_input(spec, batch.x)
    found = jax.jit(lambda batch, config: whole_action_batches(KEY, actor, critic, spec, batch, config))(
        batch, config
    )
    if spec.recurrent:
        found = [jax.tree.map(lambda x, i=i: x[40 * i : 40 * i + 40], found[0]) for i in range(3)]

    def worth(action):
        return twins.value(double(critic), 0, double(batch.x), np.clip(action, -1, 1))

    for i, (one, now) in enumerate(zip(found, still, strict=True)):
        np.testing.assert_allclose(one.inputs, now.inputs, rtol=1e-5, atol=1e-6)
        assert np.std(one.outputs - now.outputs) == pytest.approx(0.3, rel=0.25)
        np.testing.assert_array_equal(one.discount, 0.0)
        outputs = one.outputs
        for j in range(i + 1, 3):
            outputs = layer_forward(actor, spec, spec.passes[j][0], outputs + drive if spec.recurrent else outputs)
        gain = worth(np.asarray(outputs[:, -1:])) - worth(np.asarray(still[-1].outputs[:, -1:]))
        np.testing.assert_allclose(one.reward, gain / gain.std(), rtol=2e-2, atol=2e-2)
