"""What a config names: the actor's design, its optimisers, what networks see, and what becomes of their output."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import optax

from rgrl_jax import encoding
from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.networks import Design
from rgrl_jax.encoding import Running, count_seen, flatten, scale, unscale
from rgrl_jax.envs.spec import EnvSpec
from rgrl_jax.types import Array, Box, Discrete, Key

CLIP = 10.0
"""Greatest size of an observation on a running scale."""


def actor_design(config: DDPGConfig) -> Design:
    """Sizes and units of the actor."""
    inputs, outputs = (
        x.n if isinstance(x, Discrete) else math.prod(x.shape) for x in (config.spec.observation, config.spec.action)
    )
    sizes = (inputs, *config.hidden, outputs)
    return Design(sizes, config.topology == "recurrent", config.inner_steps, config.activation, config.biases)


def said_sizes(design: Design) -> tuple[int, ...]:
    """How many neurons speak in each firing of a decision."""
    return (sum(design.sizes),) * design.inner_steps if design.recurrent else design.sizes[1:]


def read_sizes(design: Design) -> tuple[tuple[int, int], ...]:
    """Of each layer of weights, how many voltages its neurons read, and how many neurons there are."""
    if design.recurrent:
        return ((sum(design.sizes), sum(design.sizes)),)
    return tuple(zip(design.sizes[:-1], design.sizes[1:], strict=True))


def actor_optimizer(config: DDPGConfig) -> optax.GradientTransformation:
    """Of the actor; the rate of hidden layers is a share of it, see `rgrl_jax.algos.ddpg.update`."""
    return _optimizer(config, config.actor_rate)


def critic_optimizer(config: DDPGConfig) -> optax.GradientTransformation:
    """Of the critic of the whole action."""
    return optax.chain(optax.add_decayed_weights(config.critic_decay), _optimizer(config, config.critic_rate))


def neuron_optimizer(config: DDPGConfig) -> optax.GradientTransformation:
    """Of the critics of neurons; nothing in it is shared among them, not even a norm."""
    return _optimizer(config, config.neuron_rate)


def _optimizer(config: DDPGConfig, rate: Array | float) -> optax.GradientTransformation:
    return optax.adam(rate) if config.optimizer == "adam" else optax.sgd(rate)


def init_running(config: DDPGConfig) -> Running | tuple[()]:
    """Nothing was seen; an empty tuple unless observations are on a running scale."""
    return encoding.init_running(actor_design(config).sizes[0]) if config.observation == "running" else ()


def see(running: Running | tuple[()], obs: Array, alive: Array, spec: EnvSpec) -> Running | tuple[()]:
    """Counts observations ``[N, ...]`` where ``alive [N]``."""
    if not isinstance(running, Running):
        return running
    return count_seen(running, jax.vmap(partial(flatten, space=spec.observation))(obs), alive)


def features(obs: Array, running: Running | tuple[()], config: DDPGConfig) -> Array:
    """What the networks see of observations ``[B, ...]``: ``[B, n_0]``."""
    spec = config.spec
    x = jax.vmap(partial(flatten, space=spec.observation))(obs)
    if config.observation == "range" and isinstance(spec.observation, Box):
        low, high = bounds(spec.observation)
        return scale(x, low, high)
    if isinstance(running, Running):
        deviation = jnp.sqrt(running.squares / jnp.maximum(running.count, 1.0))
        return jnp.clip((x - running.mean) / (deviation + 1e-4), -CLIP, CLIP)
    return x


def bounds(box: Box) -> tuple[Array, Array]:
    """Of a box, each one number or a vector of its flattened entries."""
    return jnp.asarray(box.low, jnp.float32), jnp.asarray(box.high, jnp.float32)


def env_action(action: Array, spec: EnvSpec) -> Array:
    """The environment's action for one ``[A]`` in -1..1."""
    assert isinstance(spec.action, Box)
    low, high = bounds(spec.action)
    return unscale(action, low, high).reshape(spec.action.shape)


def own_action(action: Array, spec: EnvSpec) -> Array:
    """The other way round: ``[A]`` in -1..1 for an action of the environment."""
    assert isinstance(spec.action, Box)
    low, high = bounds(spec.action)
    return scale(action.ravel(), low, high)


def step_noise(key: Key, noise: Array, config: DDPGConfig) -> Array:
    """The next noise ``[N, A]`` after ``noise``, of actions in -1..1.

    An Ornstein-Uhlenbeck process is ``x' = x - theta x + sigma xi`` with standard normal ``xi``, from 0 at the start
    of an episode (Lillicrap et al., 2016, with steps of length 1).
    """
    if config.noise == "none":
        return jnp.zeros_like(noise)
    kept = (1.0 - config.noise_reversion) * noise if config.noise == "ou" else 0.0
    return kept + config.noise_scale * jax.random.normal(key, noise.shape)
