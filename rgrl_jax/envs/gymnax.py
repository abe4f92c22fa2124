"""Adapter for environments on gymnax's base class.

gymnax's own ``step`` resets at every call and hides the last state, so specs are built on ``step_env`` and
``is_truncated``. gymnax is imported when a spec is made, not before: importing it makes arrays, and a run of several
processes must join them before there are any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from rgrl_jax.envs.spec import EnvSpec, Signals
from rgrl_jax.types import Array, Key, PyTree, Space

if TYPE_CHECKING:
    from gymnax.environments.environment import Environment


def spec_from_gymnax(
    env_id: str,
    *,
    observation: Space,
    action: Space,
    reward_range: tuple[float, float],
    return_range: tuple[float, float],
    goal: float | None = None,
    reference: Signals | None = None,
    max_steps: int | None = None,
    dtype: Any = None,
    env: Environment | None = None,
    **env_kwargs: Any,
) -> EnvSpec:
    """Wraps an environment that ``gymnax.make`` knows, or any other on gymnax's base class.

    Args:
      env_id: its gymnax name; with ``env``, any name.
      observation: observation space with the ranges the encoders should use.
      action: action space.
      reward_range: rewards that encode to -1 and +1.
      return_range: worst and best return.
      goal: return that counts as solved.
      reference: signals of the authors' code, if they differ.
      max_steps: step limit; None keeps gymnax's.
      dtype: type that observations are given and stored in, for instance bool for frames of 0 and 1, which
        gymnax hands out as floats; None keeps gymnax's.
      env: the environment, used with its ``default_params``; None asks ``gymnax.make`` for ``env_id``.
      **env_kwargs: passed to ``gymnax.make``.

    Returns:
      Its `EnvSpec`.

    Raises:
      ValueError: both ``env`` and keywords for ``gymnax.make``, or a name that it does not know.
    """
    import gymnax

    if env is None:
        env, params = gymnax.make(env_id, **env_kwargs)
    elif env_kwargs:
        raise ValueError(f"env is made already, so {', '.join(env_kwargs)} cannot be passed on to gymnax.make")
    else:
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
        truncated = jnp.asarray(env.is_truncated(state, params)) & ~jnp.asarray(terminated)
        return cast(obs), state, jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), truncated

    return EnvSpec(
        env_id=env_id,
        reset=reset,
        step=step,
        observation=observation,
        action=action,
        reward_range=reward_range,
        max_steps=limit,
        return_range=return_range,
        goal=goal,
        reference=reference,
        render=lambda: (env, params),
    )
