"""What is stored of an episode, and how the members are trained on it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rgrl_cases import KEY, assert_close, episode, member, small
from scipy import stats

from rgrl_jax import spmd
from rgrl_jax.algos.rgrl import build, learn, window_replay
from rgrl_jax.algos.rgrl.learn import init_members, make_window_fn, maybe_reset_members, store_episode, train_members
from rgrl_jax.algos.rgrl.update import window_errors
from rgrl_jax.types import Episode

LENGTH, TERMINATED = [12, 5, 7], [False, True, True]
MLP = {"model.kind": "mlp"}  # compiles fastest


@functools.cache
def stored(config):
    """A replay of three episodes side by side, of random observations and rewards."""
    rng, rows = np.random.default_rng(0), 13
    played = Episode(
        obs=jnp.asarray(rng.uniform(-0.3, 0.3, (rows, 3, 4)), jnp.float32),
        action=jnp.asarray(rng.integers(0, 2, (rows, 3)), jnp.int32),
        reward=jnp.where(np.arange(rows)[:, None] < np.array(LENGTH), rng.uniform(0, 1, (rows, 3)), 0.0),
        length=jnp.array(LENGTH),
        terminated=jnp.array(TERMINATED),
        truncated=~jnp.array(TERMINATED),
        info=None,
    )
    return keep(config, played), played


def keep(config, *episodes):
    """A replay of these episodes."""
    replay = window_replay.init(jnp.zeros(4), jnp.int32(0), capacity=64, dedupe=config.reference.dedupe)
    store = jax.jit(lambda replay, episode: store_episode(replay, episode, build(config).codec, config))
    for one in episodes:
        replay = store(replay, one)
    return replay


@functools.cache
def members(config):
    """Weights and optimizer states of a new ensemble."""
    return jax.jit(lambda key: init_members(key, config, build(config)))(KEY)


def train(config, start, replay, key=KEY):
    """New members, the replay and the mean loss."""
    return jax.jit(lambda key: train_members(key, start, replay, config, build(config)))(key)


# What is stored.


def test_parallel_environments_feed_one_replay():
    """Episode by episode, each with its own end and its windows; targets are those of the reward head."""
    replay, played = stored(small())
    first = np.concatenate([[0], np.cumsum(np.array(LENGTH) + 1)])
    assert int(replay.cursor) == first[-1] and int(replay.episodes) == 3
    for n, length in enumerate(LENGTH):
        rows = slice(first[n], first[n] + length)
        np.testing.assert_array_equal(replay.obs[rows], played.obs[:length, n])
        np.testing.assert_array_equal(replay.reward[rows], played.reward[:length, n])
        assert np.all(replay.terminated[rows] == TERMINATED[n]) and np.all(replay.episode[rows] == n)
        assert replay.weight[rows].tolist() == [1.0] * length and replay.weight[rows.stop] == 0
    assert int(window_replay.num_windows(replay)) == sum(LENGTH)


def test_simulated_steps_are_stored_behind_the_end():
    """Windows read on past a true end, where the state is done and the reward 0; without them it stays."""
    config = small({"reference.past_end": "simulate"})
    absorbed, simulated = keep(small(), episode(5, True)), keep(config, episode(5, True, padding=3))
    frozen, moving = (
        jax.jit(make_window_fn(replay, one, build(one)))(4)
        for replay, one in ((absorbed, small()), (simulated, config))
    )
    np.testing.assert_array_equal(moving.present, frozen.present)
    np.testing.assert_array_equal(moving.states[0], frozen.states[0])
    np.testing.assert_array_equal(moving.states[:, -1], np.ones(4))
    assert np.all(np.diff(moving.states[:, 0]) > 0) and np.all(np.diff(frozen.states, axis=0) == 0)
    np.testing.assert_array_equal(moving.rewards, frozen.rewards)
    assert int(simulated.cursor) == int(absorbed.cursor) + 3
    assert window_replay.num_windows(simulated) == window_replay.num_windows(absorbed) == 5


@pytest.mark.parametrize(("dedupe", "windows"), [("none", [6, 12, 18]), ("window", [6, 6, 12])])
def test_known_windows_are_dropped(dedupe, windows):
    """The same episode again brings none; one that differs a little brings all of its own."""
    first = episode(6, True)
    near, config = first.replace(obs=first.obs + 1e-3), small({"reference.dedupe": dedupe})
    found = [
        int(window_replay.num_windows(keep(config, *played)))
        for played in ([first], [first, first], [first, first, near])
    ]
    assert found == windows


def test_a_balanced_replay_draws_distinct_states_alike():
    """Windows of the same present share its weight, however often an episode was stored."""
    one, other = (e.replace(obs=10.0 * e.obs) for e in (episode(6, True), episode(3, True)))  # apart when rounded
    replay = keep(small({"replay.kind": "balanced"}), one, one, one, other.replace(obs=other.obs + 100.0))
    weight = np.asarray(replay.weight)
    np.testing.assert_allclose(weight[weight > 0], [1 / 3] * 18 + [1.0] * 3, rtol=1e-6)


# What is drawn.


@pytest.mark.parametrize("forcing", [False, True])
def test_exact_priorities_draw_by_error(forcing):
    """Members draw by the power of their own errors on all windows."""
    changes = {"replay.kind": "priority", "reference.exact_priorities": True, "replay.priority_exponent": 2.0}
    config = small(MLP | changes | {"learner.batch_size": 4000, "learner.teacher_forcing": forcing})
    components, (params, _) = build(config), members(small(MLP))
    replay, _ = stored(small())
    get_window = make_window_fn(replay, config, components)
    rows = jax.jit(lambda key: learn._draw_rows(key, params, replay, get_window, config, components))(KEY)
    assert rows.shape == (3, 4000)

    def error(member, row):
        return window_errors(components.model, member, get_window(row), teacher_forcing=forcing).summed_reward

    everywhere = jax.jit(jax.vmap(jax.vmap(error, in_axes=(None, 0)), in_axes=(0, None)))
    errors = np.asarray(everywhere(params, jnp.arange(64)), np.float64) * (np.asarray(replay.weight) > 0)
    for e in range(3):
        share = np.bincount(rows[e], minlength=64) / 4000
        np.testing.assert_allclose(share, errors[e] ** 2 / (errors[e] ** 2).sum(), atol=0.03)


def test_priorities_follow_the_drawn_windows():
    """That of a window that was drawn becomes the power of its error before the update; the others keep theirs."""
    changes = {"replay.kind": "priority", "replay.priority_exponent": 0.5, "learner.action_noise": 0.0}
    config = small(MLP | changes | {"model.ensemble_size": 1, "learner.updates_per_episode": 1})
    replay, _ = stored(small())
    replay, start = replay.replace(weight=3.0 * replay.weight), members(config)
    after = train(config, start, replay)[1]
    changed = np.flatnonzero(np.asarray(after.weight) != np.asarray(replay.weight))
    assert 2 <= len(changed) <= 4 and np.all(replay.weight[changed] == 3.0)
    get_window, model = make_window_fn(replay, config, build(config)), build(config).model
    whole = [row for row in changed if replay.steps_left[row] >= 4]  # no random actions past the end
    error = jax.jit(lambda row: window_errors(model, member(start[0], 0), get_window(row)).summed_reward)
    assert whole
    for row in whole:
        assert float(after.weight[row]) == pytest.approx(float(error(row)) ** 0.5, rel=1e-4)


def test_a_priority_of_0_stays_drawable():
    """A window that is predicted without error keeps the smallest weight there is, which is not that of no window."""
    config = small({"replay.priority_exponent": 10.0})
    priority = learn._priority(jnp.array([0.0, 1e-5, 2.0]), config)
    assert np.all(np.asarray(priority) > 0) and float(priority[2]) == 1024.0


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_actions_of_a_batch_are_shrunk(noise):
    """By shares that are uniform up to the noise; nothing else of a window changes."""
    replay, _ = stored(small())
    get_window = make_window_fn(replay, small(), build(small()))
    rows = jnp.zeros((3, 500), jnp.int32)
    keys = jax.random.split(jax.random.key(1), rows.shape)
    batch = jax.jit(lambda keys: learn._get_batch(keys, replay, rows, get_window, noise))(keys)
    window = get_window(jnp.int32(0))
    shrunk = 1.0 - np.asarray(batch.actions) / np.asarray(window.actions)
    if noise:
        assert stats.kstest(shrunk.ravel() / noise, "uniform").pvalue > 1e-3
        assert np.abs(np.corrcoef(shrunk.reshape(1500, -1).T) - np.eye(8)).max() < 0.12
    else:
        assert not shrunk.any()
    for name in ("present", "rewards", "states", "mask"):
        same = np.broadcast_to(getattr(window, name), getattr(batch, name).shape)
        np.testing.assert_array_equal(getattr(batch, name), same)


def test_windows_carry_novelty_and_the_scale_of_what_was_seen():
    """The smallest target in the replay is -1 and the largest 1, of another replay if that decides the scale."""
    changes = {"target.novelty": True, "target.reward_scale": "seen", "target.discount": 0.7}
    config, (replay, _) = small(changes), stored(small())
    components, starts = build(config), np.flatnonzero(replay.weight)

    @jax.jit
    def windows_and_novelty(scale_from):
        windows = jax.vmap(make_window_fn(replay, config, components, scale_from))(starts)
        return windows, window_replay.novelty(replay, components.codec, 0.7)

    windows, new = windows_and_novelty(replay)
    assert windows.rewards.shape == (len(starts), 4, 2)
    np.testing.assert_allclose(windows.rewards[:, 0, 1], 2 * np.asarray(new)[starts] - 1, atol=1e-6)
    known = np.asarray(replay.reward)[np.asarray(replay.episode) >= 0]
    scaled = 2 * (np.asarray(replay.reward)[starts] - known.min()) / np.ptp(known) - 1
    np.testing.assert_allclose(windows.rewards[:, 0, 0], scaled, atol=1e-5)
    other, _ = windows_and_novelty(replay.replace(reward=3.0 * replay.reward))
    scaled = 2 * (np.asarray(replay.reward)[starts] - 3 * known.min()) / np.ptp(3 * known) - 1
    np.testing.assert_allclose(other.rewards[:, 0, 0], scaled, atol=1e-5)


def test_rewards_that_are_all_alike_stay_finite():
    """There is nothing to tell apart."""
    replay, config = keep(small(), episode(5, False)), small({"target.reward_scale": "seen"})
    replay = replay.replace(reward=jnp.zeros(64))
    windows = jax.jit(jax.vmap(make_window_fn(replay, config, build(config))))(jnp.arange(5))
    assert np.isfinite(windows.rewards).all()


# Training.


def test_the_learning_rate_falls_in_a_line():
    """The last of four updates does nothing, and the three before it take 3, 2 and 1 quarters of a step."""
    config = small(MLP | {"learner.optimizer": "sgd"})
    start, (replay, _) = members(config), stored(small())

    @functools.partial(jax.jit, static_argnums=0)
    def learnt(updates, lr, lr_end):
        learner = config.learner.replace(updates_per_episode=updates, lr=lr, lr_end=lr_end)
        changed = config.replace(learner=learner)
        return train_members(KEY, start, replay, changed, build(changed))[0][0]

    assert_close(learnt(4, 1e-3, 0.0), learnt(3, 1e-3, 0.25), rtol=1e-6, atol=1e-8)
    once = learnt(1, 1e-3, 0.25)
    assert_close(once, learnt(1, 2.5e-4, 1.0), rtol=1e-6, atol=1e-8)
    moved = jax.tree.map(lambda new, old: jnp.abs(new - old).max(), once, start[0])
    assert max(jax.tree.leaves(moved)) > 1e-6


@pytest.mark.parametrize(("law", "every"), [("round_robin", 2), ("all", 3), ("all", 0)])
def test_members_are_drawn_anew(law, every):
    """A loop: which are replaced after each episode; the others, and their optimizer states, stay."""
    config = small(MLP | {"learner.reset_every": every, "learner.member_reset": law})
    before = jax.tree.map(jnp.ones_like, members(config))
    reset = jax.jit(lambda key, episode: maybe_reset_members(key, before, episode, config, build(config)))
    turn = 0
    for number in range(7):
        after = reset(jax.random.fold_in(KEY, number), jnp.int32(number))
        changed = {
            i
            for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
            for i in range(3)
            if (np.asarray(old[i]) != np.asarray(new[i])).any()
        }
        due = every and (number + 1) % every == 0
        assert changed == (({0, 1, 2} if law == "all" else {turn}) if due else set())
        turn = (turn + bool(due)) % 3


def test_members_learn_from_draws_of_their_own():
    """Members that start alike end apart, and the mean loss of an episode is finite and positive."""
    config = small(MLP)
    start = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), members(config))
    (params, opt_state), _, loss = train(config, start, stored(small())[0])
    assert len(np.unique(params["params"]["reward_head"][:, 0, 0])) == 3
    assert all(np.all(x == 3) for x in jax.tree.leaves(opt_state) if x.dtype == jnp.int32)  # updates, counted by adam
    assert np.isfinite(loss) and loss > 0


def test_shared_learning_draws_the_same_windows():
    """On four devices, here lanes of a ``vmap``: with noise, and with priorities, which need the errors of all."""
    changes = {"replay.kind": "priority", "learner.action_noise": 0.5, "learner.optimizer": "sgd"}
    config = small(MLP | changes | {"learner.batch_size": 8, "learner.updates_per_episode": 1})
    start, (replay, _) = members(config), stored(small())
    key = jax.random.key(2)  # what keys of a batch draw may depend on no other key in it, as with rbg

    def learnt(_):
        return train_members(key, start, replay, config, build(config))

    one = jax.jit(learnt)(None)
    four = jax.jit(jax.vmap(learnt, axis_name=spmd.AXIS, axis_size=4))(jnp.arange(4))
    assert_close(jax.tree.map(lambda x: jnp.broadcast_to(x, (4, *x.shape)), one), four, rtol=1e-5, atol=1e-6)
    assert len(np.unique(one[1].weight)) > 3
