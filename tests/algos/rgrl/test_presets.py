"""Presets of RGRL: all are valid, and the paper's hold the numbers and signals of the authors' code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rgrl_cases import is_finite

from rgrl_jax import training
from rgrl_jax.algos import fields
from rgrl_jax.algos.presets import list_presets, preset
from rgrl_jax.algos.rgrl import build
from rgrl_jax.algos.rgrl.targets import reward_targets
from rgrl_jax.types import Episode

ALL = [(env_id, name) for name, envs in list_presets("rgrl").items() for env_id in envs]
PAPER = ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-misc"]


@pytest.mark.parametrize(("env_id", "name"), ALL)
def test_every_preset_is_valid(env_id, name):
    """It belongs to its environment, its cost can be counted, and it changes something."""
    config = preset(env_id, name)
    assert config.env_id == config.describe().env_id == env_id
    changed = [x.path for x in fields.settings(type(config)) if fields.get_at(config, x.path) != x.default]
    assert len(changed) > 1 or env_id == "Blackjack-v1"


@pytest.mark.parametrize("env_id", PAPER)
def test_paper_common_settings(env_id):
    """What all environments share, as numbers."""
    config = preset(env_id, "paper")
    expected = {
        "explore.warmup_episodes": 0,
        "explore.epsilon": 0.0,
        "target.discount": 0.0,
        "model.kind": "transformer",
        "model.ensemble_size": 5,
        "model.layers": 3,
        "model.heads": 10,
        "model.reward_from": "feature",
        "planner.kind": "gradient",
        "planner.iterations": 50,
        "planner.optimizer": "sgd",
        "planner.lr": 0.1,
        "planner.loss": "squared",
        "planner.desired_reward": 1.0,
        "planner.noise": 5.0,
        "planner.noise_decay": 0.5,
        "planner.noise_cycle": 10,
        "planner.num_starts": 1,
        "learner.optimizer": "sgd",
        "learner.lr": 0.1,
        "learner.lr_end": 1.0,
        "learner.updates_per_episode": 100,
        "learner.batch_size": 1,
        "learner.state_weight": 1.0,
        "learner.teacher_forcing": False,
        "learner.action_noise": 0.0,
        "learner.reset_every": 0,
        "replay.kind": "priority",
        "replay.priority_exponent": 2.0,
        "replay.max_windows": 10_000,
        "reference.signals": "reference",
        "reference.state_encoding": "thermometer",
        "reference.state_bins": 100,
        "reference.reward_encoding": "thermometer",
        "reference.reward_bins": 100,
        "reference.zero_terminal_reward": True,
        "reference.running_return": False,
        "reference.past_end": "simulate",
        "reference.dedupe": "components",
        "reference.exact_priorities": True,
        "reference.mean_plan_loss": True,
        "reference.biases": False,
        "reference.squash_outputs": True,
        "reference.residual": False,
        "reference.doubled_positions": True,
        "reference.linear_feed_forward": True,
    }
    assert {name: fields.get_at(config, name) for name in expected} == expected
    assert config.learner.clip_norm >= 1e6  # the reference does not clip


@pytest.mark.parametrize(
    "env_id, steps, s, a, r, width, history, horizon, executed",
    [
        ("FrozenLake-misc", 20, 26, 4, 100, 150, 0, 10, 1),
        ("CartPole-v1", 1000, 500, 2, 100, 750, 10, 15, 1),
        ("MountainCar-v0", 200, 300, 3, 100, 500, 0, 75, 5),
        ("Acrobot-v1", 250, 700, 3, 100, 1000, 0, 75, 5),
    ],
)
def test_paper_table(env_id, steps, s, a, r, width, history, horizon, executed):
    """Step limit and sizes of each environment."""
    config = preset(env_id, "paper")
    env, codec, _ = build(config)
    assert env.max_steps == steps
    assert (codec.state_size, codec.action_size, codec.reward_size) == (s, a, r)
    assert (config.model.width, config.model.history_length) == (width, history)
    assert (config.planner.horizon, config.planner.replan_every) == (horizon, executed)


def lit(bar):
    """How many entries of a bar are on; they come first."""
    bar = np.asarray(bar)
    assert set(np.unique(bar)) <= {-1.0, 1.0}
    count = int((bar > 0).sum())
    assert (bar[:count] == 1).all()
    return count


@pytest.mark.parametrize(
    "env_id, bounds",
    [
        ("CartPole-v1", [(-4.8, 4.8), (-3.75, 3.75), (-0.418, 0.418), (-3.75, 3.75)]),
        ("MountainCar-v0", [(-0.6, 0.6), (-0.1, 0.1)]),
        ("Acrobot-v1", [(-1.0, 1.0)] * 4 + [(-12.567, 12.567), (-28.274, 28.274)]),
    ],
)
def test_paper_state_bars(env_id, bounds):
    """One bar of 100 entries per number over its range, then the done block of 100."""
    _, codec, _ = build(preset(env_id, "paper"))
    low, high = np.array(bounds, np.float32).T
    for share, count in ((-0.1, 0), (0.005, 1), (0.505, 51), (0.995, 100), (1.1, 100)):
        for done in (False, True):
            bars = np.asarray(codec.encode_state(jnp.asarray(low + share * (high - low)), jnp.bool_(done)))
            bars = bars.reshape(len(bounds) + 1, 100)
            assert [lit(bar) for bar in bars[:-1]] == [count] * len(bounds)
            assert lit(bars[-1]) == (100 if done else 0)


def test_paper_state_of_frozen_lake():
    """One of 16 cells in -1/+1, then a done block of 10."""
    _, codec, _ = build(preset("FrozenLake-misc", "paper"))
    for done in (False, True):
        state = np.asarray(codec.encode_state(jnp.int32(6), jnp.bool_(done)))
        np.testing.assert_array_equal(state[:16], np.where(np.arange(16) == 6, 1.0, -1.0))
        np.testing.assert_array_equal(state[16:], np.full(10, 1.0 if done else -1.0))


def reward_bars(env_id, observations, rewards, terminated=True, past_the_end=False):
    """Lit entries of the reward bars that the paper preset learns from an episode with these observations."""
    config = preset(env_id, "paper", **{"reference.past_end": "absorb"})  # nothing was simulated here
    _, codec, _ = build(config)
    length = len(rewards)
    episode = Episode(
        obs=jnp.asarray(observations)[:, None],
        action=jnp.zeros((length + 1, 1), jnp.int32),
        reward=jnp.asarray([*rewards, 0.0], jnp.float32)[:, None],
        length=jnp.array([length], jnp.int32),
        terminated=jnp.array([terminated]),
        truncated=jnp.array([not terminated]),
        info=None,
    )
    targets = reward_targets(episode, config)[: length + past_the_end, 0]
    return [lit(bar) for bar in jax.vmap(codec.encode_reward)(targets)]


def test_paper_reward_of_cartpole():
    """Alive is all on; the terminal reward is zeroed, and nothing lights 1 of 100."""
    rows = np.zeros((4, 4), np.float32)
    assert reward_bars("CartPole-v1", rows, [1.0, 1.0, 1.0]) == [100, 100, 1]
    assert reward_bars("CartPole-v1", rows, [1.0, 1.0, 1.0], terminated=False) == [100, 100, 100]


def test_paper_reward_of_acrobot():
    """Done is all on, whatever the raw reward was."""
    rows = np.zeros((4, 6), np.float32)
    assert reward_bars("Acrobot-v1", rows, [-1.0, -1.0, 0.0])[-1] == 100


def test_paper_reward_of_acrobot_before_the_end():
    """All off before the end, and throughout an episode that was cut off."""
    rows = np.zeros((4, 6), np.float32)
    assert reward_bars("Acrobot-v1", rows, [-1.0, -1.0, 0.0])[:-1] == [0, 0]
    assert reward_bars("Acrobot-v1", rows, [-1.0, -1.0, -1.0], terminated=False) == [0, 0, 0]


def test_paper_reward_of_mountain_car():
    """The position over [-0.6, 0.6]; the goal lights 92 of 100 and the left slope none."""
    rows = np.array([[-0.5, 0.0], [-0.9, 0.0], [0.005, 0.0], [0.5, 0.0]], np.float32)
    assert reward_bars("MountainCar-v0", rows, [-1.0, -1.0, -1.0]) == [0, 51, 92]
    assert reward_bars("MountainCar-v0", rows, [-1.0, -1.0, -1.0], terminated=False) == [0, 51, 92]


def test_paper_reward_of_frozen_lake_at_the_goal():
    """Done at the goal is all on, although the raw reward is zeroed."""
    assert reward_bars("FrozenLake-misc", np.array([10, 14, 15]), [0.0, 1.0])[-1] == 100


def test_paper_reward_of_frozen_lake_in_a_hole():
    """Done in a hole is all off."""
    assert reward_bars("FrozenLake-misc", np.array([0, 4, 5]), [0.0, 0.0])[-1] == 0


def test_paper_reward_of_frozen_lake_on_the_way():
    """Int(100 (1 - D / 4.24)) by the distance D to cell 15; the start is all off."""
    cells = [1, 0, 14, 6, 8]
    bars = [14, 0, 76, 47, 25]  # D = sqrt(13), -, 1, sqrt(5), sqrt(10)
    assert reward_bars("FrozenLake-misc", np.array([4, *cells]), [0.0] * 5, terminated=False) == bars


@pytest.mark.parametrize(
    "env_id, last, reward, count",
    [
        ("CartPole-v1", np.zeros(4, np.float32), 1.0, 1),
        ("Acrobot-v1", np.zeros(6, np.float32), 0.0, 100),
        ("MountainCar-v0", np.array([0.5, 0.0], np.float32), -1.0, 92),
        ("FrozenLake-misc", np.int32(15), 1.0, 100),
        ("FrozenLake-misc", np.int32(5), 0.0, 0),
    ],
)
def test_paper_reward_past_the_end(env_id, last, reward, count):
    """Padding stands still in the last observation, so its reward bar is that of the terminating step."""
    *_, end, padding = reward_bars(env_id, np.stack([last, last, last]), [0.0, reward], past_the_end=True)
    assert (end, padding) == (count, count)


@pytest.mark.parametrize(
    "env_id", [PAPER[0], *(pytest.param(env_id, marks=pytest.mark.slow) for env_id in PAPER[1:])]
)
def test_paper_settings_run(env_id):
    """All quirks together (bars, exact priorities, dedupe, simulated steps, history), with small networks."""
    model = {"model.width": 10, "model.layers": 1, "model.ensemble_size": 2}
    learner = {"learner.updates_per_episode": 2, "replay.capacity": 64, "episodes": 2, "max_steps": 12}
    planner = {"planner.horizon": 6, "planner.iterations": 2, "planner.unroll": 1}
    config = preset(env_id, "paper", **model, **learner, **planner)
    state, metrics = jax.jit(training.train)(jax.random.key(0, impl="unsafe_rbg"), config)
    assert is_finite((state.params, metrics)) and np.all(metrics.info["plan_movement"] > 0)
    assert int(state.replay.steps_left[0]) >= int(metrics.episode_length[0])
