"""What a config names: the networks' sizes and units, what they see, and what becomes of their output."""

from __future__ import annotations

import math

import jax.numpy as jnp

from rgrl_jax.algos.unit_teams.config import UnitTeamConfig
from rgrl_jax.algos.unit_teams.network import Design
from rgrl_jax.encoding import flatten
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Discrete


def actor_sizes(spec: EnvSpec, config: UnitTeamConfig) -> tuple[int, ...]:
    """Inputs, hidden units and outputs of the actor, ``n_0, ..., n_L``."""
    inputs, outputs = (
        x.n if isinstance(x, Discrete) else math.prod(x.shape) for x in (spec.observation, spec.action)
    )
    return (inputs, *config.hidden, outputs)


def actor_design(config: UnitTeamConfig) -> Design:
    """Kinds and spreads of the actor's layers."""
    hidden = config.actor_variance if config.units == "gaussian" else config.temperature
    if isinstance(config.spec.action, Box):
        output, spread = "gaussian_linear", config.actor_variance[-1]
    else:
        output, spread = "softmax_zero" if config.last_logit == "zero" else "softmax", config.temperature[-1]
    return Design((config.units,) * len(config.hidden) + (output,), (*hidden[:-1], spread))


def critic_design(config: UnitTeamConfig) -> Design:
    """Kinds and spreads of the critic's layers."""
    hidden, output = ("gaussian", "gaussian_linear") if config.critic == "map_prop" else ("softplus", "linear")
    return Design((hidden,) * len(config.hidden) + (output,), config.critic_variance)


def features(obs: Array, spec: EnvSpec) -> Array:
    """What the networks see of an observation ``[n_0]``: its numbers as they are, or one of ``n`` as a 1 among 0."""
    return flatten(obs, spec.observation)


def env_action(output: Array, spec: EnvSpec, config: UnitTeamConfig) -> Array:
    """The environment's action for an output ``[n_L]``."""
    if isinstance(spec.action, Discrete):
        return jnp.argmax(output).astype(jnp.int32)
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (spec.action.low, spec.action.high))
    return jnp.clip(config.action_scale * output + config.action_shift, low, high).reshape(spec.action.shape)
