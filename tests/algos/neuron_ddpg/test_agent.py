"""Updates of neuron DDPG: the draft's equations by hand, gradients, and what is local."""

import jax
import numpy as np
import pytest
from algos.ddpg import twins
from algos.ddpg.twins import batch_of, double, small
from tiny import assert_same

import rgrl_jax as rgrl
from benchmarks.neuron_measures import whole_slopes
from rgrl_jax.algos.ddpg import agent as ddpg
from rgrl_jax.algos.neuron_ddpg.agent import layer_gradient, make_agent, network_spec, whole_gradient
from rgrl_jax.algos.neuron_ddpg.batches import neuron_batches

KEY = jax.random.key(0)
INIT = jax.jit(lambda key, config: make_agent(config).init(key))
UPDATE = jax.jit(lambda networks, batch, config: make_agent(config).update(KEY, networks, batch))


@pytest.mark.parametrize("loss", ["mean", "half"])
def test_the_drafts_update_by_hand(loss):
    """Linear critics of neurons: its equations, step by step, for every layer at once; and its targets."""
    rates = {"actor_lr": 0.3, "neuron_lr": 0.2, "tau": 0.25, "discount": 0.9}
    config = small("neuron_ddpg", neuron_critic="linear", optimizer="sgd", loss=loss, **rates)
    networks, other, batch = INIT(KEY, config), INIT(jax.random.key(1), config), batch_of(config)
    networks = networks.replace(
        actor=networks.actor.replace(target=other.actor.weights),
        neurons=tuple(net.replace(target=x.weights) for net, x in zip(networks.neurons, other.neurons, strict=True)),
    )
    after, _ = UPDATE(networks, batch, config)
    data, size, rate = double(batch), len(batch.x), 0.2 if loss == "half" else 0.4
    actor, target = double(networks.actor.weights), double(networks.actor.target)
    now, then = twins.layers(actor, data.x, "tanh"), twins.layers(target, data.next_x, "tanh")
    for i, net in enumerate(networks.neurons):
        q, lag = double(net.weights), double(net.target)
        state, action = q["state"].copy(), q["action"].copy()
        own = now[i + 1] if i < 2 else data.action  # the voltage of outputs is what was executed
        for b in range(size):
            y = data.reward[b] + 0.9 * data.bootstrap[b] * (
                lag["state"] @ then[i][b] + lag["action"] * then[i + 1][b]
            )
            d = y - (q["state"] @ now[i][b] + q["action"] * own[b])
            state += rate / size * np.outer(d, now[i][b])
            action += rate / size * d * own[b]
        climb = actor[i].copy()
        for b in range(size):
            climb += 0.3 / size * np.outer(np.append(now[i][b], 1.0), action * (1 - now[i + 1][b] ** 2))
        found = after.neurons[i]
        np.testing.assert_allclose(found.weights["state"], state, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.weights["action"], action, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(after.actor.weights[i], climb, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.target["state"], 0.25 * state + 0.75 * lag["state"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(after.actor.target[i], 0.25 * climb + 0.75 * target[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("topology", ["feedforward", "recurrent"])
def test_gradients_of_neurons_make_up_the_whole(topology):
    """The chain rule: with slopes passed back through the actor, the local rule gives the gradient by autodiff."""
    config = small("neuron_ddpg", train_both_critics=True, topology=topology, output_voltage="own")
    spec, networks, batch = network_spec(config), INIT(KEY, config), batch_of(config)
    actor = networks.actor.weights
    whole = jax.jit(lambda x: whole_gradient(networks, x, spec, 0))(batch.x)
    _, slopes = jax.jit(lambda x: whole_slopes(networks, x, spec, 0))(batch.x)
    for i, own in enumerate(neuron_batches(networks.actor, spec, batch, config)):
        found = jax.jit(layer_gradient, static_argnums=(1, 2))(actor, spec, i, slopes[i], own.inputs)
        rounds = own.inputs.shape[0] // len(batch.x)
        assert rounds == (3 if topology == "recurrent" else 1)
        np.testing.assert_allclose(rounds * found, whole[i], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"train_both_critics": True}, {"neuron_critic": "bilinear", "voltage_source": "stored"}]
)
def test_updates_are_local(changes):
    """A layer learns the same whatever the weights, targets and critics of the layers above it."""
    config = small("neuron_ddpg", **changes)
    networks, other = (INIT(jax.random.key(i), config) for i in (0, 1))
    batch = batch_of(config, voltages=10 if config.voltage_source == "stored" else None)
    one, _ = UPDATE(networks, batch, config)

    def above(own, alien, layer):
        return (*own[: layer + 1], *alien[layer + 1 :])

    for layer in range(2):
        swap = {
            name: above(getattr(networks.actor, name), getattr(other.actor, name), layer)
            for name in ("weights", "target")
        }
        mixed = networks.replace(
            actor=networks.actor.replace(**swap),
            neurons=above(networks.neurons, other.neurons, layer),
            critic=other.critic,
        )
        two, _ = UPDATE(mixed, batch, config)
        for i in range(layer + 1):
            np.testing.assert_array_equal(two.actor.weights[i], one.actor.weights[i])
            assert_same(two.neurons[i], one.neurons[i])
            assert np.any(one.actor.weights[i] != networks.actor.weights[i])
        assert np.any(two.actor.weights[2] != one.actor.weights[2])


def test_output_neurons_may_learn_alone():
    """Without critics of hidden neurons the hidden layers stay, and the outputs learn as they do among others."""
    config = small("neuron_ddpg", trained_layers="outputs")
    everyone = config.replace(trained_layers="all")
    networks, batch = INIT(KEY, everyone), batch_of(config)
    assert_same(INIT(KEY, config).neurons, networks.neurons[-1:])
    one, _ = UPDATE(networks, batch, everyone)
    two, _ = UPDATE(networks.replace(neurons=networks.neurons[-1:]), batch, config)
    for i in range(2):
        np.testing.assert_array_equal(two.actor.weights[i], networks.actor.weights[i])
    np.testing.assert_allclose(two.actor.weights[2], one.actor.weights[2], rtol=1e-5)


def test_the_whole_gradient_is_ddpg():
    """With ``actor_gradient`` whole, actor and critic learn as in DDPG; critics of neurons beside them learn too."""
    config, plain = small("neuron_ddpg", actor_gradient="whole", loss="mean"), small()
    networks, batch = INIT(KEY, config), batch_of(config)
    same = ddpg.Networks(networks.actor, networks.critic)
    assert_same(same, jax.jit(lambda config: ddpg.make_agent(config).init(KEY))(plain))
    found, error = UPDATE(networks, batch, config)
    expected, error_there = jax.jit(lambda config: ddpg.make_agent(config).update(KEY, same, batch))(plain)
    for name in ("actor", "critic"):
        pair = (jax.tree.leaves(getattr(x, name)) for x in (found, expected))
        for one, other in zip(*pair, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert float(error) == pytest.approx(float(error_there), rel=1e-5)
    for old, new in zip(networks.neurons, found.neurons, strict=True):
        assert np.any(old.weights[0] != new.weights[0])


def test_critics_beside_change_nothing():
    """A critic of the whole action is trained and nobody listens to it."""
    plain, beside = (small("neuron_ddpg", train_both_critics=both) for both in (False, True))
    networks, batch = INIT(KEY, beside), batch_of(plain)
    one, error = UPDATE(networks, batch, beside)
    two, same_error = UPDATE(networks.replace(critic=()), batch, plain)
    assert np.any(one.critic.weights[0] != networks.critic.weights[0])
    assert float(error) == pytest.approx(float(same_error), rel=1e-5)
    pairs = zip(jax.tree.leaves((one.actor, one.neurons)), jax.tree.leaves((two.actor, two.neurons)), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("topology", ["feedforward", "recurrent"])
def test_voltages_are_stored_with_their_noise(topology):
    """Those of all passes at every decision; noise is on hidden voltages alone, and in training alone."""
    changes = {"topology": topology, "voltage_source": "stored", "voltage_noise": 0.2, "warmup_steps": 0}
    config = small("neuron_ddpg", **changes)
    agent, spec, x = make_agent(config), network_spec(config), batch_of(config, size=50).x
    weights = INIT(KEY, config).actor.weights
    action, voltages = jax.jit(agent.act)(weights, x, KEY)
    quiet_action, quiet = jax.jit(lambda weights, x: agent.act(weights, x, None))(weights, x)
    assert voltages.shape[1:] == agent.extras.shape == (sum(count for _, count in spec.passes),)
    first = spec.passes[0][1]
    assert np.std((voltages - quiet)[:, :first]) == pytest.approx(0.2, rel=0.2)
    silent = config.replace(voltage_noise=0.0)
    still_action, _ = jax.jit(lambda weights, x: make_agent(silent).act(weights, x, KEY))(weights, x)
    np.testing.assert_allclose(still_action, quiet_action, rtol=1e-6)
    np.testing.assert_array_equal(voltages[:, -1:], action)
    assert np.abs(action).max() <= 1 and np.any(action != quiet_action)  # through the hidden neurons
    state, metrics = jax.jit(rgrl.train)(KEY, config)
    stored = np.asarray(state.replay.items.extras)[:12]
    assert np.all(stored.std(axis=0) > 0) and np.isfinite(metrics.model_loss).all()


def test_weights_are_counted_by_hand():
    """Of the actor, 4*5 + 6*4 + 5*1; of critics of 3 units per neuron; and of the whole-action critic, if any."""
    neurons = 5 * ((3 + 2) * 3 + 4) + 4 * ((5 + 2) * 3 + 4) + 1 * ((4 + 2) * 3 + 4)
    assert small("neuron_ddpg").describe().parameters == 49 + neurons
    assert small("neuron_ddpg", train_both_critics=True).describe().parameters == 49 + neurons + 5 * 6 + 7 * 5 + 6
