"""The planners without gradients, against plain loops and a model whose best plan is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rgrl_jax.planning import ModelOutput, cem, ensemble, mppi, plan, sample_plan, shooting

T, A, P, K = 3, 2, 16, 6
TARGET = np.array([[0.3, -0.6], [0.0, 0.8], [-0.4, 0.1]], np.float32)
STD = 0.7


def apply(member, context, actions):
    """Reward 1 minus the distance to the member's favourite plan, a step by step sum of squares."""
    return ModelOutput(1.0 - jnp.square(actions - member - context).sum(-1, keepdims=True), None)


PARAMS = TARGET + np.array([0.02, -0.02], np.float32)[:, None, None]
SAMPLERS = {
    "shooting": lambda samples=P: shooting(samples, STD),
    "cem": lambda samples=P: cem(samples, 4, STD),
    "mppi": lambda samples=P: mppi(samples, 0.05, STD),
}


def search(name, key, params=PARAMS, samples=P, iterations=K):
    settings = dict(sampler=SAMPLERS[name](samples), iterations=iterations)
    run = jax.jit(lambda k, u: sample_plan(k, params, apply, jnp.float32(0.0), u, **settings))
    return run(key, jnp.zeros((T, A)))


def twin(name, key):
    """The same search with loops in NumPy, given the same draws."""
    member_key, noise_key = jax.random.split(key)
    draws = np.asarray(ensemble.draw(member_key, PARAMS, (K,)))
    noise = np.asarray(jax.random.normal(noise_key, (K, P - 1, T, A)), np.float64)
    mean, std, losses = np.zeros((T, A)), np.full((T, A), STD), []
    for k in range(K):
        plans = [mean] + [mean + std * n for n in noise[k]]
        errors = []
        for latent in plans:
            total = 0.0
            for t in range(T):
                reward = 1.0 - np.square(np.tanh(latent[t]) - PARAMS[draws[k]][t]).sum()
                total += (reward - 1.0) ** 2
            errors.append(total)
        losses.append(errors[0])
        order = np.argsort(errors)
        if name == "shooting":
            mean = plans[order[0]]
        elif name == "cem":
            best = np.array([plans[i] for i in order[:4]])
            mean, std = best.mean(0), best.std(0)
        else:
            weights = np.exp(-(np.array(errors) - min(errors)) / 0.05)
            mean = np.tensordot(weights / weights.sum(), np.array(plans), 1)
    return np.tanh(mean), losses


@pytest.mark.parametrize("name", SAMPLERS)
def test_equals_plain_loops(name):
    """Plan and losses are those of the twin."""
    key = jax.random.key(4)
    out = search(name, key)
    plan, losses = twin(name, key)
    np.testing.assert_allclose(out.plan, plan, atol=1e-4)
    np.testing.assert_allclose(out.loss, losses, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "tolerance"), [("shooting", 0.25), ("cem", 0.06), ("mppi", 0.25)])
def test_finds_the_best_plan(name, tolerance):
    """With many samples every planner comes near the known optimum, CEM nearest."""
    out = search(name, jax.random.key(0), samples=512, iterations=20)
    assert np.abs(out.plan - TARGET).max() < tolerance
    assert float(out.score.mean()) < 0.1 * float(out.loss[0])


def test_shooting_never_gets_worse():
    """The best plan so far is compared with every new draw, by the only member there is."""
    loss = np.asarray(search("shooting", jax.random.key(1), params=PARAMS[:1], iterations=12).loss)
    assert np.all(np.diff(loss) <= 0) and loss[-1] < loss[0]


def test_rows_share_the_draws():
    """Mapped over contexts, equal rows get equal plans, and each equals its own search."""
    contexts = jnp.asarray([0.0, 0.1, 0.0])
    key, start = jax.random.key(2), jnp.zeros((T, A))

    def one(context):
        return sample_plan(key, PARAMS, apply, context, start, sampler=cem(P, 4, STD), iterations=K).plan

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
    still = plan(jax.random.key(0), PARAMS, apply, 0.0, edge, iterations=0, optimizer=optax.sgd(0.1))
    np.testing.assert_allclose(still.saturation, 1 / T, rtol=1e-6)


def test_members_may_want_different_rewards():
    """With a leading axis each member has its own, in the errors on the way and in the scores."""
    desired = np.array([0.5, -0.2], np.float32)

    def apply(scale, context, actions):
        return ModelOutput(scale * actions, None)

    settings = dict(sampler=shooting(2), iterations=8, desired_reward=desired[:, None, None], squash=lambda x: x)
    key = jax.random.key(1)
    out = sample_plan(key, jnp.ones(2), apply, None, jnp.zeros((1, 1)), **settings)
    first = np.asarray(ensemble.draw(jax.random.split(key)[0], jnp.ones(2), (8,)))[0]
    np.testing.assert_allclose(out.loss[0], desired[first] ** 2, rtol=1e-5)
    np.testing.assert_allclose(out.score, (np.asarray(out.plan)[0, 0] - desired) ** 2, atol=1e-6)


def test_a_fifth_are_elites_unless_said():
    """Of few samples one; the mean over them moves to what they are."""
    latents, errors = jnp.arange(10.0)[:, None, None], jnp.arange(10.0)
    for sampler, mean in ((cem(10), 0.5), (cem(4), 0.0), (cem(10, 10), 4.5)):
        moved, std = sampler.move(None, None, latents, errors)
        np.testing.assert_allclose(moved, mean)
        np.testing.assert_allclose(std, np.std(np.arange(2 * mean + 1)), rtol=1e-6)


@pytest.mark.parametrize("elites", [0, 9])
def test_impossible_elites_are_refused(elites):
    """The sentence names both."""
    with pytest.raises(ValueError, match=f"num_elites = {elites} must be between 1 and samples = 8"):
        cem(8, elites)


def test_wrong_shapes_are_refused():
    """As `plan` does."""
    with pytest.raises(AssertionError, match="init_plan must be"):
        sample_plan(jax.random.key(0), PARAMS, apply, 0.0, jnp.zeros(A), sampler=shooting(4), iterations=1)
