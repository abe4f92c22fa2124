"""Training as one pure function, by a toy algorithm whose every number follows from its key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from tiny import assert_same, says

import rgrl_jax as rgrl
from rgrl_jax import training
from rgrl_jax.types import Metrics

KEY = jax.random.key(5)


@pytest.fixture(autouse=True)
def toy():
    """The config of the toy algorithm, which is registered while a test runs."""
    tiny.register_toy()
    yield tiny.ToyConfig()
    tiny.unregister_toy()


def by_hand(config, episodes):
    """The walk in NumPy: its weights after each episode."""
    key = training.init(KEY, config).key
    weight, rows = np.zeros(3), []
    for i in range(episodes):
        weight = (1.0 - config.rate) * weight + np.asarray(jax.random.normal(jax.random.fold_in(key, i), (3,)))
        rows.append(weight)
    return np.array(rows)


def test_a_run_is_a_loop_over_episodes(toy):
    """Each is played with the state before it and learnt from after it."""
    state, metrics = jax.jit(rgrl.train)(KEY, toy)
    weights = by_hand(toy, 6)
    np.testing.assert_allclose(state.weight, weights[-1], rtol=1e-5)
    np.testing.assert_allclose(metrics.model_loss, np.square(weights).sum(axis=1), rtol=1e-5)
    bets = np.concatenate([[0.0], weights[:-1].sum(axis=1)])
    np.testing.assert_allclose(metrics.episode_return, bets, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(metrics.terminated, bets > 0)
    np.testing.assert_array_equal(metrics.episode, np.arange(1, 7))


def test_parts_are_the_whole(toy):
    """Of any lengths, with the state passed on; the key is not used again."""
    state, metrics = rgrl.train(KEY, toy)
    part, rows = rgrl.train(KEY, toy, num_episodes=2), []
    rows.append(part[1])
    for length in (1, 3):
        part = rgrl.train(None, toy, part[0], length)
        rows.append(part[1])
    assert_same(part[0], state)
    assert_same(jax.tree.map(lambda *x: jnp.concatenate(x), *rows), metrics)


def test_seeds_and_floats_can_be_mapped(toy):
    """As from a loop over them."""
    keys, grid = jax.random.split(KEY, 3), toy.replace(rate=jnp.array([0.1, 0.2, 0.9]))
    many = jax.jit(jax.vmap(rgrl.train, in_axes=(0, grid.axes("rate"))))(keys, grid)
    for i in range(3):
        one = jax.jit(rgrl.train)(keys[i], toy.replace(rate=float(grid.rate[i])))
        for x, y in zip(jax.tree.leaves(many[1]), jax.tree.leaves(one[1]), strict=True):
            np.testing.assert_allclose(x[i], y, rtol=1e-4, atol=1e-5)


def test_a_run_needs_a_start(toy):
    """A key or a state; and a config that is valid, which is found out while tracing."""
    with pytest.raises(ValueError) as error:
        rgrl.train(None, toy)
    says(error, "key = None")
    for act in (rgrl.init, rgrl.train, jax.jit(rgrl.train)):
        with pytest.raises(ValueError, match="rows = 0"):
            act(KEY, toy.replace(rows=0))


class Rows(tiny.ToyConfig):
    """Three episodes make a row."""

    @property
    def episodes_per_row(self):
        """See the class."""
        return 3


def test_episodes_of_a_row_count_as_one():
    """Their means, with the counters as they are afterwards; it ended if all did."""
    rgrl.algos.unregister("toy")
    rgrl.algos.register("toy", Rows, tiny.TOY)
    config = Rows(episodes=2)
    state, metrics = jax.jit(rgrl.train)(KEY, config)
    weights = by_hand(config, 6)
    np.testing.assert_allclose(
        metrics.model_loss, np.square(weights).sum(axis=1).reshape(2, 3).mean(axis=1), rtol=1e-5
    )
    bets = np.concatenate([[0.0], weights[:-1].sum(axis=1)]).reshape(2, 3)
    np.testing.assert_array_equal(metrics.terminated, (bets > 0).all(axis=1))
    np.testing.assert_array_equal(metrics.episode, [3, 6])  # the toy counts every episode in its state
    assert int(state.episode) == 6 and metrics.episode_length.dtype == jnp.int32


def test_mean_row_keeps_types():
    """Integers are rounded down, flags stay flags."""
    rows = Metrics(
        *(jnp.array(x) for x in ([1, 2], [3, 7], [0.0, 1.0], [2, 5], [True, False], [1.0, 2.0])),
        {"n": jnp.array([1, 2])},
    )
    state = tiny.toy_init(KEY, tiny.ToyConfig()).replace(episode=jnp.int32(9), env_steps=jnp.int32(8))
    after, row = training.mean_row(state, rows)
    assert after is state
    values = {name: (x.item(), x.dtype) for name, x in row.columns().items()}
    kinds = {name: x.dtype for name, x in rows.columns().items()}
    expected = {"episode": 9, "env_steps": 8, "episode_return": 0.5, "episode_length": 3, "terminated": False}
    assert values == {k: (v, kinds[k]) for k, v in (expected | {"model_loss": 1.5, "n": 1}).items()}


def test_frozen_agents_are_played_and_evaluated(toy):
    """Noiseless episodes, of which `evaluate` returns the returns."""
    config = toy.replace(gain=0.01, spread=0.1)
    state, _ = rgrl.train(KEY, config)
    episode = jax.jit(training.play, static_argnums=3)(KEY, state, config, 4)
    expected = 0.01 * 6 * (1 + float(state.skill)) + 0.1 * (np.arange(4) - 1.5)
    np.testing.assert_allclose(episode.episode_return, expected, rtol=1e-5)
    np.testing.assert_allclose(rgrl.evaluate(KEY, state, config, 4), expected, rtol=1e-5)
    np.testing.assert_array_equal(episode.terminated, expected > 0)
    assert training.play(KEY, state, config).length.shape == (1,)


def test_keys_of_evaluations_are_new_after_every_episode(toy):
    """And training uses none of them."""
    state = training.init(KEY, toy)
    states = [state.replace(episode=jnp.int32(i)) for i in range(5)]
    keys = [training.evaluation_key(state) for state in states] + [jax.random.fold_in(state.key, i) for i in range(5)]
    assert len({tuple(np.ravel(jax.random.key_data(key))) for key in keys}) == 10
