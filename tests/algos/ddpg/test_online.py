"""Learning at every decision: a run against a plain loop, what is stored, noise, and the scale of observations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algos.ddpg.twins import double, small

import rgrl_jax as rgrl
from rgrl_jax.algos.ddpg import online
from rgrl_jax.algos.ddpg.agent import make_agent
from rgrl_jax.algos.ddpg.networks import actor_action
from rgrl_jax.normalization import init_statistics, to_env_action, update_statistics

KEY = jax.random.key(0)
TRAIN = jax.jit(rgrl.train)


@pytest.fixture(scope="module")
def ran():
    """State and metrics of a tiny run."""
    return TRAIN(KEY, small())


def test_a_run_is_a_plain_loop(ran):
    """Two episodes with a list for replay, step by step with the same random numbers: what is learnt, and when."""
    config, (after, metrics) = small(), ran
    state, spec, agent = jax.jit(rgrl.init)(KEY, config), config.spec, make_agent(config)
    networks, updates, known = state.networks, 0, []
    update, step, act = jax.jit(agent.update), jax.jit(spec.step), jax.jit(agent.act)
    see = lambda obs: online.normalize_obs(obs[None], (), "range", spec)  # noqa: E731

    def learn(key):
        sample_key, update_key = jax.random.split(jax.random.split(key, 1)[0])
        number = len(known) - 1 - np.asarray(jax.random.randint(sample_key, (4,), 0, min(len(known), 30)))
        drawn = jax.tree.map(lambda *x: jnp.stack(x), *[known[i] for i in number])
        return update(update_key, networks, online.make_batch(drawn, (), config))[0], updates + 1

    for episode in range(2):
        key = jax.random.fold_in(state.key, episode)
        reset_key, env_key, policy_key = jax.random.split(key, 3)
        obs, env_state = spec.reset(jax.random.split(reset_key, 1)[0])
        env_key, noise, total = jax.random.split(env_key, 1)[0], jnp.zeros((1, 1)), 0.0
        for t in range(6):
            learn_key, act_key = jax.random.split(jax.random.fold_in(policy_key, t))
            if len(known) >= config.warmup_steps:
                networks, updates = learn(learn_key)
            noise_key, _, random_key = jax.random.split(act_key, 3)
            noise = online.next_noise(noise_key, noise, config)
            action = jnp.clip(act(networks.actor.weights, see(obs), None)[0] + noise, -1, 1)[0]
            if len(known) < config.warmup_steps:
                action = jax.random.uniform(random_key, (1, 1), minval=-1.0, maxval=1.0)[0]
            force, before = to_env_action(action, spec.action), obs
            obs, env_state, reward, _, _ = step(jax.random.fold_in(env_key, t), env_state, force)
            known.append(online.Transition(before, force, reward, obs, jnp.bool_(False), ()))
            total += float(reward)
        assert float(metrics.episode_return[episode]) == pytest.approx(total, rel=1e-4)
    assert int(after.updates) == updates == 2 + 6  # none before 4 steps are there
    for found, expected in zip(jax.tree.leaves(after.networks), jax.tree.leaves(networks), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after.replay.items.reward[:12], [float(x.reward) for x in known], rtol=1e-4)
    assert np.asarray(metrics.info["replay_size"]).tolist() == [6, 12]


def test_environments_side_by_side_share_networks_and_replay():
    config = small(env_id="PointRobot-misc", num_envs=3, obs_normalization="running", updates_per_step=2)
    before, (after, metrics) = jax.jit(rgrl.init)(KEY, config), TRAIN(KEY, config)
    for old, new in zip(jax.tree.leaves(before.networks), jax.tree.leaves(after.networks), strict=True):
        assert np.any(old != new)
    assert np.asarray(metrics.env_steps).tolist() == [18, 36]
    assert int(after.replay.written) == 36 and int(metrics.info["replay_size"][-1]) == 30
    assert int(after.updates) == 2 * (12 - 2)  # none at the first two decisions, with 0 and 3 steps
    assert float(after.statistics.count) == 36  # every observation that was acted upon


def test_a_grid_of_settings_is_one_program():
    """Rates and noise, mapped; the same as one by one."""
    config = small()
    grid = config.replace(actor_lr=jnp.array([1e-3, 0.1]), noise_std=jnp.array([0.1, 0.5]))
    states, _ = jax.jit(jax.vmap(rgrl.train, in_axes=(None, grid.axes("actor_lr", "noise_std"))))(KEY, grid)
    alone, _ = TRAIN(KEY, config.replace(actor_lr=0.1, noise_std=0.5))
    for many, one in zip(states.networks.actor.weights, alone.networks.actor.weights, strict=True):
        np.testing.assert_allclose(many[1], one, rtol=1e-3, atol=1e-4)


def test_frozen_agents_play_without_noise(ran):
    config, (state, _) = small(), ran
    episode = jax.jit(rgrl.play, static_argnums=3)(KEY, state, config, 3)
    x = online.normalize_obs(episode.obs[2], (), "range", config.spec)
    action = actor_action(state.networks.actor.weights, x, "tanh")
    np.testing.assert_allclose(episode.action[2], 2.0 * action[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "bootstrap, expected", [("truncated", [0, 1, 1]), ("never", [0, 0, 1]), ("always", [1, 1, 1])]
)
def test_values_past_an_end(bootstrap, expected):
    """Three environments: ended, cut off, under way; all steps before the last count."""
    config = small(bootstrap=bootstrap, num_envs=3, reward_scale=0.5)
    episode = rgrl.Episode(
        obs=jnp.arange(21.0).reshape(7, 3, 1) * jnp.ones(3),
        action=jnp.full((7, 3), 1.0),
        reward=jnp.ones((7, 3)),
        length=jnp.array([2, 6, 3]),
        terminated=jnp.array([True, False, False]),
        truncated=jnp.array([False, True, False]),
        info=(),
    )
    steps = online.transitions(episode, (), bootstrap)
    batch = jax.vmap(lambda x: online.make_batch(x, (), config))(steps)
    assert [float(batch.bootstrap[n - 1, i]) for i, n in enumerate((2, 6, 3))] == expected
    assert np.all(batch.bootstrap[0] == 1)
    np.testing.assert_array_equal(steps.next_obs[0], episode.obs[1])
    np.testing.assert_array_equal(batch.action, 0.5)  # a torque of 1 in -2..2
    np.testing.assert_array_equal(batch.reward, 0.5)


@pytest.mark.parametrize("kind", ["gaussian", "ou", "none"])
def test_noise(kind):
    """Against a loop with the same normal numbers, and with the spread it should have."""
    config = small(noise=kind, noise_std=0.2, ou_theta=0.15)
    keys = jax.random.split(KEY, 3000)
    _, found = jax.lax.scan(lambda x, key: (online.next_noise(key, x, config),) * 2, jnp.zeros((1, 1)), keys)
    fresh = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (1, 1)))(keys), np.float64)
    x, expected = 0.0, []
    for xi in fresh.ravel():
        x = {"gaussian": 0.0, "ou": x - 0.15 * x, "none": 0.0}[kind] + (0.2 * xi if kind != "none" else 0.0)
        expected.append(x)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-3, atol=1e-5)
    spread = {"gaussian": 0.2, "ou": 0.2 / np.sqrt(1 - 0.85**2), "none": 0.0}[kind]
    assert np.std(found) == pytest.approx(spread, rel=0.1)


def test_scales_of_observations():
    """As they are, on the environment's ranges, or by the mean and deviation of all that was seen, clipped."""
    spec, obs = small().spec, jnp.array([[1.0, -1.0, 4.0], [0.5, 0.0, -2.0]])
    np.testing.assert_array_equal(online.normalize_obs(obs, (), "raw", spec), obs)
    np.testing.assert_allclose(online.normalize_obs(obs, (), "range", spec)[0], [1.0, -1.0, 0.5], rtol=1e-6)
    seen = 3 + 2 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    statistics = update_statistics(init_statistics(3), jnp.asarray(seen), jnp.ones(20, bool))
    found, seen = online.normalize_obs(obs, statistics, "running", spec), np.float64(seen)
    np.testing.assert_allclose(found, (double(obs) - seen.mean(axis=0)) / seen.std(axis=0), rtol=1e-2, atol=1e-3)
    blank = online.normalize_obs(obs, init_statistics(3), "running", spec)
    assert np.isfinite(blank).all() and np.abs(blank).max() == online.OBS_LIMIT


def test_cost_by_hand():
    """Pendulum: actor 4*5 + 6*4 + 5*1, critic 5*6 + 7*5 + 6*1."""
    cost = small(num_envs=2, updates_per_step=3).describe()
    assert cost.parameters == 20 + 24 + 5 + 30 + 35 + 6
    assert (cost.episodes, cost.max_env_steps, cost.updates) == (2, 2 * 6 * 2, 2 * 6 * 3)
    assert cost.learn_flops == 6 * 3 * 4 * 8 * 120
    replay = 30 * (4 * (3 + 1 + 1 + 3) + 1) + 4
    # weights, targets, two moments and their counts; key and three counters
    assert small().describe().state_bytes == 4 * (4 * 120 + 2) + replay + 8 + 3 * 4
    assert cost.extra == {"replay_bytes": replay}


@pytest.fixture
def number():
    """Registers an environment of one step, whose reward falls with the distance of the action from 0.5."""

    def step(key, state, action):
        reward = 1.0 - jnp.square(action - 0.5)
        return jnp.zeros(1), state, reward, jnp.bool_(True), jnp.bool_(False)

    spec = rgrl.EnvSpec(
        env_id="Number",
        reset=lambda key: (jnp.zeros(1), ()),
        step=step,
        observation=rgrl.Box(-1.0, 1.0, (1,)),
        action=rgrl.Box(-1.0, 1.0, ()),
        reward_range=(0.0, 1.0),
        max_steps=2,
        return_range=(0.0, 1.0),
    )
    rgrl.register_env("Number", lambda _: spec)
    yield
    rgrl.envs.unregister("Number")


@pytest.mark.usefixtures("number")
@pytest.mark.parametrize("algo", [pytest.param("ddpg", marks=pytest.mark.slow), "neuron_ddpg"])
def test_a_number_inside_the_range_is_found(algo):
    """An environment of one step whose best action is 0.5: both algorithms find it, on two seeds."""
    config = small(
        algo,
        "Number",
        episodes=400,
        hidden=(8,),
        critic_hidden=(16,),
        batch_size=32,
        warmup_steps=100,
        replay_capacity=400,
        reward_scale=1.0,
        updates_per_step=3,
        critic_lr=1e-2,
        noise="gaussian",
        final_init=3e-3,
        **({"neuron_hidden": (8,), "neuron_lr": 1e-2} if algo == "neuron_ddpg" else {}),
    )
    keys = jax.random.split(KEY, 2)
    states, metrics = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    evaluate = jax.jit(jax.vmap(lambda key, state: rgrl.evaluate(key, state, config, 20)))
    assert np.asarray(metrics.episode_return)[:, :100].mean() < 0.6
    assert np.asarray(evaluate(keys, states)).mean(axis=1).min() > 0.98
