"""Planning by gradient descent on the actions (equation 1 of the paper, lines 8-13 of Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rgrl_jax import ensemble
from rgrl_jax.planning.descent import descend
from rgrl_jax.types import Array, Key, ModelOutput, PlanOutput, PyTree, Scalar

PlanModel = Callable[[PyTree, Any, Array], ModelOutput]
"""``apply(member, context, actions [T, A]) -> ModelOutput``, differentiable in the actions."""


DISTANCES = {"squared": jnp.square, "absolute": jnp.abs}


def plan_error(
    predicted: Array,
    desired_reward: Scalar,
    reduction: str = "sum",
    step_weights: Array | float = 1.0,
    distance: str = "squared",
) -> Array:
    """Distance of predicted from desired rewards, a scalar.

    Args:
      predicted: ``[T, R]``.
      desired_reward: r*, broadcastable to ``[T, R]``.
      reduction: ``"mean"`` over steps and entries as in the reference, where a plan then hardly moves,
        or ``"sum"`` over steps of the mean over entries, so that a step's pull on its own action does
        not shrink with the horizon.
      step_weights: how much each step counts, ``[T]``.
      distance: ``"squared"`` as in the paper, which shuns bad steps more than it seeks good ones; or
        ``"absolute"``, by which below r* the best plan is the one with the greatest sum of rewards.
    """
    error = DISTANCES[distance](predicted - desired_reward).mean(axis=-1) * step_weights
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
    step_weights: Array | float = 1.0,
    distance: str = "squared",
    members: str = "sample",
    disagreement: Scalar = 0.0,
    accept: str = "always",
    squash: Callable[[Array], Array] = jnp.tanh,
    executed: Callable[[Array], Array] | None = None,
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
      desired_reward: r*, in encoded units, broadcastable to ``[T, R]``; with three axes, ``[E, T, R]``, each
        member has its own.
      reduction: see `plan_error`.
      step_weights: likewise.
      distance: likewise.
      members: ``"sample"`` draws one member per iteration, ``"mean"`` descends the mean error of all.
      disagreement: see `rgrl_jax.planning.descent.descend`.
      accept: likewise.
      squash: turns ``u`` into actions in -1..1.
      executed: turns ``u`` into the actions that will be executed, by which the finished plan is scored; None for
        those of ``squash``. Discrete actions that are between two choices may promise what neither keeps.

    Returns:
      A `PlanOutput`; diagnostics that nobody reads are not computed under ``jit``.
    """
    wishes = per_member(desired_reward, params)
    judge = partial(plan_error, reduction=reduction, step_weights=step_weights, distance=distance)

    def error(member: tuple[PyTree, Array], latent: Array) -> Array:
        return judge(apply(member[0], context, squash(latent)).reward, member[1])

    latent, loss = descend(
        key,
        (params, wishes),
        error,
        init_plan,
        iterations=iterations,
        optimizer=optimizer,
        members=members,
        disagreement=disagreement,
        accept=accept,
    )
    return summarise(params, wishes, apply, context, latent, init_plan, squash, loss, judge, executed)


def per_member(desired_reward: Scalar, params: PyTree) -> Array:
    """Desired rewards with a leading member axis ``[E, ...]``, which those with three axes have already."""
    desired = jnp.asarray(desired_reward)
    return desired if desired.ndim == 3 else jnp.broadcast_to(desired, (ensemble.size(params), *desired.shape))


def summarise(
    params: PyTree,
    wishes: Array,
    apply: PlanModel,
    context: Any,
    latent: Array,
    start: Array,
    squash: Callable[[Array], Array],
    loss: Array,
    judge: Callable[[Array, Array], Array],
    executed: Callable[[Array], Array] | None = None,
) -> PlanOutput:
    """A finished plan ``latent [T, A]`` that began as ``start [T, A]``, with every member's opinion of it.

    Args:
      params: stacked members ``[E, ...]``.
      wishes: desired rewards ``[E, ...]``, see `per_member`.
      apply: the model.
      context: what it takes beside the actions.
      latent: the plan before the squash.
      start: where it started, likewise.
      squash: turns both into actions.
      loss: errors on the way ``[K]``.
      judge: ``(predicted rewards [T, R], wish) -> error``.
      executed: turns a plan into the actions that predictions are for; None for ``squash``.
    """
    actions = squash(latent)
    outputs = jax.vmap(apply, in_axes=(0, None, None))(params, context, (executed or squash)(latent))
    return PlanOutput(
        plan=actions,
        latent=latent,
        loss=loss,
        predicted=jax.tree.map(lambda x: x.mean(axis=0), outputs),
        score=jax.vmap(judge)(outputs.reward, wishes),
        disagreement=outputs.reward.std(axis=0).mean(),
        saturation=(jnp.abs(actions) > 0.95).astype(actions.dtype).mean(),
        movement=jnp.abs(actions - squash(start)).max(),
    )
