"""Specs of an agent, made once from its config, and the policies that a generator makes by them."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax

from rgrl_jax.algos.policy_generators.commands import ReturnRange, generator_input, return_range
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.generator import Generator, GeneratorSpec, generate
from rgrl_jax.algos.policy_generators.policy import PolicySpec
from rgrl_jax.normalization import space_size
from rgrl_jax.types import Array


class AgentSpec(NamedTuple):
    """Parts of an agent that are not learnt.

    Attributes:
      policy: layout of policies.
      generator: architecture of the generator.
      within: range of returns.
    """

    policy: PolicySpec
    generator: GeneratorSpec
    within: ReturnRange


def build(config: PolicyGeneratorConfig) -> AgentSpec:
    """Makes the specs of a config."""
    spec = config.spec
    sizes = (space_size(spec.observation), *config.hidden, space_size(spec.action))
    return AgentSpec(
        policy=PolicySpec(sizes, spec.observation, spec.action, config.obs_normalization),
        generator=GeneratorSpec(
            sizes, config.tile_size, config.embedding_size, config.generator_hidden, config.output_scale
        ),
        within=return_range(config),
    )


def make_policies(generator: Generator, commands: Array, spec: AgentSpec) -> Array:
    """Makes the policies ``[B, P]`` for commands ``[B]``."""
    return jax.vmap(partial(generate, generator, spec.generator))(generator_input(commands, spec.within))
