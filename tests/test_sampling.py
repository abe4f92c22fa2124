"""The planners without gradients, against plain loops and a model whose best plan is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rgrl_jax as rgrl
from rgrl_jax import ensemble
from rgrl_jax.types import ModelOutput

T, A, P, K = 3, 2, 16, 6
TARGET = np.array([[0.3, -0.6], [0.0, 0.8], [-0.4, 0.1]], np.float32)


def apply(member, context, actions):
    """Reward 1 minus the distance to the member's favourite plan, a step by step sum of squares."""
    return ModelOutput(1.0 - jnp.square(actions - member - context).sum(-1, keepdims=True), None)


PARAMS = TARGET + np.array([0.02, -0.02], np.float32)[:, None, None]
MOVES = {"shooting": rgrl.shooting, "cem": rgrl.make_cem(4), "mppi": rgrl.make_mppi(0.05)}


def search(name, key, samples=P, iterations=K, **options):
    settings = dict(move=MOVES[name], iterations=iterations, samples=samples, spread=0.7) | options
    run = jax.jit(lambda k, u: rgrl.sample_plan(k, PARAMS, apply, jnp.float32(0.0), u, **settings))
    return run(key, jnp.zeros((T, A)))


def twin(name, key, members):
    """The same search with loops in NumPy, given the same draws."""
    member_key, noise_key = jax.random.split(key)
    draws = np.asarray(ensemble.draw(member_key, PARAMS, (K,)))
    noise = np.asarray(jax.random.normal(noise_key, (K, P - 1, T, A)), np.float64)
    mean, spread, losses = np.zeros((T, A)), np.full((T, A), 0.7), []
    for k in range(K):
        plans = [mean] + [mean + spread * n for n in noise[k]]
        judges = PARAMS if members == "mean" else PARAMS[draws[k]][None]
        errors = []
        for latent in plans:
            total = 0.0
            for judge in judges:
                for t in range(T):
                    reward = 1.0 - np.square(np.tanh(latent[t]) - judge[t]).sum()
                    total += (reward - 1.0) ** 2 / len(judges)
            errors.append(total)
        losses.append(errors[0])
        order = np.argsort(errors)
        if name == "shooting":
            mean = plans[order[0]]
        elif name == "cem":
            best = np.array([plans[i] for i in order[:4]])
            mean, spread = best.mean(0), best.std(0)
        else:
            weights = np.exp(-(np.array(errors) - min(errors)) / 0.05)
            mean = np.tensordot(weights / weights.sum(), np.array(plans), 1)
    return np.tanh(mean), losses


@pytest.mark.parametrize("members", ["sample", "mean"])
@pytest.mark.parametrize("name", MOVES)
def test_equals_plain_loops(name, members):
    """Plan and losses are those of the twin."""
    key = jax.random.key(4)
    out = search(name, key, members=members)
    plan, losses = twin(name, key, members)
    np.testing.assert_allclose(out.plan, plan, atol=1e-4)
    np.testing.assert_allclose(out.loss, losses, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "tolerance"), [("shooting", 0.25), ("cem", 0.06), ("mppi", 0.25)])
def test_finds_the_best_plan(name, tolerance):
    """With many samples every planner comes near the known optimum, CEM nearest."""
    out = search(name, jax.random.key(0), samples=512, iterations=20, members="mean")
    assert np.abs(out.plan - TARGET).max() < tolerance
    assert float(out.score.mean()) < 0.1 * float(out.loss[0])


def test_shooting_never_gets_worse():
    """The best plan so far is compared with every new draw."""
    loss = np.asarray(search("shooting", jax.random.key(1), members="mean", iterations=12).loss)
    assert np.all(np.diff(loss) <= 0) and loss[-1] < loss[0]


def test_rows_share_the_draws():
    """Mapped over contexts, equal rows get equal plans, and each equals its own search."""
    contexts = jnp.asarray([0.0, 0.1, 0.0])
    key, start = jax.random.key(2), jnp.zeros((T, A))

    def one(context):
        return rgrl.sample_plan(
            key, PARAMS, apply, context, start, move=rgrl.make_cem(4), iterations=K, samples=P, spread=0.7
        ).plan

    plans = np.asarray(jax.jit(jax.vmap(one))(contexts))
    np.testing.assert_array_equal(plans[0], plans[2])
    assert np.abs(plans[0] - plans[1]).max() > 0.01
    np.testing.assert_allclose(plans[1], jax.jit(one)(contexts[1]), atol=1e-5)


def test_diagnostics():
    """Members that agree have no disagreement; a plan at the edge is saturated."""
    out = search("cem", jax.random.key(3))
    rewards = np.stack([1.0 - np.square(np.asarray(out.plan) - member).sum(-1) for member in PARAMS])
    np.testing.assert_allclose(out.disagreement, rewards.std(axis=0).mean(), atol=1e-5)
    np.testing.assert_allclose(out.plan, np.tanh(out.latent), atol=1e-6)
    edge = jnp.zeros((T, A)).at[0].set(4.0)
    still = rgrl.plan(jax.random.key(0), PARAMS, apply, 0.0, edge, iterations=0, optimizer=optax.sgd(0.1))
    np.testing.assert_allclose(still.saturation, 1 / T, rtol=1e-6)


def test_more_elites_than_samples_are_refused():
    """The sentence names both."""
    with pytest.raises(ValueError, match="plan_elites = 9 must be at most plan_samples = 8"):
        rgrl.RGRLConfig(planner="cem", plan_samples=8, plan_elites=9).validate()
    rgrl.RGRLConfig(planner="shooting", plan_samples=8, plan_elites=9).validate()
