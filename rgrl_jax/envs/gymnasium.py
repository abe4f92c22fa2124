"""Adapter for environments of Gymnasium, ``gymnasium:ID``, which are stepped on the host.

Gymnasium is imported when the first such environment is made. Ranges that its spaces leave open, of observations
without finite bounds and of rewards, are known for a few environments and measured for the others.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.envs import registry
from rgrl_jax.envs.adapters import (
    check_name,
    default_return_range,
    import_package,
    widen_bounds,
    widen_rewards,
)
from rgrl_jax.envs.spec import EnvSpec, host_spec
from rgrl_jax.types import Box, Discrete, Key, Space

SOURCE = "gymnasium"
MEASURED_STEPS, MEASURED_LENGTH = 1000, 200
"""Random steps that ranges are measured over, and the longest episode of them."""
UNBOUNDED = 1e6
"""Bounds from here on count as infinite."""


class _Ranges(NamedTuple):
    """Ranges of an environment that Gymnasium does not tell."""

    observation: Space
    reward: tuple[float, float]
    returns: tuple[float, float]


# Bounds that random actions and Gymnasium's own heuristic leave rarely or never. Shaping rewards before the end are
# far smaller than what the end pays, -100 or 100; but planning aims at the upper end of the range and shuns what lies
# above it as much as what lies below, so that the range must hold a landing.
_LOW, _HIGH = (-1.0, -0.5, -2.0, -2.0, -3.0, -5.0, 0.0, 0.0), (1.0, 1.75, 2.0, 2.0, 3.0, 5.0, 1.0, 1.0)
_LANDER = _Ranges(Box(_LOW, _HIGH, (8,)), (-100.0, 100.0), (-500.0, 300.0))
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
    reaches. Rewards that random actions never meet, at the end of a maze for instance, must be given here.

    Args:
      env_id: its name in Gymnasium, ``module:ID`` if a module must be imported for it.
      observation: observation space, with the ranges that the encoders should use.
      reward_range: rewards that encode to -1 and +1; planning aims at the upper end.
      return_range: worst and best return; by default the reward range times the step limit.
      goal: return that counts as solved; by default Gymnasium's ``reward_threshold``.
      max_steps: step limit; None for Gymnasium's ``max_episode_steps``.
      **env_kwargs: passed to ``gymnasium.make``.

    Returns:
      The spec, stepped on the host.

    Raises:
      ValueError: there is no such environment, or a package that it needs is not installed; it has no step limit; its
        spaces are neither `Box` nor `Discrete`, or its actions have no finite bounds.
    """
    entry = _entry(env_id)
    if goal is None and entry.reward_threshold is not None:
        goal = float(entry.reward_threshold)
    limit = max_steps or entry.max_episode_steps
    if limit is None:
        raise ValueError(f"max_steps = None: {SOURCE}:{env_id} has no step limit of its own, so it must be given")
    env = _make(env_id, limit, env_kwargs)
    spaces = env.observation_space, env.action_space
    env.close()
    _check_spaces(env_id, *spaces)
    ranges = _ranges(env_id, limit, spaces[0], env_kwargs, (observation, reward_range, return_range))
    dtype = _storage_dtype(spaces[0])

    def make(renderable: bool) -> _GymnasiumEnv:
        return _GymnasiumEnv((_make_renderable if renderable else _make)(env_id, limit, env_kwargs), dtype)

    return host_spec(
        f"{SOURCE}:{env_id}",
        make,
        observation=ranges.observation,
        action=_space(spaces[1]),
        reward_range=ranges.reward,
        return_range=ranges.returns,
        max_steps=limit,
        goal=goal,
        dtype=dtype,
    )


class _GymnasiumEnv:
    """`HostEnv` of an environment of Gymnasium."""

    def __init__(self, env: Any, dtype: Any):
        self.env, self.dtype = env, dtype
        self.offset = int(getattr(env.observation_space, "start", 0))

    def reset(self, key: Key) -> Any:
        """Seeds the environment with 31 bits of ``key``, since some take no more."""
        return self._to_obs(self.env.reset(seed=int(jax.random.bits(key, dtype=jnp.uint32)) >> 1)[0])

    def step(self, action: Any) -> tuple[Any, float, bool, bool]:
        """Steps once; an end by the limit and by itself counts as one by itself."""
        obs, reward, terminated, truncated, _ = self.env.step(self._to_env_action(action))
        return self._to_obs(obs), float(reward), bool(terminated), bool(truncated and not terminated)

    def render(self) -> Any:
        """Returns the picture of its ``rgb_array`` mode."""
        return self.env.render()

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def _to_obs(self, obs: Any) -> Any:
        return np.asarray(obs - self.offset if self.offset else obs, self.dtype)

    def _to_env_action(self, action: Any) -> Any:
        space = self.env.action_space
        if hasattr(space, "n"):
            return int(action) + int(space.start)
        return np.clip(action, space.low, space.high).astype(space.dtype)  # rounding may leave the bounds


def _gymnasium() -> Any:
    return import_package("gymnasium", "Gymnasium", "package gymnasium")


def _entry(env_id: str) -> Any:
    """Looks an environment up in Gymnasium's registry."""
    registry = _gymnasium().registry
    module, _, name = env_id.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(f"env_id = '{SOURCE}:{env_id}': cannot import {module!r}: {error}") from error
    check_name(SOURCE, name, registry)
    return registry[name]


def _make(env_id: str, limit: int, env_kwargs: dict[str, Any]) -> Any:
    gym = _gymnasium()
    try:
        return gym.make(env_id, max_episode_steps=limit, disable_env_checker=True, **env_kwargs)
    except (gym.error.Error, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"env_id = '{SOURCE}:{env_id}' cannot be made: {reason}") from error


def _make_renderable(env_id: str, limit: int, env_kwargs: dict[str, Any]) -> Any:
    plain = _make(env_id, limit, env_kwargs)
    modes = plain.metadata.get("render_modes") or []
    plain.close()
    if "rgb_array" not in modes:
        has = f"its render modes are {', '.join(modes)}" if modes else "it has no render modes"
        raise ValueError(f"env_id = '{SOURCE}:{env_id}' cannot be drawn, which needs rgb_array: {has}")
    return _make(env_id, limit, env_kwargs | {"render_mode": "rgb_array"})


def _check_spaces(env_id: str, observation: Any, action: Any) -> None:
    """Refuses spaces that `rgrl_jax.types` has no counterpart of."""
    spaces = _gymnasium().spaces
    for what, space in (("observations", observation), ("actions", action)):
        if not isinstance(space, spaces.Box | spaces.Discrete):
            raise ValueError(
                f"env_id = '{SOURCE}:{env_id}' has {what} of the kind {type(space).__name__}; "
                f"those of the kinds Box and Discrete are supported"
            )
    if isinstance(action, spaces.Box):
        if not np.issubdtype(action.dtype, np.floating):
            raise ValueError(
                f"env_id = '{SOURCE}:{env_id}' has actions of type {action.dtype} in a Box; floats are supported"
            )
        if not (_bounded(action.low).all() and _bounded(action.high).all()):
            raise ValueError(f"env_id = '{SOURCE}:{env_id}' has actions without finite bounds; they are needed")


def _bounded(bound: Any) -> Any:
    return np.abs(bound.astype(np.float64)) < UNBOUNDED


def _storage_dtype(space: Any) -> Any:
    """Returns the type in which observations of a space are stored."""
    if np.issubdtype(space.dtype, np.floating):
        return np.float32
    return space.dtype if space.dtype in (np.uint8, np.bool_) else np.int32


def _space(space: Any, low: Any = None, high: Any = None) -> Space:
    """Returns the counterpart of a space, with other bounds ``[prod(shape)]`` if they are given."""
    if hasattr(space, "n"):
        return Discrete(int(space.n))
    bounds = (space.low, space.high) if low is None else (low, high)
    low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in bounds)
    high = np.where(high > low, high, low + 1.0)  # an entry that never changes needs a scale all the same
    return Box(_to_bound(low), _to_bound(high), tuple(space.shape))


def _to_bound(bound: Any) -> float | tuple[float, ...]:
    """Turns bounds ``[n]`` into those of a `Box`: one number if they are all the same."""
    return float(bound[0]) if bound.size and (bound == bound[0]).all() else tuple(float(x) for x in bound)


def _ranges(env_id: str, limit: int, space: Any, env_kwargs: dict[str, Any], given: Any) -> _Ranges:
    """Returns the ranges that are given, else known, else Gymnasium's or measured."""
    known: Any = _KNOWN.get(env_id, (None, None, None))
    if env_id in _BUILT_IN:
        spec = registry.make(env_id, limit)
        known = (spec.observation, spec.reward_range, spec.return_range)
    observation, reward, returns = (a if a is not None else b for a, b in zip(given, known, strict=True))
    _check_fit(env_id, space, observation)
    bounded = observation or hasattr(space, "n") or (_bounded(space.low) & _bounded(space.high)).all()
    if reward is None or not bounded:
        low, high, rewards = _measure(env_id, limit, env_kwargs)
        reward = reward or widen_rewards(*rewards)
        if not bounded:
            observation = _space(space, *_widen_open_bounds(space, low, high))
    return _Ranges(observation or _space(space), reward, returns or default_return_range(reward, limit))


def _check_fit(env_id: str, space: Any, given: Space | None) -> None:
    """Refuses a given observation space that is not of the environment's kind and shape."""
    if given is None:
        return
    real = _space(space)
    same_kind = real == given if isinstance(given, Discrete) else isinstance(real, Box) and real.shape == given.shape
    if not same_kind:
        raise ValueError(f"observation = {given} does not fit {SOURCE}:{env_id}, whose observations are {space}")


def _measure(env_id: str, limit: int, env_kwargs: dict[str, Any]) -> tuple[Any, Any, tuple[float, float]]:
    """Measures the least and greatest observation ``[prod(shape)]`` and reward of random actions from fixed seeds."""
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
    low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in (low, high))
    return low, high, (min(rewards), max(rewards))


def _widen_open_bounds(space: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Returns the bounds of a space ``[prod(shape)]`` where they are finite, else measured ones by `widen_bounds`."""
    below, above = widen_bounds(low, high)
    has_low, has_high = _bounded(space.low).reshape(-1), _bounded(space.high).reshape(-1)
    return np.where(has_low, space.low.reshape(-1), below), np.where(has_high, space.high.reshape(-1), above)


registry.register_source(SOURCE, lambda name, max_steps: spec_from_gymnasium(name, max_steps=max_steps))
