"""Losses of generator and evaluator, and their updates by Adam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rgrl_jax.algos.policy_generators.build import AgentSpec, make_policies
from rgrl_jax.algos.policy_generators.config import PolicyGeneratorConfig
from rgrl_jax.algos.policy_generators.evaluator import Evaluator, init_evaluator, predict_returns
from rgrl_jax.algos.policy_generators.generator import Generator, init_generator
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


def init_networks(key: Key, spec: AgentSpec, config: PolicyGeneratorConfig) -> Networks:
    """Draws all weights."""
    generator_key, evaluator_key = jax.random.split(key)
    generator = _start_training(init_generator(generator_key, spec.generator))
    if config.algorithm == "udrlpg":
        return Networks(generator, ())
    evaluator = init_evaluator(evaluator_key, spec.policy, config.num_probes, config.evaluator_hidden)
    return Networks(generator, _start_training(evaluator))


def _start_training(params: PyTree) -> TrainedNetwork:
    return TrainedNetwork(params, optax.adam(0.0).init(params))


def hindsight_loss(generator: Generator, policies: Array, returns: Array, spec: AgentSpec) -> Array:
    """Computes the mean squared error between policies ``[B, P]`` and those made for their returns ``[B]``."""
    return jnp.square(make_policies(generator, returns, spec) - policies).mean()


def evaluator_loss(evaluator: Evaluator, policies: Array, returns: Array, spec: AgentSpec) -> Array:
    """Computes the mean squared error of the predicted returns of policies ``[B, P]`` with returns ``[B]``."""
    return jnp.square(predict_returns(evaluator, policies, spec.policy) - returns).mean()


def command_loss(generator: Generator, evaluator: Evaluator, commands: Array, spec: AgentSpec) -> Array:
    """Computes the mean squared error between commands ``[B]`` and the predicted returns of the policies for them."""
    made = make_policies(generator, commands, spec)
    return jnp.square(predict_returns(evaluator, made, spec.policy) - commands).mean()


def update(
    key: Key, networks: Networks, store: Store, spec: AgentSpec, config: PolicyGeneratorConfig
) -> tuple[Networks, Array]:
    """Makes the updates after a row of episodes.

    Args:
      key: consumed.
      networks: weights before.
      store: policies to learn from, at least one.
      spec: specs of the config.
      config: config of the run.

    Returns:
      The networks, and the mean loss, a scalar: hindsight loss of udrlpg, evaluator loss of gogepo.
    """
    generator_key, evaluator_key = jax.random.split(key)
    generator, evaluator = networks
    descend = partial(_descend, num_updates=config.generator_updates, lr=config.generator_lr)
    if not isinstance(evaluator, TrainedNetwork):

        def hindsight(params: Generator, key: Key) -> Array:
            return hindsight_loss(params, *sample(key, store, config), spec)

        generator, loss = descend(generator_key, generator, hindsight)
        return Networks(generator, ()), loss

    def evaluation(params: Evaluator, key: Key) -> Array:
        return evaluator_loss(params, *sample(key, store, config), spec)

    # The evaluator goes first, as the generator's gradient goes through it.
    evaluator, loss = _descend(evaluator_key, evaluator, evaluation, config.evaluator_updates, config.evaluator_lr)

    def command(params: Generator, key: Key) -> Array:
        return command_loss(params, evaluator.params, sample(key, store, config)[1], spec)

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
