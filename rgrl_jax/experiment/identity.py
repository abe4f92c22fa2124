"""Does a generator of policies do what it is told? Achieved against commanded return."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rgrl_jax.algos.base import algorithm_name
from rgrl_jax.algos.policy_generators import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.parts import learned_returns, return_bounds
from rgrl_jax.experiment import host, programs
from rgrl_jax.types import Array, Key

NDArray = np.ndarray[Any, Any]


class IdentityCurve(NamedTuple):
    """What a generator of policies was asked for, and what its policies reached.

    Attributes:
      commanded: returns ``[C]``, from one end of their scale to the other.
      achieved: returns of noiseless episodes ``[C, N]``, each command with one policy; as learnt from, without a
        bonus for every step.
    """

    commanded: Array
    achieved: Array


def identity_curve(key: Key, state: Any, config: Any, num_commands: int = 11, num_episodes: int = 5) -> IdentityCurve:
    """Commands a generator of policies to reach returns all along their scale.

    A pure function, ready for ``jit`` and ``vmap``, unless the environment lives on the host.

    Args:
      key: decides the episodes.
      state: of one run of ``udrlpg`` or ``gogepo``.
      config: the config it was trained with.
      num_commands: ``C``, at least 2. Static.
      num_episodes: ``N`` of each, at least 1. Static.

    Raises:
      ValueError: the algorithm takes no commands, or one of the numbers is too small.
    """
    check_commands(config, num_commands)
    if num_episodes < 1:
        raise ValueError(f"num_episodes = {num_episodes} must be at least 1")
    commanded = jnp.linspace(*return_bounds(config), num_commands)
    keys = jax.random.split(key, num_commands)
    if not host.is_hosted(config):
        return IdentityCurve(commanded, _achieve_all(keys, commanded, state, config, num_episodes))
    rows = [_achieve(keys[i], commanded[i], state, config, num_episodes) for i in range(num_commands)]
    return IdentityCurve(commanded, jnp.stack(rows))


def check_commands(config: Any, number: int) -> None:
    """Fails unless a config's algorithm takes commands, and there are enough of them.

    Raises:
      ValueError: one sentence.
    """
    if not isinstance(config, PolicyGeneratorConfig):
        raise ValueError(f"algorithm {algorithm_name(config)!r} takes no commands; udrlpg and gogepo do")
    if number < 2:
        raise ValueError(f"commands = {number} must be at least 2")


def _achieve(key: Key, command: Array, state: Any, config: PolicyGeneratorConfig, num_episodes: int) -> Array:
    """Returns ``[N]`` for one command."""
    return learned_returns(programs.play(key, state.replace(best=command), config, num_episodes), config)


@partial(jax.jit, static_argnames="num_episodes")
def _achieve_all(keys: Key, commands: Array, state: Any, config: PolicyGeneratorConfig, num_episodes: int) -> Array:
    """Those of all commands ``[C]`` side by side, ``[C, N]``."""
    return jax.vmap(lambda key, command: _achieve(key, command, state, config, num_episodes))(keys, commands)


def identity_correlation(commanded: Any, achieved: Any) -> NDArray:
    """Pearson's correlation between commands and the mean return that each achieved; 0 where all achieve the same.

    Args:
      commanded: returns ``[C]``.
      achieved: returns ``[..., C, N]``.

    Returns:
      ``[...]``.
    """
    asked = np.asarray(commanded, np.float64)
    means = np.asarray(achieved, np.float64).mean(axis=-1)
    asked, means = asked - asked.mean(), means - means.mean(axis=-1, keepdims=True)
    size = np.sqrt(np.square(asked).sum() * np.square(means).sum(axis=-1))
    return np.asarray((asked * means).sum(axis=-1) / np.maximum(size, 1e-12))
