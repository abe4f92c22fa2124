"""Gymnasium's bodies on MJX against Gymnasium on the CPU: the rules on its own states, whole walks in float64."""

import functools
import sys

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import rgrl_jax as rgrl
from rgrl_jax import envs
from rgrl_jax.envs import mjx
from rgrl_jax.experiment import commands
from rgrl_jax.types import Box

STEPS, LIMIT = 60, 50
EFFORTS = (1.0, 1.0, 0.1, 0.1)
"""Of an episode each: under full random forces the pendulum falls at once, under small ones it stands for a while."""
BODIES = ("InvertedPendulum", "Swimmer", "Hopper")
SLOW = [
    "InvertedPendulum-v5",
    pytest.param("Swimmer-v5", marks=pytest.mark.slow),
    pytest.param("Hopper-v5", marks=pytest.mark.slow),
]


@functools.cache
def original(name):
    """Walks of Gymnasium under random actions, a pair per effort; they go on after the end.

    Returns the starts ``[N, 2, Q]``, actions ``[N, L, A]``, positions and velocities ``[N, L, 2, Q]``, observations
    ``[N, L, O]``, rewards and ends ``[N, L]``, and how many contacts and limits of joints were felt.
    """
    env = gymnasium.make(name, disable_env_checker=True).unwrapped
    walks, felt = [], 0
    for seed, effort in enumerate(EFFORTS):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        steps, start = [], np.stack([env.data.qpos, env.data.qvel])
        for _ in range(STEPS):
            action = np.float32(effort) * env.action_space.sample()
            obs, reward, terminated, _, _ = env.step(action)
            steps.append((action, np.stack([env.data.qpos, env.data.qvel]), obs, float(reward), terminated))
            felt += env.data.nefc
        walks.append((start, *(np.stack(x) for x in zip(*steps, strict=True))))
    return *(np.stack(x) for x in zip(*walks, strict=True)), felt


def states_of(values):
    """Positions and velocities ``[..., 2, Q]`` as states."""
    values = jnp.asarray(values)
    return mjx.State(values[..., 0, :], values[..., 1, :], jnp.zeros_like(values[..., 0, :]), jnp.int32(0))


@functools.cache
def program(name):
    """``(start [2, Q], actions [L, A]) -> observations, rewards, ends by themselves and by the limit`` in float64."""
    spec = mjx.spec_from_mjx(name, LIMIT)

    def walk(start, actions):
        def step(state, action):
            obs, state, *rest = spec.step(jax.random.key(0), state, action)
            return state, (obs, *rest)

        return jax.lax.scan(step, states_of(start), actions)[1]

    return walk


@functools.cache
def walks(name):
    """What `program` makes of the same starts and actions, one episode after the other."""
    start, actions, *_ = original(name)
    with jax.enable_x64(True):
        walk = jax.jit(program(name))
        rows = [jax.tree.map(np.asarray, walk(s, a)) for s, a in zip(start, actions, strict=True)]
    return [np.stack(x) for x in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", SLOW)
def test_equals_gymnasium(name):
    """Observations, rewards and ends of 60 steps from the same starts under the same actions, contacts among them."""
    _, _, _, obs_, rewards_, ends_, felt = original(name)
    obs, rewards, terminated, truncated = walks(name)
    assert (obs.dtype, obs.shape) == (np.float64, obs_.shape)
    np.testing.assert_allclose(obs, obs_, rtol=0.0, atol=1e-5)
    np.testing.assert_allclose(rewards, rewards_, rtol=0.0, atol=1e-5)
    np.testing.assert_array_equal(terminated, ends_)
    np.testing.assert_array_equal(truncated, ~ends_ & (np.arange(1, STEPS + 1) >= LIMIT))
    assert felt > 0 and len(np.unique(ends_)) == (1 if "Swimmer" in name else 2)


@pytest.mark.parametrize("name", SLOW)
def test_vmap_equals_loop(name):
    """Episodes side by side are those one after the other, contacts and all."""
    start, actions, *_ = original(name)
    with jax.enable_x64(True):
        together = jax.jit(jax.vmap(program(name)))(start, actions)
    for x, y in zip(together, walks(name), strict=True):
        np.testing.assert_allclose(x, y, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("name", mjx.TASKS)
def test_rules_equal_gymnasiums(name):
    """Observation, reward and end of a step that Gymnasium's own simulation made, in both versions."""
    start, actions, states, obs, rewards, ends, _ = original(name)
    task, dt = mjx.TASKS[name], gymnasium.make(name, disable_env_checker=True).unwrapped.dt

    def told(before, after, action):
        return mjx.observe(task, after), *mjx.reward_and_end(task, before, after, action, dt)

    with jax.enable_x64(True):
        before = states_of(np.concatenate([start[:, None], states[:, :-1]], axis=1))
        told = jax.vmap(
            jax.vmap(told, (mjx.State(0, 0, 0, None),) * 2 + (0,)), (mjx.State(0, 0, 0, None),) * 2 + (0,)
        )
        mine = told(before, states_of(states), actions)
    for x, y in zip(mine, (obs, rewards, ends), strict=True):
        np.testing.assert_allclose(x, y, rtol=0.0, atol=1e-9)


def test_versions_differ_at_the_end():
    """Only version 4 pays the step that ends an episode; the swimmer never ends."""
    for body in BODIES:
        (*_, rewards5, ends5, _), (*_, rewards4, ends4, _) = (original(f"{body}-v{version}") for version in (5, 4))
        np.testing.assert_array_equal(ends4, ends5)
        np.testing.assert_allclose(rewards4 - rewards5, ends5.astype(float), atol=1e-9)
        assert ends5.any() == (body != "Swimmer")


@pytest.mark.parametrize("body", BODIES)
def test_reset(body):
    """Uniform around the file's positions and rest, each entry by itself; the noise is Gymnasium's."""
    name = f"{body}-v5"
    env = gymnasium.make(name, disable_env_checker=True).unwrapped
    spec, noise = envs.make(f"mjx:{name}"), env._reset_noise_scale
    obs, state = jax.jit(jax.vmap(spec.reset))(jax.random.split(jax.random.key(3), 2000))
    assert obs.shape == (2000, *env.observation_space.shape) and not state.time.any() and not state.acceleration.any()
    away = np.concatenate([state.position - env.init_qpos, state.velocity - env.init_qvel], axis=1) / noise
    assert np.abs(away).max() < 1.0001
    for entry in away.T:
        assert scipy.stats.kstest(entry, "uniform", (-1.0, 2.0)).pvalue > 1e-4
    assert np.abs(np.corrcoef(away.T) - np.eye(away.shape[1])).max() < 0.1


@pytest.mark.parametrize("name", mjx.TASKS)
def test_spec(name):
    """Spaces, limit and goal are Gymnasium's; until they end, random walks lie within the encoders' ranges."""
    env, spec = gymnasium.make(name, disable_env_checker=True), envs.make(f"mjx:{name}")
    _, _, _, obs, rewards, ends, _ = original(name)
    assert spec.action == Box(tuple(env.action_space.low), tuple(env.action_space.high), env.action_space.shape)
    assert spec.observation.shape == env.observation_space.shape
    assert (spec.env_id, spec.max_steps, spec.goal) == (
        f"mjx:{name}",
        env.spec.max_episode_steps,
        env.spec.reward_threshold,
    )
    low, high = spec.observation.low, spec.observation.high
    alive = np.cumsum(ends, axis=1) == 0
    inside = ((obs >= low) & (obs <= high))[alive]
    assert inside.mean() > 0.98
    assert rewards[alive].min() >= spec.reward_range[0] and rewards[alive].max() <= spec.reward_range[1]
    half = envs.make(f"mjx:{name}", 500)
    assert (half.max_steps, half.return_range[1]) == (500, spec.return_range[1] / 2)


@pytest.mark.slow
def test_trains():
    """Episodes in lanes within a run, two seeds in one program."""
    config = rgrl.preset(
        "mjx:InvertedPendulum-v5", algo="reinforce", hidden=(4, 3), episodes=3, max_steps=30, num_envs=2
    )
    _, metrics = jax.jit(jax.vmap(rgrl.train, (0, None)))(jax.random.split(jax.random.key(0), 2), config)
    assert metrics.episode_return.shape == (2, 3) and metrics.terminated.any()
    returns = np.asarray(metrics.episode_return)
    assert ((returns >= 1.0) & (returns <= 30.0)).all() and len(np.unique(returns)) > 1


def test_versions_are_kept():
    """Those of the simulator stand in the summary of a run."""
    versions = commands._versions("mjx:Hopper-v5")
    assert {"gymnasium", "mujoco", "mujoco-mjx"} <= set(versions)
    assert versions["mujoco"] == versions["mujoco-mjx"]


def test_unknown_names():
    """The nearest are named."""
    with pytest.raises(ValueError, match="mjx:Hoper-v5.*nearest: mjx:Hopper-v5"):
        envs.make("mjx:Hoper-v5")


@pytest.mark.parametrize("package", ["mujoco", "mujoco.mjx", "gymnasium"])
def test_missing_packages(package, monkeypatch):
    """One sentence says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"mujoco-mjx, pip install 'rgrl_jax\[envs\]'"):
        mjx.spec_from_mjx("Swimmer-v5", 7)
