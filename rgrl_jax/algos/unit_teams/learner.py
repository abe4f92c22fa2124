"""Learning within an episode: from the step before, and what a decision is held responsible for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.algos.unit_teams import ascent
from rgrl_jax.algos.unit_teams.ascent import Net, Rates
from rgrl_jax.algos.unit_teams.config import UnitTeamConfig
from rgrl_jax.algos.unit_teams.network import Design, Pass, Weights, backpropagated, eligibilities, output_mean
from rgrl_jax.algos.unit_teams.parts import actor_design, critic_design
from rgrl_jax.algos.unit_teams.relaxation import gated, relax, settle_modes
from rgrl_jax.types import Array, Episode


class Learner(struct.PyTreeNode):
    """What the policy remembers within an episode.

    Attributes:
      actor: its network as it is now.
      critic: likewise, or an empty tuple.
      updates: of the weights, scalar int32.
      actor_traces: of each layer ``[N, n_in + 1, n_out]``.
      critic_traces: likewise, or an empty tuple.
      rewards: with ``delay``, of the hidden layers for the next step ``[N, n_1], ...``; else an empty tuple.
      value: what the critic said at the last decision ``[N]``, or with targets the mean of the output.
      error: sum over the updates of the squared signal that was learnt from, scalar.
    """

    actor: Net
    critic: Net | tuple[()]
    updates: Array
    actor_traces: Weights
    critic_traces: Weights
    rewards: tuple[Array, ...]
    value: Array
    error: Array


def learn_step(
    learner: Learner, episode: Episode, t: Array, value: Array, config: UnitTeamConfig, target: Array | None = None
) -> Learner:
    """Learns from the step to row ``t``, in the environments that took it; does nothing at row 0.

    The signal is the TD error ``r + discount V(s') - V(s)`` with both values as they were said when the states were
    met. An end counts as value 0, and a step that was cut off by the limit gives a signal of 0, as in the reference
    code.

    Args:
      learner: with the traces up to the decision that led here.
      episode: of ``N`` environments.
      t: the present row, scalar.
      value: what the critic says of it ``[N]``; without critic 0.
      config: the config.
      target: right answers ``[N]``, with ``signal = "target"``.
    """
    took = (episode.length == t).astype(jnp.float32)
    counts = took / jnp.maximum(took.sum(), 1.0)
    signal = _signal(learner, episode, t, value, config, target) * took
    actor, rewards = _learn_actor(learner, signal, counts, config)
    critic = learner.critic
    if isinstance(critic, Net):
        rates = _rates(config.critic_rate, config.critic_rate_end, config)
        critic = ascent.ascend_globally(critic, learner.critic_traces, signal, counts, learner.updates, rates)
    learnt = learner.replace(
        actor=actor,
        critic=critic,
        rewards=rewards,
        updates=learner.updates + 1,
        error=learner.error + (counts * signal**2).sum(),
    )
    return jax.tree.map(lambda new, old: jnp.where(t > 0, new, old), learnt, learner)


def _signal(
    learner: Learner, episode: Episode, t: Array, value: Array, config: UnitTeamConfig, target: Array | None
) -> Array:
    """What is learnt from ``[N]``."""
    if target is not None:
        return target - learner.value
    reward = episode.reward[jnp.maximum(t - 1, 0)]
    limit = jnp.where(config.reward_clip > 0, config.reward_clip, jnp.inf)
    reward = jnp.clip(reward, -limit, limit)
    if config.critic == "none":
        return reward
    error = reward + config.discount * jnp.where(episode.terminated, 0.0, value) - learner.value
    return jnp.where(episode.truncated, 0.0, error)


def _learn_actor(
    learner: Learner, signal: Array, counts: Array, config: UnitTeamConfig
) -> tuple[Net, tuple[Array, ...]]:
    """New weights, and the rewards that hidden units get at the next step."""
    rates = _rates(config.actor_rate, config.actor_rate_end, config)
    told = (learner.actor, learner.actor_traces, signal, counts, learner.updates, rates)
    if not config.rule.startswith("weight_max"):
        return ascent.ascend_globally(*told), ()
    delayed = learner.rewards if config.delay else None
    net, rewards = ascent.ascend_by_weights(*told, norm=config.norm, delayed=delayed)
    return net, rewards if config.delay else ()


def hold_responsible(
    learner: Learner, acted: Pass, judged: Pass | None, value: Array, config: UnitTeamConfig
) -> Learner:
    """Adds the eligibilities of a decision to the traces.

    Args:
      learner: its weights may have changed since the passes were made.
      acted: of the actor, leaves ``[N, ...]``.
      judged: of the critic, likewise; None without.
      value: what the critic said ``[N]``.
      config: the config.
    """
    design, net = actor_design(config), learner.actor
    acted, e, mean = jax.vmap(lambda now: _actor_eligibilities(net.weights, design, now, config))(acted)
    traces = _accumulated(learner.actor_traces, acted, e, config.discount * config.actor_trace)
    learner = learner.replace(actor_traces=traces, value=mean if config.signal == "target" else value)
    if judged is None or not isinstance(learner.critic, Net):
        return learner
    weights = learner.critic.weights
    judged, e = jax.vmap(lambda now: _critic_eligibilities(weights, critic_design(config), now, config))(judged)
    traces = _accumulated(learner.critic_traces, judged, e, config.discount * config.critic_trace)
    return learner.replace(critic_traces=traces)


def _accumulated(traces: Weights, now: Pass, e: tuple[Array, ...], decay: Array | float) -> Weights:
    """``decay * trace + h (x) e``, layer by layer ``[N, n_in + 1, n_out]``."""
    news = (jax.vmap(ascent.outer)(below, own) for below, own in zip(now.h, e, strict=False))
    return tuple(decay * trace + new for trace, new in zip(traces, news, strict=True))


def _actor_eligibilities(
    weights: Weights, design: Design, now: Pass, config: UnitTeamConfig
) -> tuple[Pass, tuple[Array, ...], Array]:
    """The pass that the actor learns from, its eligibilities, and the mean of its first output."""
    if config.rule in ("ste", "backprop"):
        return now, backpropagated(weights, design, now), output_mean(design, now)[0]
    if config.rule == "map_prop":
        now = _relaxed(weights, design, now, config)
    e = eligibilities(design, now)
    if config.signal == "target":
        e = _gated(e, design, now, config)
    return now, e, output_mean(design, now)[0]


def _relaxed(weights: Weights, design: Design, now: Pass, config: UnitTeamConfig) -> Pass:
    if design.kinds[0] == "bernoulli":
        return settle_modes(weights, design, now, config.sweeps)
    return relax(weights, design, now, config.relaxation_steps, config.relaxation_rate)


def _gated(e: tuple[Array, ...], design: Design, now: Pass, config: UnitTeamConfig) -> tuple[Array, ...]:
    """Divided by how far the single output is from its mean."""
    residual = now.h[-1][0] - output_mean(design, now)[0]
    return gated(e, residual, config.gate_guard * jnp.sqrt(design.spreads[-1]))


def _critic_eligibilities(
    weights: Weights, design: Design, now: Pass, config: UnitTeamConfig
) -> tuple[Pass, tuple[Array, ...]]:
    """The pass that the critic learns from, and its eligibilities."""
    if config.critic == "backprop":
        return now, backpropagated(weights, design, now)
    now = relax(weights, design, now, config.relaxation_steps, config.relaxation_rate)
    return now, _gated(eligibilities(design, now), design, now, config)


def _rates(start: tuple[float, ...], end: tuple[float, ...], config: UnitTeamConfig) -> Rates:
    until = config.bias_correction_until
    return Rates(start, end, config.rate_steps, config.optimizer, config.adam_epsilon, until)
