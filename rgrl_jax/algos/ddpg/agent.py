"""DDPG: one actor climbs the value that one critic gives to its actions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import optax
from flax import struct

from rgrl_jax import mlp
from rgrl_jax.algos.ddpg import update as training
from rgrl_jax.algos.ddpg.config import DDPGConfig
from rgrl_jax.algos.ddpg.networks import actor_action, init_critic, q_value
from rgrl_jax.algos.ddpg.update import Batch, TrainedNetwork
from rgrl_jax.mlp import Weights
from rgrl_jax.normalization import space_size
from rgrl_jax.optimizers import make_optimizer
from rgrl_jax.types import Array, Key, PyTree


class Agent(NamedTuple):
    """An actor and its updates, made once from a config; `rgrl_jax.algos.ddpg.online` does all else.

    Attributes:
      init: ``key -> networks``, a pytree of `TrainedNetwork`s with an attribute ``actor``.
      act: ``(actor weights, x [N, n_0], key) -> (actions [N, A] in -1..1, extras [N, ...])``; without any noise if
        the key is None. The extras are stored with the step.
      update: ``(key, networks, batch) -> (networks, mean squared TD error)``.
      extras: shapes and dtypes of the extras of one environment.
    """

    init: Callable[[Key], PyTree]
    act: Callable[[Weights, Array, Key | None], tuple[Array, PyTree]]
    update: Callable[[Key, PyTree, Batch], tuple[PyTree, Array]]
    extras: PyTree = ()


class Networks(struct.PyTreeNode):
    """The networks of DDPG."""

    actor: TrainedNetwork
    critic: TrainedNetwork


def network_sizes(config: DDPGConfig) -> tuple[int, ...]:
    """Returns the sizes ``n_0, ..., A`` of the actor's input, hidden layers and output."""
    return (space_size(config.spec.observation), *config.hidden, space_size(config.action_space))


def make_optimizers(config: DDPGConfig) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """Makes the optimizers of the actor, with its slower hidden layers, and of the critic."""

    # Behind Adam, which would make up for a smaller gradient.
    def slow_down(updates: Weights, _: Weights | None) -> Weights:
        return (*(config.hidden_lr_scale * x for x in updates[:-1]), updates[-1])

    actor = optax.chain(make_optimizer(config.optimizer, config.actor_lr), optax.stateless(slow_down))
    decay = optax.add_decayed_weights(config.critic_decay)
    return actor, optax.chain(decay, make_optimizer(config.optimizer, config.critic_lr))


def init_critic_network(key: Key, config: DDPGConfig) -> TrainedNetwork:
    """Draws the critic."""
    inputs, *_, actions = network_sizes(config)
    weights = init_critic(key, (inputs, *config.critic_hidden), actions, config.action_layer, config.final_init)
    return training.init_network(weights, make_optimizers(config)[1])


def update_critic(
    critic: TrainedNetwork, batch: Batch, next_action: Array, config: DDPGConfig, loss_scale: float = 1.0
) -> tuple[TrainedNetwork, Array]:
    """Fits a critic to ``r + gamma Q'(s', a')``, with ``next_action [B, A]`` as ``a'``; see `fit_critic`."""
    q = partial(q_value, action_layer=config.action_layer)
    next_q = q(critic.target, batch.next_x, next_action)
    targets = batch.reward + config.discount * batch.bootstrap * next_q
    optimizer = make_optimizers(config)[1]
    return training.fit_critic(
        critic, lambda weights: q(weights, batch.x, batch.action), targets, optimizer, loss_scale
    )


def make_agent(config: DDPGConfig) -> Agent:
    """Makes the agent of a config."""
    optimizer, _ = make_optimizers(config)
    action = partial(actor_action, activation=config.activation)

    def init(key: Key) -> Networks:
        actor_key, critic_key = jax.random.split(key)
        weights = mlp.init(actor_key, network_sizes(config), config.final_init)
        return Networks(training.init_network(weights, optimizer), init_critic_network(critic_key, config))

    def act(weights: Weights, x: Array, key: Key | None) -> tuple[Array, PyTree]:
        del key
        return action(weights, x), ()

    def update(key: Key, networks: Networks, batch: Batch) -> tuple[Networks, Array]:
        del key
        actor, next_action = networks.actor, action(networks.actor.target, batch.next_x)
        critic, error = update_critic(networks.critic, batch, next_action, config)

        def value(weights: Weights) -> Array:
            return q_value(critic.weights, batch.x, action(weights, batch.x), config.action_layer).mean()

        actor = training.apply_actor_gradient(actor, jax.grad(value)(actor.weights), optimizer)
        return training.update_targets(Networks(actor, critic), config.tau), error

    return Agent(init, act, update)
