"""Teams of units in whole runs: learning within an episode, every rule, the config, presets and the command line."""

import csv
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import assert_same, register_hosted, says

import rgrl_jax as rgrl
from rgrl_jax.algos import unit_teams
from rgrl_jax.algos.config import explain
from rgrl_jax.algos.unit_teams import algorithm, network
from rgrl_jax.algos.unit_teams.learner import learn_step
from rgrl_jax.algos.unit_teams.parts import actor_design, critic_design, env_action, features
from rgrl_jax.envs import registry
from rgrl_jax.experiment import cli

RULES = ("reinforce", "map_prop", "weight_max", "weight_max_traces", "ste", "backprop")
SMALL = {"hidden": (5, 4), "max_steps": 6, "episodes": 2, "relaxation_steps": 3}
KEY = jax.random.key(0)


def small(rule="weight_max_traces", env_id="CartPole-v1", **overrides):
    """The preset of an environment, cut down."""
    return rgrl.preset(env_id, algo=rule, **(SMALL | overrides))


TRAIN = jax.jit(rgrl.train)


# A run, against a loop in NumPy.


class Twin:
    """An actor-critic with weight maximisation or straight-through backpropagation, one number after the other."""

    def __init__(self, config, state):
        self.config, self.updates = config, 0
        self.nets = {name: [np.asarray(w, np.float64) for w in getattr(state, name).weights] for name in self.names}
        self.moments = {name: [[np.zeros_like(w), np.zeros_like(w)] for w in self.nets[name]] for name in self.names}

    names = ("actor", "critic")

    def begin(self):
        """A new episode."""
        self.traces = {name: [np.zeros_like(w) for w in self.nets[name]] for name in self.names}
        self.rewards = [np.zeros(n) for n in self.config.hidden]

    def decide(self, u, x):
        """Draws actor and critic; returns what they drew and the value."""
        actor, h, z = self.nets["actor"], [x], []
        for i, w in enumerate(actor):
            z.append(h[-1] @ w[:-1] + w[-1])
            if i < 2:
                mine, u = u[: len(z[-1])], u[len(z[-1]) :]
                h.append((mine < 1 / (1 + np.exp(-z[-1]))).astype(float))
        score = np.append(z[-1], 0.0)
        h.append(np.eye(len(score))[(score - np.log(-np.log(u))).argmax()])
        g, y = [x], []
        for i, w in enumerate(self.nets["critic"]):
            y.append(g[-1] @ w[:-1] + w[-1])
            g.append(np.log1p(np.exp(y[-1])) if i < 2 else y[-1])
        return (h, z), (g, y), float(g[-1][0])

    def learn(self, signal):
        """From the step before."""
        config = self.config
        reward = np.full(self.nets["actor"][-1].shape[1], signal)
        told = list(self.rewards)
        for i in (2, 1, 0):
            mine = told[i] if config.delay and i < 2 else reward
            if config.rule == "ste":
                mine = signal
            change = self.traces["actor"][i] * mine
            self.ascend("actor", i, change, config.actor_rate, config.actor_rate_end)
            reward = (2 * self.nets["actor"][i][:-1] * change[:-1]).sum(axis=1)
            if i:
                self.rewards[i - 1] = reward
            self.ascend("critic", i, self.traces["critic"][i] * signal, config.critic_rate, config.critic_rate_end)
        self.updates += 1

    def ascend(self, name, i, gradient, start, end):
        """Adam."""
        rate = start[i] + (end[i] - start[i]) * min(self.updates / self.config.rate_steps, 1)
        pair, t = self.moments[name][i], self.updates + 1
        pair[0] = 0.9 * pair[0] + 0.1 * gradient
        pair[1] = 0.999 * pair[1] + 0.001 * gradient**2
        m, v = pair[0] / (1 - 0.9**t), pair[1] / (1 - 0.999**t)
        self.nets[name][i] = self.nets[name][i] + rate * m / (np.sqrt(v) + self.config.adam_epsilon)

    def hold_responsible(self, acted, judged):
        """Traces."""
        (h, z), (g, y), config = acted, judged, self.config
        p = [1 / (1 + np.exp(-x)) for x in z[:2]]
        top = np.exp(np.append(z[2], 0.0))
        e = [h[1] - p[0], h[2] - p[1], (h[3] - top / top.sum())[:-1]]
        if config.rule == "ste":
            for i in (1, 0):
                e[i] = p[i] * (1 - p[i]) * (self.nets["actor"][i + 1][:-1] @ e[i + 1])
        d = [None, None, np.ones(1)]
        for i in (1, 0):
            d[i] = (self.nets["critic"][i + 1][:-1] @ d[i + 1]) / (1 + np.exp(-y[i]))
        for name, below, own, decay in (
            ("actor", h, e, config.actor_trace),
            ("critic", g, d, config.critic_trace),
        ):
            for i in range(3):
                new = np.outer(np.append(below[i], 1.0), own[i])
                self.traces[name][i] = config.discount * decay * self.traces[name][i] + new


@pytest.mark.parametrize(
    "overrides", [{}, {"delay": True}, {"rule": "ste"}], ids=["weight_max_traces", "delay", "ste"]
)
def test_a_run_is_a_loop_in_numpy(overrides):
    """Two episodes of CartPole, step by step in float64 with the same random numbers: returns and all weights."""
    config = small(max_steps=9, **overrides)
    spec, state = config.spec, rgrl.init(KEY, config)
    after, metrics = TRAIN(KEY, config)
    twin, step = Twin(config, state), jax.jit(spec.step)
    designs = (actor_design(config), critic_design(config))
    needed = sum(
        network.num_draws(getattr(state, name).weights, d) for name, d in zip(twin.names, designs, strict=True)
    )
    for episode in range(2):
        reset_key, env_key, policy_key = jax.random.split(jax.random.fold_in(state.key, episode), 3)
        obs, env_state = spec.reset(jax.random.split(reset_key, 1)[0])
        env_key = jax.random.split(env_key, 1)[0]
        twin.begin()
        total, ended, before, t = 0.0, False, None, 0
        while not ended:
            u = np.asarray(network.draw_uniform(jax.random.fold_in(policy_key, t), (1, needed)), np.float64)[0]
            acted, judged, value = twin.decide(u, np.asarray(obs, np.float64))
            if before is not None:
                twin.learn(float(reward) + config.discount * value - before)  # noqa: F821
            twin.hold_responsible(acted, judged)
            action = jnp.int32(acted[0][-1].argmax())
            obs, env_state, reward, terminated, truncated = step(jax.random.fold_in(env_key, t), env_state, action)
            total, before, t, ended = total + float(reward), value, t + 1, bool(terminated | truncated)
        twin.learn(0.0 if truncated else float(reward) - before)
        assert float(metrics.episode_return[episode]) == total
    for name in twin.names:
        for found, expected in zip(getattr(after, name).weights, twin.nets[name], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert int(after.updates) == twin.updates == int(metrics.env_steps[-1])


def learner_at(config, t, length, terminated, truncated, rewards, seed=0):
    """A learner with random traces, and episodes of ``N`` environments at row ``t``."""
    n, rows = len(length), config.spec.max_steps + 1
    state = rgrl.init(jax.random.key(seed), config)
    learner = algorithm.begin_episode(state, config.replace(num_envs=n))
    keys = iter(jax.random.split(jax.random.key(seed + 1), 20))
    fill = lambda x: jax.random.normal(next(keys), x.shape)  # noqa: E731
    learner = learner.replace(
        actor_traces=jax.tree.map(fill, learner.actor_traces),
        critic_traces=jax.tree.map(fill, learner.critic_traces),
        value=jnp.linspace(0.5, 1.5, n),
    )
    episode = rgrl.Episode(
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
    """How the critic's top layer changes by plain ascent, and the trace of the first environment."""
    config = config.replace(optimizer="ascent", critic_rate=(1.0,) * 3, critic_rate_end=(1.0,) * 3)
    learner, episode = learner_at(config, t, length, terminated, truncated, rewards)
    config = config.replace(num_envs=len(length))
    after = learn_step(learner, episode, jnp.int32(t), jnp.asarray(value), config)
    return np.asarray(after.critic.weights[-1] - learner.critic.weights[-1]), learner, after


def test_the_td_error():
    """``r + discount V(s') - V(s)`` times the trace; V(s) = 0.5 by `learner_at`."""
    change, learner, after = change_of_critic(small(discount=0.9))
    np.testing.assert_allclose(change, (2.0 + 0.9 * 4.0 - 0.5) * learner.critic_traces[-1][0], rtol=1e-4)
    assert int(after.updates) == 1
    assert float(after.error) == pytest.approx((2.0 + 0.9 * 4.0 - 0.5) ** 2, rel=1e-5)


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


# All rules.


def finite(tree):
    return all(np.isfinite(x).all() for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating))


@pytest.mark.parametrize(
    "rule, env_id, overrides",
    [
        ("reinforce", "MountainCarContinuous-v0", {"units": "gaussian"}),
        ("map_prop", "CartPole-v1", {}),
        ("map_prop", "Pendulum-v1", {"units": "bernoulli", "critic": "backprop", "optimizer": "ascent"}),
        ("weight_max", "Catch-bsuite", {"num_envs": 3}),
        ("backprop", "FrozenLake-misc", {"hidden": (4,), "units": "softplus"}),
    ],
)
def test_every_rule_learns(rule, env_id, overrides):
    """Two seeds side by side on environments of all kinds: numbers are finite, and every layer of both nets moves."""
    if overrides.get("hidden") == (4,):
        names = ("temperature", "actor_variance", "critic_variance")
        names += ("actor_rate", "actor_rate_end", "critic_rate", "critic_rate_end")
        overrides = overrides | dict.fromkeys(names, (0.5, 0.5))
    config = small(rule, env_id, **overrides)
    keys = jax.random.split(KEY, 2)
    before = jax.vmap(rgrl.init, in_axes=(0, None))(keys, config)
    after, metrics = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    assert finite(after) and finite(metrics)
    assert np.all(np.asarray(after.env_steps) == np.asarray(metrics.episode_length).sum(axis=1) * config.num_envs)
    assert np.asarray(metrics.episode).tolist() == [[1, 2]] * 2
    for net in ("actor", "critic"):
        for old, new in zip(getattr(before, net).weights, getattr(after, net).weights, strict=True):
            assert np.all(np.abs(new - old).max(axis=(1, 2)) > 0)


def test_the_tasks_of_one_step_are_learnt_in_batches_and_rows():
    """With targets: rows of three rounds of four environments; the error is that of the output's mean."""
    config = small("map_prop", "ScalarRegression", num_envs=4, episodes_per_row=3, max_steps=None)
    state, metrics = TRAIN(KEY, config)
    assert np.asarray(metrics.env_steps).tolist() == [12, 24] and int(state.updates) == 6
    assert np.all(metrics.episode_length == 1) and np.all(metrics.terminated)
    assert finite(state) and finite(metrics)
    assert state.critic == ()


@pytest.mark.exact
@pytest.mark.parametrize("rule", ["weight_max_traces", "map_prop"])
def test_seeds_side_by_side_are_single_runs_and_so_are_parts(rule):
    """vmap = loop up to rounding; one episode and then two, on from the state, is three, bit for bit."""
    config = small(rule, episodes=3)
    whole = TRAIN(KEY, config)
    state, first = jax.jit(lambda key, config: rgrl.train(key, config, num_episodes=1))(KEY, config)
    state, rest = jax.jit(lambda state, config: rgrl.train(None, config, state, 2))(state, config)
    assert_same(state, whole[0])
    assert_same(jax.tree.map(lambda *x: jnp.concatenate(x), first, rest), whole[1])
    keys = jnp.stack([KEY, jax.random.key(1)])
    many = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    for x, y in zip(jax.tree.leaves(many[1]), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(x[0], y, rtol=1e-3)


def test_a_grid_of_settings_is_one_program():
    """A float, and a tuple of floats of each layer, mapped; the same as one by one."""
    config = small(episodes=1)
    grid = config.replace(
        discount=jnp.array([0.5, 0.98]), actor_rate=tuple(jnp.array([x, 2 * x]) for x in (0.1, 0.2, 0.3))
    )
    axes = grid.axes("discount", "actor_rate")
    states, _ = jax.jit(jax.vmap(rgrl.train, in_axes=(None, axes)))(KEY, grid)
    alone, _ = TRAIN(KEY, config.replace(discount=0.98, actor_rate=(0.2, 0.4, 0.6)))
    for many, one in zip(states.actor.weights, alone.actor.weights, strict=True):
        np.testing.assert_allclose(many[1], one, rtol=1e-3, atol=1e-5)


def test_frozen_agents_play_and_stay_as_they_are():
    config = small()
    state = rgrl.init(KEY, config)
    episode = jax.jit(rgrl.play, static_argnums=3)(KEY, state, config, 5)
    assert episode.length.shape == (5,) and np.all(episode.length >= 1)
    assert np.asarray(episode.episode_return).tolist() == np.asarray(episode.length).tolist()
    actions = np.asarray(episode.action)[:6][np.arange(6)[:, None] < np.asarray(episode.length)]
    assert set(actions) == {0, 1}  # its units go on drawing


def test_an_environment_on_the_host_teaches_the_same(monkeypatch):
    """Two environments side by side, stepped there, against the compiled program."""
    register_hosted(monkeypatch, "CartPole-v1", 6)
    config = small(num_envs=2)
    state, metrics = TRAIN(KEY, config)
    found, rows = rgrl.run(KEY, config.replace(env_id="Hosted"))
    np.testing.assert_array_equal(rows.episode_return, metrics.episode_return)
    for x, y in zip(jax.tree.leaves(found.actor), jax.tree.leaves(state.actor), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError) as error:
        config.replace(env_id="Hosted", episodes_per_row=2).validate()
    says(error, "episodes_per_row = 2", "host")
    registry._cached_spec.cache_clear()


# Inputs and outputs.


def test_observations_and_actions_of_all_kinds():
    lake, catch = rgrl.make_spec("FrozenLake-misc"), rgrl.make_spec("Catch-bsuite")
    np.testing.assert_array_equal(features(jnp.int32(3), lake), np.eye(16)[3])
    board = np.zeros((10, 5), bool)
    board[2, 3] = True
    np.testing.assert_array_equal(features(jnp.asarray(board), catch), board.ravel().astype(np.float32))
    assert int(env_action(jnp.array([0.0, 1.0, 0.0]), catch, small(env_id="Catch-bsuite"))) == 1


@pytest.mark.parametrize("output, force", [(0.0, 1.0), (-0.5, 0.0), (-0.9, -0.8), (-3.0, -1.0), (0.4, 1.0)])
def test_continuous_outputs_become_actions_as_coded(output, force):
    """The reference's map of MountainCarContinuous, ``clip(2 a + 1, -1, 1)``."""
    config = rgrl.preset("MountainCarContinuous-gymnasium", "paper", algo="map_prop")
    assert float(env_action(jnp.array([output]), config.spec, config)) == pytest.approx(force)


# The config.

BAD = [
    ({"units": "gaussian"}, ["units = 'gaussian'", "weight_max_traces", "on or off", "bernoulli"]),
    ({"rule": "ste", "units": "relu"}, ["units = 'relu'", "'ste'", "bernoulli"]),
    ({"rule": "backprop"}, ["units = 'bernoulli'", "'backprop'", "relu or softplus"]),
    ({"rule": "map_prop", "units": "softplus"}, ["'softplus'", "map_prop", "gaussian or bernoulli"]),
    ({"rule": "reinforce", "units": "relu"}, ["'relu'", "eligibility", "bernoulli or gaussian"]),
    ({"rule": "weight_max"}, ["actor_trace = 0.7", "weight_max_traces"]),
    ({"rule": "reinforce", "delay": True}, ["delay = True", "weight_max_traces", "'reinforce'"]),
    ({"rule": "weightmax"}, ["rule = 'weightmax'", "weight_max"]),
    ({"temperature": (1.0, 0.0, 1.0)}, ["temperature[1] = 0.0", "at least 0.001"]),
    ({"actor_variance": (0.1, 0.1, -0.1)}, ["actor_variance[2] = -0.1"]),
    ({"critic_variance": (0.1, 0.1)}, ["critic_variance = (0.1, 0.1)", "3 entries", "2 hidden layers"]),
    ({"actor_rate": (0.1, float("nan"), 0.1)}, ["actor_rate[1] = nan", "finite"]),
    ({"actor_rate": 0.1}, ["actor_rate = 0.1", "tuple"]),
    ({"critic_rate_end": (0.1, -0.1, 0.1)}, ["critic_rate_end[1] = -0.1"]),
    ({"hidden": (5, 0)}, ["hidden[1] = 0", "at least 1"]),
    ({"hidden": (5, 2.5)}, ["hidden[1] = 2.5", "integer"]),
    ({"hidden": (5,)}, ["temperature", "2 entries", "1 hidden layers"]),
    ({"discount": 1.5}, ["discount = 1.5", "0..1"]),
    ({"norm": 0.5}, ["norm = 0.5", "1..10"]),
    ({"signal": "target"}, ["signal = 'target'", "map_prop", "continuous"]),
    ({"env_id": "Cartpole"}, ["'Cartpole'", "CartPole-v1"]),
]


@pytest.mark.parametrize("overrides, parts", BAD, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_bad_settings_meet_one_sentence(overrides, parts):
    with pytest.raises(ValueError) as error:
        small().replace(**overrides).validate()
    says(error, *parts)


def test_targets_need_an_environment_that_keeps_one():
    config = small("map_prop", "ScalarRegression", max_steps=None)
    for env_id in ("Pendulum-v1", "MountainCarContinuous-v0"):
        with pytest.raises(ValueError) as error:
            config.replace(env_id=env_id).validate()
        says(error, "signal = 'target'", env_id)


def test_every_setting_explains_itself():
    settings = {x.name: x for x in explain(rgrl.UnitTeamConfig)}
    assert list(settings) == [field.name for field in dataclasses.fields(rgrl.UnitTeamConfig)]
    assert settings["hidden"].allowed == "of each layer, integer, at least 1"
    assert settings["actor_rate"].allowed == "of each layer, at least 0"


def test_a_changed_rate_does_not_compile_again():
    """Tuples of floats are leaves; sizes are part of the structure."""
    config = small()
    same = jax.tree.structure(config.replace(actor_rate=(0.5, 0.5, 0.5), discount=0.1))
    assert jax.tree.structure(config) == same
    assert jax.tree.structure(config) != jax.tree.structure(config.replace(hidden=(5, 6)))
    hash(same)


def test_cost_by_hand():
    """CartPole, 5 and 4 hidden units: actor 5*5 + 6*4 + 5*1 (the last logit is 0), critic the same."""
    cost = small(num_envs=2, episodes_per_row=3).describe()
    assert cost.parameters == 2 * (25 + 24 + 5)
    assert (cost.episodes, cost.max_env_steps, cost.updates, cost.plans) == (2, 2 * 3 * 6 * 2, 2 * 3 * 6, 0)
    assert cost.state_bytes == 3 * 4 * cost.parameters + 8 + 3 * 4
    assert "CartPole-v1" in str(cost)
    assert small("map_prop").describe().learn_flops > small("map_prop", relaxation_steps=0).describe().learn_flops


# Presets.


@pytest.mark.parametrize("rule", RULES)
def test_presets_are_valid(rule):
    """All of them, those of other environments, and their costs can be counted."""
    for name, envs in rgrl.list_presets(rule).items():
        for env_id in [env for env in envs if ":" not in env] + (["MountainCar-v0"] if name == "tuned" else []):
            config = rgrl.preset(env_id, name, algo=rule)
            assert (config.rule, config.env_id) == (rule, env_id)
            assert config.describe().parameters > 0
    assert set(unit_teams.PRESETS) == set(RULES) <= set(rgrl.list_algorithms())


PUBLISHED = {
    ("weight_max", "CartPole-v1"): (1000, 0.0, 0.8, (0.02, 2e-4, 2e-5), (2e-4, 2e-6, 2e-7), 50_000, (1, 1, 1)),
    ("weight_max", "Acrobot-v1"): (1000, 0.0, 0.8, (0.1, 1e-3, 1e-4), (0.01, 1e-4, 1e-5), 1e6, (1, 1, 1)),
    ("weight_max_traces", "CartPole-v1"): (1000, 0.8, 0.8, (0.02, 2e-4, 2e-5), (2e-4, 2e-6, 2e-7), 50_000, (1, 1, 1)),
    ("weight_max_traces", "Acrobot-v1"): (1000, 0.8, 0.8, (0.1, 1e-3, 1e-4), (0.01, 1e-4, 1e-5), 1e6, (1, 1, 1)),
    ("map_prop", "CartPole-v1"): (1000, 0.95, 0.95, (0.01, 1e-5, 1e-6), (1e-3, 1e-6, 1e-8), 50_000, (1, 1, 2)),
    ("map_prop", "Acrobot-v1"): (500, 0.97, 0.97, (0.01, 1e-5, 1e-6), (1e-3, 1e-6, 1e-8), 100_000, (1, 1, 4)),
}


@pytest.mark.parametrize("rule, env_id", PUBLISHED)
def test_published_settings(rule, env_id):
    config = rgrl.preset(env_id, "paper", algo=rule)
    found = (config.episodes, config.actor_trace, config.critic_trace, config.actor_rate, config.actor_rate_end)
    assert (*found, config.rate_steps, config.temperature) == PUBLISHED[rule, env_id]
    assert (config.hidden, config.discount, config.num_envs) == ((64, 32), 0.98, 1)
    assert config.last_logit == ("learned" if rule == "map_prop" else "zero")


def test_budgets_of_the_tasks_of_one_step():
    """800,000, 4 million and about 1 million answers."""
    multiplexer = rgrl.preset("Multiplexer-4", "paper", algo="weight_max")
    assert multiplexer.describe().max_env_steps == 800_000
    assert rgrl.preset("Multiplexer-5", "paper", algo="map_prop").describe().max_env_steps == 4_000_000
    regression = rgrl.preset("ScalarRegression", "paper", algo="map_prop").describe()
    assert regression.max_env_steps == pytest.approx(1e6, rel=0.01)


def test_presets_that_do_not_exist():
    with pytest.raises(ValueError) as error:
        rgrl.preset("Pendulum-v1", "paper", algo="weight_max")
    says(error, "Pendulum-v1", "'paper'", "CartPole-v1")
    with pytest.raises(ValueError) as error:
        rgrl.preset("CartPole-v1", "paper", algo="ste")
    says(error, "'paper'", "ste")
    with pytest.raises(ValueError) as error:
        rgrl.preset("CartPole-v1", algo="weight_maximum")
    says(error, "'weight_maximum'", "weight_max")
    with pytest.raises(ValueError) as error:
        rgrl.preset("CartPole-v1", algo="ste", horizon=3)
    says(error, "UnitTeamConfig", "'horizon'")


# The command line.


def test_commands(tmp_path, capsys):
    """A run is trained, its folder holds what was asked, and evaluate, resume and plot go on from there."""
    folder = str(tmp_path / "run")
    words = [
        "train",
        "CartPole-v1",
        "--algo",
        "map_prop",
        "--hidden",
        "5",
        "4",
        "--max-steps",
        "6",
        "--episodes",
        "2",
    ]
    words += ["--relaxation-steps", "2", "--actor-rate", "0.1", "0.2", "0.3", "--out", folder, "--eval-episodes", "3"]
    assert cli.main([*words, "--no-early-stop", "--json", "--chunk", "2"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["algo"], answer["episodes"], answer["evaluation"]["episodes"]) == ("map_prop", 2, 3)
    config, state, meta = rgrl.load_run(folder)
    assert meta["algo"] == "map_prop"
    expected = rgrl.preset(
        "CartPole-v1",
        algo="map_prop",
        hidden=(5, 4),
        max_steps=6,
        episodes=2,
        relaxation_steps=2,
        actor_rate=(0.1, 0.2, 0.3),
    )
    assert config == expected
    assert cli.main(["evaluate", folder, "--episodes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained_episodes"] == 2
    assert cli.main(["resume", folder, "--episodes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 4
    assert cli.main(["plot", folder, "--json"]) == 0
    with open(f"{folder}/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["episode"] for row in rows] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("rule", RULES)
def test_every_field_is_a_flag(rule):
    """With the preset's value as default; the rule itself is ``--algo``."""
    command = cli.parse(["train", "CartPole-v1", "--algo", rule, "--discount", "0.5"])
    expected = rgrl.preset("CartPole-v1", algo=rule, discount=0.5)
    for field in dataclasses.fields(expected):
        if field.name not in ("env_id", "rule"):
            assert getattr(command, field.name) == getattr(expected, field.name)
    assert (command.algo, hasattr(command, "rule")) == (rule, False)


def test_bad_flags(capsys):
    """One line on standard error."""
    assert cli.main(["train", "CartPole-v1", "--algo", "weight_max", "--units", "gaussian"]) == 2
    message = capsys.readouterr().err
    assert "units = 'gaussian'" in message and message.count("\n") == 1
