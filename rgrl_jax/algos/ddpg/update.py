"""Building blocks of an update: critics fit TD targets, an actor climbs their values, targets follow slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rgrl_jax.types import Array, PyTree, Scalar

T = TypeVar("T")
_Optimizer: TypeAlias = optax.GradientTransformation


class TrainedNetwork(struct.PyTreeNode):
    """Parameters that learn, their targets, which are the same but follow slowly, and the optimizer's state."""

    weights: PyTree
    target: PyTree
    opt: PyTree


class Batch(NamedTuple):
    """Steps as the networks see them.

    Inputs ``[B, n_0]`` before and after them, executed actions ``[B, A]`` in -1..1, scaled rewards ``[B]``, 1 where
    the value of what follows counts and else 0 ``[B]``, and what the actor recorded of its decisions ``[B, ...]``.
    """

    x: Array
    action: Array
    reward: Array
    next_x: Array
    bootstrap: Array
    extras: PyTree = ()


def init_network(weights: PyTree, optimizer: _Optimizer) -> TrainedNetwork:
    """Makes a network whose target starts equal to it."""
    return TrainedNetwork(weights, weights, optimizer.init(weights))


def apply_gradient(network: TrainedNetwork, gradient: PyTree, optimizer: _Optimizer) -> TrainedNetwork:
    """Moves the weights down a gradient; the target stays."""
    updates, opt = optimizer.update(gradient, network.opt, network.weights)
    return network.replace(weights=optax.apply_updates(network.weights, updates), opt=opt)


def apply_actor_gradient(actor: TrainedNetwork, gradient: PyTree, optimizer: _Optimizer) -> TrainedNetwork:
    """Moves the weights up a gradient."""
    return apply_gradient(actor, jax.tree.map(jnp.negative, gradient), optimizer)


def fit_critic(
    critic: TrainedNetwork,
    q: Callable[[PyTree], Array],
    targets: Array,
    optimizer: _Optimizer,
    loss_scale: float = 1.0,
) -> tuple[TrainedNetwork, Array]:
    """Makes one step down the squared TD errors ``targets - q(weights)``.

    Targets are ``[B]``, or ``[B, k]`` of ``k`` critics, and so are the values ``q`` of the batch under given weights.
    The loss is averaged over ``B``, summed over ``k`` and multiplied by a scale.

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

    return jax.tree.map(follow, networks, is_leaf=lambda x: isinstance(x, TrainedNetwork))
