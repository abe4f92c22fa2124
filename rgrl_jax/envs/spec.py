"""Normal form of an environment: pure functions and plain data."""

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
    """Observations and rewards that a model learns from, where they differ from the environment's.

    Attributes:
      observation: space whose bounds scale the encoders.
      reward: ``(reward, next_obs, terminated) -> reward`` to learn; it never enters a reported return.
      reward_range: values of that reward that encode to -1 and to +1.
    """

    observation: Space
    reward: RewardFn
    reward_range: tuple[float, float]


class HostEnv(Protocol):
    """Environment that runs in Python on the host, keeps its own state and takes and returns NumPy values.

    A new one is made for every episode, so that an episode depends on nothing but the key of its reset.
    """

    def reset(self, key: Key) -> Any:
        """Starts an episode, which ``key`` decides, and returns the first observation."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool]:
        """Returns observation, reward, terminated and truncated after an action; not called after the end."""

    def render(self) -> Any:
        """Returns a picture ``[height, width, 3]`` uint8; called only if the environment was made for rendering."""

    def close(self) -> None:
        """Releases its resources."""


class Host(NamedTuple):
    """Maker ``renderable -> HostEnv`` and NumPy type of its observations."""

    make: Callable[[bool], HostEnv]
    dtype: Any


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """Environment in the normal form of this library. Everything is unbatched.

    Attributes:
      env_id: name of the environment.
      reset: ``key -> (obs, env_state)``.
      step: ``(key, env_state, action) -> (obs, env_state, reward, terminated, truncated)``; it never resets by
        itself, and ``truncated`` marks an end by the step limit only.
      observation: space of ``obs``; the bounds of a `Box` scale the encoders.
      action: space of ``action``.
      reward_range: rewards that encode to -1 and +1; planning aims at the upper end.
      max_steps: steps after which an episode is cut off.
      return_range: worst and best return, for plots.
      goal: mean return at which the task counts as solved, or None.
      reference: signals of the authors' code, where it reads this environment differently.
      render: returns ``(env, params)`` that ``gymnax.visualize`` can draw; None if there is nothing to draw.
      host: maker of an environment on the host, see `host_spec`; None if the environment is compiled.
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
    """Makes the spec of an environment on the host, such as a simulator, a game or a robot.

    `rgrl_jax.run`, `rgrl_jax.evaluate`, `rgrl_jax.play` and the command line step it on the host, while planning and
    learning stay compiled. In a compiled program its ``reset`` and ``step`` raise a ValueError. Arguments that are
    not explained here are those of `EnvSpec`.

    Args:
      make: ``renderable -> HostEnv``, called for every episode; ``renderable`` asks for one that can ``render``.
      max_steps: steps after which an episode is cut off, whether the environment does so itself or not.
      dtype: type that observations are stored in.
    """

    def refuse(*_: Any) -> NoReturn:
        raise ValueError(
            f"{env_id} lives on the host, where no compiled program reaches it; use rgrl.run instead of rgrl.train, "
            f"and rgrl.evaluate or rgrl.play outside of jit and vmap"
        )

    host = Host(make, dtype)
    return EnvSpec(
        env_id, refuse, refuse, observation, action, reward_range, max_steps, return_range, goal, host=host
    )


def observation_struct(spec: EnvSpec, key: Key | None = None) -> jax.ShapeDtypeStruct:
    """Returns shape ``[...]`` and type of an observation; ``key`` is not needed for an environment on the host."""
    if spec.host is None:
        return jax.eval_shape(spec.reset, key)[0]
    shape = spec.observation.shape if isinstance(spec.observation, Box) else ()
    return jax.ShapeDtypeStruct(shape, spec.host.dtype)
