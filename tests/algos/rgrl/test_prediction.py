"""What members predict along episodes, and the plans made again: against plain loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rgrl_cases import member, small
from tiny import says

from rgrl_jax import training
from rgrl_jax.algos.presets import preset
from rgrl_jax.algos.rgrl import (
    RGRLState,
    build,
    check_has_model,
    horizon_errors,
    predict_episode,
    recompute_plans,
    window_replay,
)
from rgrl_jax.algos.rgrl.learn import init_members
from rgrl_jax.algos.rgrl.models import History
from rgrl_jax.types import Episode

KEY = jax.random.key(3)
PLAY = jax.jit(training.play, static_argnames="num_episodes")
MLP = {"model.kind": "mlp", "model.ensemble_size": 2, "planner.iterations": 2}


@functools.cache
def seen():
    """Two noiseless episodes of a small agent, what it predicts along them, and its plans of two steps each."""
    config = small(MLP | {"planner.replan_every": 2, "target.novelty": True, "planner.num_starts": 2})
    state = jax.jit(training.init)(jax.random.key(0), config)
    episode = PLAY(KEY, state, config, 2)
    predicted, plans = predict_episode(state, episode, config), recompute_plans(KEY, state, episode, config)
    return config, state, episode, predicted, plans


def made_up(config, length, terminated):
    """An episode of CartPole's shapes that nobody played, and a state that has seen rewards of 0..3."""
    rng, rows = np.random.default_rng(0), config.spec.max_steps + 1
    episode = Episode(
        obs=jnp.asarray(rng.uniform(-0.2, 0.2, (rows, 1, 4)), jnp.float32),
        action=jnp.asarray(rng.integers(0, 2, (rows, 1)), jnp.int32),
        reward=jnp.asarray(rng.uniform(0.0, 1.0, (rows, 1)) * (np.arange(rows) < length)[:, None], jnp.float32),
        length=jnp.array([length]),
        terminated=jnp.array([terminated]),
        truncated=jnp.array([not terminated]),
        info=None,
    )
    replay = window_replay.init(episode.obs[0, 0], episode.action[0, 0], capacity=20)
    replay = replay.replace(reward=jnp.linspace(0.0, 3.0, 20), episode=jnp.zeros(20, jnp.int32))
    params = jax.jit(lambda key: init_members(key, config, build(config))[0])(jax.random.key(1))
    return RGRLState(KEY, params, (), replay, jnp.int32(0), jnp.int32(0)), episode


def targets(rewards, length, terminated, discount):
    """Rewards to come of steps ``0 .. length - 1`` and what every step past the end is worth, by a plain loop."""
    after = 0.0 if terminated else rewards[length - 1]
    found = np.full(len(rewards) + 50, after)
    for t in reversed(range(length)):
        after = found[t] = (1.0 - discount) * rewards[t] + discount * after
    return found


def past(steps, encode, size):
    """What is encoded of these steps ``[H, size]``, -1 before the first."""
    return jnp.stack([encode(i) if i >= 0 else -jnp.ones(size) for i in steps]) if steps else jnp.zeros((0, size))


CASES = {
    "much": (
        {"target.discount": 0.9, "target.reward_scale": "seen", "model.history_length": 2, "target.novelty": True},
        12,
        False,
    ),
    "bars": (
        {"reference.state_encoding": "thermometer", "reference.state_bins": 6, "reference.done_size": 2}
        | {"reference.reward_encoding": "thermometer", "reference.reward_bins": 5, "target.discount": 0.5}
        | {"reference.past_end": "simulate"},  # of which an episode that is only looked at knows nothing
        7,
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_a_plain_loop(name):
    """Each member from each step on, alone: history, executed actions, rewards as learnt, the state past the end."""
    changes, length, terminated = CASES[name]
    config = small(MLP | changes)
    state, episode = made_up(config, length, terminated)
    found, reference = predict_episode(state, episode, config), config.reference
    _, codec, model = build(config)
    horizon, before = config.planner.horizon, config.model.history_length
    predict = jax.jit(
        lambda params, history, *rest: model.apply(params, model.encode_history(params, history), *rest)
    )
    bins = reference.state_bins if reference.state_encoding == "thermometer" else 1

    def numbers(encoded):
        body, done = np.split(np.asarray(encoded), [codec.state_size - reference.done_size])
        return np.append(body.reshape(-1, bins).mean(axis=-1), done.mean())

    encode_state, encode_action = jax.jit(codec.encode_state), jax.jit(codec.encode_action)
    target = targets(np.asarray(episode.reward[:, 0]), length, terminated, config.target.discount)
    for t in range(length):
        rows = np.minimum(t + np.arange(horizon + 1), length)
        ended = terminated & (rows == length)
        states = [encode_state(episode.obs[i, 0], e) for i, e in zip(rows, ended, strict=True)]
        actions = [encode_action(episode.action[i, 0]) * (i < length) for i in t + np.arange(horizon)]
        history = History(
            past(range(t - before, t), lambda i: encode_state(episode.obs[i, 0], False), codec.state_size),
            past(range(t - before, t), lambda i: encode_action(episode.action[i, 0]), codec.action_size),
        )
        reward = np.stack([np.asarray(codec.encode_reward(jnp.float32(x))).mean() for x in target[t : t + horizon]])
        if config.target.reward_scale == "seen":  # of 0..3 on a scale of 0..1 to -1..1
            reward = 2.0 * (reward + 1.0) / 6.0 - 1.0
        np.testing.assert_allclose(found.true_reward[0, t], reward, atol=1e-5)
        np.testing.assert_allclose(found.true_state[0, t], [numbers(x) for x in states[1:]], atol=1e-5)
        np.testing.assert_allclose(found.present[0, t], numbers(states[0]), atol=1e-5)
        np.testing.assert_array_equal(found.action[0, t], actions[0])
        known = np.ones(horizon) if terminated else (t + np.arange(horizon) < length)
        np.testing.assert_array_equal(found.mask[0, t], known)
        for e in range(2):
            out = predict(member(state.params, e), history, states[0], jnp.stack(actions))
            size = codec.reward_size
            np.testing.assert_allclose(found.reward[0, t, e], out.reward[:, :size].mean(axis=-1), atol=1e-5)
            np.testing.assert_allclose(found.state[0, t, e], [numbers(x) for x in out.state], atol=1e-5)
    assert found.length.tolist() == [length]
    assert not found.mask[0, length:].any()


def test_predictions_do_not_mix_episodes():
    """Those of an episode do not depend on the other one; and they map over runs."""
    config, state, episode, found, _ = seen()
    other = episode.replace(obs=episode.obs.at[:, 0].add(1.0), action=episode.action.at[:, 0].set(1))
    changed = predict_episode(state, other, config)
    for x, y in zip(jax.tree.leaves(changed), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(x[1], y[1])
    assert np.all(changed.reward[0] != found.reward[0])
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    mapped = jax.eval_shape(jax.vmap(predict_episode, in_axes=(0, None, None)), twice, episode, config)
    assert mapped.reward.shape == (2, *found.reward.shape)


def test_plans_are_those_that_were_executed():
    """Decoded, the first steps of the plans are the actions of the episode."""
    _, _, episode, _, plans = seen()
    assert plans.plan.shape == (6, 2, 4, 2)
    for n in range(2):
        length = int(episode.length[n])
        executed = np.argmax(plans.plan[:, n, :2], axis=-1).reshape(-1)
        np.testing.assert_array_equal(executed[:length], episode.action[:length, n])


def test_plans_predict_rewards_on_the_usual_scale():
    """The mean of the members, without novelty and its weights."""
    config, state, episode, _, plans = seen()
    _, codec, model = build(config)
    empty = History(jnp.zeros((0, codec.state_size)), jnp.zeros((0, 2)))

    @jax.jit
    def predict(params, obs, actions):
        present = codec.encode_state(obs, jnp.bool_(False))
        return model.apply(params, model.encode_history(params, empty), present, actions).reward

    for n in range(2):
        rewards = [predict(member(state.params, e), episode.obs[2, n], plans.plan[1, n]) for e in range(2)]
        np.testing.assert_allclose(plans.predicted.reward[1, n], np.mean(rewards, axis=0)[:, :1], atol=1e-5)


def test_errors_by_horizon_are_those_of_numpy():
    """In float64, over what the mask lets count."""
    rng = np.random.default_rng(0)
    shape, mask = (2, 6, 3, 4), rng.random((2, 6, 4)) < 0.6
    errors_of = jax.jit(horizon_errors)
    for extra in ((), (5,)):
        predicted, true = rng.normal(size=(*shape, *extra)), rng.normal(size=(2, 6, 4, *extra))
        errors = errors_of(np.float32(predicted), np.float32(true), np.float32(mask))
        for k in range(4):
            rows = mask[..., k]
            p, y = predicted[rows][:, :, k].reshape(rows.sum(), 3, -1), true[rows][:, k].reshape(rows.sum(), -1)
            np.testing.assert_allclose(errors.mean[k], np.sqrt(((p.mean(axis=1) - y) ** 2).mean()), atol=1e-5)
            np.testing.assert_allclose(errors.disagreement[k], np.sqrt(p.var(axis=1).mean()), atol=1e-5)
            np.testing.assert_allclose(errors.constant[k], np.sqrt(y.var(axis=0).mean()), atol=1e-5)
            for e in range(3):
                np.testing.assert_allclose(errors.member[e, k], np.sqrt(((p[:, e] - y) ** 2).mean()), atol=1e-5)


def test_other_algorithms_have_no_model():
    """One sentence says so."""
    config, state, episode, *_ = seen()
    other = preset("CartPole-v1", algo="reinforce")
    for look, first in ((predict_episode, ()), (recompute_plans, (KEY,))):
        with pytest.raises(ValueError) as error:
            look(*first, state, episode, other)
        says(error, "'reinforce'", "has no model")
    check_has_model(config)
