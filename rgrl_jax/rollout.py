"""Episodes: environments stepped with a policy in the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Episode, Key, Metrics, PyTree


class Timestep(NamedTuple):
    """Input of a policy.

    Attributes:
      episode: the ``N`` episodes so far, of which rows ``0 .. t`` are known.
      t: the present row.
      env_state: true states of the environments ``[N, ...]``, or nothing on the host; only an oracle may look.
      carry: what the policy returned for itself the last time.
    """

    episode: Episode
    t: Array
    env_state: PyTree
    carry: PyTree


Policy = Callable[[Key, Timestep], tuple[Array, PyTree, PyTree]]
"""``policy(key, timestep) -> (actions [M, N, ...], carry, info)``.

The next ``M`` actions of all ``N`` environments; what the policy wants to be given the next time, of the structure it
was given; and ``info``, a pytree of floating-point ``[N]`` arrays.
"""


class Actor(NamedTuple):
    """A policy with what `rollout` needs to play it.

    Attributes:
      key: decides the episodes; consumed.
      policy: see `Policy`.
      num_envs: ``N``, environments stepped together.
      carry: what the policy is given the first time.
      info: zeros like those the policy reports; None traces the policy once more to find out.
      padding: steps for which an episode that ended by itself goes on, see `run_to_end`.
    """

    key: Key
    policy: Policy
    num_envs: int = 1
    carry: PyTree = ()
    info: PyTree | None = None
    padding: int = 0


class RolloutState(struct.PyTreeNode):
    """Episodes under way.

    Attributes:
      episode: buffers filled so far; ``info`` is summed over decisions.
      env_state: ``[N, ...]``.
      env_keys: keys of the transitions ``[N]``.
      policy_key: key of the decisions, folded with the time.
      t: rows filled, scalar int32.
      decisions: times the policy was asked while each environment ran ``[N]``.
      carry: the policy's.
    """

    episode: Episode
    env_state: PyTree
    env_keys: Key
    policy_key: Key
    t: Array
    decisions: Array
    carry: PyTree


def rollout(spec: EnvSpec, actor: Actor) -> tuple[Episode, PyTree]:
    """Plays ``N`` episodes to their ends, in lockstep, in one loop that stops with the last of them.

    An episode that has ended is frozen, and nothing is planned or stepped once all have ended. The policy's keys
    depend on the time alone, so what it draws per decision (members, for instance) is shared among the environments;
    resets and transitions are keyed per environment.

    Args:
      spec: the environment.
      actor: who plays.

    Returns:
      An `Episode` with ``L = spec.max_steps``, whose ``info`` is averaged over each episode's decisions; and the
      policy's last carry.
    """
    obs, env_state = jax.vmap(spec.reset)(reset_keys(actor))
    state = run_to_end(start(spec, actor, obs, env_state), spec, actor)
    return to_episode(state), state.carry


def reset_keys(actor: Actor) -> Key:
    """Returns the keys ``[N]`` that the environments are reset with."""
    return jax.random.split(jax.random.split(actor.key, 3)[0], actor.num_envs)


def start(spec: EnvSpec, actor: Actor, obs: Array, env_state: PyTree = ()) -> RolloutState:
    """Begins where the environments were reset, by `reset_keys`, to observations ``[N, ...]``."""
    _, env_key, policy_key = jax.random.split(actor.key, 3)
    n = obs.shape[0]
    episode, info = _blank(spec, obs, actor.padding), actor.info
    if info is None:
        timestep = Timestep(episode, jnp.int32(0), env_state, actor.carry)
        _, _, info = jax.eval_shape(actor.policy, policy_key, timestep)
        info = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), info)
    return RolloutState(
        episode=episode.replace(info=info),
        env_state=env_state,
        env_keys=jax.random.split(env_key, n),
        policy_key=policy_key,
        t=jnp.int32(0),
        decisions=jnp.zeros(n, jnp.int32),
        carry=actor.carry,
    )


def run_to_end(state: RolloutState, spec: EnvSpec, actor: Actor) -> RolloutState:
    """Decides and steps until every episode has ended.

    With ``actor.padding`` an episode that ended by itself goes on for so many steps, as in the authors' code: they
    are recorded behind its end and count neither for its length nor for its return.
    """

    def running(state: RolloutState) -> Array:
        return jnp.any(_moving(state.episode, state.t, actor.padding))

    def decide_and_step(state: RolloutState) -> RolloutState:
        state, actions = decide(state, actor.policy)
        chex.assert_shape(actions, (None, *state.episode.action.shape[1:]))
        episode, env_state = state.episode, state.env_state
        for i in range(actions.shape[0]):
            t = state.t + i
            episode, env_state = _step(spec, state.env_keys, episode, env_state, actions[i], t, actor.padding)
        return state.replace(episode=episode, env_state=env_state, t=state.t + actions.shape[0])

    return jax.lax.while_loop(running, decide_and_step, state)


def decide(state: RolloutState, policy: Policy) -> tuple[RolloutState, Array]:
    """Asks the policy once; returns the state with what it reported, and the next actions ``[M, N, ...]``."""
    key = jax.random.fold_in(state.policy_key, state.t)
    actions, carry, info = policy(key, Timestep(state.episode, state.t, state.env_state, state.carry))
    alive = ~(state.episode.terminated | state.episode.truncated)
    info = jax.tree.map(lambda total, x: total + jnp.where(alive, x, 0.0), state.episode.info, info)
    episode = state.episode.replace(info=info)
    return state.replace(episode=episode, decisions=state.decisions + alive, carry=carry), actions


def to_episode(state: RolloutState) -> Episode:
    """Returns the episodes of a rollout, whether they have ended or not."""
    return state.episode.replace(info=jax.tree.map(lambda total: total / state.decisions, state.episode.info))


def episode_metrics(
    episode: Episode, *, episodes: Array, env_steps: Array, loss: Array, info: dict[str, Array] | None = None
) -> Metrics:
    """Makes the row of metrics, scalars, of ``N`` episodes played side by side.

    Args:
      episode: the episodes, leaves ``[L + 1, N, ...]`` or ``[N]``.
      episodes: episodes trained so far, these among them, scalar.
      env_steps: environment steps taken so far, these among them, scalar.
      loss: see `Metrics`, scalar.
      info: what else the algorithm reports, scalars by name.
    """
    return Metrics(
        episode=episodes,
        env_steps=env_steps,
        episode_return=episode.episode_return.mean(),
        episode_length=episode.length.sum(dtype=jnp.int32) // episode.length.shape[0],
        terminated=episode.terminated.all(),
        model_loss=loss,
        info=info or {},
    )


def _moving(episode: Episode, t: Array, padding: int) -> Array:
    """Says which environments step at row ``t`` ``[N]``: those that run, and those that are padded."""
    alive = ~(episode.terminated | episode.truncated)
    return alive | (episode.terminated & (t < episode.length + padding)) if padding else alive


def _blank(spec: EnvSpec, obs: Array, padding: int) -> Episode:
    """Makes empty buffers for as many environments as ``obs [N, ...]`` has rows, with ``obs`` in row 0."""
    n, rows = obs.shape[0], spec.max_steps + 1 + padding
    if isinstance(spec.action, Box):
        action = jnp.zeros((rows, n, *spec.action.shape))
    else:
        action = jnp.zeros((rows, n), jnp.int32)
    return Episode(
        obs=jnp.zeros((rows, *obs.shape), obs.dtype).at[0].set(obs),
        action=action,
        reward=jnp.zeros((rows, n)),
        length=jnp.zeros(n, jnp.int32),
        terminated=jnp.zeros(n, bool),
        truncated=jnp.zeros(n, bool),
        info=None,
    )


def _step(
    spec: EnvSpec, env_keys: Array, episode: Episode, env_state: PyTree, action: Array, t: Array, padding: int
) -> tuple[Episode, PyTree]:
    """Steps the environments that are still moving, from row ``t`` to row ``t + 1``."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(env_keys, t)
    obs, next_state, reward, terminated, truncated = jax.vmap(spec.step)(keys, env_state, action)
    moving = _moving(episode, t, padding)

    def keep(old: Array, new: Array) -> Array:
        return jnp.where(moving.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    episode = record(episode, t, action, obs, reward, terminated, truncated, padding=padding)
    return episode, jax.tree.map(keep, env_state, next_state)


def record(
    episode: Episode,
    t: Array,
    action: Array,
    obs: Array,
    reward: Array,
    terminated: Array,
    truncated: Array,
    *,
    padding: int = 0,
) -> Episode:
    """Writes down a step from row ``t`` to row ``t + 1`` of the environments that are still moving.

    Args:
      episode: the buffers.
      t: scalar int32.
      action: executed ``[N, ...]``; this and the others count only where an environment moves.
      obs: observed after it ``[N, ...]``.
      reward: ``[N]``.
      terminated: ``[N]`` bool.
      truncated: ``[N]`` bool.
      padding: see `run_to_end`.
    """
    alive = ~(episode.terminated | episode.truncated)
    lane = jnp.arange(alive.shape[0])
    row = jnp.where(_moving(episode, t, padding), t, episode.reward.shape[0])  # a row out of bounds is dropped
    return episode.replace(
        obs=episode.obs.at[row + 1, lane].set(obs, mode="drop"),
        action=episode.action.at[row, lane].set(action, mode="drop"),
        reward=episode.reward.at[row, lane].set(jnp.where(alive, reward, 0.0), mode="drop"),
        length=episode.length + alive,
        terminated=jnp.where(alive, terminated, episode.terminated),
        truncated=jnp.where(alive, truncated, episode.truncated),
    )


def env_states(key: Key, spec: EnvSpec, episode: Episode) -> PyTree:
    """Retraces the environment states along an episode that `rollout` played, for drawing.

    Args:
      key: the actor's.
      spec: its environment.
      episode: what `rollout` returned.

    Returns:
      States ``[L + 1, N, ...]``; rows ``0 .. length`` count.
    """
    reset_key, env_key, _ = jax.random.split(key, 3)
    n = episode.length.shape[0]
    _, first = jax.vmap(spec.reset)(jax.random.split(reset_key, n))
    env_keys = jax.random.split(env_key, n)

    def step(state: PyTree, xs: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
        action, t = xs
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(env_keys, t)
        return jax.vmap(spec.step)(keys, state, action)[1], state

    return jax.lax.scan(step, first, (episode.action, jnp.arange(episode.action.shape[0])))[1]
