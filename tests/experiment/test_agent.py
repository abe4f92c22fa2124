"""Agents step by step: the actions of `play`, for every algorithm; and an agent of a folder in anybody's loop."""

import functools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY, logged, register_toy, says, tiny_config

import rgrl_jax as rgrl
from rgrl_jax import algos
from rgrl_jax.callbacks import Checkpoint
from rgrl_jax.rollout import Actor

KEY, OTHER = jax.random.key(0), jax.random.key(1)
INIT, PLAY = jax.jit(rgrl.init), jax.jit(rgrl.play, static_argnums=3)

CASES = {name: {"algo": name, "max_steps": 8} for name in algos.names() if name != "rgrl"}
CASES |= {
    "rgrl": TINY,
    "history, longer than an episode's beginning": TINY | {"model.history_length": 3},
    "plans of several steps": TINY | {"planner.replan_every": 3, "model.history_length": 2},
    "held actions": TINY | {"action_repeat": 2, "planner.replan_every": 2, "model.history_length": 1},
    "drawn plans": TINY | {"planner.kind": "cem", "planner.samples": 5},
}
DISCRETE = {*algos.names()} - {"ddpg", "neuron_ddpg"}


def begin(case):
    """Config of a case, and a state of which large weights make much of small differences."""
    config = rgrl.preset("CartPole-v1" if case in DISCRETE else "Pendulum-v1", **CASES[case])
    state = INIT(KEY, config)
    return config, jax.tree.map(lambda x: 3.0 * x if jnp.issubdtype(x.dtype, jnp.floating) else x, state)


@pytest.mark.parametrize("case", CASES)
def test_actions_are_those_of_play(case):
    """With the key of `play` and the observations of its episodes, of two in lockstep."""
    config, state = begin(case)
    episode, act, carry = PLAY(OTHER, state, config, 2), rgrl.make_act(state, config), None
    for t in range(int(episode.length.max())):
        alive = np.asarray(t < episode.length)
        for _ in range(config.action_repeat):
            action, carry = act(OTHER, episode.obs[t], carry)
            assert action.dtype == episode.action.dtype
            np.testing.assert_allclose(action[alive], episode.action[t][alive], rtol=1e-3, atol=1e-5)
    assert case in DISCRETE or np.ptp(episode.action[: episode.length[0], 0]) > 1e-3


def test_carry_of_a_policy(toy):
    """It is given back what it returned, of each environment."""

    def count(key, timestep):
        return timestep.carry[None], timestep.carry + 1.0, ()

    register_toy(evaluation_actor=lambda key, state, config, n: Actor(key, count, n, 10.0 * jnp.arange(n)))
    act, carry = rgrl.make_act(rgrl.init(KEY, toy), toy), None
    for t in range(3):
        action, carry = act(KEY, np.zeros(2), carry)
        assert action.tolist() == [t, 10.0 + t]


def test_one_environment():
    """One observation gives one action; its episode is that of `play` of a single environment."""
    config, state = begin("plans of several steps")
    episode, act, carry = PLAY(OTHER, state, config, 1), rgrl.make_act(state, config), None
    for t in range(4):
        action, carry = act(OTHER, np.asarray(episode.obs[t, 0], np.float64), carry)
        assert action.shape == episode.action.shape[2:]
        np.testing.assert_allclose(action, episode.action[t, 0], rtol=1e-3)


def test_it_is_a_pure_function():
    """It maps over seeds and keys, and scans."""
    config = rgrl.preset("CartPole-v1", algo="backprop")
    states = jax.vmap(rgrl.init, in_axes=(0, None))(jax.random.split(KEY, 2), config)
    keys, obs = jax.random.split(OTHER, 2), jnp.array([[0.1, 0.0, 0.1, 0.0], [-0.1, 0.0, -0.1, 0.0]])

    def several(state, key, obs):
        act = rgrl.make_act(state, config)
        first, carry = act(key, obs)
        _, rest = jax.lax.scan(lambda carry, _: act(key, obs, carry)[::-1], carry, length=3)
        return jnp.append(first, rest)

    mapped = jax.jit(jax.vmap(several))(states, keys, obs)
    for i in range(2):
        alone = several(jax.tree.map(lambda x, i=i: x[i], states), keys[i], obs[i])
        np.testing.assert_array_equal(mapped[i], alone)


def test_an_agent_balances_gymnasiums_pole():
    """Five lines."""
    agent, env = rgrl.load_agent(logged()[0]), gymnasium.make("CartPole-v1", max_episode_steps=12)
    observation, ended = env.reset(seed=0)[0], False
    while not ended:
        observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
        ended = terminated or truncated
    assert reward == 1.0


def test_episodes_of_an_agent():
    """A seed decides them; each has another key; several environments are an axis in front."""
    folder, state, _ = logged()
    act, obs = rgrl.make_act(state, tiny_config()), np.zeros((50, 4))
    agent = rgrl.load_agent(folder, seed=3)
    for episode in range(2):
        key, carry = jax.random.fold_in(jax.random.key(3), episode), None
        for _ in range(3):
            action, carry = act(key, obs, carry)
            found = agent.act(obs)
            assert isinstance(found, np.ndarray)
            np.testing.assert_array_equal(found, action)
        agent.reset()
    assert type(agent.act(obs[0])) is int


def test_an_agent_of_several_seeds(toy, tmp_path):
    """Any of them, by its index; continuous actions come as arrays."""
    states, _ = rgrl.run(jax.random.split(KEY, 3), toy.replace(gain=1.0), callbacks=[Checkpoint(tmp_path)])
    for i in range(3):
        action = rgrl.load_agent(tmp_path, index=i).act(0.0)
        assert isinstance(action, np.ndarray) and action.shape == ()
        assert float(action) == pytest.approx(6.0 * (1.0 + float(states.skill[i])))
    with pytest.raises(ValueError) as error:
        rgrl.load_agent(tmp_path, index=3)
    says(error, "index = 3 must be in 0..2")
    with pytest.raises(ValueError) as error:
        rgrl.make_act(states, toy)
    says(error, "3 seeds")


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 4), (4, 1)])
def test_wrong_shapes_are_refused(shape):
    """In one sentence with both shapes."""
    config = tiny_config()
    act = rgrl.make_act(jax.eval_shape(functools.partial(rgrl.init, config=config), KEY), config)
    with pytest.raises(ValueError) as error:
        act(KEY, np.zeros(shape))
    says(error, f"observation of shape {shape} must be (4,)")


def test_the_number_of_environments_stays():
    """Within an episode."""
    act = rgrl.make_act(logged()[1], tiny_config())
    _, carry = act(KEY, np.zeros((2, 4)))
    with pytest.raises(ValueError) as error:
        act(KEY, np.zeros((3, 4)), carry)
    says(error, "3 environments must be of 2")
