"""Built-in environments: gymnax's, and our own on its base class.

gymnax's own ``step`` resets at every call and hides the last state, so specs are built on ``step_env`` and
``is_truncated``. Ranges are ours: gymnax's bounds are infinite where a velocity is unbounded. gymnax is imported when
an environment is made: it makes arrays when it is, and several processes must have joined before there are any.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from rgrl_jax.envs.registry import register_env
from rgrl_jax.envs.spec import EnvSpec, Signals
from rgrl_jax.types import Array, Box, Discrete, Key, PyTree, Space

if TYPE_CHECKING:
    from gymnax.environments.environment import Environment


def spec_from_gymnax(
    env_id: str,
    *,
    observation: Space,
    action: Space,
    reward_range: tuple[float, float],
    return_range: tuple[float, float],
    goal: float | None = None,
    reference: Signals | None = None,
    max_steps: int | None = None,
    dtype: Any = None,
    env: Environment | None = None,
    **env_kwargs: Any,
) -> EnvSpec:
    """Wraps an environment that ``gymnax.make`` knows, or any other on gymnax's base class.

    Args:
      env_id: its gymnax name; with ``env``, any name.
      observation: observation space with the ranges the encoders should use.
      action: action space.
      reward_range: rewards that encode to -1 and +1.
      return_range: worst and best return.
      goal: return that counts as solved.
      reference: signals of the authors' code, if they differ.
      max_steps: step limit; None keeps gymnax's.
      dtype: type that observations are given and stored in, for instance bool for frames of 0 and 1, which
        gymnax hands out as floats; None keeps gymnax's.
      env: the environment, used with its ``default_params``; None asks ``gymnax.make`` for ``env_id``.
      **env_kwargs: passed to ``gymnax.make``.

    Returns:
      Its `EnvSpec`.

    Raises:
      ValueError: both ``env`` and keywords for ``gymnax.make``, or a name that it does not know.
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

    def cast(obs: Array) -> Array:
        return obs if dtype is None else obs.astype(dtype)

    def reset(key: Key) -> tuple[Array, PyTree]:
        obs, state = env.reset_env(key, params)
        return cast(obs), state

    def step(key: Key, state: PyTree, action: Array) -> tuple[Array, PyTree, Array, Array, Array]:
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        truncated = jnp.asarray(env.is_truncated(state, params)) & ~jnp.asarray(terminated)
        return cast(obs), state, jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), truncated

    return EnvSpec(
        env_id=env_id,
        reset=reset,
        step=step,
        observation=observation,
        action=action,
        reward_range=reward_range,
        max_steps=limit,
        return_range=return_range,
        goal=goal,
        reference=reference,
        render=lambda: (env, params),
    )


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


register_env("CartPole-v1", _cartpole)
register_env("Acrobot-v1", _acrobot)
register_env("MountainCar-v0", _mountain_car)
register_env("MountainCarContinuous-v0", functools.partial(_mountain_car_continuous, gymnasium=False))
register_env("MountainCarContinuous-gymnasium", functools.partial(_mountain_car_continuous, gymnasium=True))
register_env("Pendulum-v1", _pendulum)
register_env("Reacher-misc", _reacher)
register_env("PointRobot-misc", _point_robot)
register_env("Swimmer-misc", _swimmer)
register_env("FrozenLake-misc", functools.partial(_frozen_lake, slippery=True))
register_env("FrozenLake-deterministic", functools.partial(_frozen_lake, slippery=False))
register_env("Catch-bsuite", _catch)
register_env("Breakout-MinAtar", _breakout)
register_env("Blackjack-v1", _blackjack)
register_env("DoorKey-5x5", functools.partial(_doorkey, size=5, full=False))
register_env("DoorKey-5x5-full", functools.partial(_doorkey, size=5, full=True))
register_env("Multiplexer-4", functools.partial(_multiplexer, bits=4))
register_env("Multiplexer-5", functools.partial(_multiplexer, bits=5))
register_env("ScalarRegression", _scalar_regression)
