"""Built-in environments: gymnax's, and those of `rgrl_jax.envs.own`.

The bounds of observations are chosen here, since gymnax's are infinite where a velocity is unbounded.
"""

from __future__ import annotations

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
    """Row of the table of built-in environments, see `spec_from_gymnax`; ``make`` makes those that gymnax lacks."""

    observation: Space
    action: Space
    reward_range: tuple[float, float]
    return_range: tuple[float | None, float | None] | None = None
    goal: float | None = None
    reference: Signals | None = None
    max_steps: int | None = None
    dtype: Any = None
    make: Callable[[], Any] | None = None


def make_builtin(max_steps: int | None, env_id: str) -> EnvSpec:
    """Makes the spec of a row of `BUILT_IN`; ``max_steps`` is None for its own step limit."""
    settings = BUILT_IN[env_id]._asdict()
    if max_steps is not None:
        settings["max_steps"] = max_steps
    make = settings.pop("make")
    return spec_from_gymnax(env_id, env=make and make(), **settings)


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
# Signals of the authors' code: "done: all on; else all off"; payment for position, of which -0.6 and up is seen.
_ACROBOT_SIGNALS = Signals(_ACROBOT, lambda reward, obs, end: jnp.where(end, 1.0, -1.0), (0.0, 1.0))
_CAR_SIGNALS = Signals(
    Box((-0.6, -0.1), (0.6, 0.1), (2,)), lambda reward, obs, end: obs[0].astype(jnp.float32), (-0.6, 0.6)
)
_LAKE_SIGNALS = Signals(Discrete(16), _nearness, (0.0, 1.0))

_CAR = BuiltIn(Box((-1.2, -0.07), (0.6, 0.07), (2,)), Box(-1.0, 1.0, ()), (-0.1, 100.0), (None, 100.0), goal=90.0)
# The best play reaches 0.74 on the lake within 100 steps, and 1 without slipping; that of DoorKey 0.965.
_LAKE = BuiltIn(Discrete(16), Discrete(4), (0.0, 1.0), (0.0, 1.0), goal=0.7, reference=_LAKE_SIGNALS)
_DOORKEY = BuiltIn(Box(0.0, 1.0, (7, 7, 11)), Discrete(7), (0.0, 1.0), (0.0, 1.0), goal=0.95, make=_own("DoorKey", 5))
# No goal, here and for the multiplexers: a lucky streak would pass for a solution.
_BLACKJACK = BuiltIn(
    Box((4.0, 1.0, 0.0), (31.0, 10.0, 1.0), (3,)), Discrete(2), (-1.0, 1.0), (-1.0, 1.0), make=_own("Blackjack")
)
BUILT_IN = {
    # The reference's bounds; the velocities are unbounded.
    "CartPole-v1": BuiltIn(_symmetric(4.8, 3.75, 0.418, 3.75), Discrete(2), (0.0, 1.0), goal=475.0),
    "Acrobot-v1": BuiltIn(_ACROBOT, Discrete(3), (-1.0, 0.0), goal=-100.0, reference=_ACROBOT_SIGNALS),
    "MountainCar-v0": BuiltIn(_CAR.observation, Discrete(3), (-1.0, 0.0), goal=-110.0, reference=_CAR_SIGNALS),
    "MountainCarContinuous-v0": _CAR,
    "MountainCarContinuous-gymnasium": _CAR._replace(make=_own("GymnasiumMountainCarContinuous")),
    "Pendulum-v1": BuiltIn(
        _symmetric(1.0, 1.0, 8.0), Box(-2.0, 2.0, ()), (-(math.pi**2 + 0.1 * 64 + 0.001 * 4), 0.0), goal=-160.0
    ),
    # Cosines and sines of two joints, their speeds, which nothing bounds, and the goal's position.
    "Reacher-misc": BuiltIn(_symmetric(1.0, 1.0, 1.0, 1.0, 6.0, 6.0, 2.0, 2.0), Box(-1.0, 1.0, (2,)), (0.0, 1.0)),
    # Position, last reward, last action, time. The goal is hidden; only the rewards tell where it is.
    "PointRobot-misc": BuiltIn(
        Box((-2.5, -2.5, 0.0, -0.1, -0.1, -1.0), (2.5, 2.5, 1.0, 0.1, 0.1, 1.0), (6,)),
        Box(-0.1, 0.1, (2,)),
        (0.0, 1.0),
    ),
    # Five urchins, own position and speed, which nothing bounds, and the goal.
    "Swimmer-misc": BuiltIn(_symmetric(*(1.0,) * 10, *(3.0,) * 4, *(1.0,) * 2), Box(-1.0, 1.0, (2,)), (0.0, 1.0)),
    "FrozenLake-misc": _LAKE,
    "FrozenLake-deterministic": _LAKE._replace(goal=1.0, make=_still_lake),
    # A board of 10 rows always ends on the 9th step; gymnax's own limit is far above.
    "Catch-bsuite": BuiltIn(
        Box(0.0, 1.0, (10, 5)), Discrete(3), (-1.0, 1.0), (-1.0, 1.0), goal=1.0, max_steps=10, dtype=bool
    ),
    "Breakout-MinAtar": BuiltIn(Box(0.0, 1.0, (10, 10, 4)), Discrete(3), (0.0, 1.0), (0.0, 50.0), dtype=bool),
    "Blackjack-v1": _BLACKJACK,
    "DoorKey-5x5": _DOORKEY,
    "DoorKey-5x5-full": _DOORKEY._replace(observation=Box(0.0, 1.0, (34,)), make=_own("DoorKeyFull", 5)),
    "Multiplexer-4": _BLACKJACK._replace(observation=Box(-1.0, 1.0, (20,)), make=_own("Multiplexer", 4)),
    "Multiplexer-5": _BLACKJACK._replace(observation=Box(-1.0, 1.0, (37,)), make=_own("Multiplexer", 5)),
    # Answers lie up to 200 apart.
    "ScalarRegression": BuiltIn(
        Box(-6.0, 6.0, (8,)), Box(-100.0, 100.0, ()), (-4e4, 0.0), (-4e4, 0.0), make=_own("ScalarRegression")
    ),
}
for _env_id in BUILT_IN:
    register(_env_id, functools.partial(make_builtin, env_id=_env_id))
