"""Learning tests with thresholds over seeds; run them with ``pytest -m slow``."""

import jax
import numpy as np
import pytest

import rgrl_jax as rgrl

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def optimised():
    """These runs are long enough to gain from what the other tests leave out."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


def test_cartpole_is_solved_by_most_seeds():
    """Of five fresh seeds at least four stop at the goal within 40 episodes and still reach it over 100."""
    config, solved = rgrl.preset("CartPole-v1"), 0
    for seed in range(100, 105):
        state, _ = rgrl.run(jax.random.key(seed), config, callbacks=[rgrl.callbacks.StopAtGoal()])
        solved += np.mean(rgrl.evaluate(jax.random.key(0), state, config, 100)) >= 475
    assert solved >= 4


@pytest.mark.parametrize(
    "algo, env_id, rows, least",
    [
        ("weight_max", "CartPole-v1", 400, 150.0),
        ("weight_max_traces", "CartPole-v1", 400, 150.0),
        ("map_prop", "CartPole-v1", 250, 350.0),
        ("ste", "CartPole-v1", 300, 150.0),
        ("ddpg", "Pendulum-v1", 60, -250.0),
        ("neuron_ddpg", "Pendulum-v1", 80, -250.0),
        ("weight_max", "Multiplexer-4", 200, 0.5),
        ("map_prop", "ScalarRegression", 20, -0.5),
    ],
)
def test_other_algorithms_learn(algo, env_id, rows, least):
    """Three fresh seeds by the presets: the last tenth of the training returns, on average."""
    config = rgrl.preset(env_id, algo=algo, episodes=rows)
    keys = jax.vmap(jax.random.key)(np.arange(100, 103))
    _, metrics = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    last = np.asarray(metrics.episode_return)[:, -rows // 10 :].mean(axis=1)
    assert last.mean() > least


@pytest.mark.parametrize("env_id, least", [("CartPole-v1", 300.0), ("MountainCarContinuous-v0", 80.0)])
def test_a_generator_learns_to_make_policies(env_id, least):
    """Three fresh seeds of UDRLPG by the presets: noiseless episodes at the end, on average."""
    config = rgrl.preset(env_id, algo="udrlpg")
    keys = jax.vmap(jax.random.key)(np.arange(100, 103))
    states, _ = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    evaluate = jax.jit(jax.vmap(lambda key, state: rgrl.evaluate(key, state, config, 10)))
    assert np.asarray(evaluate(keys, states)).mean() > least
