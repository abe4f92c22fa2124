"""Policies as vectors: their layout, their observations and their actions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.policy_generators import twins

from rgrl_jax.algos.policy_generators import policy
from rgrl_jax.normalization import init_statistics, update_statistics
from rgrl_jax.types import Box, Discrete

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def test_a_policy_acts_by_its_vector():
    sizes = (3, 4, 6, 2)
    vector, x = RNG.normal(size=policy.count_weights(sizes)), RNG.normal(size=(5, 3))
    outputs = policy.policy_outputs(jnp.float32(vector), sizes, jnp.float32(x))
    for row, output in zip(x, outputs, strict=True):
        np.testing.assert_allclose(output, twins.policy_outputs(vector, sizes, row), rtol=1e-4, atol=1e-5)
    layers = policy.split_layers(jnp.float32(vector), sizes)
    np.testing.assert_array_equal(policy.join_layers(layers), np.float32(vector))


def test_random_policies_follow_the_uniform_distribution():
    layers = policy.split_layers(policy.random_policy(KEY, (20, 40, 2)), (20, 40, 2))
    for (w, b), width in zip(layers, np.sqrt([6 / 60, 6 / 42]), strict=True):
        assert np.abs(w).max() <= width and np.abs(w).max() > 0.9 * width and not b.any()
        np.testing.assert_allclose(w.std(), width / np.sqrt(3), rtol=0.15)


def test_running_statistics_normalize_by_the_sample_variance():
    """The very first observation stays as it is; one that is not alive does not count."""
    statistics, twin = init_statistics(3), twins.Statistics(3)
    count, normalize = jax.jit(update_statistics), jax.jit(lambda x, s: policy.normalize(x, s, twins.small()))
    for t in range(30):
        x, alive = np.float32(RNG.normal([5, -3, 0], [2, 0.1, 1])), t % 7 != 3
        statistics = count(statistics, jnp.asarray(x)[None], jnp.array([alive]))
        if alive:
            twin.add(np.float64(x))
        np.testing.assert_allclose(normalize(x[None], statistics)[0], twin.normalize(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name, expected",
    [("range", [[0.0, 1.0, -0.5], [1.0, -1.0, 0.25]]), ("raw", [[0.0, 1.0, -4.0], [1.0, -1.0, 2.0]])],
)
def test_without_statistics_observations_are_scaled_by_their_range_or_not_at_all(name, expected):
    obs = jnp.float32([[0.0, 1.0, -4.0], [1.0, -1.0, 2.0]])  # the speed of the pendulum is in -8..8
    np.testing.assert_allclose(policy.normalize(obs, (), twins.small(obs_normalization=name)), expected)


def test_outputs_become_actions():
    outputs = jnp.float32([[0.3, -0.2], [-1.0, 2.0]])
    assert policy.env_actions(outputs, Discrete(2)).tolist() == [0, 1]
    np.testing.assert_allclose(
        policy.smooth_actions(outputs, Discrete(2)),
        np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True),
        1e-5,
    )
    box = Box((-1.0, 0.0), (1.0, 4.0), (2, 1))
    expected = np.tanh(outputs) * [1.0, 2.0] + [0.0, 2.0]
    np.testing.assert_allclose(policy.env_actions(outputs, box), expected[..., None], rtol=1e-5)
    flat = dataclasses.replace(box, shape=(2,))
    np.testing.assert_allclose(policy.smooth_actions(outputs, flat), expected, rtol=1e-5)
