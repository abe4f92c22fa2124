"""Planning without gradients on the same models: random shooting, CEM and MPPI.

No claim about gradient planning means anything without them. All three draw plans around a mean, score them
by the ensemble and move the mean; they differ in how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rgrl_jax.planning import ensemble
from rgrl_jax.planning.gradient import PlanLoss, PlanModel, make_output, make_problem, plan_error
from rgrl_jax.planning.outputs import PlanOutput
from rgrl_jax.types import Array, Key, PyTree, Scalar

Move = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
"""``move(mean, std, latents [P, T, A], errors [P]) -> (mean, std)``, all of shape ``[T, A]``."""


class Sampler(NamedTuple):
    """A law of search for `sample_plan`, as made by `shooting`, `cem` and `mppi`.

    Attributes:
      move: moves mean and standard deviation after a round of draws.
      samples: plans per round ``P``, the present mean one of them.
      init_std: standard deviation of the first draws around ``init_plan``, before the squash.
    """

    move: Move
    samples: int
    init_std: Scalar = 1.0


def shooting(samples: int, init_std: Scalar = 1.0) -> Sampler:
    """Makes random shooting, which keeps the best plan so far; ``samples`` >= 1."""

    def move(mean: Array, std: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
        del mean
        return latents[errors.argmin()], std

    return Sampler(move, samples, init_std)


def cem(samples: int, num_elites: int | None = None, init_std: Scalar = 1.0) -> Sampler:
    """Makes the cross-entropy method: mean and standard deviation of the best plans (Rubinstein 1999).

    Args:
      samples: plans per round ``P``.
      num_elites: number of best plans, at most ``samples``; None for a fifth of them, at least one.
      init_std: standard deviation of the first draws.

    Raises:
      ValueError: there are not so many samples.
    """
    elites = max(samples // 5, 1) if num_elites is None else num_elites
    if not 1 <= elites <= samples:
        raise ValueError(f"num_elites = {elites} must be between 1 and samples = {samples}")

    def move(mean: Array, std: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
        del mean, std
        best = latents[jax.lax.top_k(-errors, elites)[1]]
        return best.mean(axis=0), best.std(axis=0)

    return Sampler(move, samples, init_std)


def mppi(samples: int, temperature: Scalar, init_std: Scalar = 1.0) -> Sampler:
    """Makes model predictive path integral control: a mean weighted by ``softmax(-error / temperature)``.

    The standard deviation stays (Williams et al. 2017).
    """

    def move(mean: Array, std: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
        del mean
        return jnp.tensordot(jax.nn.softmax(-errors / temperature), latents, axes=1), std

    return Sampler(move, samples, init_std)


def sample_plan(
    key: Key,
    params: PyTree,
    apply: PlanModel,
    context: Any,
    init_plan: Array,
    *,
    sampler: Sampler,
    iterations: int,
    desired_reward: Scalar = 1.0,
    loss_fn: PlanLoss = plan_error,
    squash: Callable[[Array], Array] = jnp.tanh,
    execute: Callable[[Array], Array] | None = None,
) -> PlanOutput:
    """Draws plans, scores them and moves their mean, ``K`` times.

    Arguments and result are those of `rgrl_jax.plan`, with these differences.

    Args:
      key: decides the members and the plans drawn; shared by the rows of a batch if it is not mapped.
      apply: need not be differentiable.
      init_plan: the first mean, ``[T, A]`` before the squash.
      sampler: as made by `shooting`, `cem` or `mppi`.
      iterations: rounds of draws ``K``. The budget is ``iterations * samples`` model rollouts forward, where gradient
        planning takes ``iterations`` forward and backward.
      execute: scores the last mean alone; plans on the way are scored by ``squash``.

    Returns:
      A `PlanOutput` of the last mean.
    """
    problem = make_problem(params, apply, context, init_plan, desired_reward, loss_fn, squash, execute)

    def step(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (mean, std), (member, noise) = carry, now
        # The mean competes too: shooting never gets worse, and the loss before each step is its error.
        latents = jnp.concatenate([mean[None], mean + std * noise])
        errors = jax.vmap(problem.error, in_axes=(None, 0))(ensemble.select(problem.members, member), latents)
        return sampler.move(mean, std, latents, errors), errors[0]

    # All noise is drawn before the loop; rows that share an unmapped key share the array as well.
    member_key, noise_key = jax.random.split(key)
    draws = ensemble.draw(member_key, params, (iterations,))
    noise = jax.random.normal(noise_key, (iterations, sampler.samples - 1, *init_plan.shape))
    start = (init_plan, jnp.full_like(init_plan, sampler.init_std))
    (latent, _), loss = jax.lax.scan(step, start, (draws, noise))
    return make_output(problem, init_plan, latent, loss)
