"""Networks and optimizers of an agent, built once from its config, and actions from their outputs."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from rgrl_jax.algos.unit_teams.config import UnitTeamConfig
from rgrl_jax.algos.unit_teams.network import NetworkSpec
from rgrl_jax.algos.unit_teams.units import UNITS
from rgrl_jax.algos.unit_teams.weight_updates import Optimizer
from rgrl_jax.normalization import bounds, space_size
from rgrl_jax.types import Array, Box, Discrete, Scalar, Space


class AgentSpec(NamedTuple):
    """Networks of an agent, and how they learn; ``critic`` is None without one."""

    actor: NetworkSpec
    critic: NetworkSpec | None
    actor_optimizer: Optimizer
    critic_optimizer: Optimizer


def build(config: UnitTeamConfig) -> AgentSpec:
    """Builds networks and optimizers of actor and critic."""
    inputs, outputs = (space_size(space) for space in (config.spec.observation, config.spec.action))
    dispersions = config.actor_variance if config.units == "gaussian" else config.temperature
    if isinstance(config.spec.action, Box):
        output, dispersion = "gaussian_linear", config.actor_variance[-1]
    else:
        output, dispersion = "softmax_zero" if config.last_logit == "zero" else "softmax", config.temperature[-1]
    actor = _network((inputs, *config.hidden, outputs), config.units, output, (*dispersions[:-1], dispersion))
    kinds = ("gaussian", "gaussian_linear") if config.critic == "map_prop" else ("softplus", "linear")
    critic = _network((inputs, *config.hidden, 1), *kinds, config.critic_variance)
    schedules = (config.actor_lr, config.actor_lr_end), (config.critic_lr, config.critic_lr_end)
    adam = (config.adam_eps, config.bias_correction_until)
    optimizers = (Optimizer(config.optimizer, *schedule, config.lr_decay_steps, *adam) for schedule in schedules)
    return AgentSpec(actor, None if config.critic == "none" else critic, *optimizers)


def _network(sizes: tuple[int, ...], hidden: str, output: str, dispersions: tuple[Scalar, ...]) -> NetworkSpec:
    return NetworkSpec(sizes, (UNITS[hidden],) * (len(sizes) - 2) + (UNITS[output],), dispersions)


def decode_action(output: Array, space: Space, config: UnitTeamConfig) -> Array:
    """Turns an output ``[n_L]`` into the environment's action: the drawn class, or numbers clipped to their range."""
    if isinstance(space, Discrete):
        return jnp.argmax(output).astype(jnp.int32)
    # The range only clips: outputs are not scaled to it but by the settings, as in the reference code.
    return jnp.clip(config.action_scale * output + config.action_shift, *bounds(space)).reshape(space.shape)
