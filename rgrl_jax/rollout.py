"""Episodes: environments stepped with a policy in the loop."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Episode, Key, PyTree

Policy = Callable[[Key, Episode, Array], tuple[Array, PyTree]]
"""``policy(key, episode, t) -> (actions [M, N, ...], info)``.

Reads rows ``0 .. t`` of the episode so far and returns the next ``M`` actions of all ``N`` environments;
``info`` is a pytree of floating-point ``[N]`` arrays.
"""


def rollout(key: Key, spec: EnvSpec, policy: Policy, *, num_envs: int = 1) -> Episode:
    """Plays ``N`` episodes to their ends, in lockstep, in one loop that stops with the last of them.

    An episode that has ended is frozen, and nothing is planned or stepped once all have ended. The
    policy's keys depend on the time alone, so what it draws per plan (members, for instance) is shared
    among the environments; resets and transitions are keyed per environment.

    Args:
      key: consumed.
      spec: the environment.
      policy: see `Policy`; it is asked again after every ``M`` steps.
      num_envs: ``N``.

    Returns:
      An `Episode` with ``L = spec.max_steps``; ``info`` is averaged over each episode's plans.
    """
    reset_key, env_key, policy_key = jax.random.split(key, 3)
    obs, env_state = jax.vmap(spec.reset)(jax.random.split(reset_key, num_envs))
    env_keys = jax.random.split(env_key, num_envs)
    episode = _blank(spec, obs)
    _, info = jax.eval_shape(policy, policy_key, episode, jnp.int32(0))
    episode = episode.replace(info=jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), info))

    def plan_and_execute(carry: tuple[Episode, PyTree, Array, Array]) -> tuple[Episode, PyTree, Array, Array]:
        episode, env_state, t, plans = carry
        actions, info = policy(jax.random.fold_in(policy_key, t), episode, t)
        alive = ~(episode.terminated | episode.truncated)
        info = jax.tree.map(lambda total, x: total + jnp.where(alive, x, 0.0), episode.info, info)
        episode = episode.replace(info=info)
        for i in range(actions.shape[0]):
            episode, env_state = _step(spec, env_keys, episode, env_state, actions[i], t + i)
        return episode, env_state, t + actions.shape[0], plans + alive

    def running(carry: tuple[Episode, PyTree, Array, Array]) -> Array:
        return ~jnp.all(carry[0].terminated | carry[0].truncated)

    start = (episode, env_state, jnp.int32(0), jnp.zeros(num_envs, jnp.int32))
    episode, _, _, plans = jax.lax.while_loop(running, plan_and_execute, start)
    return episode.replace(info=jax.tree.map(lambda total: total / plans, episode.info))


def _blank(spec: EnvSpec, obs: Array) -> Episode:
    """Empty buffers for as many environments as ``obs [N, ...]`` has rows, with ``obs`` in row 0."""
    n, rows = obs.shape[0], spec.max_steps + 1
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
    spec: EnvSpec, env_keys: Array, episode: Episode, env_state: PyTree, action: Array, t: Array
) -> tuple[Episode, PyTree]:
    """Steps the environments that are still running, from row ``t`` to row ``t + 1``."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(env_keys, t)
    obs, next_state, reward, terminated, truncated = jax.vmap(spec.step)(keys, env_state, action)
    alive = ~(episode.terminated | episode.truncated)
    lane = jnp.arange(alive.shape[0])
    row = jnp.where(alive, t, episode.reward.shape[0])  # a row out of bounds is dropped

    def keep(old: Array, new: Array) -> Array:
        return jnp.where(alive.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    episode = episode.replace(
        obs=episode.obs.at[row + 1, lane].set(obs, mode="drop"),
        action=episode.action.at[row, lane].set(action, mode="drop"),
        reward=episode.reward.at[row, lane].set(reward, mode="drop"),
        length=episode.length + alive,
        terminated=keep(episode.terminated, terminated),
        truncated=keep(episode.truncated, truncated),
    )
    return episode, jax.tree.map(keep, env_state, next_state)


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
