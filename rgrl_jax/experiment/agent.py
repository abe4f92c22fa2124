"""A trained agent outside of the library's loops: a function, or an object, from observations to actions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rgrl_jax.algos.base import Config, get_algorithm
from rgrl_jax.envs.spec import observation_struct
from rgrl_jax.experiment.checkpoint import load_run
from rgrl_jax.rollout import Timestep, start
from rgrl_jax.types import Array, Discrete, Episode, Key, PyTree

ActFn = Callable[..., tuple[Array, "ActCarry"]]
"""``act(key, observation, carry=None) -> (action, carry)``, see `make_act`."""


class ActCarry(struct.PyTreeNode):
    """State of an episode between two calls of `ActFn`."""

    episode: Episode  # its last rows, as many as the policy reads [config.history_rows + 1, N, ...]
    plan: Array  # the actions that were planned last [M, N, ...]
    policy_carry: PyTree
    steps: Array  # of the environment so far, scalar int32


def make_act(state: Any, config: Config) -> ActFn:
    """Makes a compiled function that acts as the frozen agent does in `rgrl_jax.play`.

    ``act(key, observation, carry=None) -> (action, carry)`` is called once per environment step, with the key that
    decides the episode, the same in all of its steps, and the carry of the step before; None begins an episode. The
    observation is that of one environment, of the shape that its spec says, or of ``N`` in lockstep ``[N, ...]``; so
    is the action, as the environment takes it. Plans of several steps are executed to their ends, and actions are
    held for ``config.action_repeat`` steps.

    The state is of one run; the function is pure and ready for ``jit``, ``scan`` and ``vmap``.

    Raises:
      ValueError: the state is of several seeds; or, from the function, an observation has the wrong shape.
    """
    if state.episode.ndim:
        seeds = len(state.episode)
        raise ValueError(f"state of {seeds} seeds cannot act; take one, jax.tree.map(lambda x: x[0], state)")
    like = observation_struct(config.spec, jax.random.key(0))

    def act(key: Key, observation: Any, carry: ActCarry | None = None) -> tuple[Array, ActCarry]:
        obs = jnp.asarray(observation, like.dtype)
        several = obs.shape[1:] == like.shape and obs.ndim == len(like.shape) + 1
        if not several and obs.shape != like.shape:
            raise ValueError(f"observation of shape {obs.shape} must be {like.shape}, or [N, ...] of so many")
        obs = obs if several else obs[None]
        if carry is None:
            carry = _begin(key, state, config, obs)
        elif carry.plan.shape[1] != len(obs):
            raise ValueError(f"observation of {len(obs)} environments must be of {carry.plan.shape[1]}, as before")
        action, carry = _act(key, state, config, obs, carry)
        return (action if several else action[0]), carry

    return act


@jax.jit
def _begin(key: Key, state: Any, config: Config, obs: Array) -> ActCarry:
    """Makes the carry of an episode that begins with observations ``[N, ...]``."""
    actor = get_algorithm(config).evaluation_actor(key, state, config, obs.shape[0])
    spec = dataclasses.replace(config.spec, max_steps=config.history_rows)
    episode = start(spec, actor._replace(info=(), padding=0), obs).episode
    plan, _, _ = jax.eval_shape(actor.policy, key, Timestep(episode, jnp.int32(0), (), actor.carry))
    return ActCarry(episode, jnp.zeros(plan.shape, plan.dtype), actor.carry, jnp.int32(0))


@jax.jit
def _act(key: Key, state: Any, config: Config, obs: Array, carry: ActCarry) -> tuple[Array, ActCarry]:
    """Returns the next actions ``[N, ...]``."""
    t, length = carry.steps // config.action_repeat, carry.plan.shape[0]
    actor, last = get_algorithm(config).evaluation_actor(key, state, config, obs.shape[0]), config.history_rows
    policy_key = jax.random.split(actor.key, 3)[2]  # as in `rgrl_jax.rollout.start`

    def step(carry: ActCarry) -> ActCarry:
        row = jnp.minimum(t, last)
        # Once the buffer is full its oldest row goes, so that the policy finds the rows before the present one at
        # the distance that they have in a whole episode.
        episode: Episode = jax.tree.map(lambda x: jnp.where(t > last, jnp.roll(x, -1, axis=0), x), carry.episode)
        episode = episode.replace(obs=episode.obs.at[row].set(obs))

        def ask() -> tuple[Array, PyTree]:
            timestep = Timestep(episode, row, (), carry.policy_carry)
            return actor.policy(jax.random.fold_in(policy_key, t), timestep)[:2]

        kept = carry.plan, carry.policy_carry
        plan, policy_carry = ask() if length == 1 else jax.lax.cond(t % length == 0, ask, lambda: kept)
        episode = episode.replace(action=episode.action.at[row].set(plan[t % length]))
        return ActCarry(episode, plan, policy_carry, carry.steps)

    if config.action_repeat == 1:
        carry = step(carry)
    else:
        carry = jax.lax.cond(carry.steps % config.action_repeat == 0, step, lambda carry: carry, carry)
    return carry.plan[t % length], carry.replace(steps=carry.steps + 1)


class Agent:
    """A frozen agent that keeps carry and keys, which ``key`` decides, to itself: NumPy in, NumPy or int out."""

    def __init__(self, state: Any, config: Config, key: Key):
        self.config, self._key, self._act = config, key, make_act(state, config)
        self._carry: ActCarry | None = None
        self._episodes = 0

    def act(self, observation: Any) -> Any:
        """Returns the action for an observation, an int where actions are discrete; ``[N, ...]`` for ``N`` of them.

        Raises:
          ValueError: the observation has the wrong shape.
        """
        action, self._carry = self._act(jax.random.fold_in(self._key, self._episodes), observation, self._carry)
        discrete = isinstance(self.config.spec.action, Discrete)
        return int(action) if discrete and not action.ndim else np.asarray(action)

    def reset(self) -> None:
        """Begins a new episode with the next observation."""
        self._carry, self._episodes = None, self._episodes + 1


def load_agent(folder: str | Path, seed: int = 0, index: int = 0) -> Agent:
    """Reads the agent of a run folder, of its run ``index`` if it holds several seeds; ``seed`` decides its episodes.

    Call ``agent.act(observation)`` in every step, and ``agent.reset()`` before each further episode.

    Raises:
      FileNotFoundError: see `rgrl_jax.load_run`; it can raise other errors as well.
      ValueError: there is no such run.
    """
    config, state, meta = load_run(folder)
    if not 0 <= index < meta["seeds"]:
        raise ValueError(f"index = {index} must be in 0..{meta['seeds'] - 1}")
    state = jax.tree.map(lambda x: x[index], state) if state.episode.ndim else state
    return Agent(state, config, jax.random.key(seed))
