"""Losses of generator and evaluator, and their updates by Adam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.evaluator import Evaluator, init_evaluator, predict_returns
from rgrl_jax.algos.policy_generators.generator import Generator, init_generator, make_policies
from rgrl_jax.algos.policy_generators.policy import layer_sizes
from rgrl_jax.algos.policy_generators.store import Store, sample
from rgrl_jax.types import Array, Key, PyTree, Scalar


class TrainedNetwork(struct.PyTreeNode):
    """Weights, and the state of their optimizer."""

    params: PyTree
    opt_state: optax.OptState


class Networks(NamedTuple):
    """All weights that learn; udrlpg has no evaluator."""

    generator: TrainedNetwork
    evaluator: TrainedNetwork | tuple[()]


def init_networks(key: Key, config: PolicyGeneratorConfig) -> Networks:
    """Draws all weights."""

    def start(params: PyTree) -> TrainedNetwork:
        return TrainedNetwork(params, optax.adam(0.0).init(params))

    generator_key, evaluator_key = jax.random.split(key)
    generator = start(init_generator(generator_key, layer_sizes(config), config))
    return Networks(generator, () if config.algorithm == "udrlpg" else start(init_evaluator(evaluator_key, config)))


def hindsight_loss(generator: Generator, policies: Array, returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Computes the mean squared error between policies ``[B, P]`` and those made for their returns ``[B]``."""
    return jnp.square(make_policies(generator, returns, config) - policies).mean()


def evaluator_loss(evaluator: Evaluator, policies: Array, returns: Array, config: PolicyGeneratorConfig) -> Array:
    """Computes the mean squared error of the predicted returns of policies ``[B, P]`` with returns ``[B]``."""
    return jnp.square(predict_returns(evaluator, policies, config) - returns).mean()


def command_loss(generator: Generator, evaluator: Evaluator, commands: Array, config: PolicyGeneratorConfig) -> Array:
    """Computes the mean squared error between commands ``[B]`` and the predicted returns of the policies for them."""
    return evaluator_loss(evaluator, make_policies(generator, commands, config), commands, config)


def update(key: Key, networks: Networks, store: Store, config: PolicyGeneratorConfig) -> tuple[Networks, Array]:
    """Makes the updates after a row of episodes, from a store that is not empty.

    Returns:
      The networks, and the mean loss, a scalar: hindsight loss of udrlpg, evaluator loss of gogepo.
    """
    generator_key, evaluator_key = jax.random.split(key)
    generator, evaluator = networks
    descend = partial(_descend, num_updates=config.generator_updates, lr=config.generator_lr)
    if not isinstance(evaluator, TrainedNetwork):

        def hindsight(params: Generator, key: Key) -> Array:
            return hindsight_loss(params, *sample(key, store, config), config)

        generator, loss = descend(generator_key, generator, hindsight)
        return Networks(generator, ()), loss

    def evaluation(params: Evaluator, key: Key) -> Array:
        return evaluator_loss(params, *sample(key, store, config), config)

    # The evaluator goes first, as the generator's gradient goes through it.
    evaluator, loss = _descend(evaluator_key, evaluator, evaluation, config.evaluator_updates, config.evaluator_lr)

    def command(params: Generator, key: Key) -> Array:
        return command_loss(params, evaluator.params, sample(key, store, config)[1], config)

    generator, _ = descend(generator_key, generator, command)
    return Networks(generator, evaluator), loss


def _descend(
    key: Key, network: TrainedNetwork, loss_fn: Callable[..., Array], num_updates: int, lr: Scalar
) -> tuple[TrainedNetwork, Array]:
    """Makes steps of Adam on ``loss_fn(params, key)``; returns the network and the mean of the losses before them."""

    def step(network: TrainedNetwork, key: Key) -> tuple[TrainedNetwork, Array]:
        loss, gradient = jax.value_and_grad(loss_fn)(network.params, key)
        # Adam is made anew in every step: its learning rate may be traced, and a state holds arrays only.
        change, opt_state = optax.adam(lr).update(gradient, network.opt_state)
        return TrainedNetwork(optax.apply_updates(network.params, change), opt_state), loss

    network, losses = jax.lax.scan(step, network, jax.random.split(key, num_updates))
    return network, losses.mean()
