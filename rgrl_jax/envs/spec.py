"""What the library needs to know of an environment, as pure functions and plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax.types import Array, Key, PyTree, Space

ResetFn = Callable[[Key], tuple[Array, PyTree]]
StepFn = Callable[[Key, PyTree, Array], tuple[Array, PyTree, Array, Array, Array]]
RewardFn = Callable[[Array, Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Signals:
    """What a model reads and predicts of an environment, where it differs from the native signals.

    Attributes:
      observation: space whose bounds scale the encoders.
      reward: ``(reward, next_obs, terminated) -> reward`` that the model learns instead of the native
        one; it never enters a reported return.
      reward_range: values of that reward that encode to -1 and to +1.
    """

    observation: Space
    reward: RewardFn
    reward_range: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """An environment in the one normal form of this library. Everything is unbatched.

    Attributes:
      env_id: its name.
      reset: ``key -> (obs, env_state)``.
      step: ``(key, env_state, action) -> (obs, env_state, reward, terminated, truncated)``; never resets
        by itself; ``truncated`` tells the step limit apart from a true end.
      observation: space of ``obs``; the bounds of a `Box` scale the encoders.
      action: space of ``action``.
      reward_range: rewards that encode to -1 and to +1; planning aims at the upper end.
      max_steps: steps after which an episode is cut off.
      return_range: worst and best return, for plots.
      goal: mean return at which the task counts as solved, or None.
      reference: the signals of the authors' code, where it reads this environment differently.
      render: returns ``(env, params)`` that ``gymnax.visualize`` can draw, or None.
    """

    env_id: str
    reset: ResetFn
    step: StepFn
    observation: Space
    action: Space
    reward_range: tuple[float, float]
    max_steps: int
    return_range: tuple[float, float]
    goal: float | None = None
    reference: Signals | None = None
    render: Callable[[], tuple[Any, Any]] | None = None


def repeat_actions(spec: EnvSpec, times: int) -> EnvSpec:
    """The same environment with every action held for several steps, or until the episode ends.

    Args:
      spec: the environment.
      times: steps per action; at least 1.

    Returns:
      An `EnvSpec` whose rewards are the sums over these steps, with a limit of ``ceil(max_steps / times)`` and the
      same ``return_range``. Its ``reward_range`` is ``times`` as wide.
    """

    def step(key: Key, state: PyTree, action: Array) -> tuple[Array, PyTree, Array, Array, Array]:
        def once(carry: Any, i: Array) -> tuple[Any, None]:
            obs, state, total, terminated, truncated = carry
            now = spec.step(jax.random.fold_in(key, i), state, action)
            ended = terminated | truncated
            now = (*now[:2], total + now[2], *now[3:])
            return jax.tree.map(lambda old, new: jnp.where(ended, old, new), carry, now), None

        first = spec.step(jax.random.fold_in(key, 0), state, action)
        return jax.lax.scan(once, first, jnp.arange(1, times))[0]

    low, high = spec.reward_range
    return dataclasses.replace(
        spec,
        step=step,
        max_steps=-(-spec.max_steps // times),
        reward_range=(times * low, times * high),
    )
