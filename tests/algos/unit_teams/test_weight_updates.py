"""Weight updates, against finite differences and loops in NumPy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from algos.unit_teams.networks import permute_layer

from rgrl_jax.algos.unit_teams.weight_updates import (
    Optimizer,
    TrainedNetwork,
    apply_update,
    init_network,
    unit_rewards,
    update_by_signal,
    update_by_weight_maximization,
)

LR = (0.3, 0.2, 0.1)
SGD = Optimizer("sgd", LR, LR, 1.0, 1e-8, 1000.0)


def learning_problem(n=2, sizes=(3, 5, 4, 2), seed=0):
    """A network, traces of ``n`` environments and their signals, and their weights in the mean."""
    draw = np.random.default_rng(seed)
    shapes = [(a + 1, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    weights = tuple(jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in shapes)
    traces = tuple(jnp.asarray(draw.normal(size=(n, *shape)), jnp.float32) for shape in shapes)
    signal = jnp.asarray(draw.normal(size=n), jnp.float32)
    return init_network(weights, SGD), traces, signal, jnp.full(n, 1.0 / n)


def test_rewards_of_units_are_changes_of_squared_norms():
    """Finite differences of ``sum_j W_ij^2`` in float64; biases are no outgoing weights."""
    draw = np.random.default_rng(0)
    weights, change = draw.normal(size=(5, 3)), draw.normal(size=(2, 5, 3))
    found = unit_rewards(jnp.asarray(weights, jnp.float32), jnp.asarray(change, jnp.float32), 2.0)
    assert found.shape == (2, 4)
    step = 1e-6
    for n in range(2):
        for i in range(4):
            there, back = (((weights[i] + sign * step * change[n, i]) ** 2).sum() for sign in (1, -1))
            assert float(found[n, i]) == pytest.approx((there - back) / (2 * step), rel=1e-4, abs=1e-5)


def test_rewards_by_another_norm():
    weights, change = np.array([[0.5, -2.0], [0.0, 0.0]]), np.array([[[1.0, 1.0], [9.0, 9.0]]])
    found = unit_rewards(jnp.asarray(weights), jnp.asarray(change), 3.0)
    assert float(found[0, 0]) == pytest.approx(3 * 0.25 * 1.0 - 3 * 4.0 * 1.0)


@pytest.mark.parametrize("delay", [False, True])
def test_weight_maximisation_is_a_loop(delay):
    """NumPy in float64 from the top down, per environment and unit, with weights that have changed already."""
    net, traces, signal, env_weights = learning_problem()
    draw = np.random.default_rng(7)
    before = tuple(jnp.asarray(draw.normal(size=(2, n)), jnp.float32) for n in (5, 4))
    arguments = (net, traces, signal, env_weights, jnp.int32(0), SGD)
    found, rewards = update_by_weight_maximization(
        *arguments, norm_exponent=2.0, delayed_rewards=before if delay else None
    )
    weights = [np.asarray(w, np.float64) for w in net.weights]
    reward = {(n, 2): [float(signal[n])] * 2 for n in range(2)}
    for layer in (2, 1, 0):
        changes = []
        for n in range(2):
            given = np.asarray(before[layer])[n] if delay and layer < 2 else np.array(reward[n, layer])
            changes.append(np.asarray(traces[layer], np.float64)[n] * given[None, :])
        weights[layer] = weights[layer] + LR[layer] * (changes[0] + changes[1]) / 2
        for n in range(2):
            below = range(weights[layer].shape[0] - 1)
            reward[n, layer - 1] = [2 * (weights[layer][i] * changes[n][i]).sum() for i in below]
    for x, y in zip(found.weights, weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)
    for layer in (0, 1):
        np.testing.assert_allclose(rewards[layer], [reward[n, layer] for n in range(2)], rtol=1e-4, atol=1e-4)


def test_the_same_scalar_for_all_is_a_loop():
    net, traces, signal, _ = learning_problem()
    env_weights = jnp.array([1.0, 0.0])  # the second environment has ended
    found = update_by_signal(net, traces, signal, env_weights, jnp.int32(0), SGD)
    for i in range(3):
        expected = net.weights[i] + LR[i] * signal[0] * traces[i][0]
        np.testing.assert_allclose(found.weights[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("until", [3.0, 1000.0])
def test_adam_is_the_published_one_with_a_switch(until):
    """NumPy in float64 over six updates with a falling learning rate; corrections end at update ``until``."""
    draw = np.random.default_rng(0)
    weights, gradients = draw.normal(size=(3, 2)), draw.normal(size=(6, 3, 2))
    adam = Optimizer("adam", (0.1,), (0.02,), 4.0, 1e-8, until)
    net = init_network((jnp.asarray(weights, jnp.float32),), adam)
    m = v = np.zeros((3, 2))
    for t, gradient in enumerate(gradients, start=1):
        net = apply_update(net, 0, jnp.asarray(gradient, jnp.float32), jnp.int32(t - 1), adam)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        corrected = t < until
        m_hat, v_hat = (m / (1 - 0.9**t), v / (1 - 0.999**t)) if corrected else (m, v)
        rate = 0.1 + (0.02 - 0.1) * min((t - 1) / 4, 1)
        weights = weights + rate * m_hat / (np.sqrt(v_hat) + 1e-8)
        np.testing.assert_allclose(net.weights[0], weights, rtol=1e-4, atol=1e-5)


def test_with_delay_layers_learn_side_by_side():
    """Each from its own trace and the rewards it was given."""
    net, traces, signal, env_weights = learning_problem()
    given = tuple(jnp.ones((2, n)) for n in (5, 4))

    def learn(net, traces):
        return update_by_weight_maximization(
            net, traces, signal, env_weights, jnp.int32(0), SGD, norm_exponent=2.0, delayed_rewards=given
        )

    after, rewards = learn(net, traces)
    for elsewhere in range(3):
        other, other_rewards = learn(
            TrainedNetwork(permute_layer(net.weights, elsewhere), ()), permute_layer(traces, elsewhere)
        )
        for layer in set(range(3)) - {elsewhere}:
            np.testing.assert_array_equal(other.weights[layer], after.weights[layer])
        for layer in range(2):  # and the next reward is of the layer above alone
            same = np.array_equal(other_rewards[layer], rewards[layer])
            assert same == (elsewhere != layer + 1)


def test_without_delay_a_reward_comes_from_above_only():
    """Permuted weights and traces of a layer change what is learnt below it, never above."""
    net, traces, signal, env_weights = learning_problem()

    def learn(net, traces):
        arguments = (net, traces, signal, env_weights, jnp.int32(0), SGD)
        return update_by_weight_maximization(*arguments, norm_exponent=2.0)[0].weights

    after = learn(net, traces)
    for elsewhere in range(3):
        other = learn(TrainedNetwork(permute_layer(net.weights, elsewhere), ()), permute_layer(traces, elsewhere))
        for layer in set(range(3)) - {elsewhere}:
            assert np.array_equal(other[layer], after[layer]) == (layer > elsewhere)
