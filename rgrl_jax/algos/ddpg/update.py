"""Building blocks of an update: critics fit TD targets, an actor climbs their values, targets follow slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rgrl_jax.types import Array, PyTree, Scalar

T = TypeVar("T")


class TrainedNetwork(struct.PyTreeNode):
    """Parameters that learn.

    Attributes:
      weights: as they are.
      target: the same, following slowly.
      opt: state of their optimizer.
    """

    weights: PyTree
    target: PyTree
    opt: PyTree


class Batch(NamedTuple):
    """Steps as the networks see them.

    Attributes:
      x: network inputs ``[B, n_0]``.
      action: actions executed ``[B, A]``, in -1..1.
      reward: scaled rewards ``[B]``.
      next_x: network inputs after the step ``[B, n_0]``.
      bootstrap: 1 where the value of what follows counts, else 0, ``[B]``.
      extras: what the actor recorded of its decisions, leaves ``[B, ...]``.
    """

    x: Array
    action: Array
    reward: Array
    next_x: Array
    bootstrap: Array
    extras: PyTree = ()


def init_network(weights: PyTree, optimizer: optax.GradientTransformation) -> TrainedNetwork:
    """Makes a network whose target starts equal to it."""
    return TrainedNetwork(weights, weights, optimizer.init(weights))


def apply_gradient(
    network: TrainedNetwork, gradient: PyTree, optimizer: optax.GradientTransformation
) -> TrainedNetwork:
    """Moves the weights down a gradient; the target stays."""
    updates, opt = optimizer.update(gradient, network.opt, network.weights)
    return network.replace(weights=optax.apply_updates(network.weights, updates), opt=opt)


def apply_actor_gradient(
    actor: TrainedNetwork, gradient: PyTree, optimizer: optax.GradientTransformation
) -> TrainedNetwork:
    """Moves the weights up a gradient."""
    return apply_gradient(actor, jax.tree.map(jnp.negative, gradient), optimizer)


def fit_critic(
    critic: TrainedNetwork,
    q: Callable[[PyTree], Array],
    targets: Array,
    optimizer: optax.GradientTransformation,
    loss_scale: float = 1.0,
) -> tuple[TrainedNetwork, Array]:
    """Makes one step down the squared TD errors ``targets - q(weights)``.

    Args:
      critic: what learns.
      q: values of the batch under given weights, of the shape of ``targets``.
      targets: ``[B]``, or ``[B, k]`` of ``k`` critics; the loss is averaged over ``B`` and summed over ``k``.
      optimizer: of the critic.
      loss_scale: factor on the loss.

    Returns:
      The critic, and its mean squared TD error, scalar.
    """

    def loss(weights: PyTree) -> tuple[Array, Array]:
        errors = targets - q(weights)
        return loss_scale * jnp.square(errors).sum() / errors.shape[0], jnp.square(errors).mean()

    gradient, error = jax.grad(loss, has_aux=True)(critic.weights)
    return apply_gradient(critic, gradient, optimizer), error


def update_targets(networks: T, tau: Scalar) -> T:
    """Moves the target of every `TrainedNetwork` in a pytree by a share ``tau`` towards its weights."""

    def follow(network: TrainedNetwork) -> TrainedNetwork:
        return network.replace(target=optax.incremental_update(network.weights, network.target, tau))

    moved: T = jax.tree.map(follow, networks, is_leaf=lambda x: isinstance(x, TrainedNetwork))
    return moved
