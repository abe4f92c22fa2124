"""Planning by gradient descent on the actions (equation 1 of the paper, lines 8-13 of Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rgrl_jax import ensemble
from rgrl_jax.types import Array, Key, ModelOutput, PlanOutput, PyTree, Scalar

PlanModel = Callable[[PyTree, Any, Array], ModelOutput]
"""``apply(member, context, actions [T, A]) -> ModelOutput``, differentiable in the actions."""


def make_plan_optimizer(name: str, learning_rate: Scalar) -> optax.GradientTransformation:
    """``"sgd"`` (the paper's) or ``"adam"`` with a possibly traced step size beta."""
    return {"sgd": optax.sgd, "adam": optax.adam}[name](learning_rate)


def plan_error(predicted: Array, desired_reward: Scalar, reduction: str = "sum") -> Array:
    """Squared distance of predicted from desired rewards, a scalar.

    Args:
      predicted: ``[T, R]``.
      desired_reward: r*, broadcastable to ``[T, R]``.
      reduction: ``"mean"`` over steps and entries as in the reference, where a plan then hardly moves,
        or ``"sum"`` over steps of the mean over entries, so that a step's pull on its own action does
        not shrink with the horizon.
    """
    error = jnp.square(predicted - desired_reward).mean(axis=-1)
    return error.sum() if reduction == "sum" else error.mean()


def plan(
    key: Key,
    params: PyTree,
    apply: PlanModel,
    context: Any,
    init_plan: Array,
    *,
    iterations: int,
    optimizer: optax.GradientTransformation,
    desired_reward: Scalar = 1.0,
    reduction: str = "sum",
    members: str = "sample",
    squash: Callable[[Array], Array] = jnp.tanh,
) -> PlanOutput:
    """Deduces a plan: descends the error of predicted rewards on the action inputs.

    With ``u`` the plan before the squash and ``W_i`` a member drawn anew each iteration,
    ``u <- u - beta * d/du  E(f_r(W_i, s, squash(u)), r*)``  (equation 1).

    Unbatched; ``vmap`` it. The key decides only which members are drawn: map ``context`` and ``init_plan``
    and leave the key unmapped to share the draws among the rows of a batch, which keeps every product
    ``(rows, d) @ (d, n)``; map the key as well for independent draws (slower).

    Args:
      key: decides the members; consumed.
      params: stacked members, leaves ``[E, ...]``; may hold per-member context such as a memory.
      apply: ``apply(member, context, actions [T, A]) -> ModelOutput``.
      context: whatever ``apply`` takes, for instance the present state ``[S]``.
      init_plan: where to start, ``[T, A]`` before the squash.
      iterations: ``K`` >= 0.
      optimizer: turns gradients into steps, for instance ``optax.sgd(beta)``.
      desired_reward: r*, in encoded units, broadcastable to ``[T, R]``.
      reduction: see `plan_error`.
      members: ``"sample"`` draws one member per iteration, ``"mean"`` descends the mean error of all.
      squash: keeps actions in -1..1.

    Returns:
      A `PlanOutput`; diagnostics that nobody reads are not computed under ``jit``.
    """

    def error(latent: Array, member: PyTree) -> Array:
        return plan_error(apply(member, context, squash(latent)).reward, desired_reward, reduction)

    def mean_error(latent: Array, member: Array) -> Array:
        del member
        return jax.vmap(error, in_axes=(None, 0))(latent, params).mean()

    def sampled_error(latent: Array, member: Array) -> Array:
        return error(latent, ensemble.select(params, member))

    objective = mean_error if members == "mean" else sampled_error

    def improve(carry: tuple[Array, PyTree], member: Array) -> tuple[tuple[Array, PyTree], Array]:
        latent, opt_state = carry
        loss, gradient = jax.value_and_grad(objective)(latent, member)
        updates, opt_state = optimizer.update(gradient, opt_state, latent)
        return (optax.apply_updates(latent, updates), opt_state), loss

    draws = ensemble.draw(key, params, (iterations,))  # outside the loop: no random bits inside
    (latent, _), loss = jax.lax.scan(improve, (init_plan, optimizer.init(init_plan)), draws)

    actions = squash(latent)
    outputs = jax.vmap(apply, in_axes=(0, None, None))(params, context, actions)
    return PlanOutput(
        plan=actions,
        loss=loss,
        predicted=jax.tree.map(lambda x: x.mean(axis=0), outputs),
        score=jax.vmap(plan_error, in_axes=(0, None, None))(outputs.reward, desired_reward, reduction),
        movement=jnp.abs(actions - squash(init_plan)).max(),
    )
