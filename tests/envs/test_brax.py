"""Environments of Brax: the adapter on the one that needs no simulation; one with a body is slow to compile."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import envs
from rgrl_jax.rollout import Actor, rollout
from rgrl_jax.types import Box

pytestmark = pytest.mark.filterwarnings("ignore:Brax System:UserWarning")


def brax_envs():
    """Brax, which is slow to import."""
    return importlib.import_module("brax.envs")


def both(name, steps, **ranges):
    """Random steps through the spec and through Brax itself: observations, rewards, ends."""
    spec, env = envs.spec_from_brax(name, max_steps=7, **ranges), brax_envs().get_environment(name)
    actions = jax.random.uniform(jax.random.key(1), (steps, *spec.action.shape), minval=-1.0, maxval=1.0)

    def ours(carry, action):
        obs, state, *rest = spec.step(jax.random.key(5), carry, action)
        return state, (obs, *rest)

    def theirs(state, action):
        state = env.step(state, action)
        return state, (state.obs, state.reward, state.done)

    @jax.jit
    def walk(key):
        (obs, state), state_ = spec.reset(key), env.reset(key)
        return obs, state_.obs, jax.lax.scan(ours, state, actions)[1], jax.lax.scan(theirs, state_, actions)[1]

    return spec, walk(jax.random.key(2))


@pytest.mark.parametrize("name", ["fast", pytest.param("inverted_pendulum", marks=pytest.mark.slow)])
def test_equals_brax(name):
    """Starts and steps are Brax's own; the limit is ours."""
    spec, (first, first_, (obs, reward, terminated, truncated), (obs_, reward_, done)) = both(
        name, 12, observation=Box(-1.0, 1.0, (2 if name == "fast" else 4,)), reward_range=(0.0, 1.0)
    )
    np.testing.assert_array_equal(first, first_)
    np.testing.assert_allclose(obs, obs_, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(reward, reward_)
    np.testing.assert_array_equal(terminated, np.asarray(done) == 1.0)
    np.testing.assert_array_equal(truncated, (np.arange(1, 13) >= 7) & ~np.asarray(terminated))
    assert (spec.env_id, spec.return_range, spec.max_steps) == (f"brax:{name}", (0.0, 7.0), 7)
    assert reward.dtype == np.float32 and terminated.dtype == truncated.dtype == bool


def test_measured_ranges():
    """By name alone: what random actions see lies well within, and the reward of 1 below the upper end or at it."""
    spec = envs.make("brax:fast")
    assert spec is envs.make("brax:fast") and (spec.max_steps, spec.action) == (1000, Box(-1.0, 1.0, (1,)))
    _, (_, _, (obs, reward, *_), _) = both("fast", 12)
    low, high = np.asarray(spec.observation.low), np.asarray(spec.observation.high)
    assert spec.observation.shape == obs.shape[1:] and (low < high).all()
    assert (obs >= low).all() and (obs <= high).all()
    assert spec.reward_range[0] <= reward.min() and reward.max() <= spec.reward_range[1]


def test_plays_in_lanes():
    """Many at once in a compiled rollout."""
    spec = envs.spec_from_brax("fast", max_steps=5)

    def play(key):
        return rollout(spec, Actor(key, lambda key, timestep: (jnp.zeros((1, 3, 1)), (), {}), num_envs=3))[0]

    assert jax.jit(play)(jax.random.key(0)).length.tolist() == [5] * 3


def test_unknown_names():
    """The nearest are named."""
    with pytest.raises(ValueError, match="'brax:hoper' is not registered; nearest: brax:hopper"):
        envs.make("brax:hoper")


def test_what_jax_no_longer_runs(monkeypatch):
    """One sentence names the environment, JAX and what went wrong."""

    class Broken(brax_envs().fast.Fast):
        def step(self, state, action):
            return state.replace(obs=jnp.clip(state.obs, a_minimum=0.0))

    monkeypatch.setitem(brax_envs()._envs, "broken", Broken)
    with pytest.raises(ValueError, match=f"'brax:broken' does not run: .* JAX {jax.__version__} .*a_minimum"):
        envs.make("brax:broken")


def test_observations_of_several_parts(monkeypatch):
    """They are refused."""

    class Parted(brax_envs().fast.Fast):
        def reset(self, rng):
            state = super().reset(rng)
            return state.replace(obs={"eye": state.obs, "ear": state.obs})

        def step(self, state, action):
            return state

    monkeypatch.setitem(brax_envs()._envs, "parted", Parted)
    with pytest.raises(ValueError, match="'brax:parted' has observations of several parts"):
        envs.make("brax:parted")


def test_missing_package(monkeypatch):
    """One sentence says what to install."""
    monkeypatch.setitem(sys.modules, "brax.envs", None)
    with pytest.raises(ValueError, match=r"package brax, pip install 'rgrl_jax\[envs\]'"):
        envs.spec_from_brax("fast")
