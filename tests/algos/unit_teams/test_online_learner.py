"""Learning from one step by hand: TD errors, ends, clipped rewards, several environments, targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import assert_same

from rgrl_jax import training
from rgrl_jax.algos.presets import preset
from rgrl_jax.algos.unit_teams.algorithm import act
from rgrl_jax.algos.unit_teams.build import build
from rgrl_jax.algos.unit_teams.online_learner import learn_from_step, start_learner
from rgrl_jax.rollout import reset_keys, rollout
from rgrl_jax.types import Episode


def small(**overrides):
    """Weight maximization with traces on CartPole, cut down."""
    return preset("CartPole-v1", algo="weight_max_traces", hidden=(5, 4), max_steps=6, **overrides)


def learner_at(config, t, length, terminated, truncated, rewards):
    """A learner with random traces, and episodes of ``N`` environments at row ``t``."""
    n, rows = len(length), config.spec.max_steps + 1
    state = training.init(jax.random.key(0), config)
    learner = start_learner(state.actor, state.critic, state.updates, config.replace(num_envs=n))
    keys = iter(jax.random.split(jax.random.key(1), 20))
    fill = lambda x: jax.random.normal(next(keys), x.shape)  # noqa: E731
    learner = learner.replace(
        actor_traces=jax.tree.map(fill, learner.actor_traces),
        critic_traces=jax.tree.map(fill, learner.critic_traces),
        prediction=jnp.linspace(0.5, 1.5, n),
    )
    episode = Episode(
        obs=jnp.zeros((rows, n, 4)),
        action=jnp.zeros((rows, n), jnp.int32),
        reward=jnp.zeros((rows, n)).at[t - 1].set(jnp.asarray(rewards, jnp.float32)),
        length=jnp.asarray(length, jnp.int32),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(truncated),
        info=(),
    )
    return learner, episode


def change_of_critic(config, t=3, length=(3,), terminated=(False,), truncated=(False,), rewards=(2.0,), value=(4.0,)):
    """The change of the critic's top layer by sgd, and the learners before and after."""
    config = config.replace(optimizer="sgd", critic_lr=(1.0,) * 3, critic_lr_end=(1.0,) * 3, num_envs=len(length))
    learner, episode = learner_at(config, t, length, terminated, truncated, rewards)
    after = learn_from_step(learner, episode, jnp.int32(t), jnp.asarray(value), build(config), config)
    return np.asarray(after.critic.weights[-1] - learner.critic.weights[-1]), learner, after


def test_the_td_error():
    """``r + discount V(s') - V(s)`` times the trace; V(s) = 0.5 by `learner_at`."""
    change, learner, after = change_of_critic(small(discount=0.9))
    np.testing.assert_allclose(change, (2.0 + 0.9 * 4.0 - 0.5) * learner.critic_traces[-1][0], rtol=1e-4)
    assert int(after.updates) == 1
    assert float(after.squared_signal) == pytest.approx((2.0 + 0.9 * 4.0 - 0.5) ** 2, rel=1e-5)


def test_a_terminal_state_is_worth_nothing_and_a_cut_teaches_nothing():
    change, learner, _ = change_of_critic(small(discount=0.9), terminated=(True,))
    np.testing.assert_allclose(change, (2.0 - 0.5) * learner.critic_traces[-1][0], rtol=1e-4)
    change, _, after = change_of_critic(small(), truncated=(True,))
    np.testing.assert_array_equal(change, 0.0)
    assert int(after.updates) == 1


def test_nothing_is_learnt_before_the_first_step():
    change, learner, after = change_of_critic(small(), t=0, length=(0,))
    np.testing.assert_array_equal(change, 0.0)
    assert_same(after, learner)


def test_rewards_are_clipped_in_learning():
    change, learner, _ = change_of_critic(small(reward_clip=0.75), terminated=(True,), rewards=(-2.0,))
    np.testing.assert_allclose(change, (-0.75 - 0.5) * learner.critic_traces[-1][0], rtol=1e-4)


def test_environments_count_while_they_step():
    """Of three, the second ended a step ago; the others' changes are averaged."""
    change, learner, _ = change_of_critic(
        small(discount=0.9),
        length=(3, 2, 3),
        terminated=(False, True, True),
        truncated=(False,) * 3,
        rewards=(2.0, 7.0, 1.0),
        value=(4.0, 5.0, 6.0),
    )
    traces = learner.critic_traces[-1]
    expected = ((2.0 + 0.9 * 4.0 - 0.5) * traces[0] + (1.0 - 1.5) * traces[2]) / 2
    np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-6)


def test_targets_are_learnt_from():
    """The right answers are kept by the decision; the bias of the output moves by the mean of ``error / variance``.

    Times 1, the residual over itself, unless that is below its floor.
    """
    lr = {"actor_lr": (0.0, 0.0, 0.1), "actor_lr_end": (0.0, 0.0, 0.1), "optimizer": "sgd"}
    small = {"hidden": (5, 4), "num_envs": 8, "episodes_per_row": 1, "map_steps": 2}
    config = preset("ScalarRegression", algo="map_prop", residual_floor=0.8, **lr, **small)
    state = training.init(jax.random.key(0), config)
    actor = act(state, config)
    assert int(jnp.count_nonzero(actor.carry.target)) == 0
    episode, learner = jax.jit(lambda: rollout(config.spec, act(state, config)))()
    target = jax.vmap(config.spec.reset)(reset_keys(actor))[1].target
    np.testing.assert_array_equal(learner.target, target)
    assert int(learner.updates) == 0  # the only decision has no step before it
    after, metrics = jax.jit(training.step)(state, config)
    error = np.asarray(learner.target - learner.prediction, np.float64)
    assert float(metrics.model_loss) == pytest.approx((error**2).mean(), rel=1e-4)
    assert np.abs(error).min() > 0 and np.std(np.asarray(episode.action)[0] - learner.prediction) > 0
    variance = config.actor_variance[-1]
    residual = np.asarray(episode.action, np.float64)[0] - learner.prediction
    floor = config.residual_floor * variance**0.5
    divisor = np.sign(residual) * np.maximum(np.abs(residual), floor)
    assert 0 < (np.abs(residual) < floor).sum() < 8
    change = after.actor.weights[-1][-1] - state.actor.weights[-1][-1]
    np.testing.assert_allclose(change, 0.1 * (error * residual / divisor).mean() / variance, rtol=1e-3)
