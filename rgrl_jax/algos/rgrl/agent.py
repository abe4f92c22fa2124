"""Reversal Generative RL, Algorithm 1 of the paper.

An episode: before every step descend the error of predicted against desired rewards on the plan, another
member drawn in each iteration; execute; then train every member on windows of what happened.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import learning, replay, showing
from rgrl_jax.algos.base import Algorithm, Cost, Halves, register_algorithm
from rgrl_jax.algos.rgrl.acting import first_view, make_policy, plan_noise, randomness
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.learning import begin_learning, learn, learn_count, make_optimizer, remember
from rgrl_jax.algos.rgrl.parts import draw_members, padding, parts
from rgrl_jax.envs.spec import observation_struct
from rgrl_jax.models.precision import matmul_precision
from rgrl_jax.rollout import Acting, Policy, Rollout, advance, as_metrics, begin, finish, rollout
from rgrl_jax.types import Array, Episode, Key, Metrics, PyTree

RECENT = 10
"""Episodes whose mean return counts as the agent's progress."""


class TrainState(struct.PyTreeNode):
    """Everything a run needs to go on; arrays only.

    Attributes:
      key: the run's key; episode ``i`` uses ``fold_in(key, i)``.
      params: members ``[E, ...]``.
      opt_state: their optimiser states ``[E, ...]``.
      replay: stored steps.
      returns: of the last episodes, newest last ``[10]``; 0 before the first.
      episode: episodes finished, scalar int32.
      env_steps: environment steps taken, scalar int32.
    """

    key: Key
    params: PyTree
    opt_state: PyTree
    replay: replay.ReplayState
    returns: Array
    episode: Array
    env_steps: Array

    def __repr__(self) -> str:
        return showing.show_record(self)

    def _repr_html_(self) -> str:
        return showing.record_html(self)


def init(key: Key, config: RGRLConfig) -> TrainState:
    """Draws the ensemble and makes an empty replay (lines 1-2)."""
    spec, codec, _ = parts(config)
    run_key, params_key = jax.random.split(key)
    params = draw_members(params_key, config)
    action = jax.eval_shape(codec.decode_action, jnp.zeros(codec.action_size))
    return TrainState(
        key=run_key,
        params=params,
        opt_state=learning.init(params, make_optimizer(config)),
        replay=replay.init(observation_struct(spec, key), action, capacity=config.replay_capacity, dedupe=config.dedupe),
        returns=jnp.zeros(RECENT),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def step(state: TrainState, config: RGRLConfig) -> tuple[TrainState, Metrics]:
    """One episode and the learning after it, or within it (lines 3-28)."""
    if config.learn_every:
        episode, learnt, loss = _act_and_learn(state, config)
        return _conclude(state, learnt, episode, loss, config)
    return learn_from(state, _play(act(state, config), config), (), config)


def act(state: TrainState, config: RGRLConfig) -> Acting:
    """How the next training episode is played (lines 7-14)."""
    noise, explore = plan_noise(state.episode, config), randomness(state.episode, config)
    return _acting(_keys(state)[0], state.params, config, noise, explore, config.num_envs)


def learn_from(state: TrainState, episode: Episode, memory: PyTree, config: RGRLConfig) -> tuple[TrainState, Metrics]:
    """The learning after an episode that was played as `act` says (lines 16-27); memories of plans are forgotten."""
    del memory
    _, reset_key, learn_key, _ = _keys(state)
    params, opt_state = begin_learning(reset_key, state.params, state.opt_state, state.episode, config)
    begun = state.replace(params=params, opt_state=opt_state)
    learnt, loss = _learn(learn_key, begun, state.replay, episode, episode.length.sum(), config)
    return _conclude(state, learnt, episode, loss, config)


def _keys(state: TrainState) -> Key:
    """Of the next episode: for acting, for a new ensemble, for learning, and for what the replay forgets."""
    return jax.random.split(jax.random.fold_in(state.key, state.episode), 4)


def _conclude(
    state: TrainState, learnt: TrainState, episode: Episode, loss: Array, config: RGRLConfig
) -> tuple[TrainState, Metrics]:
    """Counts an episode and makes room in the replay; ``state`` is that before it."""
    returns, length = episode.episode_return.mean(), episode.length.sum(dtype=jnp.int32)
    noise = plan_noise(state.episode, config)
    state = learnt.replace(
        replay=replay.evict(_keys(state)[3], learnt.replay, config.max_windows),
        returns=jnp.append(state.returns[1:], returns),
        episode=state.episode + 1,
        env_steps=state.env_steps + length * config.action_repeat,
    )
    windows = replay.num_windows(state.replay)
    metrics = as_metrics(episode, finished=state.episode, env_steps=state.env_steps, loss=loss, windows=windows)
    info = jax.tree.map(jnp.mean, episode.info)
    return state, metrics.replace(plan_loss=info["plan_loss"], plan_movement=info["plan_movement"], plan_noise=noise)


def _acting(key: Key, params: PyTree, config: RGRLConfig, noise: Array, explore: Array, num_envs: int) -> Acting:
    """One ensemble plays ``N`` episodes."""
    policy = make_policy(params, config, noise, explore)
    return Acting(key, policy, num_envs, padding=padding(config), **first_view(config, num_envs))


def _play(acting: Acting, config: RGRLConfig) -> Episode:
    """Plays them in one program."""
    return rollout(spec=config.spec, **acting._asdict())


def _learn(
    key: Key, state: TrainState, before: replay.ReplayState, episode: Episode, new_steps: Array, config: RGRLConfig
) -> tuple[TrainState, Array]:
    """Learns from the episode on top of the replay as it was ``before`` it; returns the state and the mean loss."""
    memory = remember(before, episode, config)
    count = learn_count(new_steps, _progress(state, config), config)
    with matmul_precision(config.precision):
        params, opt_state, memory, loss = learn(key, state.params, state.opt_state, memory, config, count)
    return state.replace(params=params, opt_state=opt_state, replay=memory), loss


def _progress(state: TrainState, config: RGRLConfig) -> Array:
    """Mean of the last returns on the scale of the environment's, 0..1; 0 before the first."""
    low, high = parts(config).spec.return_range
    mean = state.returns.sum() / jnp.clip(state.episode, 1, RECENT)
    return jnp.where(state.episode == 0, 0.0, jnp.clip((mean - low) / (high - low), 0.0, 1.0))


def _act_and_learn(state: TrainState, config: RGRLConfig) -> tuple[Episode, TrainState, Array]:
    """One episode, interrupted every ``learn_every`` steps to learn from all that happened so far.

    The replay is filled anew each time, with the episode up to there on top of what was there before it.
    """
    act_key, _, learn_key, _ = _keys(state)
    spec, pad, before = parts(config).spec, padding(config), state.replay
    noise, explore = plan_noise(state.episode, config), randomness(state.episode, config)

    def policy(state: TrainState) -> Policy:
        return make_policy(state.params, config, noise, explore)

    def running(carry: tuple[Rollout, TrainState, Array]) -> Array:
        return ~jnp.all(carry[0].episode.terminated | carry[0].episode.truncated)

    def act_then_learn(carry: tuple[Rollout, TrainState, Array]) -> tuple[Rollout, TrainState, Array]:
        last, state, _ = carry
        now = advance(last, spec, policy(state), until=last.t + config.learn_every, padding=pad)
        new_steps = now.episode.length.sum() - last.episode.length.sum()
        return now, *_learn(jax.random.fold_in(learn_key, now.t), state, before, finish(now), new_steps, config)

    known = first_view(config, config.num_envs)
    started = begin(act_key, spec, policy(state), num_envs=config.num_envs, padding=pad, **known)
    done, state, loss = jax.lax.while_loop(running, act_then_learn, (started, state, jnp.zeros(())))
    return finish(done), state, loss


def show(key: Key, state: TrainState, config: RGRLConfig, num_episodes: int) -> Acting:
    """How ``N`` noiseless episodes of the frozen agent are played, the member draws shared among them."""
    config = config.replace(padding="virtual", plan_novelty=0.0)
    return _acting(key, state.params, config, jnp.float32(0.0), jnp.float32(0.0), num_episodes)


def play(key: Key, state: TrainState, config: RGRLConfig, num_episodes: int) -> Episode:
    """Plays them in one program."""
    return _play(show(key, state, config, num_episodes), config)


def describe(config: RGRLConfig) -> Cost:
    """Counts what a run costs; nothing compiles."""
    config.validate()
    spec = parts(config).spec
    key = jax.eval_shape(lambda: jax.random.key(0))
    members = jax.eval_shape(partial(draw_members, config=config), key)
    count = sum(x.size for x in jax.tree.leaves(members)) // config.ensemble_size
    state = jax.eval_shape(partial(init, config=config), key)
    passes = 4 if config.planner == "gradient" else 2 * config.plan_samples  # operations per weight
    model_steps = config.plan_starts * config.plan_iterations * config.horizon
    if config.plan_members == "mean":
        model_steps *= config.ensemble_size
    samples = config.ensemble_size * config.learn_iterations * config.learn_batch * config.horizon
    planned = max(config.episodes - config.warmup_episodes, 0) * config.num_envs
    steps = config.episodes * config.num_envs * spec.max_steps
    learned = steps if config.learn_law == "per_step" else config.episodes
    if config.learn_every and config.learn_law != "per_step":
        learned *= -(-spec.max_steps // config.learn_every)
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=steps * config.action_repeat,
        plans=planned * -(-spec.max_steps // config.replan_every),
        updates=learned * config.learn_iterations,
        parameters=count,
        plan_flops=passes * count * model_steps,
        learn_flops=6 * count * samples * learned // config.episodes,
        state_bytes=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        settings={field.name: getattr(config, field.name) for field in dataclasses.fields(config)},
    )


HALVES = Halves(lambda config: config.spec, act, show, learn_from)
ALGORITHM = Algorithm(init, step, play, describe, HALVES, shared=("num_envs", "learn_batch"))
register_algorithm("rgrl", RGRLConfig, ALGORITHM)
