"""`deduce` on functions whose answers are known, and the loop that it shares with `plan`."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rgrl_jax import planning
from rgrl_jax.planning import ModelOutput, descent, ensemble

E, N, K = 3, 4, 12
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(E, N)).astype(np.float32)
START = RNG.uniform(-0.5, 0.5, N).astype(np.float32)


def linear(w, x):
    """One answer, linear in x."""
    return w @ x


def deduce(key=0, **options):
    """Twelve steps on the linear ensemble."""
    settings = dict(iterations=K, optimizer=optax.sgd(0.05)) | options
    run = jax.jit(lambda k, w, x: planning.deduce(k, w, linear, 1.0, x, **settings))
    return run(jax.random.key(key), WEIGHTS, START)


@pytest.mark.parametrize("free", [True, np.array([True, False, True, False])])
def test_equals_a_plain_loop(free):
    """Input, errors and scores against NumPy in float64, with the same members drawn; fixed entries stay."""
    out = deduce(free=free, squash=jnp.tanh)
    drawn = np.asarray(ensemble.draw(jax.random.key(0), WEIGHTS, (K,)))
    w, u, losses = WEIGHTS.astype(np.float64), START.astype(np.float64), []

    def fill(u):
        return np.where(free, np.tanh(u), START)

    for k in range(K):
        own = w[drawn[k]]
        residual = own @ fill(u) - 1.0
        losses.append(residual**2)
        u = u - 0.05 * 2 * residual * own * np.where(free, 1 - np.tanh(u) ** 2, 0.0)
    np.testing.assert_allclose(out.input, fill(u), atol=1e-5)
    np.testing.assert_allclose(out.loss, losses, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out.score, (w @ fill(u) - 1.0) ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out.predicted, (w @ fill(u)).mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out.movement, np.abs(fill(u) - fill(START)).max(), rtol=1e-4)
    if free is not True:
        np.testing.assert_array_equal(np.asarray(out.input)[[1, 3]], START[[1, 3]])


def test_finds_what_all_members_agree_on():
    """Three equations in four unknowns: after enough steps every member answers the target."""
    out = deduce(iterations=3000, optimizer=optax.sgd(0.2))
    np.testing.assert_allclose(WEIGHTS @ np.asarray(out.input), np.ones(E), atol=1e-3)


def test_a_plan_is_a_deduction():
    """`plan` on a model of one reward gives what `deduce` gives on that model."""
    actions = START.reshape(1, N)
    settings = dict(iterations=K, optimizer=optax.adam(0.1), squash=jnp.tanh)

    def reward(w, x):
        return (w @ x.reshape(-1))[None, None]

    key = jax.random.key(3)
    one = planning.deduce(key, WEIGHTS, reward, 1.0, actions, **settings)
    other = planning.plan(key, WEIGHTS, lambda w, c, a: ModelOutput(reward(w, a), None), None, actions, **settings)
    np.testing.assert_allclose(one.input, other.plan, atol=1e-6)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-5)


def test_any_shape_and_own_errors():
    """Inputs of any shape, targets and errors of the user's; nothing moves in no iterations."""
    params = jnp.arange(1.0, 3.0)
    out = planning.deduce(
        jax.random.key(0),
        params,
        lambda p, x: {"sum": p * x.sum()}["sum"],
        {"sum": 6.0},
        jnp.zeros((2, 3, 1)),
        iterations=0,
        optimizer=optax.sgd(0.1),
        loss_fn=lambda y, target: jnp.abs(y - target["sum"]),
    )
    assert out.input.shape == (2, 3, 1) and out.loss.shape == (0,) and float(out.movement) == 0.0
    np.testing.assert_array_equal(out.score, [6.0, 6.0])


@pytest.mark.parametrize(
    "changes", [{"free": np.ones((2, 1), bool)}, {"free": np.ones(3, bool)}, {"squash": lambda x: x[:2]}]
)
def test_wrong_shapes_are_refused(changes):
    """Whatever would fill the start in another shape, before anything compiles."""
    with pytest.raises((AssertionError, ValueError), match="free and squash|ncompatible shapes"):
        jax.eval_shape(lambda: deduce(**changes))


def test_members_of_different_ensembles_are_refused():
    with pytest.raises(AssertionError, match="the same member axis"):
        planning.deduce(
            jax.random.key(0), (WEIGHTS, WEIGHTS[:2]), lambda w, x: w[0] @ x, 1.0, START,
            iterations=1, optimizer=optax.sgd(0.1),
        )  # fmt: skip


def test_the_optimizer_sees_the_input():
    """Decay of weights pulls the input to 0, by as much as it says."""
    moved, _ = descent.descend(
        jax.random.key(0), WEIGHTS, lambda w, x: 0.0 * x.sum(), START,
        iterations=1, optimizer=optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1)),
    )  # fmt: skip
    np.testing.assert_allclose(moved, 0.95 * START, rtol=1e-6)


def test_examples_run():
    """Those of the docstrings."""
    assert doctest.testmod(descent) == doctest.TestResults(0, 3)
