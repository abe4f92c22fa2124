"""Planning by gradient descent on the actions (equation 1 of the paper, lines 8-13 of Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from rgrl_jax.planning import ensemble
from rgrl_jax.planning.descent import descend
from rgrl_jax.planning.outputs import ModelOutput, PlanOutput
from rgrl_jax.types import Array, Key, PyTree, Scalar

PlanModel = Callable[[PyTree, Any, Array], ModelOutput]
"""``apply(member, context, actions [T, A]) -> ModelOutput``, differentiable in the actions."""

PlanLoss = Callable[[Array, Array], Array]
"""``loss_fn(predicted [T, R], desired) -> scalar``, with ``desired`` broadcastable to ``[T, R]``."""


def plan_error(
    predicted: Array,
    desired: Array,
    distance: Callable[[Array], Array] = jnp.square,
    reduce: Callable[[Array], Array] = jnp.sum,
) -> Array:
    """Returns the distance of rewards predicted ``[T, R]`` from those desired, r*, broadcastable to ``[T, R]``.

    Args:
      distance: elementwise: squared as in the paper, which shuns bad steps more than it seeks good ones; or absolute,
        by which below r* the best plan is the one with the greatest sum of rewards.
      reduce: sums the errors of the steps ``[T]``, so that the pull of a step on its own action does not shrink with
        the horizon; or takes their mean, as in the reference, where a plan then hardly moves.
    """
    return reduce(distance(predicted - desired).mean(axis=-1))


absolute_error: PlanLoss = partial(plan_error, distance=jnp.abs)
"""`plan_error` by the absolute distance."""

mean_error: PlanLoss = partial(plan_error, reduce=jnp.mean)
"""`plan_error` averaged over the steps, as in the reference."""


class PlanProblem(NamedTuple):
    """Arguments of a planner, see `plan`; ``members`` are weights and desired rewards, leaves ``[E, ...]``."""

    members: tuple[PyTree, Array]
    apply: PlanModel
    context: Any
    loss_fn: PlanLoss
    squash: Callable[[Array], Array]
    execute: Callable[[Array], Array]

    def error(self, member: tuple[PyTree, Array], latent: Array) -> Array:
        """Returns one member's error of a plan before the squash ``[T, A]``, a scalar."""
        params, desired = member
        predicted = self.apply(params, self.context, self.squash(latent)).reward
        chex.assert_shape(predicted, (len(latent), None), custom_message="apply must predict rewards [T, R]")
        return self.loss_fn(predicted, desired)


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
    loss_fn: PlanLoss = plan_error,
    squash: Callable[[Array], Array] = jnp.tanh,
    execute: Callable[[Array], Array] | None = None,
) -> PlanOutput:
    """Deduces a plan: descends the error of predicted rewards on the action inputs.

    With ``u`` the plan before the squash and ``W_i`` a member drawn anew each iteration,
    ``u <- u - beta * d/du  E(f_r(W_i, s, squash(u)), r*)``  (equation 1).

    Unbatched; ``vmap`` it. Map ``context`` and ``init_plan``, but not the key, to share the draws among the rows of a
    batch, which keeps every product ``(rows, d) @ (d, n)``; map the key too for independent draws (slower).

    >>> def apply(member, position, actions):  # the reward of a step is how near it ends to 1
    ...     return ModelOutput(1.0 - jnp.abs(1.0 - position - member * jnp.cumsum(actions, axis=0)), None)
    >>> settings = {"iterations": 300, "optimizer": optax.adam(0.05)}
    >>> out = plan(jax.random.key(0), jnp.array([0.5, 0.52]), apply, 0.0, jnp.zeros((3, 1)), **settings)
    >>> print(out.plan.shape, out.loss.shape, bool(out.score.mean() < out.loss[0] / 4))
    (3, 1) (300,) True

    Args:
      key: decides the members drawn, and nothing else; consumed.
      params: stacked members, leaves ``[E, ...]``; may hold per-member context such as a memory.
      apply: ``apply(member, context, actions [T, A]) -> ModelOutput``.
      context: for instance the present state ``[S]``.
      init_plan: where ``u`` starts, ``[T, A]``.
      iterations: ``K`` >= 0.
      optimizer: makes steps of gradients, for instance ``optax.sgd(beta)``.
      desired_reward: r*, in encoded units, broadcastable to ``[T, R]``; or ``[E, T, R]``, each member its own.
      loss_fn: ``(predicted [T, R], desired) -> scalar``, for instance `plan_error` or `absolute_error`.
      squash: turns ``u`` into actions in -1..1.
      execute: turns ``u`` into the actions by which the finished plan is scored; None for those of ``squash``.
        Discrete actions that are between two choices may promise what neither keeps.

    Returns:
      A `PlanOutput`; under ``jit`` diagnostics that nobody reads are not computed.

    Raises:
      AssertionError: an array has another shape than said here.
    """
    problem = make_problem(params, apply, context, init_plan, desired_reward, loss_fn, squash, execute)
    latent, loss = descend(key, problem.members, problem.error, init_plan, iterations=iterations, optimizer=optimizer)
    return make_output(problem, init_plan, latent, loss)


def make_problem(
    params: PyTree,
    apply: PlanModel,
    context: Any,
    init_plan: Array,
    desired_reward: Scalar,
    loss_fn: PlanLoss,
    squash: Callable[[Array], Array],
    execute: Callable[[Array], Array] | None,
) -> PlanProblem:
    """Makes a `PlanProblem` of the arguments that all planners share, see `plan`; checks their shapes."""
    chex.assert_rank(init_plan, 2, custom_message="init_plan must be [T, A]; map over more axes by vmap")
    desired = jnp.asarray(desired_reward)
    if desired.ndim < 3:
        desired = jnp.broadcast_to(desired, (ensemble.size(params), *desired.shape))
    members = params, desired
    ensemble.size(members)  # refuses leaves that differ in their member axis
    return PlanProblem(members, apply, context, loss_fn, squash, execute or squash)


def make_output(problem: PlanProblem, start: Array, latent: Array, loss: Array) -> PlanOutput:
    """Scores a plan that went from ``start`` to ``latent``, both ``[T, A]``, with errors ``loss [K]`` on the way."""
    params, desired = problem.members
    actions = problem.squash(latent)
    outputs = jax.vmap(problem.apply, in_axes=(0, None, None))(params, problem.context, problem.execute(latent))
    return PlanOutput(
        plan=actions,
        latent=latent,
        loss=loss,
        predicted=jax.tree.map(lambda x: x.mean(axis=0), outputs),
        score=jax.vmap(problem.loss_fn)(outputs.reward, desired),
        disagreement=outputs.reward.std(axis=0).mean(),
        saturation=(jnp.abs(actions) > 0.95).astype(actions.dtype).mean(),
        movement=jnp.abs(actions - problem.squash(start)).max(),
    )
