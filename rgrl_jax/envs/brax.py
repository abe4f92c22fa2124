"""Adapter for environments of Brax, ``brax:NAME``, which are compiled.

Brax is imported when the first of them is made. Bodies and rules are Brax's own and differ from Gymnasium's of the
same name, so returns cannot be compared. Brax is no longer developed; an environment that the installed JAX does not
run is refused.
"""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.envs.adapters import check_name, fill_return_range, import_package, widen_bounds, widen_rewards
from rgrl_jax.envs.registry import register_source
from rgrl_jax.envs.spec import EnvSpec, ResetFn, StepFn
from rgrl_jax.types import Array, Box, Key, PyTree, Space

LIMIT = 1000
"""Step limit, as in Brax's own training."""
EPISODES, LENGTH = 10, 100
"""Episodes of random actions that ranges are measured over, and their steps."""


def spec_from_brax(
    name: str,
    *,
    observation: Space | None = None,
    reward_range: tuple[float, float] | None = None,
    return_range: tuple[float, float] | None = None,
    goal: float | None = None,
    max_steps: int | None = None,
    **env_kwargs: Any,
) -> EnvSpec:
    """Makes the spec of an environment that ``brax.envs.get_environment`` knows; ``brax:NAME`` does without keywords.

    Brax tells no ranges. Those that are not given are measured over 10 episodes of 100 random actions, by a program
    compiled for it, and widened like those of `spec_from_gymnasium`. Actions lie in -1..1. Arguments that are not
    explained here are those of `EnvSpec`.

    Args:
      name: its name in Brax.
      return_range: worst and best return; by default the reward range times the step limit.
      max_steps: step limit; None for 1,000.
      **env_kwargs: passed on, for instance ``backend``.

    Raises:
      ValueError: there is no such environment, Brax is not installed, or the installed JAX does not run it.
    """
    limit, envs = max_steps or LIMIT, import_package("brax.envs", "Brax", "package brax")
    check_name("brax:", name, envs._envs)
    with warnings.catch_warnings():  # it says that it is no longer developed
        warnings.simplefilter("ignore", UserWarning)
        env = envs.get_environment(name, **env_kwargs)

    def reset(key: Key) -> tuple[Array, PyTree]:
        state = env.reset(key)
        return state.obs, (state, jnp.int32(0))

    def step(key: Key, state: PyTree, action: Array) -> tuple[Array, PyTree, Array, Array, Array]:
        after, time = env.step(state[0], action), state[1] + 1
        terminated = after.done > 0.5
        return after.obs, (after, time), after.reward, terminated, (time >= limit) & ~terminated

    action = Box(-1.0, 1.0, (_check_and_size(name, env, reset, step),))
    if observation is None or reward_range is None:  # else that program need not be compiled
        low, high, rewards = _measure(reset, step, action.shape)
        reward_range = reward_range or widen_rewards(*rewards)
        below, above = widen_bounds(low, high)
        observation = observation or Box(tuple(below), tuple(above), low.shape)
    returns = fill_return_range(return_range, reward_range, limit)
    return EnvSpec(f"brax:{name}", reset, step, observation, action, reward_range, limit, returns, goal)


def _check_and_size(name: str, env: Any, reset: ResetFn, step: StepFn) -> int:
    """Traces a step, without compiling it, and returns the number of entries of an action."""
    try:
        size = int(env.action_size)
        action = jax.ShapeDtypeStruct((size,), jnp.float32)
        obs = jax.eval_shape(lambda k, a: step(k, reset(k)[1], a), jax.random.key(0), action)[0]
    except (TypeError, AttributeError, ValueError) as error:
        reason = f"Brax and JAX {jax.__version__} do not fit: {' '.join(str(error).split())}"
        raise ValueError(f"env_id = 'brax:{name}' does not run: {reason}") from error
    if not isinstance(obs, jax.ShapeDtypeStruct):
        raise ValueError(f"env_id = 'brax:{name}' has observations of several parts; one array is supported")
    return size


def _measure(reset: ResetFn, step: StepFn, shape: tuple[int, ...]) -> tuple[Any, Any, tuple[float, float]]:
    """Measures the least and greatest observation ``[O]`` and reward of random actions until their episodes end."""

    def walk(key: Key) -> tuple[Array, Array]:
        first, rest = jax.random.split(key)
        obs, state = reset(first)

        def step_once(carry: Any, key: Key) -> Any:
            obs, state, ended = carry
            action = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
            after, state, reward, terminated, _ = step(key, state, action)
            obs = jnp.where(ended, obs, after)  # the last one is repeated after the end
            return (obs, state, ended | terminated), (obs, jnp.where(ended, jnp.nan, reward))

        _, (later, rewards) = jax.lax.scan(step_once, (obs, state, jnp.bool_(False)), jax.random.split(rest, LENGTH))
        return jnp.concatenate([obs[None], later]), rewards

    obs, rewards = jax.jit(jax.vmap(walk))(jax.random.split(jax.random.key(0), EPISODES))
    obs = np.asarray(obs, np.float64).reshape(-1, obs.shape[-1])
    return obs.min(axis=0), obs.max(axis=0), (float(np.nanmin(rewards)), float(np.nanmax(rewards)))


register_source("brax", lambda name, max_steps: spec_from_brax(name, max_steps=max_steps))
