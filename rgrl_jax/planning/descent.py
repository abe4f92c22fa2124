"""The compiled loop under everything that is deduced: descend an error on inputs, a member drawn per step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rgrl_jax import ensemble
from rgrl_jax.types import Array, Deduction, Key, PyTree, Scalar


def _normalized(learning_rate: Scalar) -> optax.GradientTransformation:
    return optax.chain(optax.normalize_by_update_norm(eps=1e-30), optax.scale_by_learning_rate(learning_rate))


PLAN_OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "normalized": _normalized,
}


def make_plan_optimizer(name: str, learning_rate: Scalar) -> optax.GradientTransformation:
    """What turns the gradient of a plan into a step; the step size beta may be traced.

    Args:
      name: ``"sgd"`` (the paper's), ``"adam"``, or ``"normalized"``, the gradient of each plan divided by its
        norm, so that a step is beta long however flat the error is.
      learning_rate: beta.
    """
    return PLAN_OPTIMIZERS[name](learning_rate)


def descend(
    key: Key,
    params: PyTree,
    error: Callable[[PyTree, Array], Array],
    start: Array,
    *,
    iterations: int,
    optimizer: optax.GradientTransformation,
    members: str = "sample",
    disagreement: Scalar = 0.0,
    accept: str = "always",
) -> tuple[Array, Array]:
    """Gradient descent on an input of an ensemble.

    Args:
      key: decides the members drawn; consumed.
      params: stacked members ``[E, ...]``.
      error: ``(member, input) -> scalar``.
      start: where to start, any shape.
      iterations: ``K`` >= 0.
      optimizer: turns gradients into steps.
      members: ``"sample"`` draws one member per iteration, ``"mean"`` descends the mean error of all.
      disagreement: with ``"mean"``, weight of the standard deviation of the members' errors beside it: above 0
        it keeps the input where members agree, below 0 it draws it to where they do not.
      accept: ``"always"``, or ``"better"``: a step is taken back if the members drawn for it find it worse.

    Returns:
      The last input, and the errors ``[K]`` before each step.
    """

    def mean_error(value: Array, member: Array) -> Array:
        del member
        errors = jax.vmap(error, in_axes=(0, None))(params, value)
        return errors.mean() + disagreement * jnp.sqrt(errors.var() + 1e-12)  # std has no gradient at 0

    def sampled_error(value: Array, member: Array) -> Array:
        return error(ensemble.select(params, member), value)

    objective = mean_error if members == "mean" else sampled_error

    def improve(carry: tuple[Array, PyTree], member: Array) -> tuple[tuple[Array, PyTree], Array]:
        value, opt_state = carry
        loss, gradient = jax.value_and_grad(objective)(value, member)
        updates, opt_state = optimizer.update(gradient, opt_state, value)
        moved = optax.apply_updates(value, updates)
        if accept == "better":
            moved = jnp.where(objective(moved, member) < loss, moved, value)
        return (moved, opt_state), loss

    draws = ensemble.draw(key, params, (iterations,))  # outside the loop: no random bits inside
    (value, _), loss = jax.lax.scan(improve, (start, optimizer.init(start)), draws)
    return value, loss


def squared_error(predicted: Array, target: Array) -> Array:
    """Mean squared difference, a scalar."""
    return jnp.square(predicted - target).mean()


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
    members: str = "sample",
    error: Callable[[Array, Any], Array] = squared_error,
    squash: Callable[[Array], Array] = lambda x: x,
) -> Deduction:
    """Deduces the input that makes an ensemble answer ``target``: the method without an environment.

    ``u <- u - beta * d/du  E(f(W_i, x), target)`` with ``x = squash(u)`` where free and ``start`` elsewhere, and a
    member ``W_i`` drawn anew each iteration (equation 1). `rgrl_jax.plan` is the same loop on a model of rewards.

    Args:
      key: decides the members drawn; consumed.
      params: stacked members, leaves ``[E, ...]``.
      f: any differentiable ``f(member, x) -> y``.
      target: what y should be, as ``error`` takes it.
      start: the input ``x`` to start from, any shape; its free entries count before the squash.
      iterations: ``K`` >= 0.
      optimizer: turns gradients into steps, for instance ``optax.sgd(beta)``.
      free: which entries may move, broadcastable to ``start``.
      members: see `descend`.
      error: ``(y, target) -> scalar``.
      squash: keeps the free entries in their range.

    Returns:
      A `Deduction`.
    """

    def fill(latent: Array) -> Array:
        return jnp.where(free, squash(latent), start)

    def input_error(member: PyTree, latent: Array) -> Array:
        return error(f(member, fill(latent)), target)

    latent, loss = descend(
        key, params, input_error, start, iterations=iterations, optimizer=optimizer, members=members
    )
    x = fill(latent)
    outputs = jax.vmap(f, in_axes=(0, None))(params, x)
    return Deduction(
        x=x,
        loss=loss,
        predicted=outputs.mean(axis=0),
        score=jax.vmap(error, in_axes=(0, None))(outputs, target),
        movement=jnp.abs(x - fill(start)).max(),
    )
