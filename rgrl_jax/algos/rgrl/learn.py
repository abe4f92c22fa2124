"""Learning: what happened is stored, and every member trained on windows of it (lines 16-27 of Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax import learning, replay, schedules, sharing
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.parts import draw_members, padding, parts
from rgrl_jax.encoding import Codec
from rgrl_jax.types import Array, Episode, Key, PyTree, Scalar, Window


def remember(memory: replay.ReplayState, episode: Episode, config: RGRLConfig) -> replay.ReplayState:
    """Stores every episode and drops duplicate windows (lines 16, 19, 20)."""
    codec = parts(config).codec
    targets = reward_targets(episode, config)
    resolution = config.resolution if config.dedupe == "similar" else None

    def store(memory: replay.ReplayState, n: Array) -> tuple[replay.ReplayState, None]:
        first, length = memory.cursor, episode.length[n]
        obs, action, target = (x[:, n] for x in (episode.obs, episode.action, targets))
        memory = replay.add(memory, obs, action, target, length, episode.terminated[n], padding(config))
        memory = replay.drop_duplicates(memory, first, length, codec, resolution=resolution, **_shape(config))
        return memory, None

    memory = jax.lax.scan(store, memory, jnp.arange(episode.length.shape[0]))[0]
    return replay.balance(memory, codec, config.resolution) if config.replay == "balanced" else memory


def _shape(config: RGRLConfig) -> dict[str, int]:
    """What a window is cut by."""
    return {"history_length": config.history_length, "horizon": config.horizon, "padding": padding(config)}


def reward_targets(episode: Episode, config: RGRLConfig) -> Array:
    """What the model learns as reward, a value per row of the episode and environment ``[L + 1, N]``.

    ``"to_go"``: a discounted average of the rewards to come, ``g_t = (1 - gamma) r_t + gamma g_{t+1}``, so gamma = 0
    is the paper's reward per step; ``"running"``: the sum so far, the reward of the step included. Past a terminal
    state rewards are 0, or by ``absorbing_reward`` and with the reference's signals the last one; past a time limit
    they are taken to go on as they last were.
    """
    rewards, shown_at_end = _signals(episode, config)
    row, lane = jnp.arange(rewards.shape[0])[:, None], jnp.arange(rewards.shape[1])
    stored = episode.length + jnp.where(episode.terminated, padding(config), 0)
    if config.reward_target == "running":
        total = jnp.cumsum(rewards, axis=0)
        return jnp.where(row < stored, total, total[stored - 1, lane])
    final = rewards[stored - 1, lane]
    lasting = shown_at_end or config.absorbing_reward == "last"
    tail = final if lasting else jnp.where(episode.terminated, 0.0, final)
    gamma = config.reward_discount

    def back(after: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, t = now
        target = jnp.where(t < stored, (1.0 - gamma) * reward + gamma * after, tail)
        return target, target

    return jax.lax.scan(back, tail, (rewards, row[:, 0]), reverse=True)[1]


def _signals(episode: Episode, config: RGRLConfig) -> tuple[Array, bool]:
    """Rewards ``[L + 1, N]`` as the model is shown them, and whether the last one holds on past the end.

    Rows that were not stored mean nothing.
    """
    spec = config.spec
    rewards = episode.reward
    ended = (jnp.arange(rewards.shape[0])[:, None] >= episode.length - 1) & episode.terminated
    if config.zero_terminal_reward:
        rewards = jnp.where(ended, 0.0, rewards)
    if config.signals != "reference" or spec.reference is None:
        return rewards, False
    next_obs = jnp.concatenate([episode.obs[1:], episode.obs[-1:]])
    return jax.vmap(jax.vmap(spec.reference.reward))(rewards, next_obs, ended), True


def make_optimizer(config: RGRLConfig) -> Any:
    """The optimiser of the weights."""
    return learning.make_optimizer(config.optimizer, config.learning_rate, config.clip_norm, config.weight_decay)


def begin_learning(
    key: Key, params: PyTree, opt_state: PyTree, episode: Array, config: RGRLConfig
) -> tuple[PyTree, PyTree]:
    """The weights and optimiser states that learning after ``episode`` starts from: the present or new ones.

    What an ensemble learnt from its first few steps stays with it and biases all that comes after; one that
    is drawn anew and trained on the whole replay is free of that (Nikishin et al. 2022, "primacy bias"). If members
    take turns, each is replaced after ``reset_every * ensemble_size`` episodes, and the rest carry on meanwhile.

    Args:
      key: decides new weights.
      params: members ``[E, ...]``.
      opt_state: their optimiser states ``[E, ...]``.
      episode: episodes finished before this one, scalar.
      config: the config.
    """
    if not config.reset_every:
        return params, opt_state

    def fresh() -> tuple[PyTree, PyTree]:
        drawn = draw_members(key, config)
        drawn = drawn, learning.init(drawn, make_optimizer(config))
        if config.reset == "all":
            return drawn
        turn = ((episode + 1) // config.reset_every - 1) % config.ensemble_size
        return jax.tree.map(lambda old, new: old.at[turn].set(new[turn]), (params, opt_state), drawn)

    return jax.lax.cond((episode + 1) % config.reset_every == 0, fresh, lambda: (params, opt_state))


def learn_count(new_steps: Scalar, progress: Scalar, config: RGRLConfig) -> Scalar:
    """Updates of each member: fixed, for every new environment step, or more the nearer returns come to the best.

    Args:
      new_steps: environment steps since the last learning.
      progress: mean of the last returns on the environment's scale, 0..1.
      config: the config.
    """
    if config.learn_law == "per_step":
        return jnp.asarray(config.learn_iterations * new_steps, jnp.int32)
    if config.learn_law == "ramp":
        return 1 + jnp.floor((config.learn_iterations - 1) * progress).astype(jnp.int32)
    return config.learn_iterations


def learn(
    key: Key,
    params: PyTree,
    opt_state: PyTree,
    memory: replay.ReplayState,
    config: RGRLConfig,
    count: Scalar | None = None,
) -> tuple[PyTree, PyTree, replay.ReplayState, Array]:
    """Trains every member on its own draws (lines 21-26).

    Args:
      key: consumed; update ``i`` uses ``fold_in(key, i)``.
      params: members ``[E, ...]``.
      opt_state: their optimiser states ``[E, ...]``.
      memory: what to draw windows from.
      config: the config.
      count: updates of each member, at least 1, possibly traced; None for ``config.learn_iterations``.

    Returns:
      New params, optimiser state and replay (priorities may have moved), and the mean loss, a scalar.
    """
    model = parts(config).model
    optimizer = make_optimizer(config)
    cut = make_cutter(memory, config)
    count = config.learn_iterations if count is None else count

    def iterate(i: Array, carry: tuple[PyTree, PyTree, replay.ReplayState, Array]) -> Any:
        params, opt_state, memory, total = carry
        draw_key, window_key, dropout_key = jax.random.split(jax.random.fold_in(key, i), 3)
        rows = draw_rows(draw_key, params, memory, cut, config)
        keys = [jax.random.split(k, rows.shape) for k in (window_key, dropout_key)]
        own, window_keys, dropout_keys = sharing.share((rows, *keys), axis=1)
        windows = _sample_windows(window_keys, memory, own, cut, config)
        params, opt_state, loss, errors = learning.update(
            model,
            optimizer,
            params,
            opt_state,
            windows,
            config.state_weight,
            loss=config.loss,
            teacher_forcing=config.teacher_forcing,
            dropout_keys=dropout_keys if config.dropout else None,
            scale=schedules.linear(i + 1, 1.0, config.learning_rate_end, count),
        )
        if config.replay == "priority":
            errors = sharing.gather(errors, config.learn_batch, axis=1)
            memory = memory.replace(weight=memory.weight.at[rows].set(_priority(errors, config)))
        return params, opt_state, memory, total + loss.mean()

    carry = (params, opt_state, memory, jnp.zeros(()))
    params, opt_state, memory, total = jax.lax.fori_loop(0, count, iterate, carry)
    return params, opt_state, memory, total / count


def _priority(errors: Array, config: RGRLConfig) -> Array:
    """Priority of windows from their summed squared reward errors; never 0, which would mean "no window"."""
    return jnp.maximum((errors + 1e-10) ** config.priority_exponent, jnp.finfo(jnp.float32).tiny)


Cut = Callable[[Array], Window]
"""``cut(row)``: the window that starts at a row of the replay, as the model learns it."""


def make_cutter(memory: replay.ReplayState, config: RGRLConfig, known: replay.ReplayState | None = None) -> Cut:
    """Makes what cuts windows, with all that depends on the whole replay worked out once.

    Args:
      memory: what to cut from, ``C`` rows.
      config: the config.
      known: whose rewards decide the scale if ``reward_scale`` says that of those seen; None for ``memory``.

    Returns:
      A `Cut`; rewards of its windows are ``[T, R]`` on the scale that ``reward_scale`` says, or ``[T, R + 1]`` with
      novelty.
    """
    codec = parts(config).codec
    new = replay.novelty(memory, codec, config.resolution, config.reward_discount) if config.novelty else None
    seen = _seen(memory if known is None else known, codec) if config.reward_scale == "seen" else None

    def cut(row: Array) -> Window:
        window = replay.window(memory, row, codec, novelty=new, **_shape(config))
        if seen is None:
            return window
        low, width = seen
        scaled = 2.0 * (window.rewards[:, 0] - low) / width - 1.0
        return window.replace(rewards=window.rewards.at[:, 0].set(scaled))

    return cut


def _seen(memory: replay.ReplayState, codec: Codec) -> tuple[Array, Array]:
    """The least encoded reward in the replay, and how far above it the greatest is."""
    encoded, stored = jax.vmap(codec.encode_reward)(memory.reward)[:, 0], memory.episode >= 0
    low, high = jnp.min(encoded, where=stored, initial=jnp.inf), jnp.max(encoded, where=stored, initial=-jnp.inf)
    return low, jnp.maximum(high - low, 1e-6)  # all alike: nothing to tell apart


def draw_rows(key: Key, params: PyTree, memory: replay.ReplayState, cut: Cut, config: RGRLConfig) -> Array:
    """Where the windows of the next update start, ``[E, B]``."""
    model = parts(config).model
    shape = (config.ensemble_size, config.learn_batch)
    if config.replay != "priority" or config.priority_refresh == "sampled":
        return replay.draw(key, memory.weight, shape)

    def refreshed(member: PyTree) -> Array:
        def error(row: Array) -> Array:
            errors = learning.window_errors(model, member, cut(row), teacher_forcing=config.teacher_forcing)
            return errors.summed_reward

        errors = jax.lax.map(error, jnp.arange(memory.weight.shape[0]), batch_size=256)
        return jnp.where(memory.weight > 0, _priority(errors, config), 0.0)

    keys = jax.random.split(key, config.ensemble_size)
    return jax.vmap(lambda k, weight: replay.draw(k, weight, shape[1:]))(keys, jax.vmap(refreshed)(params))


def _sample_windows(keys: Key, memory: replay.ReplayState, rows: Array, cut: Cut, config: RGRLConfig) -> Window:
    """Windows that start at ``rows [E, B]``, with free actions past the end and noise, by ``keys [E, B]``."""

    def one(key: Key, row: Array) -> Window:
        free_key, action_key, state_key = jax.random.split(key, 3)
        window = cut(row)
        actions = replay.free_actions(free_key, memory, row, window.actions)
        shrink = 1.0 - config.action_noise * jax.random.uniform(action_key, actions.shape)
        blur = config.state_noise * jax.random.normal(state_key, window.present.shape)
        return window.replace(actions=actions * shrink, present=window.present + blur)

    return jax.vmap(jax.vmap(one))(keys, rows)
