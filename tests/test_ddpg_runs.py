"""DDPG and its decentralised sibling in whole runs: learning within an episode, the config, presets, command line."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_ddpg import IMPROVE, INIT, SMALL, batch_of, small
from test_probes import register_probes
from tiny import assert_same, register_hosted, says

import rgrl_jax as rgrl
from rgrl_jax.algos import ddpg
from rgrl_jax.algos.config import explain
from rgrl_jax.algos.ddpg import networks, parts, replay, update
from rgrl_jax.envs import registry
from rgrl_jax.experiment import cli

RULES = ("ddpg", "neuron_ddpg")
KEY = jax.random.key(0)
TRAIN = jax.jit(rgrl.train)


# A run, against a plain loop.


def test_a_run_is_a_plain_loop():
    """Two episodes with a list for replay, step by step with the same random numbers: what is learnt, and when."""
    config = small()
    state, (after, metrics) = jax.jit(rgrl.init)(KEY, config), ran()
    spec, design, nets, updates = config.spec, parts.actor_design(config), state.nets, 0
    improve, step, known = jax.jit(update.improve), jax.jit(spec.step), []
    fire = jax.jit(networks.fire, static_argnums=1)

    def study(key):
        draw_key, noise_key = jax.random.split(jax.random.split(key, 1)[0])
        number = len(known) - 1 - np.asarray(jax.random.randint(draw_key, (4,), 0, min(len(known), 30)))
        drawn = jax.tree.map(lambda *x: jnp.stack(x), *[known[i] for i in number])
        return improve(noise_key, nets, update.make_batch(drawn, (), config), config)[0], updates + 1

    for episode in range(2):
        key = jax.random.fold_in(state.key, episode)
        reset_key, env_key, policy_key = jax.random.split(key, 3)
        obs, env_state = spec.reset(jax.random.split(reset_key, 1)[0])
        env_key, noise, total = jax.random.split(env_key, 1)[0], jnp.zeros((1, 1)), 0.0
        for t in range(6):
            learn_key, act_key = jax.random.split(jax.random.fold_in(policy_key, t))
            if len(known) >= config.warmup_steps:
                nets, updates = study(learn_key)
            noise_key, _, random_key = jax.random.split(act_key, 3)
            noise = parts.step_noise(noise_key, noise, config)
            said = networks.action_of(fire(nets.actor.weights, design, parts.features(obs[None], (), config)), design)
            action = jnp.clip(said + noise, -1, 1)[0]
            if len(known) < config.warmup_steps:
                action = jax.random.uniform(random_key, (1, 1), minval=-1.0, maxval=1.0)[0]
            force, before = parts.env_action(action, spec), obs
            obs, env_state, reward, _, _ = step(jax.random.fold_in(env_key, t), env_state, force)
            known.append(replay.Steps(before, force, reward, obs, jnp.bool_(False), jnp.zeros(0)))
            total += float(reward)
        assert float(metrics.episode_return[episode]) == pytest.approx(total, rel=1e-4)
    assert int(after.updates) == updates == 2 + 6  # none before 4 steps are there
    for found, expected in zip(jax.tree.leaves(after.nets), jax.tree.leaves(nets), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after.ring.steps.reward[:12], [float(x.reward) for x in known], rtol=1e-4)
    assert np.asarray(metrics.windows).tolist() == [6, 12]


# All variants.


def finite(tree):
    return all(np.isfinite(x).all() for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating))


@functools.cache
def ran(*changes):
    """A tiny run with these settings."""
    return TRAIN(KEY, small(**dict(changes)))


@pytest.mark.parametrize(
    "overrides",
    [
        {"env_id": "PointRobot-misc", "num_envs": 3, "observation": "running", "compare": True},
        {
            "rule": "neuron_ddpg",
            "topology": "recurrent",
            "voltages": "stored",
            "voltage_noise": 0.2,
            "updates_per_step": 2,
        },
    ],
)
def test_every_variant_learns(overrides):
    """Numbers are finite, everything that learns moves, and steps and updates are counted."""
    config = small(**overrides)
    after, metrics = ran(*overrides.items())
    before = jax.jit(rgrl.init)(KEY, config)
    assert finite(after) and finite(metrics)
    for old, new in zip(jax.tree.leaves(before.nets), jax.tree.leaves(after.nets), strict=True):
        assert np.any(old != new)
    n = config.num_envs
    assert np.asarray(metrics.env_steps).tolist() == [6 * n, 12 * n]
    assert int(after.ring.written) == 12 * n
    assert int(after.updates) == config.updates_per_step * (12 - -(-config.warmup_steps // n))
    if config.voltages == "stored":
        said = np.asarray(after.ring.steps.voltages)[: 12 * n]
        assert said.shape[1] == sum(parts.said_sizes(parts.actor_design(config))) and np.all(said.std(axis=0) > 0)


def test_critics_beside_change_nothing():
    """The other rule's critics are trained and nobody listens to them."""
    pairs = []
    batch = batch_of(small())
    for config in (small(), small(compare=True)):
        pairs.append(IMPROVE(KEY, INIT(KEY, config), batch, config)[0].actor)
    for one, other in zip(*map(jax.tree.leaves, pairs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.exact
def test_seeds_side_by_side_are_single_runs_and_so_are_parts():
    """vmap = loop up to rounding; one episode and then two, on from the state, is three, bit for bit."""
    more = {"observation": "running", "voltages": "stored", "voltage_noise": 0.1, "compare": True}
    config = small("neuron_ddpg", episodes=3, **more)
    whole = TRAIN(KEY, config)
    state, first = jax.jit(lambda key, config: rgrl.train(key, config, num_episodes=1))(KEY, config)
    state, rest = jax.jit(lambda state, config: rgrl.train(None, config, state, 2))(state, config)
    assert_same(state, whole[0])
    assert_same(jax.tree.map(lambda *x: jnp.concatenate(x), first, rest), whole[1])
    keys = jnp.stack([KEY, jax.random.key(1)])
    many = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    for x, y in zip(jax.tree.leaves(many[1]), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(x[0], y, rtol=1e-3)


@pytest.mark.exact
def test_ddpg_goes_on_where_it_was():
    """One episode, and one more on from its state, are two, bit for bit."""
    config, (state, rows) = small(), (jax.jit(rgrl.init)(KEY, small()), [])
    once = jax.jit(lambda state, config: rgrl.train(None, config, state, 1))
    for _ in range(2):
        state, row = once(state, config)
        rows.append(row)
    assert_same(state, ran()[0])
    assert_same(jax.tree.map(lambda *x: jnp.concatenate(x), *rows), ran()[1])


def test_a_grid_of_settings_is_one_program():
    """Rates and noise, mapped; the same as one by one."""
    config = small()
    grid = config.replace(actor_rate=jnp.array([1e-3, 0.1]), noise_scale=jnp.array([0.1, 0.5]))
    states, _ = jax.jit(jax.vmap(rgrl.train, in_axes=(None, grid.axes("actor_rate", "noise_scale"))))(KEY, grid)
    alone, _ = TRAIN(KEY, config.replace(actor_rate=0.1, noise_scale=0.5))
    for many, one in zip(states.nets.actor.weights, alone.nets.actor.weights, strict=True):
        np.testing.assert_allclose(many[1], one, rtol=1e-3, atol=1e-4)


def test_frozen_agents_play_without_noise():
    config = small()
    state, _ = ran()
    episode = jax.jit(rgrl.play, static_argnums=3)(KEY, state, config, 3)
    x = parts.features(episode.obs[2], (), config)
    design = parts.actor_design(config)
    said = networks.action_of(networks.fire(state.nets.actor.weights, design, x), design)
    np.testing.assert_allclose(episode.action[2], 2.0 * said[:, 0], rtol=1e-4, atol=1e-5)


def test_an_environment_on_the_host_teaches_the_same(monkeypatch):
    """Stepped there, against the compiled program."""
    register_hosted(monkeypatch, "Pendulum-v1", 6)
    config, (state, metrics) = small(), ran()
    found, rows = rgrl.run(KEY, config.replace(env_id="Hosted"))
    np.testing.assert_allclose(rows.episode_return, metrics.episode_return, rtol=1e-4)
    for x, y in zip(jax.tree.leaves(found.nets), jax.tree.leaves(state.nets), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
    registry._cached_spec.cache_clear()


@pytest.mark.parametrize("rule", [pytest.param("ddpg", marks=pytest.mark.slow), "neuron_ddpg"])
def test_a_number_inside_the_range_is_found(rule):
    """A probe of one step whose best action is 0.5: both rules find it, on two seeds."""
    register_probes()
    config = rgrl.preset(
        "Probe-continuous",
        algo=rule,
        episodes=400,
        learners="all",
        hidden=(8,),
        critic_hidden=(16,),
        neuron_hidden=(8,),
        batch=32,
        warmup_steps=100,
        replay_capacity=400,
        reward_scale=1.0,
        updates_per_step=3,
        critic_rate=1e-2,
        neuron_rate=1e-2,
        noise_scale=0.3,
    )
    keys = jax.random.split(jax.random.key(0), 2)
    states, metrics = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    evaluate = jax.jit(jax.vmap(lambda key, state: rgrl.evaluate(key, state, config, 20)))
    assert np.asarray(metrics.episode_return)[:, :100].mean() < 0.6
    assert np.asarray(evaluate(keys, states)).mean(axis=1).min() > 0.98


# The config.

BAD = [
    ({"env_id": "CartPole-v1"}, ["'CartPole-v1'", "discrete", "continuous"]),
    ({"env_id": "Pendulum"}, ["'Pendulum'", "Pendulum-v1"]),
    ({"rule": "dpg"}, ["rule = 'dpg'", "ddpg", "neuron_ddpg"]),
    ({"replay_capacity": 5}, ["replay_capacity = 5", "at least 6", "max_steps"]),
    ({"num_envs": 6}, ["replay_capacity = 30", "at least 36", "num_envs"]),
    ({"rule": "neuron_ddpg", "hidden": ()}, ["hidden = ()"]),
    ({"hidden": (5, 0)}, ["hidden[1] = 0", "at least 1"]),
    ({"action_layer": 3}, ["action_layer = 3", "at most 2"]),
    ({"neuron_critic": "layer", "topology": "recurrent"}, ["neuron_critic = 'layer'", "feedforward"]),
    ({"neuron_critic": "quadratic"}, ["'quadratic'", "bilinear"]),
    ({"voltage_noise": 0.1}, ["voltage_noise = 0.1", "voltages = 'stored'"]),
    ({"rule": "neuron_ddpg", "neuron_aim": "whole"}, ["voltage_noise = 0.0", "above 0", "neuron_aim = 'whole'"]),
    ({"discount": 1.5}, ["discount = 1.5", "0..1"]),
    ({"target_rate": -0.1}, ["target_rate = -0.1", "0..1"]),
    ({"noise": "white"}, ["noise = 'white'", "gaussian, ou, none"]),
    ({"batch": 0}, ["batch = 0", "at least 1"]),
    ({"actor_rate": float("nan")}, ["actor_rate = nan", "finite"]),
]


@pytest.mark.parametrize("overrides, parts", BAD, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_bad_settings_meet_one_sentence(overrides, parts):
    with pytest.raises(ValueError) as error:
        small().replace(**overrides).validate()
    says(error, *parts)


def test_actions_need_bounds(monkeypatch):
    monkeypatch.setattr(registry, "_ENVS", dict(registry._ENVS))
    spec = rgrl.make_spec("Pendulum-v1", 6)
    free = dataclasses.replace(spec, action=rgrl.Box(-np.inf, np.inf, ()))
    rgrl.register_env("Unbounded", lambda limit: free)
    with pytest.raises(ValueError) as error:
        small(env_id="Unbounded")
    says(error, "'Unbounded'", "bounds")
    registry._cached_spec.cache_clear()


def test_every_setting_explains_itself():
    settings = explain(rgrl.DDPGConfig)
    assert [x.name for x in settings] == [field.name for field in dataclasses.fields(rgrl.DDPGConfig)]
    assert all(x.meaning for x in settings)


def test_a_changed_rate_does_not_compile_again():
    config = small()
    assert jax.tree.structure(config) == jax.tree.structure(config.replace(actor_rate=0.5, noise_scale=0.1))
    assert jax.tree.structure(config) != jax.tree.structure(config.replace(hidden=(5, 6)))


def test_cost_by_hand():
    """Pendulum: actor 4*5 + 6*4 + 5*1, critic 5*6 + 7*5 + 6*1; critics of neurons beside, a net of 3 units each."""
    cost = small(num_envs=2, updates_per_step=3).describe()
    assert cost.parameters == 20 + 24 + 5 + 30 + 35 + 6
    assert (cost.episodes, cost.max_env_steps, cost.updates, cost.plans) == (2, 2 * 6 * 2, 2 * 6 * 3, 0)
    nets = 5 * ((3 + 2) * 3 + 4) + 4 * ((5 + 2) * 3 + 4) + 1 * ((4 + 2) * 3 + 4)
    assert small(compare=True).describe().parameters == 120 + nets
    assert small("neuron_ddpg").describe().parameters == 49 + nets
    # weights, targets, two moments and their counts; rings of 30 steps; key and three counters
    assert small().describe().state_bytes == 4 * (4 * 120 + 2) + 30 * (4 * (3 + 1 + 1 + 3) + 1) + 4 + 8 + 3 * 4


# Presets and the command line.


@pytest.mark.parametrize("rule", RULES)
def test_presets_are_valid(rule):
    """All of them, those of other environments, and their costs can be counted."""
    for name, envs in rgrl.list_presets(rule).items():
        for env_id in list(envs) + (["gymnasium:Pendulum-v1"] if name == "tuned" else []):
            config = rgrl.preset(env_id, name, algo=rule)
            assert (config.rule, config.env_id) == (rule, env_id)
            assert config.describe().parameters > 0
    assert set(ddpg.PRESETS) == set(RULES) == set(ddpg.BASES) <= set(rgrl.list_algorithms())


def test_published_settings():
    config = rgrl.preset("Pendulum-v1", "paper", algo="ddpg")
    assert (config.hidden, config.critic_hidden, config.action_layer) == ((400, 300), (400, 300), 1)
    assert (config.actor_rate, config.critic_rate, config.target_rate, config.critic_decay) == (
        1e-4,
        1e-3,
        1e-3,
        1e-2,
    )
    assert (config.noise, config.noise_reversion, config.noise_scale, config.batch) == ("ou", 0.15, 0.2, 64)
    assert (config.discount, config.replay_capacity, config.final_init) == (0.99, 1_000_000, 3e-3)
    draft = rgrl.preset("Pendulum-v1", "paper", algo="neuron_ddpg")
    assert (draft.neuron_critic, draft.biases, draft.noise, draft.bootstrap) == ("linear", False, "none", "always")


def test_commands(tmp_path, capsys):
    """A run is trained, and its folder holds what was asked; what cannot be trained meets one line."""
    folder = str(tmp_path / "run")
    words = ["train", "Pendulum-v1", "--algo", "neuron_ddpg", "--out", folder, "--eval-episodes", "2", "--json"]
    for name, value in SMALL.items():
        entries = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, entries)]
    assert cli.main([*words, "--no-early-stop", "--chunk", "2"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["algo"], answer["episodes"], answer["evaluation"]["episodes"]) == ("neuron_ddpg", 2, 2)
    config, _, meta = rgrl.load_run(folder)
    assert (meta["algo"], config) == ("neuron_ddpg", small("neuron_ddpg"))
    assert cli.main(["train", "CartPole-v1", "--algo", "ddpg", "--out", str(tmp_path / "other")]) == 2
    message = capsys.readouterr().err
    assert "'CartPole-v1'" in message and message.count("\n") == 1


@pytest.mark.parametrize("rule", RULES)
def test_every_field_is_a_flag(rule):
    """With the preset's value as default; the rule itself is ``--algo``."""
    command = cli.parse(["train", "Pendulum-v1", "--algo", rule, "--discount", "0.5"])
    expected = rgrl.preset("Pendulum-v1", algo=rule, discount=0.5)
    for field in dataclasses.fields(expected):
        if field.name not in ("env_id", "rule"):
            assert getattr(command, field.name) == getattr(expected, field.name)
    assert (command.algo, hasattr(command, "rule")) == (rule, False)
