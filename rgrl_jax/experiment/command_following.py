"""Command-following curves of policy generators: achieved against commanded return."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.algos.base import Config, algorithm_name
from rgrl_jax.algos.policy_generators import PolicyGeneratorConfig, PolicyGeneratorState
from rgrl_jax.algos.policy_generators.commands import learned_returns, return_range
from rgrl_jax.experiment import host_rollout, playing
from rgrl_jax.types import Array, Key

NDArray = np.ndarray[Any, Any]


class CommandFollowing(NamedTuple):
    """Returns ``[C]`` commanded, all along their range, and those achieved ``[C, N]``, each row by one policy.

    They are as learnt from, without a bonus for every step.
    """

    commanded: Array
    achieved: Array


def command_following(
    key: Key, state: PolicyGeneratorState, config: Config, num_commands: int = 11, num_episodes: int = 5
) -> CommandFollowing:
    """Commands a policy generator to reach returns all along their range, and plays its policies.

    A pure function, ready for ``jit`` and ``vmap``, unless the environment lives on the host.

    Args:
      state: state of one run of ``udrlpg`` or ``gogepo``.
      num_commands: ``C``, at least 2. Static.
      num_episodes: episodes ``N`` of each command, at least 1. Static.

    Raises:
      ValueError: the algorithm takes no commands, or one of the numbers is too small.
    """
    generator_config = check_commands(config, num_commands)
    if num_episodes < 1:
        raise ValueError(f"num_episodes = {num_episodes} must be at least 1")
    commanded = jnp.linspace(*return_range(generator_config), num_commands)
    keys = jax.random.split(key, num_commands)
    if not host_rollout.is_hosted(config):
        return CommandFollowing(commanded, _achieve_all(keys, commanded, state, generator_config, num_episodes))
    rows = [_achieve(keys[i], commanded[i], state, generator_config, num_episodes) for i in range(num_commands)]
    return CommandFollowing(commanded, jnp.stack(rows))


def check_commands(config: Config, num_commands: int) -> PolicyGeneratorConfig:
    """Returns the config; raises a ValueError if its algorithm takes no commands or there are not enough of them."""
    if not isinstance(config, PolicyGeneratorConfig):
        raise ValueError(f"algorithm {algorithm_name(config)!r} takes no commands; udrlpg and gogepo do")
    if num_commands < 2:
        raise ValueError(f"commands = {num_commands} must be at least 2")
    return config


def _achieve(
    key: Key, command: Array, state: PolicyGeneratorState, config: PolicyGeneratorConfig, num_episodes: int
) -> Array:
    """Plays the policy for a command; returns the returns ``[N]``."""
    return learned_returns(playing.play(key, state.replace(best=command), config, num_episodes), config)


@partial(jax.jit, static_argnames="num_episodes")
def _achieve_all(
    keys: Key, commands: Array, state: PolicyGeneratorState, config: PolicyGeneratorConfig, num_episodes: int
) -> Array:
    """Plays the policies for all commands ``[C]`` side by side; returns the returns ``[C, N]``."""
    return jax.vmap(lambda key, command: _achieve(key, command, state, config, num_episodes))(keys, commands)


def command_following_correlation(commanded: Any, achieved: Any) -> NDArray:
    """Computes Pearson's correlation ``[...]`` between commands ``[C]`` and the mean of each one's ``[..., C, N]``.

    It is 0 where all commands achieve the same.
    """
    commands = np.asarray(commanded, np.float64)
    means = np.asarray(achieved, np.float64).mean(axis=-1)
    commands, means = commands - commands.mean(), means - means.mean(axis=-1, keepdims=True)
    size = np.sqrt(np.square(commands).sum() * np.square(means).sum(axis=-1))
    return np.asarray((commands * means).sum(axis=-1) / np.maximum(size, 1e-12))
