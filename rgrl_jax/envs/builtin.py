"""Built-in environments: gymnax's, and those of `rgrl_jax.envs.own`.

The bounds of observations are chosen here, since gymnax's are infinite where a velocity is unbounded.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp

from rgrl_jax.envs.gymnax import spec_from_gymnax
from rgrl_jax.envs.registry import register
from rgrl_jax.envs.spec import EnvSpec, Signals
from rgrl_jax.types import Array, Box, Discrete


def _cartpole(max_steps: int | None) -> EnvSpec:
    bounds = (4.8, 3.75, 0.418, 3.75)  # the reference's; the velocities are unbounded
    return spec_from_gymnax(
        "CartPole-v1",
        observation=Box(tuple(-b for b in bounds), bounds, (4,)),
        action=Discrete(2),
        reward_range=(0.0, 1.0),
        return_range=(0.0, float(max_steps or 500)),
        goal=475.0,
        max_steps=max_steps,
    )


def _acrobot(max_steps: int | None) -> EnvSpec:
    bounds = (1.0, 1.0, 1.0, 1.0, 4 * math.pi, 9 * math.pi)
    observation = Box(tuple(-b for b in bounds), bounds, (6,))
    return spec_from_gymnax(
        "Acrobot-v1",
        observation=observation,
        action=Discrete(3),
        reward_range=(-1.0, 0.0),
        return_range=(-float(max_steps or 500), 0.0),
        goal=-100.0,
        # "done: all on; else all off"
        reference=Signals(observation, lambda reward, obs, end: jnp.where(end, 1.0, -1.0), (0.0, 1.0)),
        max_steps=max_steps,
    )


def _mountain_car(max_steps: int | None) -> EnvSpec:
    return spec_from_gymnax(
        "MountainCar-v0",
        observation=Box((-1.2, -0.07), (0.6, 0.07), (2,)),
        action=Discrete(3),
        reward_range=(-1.0, 0.0),
        return_range=(-float(max_steps or 200), 0.0),
        goal=-110.0,
        # The reference sees positions from -0.6 up only, and is paid for position.
        reference=Signals(
            Box((-0.6, -0.1), (0.6, 0.1), (2,)), lambda reward, obs, end: obs[0].astype(jnp.float32), (-0.6, 0.6)
        ),
        max_steps=max_steps,
    )


def _mountain_car_continuous(max_steps: int | None, gymnasium: bool) -> EnvSpec:
    from rgrl_jax.envs.own import GymnasiumMountainCarContinuous

    return spec_from_gymnax(
        "MountainCarContinuous-gymnasium" if gymnasium else "MountainCarContinuous-v0",
        observation=Box((-1.2, -0.07), (0.6, 0.07), (2,)),
        action=Box(-1.0, 1.0, ()),
        reward_range=(-0.1, 100.0),
        return_range=(-0.1 * (max_steps or 999), 100.0),
        goal=90.0,
        max_steps=max_steps,
        env=GymnasiumMountainCarContinuous() if gymnasium else None,
    )


def _pendulum(max_steps: int | None) -> EnvSpec:
    worst = -(math.pi**2 + 0.1 * 64 + 0.001 * 4)
    return spec_from_gymnax(
        "Pendulum-v1",
        observation=Box((-1.0, -1.0, -8.0), (1.0, 1.0, 8.0), (3,)),
        action=Box(-2.0, 2.0, ()),
        reward_range=(worst, 0.0),
        return_range=(worst * (max_steps or 200), 0.0),
        goal=-160.0,
        max_steps=max_steps,
    )


def _reacher(max_steps: int | None) -> EnvSpec:
    # Cosines and sines of two joints, their speeds, and where the goal is; nothing bounds the speeds.
    bounds = (1.0, 1.0, 1.0, 1.0, 6.0, 6.0, 2.0, 2.0)
    spec = spec_from_gymnax(
        "Reacher-misc",
        observation=Box(tuple(-b for b in bounds), bounds, (8,)),
        action=Box(-1.0, 1.0, (2,)),
        reward_range=(0.0, 1.0),
        return_range=(0.0, float(max_steps or 100)),
        max_steps=max_steps,
    )
    return dataclasses.replace(spec, render=None)  # gymnax cannot draw it


def _point_robot(max_steps: int | None) -> EnvSpec:
    # Position, last reward, last action, time. The goal is hidden, and only where rewards came from tells of it.
    low, high = (-2.5, -2.5, 0.0, -0.1, -0.1, -1.0), (2.5, 2.5, 1.0, 0.1, 0.1, 1.0)
    return spec_from_gymnax(
        "PointRobot-misc",
        observation=Box(low, high, (6,)),
        action=Box(-0.1, 0.1, (2,)),
        reward_range=(0.0, 1.0),
        return_range=(0.0, float(max_steps or 100)),
        max_steps=max_steps,
    )


def _swimmer(max_steps: int | None) -> EnvSpec:
    # Five urchins, own position and speed, which nothing bounds, and the goal.
    bounds = (1.0,) * 10 + (3.0,) * 4 + (1.0,) * 2
    spec = spec_from_gymnax(
        "Swimmer-misc",
        observation=Box(tuple(-b for b in bounds), bounds, (16,)),
        action=Box(-1.0, 1.0, (2,)),
        reward_range=(0.0, 1.0),
        return_range=(0.0, float(max_steps or 500)),
        max_steps=max_steps,
    )
    return dataclasses.replace(spec, render=None)  # gymnax cannot draw it


def _frozen_lake(max_steps: int | None, slippery: bool) -> EnvSpec:
    from gymnax.environments.misc.frozen_lake import FrozenLake

    # gymnax has both; FrozenLake-misc is the slippery one, like Gymnasium's FrozenLake-v1 unless told otherwise.
    def nearness(reward: Array, obs: Array, end: Array) -> Array:
        # Goal: all on; hole: all off; else one minus the distance to the goal cell; the start: all off.
        distance = jnp.hypot(3.0 - obs // 4, 3.0 - obs % 4)
        closer = 0.99 - distance / 4.24  # one bin less, for the thermometer lights one at 0
        return jnp.where(end, jnp.where(obs == 15, 1.0, -1.0), jnp.where(obs == 0, -1.0, closer))

    return spec_from_gymnax(
        "FrozenLake-misc" if slippery else "FrozenLake-deterministic",
        observation=Discrete(16),
        action=Discrete(4),
        reward_range=(0.0, 1.0),
        return_range=(0.0, 1.0),
        goal=0.7 if slippery else 1.0,  # the best play reaches 0.74 and 1 within 100 steps
        reference=Signals(Discrete(16), nearness, (0.0, 1.0)),
        max_steps=max_steps,
        env=FrozenLake(is_slippery=slippery),
    )


def _catch(max_steps: int | None) -> EnvSpec:
    # bsuite's board of 10 rows always ends on the 9th step; gymnax's own limit is far above.
    return spec_from_gymnax(
        "Catch-bsuite",
        observation=Box(0.0, 1.0, (10, 5)),
        action=Discrete(3),
        reward_range=(-1.0, 1.0),
        return_range=(-1.0, 1.0),
        goal=1.0,
        max_steps=max_steps or 10,
        dtype=bool,
    )


def _breakout(max_steps: int | None) -> EnvSpec:
    return spec_from_gymnax(
        "Breakout-MinAtar",
        observation=Box(0.0, 1.0, (10, 10, 4)),
        action=Discrete(3),
        reward_range=(0.0, 1.0),
        return_range=(0.0, 50.0),
        max_steps=max_steps,
        dtype=bool,
    )


def _blackjack(max_steps: int | None) -> EnvSpec:
    from rgrl_jax.envs.own import Blackjack

    # No goal: a lucky streak would pass for a solution, since single games are so much wider apart than strategies.
    spec = spec_from_gymnax(
        "Blackjack-v1",
        observation=Box((4.0, 1.0, 0.0), (31.0, 10.0, 1.0), (3,)),
        action=Discrete(2),
        reward_range=(-1.0, 1.0),
        return_range=(-1.0, 1.0),
        max_steps=max_steps,
        env=Blackjack(),
    )
    return dataclasses.replace(spec, render=None)  # gymnax cannot draw it


def _doorkey(max_steps: int | None, size: int, full: bool) -> EnvSpec:
    from rgrl_jax.envs.own import DoorKey, DoorKeyFull

    env = (DoorKeyFull if full else DoorKey)(size)
    spec = spec_from_gymnax(
        env.name,
        observation=Box(0.0, 1.0, env.observation_space(env.default_params).shape),
        action=Discrete(7),
        reward_range=(0.0, 1.0),
        return_range=(0.0, 1.0),
        goal=0.95,  # the best play reaches 0.965
        max_steps=max_steps,
        env=env,
    )
    return dataclasses.replace(spec, render=None)  # gymnax cannot draw it


def _multiplexer(max_steps: int | None, bits: int) -> EnvSpec:
    from rgrl_jax.envs.own import Multiplexer

    env = Multiplexer(bits)
    # No goal, as for Blackjack: single answers are right by chance.
    spec = spec_from_gymnax(
        env.name,
        observation=Box(-1.0, 1.0, env.observation_space(env.default_params).shape),
        action=Discrete(2),
        reward_range=(-1.0, 1.0),
        return_range=(-1.0, 1.0),
        max_steps=max_steps,
        env=env,
    )
    return dataclasses.replace(spec, render=None)  # there is nothing to draw


def _scalar_regression(max_steps: int | None) -> EnvSpec:
    from rgrl_jax.envs.own import ScalarRegression

    bound = ScalarRegression.BOUND
    spec = spec_from_gymnax(
        "ScalarRegression",
        observation=Box(-6.0, 6.0, (ScalarRegression.SIZE,)),
        action=Box(-bound, bound, ()),
        reward_range=(-4.0 * bound**2, 0.0),
        return_range=(-4.0 * bound**2, 0.0),
        max_steps=max_steps,
        env=ScalarRegression(),
    )
    return dataclasses.replace(spec, render=None)  # there is nothing to draw


register("CartPole-v1", _cartpole)
register("Acrobot-v1", _acrobot)
register("MountainCar-v0", _mountain_car)
register("MountainCarContinuous-v0", functools.partial(_mountain_car_continuous, gymnasium=False))
register("MountainCarContinuous-gymnasium", functools.partial(_mountain_car_continuous, gymnasium=True))
register("Pendulum-v1", _pendulum)
register("Reacher-misc", _reacher)
register("PointRobot-misc", _point_robot)
register("Swimmer-misc", _swimmer)
register("FrozenLake-misc", functools.partial(_frozen_lake, slippery=True))
register("FrozenLake-deterministic", functools.partial(_frozen_lake, slippery=False))
register("Catch-bsuite", _catch)
register("Breakout-MinAtar", _breakout)
register("Blackjack-v1", _blackjack)
register("DoorKey-5x5", functools.partial(_doorkey, size=5, full=False))
register("DoorKey-5x5-full", functools.partial(_doorkey, size=5, full=True))
register("Multiplexer-4", functools.partial(_multiplexer, bits=4))
register("Multiplexer-5", functools.partial(_multiplexer, bits=5))
register("ScalarRegression", _scalar_regression)
