"""The planner against closed forms, a float64 twin of equation 1, and finite differences."""

import doctest
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rgrl_jax.algos.rgrl.models.base import ModelSpec, make
from rgrl_jax.planning import (
    ModelOutput,
    PlanOutput,
    absolute_error,
    ensemble,
    gradient,
    mean_error,
    plan,
    plan_error,
    straight_through,
)

E, T, A, R, S = 3, 4, 2, 3, 2
KEY = jax.random.key(0)


def _identity(x: jax.Array) -> jax.Array:
    return x


def _linear(member: jax.Array, context: Any, actions: jax.Array) -> ModelOutput:
    """Reward = action . w, one entry; the state stays."""
    return ModelOutput((actions @ member)[:, None], jnp.zeros((len(actions), S)))


LOSSES = {
    "squared": (plan_error, lambda gap: gap[:, None] * 2),
    "mean": (mean_error, lambda gap: gap[:, None] * 2 / T),
    "absolute": (absolute_error, lambda gap: np.sign(gap)[:, None]),
    "own": (lambda predicted, desired: (predicted[-1] - desired).sum(), lambda gap: np.eye(T)[-1][:, None]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_one_step_on_a_linear_model(name: str) -> None:
    """The gradient of a . w - r* is w, times the derivative of the loss."""
    w = np.array([1.0, -2.0])
    start = np.random.default_rng(0).normal(size=(T, A))
    loss_fn, slope = LOSSES[name]
    out = plan(
        KEY, jnp.float32(w)[None], _linear, None, jnp.float32(start),
        iterations=1, optimizer=optax.sgd(0.1), desired_reward=0.5, loss_fn=loss_fn, squash=_identity,
    )  # fmt: skip
    np.testing.assert_allclose(out.plan, start - 0.1 * slope(start @ w - 0.5) * w, atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 7, 60])
def test_value_after_k_steps_on_a_quadratic(iterations: int) -> None:
    """The distance to the desired reward shrinks by 1 - 2 beta |w|^2 in each step, and the loss by its square."""
    w, beta, desired = np.array([0.6, -0.8]), 0.05, 0.7
    start = np.random.default_rng(1).normal(size=(T, A))
    out = _linear_plan(jnp.float32(w)[None], jnp.float32(start), beta, desired, iterations)
    shrink = 1 - 2 * beta * (w @ w)
    error = start @ w - desired
    np.testing.assert_allclose(out.predicted.reward[:, 0], desired + error * shrink**iterations, atol=1e-5)
    np.testing.assert_allclose(out.loss, [(error**2).sum() * shrink ** (2 * k) for k in range(iterations)], rtol=1e-4)
    moved = np.outer(error * (1 - shrink**iterations) / (w @ w), w)
    np.testing.assert_allclose(out.plan, start - moved, atol=1e-5)
    np.testing.assert_allclose(out.movement, np.abs(moved).max(), atol=1e-5)


@functools.partial(jax.jit, static_argnums=4)
def _linear_plan(params: jax.Array, start: jax.Array, beta: float, desired: float, iterations: int) -> PlanOutput:
    return plan(
        KEY, params, _linear, None, start,
        iterations=iterations, optimizer=optax.sgd(beta), desired_reward=desired, squash=_identity,
    )  # fmt: skip


class Weights(NamedTuple):
    """A small nonlinear model: s_t = s_{t-1} + V a_t, r_t = tanh(W s_t), so every action moves all later rewards."""

    inward: jax.Array  # [A, S]
    outward: jax.Array  # [S, R]


def _nonlinear(member: Weights, present: jax.Array, actions: jax.Array) -> ModelOutput:
    states = present + jnp.cumsum(actions @ member.inward, axis=0)
    return ModelOutput(jnp.tanh(states @ member.outward), states)


def _forward(member: Weights, present: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same step by step in float64."""
    state, states, rewards = present.astype(np.float64), [], []
    for action in actions:
        state = state + action @ np.asarray(member.inward, np.float64)
        states.append(state)
        rewards.append(np.tanh(state @ np.asarray(member.outward, np.float64)))
    return np.array(rewards), np.array(states)


def _error_and_gradient(
    member: Weights, present: np.ndarray, latent: np.ndarray, desired: np.ndarray | float, loss_fn: Callable
) -> tuple[float, np.ndarray]:
    """Error of squash(u) and its derivative by u, by the chain rule and backwards in time."""
    actions = np.tanh(latent)
    rewards, _ = _forward(member, present, actions)
    scale = {plan_error: 1 / R, mean_error: 1 / (R * T)}[loss_fn]
    gap = rewards - desired
    gradient, by_state = np.zeros_like(latent), np.zeros(S)
    for t in reversed(range(T)):
        by_state = by_state + np.asarray(member.outward, np.float64) @ (2 * scale * gap[t] * (1 - rewards[t] ** 2))
        gradient[t] = np.asarray(member.inward, np.float64) @ by_state * (1 - actions[t] ** 2)
    return scale * (gap**2).sum(), gradient


def _member(params: Weights, index: int) -> Weights:
    return Weights(*(np.asarray(x, np.float64)[index] for x in params))


def _descend(
    params: Weights,
    drawn: np.ndarray,
    present: np.ndarray,
    start: np.ndarray,
    beta: float,
    desired: np.ndarray | float,
    loss_fn: Callable = plan_error,
) -> tuple[np.ndarray, np.ndarray]:
    """Equation 1 in float64: the latent plan after the last step, and the loss before each."""
    latent, losses = start.astype(np.float64), []
    for index in drawn:
        own = desired[index] if np.ndim(desired) == 3 else desired
        error, slope = _error_and_gradient(_member(params, index), present, latent, own, loss_fn)
        losses.append(error)
        latent = latent - beta * slope
    return latent, np.array(losses)


@functools.cache
def _problem() -> tuple[Weights, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    params = Weights(rng.normal(size=(E, A, S)), rng.normal(size=(E, S, R)))
    return params, rng.normal(size=S), rng.normal(size=(T, A))


@functools.cache
def _planner(iterations: int, loss_fn: Callable = plan_error) -> Callable:
    """``(key, params, present, start, beta, desired) -> PlanOutput`` on the nonlinear model, compiled once."""

    def run(key: jax.Array, params: Weights, present: Any, start: Any, beta: Any, desired: Any) -> PlanOutput:
        return plan(
            key, params, _nonlinear, present, start,
            iterations=iterations, optimizer=optax.sgd(beta), desired_reward=desired, loss_fn=loss_fn,
        )  # fmt: skip

    return jax.jit(run)


@pytest.mark.parametrize("loss_fn", [plan_error, mean_error])
def test_equals_equation_1(loss_fn: Callable) -> None:
    """Twelve steps through the tanh with the members that the key draws."""
    params, present, start = _problem()
    iterations, beta, desired = 12, 0.4, 0.8
    drawn = np.asarray(ensemble.draw(KEY, params, (iterations,)))
    assert set(drawn) == {0, 1, 2}, "every member should play a part in this test"
    out = _planner(iterations, loss_fn)(KEY, params, present, start, beta, desired)
    latent, losses = _descend(params, drawn, present, start, beta, desired, loss_fn)
    assert np.abs(latent - start).max() > 0.1, "the plan should move in this test"
    np.testing.assert_allclose(out.plan, np.tanh(latent), atol=1e-5)
    np.testing.assert_allclose(out.loss, losses, atol=1e-5)


def test_diagnostics_are_what_they_are_said_to_be() -> None:
    """``predicted``, ``score`` and ``movement`` of the final plan, member by member in float64."""
    params, present, start = _problem()
    out = _planner(12)(KEY, params, present, start, 0.4, 0.8)
    actions = np.asarray(out.plan, np.float64)
    rewards, states = zip(*(_forward(_member(params, i), present, actions) for i in range(E)), strict=True)
    np.testing.assert_allclose(out.predicted.reward, np.mean(rewards, axis=0), atol=1e-5)
    np.testing.assert_allclose(out.predicted.state, np.mean(states, axis=0), atol=1e-5)
    np.testing.assert_allclose(out.score, [((r - 0.8) ** 2).mean(axis=1).sum() for r in rewards], atol=1e-5)
    np.testing.assert_allclose(out.movement, np.abs(actions - np.tanh(start)).max(), atol=1e-6)


@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_shapes(iterations: int) -> None:
    """As the docstring of `PlanOutput` has them, in float32."""
    out = _planner(iterations)(KEY, *_problem(), 0.1, 1.0)
    assert out.plan.shape == (T, A)
    assert out.loss.shape == (iterations,)
    assert (out.predicted.reward.shape, out.predicted.state.shape) == ((T, R), (T, S))
    assert (out.score.shape, out.movement.shape) == ((E,), ())
    assert {x.dtype for x in jax.tree.leaves(out)} == {jnp.dtype(jnp.float32)}


def test_no_iterations_leave_the_plan() -> None:
    """K = 0 squashes the start and moves nothing."""
    params, present, start = _problem()
    out = _planner(0)(KEY, params, present, start, 0.1, 1.0)
    np.testing.assert_allclose(out.plan, np.tanh(start), atol=1e-6)
    assert float(out.movement) == 0


def test_the_plan_stays_in_range() -> None:
    """However large the step, tanh keeps every action in -1..1."""
    out = _planner(12)(KEY, *_problem(), 1e3, 1.0)
    assert np.abs(out.plan).max() <= 1
    assert np.all(np.isfinite(out.plan))


def test_rows_share_the_draws_of_an_unmapped_key() -> None:
    """``vmap`` over presents and starts is a Python loop with one and the same key."""
    params, _, _ = _problem()
    rng = np.random.default_rng(3)
    presents, starts = rng.normal(size=(5, S)), rng.normal(size=(5, T, A))
    planner = _planner(6)
    rows = jax.vmap(planner, in_axes=(None, None, 0, 0, None, None))(KEY, params, presents, starts, 0.4, 0.8)
    for i in range(5):
        alone = planner(KEY, params, presents[i], starts[i], 0.4, 0.8)
        jax.tree.map(lambda row, x, i=i: np.testing.assert_allclose(row[i], x, rtol=1e-5, atol=1e-6), rows, alone)


def test_rows_draw_for_themselves_with_mapped_keys() -> None:
    """With a key per row each row draws members of its own, as a loop over the keys does."""
    params, present, start = _problem()
    keys = jax.random.split(KEY, 4)
    planner = _planner(6)
    rows = jax.vmap(planner, in_axes=(0, None, None, None, None, None))(keys, params, present, start, 0.4, 0.8)
    alone = [planner(key, params, present, start, 0.4, 0.8).plan for key in keys]
    np.testing.assert_allclose(rows.plan, alone, rtol=1e-5, atol=1e-6)
    assert len(np.unique(np.asarray(rows.plan)[:, 0, 0])) > 1


def test_desired_reward_broadcasts() -> None:
    """A number per step and entry, a row of entries, or either per member mean what broadcasting says."""
    params, present, start = _problem()
    row = np.array([0.9, -0.2, 0.4])
    drawn = np.asarray(ensemble.draw(KEY, params, (6,)))
    each = np.linspace(0.5, 1.0, E)[:, None, None]
    for desired in (row, np.broadcast_to(row, (T, R)), each, np.broadcast_to(each, (E, T, R))):
        twin, losses = _descend(params, drawn, present, start, 0.4, desired)
        out = _planner(6)(KEY, params, present, start, 0.4, desired)
        np.testing.assert_allclose(out.plan, np.tanh(twin), atol=1e-5)
        np.testing.assert_allclose(out.loss, losses, atol=1e-5)
        own = np.broadcast_to(desired, (E, T, R))
        scores = [_error_and_gradient(_member(params, i), present, twin, own[i], plan_error)[0] for i in range(E)]
        np.testing.assert_allclose(out.score, scores, atol=1e-5)


def test_plan_error_reductions() -> None:
    """The sum over steps of the mean over entries, or the mean over both; of squares or of magnitudes."""
    predicted = np.random.default_rng(4).normal(size=(T, R))
    squares = (predicted - 0.3) ** 2
    assert float(plan_error(predicted, 0.3)) == pytest.approx(squares.sum() / R, rel=1e-5)
    assert float(mean_error(predicted, 0.3)) == pytest.approx(squares.sum() / (R * T), rel=1e-5)
    assert float(absolute_error(predicted, 0.3)) == pytest.approx(np.sqrt(squares).sum() / R, rel=1e-5)
    assert float(plan_error(predicted, predicted)) == 0


def test_any_pytree_can_be_the_ensemble() -> None:
    """Per-member context, a memory for instance, may travel with the weights."""
    params = {"w": jnp.array([[1.0, 0.0], [0.0, 1.0]]), "memory": jnp.array([0.5, -0.5])}

    def apply(member: Any, context: Any, actions: jax.Array) -> ModelOutput:
        return ModelOutput((actions @ member["w"] + member["memory"] + context["bias"])[:, None], actions)

    out = plan(
        KEY, params, apply, {"bias": jnp.float32(0.25)}, jnp.zeros((T, A)),
        iterations=0, optimizer=optax.sgd(0.1), desired_reward=0.0, squash=_identity,
    )  # fmt: skip
    np.testing.assert_allclose(out.score, [T * 0.75**2, T * 0.25**2], rtol=1e-6)


def test_x64_equals_equation_1_to_the_last_digits() -> None:
    """With 64-bit floats switched on everything is computed in float64, and agrees with NumPy to 1e-12."""
    params, present, start = _problem()
    with jax.enable_x64(True):
        key = jax.random.key(0)
        wide = Weights(*(jnp.asarray(x, jnp.float64) for x in params))
        out = _planner.__wrapped__(12)(key, wide, jnp.asarray(present), jnp.asarray(start), 0.4, 0.8)
        assert {x.dtype for x in jax.tree.leaves(out)} == {jnp.dtype(jnp.float64)}
        drawn = np.asarray(ensemble.draw(key, wide, (12,)))
        out = jax.tree.map(np.asarray, out)
    latent, losses = _descend(params, drawn, present, start, 0.4, 0.8)
    np.testing.assert_allclose(out.plan, np.tanh(latent), rtol=0, atol=1e-12)
    np.testing.assert_allclose(out.loss, losses, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("squash_outputs", "residual"), [(True, False), (False, True)])
def test_gradient_through_the_gru_equals_finite_differences(squash_outputs: bool, residual: bool) -> None:
    """A step of size 1 is the gradient; compared with central differences of the score, in float64."""
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        spec = ModelSpec(S, A, R, width=4, layers=2, residual=residual, squash_outputs=squash_outputs)
        model: Any = make("gru", spec)
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        member = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.6, x.shape)), shapes)
        params = jax.tree.map(lambda x: x[None], (member, jnp.asarray(rng.normal(size=(2, 4)))))
        start, present = rng.normal(size=(T, A)), jnp.asarray(rng.normal(size=S))

        @functools.partial(jax.jit, static_argnums=1)
        def run(latent: jax.Array, iterations: int) -> PlanOutput:
            return plan(
                jax.random.key(0), params, lambda m, s, a: model.apply(m[0], m[1], s, a), present, latent,
                iterations=iterations, optimizer=optax.sgd(1.0), squash=jnp.tanh,
            )  # fmt: skip

        step = start - np.arctanh(np.asarray(run(jnp.asarray(start), 1).plan))
        differences = np.zeros_like(start)
        for place in np.ndindex(T, A):
            nudge = np.zeros_like(start)
            nudge[place] = 1e-5
            up, down = (float(run(jnp.asarray(start + sign * nudge), 0).score[0]) for sign in (1, -1))
            differences[place] = (up - down) / 2e-5
    assert np.abs(differences).min() > 1e-4
    np.testing.assert_allclose(step, differences, rtol=1e-6, atol=1e-8)


def test_finished_plan_is_scored_as_it_will_be_executed() -> None:
    """Rewards and scores are those of the nearest choices; the plan itself and the way to it are as without."""
    params = jnp.float32([[1.0, -2.0], [0.5, 1.0]])
    start = jnp.float32(np.random.default_rng(3).normal(size=(T, A)))

    def plan_for(execute: Callable[[jax.Array], jax.Array] | None) -> PlanOutput:
        optimizer = optax.sgd(0.1)
        return plan(KEY, params, _linear, None, start, iterations=3, optimizer=optimizer, execute=execute)

    relaxed, hard = plan_for(None), plan_for(straight_through)
    np.testing.assert_array_equal(hard.plan, relaxed.plan)
    np.testing.assert_array_equal(hard.loss, relaxed.loss)
    choices = np.where(np.asarray(relaxed.plan) == np.asarray(relaxed.plan).max(axis=1, keepdims=True), 1.0, -1.0)
    rewards = choices @ np.asarray(params).T  # [T, E]
    np.testing.assert_allclose(hard.predicted.reward[:, 0], rewards.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(hard.score, ((rewards - 1.0) ** 2).sum(axis=0), rtol=1e-6)
    assert not np.allclose(hard.score, relaxed.score)


def _flat(member: jax.Array, context: Any, actions: jax.Array) -> ModelOutput:
    return ModelOutput(actions @ member, None)  # no axis of entries


WRONG = {
    "a batch of plans": ({"init_plan": jnp.zeros((5, T, A))}, "init_plan must be"),
    "one action": ({"init_plan": jnp.zeros(A)}, "init_plan must be"),
    "members that differ": ({"params": {"w": jnp.zeros((2, A)), "b": jnp.zeros((3, A))}}, "same member axis"),
    "desired rewards of other members": ({"desired_reward": jnp.zeros((3, T, 1))}, "same member axis"),
    "rewards without entries": ({"apply": _flat}, "must predict rewards"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_are_refused(name: str) -> None:
    """In one clear error, as the function is traced, also where nothing is descended."""
    changes, words = WRONG[name]
    given = {"params": jnp.zeros((2, A)), "apply": _linear, "context": None, "init_plan": jnp.zeros((T, A))}
    for iterations in (0, 1):
        with pytest.raises(AssertionError, match=words):
            jax.eval_shape(
                functools.partial(plan, KEY, iterations=iterations, optimizer=optax.sgd(0.1), **(given | changes))
            )


def test_a_plan_shows_itself() -> None:
    """Shapes and means, batched too; of what is only a shape no numbers."""
    params, present, start = _problem()
    planner = functools.partial(_planner(3), KEY, params, present, beta=0.4, desired=0.8)
    out = planner(start)
    assert f"PlanOutput(plan float32[{T},{A}] of" in repr(out) and "iterations 3" in repr(out)
    assert f"error {float(out.loss[0]):.4g} to {float(out.score.mean()):.4g}" in repr(out)
    assert "<table>" in out._repr_html_()
    rows = jax.vmap(planner)(np.stack([start, start]))
    assert f"error {float(out.loss[0]):.4g} to" in repr(rows)
    assert f"plan float32[{T},{A}]," in repr(jax.eval_shape(planner, start))


def test_examples_run() -> None:
    """Those of the docstrings."""
    assert doctest.testmod(gradient) == doctest.TestResults(0, 4)
