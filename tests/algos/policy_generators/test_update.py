"""Losses of policy generators, their gradients, and the updates, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.policy_generators import twins
from algos.policy_generators.twins import double, small

from rgrl_jax.algos.policy_generators import store, update
from rgrl_jax.algos.policy_generators.policy import count_weights, layer_sizes
from rgrl_jax.types import Discrete

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
INIT = jax.jit(lambda config: update.init_networks(KEY, config))
HINDSIGHT, EVALUATE, COMMAND = (
    jax.jit(jax.value_and_grad(loss)) for loss in (update.hindsight_loss, update.evaluator_loss, update.command_loss)
)
SAMPLE = jax.jit(store.sample)


def predict_returns(evaluator, policies, config):
    returns, sizes = [], layer_sizes(config)
    for policy in policies:
        outputs = np.stack([twins.policy_outputs(policy, sizes, probe) for probe in evaluator.probes])
        if isinstance(config.spec.action, Discrete):
            actions = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
        else:
            actions = 2.0 * np.tanh(outputs)  # the pendulum's torque
        returns.append(twins.relu_network(evaluator.weights, actions.ravel())[0])
    return np.array(returns)


def assert_gradient(gradient, function, weights, step=1e-6):
    """A gradient against central differences along random directions of every leaf."""
    flat, tree = jax.tree.flatten(double(weights))
    for i, slope in enumerate(jax.tree.leaves(gradient)):
        way = RNG.normal(size=flat[i].shape)
        ends = [
            function(jax.tree.unflatten(tree, [x + sign * step * way if j == i else x for j, x in enumerate(flat)]))
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((np.asarray(slope) * way).sum(), expected, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_losses_of_gogepo(env_id):
    """Fingerprints, errors in units of the return, and what is frozen; discrete policies show their probabilities."""
    config = small("gogepo", env_id)
    networks = INIT(config)
    generator, evaluator = networks.generator.params, networks.evaluator.params
    assert evaluator.probes.min() >= 0 and evaluator.probes.max() <= 1
    policies = np.float32(RNG.normal(size=(4, count_weights(layer_sizes(config)))))
    returns = np.float32([1.0, -2.0, 0.5, 0.0])
    loss, gradient = EVALUATE(evaluator, policies, returns, config)

    def evaluator_loss(evaluator):
        return np.mean((predict_returns(evaluator, np.float64(policies), config) - returns) ** 2)

    assert float(loss) == pytest.approx(evaluator_loss(double(evaluator)), rel=1e-4)
    assert_gradient(gradient, evaluator_loss, evaluator)
    commands = np.float32([30.0, 100.0, -40.0, 0.0])
    loss, gradient = COMMAND(generator, evaluator, commands, config)

    def command_loss(generator):
        made = twins.make_policies(generator, np.float64(commands), config)
        return np.mean((predict_returns(double(evaluator), made, config) - commands) ** 2)

    assert float(loss) == pytest.approx(command_loss(double(generator)), rel=1e-4)
    assert_gradient(gradient, command_loss, generator)


def test_loss_of_udrlpg():
    config = small(return_low=-10.0, return_high=10.0)
    generator = INIT(config).generator.params
    policies = np.float32(RNG.normal(size=(4, count_weights(layer_sizes(config)))))
    returns = np.float32([-9.0, 0.0, 8.0, 2.0])
    loss, gradient = HINDSIGHT(generator, policies, returns, config)

    def hindsight_loss(generator):
        return np.mean((twins.make_policies(generator, np.float64(returns), config) - policies) ** 2)

    assert float(loss) == pytest.approx(hindsight_loss(double(generator)), rel=1e-4)
    assert_gradient(gradient, hindsight_loss, generator)


def descend(weights, key, updates, lr, there, config, value_and_gradient):
    """Adam on batches drawn one after the other; the weights and the mean loss."""
    (leaves, tree), losses = jax.tree.flatten(weights), []
    first, second = ([np.zeros(x.shape) for x in leaves] for _ in range(2))
    for t, draw_key in enumerate(jax.random.split(key, updates), 1):
        value, gradient = value_and_gradient(jax.tree.unflatten(tree, leaves), *SAMPLE(draw_key, there, config))
        losses.append(float(value))
        slopes = double(jax.tree.leaves(gradient))
        first = [0.9 * m + 0.1 * g for m, g in zip(first, slopes, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, slopes, strict=True)]
        steps = [m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) for m, v in zip(first, second, strict=True)]
        leaves = [np.float32(x - lr * step) for x, step in zip(leaves, steps, strict=True)]
    return jax.tree.unflatten(tree, leaves), np.mean(losses)


@pytest.mark.parametrize("algorithm", ["udrlpg", "gogepo"])
def test_updates_are_a_plain_loop(algorithm):
    """The evaluator first, on policies it is shown; then the generator, for commands from the store."""
    config = small(algorithm, generator_lr=1e-2)
    networks = INIT(config)
    there = store.init_store(config, count_weights(layer_sizes(config)))
    policies = np.float32(RNG.normal(size=(5, count_weights(layer_sizes(config)))))
    returns = jnp.linspace(-1500.0, -100.0, 5)
    number = store.bucket_number(returns, config)
    there = store.add_to_store(there, store.PlayedPolicies(policies, returns, number, jnp.zeros(5, bool)))
    after, loss = jax.jit(update.update)(KEY, networks, there, config)
    generator_key, evaluator_key = jax.random.split(KEY)
    generator = networks.generator.params, generator_key, 2, config.generator_lr, there, config
    if algorithm == "udrlpg":
        generator, mean = descend(*generator, lambda *x: HINDSIGHT(*x, config))
        pairs = [(after.generator, generator)]
    else:
        evaluator = networks.evaluator.params, evaluator_key, 3, config.evaluator_lr, there, config
        evaluator, mean = descend(*evaluator, lambda *x: EVALUATE(*x, config))
        generator, _ = descend(*generator, lambda w, _, commands: COMMAND(w, evaluator, commands, config))
        pairs = [(after.generator, generator), (after.evaluator, evaluator)]
    assert float(loss) == pytest.approx(mean, rel=1e-4)
    for network, expected in pairs:
        for x, y in zip(jax.tree.leaves(network.params), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
