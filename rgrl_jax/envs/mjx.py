"""Gymnasium's InvertedPendulum, Swimmer and Hopper, versions 4 and 5, compiled: ``mjx:Hopper-v5``.

The bodies are Gymnasium's own files, simulated by MJX, which is MuJoCo in JAX; the rules around them are data below.
In float64 all numbers are those of the original within the tolerance of its solver; in float32 an episode leaves the
original's slowly, as rounding adds up. The packages are imported when an environment is made.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.envs.adapters import check_name, import_package
from rgrl_jax.envs.registry import register_source
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Key

LIMIT = 1000
LINE_SEARCH_ITERATIONS = 8
"""Iterations of the solver's line search, where MuJoCo's default is 50. Few are needed, but parallel episodes take
all of them; what a search leaves undone, the solver's next iteration makes up for."""
_RK4_STEPS, _RK4_WEIGHTS = (0.5, 0.5, 1.0, 0.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)


class State(NamedTuple):
    """State of a body between two actions. In all bodies here every joint has one position and one velocity.

    Attributes:
      acceleration: ``[Q]`` like the others, the last one, from which the solver of contacts starts.
      time: actions so far, scalar int32.
    """

    position: Array
    velocity: Array
    acceleration: Array
    time: Array


class Task(NamedTuple):
    """Rules around a body, named as in Gymnasium where it has a name.

    Attributes:
      body: name of its file.
      frame_skip: steps of the simulation per action.
      reset_noise_scale: positions and velocities start uniformly within this from those in the file.
      low, high: bounds of observations for the encoders; measured, or those of the joints.
      reward_range: rewards that encode to -1 and +1.
      return_range: worst and best return of 1,000 steps.
      goal: Gymnasium's ``reward_threshold``.
      is_healthy: ``position [Q], velocity [Q] -> ()``; the episode ends where it is False.
      healthy_reward: reward per step in a healthy state.
      forward_reward_weight: reward per metre and second along x.
      ctrl_cost_weight: factor of the squared action.
      hidden_positions: number of positions, from the first on, that are not observed since nothing depends on them.
      velocity_limit: observed velocities are clipped to plus or minus this.
      pays_last_step: the step that ends an episode gets ``healthy_reward``, as in version 4.
    """

    body: str
    frame_skip: int
    reset_noise_scale: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    reward_range: tuple[float, float]
    return_range: tuple[float, float]
    goal: float
    is_healthy: Callable[[Array, Array], Array] = lambda position, velocity: jnp.bool_(True)
    healthy_reward: float = 0.0
    forward_reward_weight: float = 0.0
    ctrl_cost_weight: float = 0.0
    hidden_positions: int = 0
    velocity_limit: float = math.inf
    pays_last_step: bool = False


def _balanced(position: Array, velocity: Array) -> Array:
    finite = jnp.isfinite(position).all() & jnp.isfinite(velocity).all()
    return finite & (jnp.abs(position[1]) <= 0.2)


def _standing(position: Array, velocity: Array) -> Array:
    rest = jnp.concatenate([position[2:], velocity])
    return (position[1] > 0.7) & (jnp.abs(position[2]) < 0.2) & (jnp.abs(rest) < 100.0).all()


_PENDULUM = Task(
    body="inverted_pendulum.xml",
    frame_skip=2,
    reset_noise_scale=0.01,
    low=(-1.0, -0.2, -2.5, -5.0),
    high=(1.0, 0.2, 2.5, 5.0),
    reward_range=(0.0, 1.0),
    return_range=(0.0, 1000.0),
    goal=950.0,
    is_healthy=_balanced,
    healthy_reward=1.0,
)
_SWIMMER = Task(
    body="swimmer.xml",
    frame_skip=4,
    reset_noise_scale=0.1,
    low=(-3.0, -1.8, -1.8, -2.5, -2.5, -3.0, -5.0, -5.0),
    high=(3.0, 1.8, 1.8, 2.5, 2.5, 3.0, 5.0, 5.0),
    reward_range=(-3.0, 3.0),
    return_range=(-100.0, 365.0),
    goal=360.0,
    forward_reward_weight=1.0,
    ctrl_cost_weight=1e-4,
    hidden_positions=2,
)
_HOPPER = Task(
    body="hopper.xml",
    frame_skip=4,
    reset_noise_scale=5e-3,
    low=(0.7, -0.2, -1.0, -1.5, -0.8, -2.0, -3.0, -8.0, -8.0, -8.0, -8.0),
    high=(1.5, 0.2, 0.1, 0.1, 0.8, 3.0, 3.0, 8.0, 8.0, 8.0, 8.0),
    reward_range=(-2.0, 5.0),
    return_range=(-100.0, 3800.0),
    goal=3800.0,
    is_healthy=_standing,
    healthy_reward=1.0,
    forward_reward_weight=1.0,
    ctrl_cost_weight=1e-3,
    hidden_positions=1,
    velocity_limit=10.0,
)
TASKS: dict[str, Task] = {
    f"{name}-v{version}": task._replace(pays_last_step=version == 4)
    for version in (5, 4)
    for name, task in (("InvertedPendulum", _PENDULUM), ("Swimmer", _SWIMMER), ("Hopper", _HOPPER))
}


def spec_from_mjx(name: str, max_steps: int | None = None) -> EnvSpec:
    """Makes the spec ``mjx:NAME`` of one of `TASKS`; ``max_steps`` is None for 1,000.

    Raises:
      ValueError: there is no such environment, or a package is not installed.
    """
    check_name("mjx:", name, TASKS)
    task, limit = TASKS[name], max_steps or LIMIT
    load = functools.partial(import_package, source="mjx", packages="packages gymnasium, mujoco and mujoco-mjx")
    mujoco, mjx, gymnasium = map(load, ("mujoco", "mujoco.mjx", "gymnasium"))
    file = resources.files(gymnasium) / "envs" / "mujoco" / "assets" / task.body
    body = mujoco.MjModel.from_xml_path(str(file))
    body.opt.ls_iterations = LINE_SEARCH_ITERATIONS
    simulate, dt = _simulation(mjx, body, task.frame_skip), task.frame_skip * body.opt.timestep
    rest, noise = jnp.asarray(body.qpos0), task.reset_noise_scale

    def reset(key: Key) -> tuple[Array, State]:
        position, velocity = (
            x + jax.random.uniform(k, x.shape, x.dtype, -noise, noise)
            for x, k in zip((rest, jnp.zeros_like(rest)), jax.random.split(key), strict=True)
        )
        state = State(position, velocity, jnp.zeros_like(velocity), jnp.int32(0))
        return observe(task, state), state

    def step(key: Key, state: State, action: Array) -> tuple[Array, State, Array, Array, Array]:
        after = simulate(state, action)
        reward, terminated = reward_and_end(task, state, after, action, dt)
        return observe(task, after), after, reward, terminated, (after.time >= limit) & ~terminated

    observation = Box(task.low, task.high, (len(task.low),))
    low, high = (tuple(bound.tolist()) for bound in body.actuator_ctrlrange.T)
    action = Box(low, high, (body.nu,))
    returns = (task.return_range[0] * limit / LIMIT, task.return_range[1] * limit / LIMIT)
    return EnvSpec(f"mjx:{name}", reset, step, observation, action, task.reward_range, limit, returns, task.goal)


def observe(task: Task, state: State) -> Array:
    """Returns the observation ``[O]`` of a state."""
    limit = task.velocity_limit
    return jnp.concatenate([state.position[task.hidden_positions :], jnp.clip(state.velocity, -limit, limit)])


def reward_and_end(task: Task, before: State, after: State, action: Array, dt: float) -> tuple[Array, Array]:
    """Returns the reward ``()`` of an action ``[A]`` of ``dt`` seconds, and whether it ends the episode ``()``."""
    healthy = task.is_healthy(after.position, after.velocity)
    speed = (after.position[0] - before.position[0]) / dt
    reward = task.healthy_reward * (healthy | task.pays_last_step) + task.forward_reward_weight * speed
    return reward - task.ctrl_cost_weight * jnp.sum(action**2), ~healthy


def _simulation(mjx: Any, body: Any, frames: int) -> Callable[[State, Array], State]:
    """Makes ``(state, action [A]) -> state``, several steps of the simulation under one action."""
    model, blank, h = mjx.put_model(body), mjx.make_data(body), body.opt.timestep

    def simulate(state: State, action: Array) -> State:
        def accelerate(position: Array, velocity: Array, guess: Array) -> Array:
            data = blank.replace(qpos=position, qvel=velocity, qacc_warmstart=guess, ctrl=action.astype(guess.dtype))
            return mjx.forward(model, data).qacc

        # The solver starts from the last acceleration, without which contacts take more iterations.
        state, _ = jax.lax.scan(lambda s, _: (_integrate(accelerate, h, s), None), state, length=frames)
        return state._replace(time=state.time + 1)

    return simulate


def _integrate(accelerate: Callable[[Array, Array, Array], Array], h: float, start: State) -> State:
    """Steps once, ``h`` seconds, by the Runge-Kutta method of fourth order.

    MJX has it too, but as four copies of the program of a stage, which take longer to compile than a loop. Calls
    ``accelerate(position [Q], velocity [Q], guess [Q]) -> [Q]`` with the acceleration in ``start`` as the guess at
    every stage, as MuJoCo does.
    """

    def stage(carry: Any, factors: Array) -> tuple[Any, None]:
        position, velocity, moved, gained, _ = carry
        acceleration = accelerate(position, velocity, start.acceleration)
        ahead, weight = h * factors
        moved, gained = moved + weight * velocity, gained + weight * acceleration
        position, velocity = start.position + ahead * velocity, start.velocity + ahead * acceleration
        return (position, velocity, moved, gained, acceleration), None

    zero = jnp.zeros_like(start.velocity)
    stages = jnp.asarray(list(zip(_RK4_STEPS, _RK4_WEIGHTS, strict=True)), zero.dtype)
    carry = (start.position, start.velocity, zero, zero, start.acceleration)
    _, _, moved, gained, acceleration = jax.lax.scan(stage, carry, stages)[0]
    return State(start.position + moved, start.velocity + gained, acceleration, start.time)


register_source("mjx", spec_from_mjx)
