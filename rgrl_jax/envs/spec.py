"""What the library needs to know of an environment, as pure functions and plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Protocol

import jax

from rgrl_jax.types import Array, Box, Key, PyTree, Space

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


class HostEnv(Protocol):
    """One environment that lives on the host: it keeps its own state, and speaks NumPy.

    A fresh one is made for every episode, so that nothing but the key of its reset decides what happens in it.
    """

    def reset(self, key: Key) -> Any:
        """Begins an episode that ``key`` decides; the first observation."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool]:
        """Observation, reward, terminated, truncated after an action; not called after the end."""

    def render(self) -> Any:
        """A picture of the present, ``[height, width, 3]`` uint8; only of one that was made to be drawn."""

    def close(self) -> None:
        """Lets go of what it holds."""


class Host(NamedTuple):
    """Where an environment comes from that no compiled program can hold.

    Attributes:
      make: ``drawn -> HostEnv``; one that can be drawn if ``drawn``.
      dtype: NumPy type of its observations.
    """

    make: Callable[[bool], HostEnv]
    dtype: Any


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
      host: where it comes from, if it lives on the host: ``reset`` and ``step`` then only say so. See `host_spec`.
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
    host: Host | None = None


def host_spec(
    env_id: str,
    make: Callable[[bool], HostEnv],
    *,
    observation: Space,
    action: Space,
    reward_range: tuple[float, float],
    return_range: tuple[float, float],
    max_steps: int,
    goal: float | None = None,
    dtype: Any = "float32",
) -> EnvSpec:
    """Describes an environment that lives on the host: a simulator, a game, a robot.

    `rgrl_jax.run`, `rgrl_jax.evaluate`, `rgrl_jax.play` and the command line play it there, one step after the
    other, while planning and learning stay compiled.

    Args:
      env_id: its name.
      make: ``drawn -> HostEnv``, called for every episode; ``drawn`` asks for one that can ``render``.
      observation: observation space, with the ranges the encoders should use.
      action: action space.
      reward_range: rewards that encode to -1 and +1; planning aims at the upper end.
      return_range: worst and best return.
      max_steps: steps after which an episode is cut off, whether it does so itself or not.
      goal: return that counts as solved.
      dtype: type that observations are stored in.

    Returns:
      Its `EnvSpec`; in a compiled program its ``reset`` and ``step`` raise a ValueError.
    """

    def refuse(*_: Any) -> NoReturn:
        raise ValueError(
            f"{env_id} lives on the host, where no compiled program reaches it; use rgrl.run instead of rgrl.train, "
            f"and rgrl.evaluate or rgrl.play outside of jit and vmap"
        )

    return EnvSpec(
        env_id=env_id,
        reset=refuse,
        step=refuse,
        observation=observation,
        action=action,
        reward_range=reward_range,
        max_steps=max_steps,
        return_range=return_range,
        goal=goal,
        host=Host(make, dtype),
    )


def observation_struct(spec: EnvSpec, key: Key | None = None) -> jax.ShapeDtypeStruct:
    """Shape and type of an observation; ``key`` is one that a reset may be given, and is not needed on the host."""
    if spec.host is None:
        return jax.eval_shape(spec.reset, key)[0]
    shape = spec.observation.shape if isinstance(spec.observation, Box) else ()
    return jax.ShapeDtypeStruct(shape, spec.host.dtype)
