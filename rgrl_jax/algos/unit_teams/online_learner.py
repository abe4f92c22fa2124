"""Learning within an episode: an update at every step, and eligibility traces of the decisions so far."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rgrl_jax.algos.unit_teams import map_propagation
from rgrl_jax.algos.unit_teams.build import AgentSpec
from rgrl_jax.algos.unit_teams.config import UnitTeamConfig
from rgrl_jax.algos.unit_teams.network import (
    ForwardPass,
    NetworkSpec,
    backpropagate,
    draw_uniform,
    eligibilities,
    forward,
    output_mean,
)
from rgrl_jax.algos.unit_teams.units import UNITS
from rgrl_jax.algos.unit_teams.weight_updates import (
    TrainedNetwork,
    update_by_signal,
    update_by_weight_maximization,
    weight_gradient,
)
from rgrl_jax.mlp import Weights
from rgrl_jax.types import Array, Episode, Key, Scalar


class OnlineLearner(struct.PyTreeNode):
    """Carry of the policy of a training episode, in which the networks learn.

    Attributes:
      updates: weight updates so far, scalar int32.
      actor_traces, critic_traces: eligibility traces of each layer ``[N, n_in + 1, n_out]``; empty without critic.
      unit_rewards: with ``delayed_unit_rewards``, rewards ``[N, n_1], ...`` of the hidden layers for the next step;
        else empty.
      prediction: value predicted at the last decision ``[N]``; with targets, the mean of the actor's output.
      target: with targets, the right answers at the last decision ``[N]``; else None.
      squared_signal: squared learning signals, summed over the updates of the episode, scalar.
    """

    actor: TrainedNetwork
    critic: TrainedNetwork | None
    updates: Array
    actor_traces: Weights
    critic_traces: Weights
    unit_rewards: tuple[Array, ...]
    prediction: Array
    target: Array | None
    squared_signal: Array


class Decision(NamedTuple):
    """Passes of ``N`` environments, leaves ``[N, ...]``, and the critic's values ``[N]``, 0 without one."""

    actor_pass: ForwardPass
    critic_pass: ForwardPass | None
    value: Array


def start_learner(
    actor: TrainedNetwork, critic: TrainedNetwork | None, updates: Array, config: UnitTeamConfig
) -> OnlineLearner:
    """Makes the learner at the start of an episode, with traces ``[N, n_in + 1, n_out]`` of 0."""
    n = config.num_envs

    def no_traces(network: TrainedNetwork | None) -> Weights:
        return () if network is None else tuple(jnp.zeros((n, *w.shape)) for w in network.weights)

    return OnlineLearner(
        actor=actor,
        critic=critic,
        updates=updates,
        actor_traces=no_traces(actor),
        critic_traces=no_traces(critic),
        unit_rewards=tuple(jnp.zeros((n, size)) for size in config.hidden) if config.delayed_unit_rewards else (),
        prediction=jnp.zeros(n),
        target=jnp.zeros(n) if config.learning_signal == "target" else None,
        squared_signal=jnp.float32(0.0),
    )


def decide(key: Key, learner: OnlineLearner, agent: AgentSpec, x: Array) -> Decision:
    """Passes inputs ``[N, n_0]`` through actor and critic."""
    split = agent.actor.num_draws
    # One draw for both networks is cheaper than two.
    u = draw_uniform(key, (x.shape[0], split + (agent.critic.num_draws if agent.critic else 0)))
    actor_pass = jax.vmap(partial(forward, learner.actor.weights, agent.actor))(u[:, :split], x)
    if learner.critic is None or agent.critic is None:
        return Decision(actor_pass, None, jnp.zeros(x.shape[0]))
    critic_pass = jax.vmap(partial(forward, learner.critic.weights, agent.critic))(u[:, split:], x)
    return Decision(actor_pass, critic_pass, _first_output_mean(agent.critic, critic_pass))


def _first_output_mean(spec: NetworkSpec, passed: ForwardPass) -> Array:
    """Returns the means ``[N]`` of the first output of passes with leaves ``[N, ...]``."""
    return jax.vmap(partial(output_mean, spec))(passed)[:, 0]


def learn_from_step(
    learner: OnlineLearner, episode: Episode, t: Array, value: Array, agent: AgentSpec, config: UnitTeamConfig
) -> OnlineLearner:
    """Learns from the step to row ``t``, in the environments that took it; does nothing at row 0.

    Args:
      learner: with the traces up to the decision that led here.
      episode, t: of ``N`` environments, and the present row, scalar.
      value: predicted for it ``[N]``; 0 without critic.
    """
    # Environments that ended before row t are frozen there: they would teach their last step again.
    stepped = (episode.length == t).astype(jnp.float32)
    env_weights = stepped / jnp.maximum(stepped.sum(), 1.0)
    signal = _learning_signal(learner, episode, t, value, config) * stepped
    actor, unit_rewards = _update_actor(learner, signal, env_weights, agent, config)
    critic, arguments = learner.critic, (signal, env_weights, learner.updates, agent.critic_optimizer)
    if critic is not None:
        critic = update_by_signal(critic, learner.critic_traces, *arguments)
    updated = learner.replace(
        actor=actor,
        critic=critic,
        unit_rewards=unit_rewards,
        updates=learner.updates + 1,
        squared_signal=learner.squared_signal + (env_weights * signal**2).sum(),
    )
    # A condition would not save the work at row 0: under vmap it is computed both ways.
    return jax.tree.map(lambda new, old: jnp.where(t > 0, new, old), updated, learner)


def _learning_signal(
    learner: OnlineLearner, episode: Episode, t: Array, value: Array, config: UnitTeamConfig
) -> Array:
    """Computes the error of the prediction, the reward, or the TD error ``r + discount V(s') - V(s)``, ``[N]``."""
    if learner.target is not None:
        return learner.target - learner.prediction
    reward = episode.reward[jnp.maximum(t - 1, 0)]
    limit = jnp.where(config.reward_clip > 0, config.reward_clip, jnp.inf)
    reward = jnp.clip(reward, -limit, limit)
    if config.critic == "none":
        return reward
    # V(s) is the prediction made at s, before the weights changed. A step that is cut off by the limit teaches
    # nothing, as in the reference code.
    error = reward + config.discount * jnp.where(episode.terminated, 0.0, value) - learner.prediction
    return jnp.where(episode.truncated, 0.0, error)


def _update_actor(
    learner: OnlineLearner, signal: Array, env_weights: Array, agent: AgentSpec, config: UnitTeamConfig
) -> tuple[TrainedNetwork, tuple[Array, ...]]:
    """Updates the actor; returns it, and the rewards of its hidden units at the next step."""
    arguments = (learner.actor, learner.actor_traces, signal, env_weights, learner.updates, agent.actor_optimizer)
    if not config.algorithm.startswith("weight_max"):
        return update_by_signal(*arguments), ()
    delayed = learner.unit_rewards if config.delayed_unit_rewards else None
    network, unit_rewards = update_by_weight_maximization(
        *arguments, norm_exponent=config.norm_exponent, delayed_rewards=delayed
    )
    return network, unit_rewards if config.delayed_unit_rewards else ()


def update_traces(
    learner: OnlineLearner, decision: Decision, agent: AgentSpec, config: UnitTeamConfig
) -> OnlineLearner:
    """Adds the eligibilities of a decision to the traces ``[N, n_in + 1, n_out]``, and keeps its prediction."""
    # As in the reference code the activities were drawn before the weights learnt from the step that led here, and
    # the eligibilities are computed with the weights after it.
    decay, of_mean = config.discount * config.actor_lambda, config.learning_signal == "target"
    rule = partial(_eligibilities, learner.actor.weights, agent.actor, config.algorithm, of_mean, config)
    passed, e = jax.vmap(rule)(decision.actor_pass)
    learner = learner.replace(
        actor_traces=_accumulate(learner.actor_traces, passed, e, decay),
        prediction=decision.value if learner.target is None else _first_output_mean(agent.actor, passed),
    )
    if learner.critic is None or agent.critic is None or decision.critic_pass is None:
        return learner
    decay = config.discount * config.critic_lambda
    rule = partial(_eligibilities, learner.critic.weights, agent.critic, config.critic, True, config)
    passed, e = jax.vmap(rule)(decision.critic_pass)
    return learner.replace(critic_traces=_accumulate(learner.critic_traces, passed, e, decay))


def _accumulate(traces: Weights, passed: ForwardPass, e: tuple[Array, ...], decay: Scalar) -> Weights:
    """Computes ``decay * trace + h (x) e``, layer by layer ``[N, n_in + 1, n_out]``."""
    # Activities are one more than eligibilities: the output is the input of no layer.
    gradients = (jax.vmap(weight_gradient)(h, own) for h, own in zip(passed.h, e, strict=False))
    return tuple(decay * trace + gradient for trace, gradient in zip(traces, gradients, strict=True))


def _eligibilities(
    weights: Weights, spec: NetworkSpec, rule: str, of_mean: bool, config: UnitTeamConfig, passed: ForwardPass
) -> tuple[ForwardPass, tuple[Array, ...]]:
    """Computes the pass that a network learns from, and its eligibilities.

    Args:
      rule: an algorithm, which the critic need not share with the actor.
      of_mean: whether eligibilities are turned into gradients of the mean of the first output.
    """
    if rule in ("ste", "backprop"):
        return passed, backpropagate(weights, spec, passed)
    if rule == "map_prop" and spec.units[0] is UNITS["bernoulli"]:
        passed = map_propagation.iterated_conditional_modes(weights, spec, passed, config.icm_sweeps)
    elif rule == "map_prop":
        passed = map_propagation.map_gradient_steps(weights, spec, passed, config.map_steps, config.map_step_size)
    e = eligibilities(spec, passed)
    if of_mean:
        residual = passed.h[-1][0] - output_mean(spec, passed)[0]
        floor = config.residual_floor * jnp.sqrt(spec.dispersions[-1])
        e = map_propagation.divide_by_residual(e, residual, floor)
    return passed, e
