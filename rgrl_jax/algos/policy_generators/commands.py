"""Commands: returns that policies are made for, on the scale between two returns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.types import Array, Episode, Key, Scalar


class ReturnRange(NamedTuple):
    """Range of the returns that are commanded, ``low`` to ``high``, for an algorithm."""

    low: Scalar
    high: Scalar
    algorithm: str


def return_range(config: PolicyGeneratorConfig) -> ReturnRange:
    """Returns the config's range, or the environment's if both ends of the config's are the same."""
    low, high = config.spec.return_range
    given = jnp.asarray(config.return_high) > config.return_low
    return ReturnRange(
        low=jnp.where(given, config.return_low, low),
        high=jnp.where(given, config.return_high, high),
        algorithm=config.algorithm,
    )


def relative_return(returns: Array, within: ReturnRange) -> Array:
    """Maps returns linearly, from 0 at the lower end of the range, and below, to 1 at its upper end; same shape."""
    return (jnp.maximum(returns, within.low) - within.low) / (within.high - within.low)


def generator_input(commands: Array, within: ReturnRange) -> Array:
    """Scales commands for the generator; same shape. With gogepo 0 stays 0, whatever the range."""
    if within.algorithm == "udrlpg":
        return relative_return(commands, within)
    return commands / (within.high - within.low)


def learned_returns(episode: Episode, config: PolicyGeneratorConfig) -> Array:
    """Computes the returns ``[N]`` without the bonus for every step."""
    return episode.episode_return - config.survival_bonus * episode.length


def best_command(best: Array, within: ReturnRange) -> Array:
    """Returns the best return so far as a command; before any, the range's lower end, with gogepo 1."""
    first = within.low if within.algorithm == "udrlpg" else 1.0
    return jnp.where(jnp.isfinite(best), best, first)


def target_return(best: Array, within: ReturnRange, increment: Scalar) -> Array:
    """Returns the command that is to raise the best return so far, which is minus infinity before any episode."""
    return best_command(best, within) + jnp.where(jnp.isfinite(best), increment, 0.0)


def next_command(key: Key, best: Array, within: ReturnRange, config: PolicyGeneratorConfig) -> Array:
    """Chooses the command, a scalar, of the next training episodes."""
    if config.command == "top":
        return jnp.asarray(within.high, jnp.float32)
    target = target_return(best, within, config.return_increment)
    if config.command == "best":
        return target
    coin_key, place_key = jax.random.split(key)
    low_command = within.low + jax.random.uniform(place_key) * (target - within.low)
    return jnp.where(jax.random.bernoulli(coin_key), low_command, target)
