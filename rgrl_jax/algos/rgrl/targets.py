"""Targets of the reward head: what the model learns as reward."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.types import Array, Episode


def reward_targets(episode: Episode, config: RGRLConfig) -> Array:
    """Computes the targets of every row of an episode and environment ``[L + 1, N]``.

    A target is a discounted average of the rewards to come, ``g_t = (1 - gamma) r_t + gamma g_{t+1}``, so gamma = 0
    is the paper's reward per step; or with ``running_return`` the sum of rewards so far, that of the step included.
    Past a terminal state rewards are 0, or by ``absorbing_reward`` and with the reference's signals the last one;
    past a time limit they are taken to go on as they last were.
    """
    rewards, last_holds = _model_rewards(episode, config)
    row, lane = jnp.arange(rewards.shape[0])[:, None], jnp.arange(rewards.shape[1])
    stored = episode.length + jnp.where(episode.terminated, config.padding, 0)
    if config.reference.running_return:
        total = jnp.cumsum(rewards, axis=0)
        return jnp.where(row < stored, total, total[stored - 1, lane])
    final = rewards[stored - 1, lane]
    tail = final if last_holds else jnp.where(episode.terminated, 0.0, final)
    gamma = config.target.discount

    def back(after: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, t = now
        target = jnp.where(t < stored, (1.0 - gamma) * reward + gamma * after, tail)
        return target, target

    return jax.lax.scan(back, tail, (rewards, row[:, 0]), reverse=True)[1]


def _model_rewards(episode: Episode, config: RGRLConfig) -> tuple[Array, bool]:
    """Returns rewards ``[L + 1, N]`` as the model reads them, and whether the last one holds past a terminal state.

    Rows that were not stored mean nothing.
    """
    reference, rewards = config.spec.reference, episode.reward
    ended = (jnp.arange(rewards.shape[0])[:, None] >= episode.length - 1) & episode.terminated
    if config.reference.zero_terminal_reward:
        rewards = jnp.where(ended, 0.0, rewards)
    if config.reference.signals != "reference" or reference is None:
        return rewards, config.target.absorbing_reward == "last"
    next_obs = jnp.concatenate([episode.obs[1:], episode.obs[-1:]])
    return jax.vmap(jax.vmap(reference.reward))(rewards, next_obs, ended), True
