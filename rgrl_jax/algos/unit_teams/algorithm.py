"""Unit teams as an online actor-critic (Chung and Barto's reference code).

Every decision of a training episode, in turn: draws the activities of actor and critic; learns from the step before,
by its TD error and the traces up to there; adds the eligibilities of this decision to the traces; acts. The networks
learn in the policy's carry, an `OnlineLearner`, and `learn` takes them from there at the end.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import display
from rgrl_jax.algos.base import Algorithm, Cost, register_algorithm, tree_bytes
from rgrl_jax.algos.unit_teams import online_learner
from rgrl_jax.algos.unit_teams.build import build, decode_action
from rgrl_jax.algos.unit_teams.config import UnitTeamConfig
from rgrl_jax.algos.unit_teams.network import NetworkSpec, draw_uniform, forward, init_weights
from rgrl_jax.algos.unit_teams.online_learner import OnlineLearner
from rgrl_jax.algos.unit_teams.presets import PRESETS
from rgrl_jax.algos.unit_teams.weight_updates import TrainedNetwork, init_network
from rgrl_jax.normalization import flatten_obs
from rgrl_jax.rollout import Actor, Timestep, episode_metrics
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree


class UnitTeamState(display.Record, struct.PyTreeNode):
    """State of a run between episodes; counts are scalar int32.

    Attributes:
      updates: weight updates so far.
      episode: rows of the metrics finished.
      episode_in_row: episodes finished of the present row, below ``episodes_per_row``.
    """

    key: Key
    actor: TrainedNetwork
    critic: TrainedNetwork | None
    updates: Array
    episode: Array
    episode_in_row: Array
    env_steps: Array


def init(key: Key, config: UnitTeamConfig) -> UnitTeamState:
    """Draws the weights."""
    agent = build(config)
    run_key, actor_key, critic_key = jax.random.split(key, 3)

    def network(key: Key, spec: NetworkSpec) -> TrainedNetwork:
        return init_network(init_weights(key, spec, config.initial_bias), agent.actor_optimizer)

    actor = network(actor_key, agent.actor)
    critic = None if agent.critic is None else network(critic_key, agent.critic)
    counts = {name: jnp.int32(0) for name in ("updates", "episode", "episode_in_row", "env_steps")}
    return UnitTeamState(run_key, actor, critic, **counts)


def act(state: UnitTeamState, config: UnitTeamConfig) -> Actor:
    """Makes the actor of the next training episode, which learns at every step."""
    key = jax.random.fold_in(state.key, state.episode)
    if config.episodes_per_row > 1:  # a row of one episode is keyed like the episodes of all algorithms
        key = jax.random.fold_in(key, state.episode_in_row)
    spec, agent = config.spec, build(config)

    def policy(key: Key, timestep: Timestep) -> tuple[Array, PyTree, PyTree]:
        learner: OnlineLearner = timestep.carry
        x = jax.vmap(partial(flatten_obs, space=spec.observation))(timestep.episode.obs[timestep.t])
        decision = online_learner.decide(key, learner, agent, x)
        if spec.max_steps > 1:  # else there is no step before this decision
            episode, t = timestep.episode, timestep.t
            learner = online_learner.learn_from_step(learner, episode, t, decision.value, agent, config)
        learner = online_learner.update_traces(learner, decision, agent, config)
        if config.learning_signal == "target":
            learner = learner.replace(target=timestep.env_state.target)
        actions = jax.vmap(partial(decode_action, space=spec.action, config=config))(decision.actor_pass.h[-1])
        return actions[None], learner, {}

    learner = online_learner.start_learner(state.actor, state.critic, state.updates, config)
    return Actor(key, policy, config.num_envs, learner, info={})


def learn(
    state: UnitTeamState, episode: Episode, carry: OnlineLearner, config: UnitTeamConfig
) -> tuple[UnitTeamState, Metrics]:
    """Learns from the last step of the episode; ``carry`` has learnt from the others."""
    # The policy learns from a step when it is asked for the next action, which never happens after the last.
    end = episode.length.max()
    value = jnp.zeros(config.num_envs)
    learner = online_learner.learn_from_step(carry, episode, end, value, build(config), config)
    played = state.episode_in_row + 1
    row_is_full = played == config.episodes_per_row
    state = state.replace(
        actor=learner.actor,
        critic=learner.critic,
        updates=learner.updates,
        episode=state.episode + row_is_full,
        episode_in_row=jnp.where(row_is_full, 0, played),
        env_steps=state.env_steps + episode.length.sum(dtype=jnp.int32),
    )
    loss = learner.squared_signal / end
    return state, episode_metrics(episode, episodes=state.episode, env_steps=state.env_steps, loss=loss)


def evaluation_actor(key: Key, state: UnitTeamState, config: UnitTeamConfig, num_envs: int) -> Actor:
    """Makes the actor of ``N`` episodes of the frozen agent, whose units go on drawing: that is its policy."""
    spec, actor, weights = config.spec, build(config).actor, state.actor.weights

    def policy(key: Key, timestep: Timestep) -> tuple[Array, PyTree, PyTree]:
        x = jax.vmap(partial(flatten_obs, space=spec.observation))(timestep.episode.obs[timestep.t])
        u = draw_uniform(key, (num_envs, actor.num_draws))
        output = jax.vmap(partial(forward, weights, actor))(u, x).h[-1]
        return jax.vmap(partial(decode_action, space=spec.action, config=config))(output)[None], (), {}

    return Actor(key, policy, num_envs, info={})


def cost(config: UnitTeamConfig) -> Cost:
    """Counts the cost of a run; ``parameters`` are those of actor and critic."""
    specs = build(config)[:2]
    actor, critic = (sum(math.prod(shape) for shape in spec.shapes) if spec else 0 for spec in specs)
    episodes, max_steps = config.episodes_per_row, config.spec.max_steps
    state = jax.eval_shape(partial(init, config=config), jax.eval_shape(lambda: jax.random.key(0)))
    # Forward pass, traces and update are counted as 10 operations per weight, each step to the modes as 4.
    map_steps = config.map_steps if config.units == "gaussian" else 2 * config.icm_sweeps
    actor_flops = actor * (10 + 4 * map_steps * (config.algorithm == "map_prop"))
    critic_flops = critic * (10 + 4 * config.map_steps * (config.critic == "map_prop"))
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=config.episodes * episodes * max_steps * config.num_envs,
        updates=config.episodes * episodes * max_steps,
        parameters=actor + critic,
        learn_flops=episodes * max_steps * config.num_envs * (actor_flops + critic_flops),
        state_bytes=tree_bytes(state),
    )


ALGORITHM = Algorithm(init, act, learn, evaluation_actor, cost)
for _name in PRESETS:
    register_algorithm(_name, UnitTeamConfig, ALGORITHM, PRESETS[_name])
