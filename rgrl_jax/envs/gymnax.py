"""Adapter for environments on gymnax's base class.

gymnax's own ``step`` resets at every call and hides the last state, so specs are built on ``step_env`` and
``is_truncated``. gymnax is imported when a spec is made: importing it makes arrays, and several processes must have
joined before there are any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from rgrl_jax.envs.adapters import default_return_range
from rgrl_jax.envs.spec import EnvSpec, ResetFn, Signals, StepFn
from rgrl_jax.types import Array, Key, PyTree, Space

if TYPE_CHECKING:
    from gymnax.environments.environment import Environment

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
    return_range: tuple[float, float] | None = None,
    goal: float | None = None,
    reference: Signals | None = None,
    max_steps: int | None = None,
    dtype: Any = None,
    env: Environment | None = None,
    **env_kwargs: Any,
) -> EnvSpec:
    """Makes the spec of an environment that ``gymnax.make`` knows, or of any other on gymnax's base class.

    Args:
      env_id: its gymnax name; with ``env``, any name.
      observation: observation space, with the ranges that the encoders should use.
      action: action space.
      reward_range: rewards that encode to -1 and +1; planning aims at the upper end.
      return_range: worst and best return; by default the reward range times the step limit.
      goal: return that counts as solved.
      reference: signals of the authors' code, if they differ.
      max_steps: step limit; None keeps gymnax's.
      dtype: type that observations are returned and stored in, for instance bool for frames of 0 and 1, which are
        floats in gymnax; None keeps gymnax's.
      env: the environment, used with its ``default_params``; None makes it by ``gymnax.make(env_id)``.
      **env_kwargs: passed to ``gymnax.make``.

    Returns:
      The spec, compiled wherever it is used.

    Raises:
      ValueError: both ``env`` and keywords for ``gymnax.make`` are given, or gymnax does not know the name.
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

    reset, step = _normal_form(env, params, dtype)
    return EnvSpec(
        env_id=env_id,
        reset=reset,
        step=step,
        observation=observation,
        action=action,
        reward_range=reward_range,
        max_steps=limit,
        return_range=return_range or default_return_range(reward_range, limit),
        goal=goal,
        reference=reference,
        render=(lambda: (env, params)) if env.name in RENDERABLE else None,
    )


def _normal_form(env: Any, params: Any, dtype: Any) -> tuple[ResetFn, StepFn]:
    """Makes ``reset`` and ``step`` as `EnvSpec` has them, with observations of this type."""

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

    return reset, step
