"""Presets: all are valid, the paper's hold the reference's numbers, and look-ups fail with helpful messages."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import says

import rgrl_jax as rgrl
from rgrl_jax.algos import rgrl as algorithm
from rgrl_jax.envs import registry
from rgrl_jax.presets import PRESETS

ALL = [(env_id, name) for name, table in PRESETS.items() for env_id in table]
PAPER = ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-misc"]


@pytest.mark.parametrize("env_id, name", ALL)
def test_every_preset_is_valid(env_id, name):
    """It validates, belongs to its environment, and its cost can be counted."""
    config = rgrl.preset(env_id, name)
    assert config.env_id == env_id
    config.validate()
    assert config.describe().env_id == env_id


@pytest.mark.parametrize("env_id", PAPER)
def test_paper_common_settings(env_id):
    """Spec part c: what all environments share, as numbers."""
    config = rgrl.preset(env_id, "paper")
    expected = {
        "ensemble_size": 5,
        "layers": 3,
        "heads": 10,
        "use_bias": False,
        "head": "tanh",
        "residual": False,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "learn_iterations": 100,
        "learn_batch": 1,
        "reset_every": 0,
        "state_weight": 1.0,
        "plan_noise": 5.0,
        "plan_noise_decay": 0.5,
        "plan_noise_cycle": 10,
        "plan_optimizer": "sgd",
        "plan_lr": 0.1,
        "plan_iterations": 50,
        "plan_loss_reduction": "mean",
        "plan_members": "sample",
        "plan_starts": 1,
        "desired_reward": 1.0,
        "max_windows": 10_000,
        "replay": "priority",
        "priority_exponent": 2.0,
        "priority_refresh": "all",
        "dedupe": "components",
        "zero_terminal_reward": True,
        "reward_discount": 0.0,
        "signals": "reference",
        "state_encoding": "thermometer",
        "state_bins": 100,
        "reward_encoding": "thermometer",
        "reward_bins": 100,
        "warmup_episodes": 0,
        "action_noise": 0.0,
        "state_noise": 0.0,
    }
    assert {name: getattr(config, name) for name in expected} == expected
    assert config.clip_norm >= 1e6  # the reference does not clip


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
    """Spec part c: step limit and sizes of each environment."""
    config = rgrl.preset(env_id, "paper")
    spec, codec, _ = algorithm.parts(config)
    assert spec.max_steps == steps
    assert (codec.state_size, codec.action_size, codec.reward_size) == (s, a, r)
    assert (config.width, config.history_length, config.horizon) == (width, history, horizon)
    assert config.replan_every == executed


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
    """Spec part d: one bar of 100 entries per number over its range, then the done block of 100."""
    _, codec, _ = algorithm.parts(rgrl.preset(env_id, "paper"))
    low, high = np.array(bounds, np.float32).T
    for share, count in ((-0.1, 0), (0.005, 1), (0.505, 51), (0.995, 100), (1.1, 100)):
        for done in (False, True):
            bars = np.asarray(codec.encode_state(jnp.asarray(low + share * (high - low)), jnp.bool_(done)))
            bars = bars.reshape(len(bounds) + 1, 100)
            assert [lit(bar) for bar in bars[:-1]] == [count] * len(bounds)
            assert lit(bars[-1]) == (100 if done else 0)


def test_paper_state_of_frozen_lake():
    """Spec part d: one of 16 cells in -1/+1, then a done block of 10."""
    _, codec, _ = algorithm.parts(rgrl.preset("FrozenLake-misc", "paper"))
    for done in (False, True):
        state = np.asarray(codec.encode_state(jnp.int32(6), jnp.bool_(done)))
        np.testing.assert_array_equal(state[:16], np.where(np.arange(16) == 6, 1.0, -1.0))
        np.testing.assert_array_equal(state[16:], np.full(10, 1.0 if done else -1.0))


def reward_bars(env_id, observations, rewards, terminated=True, past_the_end=False):
    """Lit entries of the reward bars that the paper preset learns from an episode with these observations."""
    config = rgrl.preset(env_id, "paper")
    _, codec, _ = algorithm.parts(config)
    length = len(rewards)
    episode = rgrl.Episode(
        obs=jnp.asarray(observations)[:, None],
        action=jnp.zeros((length + 1, 1), jnp.int32),
        reward=jnp.asarray([*rewards, 0.0], jnp.float32)[:, None],
        length=jnp.array([length], jnp.int32),
        terminated=jnp.array([terminated]),
        truncated=jnp.array([not terminated]),
        info=None,
    )
    targets = algorithm.reward_targets(episode, config)[: length + past_the_end, 0]
    return [lit(bar) for bar in jax.vmap(codec.encode_reward)(targets)]


def test_paper_reward_of_cartpole():
    """Spec part d: alive is all on; the terminal reward is zeroed, and nothing lights 1 of 100."""
    rows = np.zeros((4, 4), np.float32)
    assert reward_bars("CartPole-v1", rows, [1.0, 1.0, 1.0]) == [100, 100, 1]
    assert reward_bars("CartPole-v1", rows, [1.0, 1.0, 1.0], terminated=False) == [100, 100, 100]


def test_paper_reward_of_acrobot():
    """Spec part d: done is all on, whatever the raw reward was."""
    rows = np.zeros((4, 6), np.float32)
    assert reward_bars("Acrobot-v1", rows, [-1.0, -1.0, 0.0])[-1] == 100


def test_paper_reward_of_acrobot_before_the_end():
    """Spec part d: all off before the end, and throughout an episode that was cut off."""
    rows = np.zeros((4, 6), np.float32)
    assert reward_bars("Acrobot-v1", rows, [-1.0, -1.0, 0.0])[:-1] == [0, 0]
    assert reward_bars("Acrobot-v1", rows, [-1.0, -1.0, -1.0], terminated=False) == [0, 0, 0]


def test_paper_reward_of_mountain_car():
    """Spec part d and quirk 4: the position over [-0.6, 0.6]; the goal lights 92 of 100 and the left slope none."""
    rows = np.array([[-0.5, 0.0], [-0.9, 0.0], [0.005, 0.0], [0.5, 0.0]], np.float32)
    assert reward_bars("MountainCar-v0", rows, [-1.0, -1.0, -1.0]) == [0, 51, 92]
    assert reward_bars("MountainCar-v0", rows, [-1.0, -1.0, -1.0], terminated=False) == [0, 51, 92]


def test_paper_reward_of_frozen_lake_at_the_goal():
    """Spec part d: done at the goal is all on, although the raw reward is zeroed."""
    assert reward_bars("FrozenLake-misc", np.array([10, 14, 15]), [0.0, 1.0])[-1] == 100


def test_paper_reward_of_frozen_lake_in_a_hole():
    """Spec part d: done in a hole is all off."""
    assert reward_bars("FrozenLake-misc", np.array([0, 4, 5]), [0.0, 0.0])[-1] == 0


def test_paper_reward_of_frozen_lake_on_the_way():
    """Spec part d: int(100 (1 - D / 4.24)) by the distance D to cell 15; the start is all off."""
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


@pytest.mark.parametrize("name", list(PRESETS))
def test_data_names_real_fields(name):
    """Nothing in the tables is misspelt, and no table repeats a default that it means to change."""
    known = {field.name for field in dataclasses.fields(rgrl.RGRLConfig)} - {"env_id"}
    for env_id, settings in PRESETS[name].items():
        assert set(settings) <= known, env_id


def test_list_presets():
    """Names, and the environments of each; the answer is a copy."""
    presets = rgrl.list_presets()
    assert set(presets) == {"paper", "tuned"}
    assert presets["paper"] == PAPER
    assert {env for env in presets["tuned"] if ":" not in env} <= set(rgrl.list_envs())
    presets["paper"].clear()
    assert rgrl.list_presets()["paper"] == PAPER


def test_tuned_is_the_default():
    """A preset without a name is the tuned one."""
    assert rgrl.preset("Acrobot-v1") == rgrl.preset("Acrobot-v1", "tuned")
    assert rgrl.preset("Acrobot-v1") != rgrl.preset("Acrobot-v1", "paper")


@pytest.mark.parametrize("name", ["tuned", "paper"])
def test_overrides_win(name):
    """Fields that are given replace those of the preset, and the others stay."""
    plain = rgrl.preset("CartPole-v1", name)
    changed = rgrl.preset("CartPole-v1", name, width=40, plan_lr=0.7, max_steps=77)
    assert (changed.width, changed.plan_lr, changed.max_steps) == (40, 0.7, 77)
    assert changed == plain.replace(width=40, plan_lr=0.7, max_steps=77)
    assert rgrl.preset("CartPole-v1", name) == plain


def test_unknown_preset():
    """The nearest preset is named, and so is the one that was asked for."""
    with pytest.raises(ValueError) as error:
        rgrl.preset("CartPole-v1", "papre")
    says(error, "'papre'", "paper")


def test_environment_without_this_preset():
    """Those that have it are listed."""
    with pytest.raises(ValueError) as error:
        rgrl.preset("Pendulum-v1", "paper")
    says(error, "Pendulum-v1", "'paper'", *PAPER)


def test_unknown_environment():
    """The nearest environments are named."""
    with pytest.raises(ValueError) as error:
        rgrl.preset("Cartpole")
    says(error, "'Cartpole'", "CartPole-v1")


def test_unknown_field():
    """The nearest fields are named."""
    with pytest.raises(ValueError) as error:
        rgrl.preset("CartPole-v1", plan_iteration=3)
    says(error, "'plan_iteration'", "plan_iterations")


def test_override_out_of_range():
    """An override is checked like any other value, with the preset's other fields beside it."""
    with pytest.raises(ValueError) as error:
        rgrl.preset("CartPole-v1", horizon=0)
    says(error, "horizon = 0", "at least 1")
    with pytest.raises(ValueError) as error:
        rgrl.preset("MountainCar-v0", "paper", horizon=4)
    says(error, "replan_every = 5", "horizon = 4")


def test_env_id_cannot_be_overridden():
    """The environment is the first argument; given twice it is an error, not a silent choice."""
    with pytest.raises((TypeError, ValueError), match="env_id"):
        rgrl.preset("CartPole-v1", **{"env_id": "Pendulum-v1"})


def test_own_environment_gets_the_defaults(monkeypatch):
    """A registered environment without presets has the tuned defaults, and no other preset."""
    cartpole = rgrl.make_spec("CartPole-v1")
    monkeypatch.setattr(registry, "_ENVS", dict(registry._ENVS))
    rgrl.register_env("Own-v0", lambda max_steps: dataclasses.replace(cartpole, env_id="Own-v0"))
    assert rgrl.preset("Own-v0") == rgrl.RGRLConfig(env_id="Own-v0")
    assert rgrl.preset("Own-v0", width=64) == rgrl.RGRLConfig(env_id="Own-v0", width=64)
    with pytest.raises(ValueError) as error:
        rgrl.preset("Own-v0", "paper")
    says(error, "Own-v0", "'paper'")
    registry._cached_spec.cache_clear()
