"""Policy generators in whole runs: rows of episodes, evaluation, cost."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from algos.policy_generators import twins
from algos.policy_generators.twins import small

from rgrl_jax import envs, training
from rgrl_jax.algos.policy_generators import PolicyGeneratorConfig, algorithm
from rgrl_jax.algos.policy_generators.generator import make_policies
from rgrl_jax.algos.policy_generators.policy import layer_sizes, normalize
from rgrl_jax.algos.presets import preset
from rgrl_jax.experiment.command_following import command_following
from rgrl_jax.types import Box

ALGORITHMS = ("udrlpg", "gogepo")
KEY = jax.random.key(0)
INIT, STEP = jax.jit(training.init), jax.jit(training.step)
CARRY = jax.jit(lambda state, config: algorithm.act(state, config).carry)


def updates_of(state):
    """Updates of the generator, by Adam's own count."""
    return int(optax.tree.get(state.networks.generator.opt_state, "count"))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_is_a_plain_loop(name):
    """Three episodes, step by step in NumPy: what is seen and done, what is kept, and when anything is learnt."""
    config = small(name)
    spec, sizes, state, statistics = config.spec, layer_sizes(config), INIT(KEY, config), twins.Statistics(3)
    reset, step, played = jax.jit(spec.reset), jax.jit(spec.step), []
    for episode in range(3):
        play_key = jax.random.split(jax.random.fold_in(state.key, episode), 3)[0]
        (policy,) = np.asarray(CARRY(state, config).policies, np.float64)
        reset_key, env_key, _ = jax.random.split(play_key, 3)
        obs, env_state = reset(jax.random.split(reset_key, 1)[0])
        env_key, total = jax.random.split(env_key, 1)[0], 0.0
        for t in range(6):
            x = np.asarray(obs, np.float64)
            statistics.add(x)
            if name == "udrlpg" or episode > 0:  # GoGePo's first episode is played as it is seen
                x = statistics.normalize(x)
            torque = 2.0 * np.tanh(twins.policy_outputs(policy, sizes, x))[0]
            obs, env_state, reward, _, _ = step(jax.random.fold_in(env_key, t), env_state, jnp.float32(torque))
            total += float(reward)
        played.append(total)
        before, (state, row) = state, STEP(state, config)
        assert float(row.episode_return) == pytest.approx(total, rel=1e-3)
        assert float(state.best) == pytest.approx(max(played), rel=1e-3)
        pairs = zip(jax.tree.leaves(before.networks), jax.tree.leaves(state.networks), strict=True)
        assert all(np.any(x != y) for x, y in pairs) and float(row.model_loss) > 0  # the warm-up is one episode
    assert updates_of(state) == 3 * config.generator_updates
    np.testing.assert_allclose(state.statistics.mean, statistics.mean, rtol=1e-3, atol=1e-4)
    kept = np.asarray(state.store.items[1][:3] if name == "gogepo" else state.store.returns).ravel()
    assert sorted(kept[kept != 0]) == pytest.approx(sorted(played), rel=1e-3)


def test_nothing_is_learnt_in_the_warm_up():
    """Three policies a row for a ring of seven."""
    others = {"env_id": "PointRobot-misc", "num_envs": 3, "store": "ring", "obs_normalization": "range"}
    config, rows = small(warmup_episodes=3, **others), []
    state = INIT(KEY, config)
    for _ in range(3):
        before, (state, row) = state, STEP(state, config)
        rows.append(row)
    losses = [float(row.model_loss) for row in rows]
    assert losses[:2] == [0, 0] and losses[2] > 0 and updates_of(before) == 0 and updates_of(state) == 2
    assert [int(row.episode_length) for row in rows] == [6, 6, 6] and int(state.env_steps) == 54
    assert [int(row.info["stored_policies"]) for row in rows] == [3, 6, 7]


def test_policies_that_are_played():
    """Warm-up: all the same, made for the upper end; random ones; later for the best so far, with noise."""
    config = small(num_envs=200, param_noise=0.3, return_high=5.0, return_low=-5.0)
    state = INIT(KEY, config).replace(best=jnp.float32(2.0))
    layers = twins.double(state.networks.generator.params)
    expected = twins.make_policies(layers, [5.0] * 200, config)
    np.testing.assert_allclose(CARRY(state, config).policies, expected, rtol=1e-3, atol=1e-5)
    later = state.replace(episode=jnp.int32(1))
    made = CARRY(later, config).policies
    noise = np.asarray(made) - twins.make_policies(layers, [2.0], config)
    assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(0.3, rel=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(noise.shape[1])).max() < 0.4  # each weight has its own
    less, widths = config.replace(command="drawn", low_command_noise=0.5), {}
    for episode in range(1, 7):
        carry = CARRY(state.replace(episode=jnp.int32(episode)), less)
        command = float(carry.command)
        widths[command] = (np.asarray(carry.policies) - twins.make_policies(layers, [command], config)).std()
    assert widths.pop(2.0) == pytest.approx(0.3, rel=0.05)
    assert list(widths.values()) == pytest.approx([0.15] * len(widths), rel=0.05) and max(widths) < 2.0
    drawn = config.replace(warmup="random")
    random = np.asarray(CARRY(state, drawn).policies)
    assert len(np.unique(random, axis=0)) == 200 and not random[:, 12:16].any()  # biases
    np.testing.assert_allclose(CARRY(later, drawn).policies, made, rtol=1e-4, atol=1e-6)


def test_evaluations_play_the_best_command_without_noise():
    config = small()
    state = STEP(INIT(KEY, config), config)[0]
    episode = jax.jit(training.play, static_argnums=3)(KEY, state, config, 3)
    (made,) = jax.jit(make_policies)(state.networks.generator.params, state.best[None], config)
    seen = normalize(episode.obs[2], state.statistics, config)
    for x, torque in zip(seen, episode.action[2], strict=True):
        output = twins.policy_outputs(np.float64(made), layer_sizes(config), np.float64(x))
        np.testing.assert_allclose(torque, 2.0 * np.tanh(output)[0], rtol=1e-3, atol=1e-4)


@pytest.fixture
def number_env():
    """One step, always the same to see, in which the distance of the action to 0.5 is all that counts."""

    def reset(key):
        return jnp.ones(1), jnp.int32(0)

    def step(key, state, action):
        return jnp.ones(1), state + 1, 1.0 - jnp.square(action - 0.5), jnp.bool_(True), jnp.bool_(False)

    line = Box(-1.0, 1.0, (1,))
    spec = envs.EnvSpec("Probe-number", reset, step, line, Box(-1.0, 1.0, ()), (0.0, 1.0), 2, (0.0, 1.0))
    envs.register("Probe-number", lambda limit: spec)
    yield "Probe-number"
    envs.unregister("Probe-number")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_number_inside_the_range_is_found(name, number_env):
    """A probe of one step whose best action is 0.5, for two seeds: what is commanded is reached, and is the best."""
    config = preset(
        number_env,
        algo=name,
        episodes=200,
        num_envs=8,
        hidden=(4,),
        tile_size=4,
        embedding_size=4,
        generator_hidden=(16,),
        evaluator_hidden=(16,),
        num_probes=4,
        batch_size=16,
        generator_updates=20 if name == "udrlpg" else 10,
        evaluator_updates=20,
        evaluator_lr=2e-2,
        generator_lr=3e-3,
        param_noise=0.1 if name == "udrlpg" else 0.2,
        warmup_episodes=5,
        num_buckets=50,
        recency_exponent=0.3,
        return_increment=0.0,
        obs_normalization="raw",
    )
    keys = jax.random.split(KEY, 2)
    states, metrics = jax.jit(jax.vmap(training.train, in_axes=(0, None)))(keys, config)
    curve = jax.vmap(lambda key, state: command_following(key, state, config, 2, 1))(keys, states)
    assert np.asarray(metrics.episode_return)[:, :10].mean() < 0.9
    assert np.asarray(curve.achieved)[:, 1].min() > 0.95


def test_cost_by_hand():
    """Policies 3-4-1 in tiles of 2; embeddings of 3, with the command 4 inputs, 5 units."""
    policy = 3 * 4 + 4 + 4 + 1
    tiles = [(2, 6, 2), (2, 2, 1)]  # tiles, weights of a tile, biases
    networks = [2 * 5 * (4 + 1) + 6 * weights + 6 * biases for _, weights, biases in tiles]
    generator = sum(3 * tiles for tiles, _, _ in tiles) + sum(networks)
    cost = small(num_envs=2, warmup_episodes=2).describe()
    assert (cost.parameters, cost.episodes, cost.max_env_steps, cost.updates) == (generator, 3, 36, 2 * 2)
    assert cost.extra == {"policy_weights": policy, "stored_policies": 8 * 2}
    assert cost.learn_flops == 6 * 4 * 2 * sum(2 * weights for weights in networks)  # operations, batch, updates
    counters = 2 * 4 + 4 + 8 + 4 * (3 + 3 + 1)  # and the best return, the key, the statistics of observations
    assert cost.state_bytes == 4 * 3 * generator + 4 + 4 * 8 * (2 * policy + 2 + 2) + counters
    theirs, evaluator = small("gogepo").describe(), (3 + 1) * 5 + 6
    assert theirs.parameters == generator + 3 * 3 + evaluator
    work = 2 * sum(2 * weights for weights in networks) + (2 + 3) * (evaluator + 3 * policy)
    assert theirs.learn_flops == 6 * 4 * work and theirs.extra["stored_policies"] == 7


def test_memory_does_not_grow_with_the_buckets():
    """The 64 best of 800 full-sized ones take 36 MB, all of them would 446."""
    config = small(hidden=(256, 256), tile_size=32, max_steps=None, num_buckets=800, num_buckets_kept=64)
    smaller, larger = (config.replace(num_buckets_kept=kept).describe().state_bytes for kept in (64, 800))
    weights = 4 * (3 * 256 + 256 + 256 * 256 + 256 + 256 + 1)
    assert larger - smaller == (800 - 64) * (2 * weights + 4 * (2 + 2))


@pytest.fixture
def hopper_sized():
    """An environment with Hopper's 11 numbers and 3 joints; the simulator need not be installed for this."""
    obs, no = jnp.zeros(11), jnp.bool_(False)
    spec = dataclasses.replace(
        envs.make("Pendulum-v1", 1000),
        reset=lambda key: (obs, ()),
        step=lambda key, state, action: (obs, (), action.sum(), no, no),
        observation=Box(-9.0, 9.0, (11,)),
        action=Box(-1.0, 1.0, (3,)),
    )
    envs.register("Hopper-sized", lambda limit: spec)
    yield "Hopper-sized"
    envs.unregister("Hopper-sized")


@pytest.mark.parametrize("name, megabytes", [("udrlpg", 65), ("gogepo", 2795)])
def test_memory_of_the_published_settings(hopper_sized, name, megabytes):
    """Policies kept, networks with Adam's two means and its count, statistics of observations, key and counters."""
    table = algorithm.PRESETS[name]["paper"]
    settings = table["*"] | table["gymnasium:Hopper-v5"]
    policy = 11 * 256 + 256 + 256 * 256 + 256 + 256 * 3 + 3
    tile, embedding, units = (32, 32, 512) if name == "udrlpg" else (16, 8, 256)
    blocks = (11 + 1) * tile + (tile + 1) * tile + (tile + 1) * 3
    weights = 3 * 2 * ((embedding + 2) * units + (units + 1) * units) + (units + 1) * blocks
    weights += embedding * (256 // tile + (256 // tile) ** 2 + 256 // tile)
    if name == "udrlpg":  # in each of 64 buckets two, with their returns; its number and how many came
        kept, counts = 64 * (2 * (policy + 1) + 2), 1
    else:
        kept, counts = 10_000 * (policy + 1) + 1, 2
        weights += 200 * 11 + (200 * 3 + 1) * 256 + (256 + 1) * 256 + 256 + 1  # the evaluator
    statistics, others = 11 + 11 + 1, 2 + 3  # means, squares and count; the key, best, episodes and steps
    cost = PolicyGeneratorConfig(env_id=hopper_sized, **settings).describe()
    assert cost.parameters == weights
    assert cost.state_bytes == 4 * (kept + 3 * weights + counts + statistics + others)
    assert round(cost.state_bytes / 1e6) == megabytes
