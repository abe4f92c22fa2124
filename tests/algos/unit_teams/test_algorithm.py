"""Unit teams in whole runs: a loop in NumPy, every algorithm, rows of episodes, cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rgrl_jax import training
from rgrl_jax.algos.presets import preset
from rgrl_jax.algos.unit_teams import algorithm
from rgrl_jax.algos.unit_teams.build import build
from rgrl_jax.algos.unit_teams.network import draw_uniform
from rgrl_jax.rollout import rollout

KEY = jax.random.key(0)
TRAIN, INIT = jax.jit(training.train), jax.jit(training.init)


def small(algo="weight_max_traces", env_id="CartPole-v1", **overrides):
    """The preset of an environment, cut down."""
    return preset(
        env_id, algo=algo, **({"hidden": (5, 4), "max_steps": 6, "episodes": 2, "map_steps": 3} | overrides)
    )


class Twin:
    """An actor-critic with weight maximization or the straight-through estimator, one number after the other."""

    names = ("actor", "critic")

    def __init__(self, config, state):
        self.config, self.updates, self.signals = config, 0, []
        self.nets = {name: [np.asarray(w, np.float64) for w in getattr(state, name).weights] for name in self.names}
        self.moments = {name: [[np.zeros_like(w), np.zeros_like(w)] for w in self.nets[name]] for name in self.names}

    def begin(self):
        """A new episode."""
        self.traces = {name: [np.zeros_like(w) for w in self.nets[name]] for name in self.names}
        self.rewards = [np.zeros(n) for n in self.config.hidden]

    def decide(self, u, x):
        """Draws actor and critic; returns both passes and the value."""
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
        self.signals.append(signal)
        reward = np.full(self.nets["actor"][-1].shape[1], signal)
        before = list(self.rewards)
        for i in (2, 1, 0):
            mine = before[i] if config.delayed_unit_rewards and i < 2 else reward
            if config.algorithm == "ste":
                mine = signal
            change = self.traces["actor"][i] * mine
            self.apply_update("actor", i, change, config.actor_lr, config.actor_lr_end)
            reward = (2 * self.nets["actor"][i][:-1] * change[:-1]).sum(axis=1)
            if i:
                self.rewards[i - 1] = reward
            self.apply_update("critic", i, self.traces["critic"][i] * signal, config.critic_lr, config.critic_lr_end)
        self.updates += 1

    def apply_update(self, name, i, gradient, start, end):
        """Adam."""
        rate = start[i] + (end[i] - start[i]) * min(self.updates / self.config.lr_decay_steps, 1)
        pair, t = self.moments[name][i], self.updates + 1
        pair[0] = 0.9 * pair[0] + 0.1 * gradient
        pair[1] = 0.999 * pair[1] + 0.001 * gradient**2
        m, v = pair[0] / (1 - 0.9**t), pair[1] / (1 - 0.999**t)
        self.nets[name][i] = self.nets[name][i] + rate * m / (np.sqrt(v) + self.config.adam_eps)

    def update_traces(self, actor_pass, critic_pass):
        """Adds the eligibilities of a decision."""
        (h, z), (g, y), config = actor_pass, critic_pass, self.config
        p = [1 / (1 + np.exp(-x)) for x in z[:2]]
        top = np.exp(np.append(z[2], 0.0))
        e = [h[1] - p[0], h[2] - p[1], (h[3] - top / top.sum())[:-1]]
        if config.algorithm == "ste":
            for i in (1, 0):
                e[i] = p[i] * (1 - p[i]) * (self.nets["actor"][i + 1][:-1] @ e[i + 1])
        d = [None, None, np.ones(1)]
        for i in (1, 0):
            d[i] = (self.nets["critic"][i + 1][:-1] @ d[i + 1]) / (1 + np.exp(-y[i]))
        for name, below, own, decay in (("actor", h, e, config.actor_lambda), ("critic", g, d, config.critic_lambda)):
            for i in range(3):
                new = np.outer(np.append(below[i], 1.0), own[i])
                self.traces[name][i] = config.discount * decay * self.traces[name][i] + new


@pytest.mark.parametrize(
    "overrides",
    [{}, {"delayed_unit_rewards": True}, {"algorithm": "ste"}],
    ids=["weight_max_traces", "delayed", "ste"],
)
def test_a_run_is_a_loop_in_numpy(overrides):
    """Two episodes of CartPole, step by step in float64 with the same random numbers: returns and all weights."""
    config = small(max_steps=9, **overrides)
    spec, state = config.spec, INIT(KEY, config)
    after, metrics = TRAIN(KEY, config)
    twin, step = Twin(config, state), jax.jit(spec.step)
    draws = build(config).actor.num_draws
    for episode in range(2):
        reset_key, env_key, policy_key = jax.random.split(jax.random.fold_in(state.key, episode), 3)
        obs, env_state = spec.reset(jax.random.split(reset_key, 1)[0])
        env_key = jax.random.split(env_key, 1)[0]
        twin.begin()
        total, ended, reward, before, t = 0.0, False, 0.0, None, 0
        while not ended:
            u = np.asarray(draw_uniform(jax.random.fold_in(policy_key, t), (1, draws)), np.float64)[0]
            actor_pass, critic_pass, value = twin.decide(u, np.asarray(obs, np.float64))
            if before is not None:
                twin.learn(float(reward) + config.discount * value - before)
            twin.update_traces(actor_pass, critic_pass)
            action = jnp.int32(actor_pass[0][-1].argmax())
            obs, env_state, reward, terminated, truncated = step(jax.random.fold_in(env_key, t), env_state, action)
            total, before, t, ended = total + float(reward), value, t + 1, bool(terminated | truncated)
        twin.learn(0.0 if truncated else float(reward) - before)
        assert float(metrics.episode_return[episode]) == total
        assert float(metrics.model_loss[episode]) == pytest.approx(np.square(twin.signals[-t:]).mean(), rel=1e-3)
    for name in twin.names:
        for found, expected in zip(getattr(after, name).weights, twin.nets[name], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert int(after.updates) == twin.updates == int(metrics.env_steps[-1])


ONE_HIDDEN = {"hidden": (4,), "temperature": (0.5, 0.5), "actor_variance": (0.5, 0.5), "critic_variance": (0.5, 0.5)}
ONE_HIDDEN |= dict.fromkeys(("actor_lr", "actor_lr_end", "critic_lr", "critic_lr_end"), (0.5, 0.5))


@pytest.mark.parametrize(
    "algo, env_id, overrides",
    [
        ("reinforce", "MountainCarContinuous-v0", {"units": "gaussian"}),
        ("map_prop", "CartPole-v1", {}),
        ("map_prop", "Pendulum-v1", {"units": "bernoulli", "critic": "backprop", "optimizer": "sgd"}),
        ("weight_max", "Catch-bsuite", {"num_envs": 3}),
        ("backprop", "FrozenLake-misc", {"units": "softplus", **ONE_HIDDEN}),
    ],
)
def test_every_layer_of_every_algorithm_learns(algo, env_id, overrides):
    """On environments of all kinds: numbers are finite, and every layer of both networks moves."""
    config = small(algo, env_id, **overrides)
    before, (after, metrics) = INIT(KEY, config), TRAIN(KEY, config)
    leaves = [*jax.tree.leaves(after.actor), *jax.tree.leaves(after.critic), *jax.tree.leaves(metrics)]
    assert all(np.isfinite(x).all() for x in leaves)
    assert int(after.env_steps) == np.asarray(metrics.episode_length).sum() * config.num_envs
    for name in ("actor", "critic"):
        for old, new in zip(getattr(before, name).weights, getattr(after, name).weights, strict=True):
            assert np.abs(new - old).max() > 0


def test_rows_of_episodes():
    """With targets: a row is three rounds of four environments, keyed by their places, one after the other."""
    config = small("map_prop", "ScalarRegression", num_envs=4, episodes_per_row=3, max_steps=None)
    state, metrics = TRAIN(KEY, config)
    assert np.asarray(metrics.env_steps).tolist() == [12, 24] and int(state.updates) == 6
    assert np.asarray(metrics.episode).tolist() == [1, 2]
    assert np.all(metrics.episode_length == 1) and np.all(metrics.terminated) and state.critic is None

    @jax.jit
    def play(state):
        actor = algorithm.act(state, config)
        episode, learner = rollout(config.spec, actor)
        return actor.key, algorithm.learn(state, episode, learner, config)

    hand, returns, counts = INIT(KEY, config), [], []
    for row, i in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)):
        key, (hand, played) = play(hand)
        assert key == jax.random.fold_in(jax.random.fold_in(hand.key, row), i)
        returns.append(float(played.episode_return))
        counts.append((int(hand.episode), int(hand.episode_in_row)))
    assert counts == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    np.testing.assert_allclose(metrics.episode_return, np.reshape(returns, (2, 3)).mean(axis=1), rtol=1e-5)
    for x, y in zip(hand.actor.weights, state.actor.weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)


def test_a_row_of_one_episode_is_keyed_by_its_number_alone():
    config = small()
    state = INIT(KEY, config).replace(episode=jnp.int32(7))
    assert algorithm.act(state, config).key == jax.random.fold_in(state.key, 7)


def test_a_grid_of_settings_is_one_program():
    """A float, and a tuple of floats of each layer, mapped; the same as one by one."""
    config = small(episodes=1)
    grid = config.replace(
        discount=jnp.array([0.5, 0.98]), actor_lr=tuple(jnp.array([x, 2 * x]) for x in (0.1, 0.2, 0.3))
    )
    axes = grid.axes("discount", "actor_lr")
    states, _ = jax.jit(jax.vmap(training.train, in_axes=(None, axes)))(KEY, grid)
    alone, _ = TRAIN(KEY, config.replace(discount=0.98, actor_lr=(0.2, 0.4, 0.6)))
    for many, one in zip(states.actor.weights, alone.actor.weights, strict=True):
        np.testing.assert_allclose(many[1], one, rtol=1e-3, atol=1e-5)


def test_units_of_frozen_agents_go_on_drawing():
    config = small()
    episode = jax.jit(training.play, static_argnums=3)(KEY, INIT(KEY, config), config, 5)
    assert episode.length.shape == (5,) and np.all(episode.length >= 1)
    actions = np.asarray(episode.action)[:6][np.arange(6)[:, None] < np.asarray(episode.length)]
    assert set(actions) == {0, 1}


def test_cost_by_hand():
    """CartPole, 5 and 4 hidden units: actor 5*5 + 6*4 + 5*1 (the last logit is 0), critic the same."""
    cost = small(num_envs=2, episodes_per_row=3).describe()
    assert cost.parameters == 2 * (25 + 24 + 5)
    assert (cost.episodes, cost.max_env_steps, cost.updates) == (2, 2 * 3 * 6 * 2, 2 * 3 * 6)
    assert cost.learn_flops == 3 * 6 * 2 * 10 * cost.parameters
    assert cost.state_bytes == 3 * 4 * cost.parameters + 8 + 4 * 4
    assert small("map_prop").describe().learn_flops > small("map_prop", map_steps=0).describe().learn_flops
