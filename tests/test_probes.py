"""Probe environments whose best return is known: the whole algorithm must find it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rgrl_jax as rgrl


def register_probe(env_id, *, steps, reward, action):
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

    def make(max_steps):
        return rgrl.EnvSpec(
            env_id=env_id,
            reset=reset,
            step=step,
            observation=rgrl.Box(-1.0, 1.0, (2,)),
            action=action,
            reward_range=(0.0, 1.0),
            max_steps=max_steps or steps + 1,
            return_range=(0.0, 1.0),
        )

    rgrl.register_env(env_id, make)


TWO, LINE = rgrl.Discrete(2), rgrl.Box(-1.0, 1.0, ())
PROBES = {
    # the best action is always the same
    "Probe-constant": dict(steps=1, reward=lambda bit, t, a: a == 1, action=TWO),
    # the best action is what is seen
    "Probe-observed": dict(steps=1, reward=lambda bit, t, a: a == bit, action=TWO),
    # a number inside the range is best, so saturated actions are wrong
    "Probe-continuous": dict(steps=1, reward=lambda bit, t, a: 1.0 - jnp.square(a - 0.5), action=LINE),
    # only the last of three steps pays
    "Probe-last-step": dict(steps=3, reward=lambda bit, t, a: (t == 2) & (a == bit), action=TWO),
}


@functools.cache
def register_probes():
    for env_id, parts in PROBES.items():
        register_probe(env_id, **parts)


@pytest.mark.parametrize("env_id", list(PROBES))
def test_probe_is_solved(env_id):
    """Three seeds reach the best return there is, which random actions miss by far."""
    register_probes()
    config = rgrl.RGRLConfig(
        env_id=env_id,
        width=16,
        ensemble_size=3,
        horizon=3,
        episodes=40,
        warmup_episodes=30,
        learn_iterations=30,
        learn_batch=32,
        learning_rate=5e-3,
        # an optimum inside the range needs actions as they were, and steps that can settle on it
        action_noise=0.0 if "continuous" in env_id else 1.0,
        plan_lr=0.1 if "continuous" in env_id else 0.3,
        replay_capacity=200,
        max_windows=200,
    )
    keys = jax.random.split(jax.random.key(0), 3)
    states, metrics = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    evaluate = jax.jit(jax.vmap(lambda key, state: rgrl.evaluate(key, state, config, 20)))
    assert np.asarray(metrics.episode_return)[:, :30].mean() < 0.8
    assert np.asarray(evaluate(keys, states)).mean(axis=1).min() > 0.95
