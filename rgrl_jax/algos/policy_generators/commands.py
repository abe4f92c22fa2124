"""Commands: returns that policies are made for, on the scale between two returns."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.types import Array, Episode, Key


def return_range(config: PolicyGeneratorConfig) -> tuple[Array, Array]:
    """Returns both ends of the config's range of returns, scalars, or the environment's if the config's are equal."""
    low, high = config.spec.return_range
    given = jnp.asarray(config.return_high) > config.return_low
    return jnp.where(given, config.return_low, low), jnp.where(given, config.return_high, high)


def relative_return(returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Maps returns linearly, from 0 at the lower end of the range, and below, to 1 at its upper end; same shape."""
    low, high = return_range(config)
    return (jnp.maximum(returns, low) - low) / (high - low)


def generator_input(commands: Array, config: PolicyGeneratorConfig) -> Array:
    """Scales commands for the generator; same shape. With gogepo 0 stays 0, whatever the range."""
    if config.algorithm == "udrlpg":
        return relative_return(commands, config)
    low, high = return_range(config)
    return commands / (high - low)


def learned_returns(episode: Episode, config: PolicyGeneratorConfig) -> Array:
    """Computes the returns ``[N]`` without the bonus for every step."""
    return episode.episode_return - config.survival_bonus * episode.length


def best_command(best: Array, config: PolicyGeneratorConfig) -> Array:
    """Returns the best return so far as a command, a scalar; before any, the range's lower end, with gogepo 1."""
    first = return_range(config)[0] if config.algorithm == "udrlpg" else 1.0
    return jnp.where(jnp.isfinite(best), best, first)


def target_return(best: Array, config: PolicyGeneratorConfig) -> Array:
    """Returns the command, a scalar, that is to raise the best return so far (minus infinity before any episode)."""
    return best_command(best, config) + jnp.where(jnp.isfinite(best), config.return_increment, 0.0)


def next_command(key: Key, best: Array, config: PolicyGeneratorConfig) -> Array:
    """Chooses the command, a scalar, of the next training episodes."""
    low, high = return_range(config)
    if config.command == "top":
        return jnp.asarray(high, jnp.float32)
    target = target_return(best, config)
    if config.command == "best":
        return target
    coin_key, place_key = jax.random.split(key)
    low_command = low + jax.random.uniform(place_key) * (target - low)
    return jnp.where(jax.random.bernoulli(coin_key), low_command, target)
