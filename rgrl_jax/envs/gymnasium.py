"""Adapter for environments of Gymnasium, ``gymnasium:ID``, which are stepped on the host.

Gymnasium is imported when the first such environment is made. Ranges that its spaces leave open, of observations
without finite bounds and of rewards, are known for a few environments and measured for the others.
"""

from __future__ import annotations

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.envs import registry
from rgrl_jax.envs.adapters import check_name, fill_return_range, import_package, widen_bounds, widen_rewards
from rgrl_jax.envs.spec import EnvSpec, host_spec
from rgrl_jax.types import Box, Discrete, Key, Space

SOURCE = "gymnasium"
MEASURED_STEPS, MEASURED_LENGTH = 1000, 200
"""Random steps that ranges are measured over, and the longest episode of them."""
UNBOUNDED = 1e6
"""Bounds from here on count as infinite."""

# Bounds that random actions and Gymnasium's own heuristic leave rarely or never. Shaping rewards before the end are
# far smaller than what the end pays, -100 or 100; but planning aims at the upper end of the range and shuns what lies
# above it as much as what lies below, so that the range must hold a landing.
_LOW, _HIGH = (-1.0, -0.5, -2.0, -2.0, -3.0, -5.0, 0.0, 0.0), (1.0, 1.75, 2.0, 2.0, 3.0, 5.0, 1.0, 1.0)
_Ranges = tuple[Space, tuple[float, float], tuple[float, float]]
_LANDER: _Ranges = (Box(_LOW, _HIGH, (8,)), (-100.0, 100.0), (-500.0, 300.0))
_KNOWN = {"LunarLander-v3": _LANDER, "LunarLanderContinuous-v3": _LANDER}
_BUILT_IN = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")


def spec_from_gymnasium(
    env_id: str,
    *,
    observation: Space | None = None,
    reward_range: tuple[float, float] | None = None,
    return_range: tuple[float, float] | None = None,
    goal: float | None = None,
    max_steps: int | None = None,
    **env_kwargs: Any,
) -> EnvSpec:
    """Makes the spec of an environment that ``gymnasium.make`` knows; ``gymnasium:ID`` does without keywords.

    Ranges that are not given are those of this library for the environments that it knows. For others, finite
    bounds of observations are Gymnasium's; infinite ones, and the range of rewards, are measured over 1,000 steps of
    random actions from fixed seeds, in episodes of at most 200. Measured bounds of observations are put twice as far
    from their middle, and the upper end of rewards one width further up, or planning would aim no higher than chance
    reaches. Rewards that random actions never meet, at the end of a maze for instance, must be given here. Arguments
    that are not explained here are those of `EnvSpec`.

    Args:
      env_id: its name in Gymnasium, ``module:ID`` if a module must be imported for it.
      return_range: worst and best return; by default the reward range times the step limit.
      goal: mean return that counts as solved; by default Gymnasium's ``reward_threshold``.
      max_steps: step limit; None for Gymnasium's ``max_episode_steps``.
      **env_kwargs: passed to ``gymnasium.make``.

    Raises:
      ValueError: there is no such environment, or a package that it needs is not installed; it has no step limit; its
        spaces are neither `Box` nor `Discrete`, or its actions have no finite bounds.
    """
    env = _make(env_id, max_steps, env_kwargs)
    space, actions, modes = env.observation_space, env.action_space, env.metadata.get("render_modes") or []
    env.close()
    entry = _gymnasium().registry[env_id.rpartition(":")[2]]
    if goal is None and entry.reward_threshold is not None:
        goal = float(entry.reward_threshold)
    limit = max_steps or entry.max_episode_steps
    if limit is None:
        raise ValueError(f"max_steps = None: {SOURCE}:{env_id} has no step limit of its own, so it must be given")
    _check_spaces(env_id, space, actions)
    given = (observation, reward_range, return_range)
    observation, reward_range, return_range = _ranges(env_id, limit, space, env_kwargs, given)
    dtype: Any = np.float32 if np.issubdtype(space.dtype, np.floating) else np.int32
    if space.dtype in (np.uint8, np.bool_):
        dtype = space.dtype

    def make(renderable: bool) -> _GymnasiumEnv:
        if renderable and "rgb_array" not in modes:
            has = f"its render modes are {', '.join(modes)}" if modes else "it has no render modes"
            raise ValueError(f"env_id = '{SOURCE}:{env_id}' cannot be drawn, which needs rgb_array: {has}")
        mode = {"render_mode": "rgb_array"} if renderable else {}
        return _GymnasiumEnv(_make(env_id, limit, env_kwargs | mode), dtype)

    return host_spec(
        f"{SOURCE}:{env_id}",
        make,
        observation=observation,
        action=_space(actions),
        reward_range=reward_range,
        return_range=return_range,
        max_steps=limit,
        goal=goal,
        dtype=dtype,
    )


class _GymnasiumEnv:
    """`HostEnv` of an environment of Gymnasium."""

    def __init__(self, env: Any, dtype: Any):
        self.env, self.dtype = env, dtype
        self.render, self.close = env.render, env.close
        self.offset = int(getattr(env.observation_space, "start", 0))

    def reset(self, key: Key) -> Any:
        """Seeds the environment with 31 bits of ``key``, since some take no more."""
        return self._to_obs(self.env.reset(seed=int(jax.random.bits(key, dtype=jnp.uint32)) >> 1)[0])

    def step(self, action: Any) -> tuple[Any, float, bool, bool]:
        """Steps once; an end by the limit and by itself counts as one by itself."""
        space = self.env.action_space
        if hasattr(space, "n"):
            action = int(action) + int(space.start)
        else:
            action = np.clip(action, space.low, space.high).astype(space.dtype)  # rounding may leave the bounds
        obs, reward, terminated, truncated, _ = self.env.step(action)
        return self._to_obs(obs), float(reward), bool(terminated), bool(truncated and not terminated)

    def _to_obs(self, obs: Any) -> Any:
        return np.asarray(obs - self.offset if self.offset else obs, self.dtype)


def _gymnasium() -> Any:
    return import_package("gymnasium", "Gymnasium", "package gymnasium")


def _make(env_id: str, limit: int | None, env_kwargs: dict[str, Any]) -> Any:
    """Makes an environment of Gymnasium; a limit of None is its own."""
    gym, (module, _, name) = _gymnasium(), env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        check_name(f"{SOURCE}:", name, gym.registry)  # Gymnasium itself would take some other names as well
        return gym.make(env_id, max_episode_steps=limit, disable_env_checker=True, **env_kwargs)
    except (gym.error.Error, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"env_id = '{SOURCE}:{env_id}' cannot be made: {reason}") from error


def _check_spaces(env_id: str, observation: Any, action: Any) -> None:
    """Refuses spaces that `rgrl_jax.types` has no counterpart of."""
    spaces, start = _gymnasium().spaces, f"env_id = '{SOURCE}:{env_id}' has"
    for what, space in (("observations", observation), ("actions", action)):
        if not isinstance(space, spaces.Box | spaces.Discrete):
            raise ValueError(f"{start} {what} of the kind {type(space).__name__}; Box and Discrete are supported")
    if isinstance(action, spaces.Box):
        if not np.issubdtype(action.dtype, np.floating):
            raise ValueError(f"{start} actions of type {action.dtype} in a Box; floats are supported")
        if np.isnan(_bounds(action)).any():
            raise ValueError(f"{start} actions without finite bounds; they are needed")


def _bounds(space: Any) -> Any:
    """Returns lower and upper bounds ``[2, prod(shape)]`` float64, NaN for infinite ones."""
    bounds = np.array([space.low, space.high], np.float64).reshape(2, -1)
    return np.where(np.abs(bounds) < UNBOUNDED, bounds, np.nan)


def _space(space: Any, measured: Any = None) -> Space:
    """Returns the counterpart of a space; measured bounds ``[2, prod(shape)]``, widened, replace infinite ones."""
    if hasattr(space, "n"):
        return Discrete(int(space.n))
    low, high = bounds = _bounds(space)
    if measured is not None:
        low, high = np.where(np.isnan(bounds), widen_bounds(*measured), bounds)
    high = np.where(high > low, high, low + 1.0)  # an entry that never changes needs a scale all the same
    return Box(_to_bound(low), _to_bound(high), tuple(space.shape))


def _to_bound(bound: Any) -> float | tuple[float, ...]:
    """Turns bounds ``[n]`` into those of a `Box`: one number if they are all the same."""
    return float(bound[0]) if bound.size and (bound == bound[0]).all() else tuple(bound.tolist())


def _ranges(env_id: str, limit: int, space: Any, env_kwargs: dict[str, Any], given: Any) -> _Ranges:
    """Returns ranges of observations, rewards and returns: those given, else known, else Gymnasium's or measured."""
    known: Any = _KNOWN.get(env_id, (None, None, None))
    if env_id in _BUILT_IN:
        spec = registry.make(env_id, limit)
        known = (spec.observation, spec.reward_range, spec.return_range)
    observation, reward, returns = (a if a is not None else b for a, b in zip(given, known, strict=True))
    plain = _space(space)
    if observation and getattr(observation, "shape", observation) != getattr(plain, "shape", plain):
        raise ValueError(f"observation = {observation} does not fit {SOURCE}:{env_id}, which observes {space}")
    has_all = observation or isinstance(plain, Discrete) or not np.isnan(_bounds(space)).any()
    if reward is None or not has_all:
        measured, rewards = _measure(env_id, limit, env_kwargs)
        reward = reward or widen_rewards(*rewards)
        plain = plain if has_all else _space(space, measured)
    return observation or plain, reward, fill_return_range(returns, reward, limit)


def _measure(env_id: str, limit: int, env_kwargs: dict[str, Any]) -> tuple[Any, tuple[float, float]]:
    """Measures bounds of observations ``[2, prod(shape)]`` and of rewards under random actions from fixed seeds."""
    env = _make(env_id, min(limit, MEASURED_LENGTH), env_kwargs)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    low, high, rewards, episodes = obs, obs, [], 1
    for _ in range(MEASURED_STEPS):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        rewards.append(float(reward))
        low, high = np.minimum(low, obs), np.maximum(high, obs)
        if terminated or truncated:
            obs, _ = env.reset(seed=episodes)
            low, high, episodes = np.minimum(low, obs), np.maximum(high, obs), episodes + 1
    env.close()
    return np.array([low, high], np.float64).reshape(2, -1), (min(rewards), max(rewards))


registry.register_source(SOURCE, lambda name, max_steps: spec_from_gymnasium(name, max_steps=max_steps))
