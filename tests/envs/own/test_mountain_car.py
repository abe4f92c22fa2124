"""MountainCarContinuous against Gymnasium, step by step."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv

from rgrl_jax import envs
from rgrl_jax.envs import own

CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # our float32 against their mixture with float64


def test_mountain_car_equals_gymnasium_everywhere():
    """10,000 steps from anywhere, the walls and beyond the goal included, with forces up to twice the limits."""
    env, original = own.GymnasiumMountainCarContinuous(), Continuous_MountainCarEnv()
    rng = np.random.default_rng(0)
    position = np.clip(rng.uniform(-1.35, 0.65, 10_000), -1.2, 0.6).astype(np.float32)
    velocity = np.clip(rng.uniform(-0.08, 0.08, 10_000), -0.07, 0.07).astype(np.float32)
    action = rng.uniform(-2.0, 2.0, 10_000).astype(np.float32)

    @jax.jit
    @jax.vmap
    def step(position, velocity, action):
        state = env.reset_env(jax.random.key(0), env.default_params)[1].replace(position=position, velocity=velocity)
        obs, _, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, env.default_params)
        return obs, reward, terminated

    rows = []
    for state in zip(position, velocity, action, strict=True):
        original.state = np.array(state[:2])
        rows.append(original.step(state[2:])[:3])
    obs, reward, terminated = (np.array(x) for x in zip(*rows, strict=True))
    ours = step(position, velocity, action)
    np.testing.assert_allclose(ours[0], obs, **CLOSE)
    np.testing.assert_allclose(ours[1], reward, **CLOSE)
    np.testing.assert_array_equal(ours[2], terminated)
    left, back = obs[:, 0] == np.float32(-1.2), (obs[:, 0] >= 0.45) & (obs[:, 1] < 0)
    assert left.sum() > 300 and not obs[left & (velocity < -0.01), 1].any()
    assert back.sum() > 300 and not terminated[back].any() and terminated.any()


@pytest.mark.parametrize("drive", ["swing", "random"])
def test_mountain_car_plays_as_gymnasium(drive):
    """Whole episodes, ours from Gymnasium's start and brought to Gymnasium's state after every step."""
    spec = envs.make("MountainCarContinuous-gymnasium")
    original = gymnasium.make("MountainCarContinuous-v0", disable_env_checker=True)
    step, rng = jax.jit(spec.step), np.random.default_rng(1)
    obs, _ = original.reset(seed=0)
    _, state = spec.reset(jax.random.key(0))
    for t in range(1, 1000):
        force = np.float32(np.sign(obs[1]) if drive == "swing" else rng.uniform(-1.5, 1.5))
        state = state.replace(position=jnp.float32(obs[0]), velocity=jnp.float32(obs[1]), time=jnp.int32(t - 1))
        ours, state, *ends = step(jax.random.key(0), state, force)
        obs, reward, terminated, truncated, _ = original.step(np.array([force]))
        np.testing.assert_allclose(ours, obs, **CLOSE)
        assert [float(ends[0]), *map(bool, ends[1:])] == [pytest.approx(reward, rel=1e-6), terminated, truncated]
        if terminated or truncated:
            break
    assert (terminated, truncated, t == 999) == (drive == "swing", drive == "random", drive == "random")
    assert spec.goal == original.spec.reward_threshold


def test_mountain_cars_start_in_the_same_range():
    """Uniformly from -0.6 to -0.4, at rest."""
    obs, _ = jax.vmap(envs.make("MountainCarContinuous-gymnasium").reset)(jax.random.split(jax.random.key(0), 4000))
    assert scipy.stats.kstest(np.asarray(obs[:, 0]), "uniform", args=(-0.6, 0.2)).pvalue > 0.01
    assert not obs[:, 1].any()
