"""Episodes: environments stepped with a policy in the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Episode, Key, Metrics, PyTree


class View(NamedTuple):
    """What a policy is shown.

    Attributes:
      episode: the ``N`` episodes so far, of which rows ``0 .. t`` are known.
      t: the present row.
      env_state: true states of the environments ``[N, ...]``; only an oracle may look.
      memory: what the policy returned for itself the last time.
    """

    episode: Episode
    t: Array
    env_state: PyTree
    memory: PyTree


Policy = Callable[[Key, View], tuple[Array, PyTree, PyTree]]
"""``policy(key, view) -> (actions [M, N, ...], info, memory)``.

The next ``M`` actions of all ``N`` environments; ``info``, a pytree of floating-point ``[N]`` arrays; and what
the policy wants to be shown the next time, of the structure it was given.
"""


class Acting(NamedTuple):
    """Who plays, how often and by which key: what `rollout` is told beside the environment.

    Attributes:
      key: of the episodes.
      policy: see `Policy`.
      num_envs: ``N``.
      memory: what the policy is shown the first time.
      info: zeros as the policy reports, or None.
      padding: see `advance`.
    """

    key: Key
    policy: Policy
    num_envs: int = 1
    memory: PyTree = ()
    info: PyTree | None = None
    padding: int = 0


class Rollout(struct.PyTreeNode):
    """Episodes under way.

    Attributes:
      episode: buffers filled so far; ``info`` is summed over plans.
      env_state: ``[N, ...]``.
      env_keys: ``[N]``.
      policy_key: folded with the time for each plan.
      t: rows filled, scalar int32.
      plans: plans made for each environment while it ran ``[N]``.
      memory: of the policy.
    """

    episode: Episode
    env_state: PyTree
    env_keys: Key
    policy_key: Key
    t: Array
    plans: Array
    memory: PyTree


def rollout(
    key: Key,
    spec: EnvSpec,
    policy: Policy,
    *,
    num_envs: int = 1,
    memory: PyTree = (),
    info: PyTree | None = None,
    padding: int = 0,
) -> Episode:
    """Plays ``N`` episodes to their ends, in lockstep, in one loop that stops with the last of them.

    An episode that has ended is frozen, and nothing is planned or stepped once all have ended. The
    policy's keys depend on the time alone, so what it draws per plan (members, for instance) is shared
    among the environments; resets and transitions are keyed per environment.

    Args:
      key: consumed.
      spec: the environment.
      policy: see `Policy`; it is asked again after every ``M`` steps.
      num_envs: ``N``.
      memory: what the policy is shown the first time.
      info: zeros as the policy reports, if they are known; else the policy is traced once more to find out.
      padding: see `advance`.

    Returns:
      An `Episode` with ``L = spec.max_steps``; ``info`` is averaged over each episode's plans.
    """
    started = begin(key, spec, policy, num_envs=num_envs, memory=memory, info=info, padding=padding)
    return finish(advance(started, spec, policy, padding=padding))


def begin(
    key: Key,
    spec: EnvSpec,
    policy: Policy,
    *,
    num_envs: int = 1,
    memory: PyTree = (),
    info: PyTree | None = None,
    padding: int = 0,
) -> Rollout:
    """Resets ``N`` environments; arguments as for `rollout`."""
    obs, env_state = jax.vmap(spec.reset)(reset_keys(key, num_envs))
    return begin_from(key, spec, policy, obs, env_state, memory=memory, info=info, padding=padding)


def reset_keys(key: Key, num_envs: int) -> Key:
    """The keys ``[N]`` that `rollout` resets the environments with."""
    return jax.random.split(jax.random.split(key, 3)[0], num_envs)


def begin_from(
    key: Key,
    spec: EnvSpec,
    policy: Policy,
    obs: Array,
    env_state: PyTree = (),
    *,
    memory: PyTree = (),
    info: PyTree | None = None,
    padding: int = 0,
) -> Rollout:
    """Begins where ``N`` environments were reset, by the keys of `reset_keys`, to observations ``[N, ...]``."""
    _, env_key, policy_key = jax.random.split(key, 3)
    n = obs.shape[0]
    episode = _blank(spec, obs, padding)
    if info is None:
        _, info, _ = jax.eval_shape(policy, policy_key, View(episode, jnp.int32(0), env_state, memory))
        info = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), info)
    episode = episode.replace(info=info)
    env_keys = jax.random.split(env_key, n)
    return Rollout(episode, env_state, env_keys, policy_key, jnp.int32(0), jnp.zeros(n, jnp.int32), memory)


def advance(
    started: Rollout, spec: EnvSpec, policy: Policy, *, until: Array | int | None = None, padding: int = 0
) -> Rollout:
    """Plans and steps until every episode has ended, or until row ``until``.

    With ``padding`` an episode that ended by itself goes on for so many steps, as in the authors' code: they are
    recorded behind its end and count neither for its length nor for its return.
    """

    def running(now: Rollout) -> Array:
        more = jnp.any(_moving(now.episode, now.t, padding))
        return more if until is None else more & (now.t < until)

    def plan_and_execute(now: Rollout) -> Rollout:
        now, actions = decide(now, policy)
        episode, env_state = now.episode, now.env_state
        for i in range(actions.shape[0]):
            episode, env_state = _step(spec, now.env_keys, episode, env_state, actions[i], now.t + i, padding)
        return now.replace(episode=episode, env_state=env_state, t=now.t + actions.shape[0])

    return jax.lax.while_loop(running, plan_and_execute, started)


def decide(now: Rollout, policy: Policy) -> tuple[Rollout, Array]:
    """Asks the policy once: the next actions ``[M, N, ...]``, and the rollout with what it reported."""
    key = jax.random.fold_in(now.policy_key, now.t)
    actions, info, memory = policy(key, View(now.episode, now.t, now.env_state, now.memory))
    alive = ~(now.episode.terminated | now.episode.truncated)
    info = jax.tree.map(lambda total, x: total + jnp.where(alive, x, 0.0), now.episode.info, info)
    return now.replace(episode=now.episode.replace(info=info), plans=now.plans + alive, memory=memory), actions


def finish(done: Rollout) -> Episode:
    """The episodes of a rollout, whether they have ended or not."""
    return done.episode.replace(info=jax.tree.map(lambda total: total / done.plans, done.episode.info))


def as_metrics(episode: Episode, *, finished: Array, env_steps: Array, loss: Array, windows: Array) -> Metrics:
    """The row of metrics, scalars, of ``N`` episodes played side by side, without anything said of plans.

    Args:
      episode: the episodes, leaves ``[L + 1, N, ...]`` or ``[N]``.
      finished: episodes finished so far, this row among them, scalar.
      env_steps: environment steps taken so far, likewise.
      loss: see `Metrics.model_loss`, scalar.
      windows: see `Metrics.windows`, scalar.
    """
    nothing = jnp.float32(0.0)
    return Metrics(
        episode=finished,
        env_steps=env_steps,
        episode_return=episode.episode_return.mean(),
        episode_length=episode.length.sum(dtype=jnp.int32) // episode.length.shape[0],
        terminated=episode.terminated.all(),
        model_loss=loss,
        plan_loss=nothing,
        plan_movement=nothing,
        plan_noise=nothing,
        windows=windows,
    )


def _moving(episode: Episode, t: Array, padding: int) -> Array:
    """Which environments step at row ``t`` ``[N]``: those that run, and those that are padded."""
    alive = ~(episode.terminated | episode.truncated)
    return alive | (episode.terminated & (t < episode.length + padding)) if padding else alive


def _blank(spec: EnvSpec, obs: Array, padding: int) -> Episode:
    """Empty buffers for as many environments as ``obs [N, ...]`` has rows, with ``obs`` in row 0."""
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
      action: what was done ``[N, ...]``; this and the others count only where an environment moves.
      obs: what came of it ``[N, ...]``.
      reward: ``[N]``.
      terminated: ``[N]`` bool.
      truncated: ``[N]`` bool.
      padding: see `advance`.
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
    """Environment states along an episode that `rollout` played from the same key, for drawing.

    Args:
      key: the key that `rollout` was given.
      spec: its environment.
      episode: what it returned.

    Returns:
      States ``[L + 1, N, ...]``; rows ``0 .. length`` count.
    """
    reset_key, env_key, _ = jax.random.split(key, 3)
    n = episode.length.shape[0]
    _, start = jax.vmap(spec.reset)(jax.random.split(reset_key, n))
    env_keys = jax.random.split(env_key, n)

    def step(state: PyTree, xs: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
        action, t = xs
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(env_keys, t)
        return jax.vmap(spec.step)(keys, state, action)[1], state

    return jax.lax.scan(step, start, (episode.action, jnp.arange(episode.action.shape[0])))[1]
