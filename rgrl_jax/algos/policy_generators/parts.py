"""What a config names: designs, scales of returns and commands, what policies see and what they do."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp

from rgrl_jax.algos.policy_generators import generator
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.store import (
    Buckets,
    Ring,
    Store,
    draw,
    init_buckets,
    init_ring,
    write_bucket,
    write_ring,
)
from rgrl_jax.encoding import Running, flatten, scale, unscale
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Discrete, Episode, Key, Scalar

NUMBERS = 2**30
"""Greatest number of a bucket that is appended."""


def policy_sizes(config: PolicyGeneratorConfig) -> tuple[int, ...]:
    """Inputs, hidden units and outputs of a policy, ``n_0, ..., n_L``."""
    inputs, outputs = (
        x.n if isinstance(x, Discrete) else math.prod(x.shape) for x in (config.spec.observation, config.spec.action)
    )
    return (inputs, *config.hidden, outputs)


def generator_design(config: PolicyGeneratorConfig) -> generator.Design:
    """What the generator is made of."""
    return generator.Design(policy_sizes(config), config.tile, config.embedding, config.generator_hidden)


def return_bounds(config: PolicyGeneratorConfig) -> tuple[Scalar, Scalar]:
    """Ends of the scale of returns: the config's, or if they are the same the environment's."""
    low, high = config.spec.return_range
    given = jnp.asarray(config.return_high) > config.return_low
    return jnp.where(given, config.return_low, low), jnp.where(given, config.return_high, high)


def scaled(returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Returns on their scale, from 0 at its lower end, and below, to 1 at its upper end and more above."""
    low, high = return_bounds(config)
    return (jnp.maximum(returns, low) - low) / (high - low)


def command_input(command: Array, config: PolicyGeneratorConfig) -> Array:
    """What the generator is given for a commanded return; with gogepo the scale's lower end plays no part."""
    if config.rule == "udrlpg":
        return scaled(command, config)
    low, high = return_bounds(config)
    return command / (high - low)


def best_command(best: Array, config: PolicyGeneratorConfig) -> Array:
    """The best return so far as a command; before there is one, the scale's lower end, with gogepo 1."""
    first = return_bounds(config)[0] if config.rule == "udrlpg" else 1.0
    return jnp.where(jnp.isfinite(best), best, first)


def aim(best: Array, config: PolicyGeneratorConfig) -> Array:
    """The command in search of more: the best return so far, once there is one with what is added to it."""
    return best_command(best, config) + jnp.where(jnp.isfinite(best), config.drive, 0.0)


def next_command(key: Key, best: Array, config: PolicyGeneratorConfig) -> Array:
    """The return that the next training episodes are generated for; ``best`` is minus infinity before any."""
    low, high = return_bounds(config)
    if config.command == "top":
        return jnp.asarray(high, jnp.float32)
    command = aim(best, config)
    if config.command == "best":
        return command
    which_key, where_key = jax.random.split(key)
    drawn = low + jax.random.uniform(where_key) * (command - low)
    return jnp.where(jax.random.bernoulli(which_key), drawn, command)


def noise_scale(command: Array, best: Array, config: PolicyGeneratorConfig) -> Array:
    """Standard deviation of the noise on the weights of policies for a command."""
    return config.param_noise * jnp.where(command < aim(best, config), config.drawn_noise, 1.0)


def learned_returns(episode: Episode, config: PolicyGeneratorConfig) -> Array:
    """Returns ``[N]`` without the bonus for every step."""
    return episode.episode_return - config.survival_bonus * episode.length


def bucket_of(returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Numbers of the buckets of returns, of the same shape, int32: left-open parts, but for the first."""
    last = config.buckets - 1 if config.above == "clamp" else NUMBERS
    return jnp.clip(jnp.ceil(scaled(returns, config) * config.buckets) - 1, 0, last).astype(jnp.int32)


def init_store(config: PolicyGeneratorConfig, weights: int) -> Store:
    """An empty store for policies ``[P]``."""
    if config.store == "ring":
        return init_ring(config.capacity, weights)
    kept = min(config.kept_buckets, config.buckets) if config.above == "clamp" else config.kept_buckets
    return init_buckets(kept, config.bucket_size, weights)


def may_replace(returns: Array, command: Array, best: Array, config: PolicyGeneratorConfig) -> Array:
    """Which policies may take the place of an older one ``[N]``, bool.

    Args:
      returns: what they reached ``[N]``.
      command: what they were made for, scalar.
      best: the best return before them, scalar.
      config: the config.
    """
    if config.full != "select":
        return jnp.full(returns.shape, config.full == "replace")
    return (bucket_of(returns, config) >= bucket_of(command, config)) | (command < aim(best, config))


def keep(store: Store, policies: Array, returns: Array, replace: Array, config: PolicyGeneratorConfig) -> Store:
    """Keeps policies ``[N, P]`` with their returns ``[N]``, one after the other; ``replace`` is of `may_replace`."""
    if isinstance(store, Ring):
        return write_ring(store, policies, returns)

    def write(store: Buckets, x: tuple[Array, Array, Array, Array]) -> tuple[Buckets, None]:
        return write_bucket(store, *x), None

    return jax.lax.scan(write, store, (policies, returns, bucket_of(returns, config), replace))[0]


def draw_batch(key: Key, store: Store, config: PolicyGeneratorConfig) -> tuple[Array, Array]:
    """Policies ``[B, P]`` and their returns ``[B]``."""
    weight = config.recency if isinstance(store, Ring) else config.rank_weight
    return draw(key, store, config.batch, weight)


def flat(obs: Array, spec: EnvSpec) -> Array:
    """Observations ``[N, ...]`` as vectors ``[N, n_0]``."""
    return jax.vmap(partial(flatten, space=spec.observation))(obs)


def features(x: Array, running: Running | tuple[()], config: PolicyGeneratorConfig) -> Array:
    """What policies see of observations ``[N, n_0]`` as `flat` gives them; the same shape."""
    space = config.spec.observation
    if isinstance(running, Running):
        deviation = jnp.sqrt(running.squares / jnp.maximum(running.count - 1.0, 1.0))
        return jnp.where(running.count > 1, (x - running.mean) / (deviation + 1e-8), x)
    if config.observation == "range" and isinstance(space, Box):
        return scale(x, jnp.asarray(space.low, jnp.float32), jnp.asarray(space.high, jnp.float32))
    return x


def smooth_action(output: Array, spec: EnvSpec) -> Array:
    """What the evaluator is shown of outputs ``[..., n_L]``: actions, or as these have no slope, shares of them."""
    if isinstance(spec.action, Discrete):
        return jax.nn.softmax(output)
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (spec.action.low, spec.action.high))
    return unscale(jnp.tanh(output), low, high)


def env_action(output: Array, spec: EnvSpec) -> Array:
    """The environment's action for an output ``[n_L]``."""
    if isinstance(spec.action, Discrete):
        return jnp.argmax(output).astype(jnp.int32)
    return smooth_action(output, spec).reshape(spec.action.shape)
