"""Generators of policies in whole runs: rows of episodes, the config, presets, identity curves, command line."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_policy_generators import SMALL, act_twin, small
from tiny import assert_same, register_hosted, says

import rgrl_jax as rgrl
from rgrl_jax.algos import policy_generators
from rgrl_jax.algos.config import explain
from rgrl_jax.algos.policy_generators import algorithm, parts, update
from rgrl_jax.envs import registry
from rgrl_jax.experiment import cli

RULES = ("udrlpg", "gogepo")
KEY = jax.random.key(0)
BEGIN, STEP = jax.jit(rgrl.init), jax.jit(algorithm.step)


@functools.cache
def ran(rule="udrlpg", *changes):
    """A tiny run with these settings."""
    config, rows = small(rule, **dict(changes)), []
    state = BEGIN(KEY, config)
    for _ in range(config.episodes):
        state, row = STEP(state, config)
        rows.append(row)
    return state, jax.tree.map(lambda *x: jnp.stack(x), *rows)


# Rows of episodes.


@pytest.mark.parametrize("rule", RULES)
def test_a_run_is_a_plain_loop(rule):
    """Three episodes, step by step in NumPy: what is seen and done, what is kept, and when anything is learnt."""
    config = small(rule)
    spec, sizes = config.spec, parts.policy_sizes(config)
    reset, step, choose = jax.jit(spec.reset), jax.jit(spec.step), jax.jit(algorithm.next_policies)
    state, (after, metrics) = BEGIN(KEY, config), ran(rule)
    mean, squares, n, played = np.zeros(3), np.zeros(3), 0, []
    for episode in range(3):
        play_key, policy_key, _ = jax.random.split(jax.random.fold_in(state.key, episode), 3)
        (policy,) = np.asarray(choose(policy_key, state, config), np.float64)
        reset_key, env_key, _ = jax.random.split(play_key, 3)
        obs, env_state = reset(jax.random.split(reset_key, 1)[0])
        env_key, total = jax.random.split(env_key, 1)[0], 0.0
        for t in range(6):
            x, n = np.asarray(obs, np.float64), n + 1
            gap = x - mean
            mean = mean + gap / n
            squares = squares + gap * (x - mean)
            if n > 1 and (rule == "udrlpg" or episode > 0):  # the very first, or GoGePo's first episode, as they are
                x = (x - mean) / (np.sqrt(squares / (n - 1)) + 1e-8)
            torque = 2.0 * np.tanh(act_twin(policy, sizes, x))[0]
            obs, env_state, reward, _, _ = step(jax.random.fold_in(env_key, t), env_state, jnp.float32(torque))
            total += float(reward)
        played.append((policy, total))
        assert float(metrics.episode_return[episode]) == pytest.approx(total, rel=1e-3)
        before, (state, row) = state, STEP(state, config)
        assert float(state.best) == pytest.approx(max(r for _, r in played), rel=1e-3)
        moved = [
            bool(np.any(x != y)) for x, y in zip(*(jax.tree.leaves(s.nets) for s in (before, state)), strict=True)
        ]
        assert all(moved) and float(row.model_loss) > 0  # the warm-up is one episode
    assert updates_of(after) == 3 * config.generator_updates
    np.testing.assert_allclose(after.running.mean, mean, rtol=1e-3, atol=1e-4)
    kept = np.asarray(after.store.returns)[: 3 if rule == "gogepo" else None].ravel()
    assert sorted(kept[kept != 0]) == pytest.approx(sorted(r for _, r in played), rel=1e-3)


def updates_of(state):
    """How often the generator was moved, by Adam's own count."""
    return int(optax.tree.get(state.nets.generator.adam, "count"))


def finite(tree):
    return all(np.isfinite(x).all() for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating))


@pytest.mark.parametrize(
    "rule, overrides",
    [
        ("udrlpg", {"env_id": "PointRobot-misc", "num_envs": 3, "store": "ring", "observation": "range"}),
        (
            "gogepo",
            {"env_id": "CartPole-v1", "num_envs": 2, "store": "buckets", "warmup": "random", "full": "select"},
        ),
    ],
)
def test_every_variant_learns(rule, overrides):
    """Several policies a row, other stores and scales: numbers are finite, and nothing moves in the warm-up."""
    config = small(rule, warmup_episodes=3, **overrides)
    before = BEGIN(KEY, config)
    after, metrics = ran(rule, ("warmup_episodes", 3), *overrides.items())
    assert finite(after.nets) and finite(metrics)
    loss = np.asarray(metrics.model_loss)
    assert not loss[:2].any() and loss[2] > 0 and updates_of(after) == config.generator_updates
    for old, new in zip(jax.tree.leaves(before.nets), jax.tree.leaves(after.nets), strict=True):
        assert np.any(old != new)
    lengths = np.asarray(metrics.episode_length) * config.num_envs
    if rule == "udrlpg":
        assert lengths.tolist() == [18, 18, 18] and np.asarray(metrics.windows).tolist() == [3, 6, 7]
    assert int(after.env_steps) == int(metrics.env_steps[-1]) >= lengths.sum()


@pytest.mark.exact
def test_seeds_side_by_side_are_single_runs_and_so_are_parts():
    """vmap = loop up to rounding, over seeds and settings; two episodes are one and another, bit for bit.

    With an evaluator and buckets, so that all that learns and all that keeps is there.
    """
    config, train = small("gogepo", num_envs=2, store="buckets"), jax.jit(rgrl.train, static_argnames="num_episodes")
    start = BEGIN(KEY, config)
    whole = train(None, config, start, num_episodes=2)
    state, first = train(None, config, start, num_episodes=1)
    state, rest = train(None, config, state, num_episodes=1)
    assert_same(state, whole[0])
    assert_same(jax.tree.map(lambda *x: jnp.concatenate(x), first, rest), whole[1])
    keys = jnp.stack([jax.random.key(1), KEY])
    grid = config.replace(generator_rate=jnp.array([0.1, config.generator_rate]))
    side_by_side = jax.vmap(
        lambda key, config: rgrl.train(key, config, num_episodes=2), (0, grid.axes("generator_rate"))
    )
    many = jax.jit(side_by_side)(keys, grid)
    for x, y in zip(*(jax.tree.leaves((run[1], run[0].nets)) for run in (many, whole)), strict=True):
        np.testing.assert_allclose(x[1], y, rtol=1e-3, atol=1e-5)


def test_frozen_agents_play_the_best_command_without_noise():
    config, (state, _) = small(), ran()
    episode = jax.jit(rgrl.play, static_argnums=3)(KEY, state, config, 3)
    (made,) = jax.jit(update.make_policies)(state.nets.generator.weights, state.best[None], config)
    seen = parts.features(episode.obs[2], state.running, config)
    for x, torque in zip(seen, episode.action[2], strict=True):
        said = act_twin(np.float64(made), parts.policy_sizes(config), np.float64(x))
        np.testing.assert_allclose(torque, 2.0 * np.tanh(said)[0], rtol=1e-3, atol=1e-4)


def test_an_environment_on_the_host_teaches_the_same(monkeypatch):
    """Stepped there, against the compiled program; commands are obeyed there too."""
    register_hosted(monkeypatch, "Pendulum-v1", 6)
    config, (state, metrics) = small(), ran()
    own = parts.return_bounds(config)
    hosted = config.replace(env_id="Hosted", return_low=float(own[0]), return_high=float(own[1]))
    found, rows = rgrl.run(KEY, hosted)
    np.testing.assert_allclose(rows.episode_return, metrics.episode_return, rtol=1e-3)
    for x, y in zip(jax.tree.leaves(found.nets), jax.tree.leaves(state.nets), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-2, atol=1e-3)
    here, there = (rgrl.identity_curve(KEY, state, x, 2, 1) for x in (config, hosted))
    np.testing.assert_allclose(here.achieved, there.achieved, rtol=1e-3)
    registry._cached_spec.cache_clear()


@pytest.mark.parametrize("rule", RULES)
def test_a_number_inside_the_range_is_found(rule):
    """A probe of one step whose best action is 0.5, for two seeds: what is commanded is reached, and is the best."""
    register_number()
    config = rgrl.preset(
        "Probe-number",
        algo=rule,
        episodes=200,
        num_envs=8,
        hidden=(4,),
        tile=4,
        embedding=4,
        generator_hidden=(16,),
        evaluator_hidden=(16,),
        probes=4,
        batch=16,
        generator_updates=20 if rule == "udrlpg" else 10,
        evaluator_updates=20,
        evaluator_rate=2e-2,
        generator_rate=3e-3,
        param_noise=0.1 if rule == "udrlpg" else 0.2,
        warmup_episodes=5,
        buckets=50,
        recency=0.3,
        drive=0.0,
        observation="raw",
    )
    keys = jax.random.split(jax.random.key(0), 2)
    states, metrics = jax.jit(jax.vmap(rgrl.train, in_axes=(0, None)))(keys, config)
    curve = jax.vmap(lambda key, state: rgrl.identity_curve(key, state, config, 2, 1))(keys, states)
    assert np.asarray(metrics.episode_return)[:, :10].mean() < 0.9
    assert np.asarray(curve.achieved)[:, 1].min() > 0.95


@functools.cache
def register_number():
    """One step, always the same to see, in which the distance to 0.5 is all that counts."""

    def reset(key):
        return jnp.ones(1), jnp.int32(0)

    def step(key, state, action):
        return jnp.ones(1), state + 1, 1.0 - jnp.square(action - 0.5), jnp.bool_(True), jnp.bool_(False)

    line = rgrl.Box(-1.0, 1.0, (1,))
    spec = rgrl.EnvSpec("Probe-number", reset, step, line, rgrl.Box(-1.0, 1.0, ()), (0.0, 1.0), 2, (0.0, 1.0))
    rgrl.register_env("Probe-number", lambda limit: spec)


# Identity curves.


def test_an_identity_curve_is_played_command_by_command():
    config, (state, _) = small(survival_bonus=0.5), ran()
    curve = rgrl.identity_curve(KEY, state, config, 3, 2)
    np.testing.assert_allclose(curve.commanded, np.linspace(*map(float, parts.return_bounds(config)), 3), rtol=1e-5)
    play = jax.jit(rgrl.play, static_argnums=3)
    for key, command, achieved in zip(jax.random.split(KEY, 3), curve.commanded, curve.achieved, strict=True):
        returns = play(key, state.replace(best=command), config, 2).episode_return
        np.testing.assert_allclose(achieved, returns - 0.5 * 6, rtol=1e-3)
    assert len(np.unique(np.asarray(curve.achieved).mean(axis=1))) == 3


def test_correlation_of_a_curve():
    asked = np.array([0.0, 1.0, 2.0])
    reached = np.array([[[0.0, 2.0], [4.0, 2.0], [5.0, 5.0]], [[3.0, 3.0], [3.0, 3.0], [3.0, 3.0]]])
    found = rgrl.identity_correlation(asked, reached)
    np.testing.assert_allclose(found, [np.corrcoef(asked, [1, 3, 5])[0, 1], 0.0], atol=1e-9)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_picture_of_a_curve(tmp_path, seeds):
    achieved = np.random.default_rng(0).normal(size=(seeds, 4, 2))
    figure = rgrl.plot_identity(np.arange(4.0), achieved, title="a title", path=tmp_path / "identity.png")
    (axis,) = figure.axes
    for mean in achieved.mean(axis=-1):
        assert any(np.allclose(line.get_ydata(), mean) for line in axis.get_lines() if len(line.get_ydata()) == 4)
    assert len(axis.collections) == (seeds >= 3)  # a band from three seeds on
    assert (tmp_path / "identity.png").stat().st_size > 5_000


def test_who_takes_no_commands_is_told_so():
    state, _ = ran()
    with pytest.raises(ValueError) as error:
        rgrl.identity_curve(KEY, state, rgrl.preset("Pendulum-v1", algo="ddpg"))
    says(error, "'ddpg'", "udrlpg and gogepo")
    for numbers, name in (((1, 2), "commands = 1"), ((3, 0), "num_episodes = 0")):
        with pytest.raises(ValueError) as error:
            rgrl.identity_curve(KEY, state, small(), *numbers)
        says(error, name)


# The config.

BAD = [
    ({"env_id": "Pendulum"}, ["'Pendulum'", "Pendulum-v1"]),
    ({"rule": "udrl"}, ["rule = 'udrl'", "udrlpg", "gogepo"]),
    ({"hidden": ()}, ["hidden = ()"]),
    ({"hidden": (4, 5)}, ["hidden[1] = 5", "multiple of tile = 2"]),
    ({"hidden": (4, 0)}, ["hidden[1] = 0", "at least 1"]),
    ({"return_low": 5.0}, ["return_low = 5.0", "at most 0.0", "return_high"]),
    ({"store": "ring", "num_envs": 9}, ["capacity = 7", "at least 9", "num_envs"]),
    ({"store": "heap"}, ["store = 'heap'", "buckets, ring"]),
    ({"full": "drop"}, ["full = 'drop'", "reject, replace, select"]),
    ({"above": "cut"}, ["above = 'cut'", "append, clamp"]),
    ({"kept_buckets": 0}, ["kept_buckets = 0", "at least 1"]),
    ({"param_noise": -0.1}, ["param_noise = -0.1"]),
    ({"generator_rate": float("nan")}, ["generator_rate = nan", "finite"]),
    ({"warmup": "xavier"}, ["warmup = 'xavier'", "generated, random"]),
]


@pytest.mark.parametrize("overrides, parts", BAD, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_bad_settings_meet_one_sentence(overrides, parts):
    with pytest.raises(ValueError) as error:
        small().replace(**overrides).validate()
    says(error, *parts)


def test_policies_need_bounds(monkeypatch):
    monkeypatch.setattr(registry, "_ENVS", dict(registry._ENVS))
    spec = rgrl.make_spec("Pendulum-v1", 6)
    free = dataclasses.replace(spec, action=rgrl.Box(-np.inf, np.inf, ()))
    rgrl.register_env("Unbounded", lambda limit: free)
    with pytest.raises(ValueError) as error:
        small(env_id="Unbounded")
    says(error, "'Unbounded'", "bounds")
    registry._cached_spec.cache_clear()


def test_every_setting_explains_itself():
    settings = explain(rgrl.PolicyGeneratorConfig)
    assert [x.name for x in settings] == [field.name for field in dataclasses.fields(rgrl.PolicyGeneratorConfig)]
    assert all(x.meaning for x in settings)


def test_cost_by_hand():
    """Policies 3-4-1 in tiles of 2; embeddings of 3, with the command 4 inputs, 5 units."""
    policy = 3 * 4 + 4 + 4 + 1
    nets = [(2, 6, 2), (2, 2, 1)]  # tiles, weights of a block, biases
    generator = sum(3 * tiles + 2 * 5 * (4 + 1) + 6 * weights + 6 * biases for tiles, weights, biases in nets)
    cost = small(num_envs=2, warmup_episodes=2).describe()
    assert (cost.parameters, cost.episodes, cost.max_env_steps, cost.updates) == (generator, 3, 36, 2 * 2)
    counters = 2 * 4 + 4 + 8 + 4 * (3 + 3 + 1)  # and the best return, the key, the scale of observations
    assert cost.state_bytes == 4 * 3 * generator + 4 + 4 * 8 * (2 * policy + 2 + 2) + counters
    evaluator = 3 * 3 + (3 + 1) * 5 + 6
    assert small("gogepo").describe().parameters == generator + evaluator


def test_memory_does_not_grow_with_the_buckets():
    """The 64 best of 800 full-sized ones take 36 MB, all of them would 446."""
    config = small(hidden=(256, 256), tile=32, max_steps=None, buckets=800, kept_buckets=64)
    smaller, larger = (config.replace(kept_buckets=kept).describe().state_bytes for kept in (64, 800))
    weights = 4 * (3 * 256 + 256 + 256 * 256 + 256 + 256 + 1)
    assert larger - smaller == (800 - 64) * (2 * weights + 4 * (2 + 2))


@pytest.mark.parametrize("rule, megabytes", [("udrlpg", 65), ("gogepo", 2795)])
def test_memory_of_the_published_settings(monkeypatch, rule, megabytes):
    """Of a seed, counted by hand for Hopper's 11 numbers and 3 joints; the simulator need not be installed for this.

    Policies kept, networks with Adam's two means and its count, the scale of observations, key and counters.
    """
    monkeypatch.setattr(registry, "_ENVS", dict(registry._ENVS))
    spec = rgrl.make_spec("Pendulum-v1", 1000)
    obs, nothing = jnp.zeros(11), jnp.bool_(False)
    sized = dataclasses.replace(
        spec,
        reset=lambda key: (obs, ()),
        step=lambda key, state, action: (obs, (), action.sum(), nothing, nothing),
        observation=rgrl.Box(-9.0, 9.0, (11,)),
        action=rgrl.Box(-1.0, 1.0, (3,)),
    )
    rgrl.register_env("Hopper-sized", lambda limit: sized)
    settings = policy_generators.BASES[rule] | policy_generators.PRESETS[rule]["paper"]["gymnasium:Hopper-v5"]
    policy = 11 * 256 + 256 + 256 * 256 + 256 + 256 * 3 + 3
    tile, embedding, units = (32, 32, 512) if rule == "udrlpg" else (16, 8, 256)
    blocks = (11 + 1) * tile + (tile + 1) * tile + (tile + 1) * 3
    weights = 3 * 2 * ((embedding + 2) * units + (units + 1) * units) + (units + 1) * blocks
    weights += embedding * (256 // tile + (256 // tile) ** 2 + 256 // tile)
    if rule == "udrlpg":  # in each of 64 buckets two, with their returns; its number and how many came
        kept, counts = 64 * (2 * (policy + 1) + 2), 1
    else:
        kept, counts = 10_000 * (policy + 1) + 1, 2
        weights += 200 * 11 + (200 * 3 + 1) * 256 + (256 + 1) * 256 + 256 + 1  # the evaluator
    scale, others = 11 + 11 + 1, 2 + 3  # its means, squares and count; the key, best, episodes and steps
    cost = rgrl.PolicyGeneratorConfig(env_id="Hopper-sized", **settings).describe()
    assert cost.parameters == weights
    assert cost.state_bytes == 4 * (kept + 3 * weights + counts + scale + others)
    assert round(cost.state_bytes / 1e6) == megabytes
    registry._cached_spec.cache_clear()


# Presets and the command line.


@pytest.mark.parametrize("rule", RULES)
def test_presets_are_valid(rule):
    """Those of environments that are here, and of others; their costs can be counted."""
    for env_id in [*rgrl.list_presets(rule)["tuned"], "Acrobot-v1"]:
        config = rgrl.preset(env_id, algo=rule)
        assert (config.rule, config.env_id) == (rule, env_id)
        assert config.describe().parameters > 0
    assert set(policy_generators.PRESETS) == set(RULES) == set(policy_generators.BASES) <= set(rgrl.list_algorithms())


PUBLISHED = {
    "udrlpg": {
        "hidden": (256, 256), "tile": 32, "embedding": 32, "generator_hidden": (512, 512), "output_scale": 0.0,
        "param_noise": 0.1, "warmup": "generated", "warmup_episodes": 10, "drive": 0.0, "buckets": 800,
        "bucket_size": 2, "full": "reject", "above": "append", "rank_weight": 0.3, "batch": 24,
        "generator_updates": 8, "generator_rate": 2e-6, "observation": "running", "store": "buckets", "num_envs": 1,
    },
    "gogepo": {
        "hidden": (256, 256), "tile": 16, "embedding": 8, "generator_hidden": (256, 256), "output_scale": 2.0,
        "param_noise": 0.1, "warmup_episodes": 0, "drive": 20.0, "store": "ring", "capacity": 10_000, "recency": 1.1,
        "batch": 16, "generator_updates": 19, "generator_rate": 2e-6, "probes": 200, "evaluator_hidden": (256, 256),
        "evaluator_updates": 4, "evaluator_rate": 5e-3, "observation": "running", "num_envs": 1,
    },
}  # fmt: skip
SCALES = {
    "gymnasium:InvertedPendulum-v5": (0.0, 1000.0, 0.0),
    "gymnasium:Swimmer-v5": (-100.0, 365.0, 0.0),
    "gymnasium:Hopper-v5": (-100.0, 3000.0, 1.0),
}
SCALES |= {name.replace("gymnasium:", "mjx:"): scale for name, scale in SCALES.items()}


@pytest.mark.parametrize("rule", RULES)
def test_published_settings(rule):
    """As the authors' code has them. The simulator need not be installed for this."""
    table = policy_generators.PRESETS[rule]["paper"]
    assert set(table) == set(SCALES)
    for env_id, settings in table.items():
        config = rgrl.PolicyGeneratorConfig(env_id=env_id, **(policy_generators.BASES[rule] | settings))
        assert {name: getattr(config, name) for name in PUBLISHED[rule]} == PUBLISHED[rule]
        low, high, bonus = SCALES[env_id]
        high = 2000.0 if rule == "udrlpg" and bonus else high
        assert (config.return_low, config.return_high, config.survival_bonus) == (low, high, bonus)


def test_commands(tmp_path, capsys):
    """A run is trained, evaluated by command, and its folder holds what was asked."""
    folder = str(tmp_path / "run")
    words = ["train", "Pendulum-v1", "--algo", "udrlpg", "--out", folder, "--eval-episodes", "2", "--json"]
    for name, value in SMALL.items():
        entries = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, entries)]
    assert cli.main([*words, "--no-early-stop", "--chunk", "3", "--seeds", "2"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["algo"], answer["episodes"], answer["evaluation"]["episodes"]) == ("udrlpg", 3, 2)
    config, state, meta = rgrl.load_run(folder)
    assert (meta["algo"], config) == ("udrlpg", small())
    assert cli.main(["evaluate", folder, "--episodes", "2", "--commands", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["identity"]
    assert np.shape(answer["achieved"]) == (2, 3, 5) and len(answer["correlation"]) == 2
    second = jax.tree.map(lambda x: x[1], state)
    curve = rgrl.identity_curve(jax.random.key(0), second, config, 3)
    np.testing.assert_allclose(answer["achieved"][1], curve.achieved, rtol=1e-4)
    assert (tmp_path / "run" / "identity.png").stat().st_size > 5_000


@pytest.mark.parametrize("rule", RULES)
def test_every_field_is_a_flag(rule):
    """With the preset's value as default; the rule itself is ``--algo``."""
    command = cli.parse(["train", "Pendulum-v1", "--algo", rule, "--param-noise", "0.5"])
    expected = rgrl.preset("Pendulum-v1", algo=rule, param_noise=0.5)
    for field in dataclasses.fields(expected):
        if field.name not in ("env_id", "rule"):
            assert getattr(command, field.name) == getattr(expected, field.name)
    assert (command.algo, hasattr(command, "rule")) == (rule, False)
