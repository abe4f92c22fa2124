"""The algorithm as a whole: its parts against plain loops, and its invariances as a program."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rgrl_jax as rgrl
from rgrl_jax import learning, replay
from rgrl_jax.algos import rgrl as algo
from rgrl_jax.algos.rgrl.acting import plan_rows
from rgrl_jax.algos.rgrl.learning import draw_rows, learn, make_cutter, make_optimizer
from rgrl_jax.rollout import View, env_states

SMALL = dict(
    width=8,
    heads=2,
    ensemble_size=3,
    horizon=4,
    plan_iterations=3,
    learn_iterations=4,
    learn_batch=4,
    unroll=1,
    plan_unroll=1,
    max_steps=12,
    episodes=3,
    warmup_episodes=1,
    replay_capacity=64,
    max_windows=64,
)


def small(env_id="CartPole-v1", **overrides):
    return rgrl.RGRLConfig(env_id=env_id, **(SMALL | overrides))


def assert_trees_close(a, b, **tolerance):
    def check(x, y):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(np.asarray(x, np.float64), np.asarray(y, np.float64), **tolerance)

    jax.tree.map(check, a, b)


@pytest.fixture(scope="module")
def trained():
    """A tiny run: config, key, state, metrics."""
    config, key = small(), jax.random.key(7)
    return config, key, *jax.jit(rgrl.train)(key, config)


def test_state_holds_concrete_arrays_after_jit_and_vmap(trained):
    """Nothing in the state is a tracer or a Python object, so it can be used after a compiled train."""
    config, _, _, _ = trained
    keys = jax.random.split(jax.random.key(0), 2)
    states, _ = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    assert all(isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(states))
    first = jax.tree.map(lambda x: x[0], states)
    assert rgrl.evaluate(keys[0], first, config, 2).shape == (2,)


def test_jit_equals_eager(trained):
    """The compiled program computes what the same functions compute one operation at a time."""
    config, key, state, metrics = trained
    eager_state, eager_metrics = rgrl.train(key, config)
    assert_trees_close(metrics, eager_metrics, rtol=1e-4, atol=1e-5)
    assert_trees_close(state.params, eager_state.params, rtol=1e-3, atol=1e-4)


def test_episodes_counted_and_metrics_shaped(trained):
    """Counters of the state agree with the metrics."""
    config, _, state, metrics = trained
    assert all(x.shape == (config.episodes,) for x in jax.tree.leaves(metrics))
    np.testing.assert_array_equal(metrics.episode, [1, 2, 3])
    np.testing.assert_array_equal(np.cumsum(metrics.episode_length), metrics.env_steps)
    assert int(state.env_steps) == int(metrics.env_steps[-1])
    assert int(state.episode) == config.episodes
    np.testing.assert_array_equal(metrics.episode_return, metrics.episode_length)  # CartPole pays 1 a step


def test_vmap_over_32_seeds_equals_single_runs():
    """First episode, planned from the start: plan, losses and returns of each seed are those of its own run."""
    config = small(warmup_episodes=0, episodes=1)
    keys = jax.random.split(jax.random.key(3), 32)
    _, many = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    one = jax.jit(rgrl.train)
    for i in (0, 1, 17, 31):
        _, single = one(keys[i], config)
        assert_trees_close(jax.tree.map(lambda x, i=i: x[i], many), single, rtol=1e-4, atol=1e-4)
    assert len(set(np.asarray(many.model_loss)[:, 0].tolist())) == 32  # the seeds do differ


def test_vmap_over_every_float_of_the_config():
    """A grid that moves one float per row equals single runs with that float."""
    config = small(plan_optimizer="sgd", plan_noise=0.3, reward_discount=0.5, replay="priority", plan_starts=2)
    floats = [f.name for f in dataclasses.fields(config) if "high" in f.metadata]
    assert {"plan_lr", "learning_rate", "desired_reward"} < set(floats)
    rows = {name: np.full(len(floats), getattr(config, name)) for name in floats}
    for i, name in enumerate(floats):
        rows[name][i] = 0.5 * rows[name][i] or 0.2
    grid = config.replace(**{name: jnp.asarray(row, jnp.float32) for name, row in rows.items()})
    key = jax.random.key(5)
    _, many = jax.jit(jax.vmap(rgrl.train, in_axes=(None, grid.axes(*floats))))(key, grid)
    one = jax.jit(rgrl.train)
    for i in range(len(floats)):
        _, single = one(key, config.replace(**{name: jnp.float32(row[i]) for name, row in rows.items()}))
        row = jax.tree.map(lambda x, i=i: x[i], many)
        np.testing.assert_allclose(row.model_loss, single.model_loss, rtol=1e-3, atol=1e-4, err_msg=floats[i])


def test_warmup_episodes_do_not_plan(trained):
    """Warm-up acts at random and reports no planning; later episodes plan with annealed noise."""
    config, _, _, metrics = trained
    assert float(metrics.plan_loss[0]) == 0.0 and float(metrics.plan_movement[0]) == 0.0
    assert np.all(metrics.plan_loss[1:] > 0) and np.all(metrics.plan_movement[1:] > 0)
    annealed = config.replace(plan_noise=5.0, plan_noise_decay=0.5, plan_noise_cycle=3)
    noise = [float(algo.plan_noise(jnp.int32(i), annealed)) for i in range(6)]
    assert noise == [5.0, 5.0, 2.5, 1.25, 5.0, 2.5]


def target_twin(rewards, terminated, gamma, zero_terminal, lasting):
    """Targets of one episode by a plain loop: one value per step, then what steps past the end are worth."""
    rewards = [float(r) for r in rewards]
    if terminated and zero_terminal:
        rewards[-1] = 0.0
    tail = 0.0 if terminated and not lasting else rewards[-1]
    out, after = [tail], tail
    for r in reversed(rewards):
        after = (1 - gamma) * r + gamma * after
        out.append(after)
    return out[::-1]


@pytest.mark.parametrize("gamma", [0.0, 0.9])
@pytest.mark.parametrize("zero_terminal", [False, True])
@pytest.mark.parametrize("absorbing", ["zero", "last"])
def test_reward_targets_equal_plain_loop(gamma, zero_terminal, absorbing):
    """Targets of ended and of cut-off episodes equal a float64 loop."""
    config = small(
        "MountainCar-v0", reward_discount=gamma, zero_terminal_reward=zero_terminal, absorbing_reward=absorbing
    )
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(13, 2)).astype(np.float32)
    length, terminated = np.array([5, 12]), np.array([True, False])
    rewards = np.where(np.arange(13)[:, None] < length, rewards, 0)
    episode = rgrl.Episode(
        obs=jnp.zeros((13, 2, 2)),
        action=jnp.zeros((13, 2), jnp.int32),
        reward=jnp.asarray(rewards),
        length=jnp.asarray(length),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(~terminated),
        info=None,
    )
    targets = np.asarray(algo.reward_targets(episode, config))
    for n in range(2):
        twin = target_twin(rewards[: length[n], n], terminated[n], gamma, zero_terminal, absorbing == "last")
        np.testing.assert_allclose(targets[: length[n] + 1, n], twin, rtol=1e-5, atol=1e-6)


def test_exact_priorities_draw_by_error():
    """With priorities renewed before every update, members draw by the power of their own errors."""
    config = small(replay="priority", priority_refresh="all", priority_exponent=2.0, learn_batch=4000)
    state, _ = jax.jit(rgrl.train)(jax.random.key(1), small())
    _, codec, model = algo.parts(config)
    rows = draw_rows(jax.random.key(2), state.params, state.replay, make_cutter(state.replay, config), config)
    assert rows.shape == (3, 4000)
    weight = np.asarray(state.replay.weight)
    for e in range(3):
        member = jax.tree.map(lambda x, e=e: x[e], state.params)
        errors = np.zeros(weight.size)
        for row in np.flatnonzero(weight):
            window = replay.window(state.replay, jnp.int32(row), codec, history_length=0, horizon=config.horizon)
            predicted = model.apply(member, model.remember(member, window.history), window.present, window.actions)
            errors[row] = (np.square(predicted.reward - window.rewards) * window.mask[:, None]).sum()
        expected = errors**2 / (errors**2).sum()
        share = np.bincount(np.asarray(rows[e]), minlength=weight.size) / rows.shape[1]
        np.testing.assert_allclose(share, expected, atol=0.03)


def test_sampled_priorities_follow_the_drawn_windows():
    """Priorities of drawn windows become the power of their error; rows without a window stay at 0."""
    config = small(replay="priority", priority_exponent=1.0)
    state, _ = jax.jit(rgrl.train)(jax.random.key(1), config)
    weight = np.asarray(state.replay.weight)
    assert np.unique(weight[weight > 0]).size > 5
    assert not weight[np.asarray(state.replay.to_end) == 0].any()


def test_the_learning_rate_falls_in_a_line(trained):
    """The last of four updates does nothing, and the three before it take 3, 2 and 1 quarters of a step."""
    _, _, state, _ = trained

    def learnt(**overrides):
        config = small(optimizer="sgd", **overrides)
        opt_state = learning.init(state.params, make_optimizer(config))
        return learn(jax.random.key(3), state.params, opt_state, state.replay, config)[0]

    four = learnt(learn_iterations=4, learning_rate_end=0.0)
    three = learnt(learn_iterations=3, learning_rate_end=0.25)
    assert_trees_close(four, three, rtol=1e-6, atol=1e-8)
    once, slow = learnt(learn_iterations=1, learning_rate_end=0.25), learnt(learn_iterations=1, learning_rate=2.5e-4)
    assert_trees_close(once, slow, rtol=1e-6, atol=1e-8)
    moved = jax.tree.map(lambda new, old: jnp.abs(new - old).max(), once, state.params)
    assert max(jax.tree.leaves(moved)) > 1e-6


@pytest.mark.parametrize("env_id", [name for name in rgrl.list_envs() if "Probe" not in name])
def test_every_environment_runs(env_id):
    """Two episodes, a planned one among them, in every environment, with finite losses."""
    config = small(env_id, episodes=2)
    state, metrics = jax.jit(rgrl.train)(jax.random.key(0, impl="unsafe_rbg"), config)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))
    low, high = rgrl.make_spec(env_id).return_range
    returns = rgrl.evaluate(jax.random.key(1), state, config, 3)
    assert returns.shape == (3,) and np.all(returns >= low - 1e-3) and np.all(returns <= high + 1e-3)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-misc"])
def test_paper_settings_run_small(env_id):
    """The reference's quirks (encodings, priorities, dedupe, open-loop execution) run, with small networks."""
    sizes = dict(
        max_steps=12,
        width=10,
        layers=1,
        episodes=2,
        horizon=6,
        plan_iterations=2,
        learn_iterations=2,
        unroll=1,
        plan_unroll=1,
    )
    config = rgrl.preset(env_id, "paper", **sizes, replay_capacity=64)
    _, metrics = jax.jit(rgrl.train)(jax.random.key(0, impl="unsafe_rbg"), config)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))


def test_history_reaches_the_model():
    """With a history the planning of the same present depends on what came before."""
    config = small(history_length=3, warmup_episodes=0)
    state = rgrl.init(jax.random.key(0), config)
    policy = algo.make_policy(state.params, config, jnp.float32(0.0), jnp.float32(0.0))
    spec = rgrl.make_spec("CartPole-v1", 12)
    episode = rgrl.rollout(jax.random.key(1), spec, lambda key, view: (jnp.zeros((1, 1), jnp.int32), {}, ()))
    other = episode.replace(action=1 - episode.action)
    views = [View(e, jnp.int32(4), None, ()) for e in (episode, other)]
    losses = [float(policy(jax.random.key(2), view)[1]["plan_loss"][0]) for view in views]
    assert losses[0] != losses[1]


def test_evaluation_is_frozen_and_repeatable(trained):
    """Evaluating twice gives the same returns, which are the rewards of the episodes played."""
    config, _, state, _ = trained
    first, second = (rgrl.evaluate(jax.random.key(9), state, config, 4) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    episode = rgrl.play(jax.random.key(9), state, config, 4)
    np.testing.assert_array_equal(np.asarray(episode.reward).sum(0), first)


def test_env_states_retrace_an_episode(trained):
    """States rebuilt from the actions show the observations that the episode recorded."""
    config, _, state, _ = trained
    spec, key = rgrl.make_spec("CartPole-v1", config.max_steps), jax.random.key(4)
    episode = rgrl.play(key, state, config, 3)
    states = env_states(key, spec, episode)
    rebuilt = np.stack([states.x, states.x_dot, states.theta, states.theta_dot], axis=-1)
    for n in range(3):
        rows = int(episode.length[n]) + 1
        np.testing.assert_allclose(rebuilt[:rows, n], episode.obs[:rows, n], rtol=1e-6)


def test_runs_in_float64():
    """With 64-bit types enabled the program still traces and stays finite."""
    with jax.enable_x64(True):
        _, metrics = jax.jit(rgrl.train)(jax.random.key(0), small(episodes=2))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))


def test_restarts_take_the_plan_the_ensemble_likes_best():
    """With several starts the executed plan has the lowest mean score among them."""
    config = small(plan_starts=4, plan_iterations=0, replan_every=4)
    params = rgrl.init(jax.random.key(0), config).params
    built = algo.parts(config)
    _, codec, model = built
    obs = jax.random.uniform(jax.random.key(1), (2, 4), minval=-0.2, maxval=0.2)
    present = jax.vmap(codec.encode_state, in_axes=(0, None))(obs, jnp.bool_(False))
    history = rgrl.History(jnp.zeros((2, 0, codec.state_size)), jnp.zeros((2, 0, codec.action_size)))
    key, size = jax.random.key(2), codec.action_size
    played = rgrl.rollout(key, built.spec, lambda k, v: (jnp.zeros((1, 2), jnp.int32), {}, ()), num_envs=2)
    view = View(played.replace(obs=played.obs.at[0].set(obs)), jnp.int32(0), None, ())
    out, _ = plan_rows(key, params, view, config, jnp.float32(0), built)
    chosen = out.plan
    noise_key, _ = jax.random.split(key)
    noise = np.asarray(jax.random.uniform(noise_key, (1, 2, 4, 4, size), minval=-1, maxval=1))[0]
    starts = np.tanh(noise * np.array([0.0, 1.0, 1.0, 1.0])[:, None, None])
    for n in range(2):
        scores = np.zeros((4, 3))
        for p, e in np.ndindex(4, 3):
            member = jax.tree.map(lambda x, e=e: x[e], params)
            memory = model.remember(member, jax.tree.map(lambda x, n=n: x[n], history))
            reward = np.asarray(model.apply(member, memory, present[n], jnp.asarray(starts[n, p])).reward)
            scores[p, e] = np.square(reward - 1.0).mean(-1).sum()
        np.testing.assert_allclose(chosen[n], starts[n, scores.mean(1).argmin()], rtol=1e-5, atol=1e-6)
