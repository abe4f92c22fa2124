"""Learning from an episode: it is stored, and every member trained on windows (lines 16-27 of Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax import schedules, spmd
from rgrl_jax.algos.rgrl import window_replay
from rgrl_jax.algos.rgrl.build import Components
from rgrl_jax.algos.rgrl.codec import Codec
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.targets import reward_targets
from rgrl_jax.algos.rgrl.update import make_weight_optimizer, update, window_errors
from rgrl_jax.algos.rgrl.window_replay import ReplayState, Window, WindowShape
from rgrl_jax.planning import ensemble
from rgrl_jax.types import Array, Episode, Key, PyTree


def window_shape(codec: Codec, config: RGRLConfig) -> WindowShape:
    """Returns how the windows of a config are cut."""
    return WindowShape(codec, config.model.history_length, config.planner.horizon, config.padding)


def store_episode(replay: ReplayState, episode: Episode, codec: Codec, config: RGRLConfig) -> ReplayState:
    """Stores the episodes ``[L + 1, N, ...]`` one by one and drops duplicate windows (lines 16, 19, 20)."""
    targets, shape = reward_targets(episode, config), window_shape(codec, config)

    def store(replay: ReplayState, n: Array) -> tuple[ReplayState, None]:
        first, length = replay.cursor, episode.length[n]
        obs, action, target = (x[:, n] for x in (episode.obs, episode.action, targets))
        replay = window_replay.add(replay, obs, action, target, length, episode.terminated[n], shape.padding)
        return window_replay.drop_duplicates(replay, first, length, shape), None

    replay = jax.lax.scan(store, replay, jnp.arange(episode.length.shape[0]))[0]
    return window_replay.balance(replay, codec) if config.replay.kind == "balanced" else replay


def init_members(key: Key, config: RGRLConfig, components: Components) -> tuple[PyTree, PyTree]:
    """Draws a new ensemble; returns weights and optimizer states ``[E, ...]``."""
    params = ensemble.init(key, components.model.init, config.model.ensemble_size)
    return params, jax.vmap(make_weight_optimizer(config.learner).init)(params)


def maybe_reset_members(
    key: Key, members: tuple[PyTree, PyTree], episode: Array, config: RGRLConfig, components: Components
) -> tuple[PyTree, PyTree]:
    """Returns the weights and optimizer states that learning after ``episode`` starts from: the present or new ones.

    What an ensemble learnt from its first few steps stays with it and biases all that comes after; one that is drawn
    anew and trained on the whole replay is free of that (Nikishin et al. 2022, "primacy bias"). By turns, each member
    is replaced after ``reset_every * ensemble_size`` episodes, and the rest carry on meanwhile. Members are
    weights and optimizer states ``[E, ...]``; ``episode`` counts those trained before this one.
    """
    every = config.learner.reset_every
    if not every:
        return members

    def reset() -> tuple[PyTree, PyTree]:
        drawn = init_members(key, config, components)
        if config.learner.member_reset == "all":
            return drawn
        turn = ((episode + 1) // every - 1) % config.model.ensemble_size
        return jax.tree.map(lambda old, new: old.at[turn].set(new[turn]), members, drawn)

    return jax.lax.cond((episode + 1) % every == 0, reset, lambda: members)


def train_members(
    key: Key, members: tuple[PyTree, PyTree], replay: ReplayState, config: RGRLConfig, components: Components
) -> tuple[tuple[PyTree, PyTree], ReplayState, Array]:
    """Trains every member ``[E, ...]`` on its own draws (lines 21-26); update ``i`` uses ``fold_in(key, i)``.

    Returns:
      New members, the replay (priorities may have moved), and the mean loss, a scalar.
    """
    model, learner = components.model, config.learner
    get_window = make_window_fn(replay, config, components)

    def iterate(i: Array, carry: tuple[PyTree, PyTree, ReplayState, Array]) -> Any:
        params, opt_state, replay, total = carry
        # The third key is not used any more; splitting in three keeps earlier results reproducible.
        draw_key, window_key, _ = jax.random.split(jax.random.fold_in(key, i), 3)
        rows = _draw_rows(draw_key, params, replay, get_window, config, components)
        own, keys = spmd.shard((rows, jax.random.split(window_key, rows.shape)), axis=1)
        windows = _get_batch(keys, replay, own, get_window, learner.action_noise)
        lr_scale = schedules.linear(i + 1, 1.0, learner.lr_end, learner.updates_per_episode)
        params, opt_state, loss, errors = update(model, learner, params, opt_state, windows, lr_scale)
        if config.replay.kind == "priority":
            errors = spmd.all_gather(errors, learner.batch_size, axis=1)
            replay = replay.replace(weight=replay.weight.at[rows].set(_priority(errors, config)))
        return params, opt_state, replay, total + loss.mean()

    carry = (*members, replay, jnp.zeros(()))
    params, opt_state, replay, total = jax.lax.fori_loop(0, learner.updates_per_episode, iterate, carry)
    return (params, opt_state), replay, total / learner.updates_per_episode


def _priority(errors: Array, config: RGRLConfig) -> Array:
    """Computes priorities from summed squared reward errors; never 0, which means "no window"."""
    return jnp.maximum((errors + 1e-10) ** config.replay.priority_exponent, jnp.finfo(jnp.float32).tiny)


WindowFn = Callable[[Array], Window]
"""``get_window(row)``: the window that starts at a row of the replay, as the model learns it."""


def make_window_fn(
    replay: ReplayState, config: RGRLConfig, components: Components, scale_from: ReplayState | None = None
) -> WindowFn:
    """Makes the function that gathers windows, with all that depends on the whole replay computed once.

    Rewards of its windows are ``[T, R]``, or ``[T, R + 1]`` with novelty, on the scale that ``reward_scale`` says;
    with ``"seen"`` the targets in ``scale_from`` decide it, or those in ``replay``.
    """
    codec, target = components.codec, config.target
    novelty = window_replay.novelty(replay, codec, target.discount) if target.novelty else None
    seen = window_replay.seen_range(scale_from or replay, codec) if target.reward_scale == "seen" else None
    shape = window_shape(codec, config)

    def get_window(row: Array) -> Window:
        window = window_replay.window(replay, row, shape, novelty)
        if seen is None:
            return window
        low, width = seen
        scaled = 2.0 * (window.rewards[:, 0] - low) / width - 1.0
        return window.replace(rewards=window.rewards.at[:, 0].set(scaled))

    return get_window


def _draw_rows(
    key: Key, params: PyTree, replay: ReplayState, get_window: WindowFn, config: RGRLConfig, components: Components
) -> Array:
    """Draws where the windows of the next update start, ``[E, B]``."""
    shape = (config.model.ensemble_size, config.learner.batch_size)
    if not config.reference.exact_priorities:
        return window_replay.draw(key, replay.weight, shape)

    def refresh(member: PyTree) -> Array:
        def error(row: Array) -> Array:
            window, forcing = get_window(row), config.learner.teacher_forcing
            return window_errors(components.model, member, window, teacher_forcing=forcing).summed_reward

        errors = jax.lax.map(error, jnp.arange(replay.weight.shape[0]), batch_size=256)
        return jnp.where(replay.weight > 0, _priority(errors, config), 0.0)

    keys = jax.random.split(key, config.model.ensemble_size)
    return jax.vmap(lambda k, weight: window_replay.draw(k, weight, shape[1:]))(keys, jax.vmap(refresh)(params))


def _get_batch(keys: Key, replay: ReplayState, rows: Array, get_window: WindowFn, action_noise: Any) -> Window:
    """Gathers the windows at ``rows [E, B]``, with random actions past the end and noise, by ``keys [E, B]``."""

    def one(key: Key, row: Array) -> Window:
        # Three keys for two draws, as in `train_members`.
        padding_key, noise_key, _ = jax.random.split(key, 3)
        window = get_window(row)
        actions = window_replay.randomize_padded_actions(padding_key, replay, row, window.actions)
        shrink = 1.0 - action_noise * jax.random.uniform(noise_key, actions.shape)
        return window.replace(actions=actions * shrink)

    return jax.vmap(jax.vmap(one))(keys, rows)
