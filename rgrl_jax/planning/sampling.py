"""Planning without gradients on the same models: random shooting, CEM and MPPI.

No claim about gradient planning means anything without them. All three draw plans around a mean, score them
by the ensemble and move the mean; they differ in how.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rgrl_jax import ensemble
from rgrl_jax.planning.gradient import PlanModel, per_member, plan_error, summarise
from rgrl_jax.types import Array, Key, PlanOutput, PyTree, Scalar

Move = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
"""``move(mean, spread, latents [P, T, A], errors [P]) -> (mean, spread)``, all of shape ``[T, A]``."""


def shooting(mean: Array, spread: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
    """Keeps the best plan drawn; `sample_plan` puts the best so far among those compared."""
    del mean
    return latents[errors.argmin()], spread


def make_cem(elites: int) -> Move:
    """Mean and standard deviation of the best ``elites`` plans (cross-entropy method)."""

    def cem(mean: Array, spread: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
        del mean, spread
        best = latents[jax.lax.top_k(-errors, elites)[1]]
        return best.mean(axis=0), best.std(axis=0)

    return cem


def make_mppi(temperature: Scalar) -> Move:
    """Mean weighted by ``softmax(-error / temperature)`` (model predictive path integral); the spread stays."""

    def mppi(mean: Array, spread: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
        del mean
        return jnp.tensordot(jax.nn.softmax(-errors / temperature), latents, axes=1), spread

    return mppi


def sample_plan(
    key: Key,
    params: PyTree,
    apply: PlanModel,
    context: Any,
    init_plan: Array,
    *,
    move: Move,
    iterations: int,
    samples: int,
    spread: Scalar = 1.0,
    desired_reward: Scalar = 1.0,
    reduction: str = "sum",
    step_weights: Array | float = 1.0,
    distance: str = "squared",
    members: str = "sample",
    disagreement: Scalar = 0.0,
    squash: Callable[[Array], Array] = jnp.tanh,
    executed: Callable[[Array], Array] | None = None,
) -> PlanOutput:
    """Draws plans, scores them and moves the mean, ``K`` times.

    Arguments and result are those of `rgrl_jax.plan`, with these differences.

    Args:
      key: decides the members and the plans drawn; shared by the rows of a batch if it is not mapped.
      move: how the mean moves: `shooting`, or as made by `make_cem` or `make_mppi`.
      iterations: ``K``. The budget is ``iterations * samples`` model rollouts forward, where gradient planning
        takes ``iterations`` forward and backward.
      samples: plans per iteration ``P``, the present mean one of them.
      spread: standard deviation of the first draws around ``init_plan [T, A]``, before the squash.
      executed: only the last mean is scored by it; plans on the way are by ``squash``.

    Returns:
      A `PlanOutput` of the last mean.
    """
    wishes = per_member(desired_reward, params)
    judge = partial(plan_error, reduction=reduction, step_weights=step_weights, distance=distance)

    def error(member: tuple[PyTree, Array], latent: Array) -> Array:
        return judge(apply(member[0], context, squash(latent)).reward, member[1])

    def score(latents: Array, member: Array) -> Array:
        if members == "mean":
            errors = jax.vmap(jax.vmap(error, in_axes=(0, None)), in_axes=(None, 0))((params, wishes), latents)
            return errors.mean(axis=1) + disagreement * errors.std(axis=1)
        return jax.vmap(error, in_axes=(None, 0))(ensemble.select((params, wishes), member), latents)

    def improve(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (mean, spread), (member, noise) = carry, now
        latents = jnp.concatenate([mean[None], mean + spread * noise])
        errors = score(latents, member)
        return move(mean, spread, latents, errors), errors[0]

    member_key, noise_key = jax.random.split(key)
    draws = ensemble.draw(member_key, params, (iterations,))
    noise = jax.random.normal(noise_key, (iterations, samples - 1, *init_plan.shape))
    start = (init_plan, jnp.full_like(init_plan, spread))
    (latent, _), loss = jax.lax.scan(improve, start, (draws, noise))
    return summarise(params, wishes, apply, context, latent, init_plan, squash, loss, judge, executed)
