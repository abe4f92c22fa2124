"""Adapter for environments on gymnax's base class.

gymnax's own ``step`` resets at every call and hides the last state, so specs are built on ``step_env`` and
``is_truncated``. gymnax is imported when a spec is made: importing it makes arrays, and several processes must have
joined before there are any.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rgrl_jax.envs.adapters import fill_return_range
from rgrl_jax.envs.spec import EnvSpec, Signals
from rgrl_jax.types import Array, Key, PyTree, Space

Transition = tuple[Array, Any, Array, Array, dict[str, Any]]
"""Return value of gymnax's ``step_env``: observation, state, reward, terminated, information."""
RENDERABLE = (
    "Acrobot-v1",
    "CartPole-v1",
    "Catch-bsuite",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
)
"""Names, in gymnax, of the environments that ``gymnax.visualize`` draws."""


def spec_from_gymnax(
    env_id: str,
    *,
    observation: Space,
    action: Space,
    reward_range: tuple[float, float],
    return_range: tuple[float | None, float | None] | None = None,
    goal: float | None = None,
    reference: Signals | None = None,
    max_steps: int | None = None,
    dtype: Any = None,
    env: Any = None,
    **env_kwargs: Any,
) -> EnvSpec:
    """Makes the spec of an environment that ``gymnax.make`` knows, or of any other on gymnax's base class.

    Arguments that are not explained here are those of `EnvSpec`.

    Args:
      env_id: its gymnax name; with ``env``, any name.
      return_range: worst and best return; an end that is None is that of the reward range times the step limit.
      max_steps: step limit; None keeps gymnax's.
      dtype: type of observations, for instance bool for frames of 0 and 1, floats in gymnax; None keeps gymnax's.
      env: gymnax ``Environment``, used with its ``default_params``; None makes it by ``gymnax.make(env_id)``.
      **env_kwargs: passed to ``gymnax.make``.

    Raises:
      ValueError: both ``env`` and keywords for ``gymnax.make`` are given, or gymnax does not know the name.
    """
    import gymnax

    if env is not None and env_kwargs:
        raise ValueError(f"env is made already, so {', '.join(env_kwargs)} cannot be passed on to gymnax.make")
    env = env or gymnax.make(env_id, **env_kwargs)[0]
    params = env.default_params
    if max_steps is not None:
        params = params.replace(max_steps_in_episode=max_steps)
    limit = int(params.max_steps_in_episode)  # a float in some environments

    def cast(obs: Array) -> Array:
        return obs if dtype is None else obs.astype(dtype)

    def reset(key: Key) -> tuple[Array, PyTree]:
        obs, state = env.reset_env(key, params)
        return cast(obs), state

    def step(key: Key, state: PyTree, action: Array) -> tuple[Array, PyTree, Array, Array, Array]:
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        # gymnax reports the limit even where the episode ends by itself, and rewards of other types.
        truncated = jnp.asarray(env.is_truncated(state, params)) & ~jnp.asarray(terminated)
        return cast(obs), state, jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), truncated

    returns = fill_return_range(return_range, reward_range, limit)
    render = (lambda: (env, params)) if env.name in RENDERABLE else None
    return EnvSpec(env_id, reset, step, observation, action, reward_range, limit, returns, goal, reference, render)
