"""What an ensemble foresees along episodes that were played, beside what came: for looking, not for training."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax import replay, showing
from rgrl_jax.algos.base import algorithm_name
from rgrl_jax.algos.rgrl.acting import emphasis, first_view, plan_rows, shifted
from rgrl_jax.algos.rgrl.algorithm import TrainState
from rgrl_jax.algos.rgrl.config import RGRLConfig
from rgrl_jax.algos.rgrl.learning import make_cutter, reward_targets
from rgrl_jax.algos.rgrl.parts import Parts, parts
from rgrl_jax.models.precision import matmul_precision
from rgrl_jax.rollout import View, env_states
from rgrl_jax.types import Array, Box, Episode, Key, ModelOutput, PlanOutput, PyTree, Window


class Foresight(struct.PyTreeNode):
    """Predictions from every step of ``N`` episodes, ``T`` steps ahead, along the actions that were executed.

    Rewards are what the model learns as such, rewards to come for instance, and states its observations with the done
    block as a last entry, all in -1..1; of bars of a thermometer their means. Past a true end the state stays.

    Attributes:
      reward: of every member ``[N, L, E, T]``.
      state: likewise ``[N, L, E, T, S']``; None of a model that predicts no states.
      true_reward: what came ``[N, L, T]``.
      true_state: likewise ``[N, L, T, S']``.
      present: where each prediction starts ``[N, L, S']``.
      action: encoded actions ``[N, L, A]`` that were executed.
      mask: 1 where both are known ``[N, L, T]``: not behind the last step, nor past a time limit.
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

    def __repr__(self) -> str:
        return showing.show_record(self)

    def _repr_html_(self) -> str:
        return showing.record_html(self)


class HorizonErrors(struct.PyTreeNode):
    """Root mean square errors of predictions 1 .. T steps ahead, over all steps and episodes that count.

    Attributes:
      mean: of the members' mean prediction ``[T]``.
      member: of each member ``[E, T]``.
      constant: of the best constant guess, the standard deviation of what came ``[T]``.
      disagreement: standard deviation between members ``[T]``.
    """

    mean: Array
    member: Array
    constant: Array
    disagreement: Array


def foresee(state: TrainState, episode: Episode, config: RGRLConfig) -> Foresight:
    """Has every member predict along episodes, which it need not have seen, from each of their steps.

    A pure function, compiled as it is called. Rows are predicted 64 at a time.

    Args:
      state: of one run.
      episode: ``N`` episodes, as `rgrl_jax.play` returns them.
      config: the config that the run was trained with.

    Raises:
      ValueError: the algorithm has no model.
    """
    check_model(config)
    return _foresee(state, episode, config)


def check_model(config: Any) -> None:
    """Makes sure that the algorithm of a config has a model to look into.

    Raises:
      ValueError: it has none.
    """
    if not isinstance(config, RGRLConfig):
        raise ValueError(f"algorithm {algorithm_name(config)!r} has no model that foresees anything; rgrl has")


@jax.jit
def _foresee(state: TrainState, episode: Episode, config: RGRLConfig) -> Foresight:
    config = config.replace(padding="virtual")  # nothing is stepped past its end but in training
    built = parts(config)
    rows = episode.obs.shape[0]
    targets = reward_targets(episode, config)

    def along(n: Array) -> Foresight:
        obs, action, target = (x[:, n] for x in (episode.obs, episode.action, targets))
        length = episode.length[n]
        memory = replay.init(obs[0], action[0], capacity=rows)
        memory = replay.add(memory, obs, action, target, length, episode.terminated[n])
        cut = make_cutter(memory, config.replace(novelty=False), state.replay)

        def from_row(row: Array) -> Foresight:
            window = cut(row)
            out = jax.vmap(partial(_predict, built=built, window=window))(state.params)
            return _readable(window, out, config, built, row < length)

        return jax.lax.map(from_row, jnp.arange(rows - 1), batch_size=64)

    with matmul_precision(config.precision):
        found = jax.vmap(along)(jnp.arange(episode.length.shape[0]))
    return found.replace(length=episode.length)


def _predict(member: PyTree, built: Parts, window: Window) -> ModelOutput:
    """What a member says of a window."""
    memory = built.model.remember(member, window.history)
    return built.model.apply(member, memory, window.present, window.actions)


def _readable(window: Window, out: ModelOutput, config: RGRLConfig, built: Parts, counts: Array) -> Foresight:
    """Bars and blocks as single numbers, of one row; ``counts`` says whether the row is one of the episode."""
    numbers = partial(_numbers, config=config, built=built)
    return Foresight(
        reward=out.reward[..., : built.codec.reward_size].mean(axis=-1),  # what is left is novelty
        state=None if out.state is None else numbers(out.state),
        true_reward=window.rewards.mean(axis=-1),
        true_state=numbers(window.states),
        present=numbers(window.present),
        action=window.actions[0],
        mask=window.mask * counts,
        length=counts,  # the caller knows it
    )


def _numbers(states: Array, config: RGRLConfig, built: Parts) -> Array:
    """Encoded states ``[..., S]`` with a single entry for every bar and for the done block."""
    seen, done = jnp.split(states, [built.codec.state_size - config.done_size], axis=-1)
    observation = built.spec.observation
    if config.signals == "reference" and built.spec.reference is not None:
        observation = built.spec.reference.observation
    if isinstance(observation, Box) and config.state_encoding == "thermometer":
        seen = seen.reshape(*seen.shape[:-1], -1, config.state_bins).mean(axis=-1)
    return jnp.concatenate([seen, done.mean(axis=-1, keepdims=True)], axis=-1)


def horizon_errors(predicted: Array, true: Array, mask: Array) -> HorizonErrors:
    """How wrong members are k steps ahead, and how far apart.

    Args:
      predicted: ``[N, L, E, T]`` or ``[N, L, E, T, S']``, as of a `Foresight`.
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


def retrace_plans(key: Key, state: TrainState, episode: Episode, config: RGRLConfig) -> PlanOutput:
    """The plans that were made while `rgrl_jax.play` played episodes from a key, made again.

    A pure function, compiled as it is called.

    Args:
      key: the key that `rgrl_jax.play` was given.
      state: likewise.
      episode: what it returned, ``N`` episodes.
      config: likewise.

    Returns:
      A `PlanOutput` with leaves ``[M, N, ...]``; plan ``m`` was made at step ``m * config.replan_every``. The rewards
      it predicts are without novelty. Rows past the end of an episode mean nothing.

    Raises:
      ValueError: the algorithm makes no plans.
    """
    check_model(config)
    return _retrace(key, state, episode, config)


@jax.jit
def _retrace(key: Key, state: TrainState, episode: Episode, config: RGRLConfig) -> PlanOutput:
    config = config.replace(padding="virtual", plan_novelty=0.0)  # as `show` has it
    built = parts(config.replace(unroll=config.plan_unroll))
    n = episode.length.shape[0]
    policy_key = jax.random.split(key, 3)[2]
    env_state = env_states(key, built.spec, episode) if config.dynamics == "environment" else ()

    def step(memory: PyTree, t: Array) -> tuple[PyTree, PlanOutput]:
        view = View(episode, t, jax.tree.map(lambda x: x[t], env_state), memory)
        out, _ = plan_rows(jax.random.fold_in(policy_key, t), state.params, view, config, jnp.float32(0.0), built)
        if config.plan_warm_start:
            memory = shifted(out.latent, config.replan_every)
        if config.novelty:
            size = built.codec.reward_size
            reward = out.predicted.reward[..., :size] / emphasis(config)[:size]
            out = out.replace(predicted=out.predicted._replace(reward=reward))
        return memory, out

    times = jnp.arange(0, episode.obs.shape[0] - 1, config.replan_every)
    with matmul_precision(config.precision):
        return jax.lax.scan(step, first_view(config, n)["memory"], times)[1]
