"""Predictions of an ensemble along episodes that were played, beside what happened: for inspection, not training."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import display
from rgrl_jax.algos.base import Config, algorithm_name
from rgrl_jax.algos.rgrl import window_replay
from rgrl_jax.algos.rgrl.act import plan_for_envs, reward_weights
from rgrl_jax.algos.rgrl.agent import RGRLState, without_exploration
from rgrl_jax.algos.rgrl.build import Components, build, build_for_planning, encoded_observation
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.learn import make_window_fn
from rgrl_jax.algos.rgrl.targets import reward_targets
from rgrl_jax.algos.rgrl.window_replay import Window
from rgrl_jax.planning.outputs import ModelOutput, PlanOutput
from rgrl_jax.rollout import Timestep
from rgrl_jax.types import Array, Box, Episode, Key, PyTree


class EpisodePrediction(display.Record, struct.PyTreeNode):
    """Predictions from every step of ``N`` episodes, ``T`` steps ahead, along the actions that were executed.

    Rewards are targets of the reward head, rewards to come for instance, and states are observations with the done
    block as a last entry, all in -1..1; bars of a thermometer are averaged. Past a true end the state stays.

    Attributes:
      reward: predicted by every member ``[N, L, E, T]``.
      state: predicted by every member ``[N, L, E, T, S']``; None if the model predicts no states.
      true_reward: observed ``[N, L, T]``.
      true_state: observed ``[N, L, T, S']``.
      present: where each prediction starts ``[N, L, S']``.
      action: encoded actions ``[N, L, A]`` that were executed.
      mask: 1 where the truth is known ``[N, L, T]``: not behind the last step, nor past a time limit.
      length: steps of each episode ``[N]``.
    """

    reward: Array
    state: Array | None
    true_reward: Array
    true_state: Array
    present: Array
    action: Array
    mask: Array
    length: Array


class HorizonErrors(struct.PyTreeNode):
    """Root mean square errors of predictions 1 .. T steps ahead, over all known steps and episodes.

    Attributes:
      mean: error of the members' mean prediction ``[T]``.
      member: error of each member ``[E, T]``.
      constant: error of the best constant guess, the standard deviation of the truth ``[T]``.
      disagreement: standard deviation between members ``[T]``.
    """

    mean: Array
    member: Array
    constant: Array
    disagreement: Array


def predict_episode(state: RGRLState, episode: Episode, config: RGRLConfig) -> EpisodePrediction:
    """Predicts along episodes with every member, from each of their steps; the agent need not have seen them.

    A pure function, compiled as it is called, of one run and ``N`` episodes as `rgrl_jax.play` returns them. Rows are
    predicted 64 at a time.

    Raises:
      ValueError: the algorithm has no model.
    """
    check_has_model(config)
    return _predict_episode(state, episode, config)


def check_has_model(config: Config) -> None:
    """Checks that the algorithm of a config has a model.

    Raises:
      ValueError: it has none.
    """
    if not isinstance(config, RGRLConfig):
        raise ValueError(
            f"algorithm {algorithm_name(config)!r} has no model whose predictions could be shown; rgrl has"
        )


@jax.jit
def _predict_episode(state: RGRLState, episode: Episode, config: RGRLConfig) -> EpisodePrediction:
    config = without_exploration(config)  # nothing is stepped past its end but in training
    components, rows = build(config), episode.obs.shape[0]
    targets = reward_targets(episode, config)

    def along(n: Array) -> EpisodePrediction:
        obs, action, target = (x[:, n] for x in (episode.obs, episode.action, targets))
        length = episode.length[n]
        replay = window_replay.init(obs[0], action[0], capacity=rows)
        replay = window_replay.add(replay, obs, action, target, length, episode.terminated[n])
        plain = config.replace_at("target.novelty", False)
        get_window = make_window_fn(replay, plain, components, scale_from=state.replay)

        def from_row(row: Array) -> EpisodePrediction:
            window = get_window(row)

            def predict(member: PyTree) -> ModelOutput:
                memory = components.model.encode_history(member, window.history)
                return components.model.apply(member, memory, window.present, window.actions)

            return _readable(window, jax.vmap(predict)(state.params), config, components, row < length)

        return jax.lax.map(from_row, jnp.arange(rows - 1), batch_size=64)

    found = jax.vmap(along)(jnp.arange(episode.length.shape[0]))
    return found.replace(length=episode.length)


def _readable(
    window: Window, out: ModelOutput, config: RGRLConfig, components: Components, counts: Array
) -> EpisodePrediction:
    """Averages bars and blocks of one row into numbers; ``counts`` says whether it is a row of the episode."""
    numbers = partial(_average_bars, config=config, components=components)
    return EpisodePrediction(
        reward=out.reward[..., : components.codec.reward_size].mean(axis=-1),  # the last entry may be novelty
        state=None if out.state is None else numbers(out.state),
        true_reward=window.rewards.mean(axis=-1),
        true_state=numbers(window.states),
        present=numbers(window.present),
        action=window.actions[0],
        mask=window.mask * counts,
        length=counts,  # replaced by the caller, who knows it
    )


def _average_bars(states: Array, config: RGRLConfig, components: Components) -> Array:
    """Turns encoded states ``[..., S]`` into single entries for every bar and for the done block."""
    reference = config.reference
    seen, done = jnp.split(states, [components.codec.state_size - reference.done_size], axis=-1)
    if isinstance(encoded_observation(config), Box) and reference.state_encoding == "thermometer":
        seen = seen.reshape(*seen.shape[:-1], -1, reference.state_bins).mean(axis=-1)
    return jnp.concatenate([seen, done.mean(axis=-1, keepdims=True)], axis=-1)


def horizon_errors(predicted: Array, true: Array, mask: Array) -> HorizonErrors:
    """Computes how wrong members are k steps ahead, and how far apart.

    Args:
      predicted: ``[N, L, E, T]`` or ``[N, L, E, T, S']``, as in `EpisodePrediction`.
      true: ``[N, L, T]`` or ``[N, L, T, S']``.
      mask: ``[N, L, T]``.
    """
    predicted = predicted.reshape(*predicted.shape[:4], -1)
    true = true.reshape(*mask.shape, -1)

    def average(values: Array, weight: Array) -> Array:
        return (values * weight).sum(axis=(0, 1)) / jnp.maximum(weight.sum(axis=(0, 1)), 1.0)

    def root(squares: Array, weight: Array) -> Array:
        return jnp.sqrt(average(squares.mean(axis=-1), weight))

    return HorizonErrors(
        mean=root(jnp.square(predicted.mean(axis=2) - true), mask),
        member=root(jnp.square(predicted - true[:, :, None]), mask[:, :, None]),
        constant=root(jnp.square(true - average(true, mask[..., None])), mask),
        disagreement=root(predicted.var(axis=2), mask),
    )


def recompute_plans(key: Key, state: RGRLState, episode: Episode, config: RGRLConfig) -> PlanOutput:
    """Computes again the plans that were made while `rgrl_jax.play` played ``N`` episodes from this key and state.

    A pure function, compiled as it is called.

    Returns:
      A `PlanOutput` with leaves ``[M, N, ...]``; plan ``m`` was made at step ``m * planner.replan_every``. The
      rewards it predicts are without novelty. Rows past the end of an episode mean nothing.

    Raises:
      ValueError: the algorithm makes no plans.
    """
    check_has_model(config)
    return _recompute_plans(key, state, episode, config)


@jax.jit
def _recompute_plans(key: Key, state: RGRLState, episode: Episode, config: RGRLConfig) -> PlanOutput:
    config = without_exploration(config)
    components, policy_key = build_for_planning(config), jax.random.split(key, 3)[2]

    def replan(t: Array) -> PlanOutput:
        timestep = Timestep(episode, t, (), ())
        step_key = jax.random.fold_in(policy_key, t)
        out, _ = plan_for_envs(step_key, state.params, timestep, config, components, jnp.float32(0.0))
        if config.target.novelty:
            size = components.codec.reward_size
            reward = out.predicted.reward[..., :size] / reward_weights(config.planner, size)[:size]
            out = out.replace(predicted=out.predicted._replace(reward=reward))
        return out

    times = jnp.arange(0, episode.obs.shape[0] - 1, config.planner.replan_every)
    return jax.lax.map(replan, times)
