"""Agents that learn at every decision of an episode, from steps drawn from replay.

Every decision does in turn: learn from steps of the replay and of the episode so far; act, with noise. So the last
step of an episode is first learnt from at the start of the next. What learns is the policy's carry, `OnlineLearner`:
an episode is an ordinary rollout, and environments on the host need nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import display, normalization, ring_buffer
from rgrl_jax.algos.base import Algorithm, Cost, tree_bytes
from rgrl_jax.algos.ddpg.agent import Agent
from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.update import Batch, TrainedNetwork
from rgrl_jax.envs.spec import EnvSpec, observation_struct
from rgrl_jax.normalization import RunningStatistics, flatten_obs, space_size
from rgrl_jax.ring_buffer import RingBuffer
from rgrl_jax.rollout import Actor, Policy, Timestep, episode_metrics
from rgrl_jax.types import Array, Box, Episode, Key, Metrics, PyTree

OBS_LIMIT = 10.0
"""Greatest size of an observation on a running scale."""

C = TypeVar("C", bound=DDPGConfig)


class Transition(NamedTuple):
    """Steps ``[...]`` as the replay stores them, with raw observations ``[..., *]`` before and after them.

    Executed actions ``[..., *]`` and rewards are the environment's. ``ended``: nothing that follows counts, bool.
    """

    obs: Array
    action: Array
    reward: Array
    next_obs: Array
    ended: Array
    extras: PyTree


class DDPGState(display.Record, struct.PyTreeNode):
    """Everything a run needs to go on; arrays only.

    Row ``i`` of episodes uses ``fold_in(key, i)``. Networks are those of an `Agent`, statistics of the observations
    or an empty tuple; the replay has `Transition`s of finished episodes, and the counts so far are scalars, int32.
    """

    key: Key
    networks: PyTree
    statistics: RunningStatistics | tuple[()]
    replay: RingBuffer
    updates: Array
    episode: Array
    env_steps: Array


class OnlineLearner(struct.PyTreeNode):
    """Carry of the training policy: all that changes within an episode, beside what `DDPGState` names so too.

    Noise on the last actions ``[N, A]``, extras of the decisions so far, leaves ``[L, N, ...]``, and the sum over the
    updates of the mean squared TD error, scalar.
    """

    networks: PyTree
    statistics: RunningStatistics | tuple[()]
    updates: Array
    noise: Array
    extras: PyTree
    error: Array


def init(key: Key, config: DDPGConfig, agent: Agent) -> DDPGState:
    """Draws the weights; the replay is empty."""
    run_key, network_key = jax.random.split(key)
    like, running = observation_struct(config.spec, key), config.obs_normalization == "running"
    obs, action = jnp.zeros(like.shape, like.dtype), jnp.zeros(config.action_space.shape)
    blank = Transition(obs, action, jnp.zeros(()), obs, jnp.bool_(False), agent.extras)
    return DDPGState(
        key=run_key,
        networks=agent.init(network_key),
        statistics=normalization.init_statistics(space_size(config.spec.observation)) if running else (),
        replay=ring_buffer.init(blank, config.replay_capacity),
        updates=jnp.int32(0),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def make_policy(state: DDPGState, config: DDPGConfig, agent: Agent) -> Policy:
    """Makes the policy of a training episode; its carry is an `OnlineLearner`."""
    spec, to_action = config.spec, jax.vmap(partial(normalization.to_env_action, box=config.action_space))

    def policy(key: Key, timestep: Timestep) -> tuple[Array, PyTree, PyTree]:
        learn_key, act_key = jax.random.split(key)
        episode, learner, t = timestep.episode, timestep.carry, timestep.t
        obs, alive = episode.obs[t], ~(episode.terminated | episode.truncated)
        if isinstance(learner.statistics, RunningStatistics):
            vectors = jax.vmap(partial(flatten_obs, space=spec.observation))(obs)
            statistics = normalization.update_statistics(learner.statistics, vectors, alive)
            learner = learner.replace(statistics=statistics)
        # Steps of earlier episodes and of these: so the warm-up may end within an episode.
        steps = state.env_steps + episode.length.sum()
        warmed_up = steps >= config.warmup_steps
        learner = jax.lax.cond(
            warmed_up & (steps > 0),
            # The replay is a constant of the episode's loop. In the carry it would be copied at every step, once per
            # run if several are vmapped. Steps of this episode are drawn from the episode itself.
            lambda learner: update(learn_key, learner, state.replay, episode, config, agent),
            lambda learner: learner,
            learner,
        )
        x = normalize_obs(obs, learner.statistics, config.obs_normalization, spec)
        action, noise, extras = _explore(act_key, learner, x, warmed_up, config, agent)
        extras = jax.tree.map(lambda rows, row: rows.at[t].set(row), learner.extras, extras)
        return to_action(action)[None], learner.replace(noise=noise, extras=extras), {}

    return policy


def normalize_obs(obs: Array, statistics: RunningStatistics | tuple[()], kind: str, spec: EnvSpec) -> Array:
    """Makes network inputs ``[B, n_0]`` of raw observations ``[B, ...]``, by `DDPGConfig.obs_normalization`."""
    x = jax.vmap(partial(flatten_obs, space=spec.observation))(obs)
    if kind == "range" and isinstance(spec.observation, Box):
        return normalization.scale(x, *normalization.bounds(spec.observation))
    if isinstance(statistics, RunningStatistics):
        # Scaled when they are used, not when they are stored: the statistics move on.
        deviation = jnp.sqrt(statistics.squares / jnp.maximum(statistics.count, 1.0))
        return jnp.clip((x - statistics.mean) / (deviation + 1e-4), -OBS_LIMIT, OBS_LIMIT)
    return x


def update(
    key: Key, learner: OnlineLearner, replay: RingBuffer, episode: Episode, config: DDPGConfig, agent: Agent
) -> OnlineLearner:
    """Makes the updates of one decision, from the replay ``[C, ...]`` and the episode so far ``[L + 1, N, ...]``."""
    # Once per decision: only the draws differ among its updates.
    steps = transitions(episode, learner.extras, config.bootstrap)

    def once(learner: OnlineLearner, key: Key) -> tuple[OnlineLearner, None]:
        sample_key, update_key = jax.random.split(key)
        drawn = ring_buffer.sample_with_episodes(sample_key, replay, steps, episode.length, config.batch_size)
        batch = make_batch(drawn, learner.statistics, config)
        networks, error = agent.update(update_key, learner.networks, batch)
        learner = learner.replace(networks=networks, updates=learner.updates + 1, error=learner.error + error)
        return learner, None

    return jax.lax.scan(once, learner, jax.random.split(key, config.updates_per_step))[0]


def transitions(episode: Episode, extras: PyTree, bootstrap: str) -> Transition:
    """Returns the steps of an episode so far, leaves ``[L, N, ...]``; rows from its length on mean nothing."""
    # Nobody knows yet that an episode ends before it does, so the step that ended it is always its last.
    over = episode.terminated | (episode.truncated & (bootstrap == "never"))
    row = jnp.arange(episode.reward.shape[0] - 1)[:, None]
    ended = over & (row == episode.length - 1)
    obs, next_obs = episode.obs[:-1], episode.obs[1:]
    return Transition(obs, episode.action[:-1], episode.reward[:-1], next_obs, ended, extras)


def make_batch(steps: Transition, statistics: RunningStatistics | tuple[()], config: DDPGConfig) -> Batch:
    """Puts steps ``[B, ...]`` on today's scales."""
    normalize = partial(normalize_obs, statistics=statistics, kind=config.obs_normalization, spec=config.spec)
    rescale = jax.vmap(partial(normalization.from_env_action, box=config.action_space))
    x, action = normalize(steps.obs), rescale(steps.action)
    reward, next_x = config.reward_scale * steps.reward, normalize(steps.next_obs)
    bootstrap = jnp.ones_like(steps.reward) if config.bootstrap == "always" else 1.0 - steps.ended
    return Batch(x, action, reward, next_x, bootstrap, steps.extras)


def _explore(
    key: Key, learner: OnlineLearner, x: Array, warmed_up: Array, config: DDPGConfig, agent: Agent
) -> tuple[Array, Array, PyTree]:
    """Returns noisy actions ``[N, A]`` at inputs ``x [N, n_0]``, random ones at first; their noise; and extras."""
    noise_key, extras_key, random_key = jax.random.split(key, 3)
    action, extras = agent.act(learner.networks.actor.weights, x, extras_key)
    noise = next_noise(noise_key, learner.noise, config)
    action = jnp.clip(action + noise, -1.0, 1.0)
    random = jax.random.uniform(random_key, action.shape, minval=-1.0, maxval=1.0)
    return jnp.where(warmed_up, action, random), noise, extras


def next_noise(key: Key, noise: Array, config: DDPGConfig) -> Array:
    """Draws the noise ``[N, A]`` that follows ``noise``, for actions in -1..1.

    An Ornstein-Uhlenbeck process is ``x' = x - theta x + sigma xi`` with standard normal ``xi``, from 0 at the start
    of an episode (Lillicrap et al., 2016, with steps of length 1).
    """
    if config.noise == "none":
        return jnp.zeros_like(noise)
    kept = (1.0 - config.ou_theta) * noise if config.noise == "ou" else 0.0
    return kept + config.noise_std * jax.random.normal(key, noise.shape)


def act(state: DDPGState, config: DDPGConfig, agent: Agent) -> Actor:
    """Returns the actor of the next ``N`` training episodes, which learns in them; its noise starts at rest."""
    rows = (config.spec.max_steps, config.num_envs)
    noise = jnp.zeros((config.num_envs, space_size(config.action_space)))
    extras = jax.tree.map(lambda x: jnp.zeros((*rows, *x.shape), x.dtype), agent.extras)
    learner = OnlineLearner(state.networks, state.statistics, state.updates, noise, extras, jnp.float32(0.0))
    key = jax.random.fold_in(state.key, state.episode)
    return Actor(key, make_policy(state, config, agent), config.num_envs, learner, {})


def learn(
    state: DDPGState, episode: Episode, learner: OnlineLearner, config: DDPGConfig
) -> tuple[DDPGState, Metrics]:
    """Stores episodes ``[L + 1, N, ...]`` in the replay, and what the policy has learnt within them in the state."""
    steps = transitions(episode, learner.extras, config.bootstrap)
    after = state.replace(
        networks=learner.networks,
        statistics=learner.statistics,
        replay=ring_buffer.add_episodes(state.replay, steps, episode.length),
        updates=learner.updates,
        episode=state.episode + 1,
        env_steps=state.env_steps + episode.length.sum(dtype=jnp.int32),
    )
    updates = (learner.updates - state.updates).astype(jnp.float32)
    loss, info = learner.error / jnp.maximum(updates, 1.0), {"replay_size": ring_buffer.size(after.replay)}
    return after, episode_metrics(episode, episodes=after.episode, env_steps=after.env_steps, loss=loss, info=info)


def evaluation_actor(key: Key, state: DDPGState, config: DDPGConfig, num_envs: int, agent: Agent) -> Actor:
    """Returns the actor of ``N`` episodes of the frozen agent, without any noise."""
    spec, to_action = config.spec, jax.vmap(partial(normalization.to_env_action, box=config.action_space))

    def policy(key: Key, timestep: Timestep) -> tuple[Array, PyTree, PyTree]:
        obs = timestep.episode.obs[timestep.t]
        x = normalize_obs(obs, state.statistics, config.obs_normalization, spec)
        action, _ = agent.act(state.networks.actor.weights, x, None)
        return to_action(action)[None], (), {}

    return Actor(key, policy, num_envs, info={})


def cost(config: DDPGConfig, agent: Agent) -> Cost:
    """Counts what a run costs.

    A weight is counted with 6 operations per step of a batch, forward and backward, and with 2 more for its target.
    """
    state = jax.eval_shape(partial(init, config=config, agent=agent), jax.eval_shape(lambda: jax.random.key(0)))
    trained = jax.tree.leaves(state.networks, is_leaf=lambda x: isinstance(x, TrainedNetwork))
    count = sum(x.size for x in jax.tree.leaves([network.weights for network in trained]))
    longest = config.spec.max_steps
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=config.episodes * longest * config.num_envs,
        updates=config.episodes * longest * config.updates_per_step,
        parameters=count,
        learn_flops=longest * config.updates_per_step * config.batch_size * 8 * count,
        state_bytes=tree_bytes(state),
        extra={"replay_bytes": tree_bytes(state.replay)},
    )


def make_algorithm(make_agent: Callable[[C], Agent]) -> Algorithm[C, Any]:
    """Makes the algorithm that trains the agents of a kind of config."""
    return Algorithm(
        init=lambda key, config: init(key, config, make_agent(config)),
        act=lambda state, config: act(state, config, make_agent(config)),
        learn=learn,
        evaluation_actor=lambda key, state, config, n: evaluation_actor(key, state, config, n, make_agent(config)),
        cost=lambda config: cost(config, make_agent(config)),
    )
