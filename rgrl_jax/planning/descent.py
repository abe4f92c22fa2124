"""Gradient descent on the input of an ensemble, a member drawn per iteration: the loop under every planner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from rgrl_jax.planning import ensemble
from rgrl_jax.planning.outputs import DeductionOutput
from rgrl_jax.types import Array, Key, PyTree


def descend(
    key: Key,
    params: PyTree,
    error: Callable[[PyTree, Array], Array],
    start: Array,
    *,
    iterations: int,
    optimizer: optax.GradientTransformation,
) -> tuple[Array, Array]:
    """Descends ``error(member, input)`` from an input of any shape, by one of the members ``[E, ...]`` at a time.

    Returns:
      The last input, and the errors ``[K]`` before each step.
    """

    def step(carry: tuple[Array, PyTree], member: Array) -> tuple[tuple[Array, PyTree], Array]:
        value, opt_state = carry
        loss, gradient = jax.value_and_grad(error, argnums=1)(ensemble.select(params, member), value)
        updates, opt_state = optimizer.update(gradient, opt_state, value)
        return (optax.apply_updates(value, updates), opt_state), loss

    # Drawn outside the loop, which then holds no random bits; under `vmap` with an unmapped key the indices are
    # shared by all rows, so that every row multiplies the same member's weights.
    draws = ensemble.draw(key, params, (iterations,))
    (value, _), loss = jax.lax.scan(step, (start, optimizer.init(start)), draws)
    return value, loss


def deduce(
    key: Key,
    params: PyTree,
    f: Callable[[PyTree, Array], Array],
    target: Any,
    start: Array,
    *,
    iterations: int,
    optimizer: optax.GradientTransformation,
    free: Array | bool = True,
    loss_fn: Callable[[Array, Any], Array] = lambda y, target: jnp.square(y - target).mean(),
    squash: Callable[[Array], Array] = lambda latent: latent,
) -> DeductionOutput:
    """Deduces the input that makes an ensemble answer ``target``: the method without an environment.

    ``u <- u - beta * d/du  loss_fn(f(W_i, x), target)`` with ``x = squash(u)`` where free and ``start`` elsewhere,
    and a member ``W_i`` drawn anew each iteration (equation 1). `rgrl_jax.plan` does the same to a model of rewards.

    >>> weights = jnp.array([[1.0, 0.0], [1.0, 1.0]])  # two members, linear in the input
    >>> out = deduce(jax.random.key(0), weights, jnp.dot, 2.0, jnp.zeros(2), iterations=200, optimizer=optax.sgd(0.2))
    >>> print(out.input.round(3) + 0.0, (weights @ out.input).round(3))
    [2. 0.] [2. 2.]

    Args:
      key: decides the members drawn; consumed.
      params: stacked members, leaves ``[E, ...]``.
      f: any differentiable ``f(member, x) -> y``.
      target: desired ``y``, as ``loss_fn`` takes it.
      start: the input ``x`` to start from, any shape; its free entries count before the squash.
      iterations: ``K`` >= 0.
      optimizer: makes steps of gradients, for instance ``optax.sgd(beta)``.
      free: entries that may move, broadcastable to ``start``.
      loss_fn: ``(y, target) -> scalar``; by default the mean squared difference.
      squash: keeps the free entries in their range; keeps the shape.

    Raises:
      AssertionError: the members' leaves, ``free`` or the squash have another shape.
    """
    start = jnp.asarray(start)

    def fill(latent: Array) -> Array:
        return jnp.where(free, squash(latent), start)

    def error(member: PyTree, latent: Array) -> Array:
        return loss_fn(f(member, fill(latent)), target)

    chex.assert_shape(fill(start), start.shape, custom_message="free and squash must keep the shape of start")
    latent, loss = descend(key, params, error, start, iterations=iterations, optimizer=optimizer)
    x = fill(latent)
    outputs = jax.vmap(f, in_axes=(0, None))(params, x)
    return DeductionOutput(
        input=x,
        loss=loss,
        predicted=outputs.mean(axis=0),
        score=jax.vmap(loss_fn, in_axes=(0, None))(outputs, target),
        movement=jnp.abs(x - fill(start)).max(),
    )
