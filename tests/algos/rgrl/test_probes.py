"""Probe environments whose best return is known: the whole algorithm must find it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rgrl_cases import small

from rgrl_jax import envs, training
from rgrl_jax.types import Box, Discrete


def make_probe(env_id, steps, reward, action):
    """A tiny environment that shows one random bit per episode and ends after ``steps`` steps."""

    def observe(bit, t):
        return jnp.stack([2.0 * bit - 1.0, t.astype(jnp.float32)])

    def reset(key):
        bit = jax.random.bernoulli(key).astype(jnp.int32)
        return observe(bit, jnp.int32(0)), (bit, jnp.int32(0))

    def step(key, state, action):
        bit, t = state
        paid = jnp.asarray(reward(bit, t, action), jnp.float32)
        return observe(bit, t + 1), (bit, t + 1), paid, t + 1 >= steps, jnp.bool_(False)

    return lambda max_steps: envs.EnvSpec(
        env_id=env_id,
        reset=reset,
        step=step,
        observation=Box(-1.0, 1.0, (2,)),
        action=action,
        reward_range=(0.0, 1.0),
        max_steps=max_steps or steps + 1,
        return_range=(0.0, 1.0),
    )


TWO, LINE = Discrete(2), Box(-1.0, 1.0, ())
PROBES = {
    # the best action is always the same
    "Probe-constant": (1, lambda bit, t, a: a == 1, TWO),
    # the best action is what is seen
    "Probe-observed": (1, lambda bit, t, a: a == bit, TWO),
    # a number inside the range is best, so saturated actions are wrong
    "Probe-continuous": (1, lambda bit, t, a: 1.0 - jnp.square(a - 0.5), LINE),
    # only the last of three steps pays
    "Probe-last-step": (3, lambda bit, t, a: (t == 2) & (a == bit), TWO),
}
SLOW = [pytest.param(env_id, marks=pytest.mark.slow) for env_id in PROBES if env_id != "Probe-last-step"]


@pytest.mark.parametrize("env_id", ["Probe-last-step", *SLOW])  # the first asks for what the others ask for
def test_probe_is_solved(env_id):
    """Three seeds reach the best return there is, which random actions miss by far."""
    envs.register(env_id, make_probe(env_id, *PROBES[env_id]))
    settings = {
        "max_steps": None,
        "episodes": 40,
        "explore.warmup_episodes": 30,
        "model.width": 16,
        "planner.horizon": 3,
        "planner.iterations": 15,
        "planner.noise": 0.05,
        "learner.updates_per_episode": 30,
        "learner.batch_size": 32,
        "learner.lr": 5e-3,
        # an optimum inside the range needs actions as they were, and steps that can settle on it
        "learner.action_noise": 0.0 if "continuous" in env_id else 1.0,
        "planner.lr": 0.1 if "continuous" in env_id else 0.3,
        "replay.max_windows": 200,
    }
    try:
        config = small(settings, env_id)

        @jax.jit
        @jax.vmap
        def run(key):
            state, metrics = training.train(key, config)
            return metrics.episode_return[:30], training.play(key, state, config, 20).episode_return

        random, returns = run(jax.random.split(jax.random.key(0), 3))
    finally:
        envs.unregister(env_id)
    assert random.mean() < 0.8
    assert np.asarray(returns).mean(axis=1).min() > 0.95
