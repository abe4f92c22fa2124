"""`deduce` on functions whose answers are known, and the levers of the loop it shares with `plan`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rgrl_jax as rgrl
from rgrl_jax import encoding, ensemble
from rgrl_jax.planning import start
from rgrl_jax.planning.descent import descend
from rgrl_jax.types import ModelOutput

E, N, K = 3, 4, 12
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(E, N)).astype(np.float32)
START = RNG.uniform(-0.5, 0.5, N).astype(np.float32)


def linear(w, x):
    """One answer, linear in x."""
    return w @ x


def deduce(members="sample", key=0, **options):
    """Twelve steps on the linear ensemble."""
    settings = dict(iterations=K, optimizer=optax.sgd(0.05), members=members) | options
    run = jax.jit(lambda k, w, x: rgrl.deduce(k, w, linear, 1.0, x, **settings))
    return run(jax.random.key(key), WEIGHTS, START)


@pytest.mark.parametrize("members", ["sample", "mean"])
@pytest.mark.parametrize("free", [True, np.array([True, False, True, False])])
def test_equals_a_plain_loop(members, free):
    """Input, errors and scores against NumPy in float64, with the same members drawn; fixed entries stay."""
    out = deduce(members, free=free, squash=jnp.tanh)
    drawn = np.asarray(ensemble.draw(jax.random.key(0), WEIGHTS, (K,)))
    w, u, losses = WEIGHTS.astype(np.float64), START.astype(np.float64), []

    def fill(u):
        return np.where(free, np.tanh(u), START)

    for k in range(K):
        rows = w if members == "mean" else w[drawn[k]][None]
        residual = rows @ fill(u) - 1.0
        losses.append((residual**2).mean())
        gradient = (2 * residual[:, None] * rows).mean(0) * np.where(free, 1 - np.tanh(u) ** 2, 0.0)
        u = u - 0.05 * gradient
    np.testing.assert_allclose(out.x, fill(u), atol=1e-5)
    np.testing.assert_allclose(out.loss, losses, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out.score, (w @ fill(u) - 1.0) ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out.predicted, (w @ fill(u)).mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out.movement, np.abs(fill(u) - fill(START)).max(), rtol=1e-4)
    if free is not True:
        np.testing.assert_array_equal(np.asarray(out.x)[[1, 3]], START[[1, 3]])


def test_finds_what_all_members_agree_on():
    """Three equations in four unknowns: after enough steps every member answers the target."""
    out = deduce(iterations=3000, optimizer=optax.sgd(0.2))
    np.testing.assert_allclose(WEIGHTS @ np.asarray(out.x), np.ones(E), atol=1e-3)


def test_a_plan_is_a_deduction():
    """`plan` on a model of one reward gives what `deduce` gives on that model."""
    actions = START.reshape(2, 2)
    settings = dict(iterations=K, optimizer=optax.adam(0.1), squash=jnp.tanh)

    def reward(w, x):
        return (w @ x.reshape(-1))[None, None]

    key = jax.random.key(3)
    one = rgrl.deduce(key, WEIGHTS, reward, 1.0, actions, **settings)
    other = rgrl.plan(key, WEIGHTS, lambda w, c, a: ModelOutput(reward(w, a), None), None, actions, **settings)
    np.testing.assert_allclose(one.x, other.plan, atol=1e-6)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-5)


def test_any_shape_and_own_errors():
    """Inputs of any shape, targets and errors of the user's; nothing moves in no iterations."""
    params = jnp.arange(1.0, 3.0)
    out = rgrl.deduce(
        jax.random.key(0),
        params,
        lambda p, x: {"sum": p * x.sum()}["sum"],
        {"sum": 6.0},
        jnp.zeros((2, 3, 1)),
        iterations=0,
        optimizer=optax.sgd(0.1),
        error=lambda y, target: jnp.abs(y - target["sum"]),
    )
    assert out.x.shape == (2, 3, 1) and out.loss.shape == (0,) and float(out.movement) == 0.0
    np.testing.assert_array_equal(out.score, [6.0, 6.0])


def bumpy(member, x):
    """An error with many valleys."""
    return (jnp.square(x) + member * jnp.sin(9.0 * x)).sum()


def test_accepting_only_better_steps_never_climbs():
    """With one member the errors fall or stay, however wild the steps; accepted always, they do not."""
    params, at = jnp.ones(1), jnp.asarray([1.3, -0.8])
    run = {
        accept: descend(jax.random.key(0), params, bumpy, at, iterations=40, optimizer=optax.sgd(0.3), accept=accept)
        for accept in ("always", "better")
    }
    assert np.all(np.diff(run["better"][1]) <= 0)
    assert np.any(np.diff(run["always"][1]) > 0)
    assert float(bumpy(1.0, run["better"][0])) <= float(run["better"][1][-1])


def test_normalized_steps_are_as_long_as_asked():
    """The length of every step is beta, on steep and on flat ground alike."""
    for height in (1e3, 1e-4):
        moved, _ = descend(
            jax.random.key(0),
            jnp.full(1, height),
            lambda h, x: h * jnp.square(x - 10.0).sum(),
            jnp.zeros(5),
            iterations=1,
            optimizer=rgrl.make_plan_optimizer("normalized", 0.25),
        )
        np.testing.assert_allclose(np.linalg.norm(moved), 0.25, rtol=1e-4)


@pytest.mark.parametrize("weight", [0.7, -0.4])
def test_disagreement_is_part_of_the_error(weight):
    """The step follows the gradient of mean plus weighted deviation, by finite differences in float64."""
    moved, loss = descend(
        jax.random.key(0),
        WEIGHTS,
        lambda w, x: jnp.square(w @ x - 1.0),
        START,
        iterations=1,
        optimizer=optax.sgd(1.0),
        members="mean",
        disagreement=weight,
    )

    def objective(x):
        errors = (WEIGHTS.astype(np.float64) @ x - 1.0) ** 2
        return errors.mean() + weight * errors.std()

    nudges = 1e-6 * np.eye(N)
    gradient = [(objective(START + n) - objective(START - n)) / 2e-6 for n in nudges]
    np.testing.assert_allclose(loss[0], objective(START.astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(START - np.asarray(moved), gradient, rtol=1e-3, atol=1e-4)


def test_disagreement_of_equal_members_is_harmless():
    """Where all members agree the deviation has no slope, and nothing becomes NaN."""
    moved, _ = descend(
        jax.random.key(0),
        jnp.ones((3, 2)),
        lambda w, x: jnp.square(w @ x - 1.0),
        jnp.zeros(2),
        iterations=20,
        optimizer=optax.sgd(0.1),
        members="mean",
        disagreement=1.0,
    )
    np.testing.assert_allclose(moved.sum(), 1.0, atol=1e-2)


def test_members_may_want_different_rewards():
    """With a leading axis each member has its own, in the errors and in the scores."""
    wishes, at = np.array([0.5, 1.0, -0.2], np.float32), jnp.zeros((1, 1))

    def apply(w, context, actions):
        return ModelOutput(w * actions, None)

    for planner in (
        lambda **kw: rgrl.plan(jax.random.key(1), jnp.ones(3), apply, None, at, optimizer=optax.sgd(0.1), **kw),
        lambda **kw: rgrl.sample_plan(
            jax.random.key(1), jnp.ones(3), apply, None, at, move=rgrl.make_cem(8), samples=128, **kw
        ),
    ):
        out = planner(iterations=60, desired_reward=wishes[:, None, None], members="mean", squash=lambda x: x)
        np.testing.assert_allclose(out.plan, wishes.mean(), atol=0.02)
        np.testing.assert_allclose(out.score, (np.asarray(out.plan)[0, 0] - wishes) ** 2, atol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "straight_through"])
def test_relaxations(name):
    """Values by NumPy; the slope of the straight-through action is that of the softmax."""
    latent = RNG.normal(size=(3, 4)).astype(np.float32)
    shares = np.exp(latent) / np.exp(latent).sum(-1, keepdims=True)
    expected = 2 * shares - 1 if name == "softmax" else np.where(np.eye(4)[latent.argmax(-1)], 1.0, -1.0)
    np.testing.assert_allclose(encoding.SQUASHES[name](latent), expected, atol=1e-6)
    slope = jax.vjp(encoding.SQUASHES[name], latent)[1](np.ones((3, 4), np.float32) * np.arange(4))[0]
    soft = jax.vjp(encoding.SQUASHES["softmax"], latent)[1](np.ones((3, 4), np.float32) * np.arange(4))[0]
    np.testing.assert_allclose(slope, soft, atol=1e-6)
    assert np.abs(soft).max() > 0.1


@pytest.mark.parametrize("horizon", [7, 8])
@pytest.mark.parametrize("color", ["pink", "red"])
def test_colored_noise(color, horizon):
    """By NumPy's transform; the variance over time and draws stays, neighbours go together."""
    white = RNG.normal(size=(4000, horizon, 2)).astype(np.float32)
    colored = np.asarray(start.color_noise(jnp.asarray(white), start.COLORS[color]))
    frequency = np.maximum(np.fft.rfftfreq(horizon), 1 / horizon)
    twin = np.fft.irfft(
        np.fft.rfft(white.astype(np.float64), axis=1) * frequency[:, None] ** (-start.COLORS[color] / 2), horizon, 1
    )
    np.testing.assert_allclose(colored, twin * np.median(colored / twin), atol=1e-4)
    np.testing.assert_allclose(colored.var(), 1.0, rtol=0.05)
    assert np.corrcoef(colored[:, 0, 0], colored[:, 1, 0])[0, 1] > 0.15


def test_laws_and_repeats_of_start_noise():
    """Uniform fills -1..1, normal has deviation 1, and draws that are summed add their variances."""
    key, shape = jax.random.key(0), (20_000, 2, 1)
    uniform = np.asarray(start.start_noise(key, shape))
    assert np.abs(uniform).max() <= 1 and np.abs(uniform).max() > 0.99
    np.testing.assert_allclose(uniform.var(), 1 / 3, rtol=0.05)
    np.testing.assert_allclose(np.asarray(start.start_noise(key, shape, law="normal")).std(), 1.0, rtol=0.05)
    np.testing.assert_allclose(np.asarray(start.start_noise(key, shape, repeats=3)).var(), 1.0, rtol=0.05)
