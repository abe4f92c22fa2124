"""Any environment of Brax, as ``brax:NAME``, compiled. Brax is imported when the first one is asked for.

Bodies and rules are Brax's own and differ from Gymnasium's of the same name, so returns cannot be compared. Brax
itself is no longer developed; an environment of it that the installed JAX no longer runs is refused.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.envs.gymnasium import reward_range_of, widened
from rgrl_jax.envs.registry import register_source
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Key, PyTree, Space

SOURCE = "brax"
LIMIT = 1000
"""Steps of an episode, as in Brax's own training."""
EPISODES, LENGTH = 10, 100
"""How many episodes of random actions are measured, and how long they last."""


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
    """Wraps an environment that ``brax.envs.get_environment`` knows; ``brax:NAME`` is this with nothing but the name.

    Brax says nothing of ranges. Those that are not given are measured over 10 episodes of 100 random actions, by a
    program that must be compiled for it, and widened as those of `spec_from_gymnasium` are.

    Args:
      name: its name in Brax.
      observation: observation space, with the ranges the encoders should use.
      reward_range: rewards that encode to -1 and +1; planning aims at the upper end.
      return_range: worst and best return; by default the reward range times the step limit.
      goal: return that counts as solved.
      max_steps: step limit; None for 1,000.
      **env_kwargs: passed on, for instance ``backend``.

    Returns:
      Its `EnvSpec`; actions lie in -1..1.

    Raises:
      ValueError: no such environment, Brax is not installed, or the installed JAX does not run it.
    """
    limit = max_steps or LIMIT
    env = _environment(name, env_kwargs)

    def reset(key: Key) -> tuple[Array, PyTree]:
        state = env.reset(key)
        return state.obs, (state, jnp.int32(0))

    def step(key: Key, state: PyTree, action: Array) -> tuple[Array, PyTree, Array, Array, Array]:
        now, time = env.step(state[0], action), state[1] + 1
        terminated = now.done > 0.5
        return now.obs, (now, time), now.reward, terminated, (time >= limit) & ~terminated

    actions = Box(-1.0, 1.0, (_checked(name, env, reset, step),))
    if observation is None or reward_range is None:
        low, high, rewards = _measure(reset, step, actions.shape)
        reward_range = reward_range or reward_range_of(*rewards)
        below, above = widened(low, high)
        observation = observation or Box(tuple(below), tuple(above), low.shape)
    lowest, highest = (limit * bound for bound in (min(reward_range[0], 0.0), max(reward_range[1], 0.0)))
    return EnvSpec(
        env_id=f"{SOURCE}:{name}",
        reset=reset,
        step=step,
        observation=observation,
        action=actions,
        reward_range=reward_range,
        max_steps=limit,
        return_range=return_range or (lowest, highest),
        goal=goal,
    )


def _environment(name: str, env_kwargs: dict[str, Any]) -> Any:
    """The environment itself, of which Brax says once that it is no longer developed."""
    try:
        with contextlib.redirect_stdout(None):  # MJX prints which of its other backends are missing
            envs = importlib.import_module("brax.envs")
    except ImportError as error:
        raise ValueError(
            f"environments of Brax need the package brax, pip install 'rgrl_jax[envs]': {error}"
        ) from error
    if name not in envs._envs:
        near = difflib.get_close_matches(name, envs._envs, n=3, cutoff=0.3) or list(envs._envs)
        names = ", ".join(f"{SOURCE}:{other}" for other in near)
        raise ValueError(f"env_id = '{SOURCE}:{name}' is unknown to Brax; nearest: {names}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return envs.get_environment(name, **env_kwargs)


def _checked(name: str, env: Any, reset: Any, step: Any) -> int:
    """Length of an action of an environment that runs; traces a step without compiling it."""
    try:
        size = int(env.action_size)
        action = jax.ShapeDtypeStruct((size,), jnp.float32)
        obs = jax.eval_shape(lambda k, a: step(k, reset(k)[1], a), jax.random.key(0), action)[0]
    except (TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"env_id = '{SOURCE}:{name}' does not run: Brax and JAX {jax.__version__} do not fit: {reason}"
        ) from error
    if not isinstance(obs, jax.ShapeDtypeStruct):
        raise ValueError(
            f"env_id = '{SOURCE}:{name}' has observations of several parts; those of one array are supported"
        )
    return size


def _measure(reset: Any, step: Any, shape: tuple[int, ...]) -> tuple[Any, Any, tuple[float, float]]:
    """Least and greatest observation ``[O]`` and reward of random actions, until their episodes end."""

    def walk(key: Key) -> tuple[Array, Array]:
        first, rest = jax.random.split(key)
        obs, state = reset(first)

        def once(carry: Any, key: Key) -> Any:
            obs, state, ended = carry
            action = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
            after, state, reward, terminated, _ = step(key, state, action)
            seen = jnp.where(ended, obs, after)  # after the end, what was seen last
            return (seen, state, ended | terminated), (seen, jnp.where(ended, jnp.nan, reward))

        _, (later, rewards) = jax.lax.scan(once, (obs, state, jnp.bool_(False)), jax.random.split(rest, LENGTH))
        return jnp.concatenate([obs[None], later]), rewards

    seen, rewards = jax.jit(jax.vmap(walk))(jax.random.split(jax.random.key(0), EPISODES))
    seen = np.asarray(seen, np.float64).reshape(-1, seen.shape[-1])
    return seen.min(axis=0), seen.max(axis=0), (float(np.nanmin(rewards)), float(np.nanmax(rewards)))


register_source(SOURCE, lambda name, max_steps: spec_from_brax(name, max_steps=max_steps))
