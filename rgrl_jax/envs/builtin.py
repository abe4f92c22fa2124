"""Built-in environments: gymnax's, and those of `rgrl_jax.envs.own`.

The bounds of observations are chosen here, since gymnax's are infinite where a velocity is unbounded.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from rgrl_jax.envs.gymnax import spec_from_gymnax
from rgrl_jax.envs.registry import register
from rgrl_jax.envs.spec import EnvSpec, Signals
from rgrl_jax.types import Array, Box, Discrete, Space


class BuiltIn(NamedTuple):
    """Row of the table of built-in environments, see `spec_from_gymnax`.

    Attributes:
      observation: observation space.
      action: action space.
      reward_range: rewards that encode to -1 and +1.
      return_range: worst and best return; None stands for the same end of the reward range times the step limit.
      goal: return that counts as solved.
      reference: signals of the authors' code.
      max_steps: step limit; None for gymnax's.
      dtype: type of the observations; None for gymnax's.
      make: makes the environment; None for gymnax's of this name.
    """

    observation: Space
    action: Space
    reward_range: tuple[float, float]
    return_range: tuple[float | None, float | None] = (None, None)
    goal: float | None = None
    reference: Signals | None = None
    max_steps: int | None = None
    dtype: Any = None
    make: Callable[[], Any] | None = None


def make_builtin(max_steps: int | None, env_id: str) -> EnvSpec:
    """Makes the spec of a row of `BUILT_IN`; ``max_steps`` is None for its own step limit."""
    row = BUILT_IN[env_id]
    settings = row._asdict() | {"return_range": None, "max_steps": row.max_steps if max_steps is None else max_steps}
    make = settings.pop("make")
    spec = spec_from_gymnax(env_id, env=make and make(), **settings)
    low, high = (
        usual if end is None else end for end, usual in zip(row.return_range, spec.return_range, strict=True)
    )
    return dataclasses.replace(spec, return_range=(low, high))


def _own(name: str, *arguments: Any) -> Callable[[], Any]:
    """Returns a maker of an environment of `rgrl_jax.envs.own`, which it imports, and gymnax with it."""
    return lambda: getattr(importlib.import_module("rgrl_jax.envs.own"), name)(*arguments)


def _still_lake() -> Any:
    """Makes gymnax's FrozenLake without slipping; its usual one slips, like Gymnasium's."""
    return importlib.import_module("gymnax").make("FrozenLake-misc", is_slippery=False)[0]


def _symmetric(*bounds: float) -> Box:
    return Box(tuple(-bound for bound in bounds), bounds, (len(bounds),))


def _nearness(reward: Array, obs: Array, end: Array) -> Array:
    """Rewards FrozenLake cells by their nearness to the goal: goal 1, holes and the start -1."""
    distance = jnp.hypot(3.0 - obs // 4, 3.0 - obs % 4)
    closer = 0.99 - distance / 4.24  # one bin less, for the thermometer lights one at 0
    return jnp.where(end, jnp.where(obs == 15, 1.0, -1.0), jnp.where(obs == 0, -1.0, closer))


_ACROBOT = _symmetric(1.0, 1.0, 1.0, 1.0, 4 * math.pi, 9 * math.pi)
_CAR = BuiltIn(
    observation=Box((-1.2, -0.07), (0.6, 0.07), (2,)),
    action=Box(-1.0, 1.0, ()),
    reward_range=(-0.1, 100.0),
    return_range=(None, 100.0),
    goal=90.0,
)
_LAKE = BuiltIn(
    observation=Discrete(16),
    action=Discrete(4),
    reward_range=(0.0, 1.0),
    return_range=(0.0, 1.0),
    goal=0.7,  # the best play reaches 0.74 within 100 steps, and 1 without slipping
    reference=Signals(Discrete(16), _nearness, (0.0, 1.0)),
)
_BLACKJACK = BuiltIn(
    # No goal, here and for the multiplexers: a lucky streak would pass for a solution.
    observation=Box((4.0, 1.0, 0.0), (31.0, 10.0, 1.0), (3,)),
    action=Discrete(2),
    reward_range=(-1.0, 1.0),
    return_range=(-1.0, 1.0),
    make=_own("Blackjack"),
)
_DOORKEY = BuiltIn(
    observation=Box(0.0, 1.0, (7, 7, 11)),
    action=Discrete(7),
    reward_range=(0.0, 1.0),
    return_range=(0.0, 1.0),
    goal=0.95,  # the best play reaches 0.965
    make=_own("DoorKey", 5),
)
BUILT_IN = {
    "CartPole-v1": BuiltIn(
        observation=_symmetric(4.8, 3.75, 0.418, 3.75),  # the reference's; the velocities are unbounded
        action=Discrete(2),
        reward_range=(0.0, 1.0),
        goal=475.0,
    ),
    "Acrobot-v1": BuiltIn(
        observation=_ACROBOT,
        action=Discrete(3),
        reward_range=(-1.0, 0.0),
        goal=-100.0,
        # "done: all on; else all off"
        reference=Signals(_ACROBOT, lambda reward, obs, end: jnp.where(end, 1.0, -1.0), (0.0, 1.0)),
    ),
    "MountainCar-v0": BuiltIn(
        observation=_CAR.observation,
        action=Discrete(3),
        reward_range=(-1.0, 0.0),
        goal=-110.0,
        # The reference sees positions from -0.6 up only, and is paid for position.
        reference=Signals(
            Box((-0.6, -0.1), (0.6, 0.1), (2,)), lambda reward, obs, end: obs[0].astype(jnp.float32), (-0.6, 0.6)
        ),
    ),
    "MountainCarContinuous-v0": _CAR,
    "MountainCarContinuous-gymnasium": _CAR._replace(make=_own("GymnasiumMountainCarContinuous")),
    "Pendulum-v1": BuiltIn(
        observation=_symmetric(1.0, 1.0, 8.0),
        action=Box(-2.0, 2.0, ()),
        reward_range=(-(math.pi**2 + 0.1 * 64 + 0.001 * 4), 0.0),
        goal=-160.0,
    ),
    "Reacher-misc": BuiltIn(
        # Cosines and sines of two joints, their speeds, which nothing bounds, and the goal's position.
        observation=_symmetric(1.0, 1.0, 1.0, 1.0, 6.0, 6.0, 2.0, 2.0),
        action=Box(-1.0, 1.0, (2,)),
        reward_range=(0.0, 1.0),
    ),
    "PointRobot-misc": BuiltIn(
        # Position, last reward, last action, time. The goal is hidden; only the rewards tell where it is.
        observation=Box((-2.5, -2.5, 0.0, -0.1, -0.1, -1.0), (2.5, 2.5, 1.0, 0.1, 0.1, 1.0), (6,)),
        action=Box(-0.1, 0.1, (2,)),
        reward_range=(0.0, 1.0),
    ),
    "Swimmer-misc": BuiltIn(
        # Five urchins, own position and speed, which nothing bounds, and the goal.
        observation=_symmetric(*(1.0,) * 10, *(3.0,) * 4, *(1.0,) * 2),
        action=Box(-1.0, 1.0, (2,)),
        reward_range=(0.0, 1.0),
    ),
    "FrozenLake-misc": _LAKE,
    "FrozenLake-deterministic": _LAKE._replace(goal=1.0, make=_still_lake),
    "Catch-bsuite": BuiltIn(
        observation=Box(0.0, 1.0, (10, 5)),
        action=Discrete(3),
        reward_range=(-1.0, 1.0),
        return_range=(-1.0, 1.0),
        goal=1.0,
        max_steps=10,  # a board of 10 rows always ends on the 9th step; gymnax's own limit is far above
        dtype=bool,
    ),
    "Breakout-MinAtar": BuiltIn(
        observation=Box(0.0, 1.0, (10, 10, 4)),
        action=Discrete(3),
        reward_range=(0.0, 1.0),
        return_range=(0.0, 50.0),
        dtype=bool,
    ),
    "Blackjack-v1": _BLACKJACK,
    "DoorKey-5x5": _DOORKEY,
    "DoorKey-5x5-full": _DOORKEY._replace(observation=Box(0.0, 1.0, (34,)), make=_own("DoorKeyFull", 5)),
    "Multiplexer-4": _BLACKJACK._replace(observation=Box(-1.0, 1.0, (20,)), make=_own("Multiplexer", 4)),
    "Multiplexer-5": _BLACKJACK._replace(observation=Box(-1.0, 1.0, (37,)), make=_own("Multiplexer", 5)),
    "ScalarRegression": BuiltIn(
        observation=Box(-6.0, 6.0, (8,)),
        action=Box(-100.0, 100.0, ()),
        reward_range=(-40_000.0, 0.0),  # answers lie up to 200 apart
        return_range=(-40_000.0, 0.0),
        make=_own("ScalarRegression"),
    ),
}
for _env_id in BUILT_IN:
    register(_env_id, functools.partial(make_builtin, env_id=_env_id))
