"""Reversal Generative RL, Algorithm 1 of the paper.

An episode: before every step descend the error of predicted against desired rewards on the plan, another member drawn
in each iteration; execute; then train every member on windows of what happened.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import display
from rgrl_jax.algos.base import Algorithm, Cost, register_algorithm, tree_bytes
from rgrl_jax.algos.rgrl import window_replay
from rgrl_jax.algos.rgrl.act import blank_info, exploration_rate, make_policy, plan_noise
from rgrl_jax.algos.rgrl.build import build, build_for_planning
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.learn import init_members, maybe_reset_members, store_episode, train_members
from rgrl_jax.algos.rgrl.presets import PRESETS
from rgrl_jax.envs.spec import observation_struct
from rgrl_jax.rollout import Actor, episode_metrics
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree


class RGRLState(display.Record, struct.PyTreeNode):
    """State of a run, arrays only: members ``[E, ...]``, and the episodes trained and steps taken as scalar int32.

    Episode ``i`` uses ``fold_in(key, i)``.
    """

    key: Key
    params: PyTree
    opt_state: PyTree
    replay: window_replay.ReplayState
    episode: Array
    env_steps: Array


def init(key: Key, config: RGRLConfig) -> RGRLState:
    """Draws the ensemble and makes an empty replay (lines 1-2)."""
    components = build(config)
    run_key, params_key = jax.random.split(key)
    params, opt_state = init_members(params_key, config, components)
    action = jax.eval_shape(components.codec.decode_action, jnp.zeros(components.codec.action_size))
    obs = observation_struct(components.env, key)
    return RGRLState(
        key=run_key,
        params=params,
        opt_state=opt_state,
        replay=window_replay.init(obs, action, capacity=config.replay.capacity, dedupe=config.reference.dedupe),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def _keys(state: RGRLState) -> Key:
    """Derives the keys of the next episode: for acting, for new members, for learning, and for eviction."""
    return jax.random.split(jax.random.fold_in(state.key, state.episode), 4)


def act(state: RGRLState, config: RGRLConfig) -> Actor:
    """Makes the actor of the next training episode (lines 7-14)."""
    noise, rate = plan_noise(state.episode, config), exploration_rate(state.episode, config.explore)
    policy = make_policy(state.params, config, build_for_planning(config), noise, rate)
    return Actor(_keys(state)[0], policy, config.num_envs, info=blank_info(config.num_envs), padding=config.padding)


def learn(state: RGRLState, episode: Episode, carry: PyTree, config: RGRLConfig) -> tuple[RGRLState, Metrics]:
    """Stores a training episode and trains the members (lines 16-27)."""
    del carry
    components, (_, reset_key, learn_key, evict_key) = build(config), _keys(state)
    members = (state.params, state.opt_state)
    members = maybe_reset_members(reset_key, members, state.episode, config, components)
    replay = store_episode(state.replay, episode, components.codec, config)
    (params, opt_state), replay, loss = train_members(learn_key, members, replay, config, components)
    replay = window_replay.evict(evict_key, replay, config.replay.max_windows)
    steps = episode.length.sum(dtype=jnp.int32) * config.action_repeat
    after = state.replace(
        params=params,
        opt_state=opt_state,
        replay=replay,
        episode=state.episode + 1,
        env_steps=state.env_steps + steps,
    )
    info = {name: value.mean() for name, value in episode.info.items()}
    info |= {"plan_noise": plan_noise(state.episode, config), "windows": window_replay.num_windows(replay)}
    return after, episode_metrics(episode, episodes=after.episode, env_steps=after.env_steps, loss=loss, info=info)


def evaluation_actor(key: Key, state: RGRLState, config: RGRLConfig, num_envs: int) -> Actor:
    """Makes the actor of noiseless episodes; the member draws are shared among them."""
    config = without_exploration(config)
    nothing = jnp.float32(0.0)
    policy = make_policy(state.params, config, build_for_planning(config), nothing, nothing)
    return Actor(key, policy, num_envs, info=blank_info(num_envs))


def without_exploration(config: RGRLConfig) -> RGRLConfig:
    """Returns the config that noiseless episodes are planned with: without novelty or steps past the end."""
    return config.replace_at("reference.past_end", "absorb").replace_at("planner.novelty_weight", 0.0)


def cost(config: RGRLConfig) -> Cost:
    """Counts what a run costs: 2 operations per weight and model step forward, and as many for each backward pass."""
    planner, learner, spec = config.planner, config.learner, config.spec
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(partial(init, config=config), key)
    count = sum(x.size for x in jax.tree.leaves(state.params)) // config.model.ensemble_size
    passes = 4 if planner.kind == "gradient" else 2 * planner.samples  # operations per weight
    planned = max(config.episodes - config.explore.warmup_episodes, 0) * config.num_envs
    samples = config.model.ensemble_size * learner.updates_per_episode * learner.batch_size * planner.horizon
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=config.episodes * config.num_envs * spec.max_steps * config.action_repeat,
        updates=config.episodes * learner.updates_per_episode,
        parameters=count,
        learn_flops=6 * count * samples,
        state_bytes=tree_bytes(state),
        extra={
            "plans": planned * -(-spec.max_steps // planner.replan_every),
            "plan_flops": passes * count * planner.num_starts * planner.iterations * planner.horizon,
        },
    )


register_algorithm("rgrl", RGRLConfig, Algorithm(init, act, learn, evaluation_actor, cost), PRESETS)
