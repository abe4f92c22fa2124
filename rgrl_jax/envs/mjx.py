"""Gymnasium's InvertedPendulum, Swimmer and Hopper, compiled: ``mjx:Hopper-v5`` and so on, versions 4 and 5.

The bodies are Gymnasium's own files, simulated by MJX, which is MuJoCo in JAX; the rules around them are data below.
In float64 all numbers are those of the original up to what its solver tolerates; in float32 an episode leaves the
original's slowly, as rounding adds up. The packages are imported when an environment is asked for.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import math
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.envs.registry import register_source
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Key

SOURCE = "mjx"
LIMIT = 1000
"""Steps of an episode."""
SEARCHES = 8
"""Most steps of the solver's searches along a line, where MuJoCo's default is 50: few are needed, but episodes side
by side take all of them. What a search leaves undone is left to the solver's next iteration."""
_AHEAD, _WORTH = (0.5, 0.5, 1.0, 0.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)  # of the stages of Runge and Kutta's method


class State(NamedTuple):
    """A body between two actions. In all bodies here every joint has one position and one velocity.

    Attributes:
      position: ``[Q]``.
      velocity: ``[Q]``.
      acceleration: ``[Q]``, the last one, from which the solver of contacts sets out.
      time: actions so far.
    """

    position: Array
    velocity: Array
    acceleration: Array
    time: Array


class Task(NamedTuple):
    """The rules around a body.

    Attributes:
      body: its file.
      frames: steps of the simulation per action.
      noise: positions and velocities start uniformly within this from those in the file.
      hidden: how many positions, from the first on, are not observed: those that nothing depends on.
      speed: velocities are observed within plus or minus this.
      forward: reward per metre and second along x.
      cost: of the squared action.
      alive: reward of being healthy.
      healthy: ``position [Q], velocity [Q] -> ()``; the episode ends where it is False.
      late: the step that ends an episode is paid like one that does not, as version 4 has it.
      low: lower bounds of observations for the encoders; measured, or those of the joints.
      high: upper bounds.
      reward_range: rewards that encode to -1 and +1.
      returns: worst and best return of 1,000 steps.
      goal: Gymnasium's ``reward_threshold``.
    """

    body: str
    frames: int
    noise: float
    hidden: int
    speed: float
    forward: float
    cost: float
    alive: float
    healthy: Callable[[Array, Array], Array]
    low: tuple[float, ...]
    high: tuple[float, ...]
    reward_range: tuple[float, float]
    returns: tuple[float, float]
    goal: float
    late: bool = False


def _balanced(position: Array, velocity: Array) -> Array:
    finite = jnp.isfinite(position).all() & jnp.isfinite(velocity).all()
    return finite & (jnp.abs(position[1]) <= 0.2)


def _always(position: Array, velocity: Array) -> Array:
    return jnp.bool_(True)


def _standing(position: Array, velocity: Array) -> Array:
    rest = jnp.concatenate([position[2:], velocity])
    return (position[1] > 0.7) & (jnp.abs(position[2]) < 0.2) & (jnp.abs(rest) < 100.0).all()


_PENDULUM = Task(
    body="inverted_pendulum.xml",
    frames=2,
    noise=0.01,
    hidden=0,
    speed=math.inf,
    forward=0.0,
    cost=0.0,
    alive=1.0,
    healthy=_balanced,
    low=(-1.0, -0.2, -2.5, -5.0),
    high=(1.0, 0.2, 2.5, 5.0),
    reward_range=(0.0, 1.0),
    returns=(0.0, 1000.0),
    goal=950.0,
)
_SWIMMER = Task(
    body="swimmer.xml",
    frames=4,
    noise=0.1,
    hidden=2,
    speed=math.inf,
    forward=1.0,
    cost=1e-4,
    alive=0.0,
    healthy=_always,
    low=(-3.0, -1.8, -1.8, -2.5, -2.5, -3.0, -5.0, -5.0),
    high=(3.0, 1.8, 1.8, 2.5, 2.5, 3.0, 5.0, 5.0),
    reward_range=(-3.0, 3.0),
    returns=(-100.0, 365.0),
    goal=360.0,
)
_HOPPER = Task(
    body="hopper.xml",
    frames=4,
    noise=5e-3,
    hidden=1,
    speed=10.0,
    forward=1.0,
    cost=1e-3,
    alive=1.0,
    healthy=_standing,
    low=(0.7, -0.2, -1.0, -1.5, -0.8, -2.0, -3.0, -8.0, -8.0, -8.0, -8.0),
    high=(1.5, 0.2, 0.1, 0.1, 0.8, 3.0, 3.0, 8.0, 8.0, 8.0, 8.0),
    reward_range=(-2.0, 5.0),
    returns=(-100.0, 3800.0),
    goal=3800.0,
)
TASKS: dict[str, Task] = {
    f"{name}-v{version}": task._replace(late=version == 4)
    for version in (5, 4)
    for name, task in (("InvertedPendulum", _PENDULUM), ("Swimmer", _SWIMMER), ("Hopper", _HOPPER))
}


def make(name: str, max_steps: int | None = None) -> EnvSpec:
    """Describes one of these environments; ``mjx:NAME`` is this.

    Args:
      name: one of `TASKS`.
      max_steps: step limit; None for 1,000.

    Raises:
      ValueError: no such environment, or a package is not installed.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=3, cutoff=0.3) or list(TASKS)
        names = ", ".join(f"{SOURCE}:{other}" for other in near)
        raise ValueError(f"env_id = '{SOURCE}:{name}' is not there; nearest: {names}")
    task, limit = TASKS[name], max_steps or LIMIT
    body = _load(task.body)
    simulate, dt = _simulation(body, task.frames), task.frames * body.opt.timestep
    at = jnp.asarray(body.qpos0)

    def reset(key: Key) -> tuple[Array, State]:
        position, velocity = (
            x + jax.random.uniform(k, x.shape, x.dtype, -task.noise, task.noise)
            for x, k in zip((at, jnp.zeros_like(at)), jax.random.split(key), strict=True)
        )
        state = State(position, velocity, jnp.zeros_like(velocity), jnp.int32(0))
        return observe(task, state), state

    def step(key: Key, state: State, action: Array) -> tuple[Array, State, Array, Array, Array]:
        after = simulate(state, action)
        reward, terminated = judge(task, state, after, action, dt)
        return observe(task, after), after, reward, terminated, (after.time >= limit) & ~terminated

    low, high = (tuple(float(x) for x in bound) for bound in body.actuator_ctrlrange.T)
    return EnvSpec(
        env_id=f"{SOURCE}:{name}",
        reset=reset,
        step=step,
        observation=Box(task.low, task.high, (len(task.low),)),
        action=Box(low, high, (body.nu,)),
        reward_range=task.reward_range,
        max_steps=limit,
        return_range=(task.returns[0] * limit / LIMIT, task.returns[1] * limit / LIMIT),
        goal=task.goal,
    )


def observe(task: Task, state: State) -> Array:
    """What is seen of a body ``[O]``."""
    return jnp.concatenate([state.position[task.hidden :], jnp.clip(state.velocity, -task.speed, task.speed)])


def judge(task: Task, before: State, after: State, action: Array, dt: float) -> tuple[Array, Array]:
    """Reward of an action ``[A]`` that took ``dt`` seconds, and whether the episode ends by it."""
    healthy = task.healthy(after.position, after.velocity)
    along = (after.position[0] - before.position[0]) / dt
    reward = task.alive * (healthy | task.late) + task.forward * along - task.cost * jnp.sum(action**2)
    return reward, ~healthy


def _simulation(body: Any, frames: int) -> Callable[[State, Array], State]:
    """Steps of the simulation under one action ``[A]``."""
    mjx = _module("mujoco.mjx")
    model, blank, h = mjx.put_model(body), mjx.make_data(body), body.opt.timestep

    def simulate(state: State, action: Array) -> State:
        def accelerate(position: Array, velocity: Array, guess: Array) -> Array:
            data = blank.replace(qpos=position, qvel=velocity, qacc_warmstart=guess, ctrl=action.astype(guess.dtype))
            return mjx.forward(model, data).qacc

        state, _ = jax.lax.scan(lambda s, _: (_integrate(accelerate, h, s), None), state, length=frames)
        return state._replace(time=state.time + 1)

    return simulate


def _integrate(accelerate: Callable[[Array, Array, Array], Array], h: float, start: State) -> State:
    """One step of ``h`` seconds by the method of Runge and Kutta.

    MJX's own does the same, but holds four copies of the program of a stage and takes longer to compile.

    Args:
      accelerate: ``position [Q], velocity [Q], guess [Q] -> [Q]``.
      h: length of the step.
      start: where it begins; its acceleration is the guess at every stage, as in MuJoCo.
    """

    def stage(now: Any, factors: Array) -> tuple[Any, None]:
        position, velocity, moved, gained, _ = now
        acceleration = accelerate(position, velocity, start.acceleration)
        ahead, worth = h * factors
        moved, gained = moved + worth * velocity, gained + worth * acceleration
        position, velocity = start.position + ahead * velocity, start.velocity + ahead * acceleration
        return (position, velocity, moved, gained, acceleration), None

    none = jnp.zeros_like(start.velocity)
    stages = jnp.asarray(list(zip(_AHEAD, _WORTH, strict=True)), none.dtype)
    now = (start.position, start.velocity, none, none, start.acceleration)
    _, _, moved, gained, acceleration = jax.lax.scan(stage, now, stages)[0]
    return State(start.position + moved, start.velocity + gained, acceleration, start.time)


def _load(name: str) -> Any:
    """A body of Gymnasium, as MuJoCo has it."""
    mujoco, gymnasium = _module("mujoco"), _module("gymnasium")
    body = mujoco.MjModel.from_xml_path(str(resources.files(gymnasium) / "envs" / "mujoco" / "assets" / name))
    body.opt.ls_iterations = SEARCHES
    return body


def _module(name: str) -> Any:
    try:
        with contextlib.redirect_stdout(None):  # MJX prints which of its other backends are missing
            return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"environments of {SOURCE} need the packages gymnasium, mujoco and mujoco-mjx, "
            f"pip install 'rgrl_jax[envs]': {error}"
        ) from error


register_source(SOURCE, make)
