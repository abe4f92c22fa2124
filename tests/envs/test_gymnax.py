"""The adapter on gymnax's base class: odd environments, keywords, pictures; and gymnax's own use of ours."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import envs
from rgrl_jax.envs import own
from rgrl_jax.envs.gymnax import RENDERABLE
from rgrl_jax.types import Box, Discrete

OWN = (
    own.Blackjack(),
    own.DoorKey(),
    own.DoorKeyFull(),
    own.GymnasiumMountainCarContinuous(),
    own.Multiplexer(2),
    own.ScalarRegression(),
)


def test_odd_environments_come_into_the_normal_form():
    """gymnax has a bandit that pays integers and counts its step limit in floats; ranges follow the limit."""
    arguments = {"observation": Box(0.0, 1.0, (4,)), "action": Discrete(2), "reward_range": (-0.5, 1.0)}
    spec = envs.spec_from_gymnax("BernoulliBandit-misc", **arguments)
    _, state = jax.eval_shape(spec.reset, jax.random.key(0))
    _, _, reward, terminated, truncated = jax.eval_shape(spec.step, jax.random.key(0), state, jnp.int32(1))
    assert (reward.dtype, terminated.dtype, truncated.dtype) == (jnp.float32, jnp.bool_, jnp.bool_)
    assert isinstance(spec.max_steps, int) and spec.max_steps == 100
    assert spec.return_range == (-50.0, 100.0)
    assert envs.spec_from_gymnax("BernoulliBandit-misc", **arguments, max_steps=4).return_range == (-2.0, 4.0)
    assert envs.spec_from_gymnax("BernoulliBandit-misc", **arguments, return_range=(0.0, 3.0)).return_range[1] == 3


def test_made_environments_take_no_keywords():
    """Keywords that were meant for ``gymnax.make`` are not dropped silently."""
    arguments = {"observation": Box(0.0, 1.0, (34,)), "action": Discrete(7), "reward_range": (0.0, 1.0)}
    with pytest.raises(ValueError, match="is_slippery"):
        envs.spec_from_gymnax("mine", **arguments, env=own.DoorKeyFull(), is_slippery=True)


def test_what_gymnax_draws_has_something_to_draw():
    """Only environments of the list are offered to gymnax, which goes by the name."""
    drawn = {name: envs.make(name).render for name in envs.names()}
    drawn = {name: render()[0].name for name, render in drawn.items() if render}
    assert drawn == {name: name for name in RENDERABLE} | {"MountainCarContinuous-gymnasium": RENDERABLE[4]}
    env, params = envs.make("MountainCarContinuous-gymnasium", 7).render()
    assert isinstance(env, own.GymnasiumMountainCarContinuous) and params.max_steps_in_episode == 7


@pytest.mark.parametrize("env", OWN, ids=lambda env: type(env).__name__)
def test_gymnax_can_use_ours(env):
    """gymnax's own ``reset`` and ``step``, which starts anew after the end, and its spaces."""
    params = env.default_params.replace(max_steps_in_episode=7)
    space = env.observation_space(params)

    def step(state, key):
        action = env.action_space(params).sample(key).reshape(())
        obs, state, reward, terminated, truncated, _ = env.step(key, state, action, params)
        return state, (obs, space.contains(obs), state.time, terminated | truncated)

    @jax.jit
    def walk(key):
        _, state = env.reset(key, params)
        state = jax.tree.map(jnp.asarray, state)
        return env.is_terminal(state, params), jax.lax.scan(step, state, jax.random.split(key, 40))[1]

    over, (obs, inside, time, done) = jax.tree.map(np.asarray, walk(jax.random.key(0)))
    assert (obs.shape[1:], obs.dtype) == (space.shape, space.dtype) and inside.all() and not over
    assert done.any() and not time[done].any() and np.all(time[~done] > 0)


def test_gymnax_keeps_the_velocity_at_the_wall():
    """The reason for our car: if gymnax changes this, it can go."""
    env, params = gymnax.make("MountainCarContinuous-v0")
    _, state = env.reset_env(jax.random.key(0), params)
    state = state.replace(position=jnp.float32(-1.19), velocity=jnp.float32(-0.05))
    assert env.step_env(jax.random.key(0), state, jnp.float32(0), params)[1].velocity < -0.04
