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


class Sampler(NamedTuple):
    """A law of search for `sample_plan`, as made by `shooting`, `cem` and `mppi`.

    Attributes:
      move: ``(mean, std, latents [P, T, A], errors [P]) -> (mean, std)`` after a round of draws, both ``[T, A]``.
      samples: plans per round ``P``, the present mean one of them.
      init_std: standard deviation of the first draws, before the squash.
    """

    move: Callable[[Array, Array, Array, Array], tuple[Array, Array]]
    samples: int
    init_std: Scalar = 1.0


def shooting(samples: int, init_std: Scalar = 1.0) -> Sampler:
    """Makes random shooting, which keeps the best plan so far; ``samples`` >= 1."""
    return Sampler(lambda _, std, latents, errors: (latents[errors.argmin()], std), samples, init_std)


def cem(samples: int, num_elites: int | None = None, init_std: Scalar = 1.0) -> Sampler:
    """Makes the cross-entropy method: mean and standard deviation of the best plans (Rubinstein 1999).

    The best are ``num_elites`` of the ``samples``; with None a fifth, at least one.

    Raises:
      ValueError: there are not so many samples.
    """
    elites = max(samples // 5, 1) if num_elites is None else num_elites
    if not 1 <= elites <= samples:
        raise ValueError(f"num_elites = {elites} must be between 1 and samples = {samples}")

    def move(_: Array, __: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
        best = latents[jax.lax.top_k(-errors, elites)[1]]
        return best.mean(axis=0), best.std(axis=0)

    return Sampler(move, samples, init_std)


def mppi(samples: int, temperature: Scalar, init_std: Scalar = 1.0) -> Sampler:
    """Makes model predictive path integral control: a mean weighted by ``softmax(-error / temperature)``.

    The standard deviation stays (Williams et al. 2017).
    """

    def move(_: Array, std: Array, latents: Array, errors: Array) -> tuple[Array, Array]:
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
    """Draws plans, scores them and moves their mean, ``K`` times; the result is the last mean.

    Other arguments are those of `rgrl_jax.plan`; ``execute`` scores the last mean alone.

    Args:
      key: decides the members and the plans drawn; shared by the rows of a batch if it is not mapped.
      apply: need not be differentiable.
      init_plan: the first mean, ``[T, A]`` before the squash.
      sampler: as made by `shooting`, `cem` or `mppi`.
      iterations: rounds of draws ``K``, of ``samples`` model rollouts forward each, where gradient planning takes one
        forward and backward.
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
    std = jnp.full_like(init_plan, sampler.init_std)
    (latent, _), loss = jax.lax.scan(step, (init_plan, std), (draws, noise))
    return make_output(problem, init_plan, latent, loss)
