"""Reversal Generative RL, Algorithm 1 of the paper.

An episode: before every step descend the error of predicted against desired rewards on the plan, another
member drawn in each iteration; execute; then train every member on windows of what happened.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import ensemble, learning, replay, schedules
from rgrl_jax.algos.base import Algorithm, Cost, register_algorithm
from rgrl_jax.algos.rgrl_config import RGRLConfig
from rgrl_jax.encoding import Codec, make_codec
from rgrl_jax.envs.registry import make_spec
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.models.base import Model, make_model
from rgrl_jax.planning.gradient import make_plan_optimizer, plan
from rgrl_jax.rollout import Policy, rollout
from rgrl_jax.types import Array, Episode, History, Key, Metrics, PyTree, Window


class TrainState(struct.PyTreeNode):
    """Everything a run needs to go on; arrays only.

    Attributes:
      key: the run's key; episode ``i`` uses ``fold_in(key, i)``.
      params: members ``[E, ...]``.
      opt_state: their optimiser states ``[E, ...]``.
      replay: stored steps.
      episode: episodes finished, scalar int32.
      env_steps: environment steps taken, scalar int32.
    """

    key: Key
    params: PyTree
    opt_state: PyTree
    replay: replay.ReplayState
    episode: Array
    env_steps: Array


def parts(config: RGRLConfig) -> tuple[EnvSpec, Codec, Model]:
    """The environment, encoders and model that a config names."""
    spec = make_spec(config.env_id, config.max_steps)
    observation, reward_range = spec.observation, spec.reward_range
    if config.signals == "reference" and spec.reference is not None:
        observation, reward_range = spec.reference.observation, spec.reference.reward_range
    codec = make_codec(
        observation,
        spec.action,
        reward_range,
        state_encoding=config.state_encoding,
        state_bins=config.state_bins,
        done_size=config.done_size,
        reward_encoding=config.reward_encoding,
        reward_bins=config.reward_bins,
    )
    sizes = {"state_size": codec.state_size, "action_size": codec.action_size, "reward_size": codec.reward_size}
    return spec, codec, make_model(config.model, config, **sizes)


def init(key: Key, config: RGRLConfig) -> TrainState:
    """Draws the ensemble and makes an empty replay (lines 1-2)."""
    spec, _, model = parts(config)
    run_key, params_key = jax.random.split(key)
    params = ensemble.init(params_key, model.init, config.ensemble_size)
    blank = jax.eval_shape(lambda k: rollout(k, spec, partial(_random_policy, config)), key)
    return TrainState(
        key=run_key,
        params=params,
        opt_state=learning.init(params, _optimizer(config)),
        replay=replay.init(
            jax.ShapeDtypeStruct(blank.obs.shape[2:], blank.obs.dtype),
            jax.ShapeDtypeStruct(blank.action.shape[2:], blank.action.dtype),
            capacity=config.replay_capacity,
            dedupe=config.dedupe,
        ),
        episode=jnp.int32(0),
        env_steps=jnp.int32(0),
    )


def step(state: TrainState, config: RGRLConfig) -> tuple[TrainState, Metrics]:
    """One episode and the learning after it (lines 3-28)."""
    keys = jax.random.split(jax.random.fold_in(state.key, state.episode), 4)
    act_key, reset_key, learn_key, evict_key = keys
    noise = plan_noise(state.episode, config)
    explore = state.episode < config.warmup_episodes
    spec, _, _ = parts(config)
    episode = rollout(act_key, spec, make_policy(state.params, config, noise, explore))

    memory = remember(state.replay, episode, config)
    params, opt_state = _begin_learning(reset_key, state, config)
    params, opt_state, memory, losses = learn(learn_key, params, opt_state, memory, config)
    memory = replay.evict(evict_key, memory, config.max_windows)

    length = episode.length.sum(dtype=jnp.int32)
    state = state.replace(
        params=params,
        opt_state=opt_state,
        replay=memory,
        episode=state.episode + 1,
        env_steps=state.env_steps + length,
    )
    metrics = Metrics(
        episode=state.episode,
        env_steps=state.env_steps,
        episode_return=episode.episode_return[0],
        episode_length=length,
        terminated=episode.terminated[0],
        model_loss=losses.mean(),
        plan_loss=episode.info["plan_loss"][0],
        plan_movement=episode.info["plan_movement"][0],
        plan_noise=noise,
        windows=replay.num_windows(memory),
    )
    return state, metrics


def play(key: Key, state: TrainState, config: RGRLConfig, num_episodes: int) -> Episode:
    """Plays ``N`` noiseless episodes of the frozen agent, the member draws shared among them."""
    spec, _, _ = parts(config)
    policy = make_policy(state.params, config, jnp.float32(0.0), jnp.bool_(False))
    return rollout(key, spec, policy, num_envs=num_episodes)


def plan_noise(episode: Array, config: RGRLConfig) -> Array:
    """Half-width of the plan's start in an episode: annealed and reset, warm-up episodes not counted."""
    planned = jnp.maximum(episode - config.warmup_episodes, 0)
    return schedules.annealed_with_reset(planned, config.plan_noise, config.plan_noise_decay, config.plan_noise_cycle)


def make_policy(params: PyTree, config: RGRLConfig, noise: Array, explore: Array) -> Policy:
    """The acting half of the algorithm as a policy for `rollout` (lines 7-14).

    Args:
      params: members ``[E, ...]``.
      config: the config.
      noise: half-width of the plan's random start.
      explore: scalar bool; act at random instead of planning.
    """
    spec, codec, model = parts(config)

    def policy(key: Key, episode: Episode, t: Array) -> tuple[Array, PyTree]:
        def explored() -> tuple[Array, PyTree]:
            return _random_policy(config, key, episode, t)

        def planned() -> tuple[Array, PyTree]:
            present = jax.vmap(codec.encode_state, in_axes=(0, None))(episode.obs[t], jnp.bool_(False))
            history = _recent(episode, t, codec, config.history_length)
            steps, info = _plan_rows(key, params, model, history, present, config, noise, codec.action_size)
            return jax.vmap(jax.vmap(codec.decode_action))(jnp.swapaxes(steps, 0, 1)), info

        return jax.lax.cond(explore, explored, planned)

    return policy


def _random_policy(config: RGRLConfig, key: Key, episode: Episode, t: Array) -> tuple[Array, PyTree]:
    """Uniform actions ``[M, N, ...]``."""
    spec = make_spec(config.env_id, config.max_steps)
    del t
    n = episode.length.shape[0]
    codec = make_codec(spec.observation, spec.action, spec.reward_range)
    steps = jax.random.uniform(key, (config.replan_every, n, codec.action_size), minval=-1.0, maxval=1.0)
    zeros = jnp.zeros(n)
    return jax.vmap(jax.vmap(codec.decode_action))(steps), {"plan_loss": zeros, "plan_movement": zeros}


def _recent(episode: Episode, t: Array, codec: Codec, history_length: int) -> History:
    """The last ``H`` steps before ``t`` of every environment, encoded: ``[N, H, S]`` and ``[N, H, A]``."""
    rows = t - history_length + jnp.arange(history_length)
    known = (rows >= 0)[None, :, None]
    obs, action = (jnp.swapaxes(x[jnp.maximum(rows, 0)], 0, 1) for x in (episode.obs, episode.action))
    encode_state = jax.vmap(jax.vmap(lambda o: codec.encode_state(o, jnp.bool_(False))))
    encode_action = jax.vmap(jax.vmap(codec.encode_action))
    return History(jnp.where(known, encode_state(obs), -1.0), jnp.where(known, encode_action(action), -1.0))


def _plan_rows(
    key: Key,
    params: PyTree,
    model: Model,
    history: History,
    present: Array,
    config: RGRLConfig,
    noise: Array,
    action_size: int,
) -> tuple[Array, PyTree]:
    """Plans for ``N`` presents with ``P`` starts each; the member draws are shared by all rows.

    Returns:
      The first ``M`` steps of the plan that the ensemble scores best, ``[N, M, A]``, and diagnostics ``[N]``.
    """
    noise_key, member_key = jax.random.split(key)
    n, starts = present.shape[0], config.plan_starts
    width = jnp.where(jnp.arange(starts) == 0, noise, jnp.maximum(noise, config.plan_spread))
    shape = (n, starts, config.horizon, action_size)
    init_plan = jax.random.uniform(noise_key, shape, minval=-1.0, maxval=1.0) * width[:, None, None]
    # History runs once per environment step and member: [N, E, ...]
    memory = jax.vmap(jax.vmap(model.remember, in_axes=(0, None)), in_axes=(None, 0))(params, history)

    def one(memory: PyTree, present: Array, init_plan: Array) -> Any:
        return plan(
            member_key,
            (params, memory),
            lambda member, state, actions: model.apply(member[0], member[1], state, actions),
            present,
            init_plan,
            iterations=config.plan_iterations,
            optimizer=make_plan_optimizer(config.plan_optimizer, config.plan_lr),
            desired_reward=config.desired_reward,
            reduction=config.plan_loss_reduction,
            members=config.plan_members,
        )

    out = jax.vmap(jax.vmap(one, in_axes=(None, None, 0)))(memory, present, init_plan)  # [N, P, ...]
    best = out.score.mean(axis=-1).argmin(axis=-1) if starts > 1 else jnp.zeros(n, jnp.int32)
    out = jax.vmap(lambda rows, i: jax.tree.map(lambda x: x[i], rows))(out, best)
    loss = out.loss[:, -1] if config.plan_iterations else out.score.mean(axis=-1)
    info = {"plan_loss": loss, "plan_movement": out.movement}
    return out.plan[:, : config.replan_every], info


def remember(memory: replay.ReplayState, episode: Episode, config: RGRLConfig) -> replay.ReplayState:
    """Stores every episode and drops duplicate windows (lines 16, 19, 20)."""
    _, codec, _ = parts(config)
    targets = reward_targets(episode, config)

    def store(memory: replay.ReplayState, n: Array) -> tuple[replay.ReplayState, None]:
        obs, action, target = (x[:, n] for x in (episode.obs, episode.action, targets))
        memory = replay.add(memory, obs, action, target, episode.length[n], episode.terminated[n])
        memory = replay.drop_duplicates(
            memory, episode.length[n], codec, history_length=config.history_length, horizon=config.horizon
        )
        return memory, None

    return jax.lax.scan(store, memory, jnp.arange(episode.length.shape[0]))[0]


def reward_targets(episode: Episode, config: RGRLConfig) -> Array:
    """What the model learns as reward, ``[L + 1, N]``: a discounted average of the rewards to come.

    ``g_t = (1 - gamma) r_t + gamma g_{t+1}``, so gamma = 0 is the paper's reward per step. Past a terminal
    state all rewards are 0, or with the reference's signals what the end showed; past a time limit they are
    taken to go on as they last were.
    """
    spec = make_spec(config.env_id, config.max_steps)
    rewards, length = episode.reward, episode.length
    row = jnp.arange(rewards.shape[0])[:, None]
    last = (row == length - 1) & episode.terminated
    if config.zero_terminal_reward:
        rewards = jnp.where(last, 0.0, rewards)
    reference = config.signals == "reference" and spec.reference is not None
    if reference and spec.reference is not None:
        shown = jax.vmap(jax.vmap(spec.reference.reward))
        next_obs = jnp.concatenate([episode.obs[1:], episode.obs[-1:]])
        rewards = jnp.where(row < length, shown(rewards, next_obs, last), 0.0)
    lane = jnp.arange(length.shape[0])
    final = rewards[length - 1, lane]
    tail = final if reference else jnp.where(episode.terminated, 0.0, final)
    gamma = config.reward_discount

    def back(after: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, t = now
        target = jnp.where(t < length, (1.0 - gamma) * reward + gamma * after, tail)
        return target, target

    return jax.lax.scan(back, tail, (rewards, row[:, 0]), reverse=True)[1]


def _begin_learning(key: Key, state: TrainState, config: RGRLConfig) -> tuple[PyTree, PyTree]:
    """The weights and optimiser states that learning starts from: the present ones, or new ones now and then.

    What an ensemble learnt from its first few steps stays with it and biases all that comes after; one that
    is drawn anew and trained on the whole replay is free of that (Nikishin et al. 2022, "primacy bias").
    """
    if not config.reset_every:
        return state.params, state.opt_state

    def fresh() -> tuple[PyTree, PyTree]:
        _, _, model = parts(config)
        params = ensemble.init(key, model.init, config.ensemble_size)
        return params, learning.init(params, _optimizer(config))

    return jax.lax.cond((state.episode + 1) % config.reset_every == 0, fresh, lambda: (state.params, state.opt_state))


def learn(
    key: Key, params: PyTree, opt_state: PyTree, memory: replay.ReplayState, config: RGRLConfig
) -> tuple[PyTree, PyTree, replay.ReplayState, Array]:
    """Trains every member on its own draws (lines 21-26).

    Returns:
      New params, optimiser state and replay (priorities may have moved), and losses ``[iterations, E]``.
    """
    _, codec, model = parts(config)
    optimizer = _optimizer(config)

    def iterate(carry: tuple[PyTree, PyTree, replay.ReplayState], key: Key) -> tuple[Any, Array]:
        params, opt_state, memory = carry
        draw_key, window_key = jax.random.split(key)
        rows = _draw_rows(draw_key, params, memory, model, codec, config)
        windows = _sample_windows(window_key, memory, rows, codec, config)
        params, opt_state, loss, errors = learning.update(
            model, optimizer, params, opt_state, windows, config.state_weight
        )
        if config.replay == "priority":
            memory = memory.replace(weight=memory.weight.at[rows].set(_priority(errors, config)))
        return (params, opt_state, memory), loss

    keys = jax.random.split(key, config.learn_iterations)
    (params, opt_state, memory), losses = jax.lax.scan(iterate, (params, opt_state, memory), keys)
    return params, opt_state, memory, losses


def _priority(errors: Array, config: RGRLConfig) -> Array:
    """Priority of windows from their summed squared reward errors; never 0, which would mean "no window"."""
    return jnp.maximum((errors + 1e-10) ** config.priority_exponent, jnp.finfo(jnp.float32).tiny)


def _draw_rows(
    key: Key, params: PyTree, memory: replay.ReplayState, model: Model, codec: Codec, config: RGRLConfig
) -> Array:
    """Where the windows of the next update start, ``[E, B]``."""
    shape = (config.ensemble_size, config.learn_batch)
    if config.replay == "uniform" or config.priority_refresh == "sampled":
        return replay.draw(key, memory.weight, shape)

    def refreshed(member: PyTree) -> Array:
        def error(row: Array) -> Array:
            window = replay.window(memory, row, codec, history_length=config.history_length, horizon=config.horizon)
            return learning.window_errors(model, member, window).summed_reward

        errors = jax.lax.map(error, jnp.arange(memory.weight.shape[0]), batch_size=256)
        return jnp.where(memory.weight > 0, _priority(errors, config), 0.0)

    keys = jax.random.split(key, config.ensemble_size)
    return jax.vmap(lambda k, weight: replay.draw(k, weight, shape[1:]))(keys, jax.vmap(refreshed)(params))


def _sample_windows(key: Key, memory: replay.ReplayState, rows: Array, codec: Codec, config: RGRLConfig) -> Window:
    """Windows that start at ``rows [E, B]``, with free actions past the end and noise: ``[E, B, ...]``."""

    def one(key: Key, row: Array) -> Window:
        free_key, action_key, state_key = jax.random.split(key, 3)
        window = replay.window(memory, row, codec, history_length=config.history_length, horizon=config.horizon)
        actions = replay.free_actions(free_key, memory, row, window.actions)
        shrink = 1.0 - config.action_noise * jax.random.uniform(action_key, actions.shape)
        blur = config.state_noise * jax.random.normal(state_key, window.present.shape)
        return window.replace(actions=actions * shrink, present=window.present + blur)

    return jax.vmap(jax.vmap(one))(jax.random.split(key, rows.shape), rows)


def describe(config: RGRLConfig) -> Cost:
    """Counts what a run costs; nothing compiles."""
    config.validate()
    spec, _, model = parts(config)
    key = jax.eval_shape(lambda: jax.random.key(0))
    count = sum(x.size for x in jax.tree.leaves(jax.eval_shape(model.init, key)))
    state = jax.eval_shape(partial(init, config=config), key)
    model_steps = config.plan_starts * config.plan_iterations * config.horizon
    if config.plan_members == "mean":
        model_steps *= config.ensemble_size
    samples = config.ensemble_size * config.learn_iterations * config.learn_batch * config.horizon
    planned = max(config.episodes - config.warmup_episodes, 0)
    return Cost(
        env_id=config.env_id,
        episodes=config.episodes,
        max_env_steps=config.episodes * spec.max_steps,
        plans=planned * -(-spec.max_steps // config.replan_every),
        updates=config.episodes * config.learn_iterations,
        parameters=count,
        plan_flops=4 * count * model_steps,
        learn_flops=6 * count * samples,
        state_bytes=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
    )


def _optimizer(config: RGRLConfig) -> Any:
    return learning.make_optimizer(config.optimizer, config.learning_rate, config.clip_norm)


ALGORITHM = Algorithm(init, step, play, describe)
register_algorithm("rgrl", RGRLConfig, ALGORITHM)
